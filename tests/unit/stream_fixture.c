#include "tests/unit/stream_fixture.h"

#include <errno.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char text_buffer[64];

static bool get_string(void *arg, uint32_t id, struct stream_string *ret)
{
	ret->bytes = text_buffer;
	if (id <= 7)
		ret->len = snprintf(text_buffer, sizeof(text_buffer), "/src/mod%u.py", id - 1);
	else if (id == 8)
		ret->len = snprintf(text_buffer, sizeof(text_buffer), "worker");
	else
		ret->len = snprintf(text_buffer, sizeof(text_buffer), "f%u", id - 8);
	return true;
}

static bool get_function(void *arg, uint32_t id, struct stream_function *ret)
{
	*ret = (struct stream_function){id + 8, id % 7 + 1, (int32_t)id, STREAM_FRAME_PYTHON};
	return true;
}

static bool get_frame(void *arg, uint32_t id, struct stream_frame *ret)
{
	*ret = (struct stream_frame){id / 3 + 1, (int32_t)id, (int32_t)id, 2, 9, 0};
	return true;
}

static bool get_stack(void *arg, uint32_t id, struct stream_stack *ret)
{
	*ret = (struct stream_stack){id / 2, id % 1000 + 1};
	return true;
}

static bool get_thread(void *arg, uint32_t id, struct stream_thread *ret)
{
	*ret = (struct stream_thread){.tid = 100 + id, .ident = id, .name = 8, .main = id == 1};
	return true;
}

static bool get_task(void *arg, uint32_t id, struct stream_task *ret)
{
	*ret = (struct stream_task){
		.addr = 0x7f0000000000 + id, .loop = 0x1000, .thread = id % 3, .name = id + 8};
	return true;
}

const struct stream_definitions fixture_definitions = {
	.string = get_string,
	.function = get_function,
	.frame = get_frame,
	.stack = get_stack,
	.thread = get_thread,
	.task = get_task,
};

int fixture_sink(void *arg, const void *bytes, size_t len)
{
	bytes_put(arg, bytes, len);
	return 0;
}

static uint32_t next_random(uint64_t *state)
{
	*state = *state * 6364136223846793005ull + 1442695040888963407ull;
	return *state >> 33;
}

void fixture_record(struct bytes *to, const struct fixture *f)
{
	struct stream_header h = {
		.command = "python3 service.py",
		.pid = 4242,
		.stream_id = f->stream_id ? f->stream_id : 0x1122334455667788,
		.rate_hz = f->step_ns ? 1e9 / f->step_ns : 0,
		.start_monotonic_ns = FIXTURE_START,
		.start_real_ns = 1795258485123456789,
		.time_unit_ns = 1000,
	};
	uint64_t random = f->seed, time = FIXTURE_START;
	struct stream_summary summary = {.end = "duration", .totals.achieved = f->samples};
	struct stream_writer *w;

	assert_int_equal(
		stream_writer_new(&w, &h, &fixture_definitions, &f->options, fixture_sink, to), 0);
	for (uint64_t i = 0; i < f->samples; i++) {
		struct stream_sample s = {
			.thread = f->threads ? i % f->threads + 1 : 0,
			.stack = f->stacks ? next_random(&random) % f->stacks + 1 : 0,
			.state = i % 5 ? STREAM_STATE_GIL_KNOWN | STREAM_STATE_GIL
				       : STREAM_STATE_GIL_KNOWN,
			.how = i % 11 == 0,
		};

		if (!f->threads || i % f->threads == 0)
			time += f->step_ns +
				(f->jitter_ns ? next_random(&random) % f->jitter_ns : 0);
		s.time_ns = time;
		assert_int_equal(stream_writer_sample(w, &s), 0);
		if (f->gaps && i % f->gaps == 0)
			assert_int_equal(stream_writer_gap(w, time, 0, 3, STREAM_LOST_TORN), 0);
		if (i % 1000 == 999) {
			struct stream_statistics st = {.achieved = i + 1};

			assert_int_equal(stream_writer_statistics(w, &st), 0);
		}
	}
	assert_int_equal(stream_writer_finish(w, &summary), 0);
	stream_writer_free(w);
}

static int on_header(void *arg, uint32_t stream, const struct stream_header *h)
{
	((struct told *)arg)->headers++;
	return 0;
}

static int on_segment(void *arg, uint32_t stream, uint32_t number)
{
	((struct told *)arg)->segments++;
	return 0;
}

static int on_samples(void *arg, uint32_t stream, const struct stream_batch *b)
{
	struct told *t = arg;

	t->samples += b->n;
	for (size_t i = 0; i < b->n; i++)
		t->checksum = t->checksum * 31 + (b->time_ns[i] ^ (uint64_t)b->state[i] << 48 ^
						  (uint64_t)b->how[i] << 40);
	return 0;
}

static int on_gap(void *arg, uint32_t stream, uint64_t time, uint32_t thread, uint64_t count,
		  enum stream_lost reason)
{
	((struct told *)arg)->gaps += count;
	return 0;
}

static int on_statistics(void *arg, uint32_t stream, const struct stream_statistics *s)
{
	((struct told *)arg)->statistics++;
	return 0;
}

static int on_summary(void *arg, uint32_t stream, const struct stream_summary *s)
{
	((struct told *)arg)->summaries++;
	((struct told *)arg)->achieved = s->totals.achieved;
	return 0;
}

static int on_damage(void *arg, uint32_t stream, uint64_t samples)
{
	((struct told *)arg)->damage += samples;
	return 0;
}

static void on_warning(void *arg, const char *text)
{
	struct told *t = arg;
	size_t n = strlen(t->text);

	t->warnings++;
	snprintf(t->text + n, sizeof(t->text) - n, "%s\n", text);
}

const struct stream_handler told_handler = {
	.header = on_header,
	.segment = on_segment,
	.samples = on_samples,
	.gap = on_gap,
	.statistics = on_statistics,
	.summary = on_summary,
	.damage = on_damage,
	.warning = on_warning,
};

static int read_all(const struct stream_handler *h, void *arg, const uint8_t *p, size_t len,
		    size_t slice)
{
	struct stream_reader *r;
	int e = 0, finish;

	assert_int_equal(stream_reader_new(&r, h, arg), 0);
	for (size_t at = 0; at < len && e == 0;) {
		size_t n = slice && slice < len - at ? slice : len - at;

		e = stream_reader_feed(r, p + at, n);
		at += n;
	}
	finish = stream_reader_finish(r);
	stream_reader_free(r);
	return e ? e : finish;
}

int fixture_read(const void *bytes, size_t len, size_t slice, struct told *ret)
{
	memset(ret, 0, sizeof(*ret));
	return read_all(&told_handler, ret, bytes, len, slice);
}

struct model *fixture_model(const void *bytes, size_t len, const struct model_options *options)
{
	struct model *m;

	assert_int_equal(model_new(&m, options), 0);
	assert_int_equal(read_all(&model_handler, m, bytes, len, 0), 0);
	return m;
}

struct sum {
	const struct model *m;
	uint64_t *samples, *ns; /* of each count */
	uint64_t last[16];	/* by thread */
};

static int add_sample(void *arg, const struct model_sample *s)
{
	struct sum *sum = arg;

	assert_true(sum->m->threads_folded || s->time_ns >= sum->last[s->thread % 16]);
	sum->last[s->thread % 16] = s->time_ns;
	for (uint32_t i = 0; i < sum->m->count_count; i++) {
		if (sum->m->counts[i].thread != s->thread || sum->m->counts[i].node != s->node)
			continue;
		sum->samples[i]++;
		sum->ns[i] += s->ns;
		return 0;
	}
	return -ENOENT;
}

/* What the samples one by one add up to. */
void fixture_check_samples(const struct model *m)
{
	struct sum sum = {.m = m,
			  .samples = calloc(m->count_count, sizeof(uint64_t)),
			  .ns = calloc(m->count_count, sizeof(uint64_t))};

	assert_non_null(sum.samples);
	assert_non_null(sum.ns);
	assert_int_equal(model_samples(m, add_sample, &sum), 0);
	for (uint32_t i = 0; i < m->count_count; i++) {
		assert_int_equal(sum.samples[i], m->counts[i].count);
		assert_int_equal(sum.ns[i], m->counts[i].ns);
	}
	free(sum.samples);
	free(sum.ns);
}
