#include "formats/timeline.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A record is a byte that says what follows, then the time since the record before, zigzag; numbers
 * are seven bits a byte. Most records take ten bytes or less, a quarter of a sample: what is
 * written and read again costs by the byte. */
enum {
	HAS_NS = 1, /* not the time since the record before */
	HAS_CPU = 2,
	HAS_THREAD = 4,
	HAS_NODE = 8,
	HAS_STATE = 16,
};
#define RECORD_MAX (1 + 3 * 10 + 5 + 4 + 3)
#define BUFFER	   (1u << 18)
#define BLOCK	   (1u << 15)

static int note_error(struct timeline *t)
{
	t->error = errno ? -errno : -EIO;
	return t->error;
}

static uint8_t *put_number(uint8_t *to, uint64_t n)
{
	for (; n >= 128; n >>= 7)
		*to++ = (uint8_t)(n | 128);
	*to++ = (uint8_t)n;
	return to;
}

static const uint8_t *take_number(const uint8_t *from, uint64_t *ret)
{
	unsigned shift = 0;

	for (*ret = 0; *from & 128; shift += 7)
		*ret |= (uint64_t)(*from++ & 127) << shift;
	*ret |= (uint64_t)*from++ << shift;
	return from;
}

/* RECORD_MAX bytes at most. */
static size_t pack(uint8_t *record, const struct model_sample *s, const struct model_sample *last)
{
	const uint64_t since = s->time_ns - last->time_ns;
	uint8_t *to = put_number(record + 1, since << 1 ^ (uint64_t) - (int64_t)(since >> 63));

	record[0] = 0;
	if (s->ns != since) {
		record[0] |= HAS_NS;
		to = put_number(to, s->ns);
	}
	if (s->cpu_ns) {
		record[0] |= HAS_CPU;
		to = put_number(to, s->cpu_ns);
	}
	if (s->thread != last->thread) {
		record[0] |= HAS_THREAD;
		to = put_number(to, s->thread);
	}
	if (s->node != last->node) {
		record[0] |= HAS_NODE;
		memcpy(to, &s->node, sizeof(s->node));
		to += sizeof(s->node);
	}
	if (s->state != last->state || s->how != last->how) {
		record[0] |= HAS_STATE;
		memcpy(to, &s->state, sizeof(s->state));
		to += sizeof(s->state);
		*to++ = s->how;
	}
	return (size_t)(to - record);
}

/* The record at from, of which RECORD_MAX bytes can be read; s is the sample before. What follows.
 */
static const uint8_t *unpack(const uint8_t *from, struct model_sample *s)
{
	const uint8_t has = *from++;
	uint64_t since, n;

	from = take_number(from, &since);
	since = since >> 1 ^ (uint64_t) - (int64_t)(since & 1);
	s->time_ns += since;
	s->ns = since;
	s->cpu_ns = 0;
	if (has & HAS_NS)
		from = take_number(from, &s->ns);
	if (has & HAS_CPU)
		from = take_number(from, &s->cpu_ns);
	if (has & HAS_THREAD) {
		from = take_number(from, &n);
		s->thread = (uint32_t)n;
	}
	if (has & HAS_NODE) {
		memcpy(&s->node, from, sizeof(s->node));
		from += sizeof(s->node);
	}
	if (has & HAS_STATE) {
		memcpy(&s->state, from, sizeof(s->state));
		from += sizeof(s->state);
		s->how = *from++;
	}
	return from;
}

static int write_out(struct timeline *t)
{
	if (t->used && fwrite_unlocked(t->buffer, t->used, 1, t->file) != 1)
		return note_error(t);
	t->used = 0;
	return 0;
}

void timeline_put(struct timeline *t, const struct model_sample *s)
{
	if (t->error || !t->open)
		return;
	errno = 0;
	if (!t->file) {
		t->file = t->open();
		t->buffer = t->file ? malloc(BUFFER) : NULL;
		if (!t->buffer) {
			note_error(t);
			return;
		}
		/* What is written and read is whole blocks. */
		setvbuf(t->file, NULL, _IONBF, 0);
	}
	if (t->used > BUFFER - RECORD_MAX && write_out(t) < 0)
		return;
	t->used += pack(t->buffer + t->used, s, &t->last);
	t->last = *s;
}

int timeline_each(struct timeline *t, int (*take)(void *arg, const struct model_sample *s),
		  void *arg)
{
	/* Zeros behind the end: a record that was cut is not read beyond them. */
	uint8_t block[BLOCK + RECORD_MAX] = {0};
	struct model_sample s = {0};
	size_t kept = 0;
	off_t at = 0;
	int r = 0;

	errno = 0;
	if (t->error || !t->file || write_out(t) < 0)
		return t->error;
	for (bool more = true; more && r == 0;) {
		const uint8_t *from = block, *end;
		size_t n;

		/* take may look at them, too. */
		if (fseeko(t->file, at, SEEK_SET) < 0)
			return note_error(t);
		n = fread_unlocked(block + kept, 1, BLOCK - kept, t->file);
		more = n == BLOCK - kept;
		if (!more && ferror_unlocked(t->file))
			return note_error(t);
		at += (off_t)n;
		end = block + kept + n;
		while (r == 0 && from < end && (!more || end - from >= RECORD_MAX)) {
			from = unpack(from, &s);
			r = take(arg, &s);
		}
		kept = from < end ? (size_t)(end - from) : 0;
		memmove(block, from, kept);
	}
	return r;
}

struct changing {
	struct timeline to;
	int (*change)(void *arg, struct model_sample *s);
	void *arg;
};

static int put_changed(void *arg, const struct model_sample *s)
{
	struct changing *c = arg;
	struct model_sample changed = *s;
	int r = c->change(c->arg, &changed);

	if (r == 0)
		timeline_put(&c->to, &changed);
	return r;
}

int timeline_change(struct timeline *t, int (*change)(void *arg, struct model_sample *s), void *arg)
{
	struct changing c = {.to = {.open = t->open}, .change = change, .arg = arg};
	int r = timeline_each(t, put_changed, &c);

	if (r == 0)
		r = c.to.error;
	c.to.error = r;
	timeline_done(t);
	*t = c.to;
	return r;
}

void timeline_done(struct timeline *t)
{
	if (t->file)
		fclose(t->file);
	free(t->buffer);
	*t = (struct timeline){0};
}
