#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/stream_fixture.h"

static const struct fixture small = {
	.samples = 60,
	.step_ns = 1000000,
	.jitter_ns = 5000,
	.threads = 2,
	.stacks = 20,
	.options = {.codec = STREAM_ZSTD, .chunk_ns = 10000000},
	.seed = 1,
};
static const struct fixture large = {
	.samples = 200000,
	.step_ns = 100000,
	.jitter_ns = 5000,
	.threads = 3,
	.stacks = 5000,
	.options = {.codec = STREAM_ZSTD, .segment_ns = 3000000000},
	.seed = 2,
	.gaps = 1000,
};

static void what_is_written_is_read(void **state)
{
	for (int codec = STREAM_NONE; codec <= STREAM_ZSTD; codec++) {
		struct fixture f = large;
		struct bytes b = {0};
		struct told whole, sliced;

		f.options.codec = codec;
		fixture_record(&b, &f);
		assert_int_equal(fixture_read(b.data, b.len, 0, &whole), 0);
		assert_string_equal(whole.text, "");
		assert_int_equal(whole.samples, f.samples);
		assert_int_equal(whole.achieved, f.samples);
		assert_int_equal(whole.gaps, 600);
		assert_int_equal(whole.statistics, 200);
		assert_int_equal(whole.headers, 1);
		assert_int_equal(whole.summaries, 1);
		assert_int_equal(whole.damage, 0);
		assert_true(whole.segments > 2);
		assert_int_equal(fixture_read(b.data, b.len, 1013, &sliced), 0);
		assert_memory_equal(&whole, &sliced, sizeof(whole));
		bytes_done(&b);
	}
}

/* Nothing is lost silently: either a warning says so or all is there. */
static void check_told(const struct told *t, int r, uint64_t samples)
{
	if (r < 0) {
		assert_true(r == -EINVAL || r == -EPROTONOSUPPORT);
		return;
	}
	assert_true(t->samples <= samples);
	if (t->warnings == 0)
		assert_int_equal(t->samples, samples);
	if (t->summaries && t->headers)
		assert_int_equal(t->samples + t->damage, samples);
}

static void a_recording_cut_at_any_byte_replays_up_to_there(void **state)
{
	struct bytes b = {0};
	struct told t;
	uint64_t before = 0;

	fixture_record(&b, &small);
	for (size_t len = 0; len < b.len; len++) {
		/* On the heap and no longer than that, for the sanitizer. */
		uint8_t *copy = malloc(len ? len : 1);
		int r;

		memcpy(copy, b.data, len);
		r = fixture_read(copy, len, 0, &t);
		if (len < 16)
			assert_int_equal(r, -EINVAL);
		else
			assert_int_equal(r, 0);
		if (r == 0) {
			assert_true(t.warnings > 0);
			assert_true(t.samples >= before && t.samples <= small.samples);
			before = t.samples;
		}
		free(copy);
	}
	assert_int_equal(before, small.samples);
	bytes_done(&b);

	fixture_record(&b, &large);
	before = 0;
	for (size_t len = 80; len < b.len; len += 9973) {
		assert_int_equal(fixture_read(b.data, len, 0, &t), 0);
		assert_true(t.warnings > 0);
		assert_true(t.samples >= before && t.samples <= large.samples);
		before = t.samples;
	}
	assert_true(before > large.samples * 9 / 10);
	bytes_done(&b);
}

static void a_flipped_bit_is_noticed_and_counted(void **state)
{
	const struct fixture *fixtures[] = {&small, &large};

	srand(7);
	for (int which = 0; which < 2; which++) {
		struct bytes b = {0};

		fixture_record(&b, fixtures[which]);
		for (int i = 0; i < (which ? 60 : 1000); i++) {
			size_t at = (size_t)rand() % b.len;
			uint8_t old = b.data[at];
			struct told t;
			int r;

			b.data[at] ^= 1 << rand() % 8;
			r = fixture_read(b.data, b.len, 0, &t);
			check_told(&t, r, fixtures[which]->samples);
			if (r == 0)
				assert_true(t.warnings > 0 || at < 16);
			b.data[at] = old;
		}
		bytes_done(&b);
	}
}

static void random_bytes_anywhere_do_no_harm(void **state)
{
	struct bytes b = {0};

	srand(9);
	fixture_record(&b, &small);
	for (int i = 0; i < 500; i++) {
		uint8_t *copy = malloc(b.len);
		struct told t;

		memcpy(copy, b.data, b.len);
		for (int k = rand() % 30; k >= 0; k--)
			copy[rand() % b.len] = rand();
		check_told(&t, fixture_read(copy, b.len, 1 + rand() % 300, &t), small.samples);
		free(copy);
	}
	bytes_done(&b);
}

static void recordings_one_after_another_are_one(void **state)
{
	struct fixture other = small;
	struct bytes b = {0};
	struct told t;
	size_t first;

	other.stream_id = 99;
	fixture_record(&b, &small);
	first = b.len;
	fixture_record(&b, &other);
	fixture_record(&b, &small);
	assert_int_equal(fixture_read(b.data, b.len, 0, &t), 0);
	assert_string_equal(t.text, "");
	assert_int_equal(t.headers, 3);
	assert_int_equal(t.samples, 3 * small.samples);

	/* The first one cut: what follows is read all the same. */
	memmove(b.data + first - 40, b.data + first, b.len - first);
	b.len -= 40;
	assert_int_equal(fixture_read(b.data, b.len, 0, &t), 0);
	assert_int_equal(t.headers, 3);
	assert_true(t.samples >= 2 * small.samples);
	assert_true(t.warnings > 0);
	bytes_done(&b);
}

static void what_is_no_recording_is_refused(void **state)
{
	char text[200] = "import sys\n";
	struct bytes b = {0};
	struct told t;

	assert_int_equal(fixture_read(text, sizeof(text), 0, &t), -EINVAL);
	assert_int_equal(fixture_read(text, 3, 0, &t), -EINVAL);
	assert_int_equal(fixture_read(text, 0, 0, &t), -EINVAL);
	fixture_record(&b, &small);
	b.data[0] ^= 1;
	assert_int_equal(fixture_read(b.data, b.len, 0, &t), 0);
	assert_int_equal(t.samples, small.samples);
	assert_true(t.warnings > 0);
	bytes_done(&b);
}

static bool no_string(void *arg, uint32_t id, struct stream_string *ret)
{
	return false;
}

static bool ring_stack(void *arg, uint32_t id, struct stream_stack *ret)
{
	*ret = (struct stream_stack){id % 5 + 1, 1};
	return true;
}

static bool chain_stack(void *arg, uint32_t id, struct stream_stack *ret)
{
	*ret = (struct stream_stack){id - 1, id % 1000 + 1};
	return true;
}

static void stacks_that_are_too_deep_or_go_round_end(void **state)
{
	struct stream_definitions d = fixture_definitions;
	struct stream_header h = {.stream_id = 1, .time_unit_ns = 1};
	struct stream_writer_options o = {.codec = STREAM_ZSTD};
	struct stream_summary end = {.end = "stopped"};
	struct stream_writer *w;
	struct bytes b = {0};
	struct told t;

	d.stack = ring_stack;
	d.string = no_string;
	assert_int_equal(stream_writer_new(&w, &h, &d, &o, fixture_sink, &b), 0);
	for (uint32_t i = 1; i < 10; i++)
		assert_int_equal(
			stream_writer_sample(w, &(struct stream_sample){.time_ns = i, .stack = i}),
			0);
	d.stack = chain_stack;
	assert_int_equal(stream_writer_redefine(w, &d), 0);
	for (uint32_t i = 0; i < 20; i++)
		assert_int_equal(
			stream_writer_sample(w, &(struct stream_sample){.time_ns = 10 + i,
									.thread = i,
									.stack = 10000 * (i + 1)}),
			0);
	assert_int_equal(stream_writer_finish(w, &end), 0);
	stream_writer_free(w);
	assert_int_equal(fixture_read(b.data, b.len, 0, &t), 0);
	assert_string_equal(t.text, "");
	assert_int_equal(t.samples, 29);
	assert_int_equal(t.segments, 2);
	bytes_done(&b);
}

static void chunks_close_in_time_and_by_poll(void **state)
{
	struct stream_header h = {.stream_id = 1, .time_unit_ns = 1};
	struct stream_writer_options o = {.chunk_ns = 100};
	struct stream_writer *w;
	struct bytes b = {0};
	size_t before;

	assert_int_equal(stream_writer_new(&w, &h, &fixture_definitions, &o, fixture_sink, &b), 0);
	before = b.len;
	assert_true(before > 16);
	assert_int_equal(stream_writer_sample(w, &(struct stream_sample){.time_ns = 1000}), 0);
	assert_int_equal(stream_writer_poll(w, 1050), 0);
	assert_int_equal(b.len, before);
	assert_int_equal(stream_writer_poll(w, 1100), 0);
	assert_true(b.len > before);
	before = b.len;
	assert_int_equal(stream_writer_sample(w, &(struct stream_sample){.time_ns = 1200}), 0);
	assert_int_equal(stream_writer_sample(w, &(struct stream_sample){.time_ns = 1400}), 0);
	assert_true(b.len > before);
	stream_writer_free(w);
	bytes_done(&b);
}

/* Tasks in more than one chunk, each awaited by the two before. */
static void tasks_come_with_their_stacks_and_awaiters(void **state)
{
	enum { TASKS = 20000 };
	struct stream_header h = {.stream_id = 1, .time_unit_ns = 1};
	struct stream_writer_options o = {.codec = STREAM_ZSTD, .segment_bytes = 300000};
	struct stream_summary end = {.end = "duration"};
	struct stream_writer *w;
	struct bytes b = {0};
	struct model *m;

	assert_int_equal(stream_writer_new(&w, &h, &fixture_definitions, &o, fixture_sink, &b), 0);
	for (uint32_t i = 1; i <= TASKS; i++) {
		uint32_t awaiters[2] = {i - 1, i - 2};
		struct stream_task_state s = {.time_ns = 7,
					      .task = i,
					      .stack = i % 10,
					      .state = i % 2,
					      .problem = i % 3,
					      .n_awaiters = i < 3 ? i - 1 : 2,
					      .awaiters = awaiters};

		assert_int_equal(stream_writer_task(w, &s), 0);
	}
	assert_int_equal(
		stream_writer_tasks(w, &(struct stream_tasks){.time_ns = 7,
							      .total = TASKS + 1,
							      .found = STREAM_TASKS_UNKNOWN,
							      .more = true}),
		0);
	assert_int_equal(stream_writer_finish(w, &end), 0);
	stream_writer_free(w);
	m = fixture_model(b.data, b.len, NULL);
	assert_int_equal(m->task_count, TASKS + 1);
	assert_true(m->processes[0].has_tasks);
	assert_int_equal(m->processes[0].tasks.total, TASKS + 1);
	assert_int_equal(m->processes[0].tasks.found, STREAM_TASKS_UNKNOWN);
	assert_true(m->processes[0].tasks.more);
	for (uint32_t i = 1; i <= TASKS; i++) {
		const struct model_task *t = &m->tasks[i];
		uint64_t number = t->addr - 0x7f0000000000;

		assert_true(t->seen);
		assert_int_equal(t->loop, 0x1000);
		assert_int_equal(t->state, number % 2);
		assert_int_equal(t->problem, number % 3);
		assert_int_equal(!t->thread, number % 3 == 0);
		assert_int_equal(!t->node, number % 10 == 0);
		assert_int_equal(t->n_awaiters, number < 3 ? number - 1 : 2);
		if (t->node)
			assert_int_equal(m->frames[m->nodes[t->node].frame].line, number % 10 + 1);
		for (uint32_t k = 0; k < t->n_awaiters; k++)
			assert_int_equal(m->tasks[m->awaiters[t->first_awaiter + k]].addr,
					 t->addr - 1 - k);
	}
	model_free(m);
	bytes_done(&b);
}

static int failing_sink(void *arg, const void *bytes, size_t len)
{
	int *left = arg;

	return (*left)-- > 0 ? 0 : -EPIPE;
}

static void a_sinks_error_is_told_again_and_again(void **state)
{
	struct stream_header h = {.stream_id = 1, .time_unit_ns = 1};
	struct stream_writer_options o = {0};
	struct stream_writer *w;
	int left = 0;

	assert_int_equal(stream_writer_new(&w, &h, &fixture_definitions, &o, failing_sink, &left),
			 -EPIPE);
	left = 1;
	assert_int_equal(stream_writer_new(&w, &h, &fixture_definitions, &o, failing_sink, &left),
			 0);
	assert_int_equal(stream_writer_sample(w, &(struct stream_sample){.time_ns = 1}), 0);
	assert_int_equal(stream_writer_flush(w), -EPIPE);
	assert_int_equal(stream_writer_sample(w, &(struct stream_sample){.time_ns = 1}), -EPIPE);
	assert_int_equal(stream_writer_flush(w), -EPIPE);
	stream_writer_free(w);
}

static void a_steady_profile_takes_little_room(void **state)
{
	struct fixture f = {.samples = 100000,
			    .step_ns = 100000,
			    .jitter_ns = 4000,
			    .threads = 10,
			    .stacks = 30,
			    .options = {.codec = STREAM_ZSTD},
			    .seed = 3};
	struct bytes b = {0};

	fixture_record(&b, &f);
	assert_true(b.len < f.samples * 13 / 10);
	bytes_done(&b);
}

/* A client that takes several sessions puts their pieces one after another: each is whole. */
static void pieces_are_found_without_reading_them(void **state)
{
	const struct fixture f = {.samples = 30000,
				  .step_ns = 1000000,
				  .threads = 2,
				  .stacks = 300,
				  .options = {.codec = STREAM_ZSTD},
				  .seed = 9};
	struct bytes b = {0};
	size_t at = 0, size, pieces = 0;

	fixture_record(&b, &f);
	while (at < b.len) {
		for (size_t cut = 0; cut < 100 && cut < b.len - at; cut++) {
			int e = stream_piece(b.data + at, cut, &size);

			/* The bytes that are wanted are more than there are, or the piece is whole.
			 */
			assert_true(e == 0 ? size <= cut : e == -EAGAIN && size > cut);
		}
		assert_int_equal(stream_piece(b.data + at, b.len - at, &size), 0);
		assert_true(size > 0 && size <= b.len - at && size <= STREAM_PIECE_MAX);
		assert_int_equal(stream_piece(b.data + at, size - 1, &size), -EAGAIN);
		/* A wrong bit in what says how long it is. */
		b.data[at + 12] ^= 1;
		assert_int_equal(stream_piece(b.data + at, b.len - at, &size), -EBADMSG);
		b.data[at + 12] ^= 1;
		assert_int_equal(stream_piece(b.data + at, b.len - at, &size), 0);
		at += size;
		pieces++;
	}
	assert_int_equal(at, b.len);
	assert_true(pieces > 4);
	bytes_done(&b);
}

struct heard {
	uint64_t cpu[64];
	uint16_t state[64];
	size_t n;
	uint32_t ops[8]; /* by frame */
};

static int hear_samples(void *arg, uint32_t stream, const struct stream_batch *b)
{
	struct heard *h = arg;

	for (size_t i = 0; i < b->n; i++, h->n++) {
		h->cpu[h->n] = b->cpu_ns[i];
		h->state[h->n] = b->state[i];
	}
	return 0;
}

static int hear_op(void *arg, uint32_t stream, uint32_t frame, uint16_t op)
{
	((struct heard *)arg)->ops[frame] = op;
	return 0;
}

static bool op_frame(void *arg, uint32_t id, struct stream_frame *ret)
{
	*ret = (struct stream_frame){id, (int32_t)id, (int32_t)id,
				     -1, -1,	      (uint16_t)(id % 2 ? 200 + id : 0)};
	return true;
}

static void cpu_times_and_instructions_come_back(void **state)
{
	const struct stream_handler handler = {.samples = hear_samples, .op = hear_op};
	struct stream_definitions d = fixture_definitions;
	struct stream_header h = {.stream_id = 1, .time_unit_ns = 1};
	struct stream_writer_options o = {.chunk_ns = 10};
	struct stream_summary end = {.end = "stopped"};
	struct heard heard = {0};
	struct stream_reader *r;
	struct stream_writer *w;
	struct bytes b = {0};

	d.frame = op_frame;
	assert_int_equal(stream_writer_new(&w, &h, &d, &o, fixture_sink, &b), 0);
	for (uint32_t i = 0; i < 60; i++)
		assert_int_equal(stream_writer_sample(
					 w,
					 &(struct stream_sample){
						 .time_ns = i,
						 .thread = i % 2,
						 .stack = i % 3 + 1,
						 .state = i < 30 ? 0 : STREAM_STATE_CPU_TIME_KNOWN,
						 .cpu_ns = i == 45 ? UINT64_MAX : 7 * i}),
				 0);
	assert_int_equal(stream_writer_finish(w, &end), 0);
	stream_writer_free(w);
	assert_int_equal(stream_reader_new(&r, &handler, &heard), 0);
	assert_int_equal(stream_reader_feed(r, b.data, b.len), 0);
	assert_int_equal(stream_reader_finish(r), 0);
	stream_reader_free(r);
	assert_int_equal(heard.n, 60);
	for (uint32_t i = 0; i < 60; i++) {
		assert_int_equal(heard.state[i], i < 30 ? 0 : STREAM_STATE_CPU_TIME_KNOWN);
		assert_int_equal(heard.cpu[i], i < 30 ? 0 : i == 45 ? UINT64_MAX : 7 * i);
	}
	/* The fixture's stacks 1, 2, 3 run frames 2, 3, 4, which are defined in that order. */
	assert_int_equal(heard.ops[1], 0);
	assert_int_equal(heard.ops[2], 203);
	assert_int_equal(heard.ops[3], 0);
	bytes_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read),
		cmocka_unit_test(pieces_are_found_without_reading_them),
		cmocka_unit_test(a_recording_cut_at_any_byte_replays_up_to_there),
		cmocka_unit_test(a_flipped_bit_is_noticed_and_counted),
		cmocka_unit_test(random_bytes_anywhere_do_no_harm),
		cmocka_unit_test(recordings_one_after_another_are_one),
		cmocka_unit_test(what_is_no_recording_is_refused),
		cmocka_unit_test(stacks_that_are_too_deep_or_go_round_end),
		cmocka_unit_test(chunks_close_in_time_and_by_poll),
		cmocka_unit_test(tasks_come_with_their_stacks_and_awaiters),
		cmocka_unit_test(a_sinks_error_is_told_again_and_again),
		cmocka_unit_test(a_steady_profile_takes_little_room),
		cmocka_unit_test(cpu_times_and_instructions_come_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
