#include "formats/tach-parts.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

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
#define TACH_DEPTH 256	      /* frames of a stack; the format's own bound */
#define RECORD_MAX 4096	      /* bytes of a record with a whole stack, more than any has */
#define PUSHES	   (1u << 17) /* that are remembered */
#define PUSH_FROM  4	      /* frames; fewer are looked up one by one */
#define LOST	   UINT32_MAX
/* Stacks of one file: well over what its bytes are packed from, but a small file cannot take all
 * the memory there is. */
#define MIN_NODES    (1u << 20)
#define NODES_A_BYTE 32

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

int tach_stop(struct tach_reader *r, int error)
{
	if (r->error == 0)
		r->error = error;
	return r->error;
}

static void warn(struct tach_reader *r, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void warn(struct tach_reader *r, const char *format, ...)
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

static uint32_t get32(const struct tach_reader *r, const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return r->swapped ? __builtin_bswap32(v) : v;
}

static uint64_t get64(const struct tach_reader *r, const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return r->swapped ? __builtin_bswap64(v) : v;
}

static double get_double(const struct tach_reader *r, const uint8_t *p)
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

/* ---- stacks ---- */

static const struct node *node_at(const struct tach_reader *r, uint32_t i)
{
	return (const struct node *)(const void *)r->nodes.items + i;
}

/* The node of a frame that was called by parent; 0 when there is an error, or too many of them. */
static uint32_t add_node(struct tach_reader *r, uint32_t parent, uint32_t frame)
{
	struct node key = {.parent = parent, .frame = frame}, *n;
	uint32_t before = r->nodes.count, i, caller = node_at(r, parent)->id;
	uint8_t flag = frame < r->known_frames ? r->frames[frame] : FRAME_LOST;
	struct stream_stack stack = {caller, frame + 1};

	if (before >= r->max_nodes)
		return 0;
	i = table_intern(&r->nodes, &key);
	if (i == 0) {
		tach_stop(r, -ENOMEM);
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
static struct push *find_push(struct tach_reader *r, const uint8_t *at, const uint8_t *end,
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
static bool push_frames(struct tach_reader *r, struct cursor *c, uint32_t count, uint32_t node,
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

static uint32_t pop_frames(const struct tach_reader *r, uint32_t node, uint32_t count)
{
	for (; count > 0 && node; count--)
		node = node_at(r, node)->parent;
	return node;
}

/* The stack that a record makes of the thread's last one. False: it is damaged, or an error. */
static bool read_stack(struct tach_reader *r, struct cursor *c, uint8_t kind, struct place *at)
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

static int flush_rows(struct tach_reader *r)
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

static int tell_thread(struct tach_reader *r, uint32_t id, struct thread *t, uint8_t status)
{
	const struct stream_thread thread = {.tid = t->key.tid,
					     .interpreter = t->key.interpreter,
					     .serial = id,
					     .main = (status & STATUS_MAIN) != 0};

	t->told = true;
	return CALL(r, thread, id, &thread);
}

/* One sample, delta_us after the thread's last. */
static int put_row(struct tach_reader *r, uint32_t thread, struct thread *t, uint32_t id,
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
static bool read_repeats(struct tach_reader *r, struct tach_feed *f, struct cursor *c,
			 uint32_t index, struct thread *t)
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
			have = tach_feed_want(f, RECORD_MAX);
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
static uint32_t find_thread(struct tach_reader *r, const uint8_t *p, struct thread **ret)
{
	struct thread_key key = {get64(r, p), get32(r, p + 8), 0};
	uint32_t before = r->threads.count, i = r->last_thread;

	*ret = (struct thread *)(void *)r->threads.items + i;
	if (i && memcmp(&(*ret)->key, &key, sizeof(key)) == 0)
		return i;
	r->last_thread = i = table_intern(&r->threads, &key);
	if (i == 0)
		tach_stop(r, -ENOMEM);
	if (i == 0 || i > MAX_THREAD_IDS)
		return 0;
	*ret = (struct thread *)(void *)r->threads.items + i;
	if (r->threads.count > before)
		(*ret)->time_us = r->start_us;
	return i;
}

/* One record. False: it is damaged or cut, or the reader's error is set. */
static bool read_record(struct tach_reader *r, struct tach_feed *f, struct cursor *c)
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

static int read_samples(struct tach_reader *r, const struct tach_input *in, bool packed)
{
	struct tach_feed f;
	int e = tach_feed_init(&f, in, HEADER_LEN, r->strings_at, packed);
	size_t have;

	while (e == 0 && (have = tach_feed_want(&f, RECORD_MAX)) > 0) {
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
	tach_feed_done(&f);
	return e;
}

/* ---- the file ---- */

static const char *mode_name(uint32_t flags)
{
	static const char *const names[] = {"wall", "wall", "cpu", "gil", "wall", "exception"};
	uint32_t i = flags & FLAG_MODE;

	return names[i < sizeof(names) / sizeof(names[0]) ? i : 0];
}

static int tell_header(struct tach_reader *r, const uint8_t *head, struct tach_facts *facts)
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

static int read_header(struct tach_reader *r, const struct tach_input *in, uint8_t head[HEADER_LEN])
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
static int read_footer(struct tach_reader *r, const struct tach_input *in, struct tach_facts *facts,
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
static int tell_damage(struct tach_reader *r)
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

static int read_all(struct tach_reader *r, const struct tach_input *in, struct tach_facts *facts)
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
		e = tach_read_tables(r, in, in->size - (r->has_footer ? FOOTER_LEN : 0));
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
	struct tach_reader *r = calloc(1, sizeof(*r));
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
