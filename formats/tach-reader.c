#include "formats/tach-reader.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#include <zstd.h>

#include "formats/bytes.h"
#include "formats/stream-format.h"
#include "formats/table.h"

#define TACH_MAGIC   0x54414348u
#define TACH_VERSION 1

/* Offsets; numbers are in the byte order of the machine that recorded, which the magic shows. */
enum header_field {
	HEADER_VERSION = 4,   /* u32 */
	HEADER_PYTHON = 8,    /* major, minor, micro */
	HEADER_START = 12,    /* u64, CLOCK_MONOTONIC, us */
	HEADER_INTERVAL = 20, /* u64, us */
	HEADER_SAMPLES = 28,  /* u64, of threads */
	HEADER_STRINGS = 40,  /* u64, where the table begins */
	HEADER_FRAMES = 48,   /* u64 */
	HEADER_CODEC = 56,    /* u32, of the samples */
	HEADER_FLAGS = 60,    /* u32 */
	HEADER_LEN = 64,
};
enum flag {
	FLAG_MODE = 7,		/* these bits: the mode plus 1, 0 unknown */
	FLAG_FEATURES = 1 << 3, /* the next are known */
	FLAG_ALL_THREADS = 1 << 4,
	FLAG_BLOCKING = 1 << 8,
};
enum footer_field {
	FOOTER_STRINGS = 0, /* u32, how many */
	FOOTER_FRAMES = 4,  /* u32 */
	FOOTER_SIZE = 8,    /* u64, of the file */
	FOOTER_LEN = 32,
};
/* Optional, right before the footer: four doubles, and which of the last two are known. */
#define STATISTICS_MAGIC     "TACHSTAT"
#define STATISTICS_MAGIC_LEN 8
enum statistics_field {
	STATISTICS_SECONDS = 0,
	STATISTICS_FAILED = 16, /* percent of its attempts */
	STATISTICS_KNOWN = 32,	/* u32; bit 0: the one before */
	STATISTICS_MAGIC_AT = 40,
	STATISTICS_LEN = 56,
};

enum record_kind { STACK_REPEAT, STACK_FULL, STACK_SUFFIX, STACK_POP_PUSH, STACK_KINDS };
enum status {
	STATUS_GIL = 1 << 0,
	STATUS_CPU = 1 << 1,
	STATUS_CPU_UNKNOWN = 1 << 2,
	STATUS_GIL_WAIT = 1 << 3,
	STATUS_EXCEPTION = 1 << 4,
	STATUS_MAIN = 1 << 5,
};
#define NO_OPCODE  255
#define TACH_DEPTH 256	/* frames of a stack; the format's own bound */
#define RECORD_MAX 4096 /* bytes of a record with a whole stack, more than any has */
#define BUFFER	   (256u << 10)
#define ROWS	   4096
#define PUSHES	   (1u << 17) /* that are remembered */
#define PUSH_FROM  4	      /* frames; fewer are looked up one by one */
#define LOST	   UINT32_MAX
/* Stacks of one file: well over what its bytes are packed from, but a small file cannot take all
 * the memory there is. */
#define MIN_NODES    (1u << 20)
#define NODES_A_BYTE 32

/* Bytes of a part of the file, unpacked where they are packed. */
struct feed {
	const struct tach_input *in;
	uint64_t next, end; /* in the file */
	uint8_t *buffer, *at, *stop;
	ZSTD_DCtx *zstd; /* NULL: they are not packed */
	uint8_t *packed;
	ZSTD_inBuffer input;
	bool ended, damaged;
	int error;
};

/* What a name says about the frame that has it. */
enum { NAME_NATIVE = 1, NAME_GC = 2, NAME_NOWHERE = 4, NAME_INTERNAL = 8 };
enum { FRAME_LOST, FRAME_FINE, FRAME_INTERNAL };

/* A function, by what its frames say of it. */
struct function_key {
	uint32_t file, name, kind;
};

/* A stack as the file builds them; the callers are its parent's. */
struct node {
	uint32_t parent, frame;
	uint32_t id; /* of the handler; LOST: a frame of it is not defined */
	uint32_t depth;
};

/* A stack: its node, and the node's id, which is not looked up where it is known. */
struct place {
	uint32_t node, id;
};

/* The stack that some frames on another one make, by the XXH3 of their bytes: 64 bits of it, and
 * those that say where this is kept. */
struct push {
	uint64_t high;
	struct place to; /* node 0: free */
};

struct thread_key {
	uint64_t tid;
	uint32_t interpreter, pad;
};
struct thread {
	struct thread_key key;
	uint64_t time_us;
	struct place at;
	bool told;
};

struct reader {
	const struct stream_handler *h;
	void *arg;
	int error;

	bool swapped; /* numbers are in the other byte order */
	uint64_t start_us, promised, strings_at, frames_at;
	uint32_t string_count, frame_count; /* as the footer has them */
	bool has_footer;

	uint8_t *names, *frames; /* flags by number */
	uint32_t name_count, names_cap, known_frames, frames_cap;
	struct table functions, nodes, threads;
	struct push *pushes;
	uint32_t last_thread;
	uint32_t ids; /* stacks told to the handler */
	uint64_t max_nodes;

	uint64_t times[ROWS], cpu[ROWS];
	uint32_t row_threads[ROWS], row_stacks[ROWS];
	uint16_t states[ROWS];
	uint8_t how[ROWS];
	uint32_t no_task[ROWS]; /* what these files do not tell: zeros */
	size_t rows;
	uint64_t delivered, lost;
	uint16_t state_of[256];
};

#define CALL(r, name, ...)                                                                         \
	((r)->h->name ? stop(r, (r)->h->name((r)->arg, 0, __VA_ARGS__)) : (r)->error)

static int stop(struct reader *r, int error)
{
	if (r->error == 0)
		r->error = error;
	return r->error;
}

static void warn(struct reader *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void warn(struct reader *r, const char *format, ...)
{
	char text[256];
	va_list ap;

	if (!r->h->warning)
		return;
	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	r->h->warning(r->arg, text);
}

static uint32_t get32(const struct reader *r, const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return r->swapped ? __builtin_bswap32(v) : v;
}

static uint64_t get64(const struct reader *r, const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return r->swapped ? __builtin_bswap64(v) : v;
}

static double get_double(const struct reader *r, const uint8_t *p)
{
	uint64_t bits = get64(r, p);
	double v;

	memcpy(&v, &bits, sizeof(v));
	return v;
}

bool tach_begins(const void *bytes)
{
	uint32_t magic;

	memcpy(&magic, bytes, sizeof(magic));
	return magic == TACH_MAGIC || magic == __builtin_bswap32(TACH_MAGIC);
}

/* ---- bytes of the file ---- */

static int feed_init(struct feed *f, const struct tach_input *in, uint64_t from, uint64_t to,
		     bool packed)
{
	*f = (struct feed){.in = in, .next = from, .end = to};
	f->buffer = malloc(BUFFER);
	f->at = f->stop = f->buffer;
	if (packed) {
		f->packed = malloc(BUFFER);
		f->zstd = ZSTD_createDCtx();
	}
	return f->buffer && (!packed || (f->packed && f->zstd)) ? 0 : -ENOMEM;
}

static void feed_done(struct feed *f)
{
	free(f->buffer);
	free(f->packed);
	ZSTD_freeDCtx(f->zstd);
}

/* Up to n more bytes of the part: how many; 0 at its end, or where the file ends before that. */
static size_t read_part(struct feed *f, uint8_t *to, size_t n)
{
	ssize_t got;

	if (n > f->end - f->next)
		n = f->end - f->next;
	if (n == 0)
		return 0;
	got = f->in->read(f->in->arg, f->next, to, n);
	if (got < 0)
		f->error = (int)got;
	if (got <= 0) {
		f->end = f->next;
		return 0;
	}
	f->next += (uint64_t)got;
	return (size_t)got;
}

/* Into the rest of the buffer. */
static void unpack(struct feed *f)
{
	ZSTD_outBuffer output = {f->stop, BUFFER - (size_t)(f->stop - f->buffer), 0};

	while (output.pos < output.size && !f->ended) {
		size_t before = output.pos, left;

		if (f->input.pos == f->input.size) {
			f->input = (ZSTD_inBuffer){f->packed, read_part(f, f->packed, BUFFER), 0};
			/* What the decoder still holds comes without more input. */
			f->ended = f->input.size == 0;
		}
		left = ZSTD_decompressStream(f->zstd, &output, &f->input);
		if (ZSTD_isError(left)) {
			f->ended = f->damaged = true;
		} else if (f->ended && output.pos > before) {
			f->ended = false;
		}
	}
	f->stop += output.pos;
}

/* Makes n bytes lie behind at, as far as there are so many: how many do. */
static size_t feed_want(struct feed *f, size_t n)
{
	size_t have = (size_t)(f->stop - f->at);

	if (have >= n || f->ended)
		return have;
	memmove(f->buffer, f->at, have);
	f->at = f->buffer;
	f->stop = f->buffer + have;
	while (!f->ended && (size_t)(f->stop - f->at) < n) {
		if (f->zstd) {
			unpack(f);
		} else {
			size_t got = read_part(f, f->stop, BUFFER - (size_t)(f->stop - f->buffer));

			f->stop += got;
			f->ended = got == 0;
		}
	}
	return (size_t)(f->stop - f->at);
}

static inline bool get_varint(struct cursor *c, uint64_t *ret)
{
	if (c->at < c->end && *c->at < 0x80) {
		*ret = *c->at++;
		return true;
	}
	*ret = cursor_varint(c);
	return !c->bad;
}

static inline bool get_number(struct cursor *c, uint32_t *ret)
{
	uint64_t v;

	if (!get_varint(c, &v) || v > UINT32_MAX)
		return false;
	*ret = (uint32_t)v;
	return true;
}

/* ---- the tables ---- */

static bool put_flag(uint8_t **array, uint32_t *cap, uint32_t i, uint8_t flag)
{
	if (i >= *cap) {
		uint32_t more = *cap ? 2 * *cap : 1024;
		uint8_t *bytes = realloc(*array, more);

		if (!bytes)
			return false;
		*array = bytes;
		*cap = more;
	}
	(*array)[i] = flag;
	return true;
}

static bool is_text(const uint8_t *bytes, size_t len, const char *text)
{
	return len == strlen(text) && memcmp(bytes, text, len) == 0;
}

/* The sampler's own frames below a program that it started; it does not show them either. */
static bool is_internal(const uint8_t *bytes, size_t len)
{
	static const char suffix[] = "_sync_coordinator.py";
	size_t n = sizeof(suffix) - 1;

	return len >= n && memcmp(bytes + len - n, suffix, n) == 0;
}

static uint8_t name_flags(const uint8_t *bytes, size_t len)
{
	if (is_text(bytes, len, "~"))
		return NAME_NOWHERE;
	if (is_text(bytes, len, "<native>"))
		return NAME_NATIVE;
	if (is_text(bytes, len, "<GC>"))
		return NAME_GC;
	return is_internal(bytes, len) ? NAME_INTERNAL : 0;
}

/* How many of a table's entries there may be: what the footer says, if there is one. */
static uint32_t table_limit(const struct reader *r, uint32_t count)
{
	return r->has_footer && count < MAX_TOTAL_IDS ? count : MAX_TOTAL_IDS;
}

/* 0, or an error. What is behind a string that is no string is not defined. */
static int read_strings(struct reader *r, struct feed *f)
{
	uint32_t limit = table_limit(r, r->string_count);

	while (r->name_count < limit) {
		size_t have = feed_want(f, MAX_STRING + VARINT_MAX);
		struct cursor c = {f->at, f->at + have, false};
		struct stream_string s;
		uint32_t len;

		if (have == 0 || !get_number(&c, &len))
			return f->error;
		have = (size_t)(c.end - c.at);
		s = (struct stream_string){(const char *)c.at, len < MAX_STRING ? len : MAX_STRING};
		if (s.len > have)
			return f->error;
		if (!put_flag(&r->names, &r->names_cap, r->name_count, name_flags(c.at, s.len)))
			return -ENOMEM;
		if (CALL(r, string, ++r->name_count, &s) != 0)
			return r->error;
		f->at = (uint8_t *)c.at + s.len;
		/* One that is longer than strings may be loses its end. */
		for (uint32_t left = len - s.len; left > 0;) {
			size_t n = feed_want(f, 1);

			if (n == 0)
				return f->error;
			n = n < left ? n : left;
			f->at += n;
			left -= (uint32_t)n;
		}
	}
	return f->error;
}

/* The id of the function; 0 when memory is short or the handler stops. */
static uint32_t tell_function(struct reader *r, uint32_t file, uint32_t name)
{
	struct function_key key = {file + 1, name + 1, STREAM_FRAME_PYTHON};
	struct stream_function function;
	uint32_t before = r->functions.count, id;

	if (r->names[file] & NAME_NOWHERE) {
		key.file = 0;
		if (r->names[name] & NAME_NATIVE)
			key.kind = STREAM_FRAME_NATIVE;
		if (r->names[name] & NAME_GC)
			key.kind = STREAM_FRAME_GC;
	}
	id = table_intern(&r->functions, &key);
	if (id == 0) {
		stop(r, -ENOMEM);
		return 0;
	}
	function = (struct stream_function){key.name, key.file, 0, (uint8_t)key.kind};
	if (r->functions.count > before && CALL(r, function, id, &function) != 0)
		return 0;
	return id;
}

static int32_t position(int64_t v)
{
	return v >= 0 && v <= INT32_MAX ? (int32_t)v : -1;
}

/* One frame: whether there is one. */
static bool read_frame(struct cursor *c, uint32_t *ret_file, uint32_t *ret_name,
		       struct stream_frame *ret)
{
	uint64_t numbers[4];
	int64_t line, column;
	const uint8_t *op;

	if (!get_number(c, ret_file) || !get_number(c, ret_name))
		return false;
	for (int i = 0; i < 4; i++)
		if (!get_varint(c, &numbers[i]) || numbers[i] > UINT32_MAX)
			return false;
	op = cursor_take(c, 1);
	if (!op)
		return false;
	line = unzigzag(numbers[0]);
	column = unzigzag(numbers[2]);
	ret->line = position(line);
	ret->end_line = line < 0 ? -1 : position(line + unzigzag(numbers[1]));
	ret->column = position(column);
	ret->end_column = column < 0 ? -1 : position(column + unzigzag(numbers[3]));
	ret->op = *op == NO_OPCODE ? 0 : *op + 1;
	return true;
}

static int read_frames(struct reader *r, struct feed *f)
{
	uint32_t limit = table_limit(r, r->frame_count);

	while (r->known_frames < limit) {
		size_t have = feed_want(f, 6 * VARINT_MAX + 1);
		struct cursor c = {f->at, f->at + have, false};
		struct stream_frame frame = {0};
		uint8_t flag = FRAME_LOST;
		uint32_t file, name;

		if (have == 0 || !read_frame(&c, &file, &name, &frame))
			return f->error;
		f->at = (uint8_t *)c.at;
		if (file < r->name_count && name < r->name_count) {
			flag = r->names[file] & NAME_INTERNAL ? FRAME_INTERNAL : FRAME_FINE;
			frame.function = tell_function(r, file, name);
			if (r->error || CALL(r, frame, r->known_frames + 1, &frame) != 0)
				return r->error;
			if (frame.op && CALL(r, op, r->known_frames + 1, frame.op) != 0)
				return r->error;
		}
		if (!put_flag(&r->frames, &r->frames_cap, r->known_frames++, flag))
			return -ENOMEM;
	}
	return f->error;
}

/* Strings lie between the two tables' beginnings, frames behind them. */
static int read_tables(struct reader *r, const struct tach_input *in)
{
	uint64_t end = in->size - (r->has_footer ? FOOTER_LEN : 0);
	struct feed f;
	int e = feed_init(&f, in, r->strings_at, r->frames_at < end ? r->frames_at : end, false);

	if (e == 0)
		e = read_strings(r, &f);
	feed_done(&f);
	if (e < 0 || r->frames_at > end)
		return e;
	e = feed_init(&f, in, r->frames_at, end, false);
	if (e == 0)
		e = read_frames(r, &f);
	feed_done(&f);
	return e;
}

/* ---- stacks ---- */

static const struct node *node_at(const struct reader *r, uint32_t i)
{
	return (const struct node *)(const void *)r->nodes.items + i;
}

/* The node of a frame that was called by parent; 0 when there is an error, or too many of them. */
static uint32_t add_node(struct reader *r, uint32_t parent, uint32_t frame)
{
	struct node key = {.parent = parent, .frame = frame}, *n;
	uint32_t before = r->nodes.count, i, caller = node_at(r, parent)->id;
	uint8_t flag = frame < r->known_frames ? r->frames[frame] : FRAME_LOST;
	struct stream_stack stack = {caller, frame + 1};

	if (before >= r->max_nodes)
		return 0;
	i = table_intern(&r->nodes, &key);
	if (i == 0) {
		stop(r, -ENOMEM);
		return 0;
	}
	if (r->nodes.count == before)
		return i;
	n = (struct node *)(void *)r->nodes.items + i;
	n->depth = node_at(r, parent)->depth + 1;
	n->id = flag == FRAME_LOST ? LOST : caller;
	if (flag == FRAME_FINE && caller != LOST) {
		n->id = ++r->ids;
		if (CALL(r, stack, n->id, &stack) != 0)
			return 0;
	}
	return i;
}

/* Where count numbers end, NULL when they do not: each one's last byte has no high bit. */
static const uint8_t *numbers_end(const uint8_t *at, const uint8_t *end, uint32_t count)
{
	const uint64_t ones = 0x0101010101010101;

	while (count > 8 && end - at >= 8) {
		uint64_t word;

		memcpy(&word, at, sizeof(word));
		count -= (uint32_t)(((~word >> 7 & ones) * ones) >> 56);
		at += 8;
	}
	for (; count > 0; at++) {
		if (at == end)
			return NULL;
		count -= *at < 0x80;
	}
	return at;
}

/* Where it is remembered what so many frames from at to end make on top of node. */
static struct push *find_push(struct reader *r, const uint8_t *at, const uint8_t *end,
			      uint32_t count, uint32_t node)
{
	XXH128_hash_t hash =
		XXH3_128bits_withSeed(at, (size_t)(end - at), node | (uint64_t)count << 32);
	struct push *pair = &r->pushes[hash.low64 % PUSHES & ~1u], *push;

	/* Two places, side by side. */
	for (push = pair; push < pair + 2; push++)
		if (push->to.node && push->high == hash.high64)
			return push;
	push = pair + (pair->to.node && (!pair[1].to.node || hash.low64 & 1));
	*push = (struct push){.high = hash.high64};
	return push;
}

/* count frames, the leaf first, on top of a node: the stack that they make. False: they are none,
 * or the error of the reader is set. */
static bool push_frames(struct reader *r, struct cursor *c, uint32_t count, uint32_t node,
			struct place *ret)
{
	uint32_t frames[TACH_DEPTH];
	struct push *push = NULL;

	if (count >= PUSH_FROM) {
		const uint8_t *end = numbers_end(c->at, c->end, count);

		if (!end)
			return false;
		push = find_push(r, c->at, end, count, node);
		if (push->to.node) {
			*ret = push->to;
			c->at = end;
			return true;
		}
	}
	for (uint32_t i = 0; i < count; i++)
		if (!get_number(c, &frames[i]))
			return false;
	for (uint32_t i = count; i-- > 0;) {
		node = add_node(r, node, frames[i]);
		if (r->error || node == 0)
			return false;
	}
	*ret = (struct place){node, node_at(r, node)->id};
	if (push)
		push->to = *ret;
	return true;
}

static uint32_t pop_frames(const struct reader *r, uint32_t node, uint32_t count)
{
	for (; count > 0 && node; count--)
		node = node_at(r, node)->parent;
	return node;
}

/* The stack that a record makes of the thread's last one. False: it is damaged, or an error. */
static bool read_stack(struct reader *r, struct cursor *c, uint8_t kind, struct place *at)
{
	uint32_t first = 0, count, base = 0;

	if (kind != STACK_FULL && !get_number(c, &first))
		return false;
	if (!get_number(c, &count))
		return false;
	if (kind == STACK_SUFFIX) {
		uint32_t depth = node_at(r, at->node)->depth;

		/* The first number is how many stay. */
		if (first > depth)
			return false;
		base = pop_frames(r, at->node, depth - first);
	} else if (kind == STACK_POP_PUSH) {
		base = pop_frames(r, at->node, first);
	}
	return count <= TACH_DEPTH - node_at(r, base)->depth && push_frames(r, c, count, base, at);
}

/* ---- samples ---- */

static uint16_t state_of_status(uint8_t status)
{
	uint16_t state =
		STREAM_STATE_GIL_KNOWN | STREAM_STATE_GIL_WAIT_KNOWN | STREAM_STATE_EXCEPTION_KNOWN;

	if (status & STATUS_GIL)
		state |= STREAM_STATE_GIL;
	if (status & STATUS_GIL_WAIT)
		state |= STREAM_STATE_GIL_WAIT;
	if (!(status & STATUS_CPU_UNKNOWN))
		state |= STREAM_STATE_CPU_KNOWN;
	if (status & STATUS_CPU)
		state |= STREAM_STATE_CPU;
	/* Raised or handled: which of them is not told. */
	if (status & STATUS_EXCEPTION)
		state |= STREAM_STATE_HANDLING;
	if (status & STATUS_MAIN)
		state |= STREAM_STATE_MAIN;
	return state;
}

static int flush_rows(struct reader *r)
{
	const struct stream_batch b = {.n = r->rows,
				       .time_ns = r->times,
				       .thread = r->row_threads,
				       .stack = r->row_stacks,
				       .state = r->states,
				       .how = r->how,
				       .cpu_ns = r->cpu,
				       .task = r->no_task,
				       .below = r->no_task};
	size_t n = r->rows;

	r->rows = 0;
	return n ? CALL(r, samples, &b) : r->error;
}

static int tell_thread(struct reader *r, uint32_t id, struct thread *t, uint8_t status)
{
	const struct stream_thread thread = {.tid = t->key.tid,
					     .interpreter = t->key.interpreter,
					     .serial = id,
					     .main = (status & STATUS_MAIN) != 0};

	t->told = true;
	return CALL(r, thread, id, &thread);
}

/* One sample, delta_us after the thread's last. */
static int put_row(struct reader *r, uint32_t thread, struct thread *t, uint32_t id,
		   uint64_t delta_us, uint8_t status)
{
	size_t i = r->rows;

	if (!t->told && tell_thread(r, thread, t, status) != 0)
		return r->error;
	/* A clock that runs over the end of its numbers stands still there. */
	t->time_us += delta_us;
	if (t->time_us < delta_us || t->time_us > UINT64_MAX / 1000)
		t->time_us = UINT64_MAX / 1000;
	if (id == LOST) {
		r->lost++;
		return 0;
	}
	r->delivered++;
	r->times[i] = t->time_us * 1000;
	r->row_threads[i] = thread;
	r->row_stacks[i] = id;
	r->states[i] = r->state_of[status];
	return ++r->rows == ROWS ? flush_rows(r) : 0;
}

/* The same stack so many times more. False as of read_stack(). */
static bool read_repeats(struct reader *r, struct feed *f, struct cursor *c, uint32_t index,
			 struct thread *t)
{
	uint32_t count, id = t->at.id;

	if (!get_number(c, &count))
		return false;
	for (; count > 0; count--) {
		const uint8_t *status;
		uint64_t delta;

		if (c->end - c->at < VARINT_MAX + 1) {
			size_t have;

			f->at = (uint8_t *)c->at;
			have = feed_want(f, RECORD_MAX);
			*c = (struct cursor){f->at, f->at + have, false};
		}
		if (!get_varint(c, &delta))
			return false;
		status = cursor_take(c, 1);
		if (!status || put_row(r, index, t, id, delta, *status) != 0)
			return false;
	}
	return true;
}

/* The index of a thread, its state in *ret; 0 when there is an error, or there are too many. */
static uint32_t find_thread(struct reader *r, const uint8_t *p, struct thread **ret)
{
	struct thread_key key = {get64(r, p), get32(r, p + 8), 0};
	uint32_t before = r->threads.count, i = r->last_thread;

	*ret = (struct thread *)(void *)r->threads.items + i;
	if (i && memcmp(&(*ret)->key, &key, sizeof(key)) == 0)
		return i;
	r->last_thread = i = table_intern(&r->threads, &key);
	if (i == 0)
		stop(r, -ENOMEM);
	if (i == 0 || i > MAX_THREAD_IDS)
		return 0;
	*ret = (struct thread *)(void *)r->threads.items + i;
	if (r->threads.count > before)
		(*ret)->time_us = r->start_us;
	return i;
}

/* One record. False: it is damaged or cut, or the reader's error is set. */
static bool read_record(struct reader *r, struct feed *f, struct cursor *c)
{
	const uint8_t *head = cursor_take(c, 13);
	struct thread *t = NULL;
	const uint8_t *status;
	uint64_t delta;
	uint32_t i = head ? find_thread(r, head, &t) : 0;
	uint8_t kind;

	if (i == 0)
		return false;
	kind = head[12];
	if (kind == STACK_REPEAT)
		return read_repeats(r, f, c, i, t);
	if (kind >= STACK_KINDS || !get_varint(c, &delta))
		return false;
	status = cursor_take(c, 1);
	return status && read_stack(r, c, kind, &t->at) &&
	       put_row(r, i, t, t->at.id, delta, *status) == 0;
}

static int read_samples(struct reader *r, const struct tach_input *in, bool packed)
{
	struct feed f;
	int e = feed_init(&f, in, HEADER_LEN, r->strings_at, packed);
	size_t have;

	while (e == 0 && (have = feed_want(&f, RECORD_MAX)) > 0) {
		struct cursor c = {f.at, f.at + have, false};

		/* Records are short: many lie in what is there. */
		do {
			f.damaged |= !read_record(r, &f, &c) && !r->error;
		} while (!f.damaged && !r->error && c.end - c.at >= RECORD_MAX);
		f.at = (uint8_t *)c.at;
		if (f.damaged)
			break;
		e = r->error;
	}
	if (e == 0)
		e = f.error;
	if (e == 0)
		e = flush_rows(r);
	feed_done(&f);
	return e;
}

/* ---- the file ---- */

static const char *mode_name(uint32_t flags)
{
	static const char *const names[] = {"wall", "wall", "cpu", "gil", "wall", "exception"};
	uint32_t i = flags & FLAG_MODE;

	return names[i < sizeof(names) / sizeof(names[0]) ? i : 0];
}

static int tell_header(struct reader *r, const uint8_t *head, struct tach_facts *facts)
{
	struct stream_header *h = calloc(1, sizeof(*h));
	uint32_t flags = get32(r, head + HEADER_FLAGS);
	uint64_t interval_us = get64(r, head + HEADER_INTERVAL);
	int e;

	if (!h)
		return -ENOMEM;
	snprintf(facts->python, sizeof(facts->python), "%u.%u.%u", head[HEADER_PYTHON],
		 head[HEADER_PYTHON + 1], head[HEADER_PYTHON + 2]);
	memcpy(h->python, facts->python, sizeof(facts->python));
	snprintf(h->mode, sizeof(h->mode), "%s", mode_name(flags));
	snprintf(h->collected, sizeof(h->collected), "gil gil-wait exception");
	snprintf(h->not_collected, sizeof(h->not_collected), "cpu-time async");
	h->tachyon = true;
	h->all_threads = flags & FLAG_FEATURES && flags & FLAG_ALL_THREADS;
	h->blocking = flags & FLAG_FEATURES && flags & FLAG_BLOCKING;
	h->rate_hz = interval_us ? 1e6 / (double)interval_us : 0;
	h->start_monotonic_ns = r->start_us <= UINT64_MAX / 1000 ? r->start_us * 1000 : 0;
	h->time_unit_ns = 1000;
	h->stream_id = XXH3_64bits(head, HEADER_LEN);
	e = CALL(r, header, h);
	free(h);
	return e;
}

/* Reads as many bytes as that, or fails: 0, -EINVAL. */
static int read_exactly(const struct tach_input *in, uint64_t at, void *buf, size_t n)
{
	ssize_t got = in->read(in->arg, at, buf, n);

	return got < 0 ? (int)got : (size_t)got == n ? 0 : -EINVAL;
}

static int read_header(struct reader *r, const struct tach_input *in, uint8_t head[HEADER_LEN])
{
	uint32_t magic;
	int e = read_exactly(in, 0, head, HEADER_LEN);

	if (e < 0)
		return e;
	memcpy(&magic, head, sizeof(magic));
	if (!tach_begins(head))
		return -EINVAL;
	r->swapped = magic != TACH_MAGIC;
	if (get32(r, head + HEADER_VERSION) != TACH_VERSION)
		return get32(r, head + HEADER_VERSION) ? -EPROTONOSUPPORT : -EINVAL;
	r->max_nodes = MIN_NODES + NODES_A_BYTE * in->size;
	if (in->size > MAX_TOTAL_IDS || r->max_nodes > MAX_TOTAL_IDS)
		r->max_nodes = MAX_TOTAL_IDS;
	r->start_us = get64(r, head + HEADER_START);
	r->promised = get64(r, head + HEADER_SAMPLES);
	r->strings_at = get64(r, head + HEADER_STRINGS);
	r->frames_at = get64(r, head + HEADER_FRAMES);
	if (r->strings_at < HEADER_LEN || r->frames_at < r->strings_at)
		return -EINVAL;
	return r->strings_at >= in->size ? -ENODATA : 0;
}

/* The counts of the tables, and what the recorder measured. A file that is cut has neither. */
static int read_footer(struct reader *r, const struct tach_input *in, struct tach_facts *facts,
		       struct stream_summary *summary)
{
	uint8_t end[STATISTICS_LEN + FOOTER_LEN], *footer = end + STATISTICS_LEN;
	int e;

	facts->failed = -1;
	if (in->size < r->frames_at + FOOTER_LEN)
		return 0;
	e = read_exactly(in, in->size - FOOTER_LEN, footer, FOOTER_LEN);
	if (e < 0 || get64(r, footer + FOOTER_SIZE) != in->size)
		return e == -EINVAL ? 0 : e;
	r->has_footer = true;
	r->string_count = get32(r, footer + FOOTER_STRINGS);
	r->frame_count = get32(r, footer + FOOTER_FRAMES);
	if (in->size < r->frames_at + sizeof(end))
		return 0;
	e = read_exactly(in, in->size - sizeof(end), end, STATISTICS_LEN);
	if (e < 0)
		return e == -EINVAL ? 0 : e;
	if (memcmp(end + STATISTICS_MAGIC_AT, STATISTICS_MAGIC, STATISTICS_MAGIC_LEN) == 0) {
		double seconds = get_double(r, end + STATISTICS_SECONDS);
		double failed = get_double(r, end + STATISTICS_FAILED);

		if (seconds > 0 && seconds < 1e9)
			summary->totals.elapsed_ns = (uint64_t)(seconds * 1e9);
		if (get32(r, end + STATISTICS_KNOWN) & 1 && failed >= 0 && failed <= 100)
			facts->failed = failed / 100;
	}
	return 0;
}

/* What is not as the header says. */
static int tell_damage(struct reader *r)
{
	uint64_t missing = r->promised > r->delivered ? r->promised - r->delivered : 0;

	if (!r->has_footer)
		warn(r, "the recording is cut, or something follows it: names may be missing");
	else if (r->name_count < r->string_count || r->known_frames < r->frame_count)
		warn(r, "the tables of names are damaged");
	if (r->lost)
		warn(r,
		     "%" PRIu64 " of %" PRIu64 " samples are lost: the names of their frames "
		     "are missing",
		     r->lost, r->promised);
	if (missing > r->lost)
		warn(r,
		     "damaged behind its sample %" PRIu64 ": %" PRIu64 " of %" PRIu64
		     " samples are lost",
		     r->delivered + r->lost, missing - r->lost, r->promised);
	else if (r->delivered + r->lost > r->promised)
		warn(r, "there are more samples than the %" PRIu64 " that the header tells of",
		     r->promised);
	return missing ? CALL(r, damage, missing) : 0;
}

static int read_all(struct reader *r, const struct tach_input *in, struct tach_facts *facts)
{
	uint8_t head[HEADER_LEN];
	struct stream_summary *summary = calloc(1, sizeof(*summary));
	int e = summary ? read_header(r, in, head) : -ENOMEM;

	if (e == 0)
		e = read_footer(r, in, facts, summary);
	if (e == 0)
		e = tell_header(r, head, facts);
	if (e == 0)
		e = CALL(r, segment, 0);
	if (e == 0)
		e = read_tables(r, in);
	if (e == 0)
		e = read_samples(r, in, get32(r, head + HEADER_CODEC) != 0);
	if (e == 0)
		e = tell_damage(r);
	if (e == 0 && r->has_footer) {
		summary->totals.achieved = r->promised;
		snprintf(summary->end, sizeof(summary->end), "stopped");
		e = CALL(r, summary, summary);
	}
	facts->samples = r->delivered;
	free(summary);
	return e;
}

int tach_read(const struct tach_input *in, const struct stream_handler *h, void *arg,
	      struct tach_facts *ret_facts)
{
	struct reader *r = calloc(1, sizeof(*r));
	struct tach_facts facts = {.failed = -1};
	int e = -ENOMEM;

	if (!r)
		return e;
	r->h = h;
	r->arg = arg;
	for (unsigned i = 0; i < 256; i++)
		r->state_of[i] = state_of_status((uint8_t)i);
	r->pushes = calloc(PUSHES, sizeof(*r->pushes));
	if (r->pushes &&
	    table_init(&r->functions, sizeof(struct function_key), sizeof(struct function_key)) ==
		    0 &&
	    table_init(&r->nodes, sizeof(struct node), offsetof(struct node, id)) == 0 &&
	    table_init(&r->threads, sizeof(struct thread), sizeof(struct thread_key)) == 0)
		e = read_all(r, in, &facts);
	table_done(&r->functions);
	table_done(&r->nodes);
	free(r->pushes);
	table_done(&r->threads);
	free(r->names);
	free(r->frames);
	free(r);
	if (e == 0)
		*ret_facts = facts;
	return e;
}
