#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/stream_fixture.h"

static void samples_are_kept_one_by_one(void **state)
{
	const struct fixture f = {
		.samples = 5000, .step_ns = 1000000, .threads = 4, .stacks = 100, .seed = 4};
	struct bytes b = {0};
	struct model *m;

	fixture_record(&b, &f);
	m = fixture_model(b.data, b.len, &(struct model_options){.timeline = tmpfile});
	assert_int_equal(m->samples, f.samples);
	fixture_check_samples(m);
	fixture_check_samples(m); /* again */
	model_free(m);
	bytes_done(&b);
}

static int not_told(void *arg, const struct model_sample *s)
{
	fail_msg("a sample is told");
	return 0;
}

static FILE *full(void)
{
	return fopen("/dev/full", "w+");
}

static void a_file_of_samples_that_fails_is_told(void **state)
{
	const struct fixture f = {
		.samples = 5000, .step_ns = 1000000, .threads = 4, .stacks = 100, .seed = 4};
	struct bytes b = {0};
	struct model *m;

	fixture_record(&b, &f);
	m = fixture_model(b.data, b.len, &(struct model_options){.timeline = full});
	assert_int_equal(m->samples, f.samples);
	assert_int_equal(model_samples(m, not_told, NULL), -ENOSPC);
	model_free(m);
	bytes_done(&b);
}

static void sums_are_those_of_the_samples(void **state)
{
	const struct fixture f = {.samples = 50000,
				  .step_ns = 1000000,
				  .threads = 4,
				  .stacks = 900,
				  .options = {.segment_ns = 3000000000},
				  .seed = 4,
				  .gaps = 500};
	uint64_t count = 0, ns = 0;
	struct bytes b = {0};
	struct model *m;

	fixture_record(&b, &f);
	m = fixture_model(b.data, b.len, NULL);
	assert_int_equal(m->warning_count, 0);
	assert_int_equal(m->samples, f.samples);
	assert_int_equal(m->process_count, 1);
	assert_int_equal(m->processes[0].header.pid, 4242);
	assert_int_equal(m->processes[0].header.start_real_ns, 1795258485123456789);
	assert_int_equal(m->processes[0].gaps[STREAM_LOST_TORN], 300);
	assert_true(m->processes[0].has_summary);
	for (uint32_t i = 0; i < m->count_count; i++) {
		count += m->counts[i].count;
		ns += m->counts[i].ns;
	}
	assert_int_equal(count, f.samples);
	assert_int_equal(ns, m->ns);
	/* Ticks of 1 ms, all four threads in each: each thread's time is the whole. */
	assert_int_equal(ns, f.samples * 1000000);
	/* Segments define anew what is the same thing: threads and stacks are still one. */
	assert_int_equal(m->thread_count, 5 + 1);
	assert_true(m->node_count <= 900 + 1);
	for (uint32_t i = 1; i < m->thread_count; i++)
		if (m->threads[i].serial)
			assert_int_equal(m->threads[i].samples, f.samples / 4);
	for (uint32_t i = 1; i < m->node_count; i++)
		assert_true(m->nodes[i].parent < i);
	model_free(m);
	bytes_done(&b);
}

static struct model *two_samples(const struct model_options *o, double rate, uint64_t apart,
				 uint16_t second_state)
{
	struct stream_header h = {.stream_id = 1, .time_unit_ns = 1, .rate_hz = rate};
	struct stream_writer_options wo = {0};
	struct stream_summary end = {.end = "stopped"};
	struct stream_writer *w;
	struct bytes b = {0};
	struct model *m;

	assert_int_equal(stream_writer_new(&w, &h, &fixture_definitions, &wo, fixture_sink, &b), 0);
	stream_writer_sample(w, &(struct stream_sample){.time_ns = 1000, .thread = 1, .stack = 5});
	stream_writer_sample(w, &(struct stream_sample){.time_ns = 1000 + apart,
							.thread = 1,
							.stack = 7,
							.state = second_state,
							.how = STREAM_HOW_MOVING});
	assert_int_equal(stream_writer_finish(w, &end), 0);
	stream_writer_free(w);
	m = fixture_model(b.data, b.len, o);
	bytes_done(&b);
	return m;
}

static void a_weight_is_the_time_since_the_sample_before_up_to_a_cap(void **state)
{
	struct model *m = two_samples(NULL, 1000, 1700000, 0);

	assert_int_equal(m->ns, 1000000 + 1700000);
	model_free(m);
	m = two_samples(NULL, 1000, 5000000000, 0);
	assert_int_equal(m->ns, 1000000 + MODEL_GAP_NS);
	model_free(m);
	m = two_samples(NULL, 1, 50000000000, 0);
	assert_int_equal(m->ns, 1000000000ull + 10000000000ull);
	model_free(m);
	m = two_samples(NULL, 0, 500, 0);
	assert_int_equal(m->ns, 500);
	model_free(m);
}

static void the_last_sample_of_a_thread_is_kept(void **state)
{
	struct model *m = two_samples(NULL, 1000, 10, STREAM_STATE_GIL);
	const struct model_thread *t = NULL;

	for (uint32_t i = 1; i < m->thread_count; i++)
		if (m->threads[i].samples)
			t = &m->threads[i];
	assert_non_null(t);
	assert_int_equal(t->tid, 101);
	assert_int_equal(t->last_state, STREAM_STATE_GIL);
	assert_int_equal(t->last_how, STREAM_HOW_MOVING);
	assert_int_equal(t->last_ns, 1010);
	assert_int_equal(m->nodes[t->last_node].depth, 3);
	assert_int_equal(m->frames[m->nodes[t->last_node].frame].line, 8);
	assert_string_equal(m->strings[t->name].bytes, "worker");
	model_free(m);
}

static void a_filter_takes_samples_but_not_their_time(void **state)
{
	struct model *m =
		two_samples(&(struct model_options){.states = STREAM_STATE_GIL}, 1000, 700, 2);

	assert_int_equal(m->samples, 1);
	assert_int_equal(m->ns, 700);
	model_free(m);
	m = two_samples(&(struct model_options){.not_states = STREAM_STATE_GIL}, 1000, 700, 2);
	assert_int_equal(m->samples, 1);
	assert_int_equal(m->ns, 1000000);
	model_free(m);
	m = two_samples(&(struct model_options){.from_ns = 500}, 1000, 700, 0);
	assert_int_equal(m->samples, 1);
	model_free(m);
	m = two_samples(&(struct model_options){.to_ns = 700}, 1000, 700, 0);
	assert_int_equal(m->samples, 1);
	model_free(m);
}

static void reports_of_a_long_recording_are_fewer(void **state)
{
	struct stream_statistics s = {.lost = {[STREAM_LOST_TORN] = 2, [STREAM_LOST_EXITED] = 1}};
	struct reports r = {0};

	for (uint64_t i = 1; i <= 5000; i++) {
		s.elapsed_ns = s.due = i;
		assert_int_equal(reports_add(&r, &s), 0);
		assert_true(r.count <= REPORTS_MAX);
		assert_true(r.items[r.count - 1].elapsed_ns + r.step > i);
	}
	assert_true(r.count >= REPORTS_MAX / 2);
	for (uint32_t i = 0; i < r.count; i++)
		assert_int_equal(r.items[i].due, (i + 1) * (uint64_t)r.step);
	assert_int_equal(r.items[0].lost, 3);
	reports_done(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sums_are_those_of_the_samples),
		cmocka_unit_test(samples_are_kept_one_by_one),
		cmocka_unit_test(a_file_of_samples_that_fails_is_told),
		cmocka_unit_test(a_weight_is_the_time_since_the_sample_before_up_to_a_cap),
		cmocka_unit_test(the_last_sample_of_a_thread_is_kept),
		cmocka_unit_test(a_filter_takes_samples_but_not_their_time),
		cmocka_unit_test(reports_of_a_long_recording_are_fewer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
