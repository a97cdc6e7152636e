#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/stream_fixture.h"

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
	m = fixture_model(b.data, b.len);
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
	struct stream_reader *r;
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
	assert_int_equal(model_new(&m, o), 0);
	assert_int_equal(stream_reader_new(&r, &model_handler, m), 0);
	assert_int_equal(stream_reader_feed(r, b.data, b.len), 0);
	assert_int_equal(stream_reader_finish(r), 0);
	stream_reader_free(r);
	bytes_done(&b);
	return m;
}

/* Two samples of each of two streams, one within the other, as --subprocesses records them. */
static struct model *two_processes(int32_t first_pid, int32_t second_pid)
{
	const struct stream_header headers[] = {
		{.stream_id = 1, .time_unit_ns = 1, .rate_hz = 100, .pid = first_pid},
		{.stream_id = 2, .time_unit_ns = 1, .rate_hz = 100, .pid = second_pid}};
	struct stream_writer_options wo = {0};
	struct stream_summary end = {.end = "stopped"};
	struct stream_writer *w[2];
	struct bytes b = {0};
	struct model *m;

	for (int i = 0; i < 2; i++)
		assert_int_equal(stream_writer_new(&w[i], &headers[i], &fixture_definitions, &wo,
						   fixture_sink, &b),
				 0);
	for (unsigned i = 0; i < 2; i++) {
		stream_writer_sample(
			w[i], &(struct stream_sample){.time_ns = 1000, .thread = 1, .stack = 5});
		stream_writer_sample(w[i], &(struct stream_sample){
						   .time_ns = 2000, .thread = 1, .stack = 6 + i});
		stream_writer_sample(w[i], &(struct stream_sample){.time_ns = 3000, .thread = 1});
	}
	for (int i = 0; i < 2; i++) {
		assert_int_equal(stream_writer_finish(w[i], &end), 0);
		stream_writer_free(w[i]);
	}
	m = fixture_model(b.data, b.len);
	bytes_done(&b);
	return m;
}

static void of_several_processes_each_gets_a_frame_of_its_own(void **state)
{
	struct model *m = two_processes(7, 8);
	uint32_t frames = 0, without = 0;
	uint64_t samples = 0;

	assert_int_equal(m->process_count, 2);
	assert_int_equal(model_group_processes(m), 0);
	assert_true(m->grouped);
	for (uint32_t i = 0; i < m->count_count; i++) {
		const struct model_count *c = &m->counts[i];
		uint32_t at = c->node, length = 0;
		const struct model_function *f;
		char name[16];

		samples += c->count;
		without += at == 0;
		if (at == 0)
			continue;
		for (; m->nodes[at].parent; at = m->nodes[at].parent)
			length++;
		assert_int_equal(m->nodes[c->node].depth, length + 1);
		/* Stack 5 is called by 2, and that by 1. */
		assert_int_equal(length, 3);
		f = &m->functions[m->frames[m->nodes[at].frame].function];
		snprintf(name, sizeof(name), "pid:%u", 7 + m->threads[c->thread].process);
		assert_string_equal(m->strings[f->name].bytes, name);
		assert_int_equal(f->file, 0);
		frames++;
	}
	assert_int_equal(samples, 6);
	assert_int_equal(frames, 4);
	assert_int_equal(without, 2);
	for (uint32_t i = 1; i < m->node_count; i++)
		assert_true(m->nodes[i].parent < i);
	/* Once is enough. */
	frames = m->node_count;
	assert_int_equal(model_group_processes(m), 0);
	assert_int_equal(m->node_count, frames);
	model_free(m);
}

static void two_streams_of_one_process_get_none(void **state)
{
	struct model *m = two_processes(7, 7);
	uint32_t nodes = m->node_count;

	assert_int_equal(model_group_processes(m), 0);
	assert_false(m->grouped);
	assert_int_equal(m->node_count, nodes);
	model_free(m);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sums_are_those_of_the_samples),
		cmocka_unit_test(of_several_processes_each_gets_a_frame_of_its_own),
		cmocka_unit_test(two_streams_of_one_process_get_none),
		cmocka_unit_test(a_weight_is_the_time_since_the_sample_before_up_to_a_cap),
		cmocka_unit_test(the_last_sample_of_a_thread_is_kept),
		cmocka_unit_test(a_filter_takes_samples_but_not_their_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
