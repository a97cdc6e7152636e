#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/stream_fixture.h"

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
	m = fixture_model(b.data, b.len, &(struct model_options){.timeline = tmpfile});
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
	fixture_check_samples(m);
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

struct place {
	int32_t pid;
	const char *host, *boot, *source;
};

/* A sample of a process at each place, and where its frame is to be called label (NULL: there is no
 * such frame). */
static void check_labels(const struct place *places, const char *const *labels, uint32_t n)
{
	const struct stream_string name = {"f", 1};
	const struct stream_function function = {.name = 1};
	const struct stream_frame frame = {.function = 1, .line = 3};
	const struct stream_stack stack = {.frame = 1};
	const struct stream_thread thread = {.tid = 5, .serial = 1};
	const struct model_thread *threads;
	struct model *m;

	assert_int_equal(model_new(&m, NULL), 0);
	for (uint32_t i = 0; i < n; i++) {
		struct stream_header h = {.stream_id = i + 1, .pid = places[i].pid, .rate_hz = 10};
		const struct stream_batch b = {1,
					       &(uint64_t){1000},
					       &(uint32_t){1},
					       &(uint32_t){1},
					       &(uint16_t){0},
					       &(uint8_t){0},
					       &(uint64_t){0},
					       &(uint32_t){0},
					       &(uint32_t){0}};

		snprintf(h.host, sizeof(h.host), "%s", places[i].host);
		snprintf(h.boot_id, sizeof(h.boot_id), "%s", places[i].boot);
		if (i == 0 || strcmp(places[i].source, places[i - 1].source) != 0)
			assert_int_equal(model_source(m, places[i].source), 0);
		assert_int_equal(model_handler.header(m, i, &h), 0);
		assert_int_equal(model_handler.string(m, i, 1, &name), 0);
		assert_int_equal(model_handler.function(m, i, 1, &function), 0);
		assert_int_equal(model_handler.frame(m, i, 1, &frame), 0);
		assert_int_equal(model_handler.stack(m, i, 1, &stack), 0);
		assert_int_equal(model_handler.thread(m, i, 1, &thread), 0);
		assert_int_equal(model_handler.samples(m, i, &b), 0);
	}
	assert_int_equal(model_group_processes(m), 0);
	assert_int_equal(m->grouped, labels[0] != NULL);
	threads = m->threads;
	for (uint32_t i = 0; i < m->count_count && labels[0]; i++) {
		const struct model_node *node = &m->nodes[m->counts[i].node];
		const struct model_node *base = &m->nodes[node->parent];
		const struct model_function *f = &m->functions[m->frames[base->frame].function];

		assert_int_equal(node->depth, 2);
		assert_string_equal(m->strings[f->name].bytes,
				    labels[threads[m->counts[i].thread].process]);
	}
	model_free(m);
}

static void a_pid_on_another_host_or_boot_is_another_process(void **state)
{
	check_labels((const struct place[]){{7, "a", "b1", "x"}, {7, "a", "b1", "y"}},
		     (const char *const[]){NULL, NULL}, 2);
	check_labels((const struct place[]){{7, "a", "b1", "x"}, {8, "a", "b1", "y"}},
		     (const char *const[]){"pid:7", "pid:8"}, 2);
	check_labels((const struct place[]){{7, "a", "b1", "x"}, {7, "b", "b2", "y"}},
		     (const char *const[]){"pid:7@a", "pid:7@b"}, 2);
	check_labels(
		(const struct place[]){{7, "a", "0123456789", "x"}, {7, "a", "abcdefghij", "y"}},
		(const char *const[]){"pid:7/01234567", "pid:7/abcdefgh"}, 2);
	check_labels(
		(const struct place[]){{7, "a", "0123456789", "x"},
				       {7, "a", "abcdefghij", "y"},
				       {7, "b", "zzzzzzzzzz", "y"}},
		(const char *const[]){"pid:7@a/01234567", "pid:7@a/abcdefgh", "pid:7@b/zzzzzzzz"},
		3);
}

static void a_process_without_a_pid_is_named_by_its_file(void **state)
{
	check_labels((const struct place[]){{0, "", "", "/d/x.bin"}, {7, "a", "b", "/d/y"}},
		     (const char *const[]){"file:x.bin", "pid:7"}, 2);
	check_labels((const struct place[]){{0, "", "", "/d/x.bin"}, {0, "", "", "/e/x.bin"}},
		     (const char *const[]){"file:/d/x.bin", "file:/e/x.bin"}, 2);
	check_labels((const struct place[]){{0, "", "", "x.bin"}, {0, "", "", "x.bin"}},
		     (const char *const[]){NULL, NULL}, 2);
}

static void threads_that_are_folded_add_up(void **state)
{
	struct model *m = two_processes(7, 8);
	uint64_t samples = m->samples, ns = m->ns, count = 0;

	assert_int_equal(model_fold_threads(m, false), 0);
	assert_true(m->threads_folded);
	assert_int_equal(m->thread_count, 3);
	assert_int_equal(m->threads[1].samples, 3);
	assert_int_equal(m->threads[1].last_ns, 3000);
	fixture_check_samples(m);
	assert_int_equal(model_fold_threads(m, true), 0);
	fixture_check_samples(m);
	assert_int_equal(m->thread_count, 2);
	assert_int_equal(m->threads[1].samples, samples);
	assert_int_equal(m->threads[1].ns, ns);
	for (uint32_t i = 0; i < m->count_count; i++) {
		assert_int_equal(m->counts[i].thread, 1);
		count += m->counts[i].count;
	}
	assert_int_equal(count, samples);
	/* Stack 5 of both is one. */
	assert_int_equal(m->count_count, 4);
	model_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(of_several_processes_each_gets_a_frame_of_its_own),
		cmocka_unit_test(two_streams_of_one_process_get_none),
		cmocka_unit_test(a_pid_on_another_host_or_boot_is_another_process),
		cmocka_unit_test(a_process_without_a_pid_is_named_by_its_file),
		cmocka_unit_test(threads_that_are_folded_add_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
