/* Writes a recording of many samples and times what reads it: gen_recording [SAMPLES [FILE
 * [TACH]]]. Stacks of 20 frames, 10,000 different ones, each seen 1.6 times in a row on average.
 * FILE gets the recording, TACH the same samples as profiling.sampling of Python 3.15 stores them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zstd.h>

#include "formats/bytes.h"
#include "formats/format.h"

#define STACKS 10000
#define DEPTH  20

#define STRINGS 2100 /* all that frames need, and more */
#define FRAMES	8000

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
	uint32_t level = (id - 1) % DEPTH, stack = (id - 1) / DEPTH, parent = level ? id - 1 : 0;
	uint32_t frame = level < 18 ? stack / 100 * 18 + level : stack * 2 + level;

	if (level == 18)
		parent = stack / 100 * 100 * DEPTH + 18;
	*ret = (struct stream_stack){parent, frame % FRAMES + 1};
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

/* ---- the other recorder's file ---- */

struct tach {
	struct bytes samples, head, tables;
	uint64_t last_us, count;
	uint32_t stack[DEPTH]; /* the base first */
	bool begun;
	struct bytes repeats;
	uint32_t repeated;
};

static void put(struct bytes *b, uint64_t v, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		bytes_byte(b, (uint8_t)(v >> 8 * i));
}

static void put_head(struct bytes *b, uint8_t kind)
{
	put(b, 1001, 8);
	put(b, 0, 4);
	bytes_byte(b, kind);
}

static void end_repeats(struct tach *t)
{
	if (t->repeated == 0)
		return;
	put_head(&t->samples, 0);
	bytes_varint(&t->samples, t->repeated);
	bytes_put(&t->samples, t->repeats.data, t->repeats.len);
	t->repeats.len = t->repeated = 0;
}

/* As that recorder does: the same stack again, another one, or a part that differs. */
static void tach_sample(struct tach *t, uint64_t time_ns, uint32_t stack)
{
	uint64_t delta = t->count++ ? time_ns / 1000 - t->last_us : 0;
	uint32_t frames[DEPTH], shared = 0;
	unsigned at = DEPTH;

	for (uint32_t id = stack; at > 0;) {
		struct stream_stack s;

		get_stack(NULL, id, &s);
		frames[--at] = s.frame - 1;
		id = s.parent;
	}
	while (t->begun && shared < DEPTH && frames[shared] == t->stack[shared])
		shared++;
	t->last_us = time_ns / 1000;
	if (shared == DEPTH) {
		bytes_varint(&t->repeats, delta);
		bytes_byte(&t->repeats, 0x25);
		t->repeated++;
		return;
	}
	end_repeats(t);
	put_head(&t->samples, shared ? 3 : 1);
	bytes_varint(&t->samples, delta);
	bytes_byte(&t->samples, 0x25);
	if (shared)
		bytes_varint(&t->samples, DEPTH - shared);
	bytes_varint(&t->samples, DEPTH - shared);
	for (unsigned i = DEPTH; i-- > shared;)
		bytes_varint(&t->samples, frames[i]);
	memcpy(t->stack, frames, sizeof(frames));
	t->begun = true;
}

static bool tach_write(struct tach *t, uint64_t start_ns, const char *path)
{
	size_t bound, packed, frames_at;
	void *to;
	FILE *out;
	bool good;

	end_repeats(t);
	bound = ZSTD_compressBound(t->samples.len);
	to = malloc(bound);
	packed = to ? ZSTD_compress(to, bound, t->samples.data, t->samples.len, 5) : 0;
	for (uint32_t id = 1; id <= STRINGS; id++) {
		struct stream_string s;

		get_string(NULL, id, &s);
		bytes_varint(&t->tables, s.len);
		bytes_put(&t->tables, s.bytes, s.len);
	}
	frames_at = 64 + packed + t->tables.len;
	for (uint32_t id = 1; id <= FRAMES; id++) {
		struct stream_function function;
		struct stream_frame f;

		get_frame(NULL, id, &f);
		get_function(NULL, f.function, &function);
		bytes_varint(&t->tables, function.file - 1);
		bytes_varint(&t->tables, function.name - 1);
		bytes_zigzag(&t->tables, f.line);
		bytes_zigzag(&t->tables, f.end_line - f.line);
		bytes_zigzag(&t->tables, f.column);
		bytes_zigzag(&t->tables, f.end_column - f.column);
		bytes_byte(&t->tables, 255);
	}
	put(&t->head, 0x54414348, 4);
	put(&t->head, 1, 4);
	put(&t->head, 0x020f03, 4);
	put(&t->head, start_ns / 1000, 8);
	put(&t->head, 10, 8);
	put(&t->head, t->count, 8);
	put(&t->head, 1, 4);
	put(&t->head, 64 + packed, 8);
	put(&t->head, frames_at, 8);
	put(&t->head, 1, 4);
	put(&t->head, 0x09, 4);
	put(&t->tables, STRINGS, 4);
	put(&t->tables, FRAMES, 4);
	put(&t->tables, 64 + packed + t->tables.len + 24, 8);
	put(&t->tables, 0, 8);
	put(&t->tables, 0, 8);
	out = fopen(path, "w");
	good = out && packed && !ZSTD_isError(packed) &&
	       fwrite(t->head.data, 1, t->head.len, out) == t->head.len &&
	       fwrite(to, 1, packed, out) == packed &&
	       fwrite(t->tables.data, 1, t->tables.len, out) == t->tables.len;
	if (out && fclose(out) != 0)
		good = false;
	free(to);
	bytes_done(&t->samples);
	bytes_done(&t->head);
	bytes_done(&t->tables);
	bytes_done(&t->repeats);
	return good;
}

int main(int argc, char **argv)
{
	struct tach tach = {.count = 0};
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
		s.stack = stack * DEPTH + DEPTH;
		if (stream_writer_sample(w, &s) < 0)
			return 1;
		if (argc > 3)
			tach_sample(&tach, t, s.stack);
	}
	if (argc > 3 && !tach_write(&tach, 1000000000, argv[3]))
		return 1;
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
	/* Formats that show time want the samples one by one. */
	model_free(m);
	if (model_new(&m, &(struct model_options){.timeline = tmpfile}) < 0 ||
	    read_all(&b, &model_handler, m) < 0)
		return 1;
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
