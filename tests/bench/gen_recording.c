/* Writes a recording of many samples and times what reads it: gen_recording [SAMPLES [FILE]].
 * Stacks of 20 frames, 10,000 different ones, each seen 1.6 times in a row on average. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "formats/bytes.h"
#include "formats/format.h"

#define STACKS 10000
#define DEPTH  20

static bool get_string(void *arg, uint32_t id, struct stream_string *ret)
{
	static char text[64];

	ret->len = snprintf(text, sizeof(text), id <= 50 ? "/srv/app/module_%u.py" : "function_%u",
			    id);
	ret->bytes = text;
	return true;
}

static bool get_function(void *arg, uint32_t id, struct stream_function *ret)
{
	*ret = (struct stream_function){id + 50, id % 50 + 1, (int32_t)id % 900 + 1,
					STREAM_FRAME_PYTHON};
	return true;
}

static bool get_frame(void *arg, uint32_t id, struct stream_frame *ret)
{
	*ret = (struct stream_frame){
		id / 4 + 1, (int32_t)id % 1000 + 1, (int32_t)id % 1000 + 1, 4, 20, 0};
	return true;
}

/* The last two levels differ from stack to stack; the 18 below are shared by a hundred. */
static bool get_stack(void *arg, uint32_t id, struct stream_stack *ret)
{
	uint32_t level = id % DEPTH, stack = id / DEPTH, frame, parent = level ? id - 1 : 0;

	if (level == 18)
		parent = stack / 100 * 100 * DEPTH + 17;
	frame = level < 18 ? stack / 100 * 18 + level : stack * 2 + level;
	*ret = (struct stream_stack){parent ? parent + DEPTH : 0, frame % 8000 + 1};
	if (parent)
		ret->parent = parent;
	return true;
}

static bool get_thread(void *arg, uint32_t id, struct stream_thread *ret)
{
	*ret = (struct stream_thread){.tid = 1000 + id, .name = 60, .main = id == 1};
	return true;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static int sink(void *arg, const void *bytes, size_t len)
{
	bytes_put(arg, bytes, len);
	return 0;
}

static int count(void *arg, uint32_t stream, const struct stream_batch *b)
{
	*(uint64_t *)arg += b->n;
	return 0;
}

static int open_nowhere(void *arg, const char *name, FILE **ret)
{
	*ret = fopen("/dev/null", "w");
	return *ret ? 0 : -1;
}

static int close_nowhere(void *arg, FILE *file)
{
	return fclose(file);
}

static int write_to_nowhere(const struct format *f, const struct model *m)
{
	static const struct format_folder to = {NULL, open_nowhere, close_nowhere};
	const struct format_options options = {0};
	FILE *out;
	int r;

	if (f->write_folder)
		return f->write_folder(m, &options, &to);
	out = fopen("/dev/null", "w");
	if (!out)
		return -1;
	r = f->write(m, &options, out);
	fclose(out);
	return r;
}

static int read_all(const struct bytes *b, const struct stream_handler *h, void *arg)
{
	struct stream_reader *r;

	if (stream_reader_new(&r, h, arg) < 0 || stream_reader_feed(r, b->data, b->len) < 0 ||
	    stream_reader_finish(r) < 0)
		return -1;
	stream_reader_free(r);
	return 0;
}

int main(int argc, char **argv)
{
	uint64_t n = argc > 1 ? strtoull(argv[1], NULL, 10) : 10000000, t = 1000000000, seen = 0;
	const struct stream_definitions d = {.string = get_string,
					     .function = get_function,
					     .frame = get_frame,
					     .stack = get_stack,
					     .thread = get_thread};
	const struct stream_handler counter = {.samples = count};
	struct stream_header h = {.stream_id = 7, .rate_hz = 100000, .time_unit_ns = 1000};
	struct stream_writer_options o = {.codec = STREAM_ZSTD};
	struct stream_summary end = {.totals.achieved = n, .end = "duration"};
	uint32_t random = 12345, stack = 0;
	struct stream_writer *w;
	struct bytes b = {0};
	struct model *m;
	double start;
	FILE *out;

	if (stream_writer_new(&w, &h, &d, &o, sink, &b) < 0)
		return 1;
	start = now();
	for (uint64_t i = 0; i < n; i++) {
		struct stream_sample s = {.thread = 1, .state = 0x4f};

		random = random * 1664525 + 1013904223;
		if (random >> 29 > 2 || i == 0) /* another one in five of eight cases */
			stack = (random >> 8) % STACKS;
		random = random * 1664525 + 1013904223;
		t += 9000 + (random >> 16) % 2000;
		s.time_ns = t;
		s.stack = stack * DEPTH + DEPTH - 1;
		if (stream_writer_sample(w, &s) < 0)
			return 1;
	}
	if (stream_writer_finish(w, &end) < 0)
		return 1;
	stream_writer_free(w);
	printf("write      %6.1f ns/sample  %.3f bytes/sample\n", (now() - start) / n * 1e9,
	       (double)b.len / n);
	start = now();
	if (read_all(&b, &counter, &seen) < 0 || seen != n)
		return 1;
	printf("read       %6.1f M samples/s\n", n / (now() - start) / 1e6);
	start = now();
	if (model_new(&m, NULL) < 0 || read_all(&b, &model_handler, m) < 0 || m->samples != n)
		return 1;
	printf("+ model    %6.1f M samples/s  %u nodes, %u counts\n", n / (now() - start) / 1e6,
	       m->node_count, m->count_count);
	for (const struct format *const *f = format_all; *f; f++) {
		start = now();
		if (write_to_nowhere(*f, m) < 0)
			return 1;
		printf("%-12s %6.1f ms\n", (*f)->name, (now() - start) * 1e3);
	}
	model_free(m);
	if (argc > 2) {
		out = fopen(argv[2], "w");
		if (!out || fwrite(b.data, 1, b.len, out) != b.len || fclose(out))
			return 1;
	}
	bytes_done(&b);
	return 0;
}
