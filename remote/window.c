#include "remote/window.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "remote/array.h"

#define MAX_CHUNKS	512	   /* datastack chunks: 8 MB of frames */
#define MAX_CHUNK_BYTES (1u << 20) /* of one chunk; CPython makes 16 KiB ones */
#define SLACK		512	   /* bytes copied beyond the last known top of the datastack */
#define TWICE_BYTES	8192u	   /* of the top of the datastack that are copied twice */
#define TWICE_STEP	2048u
#define SPAN_GAP	1500 /* bytes; nearer frames are one range: cheaper than two */
#define PRUNE_TICKS	128  /* a frame elsewhere not seen for so many walks is read no more */
#define MAX_SPARE                                                                                  \
	24 /* of such frames, how many are kept while they age: with fewer, stacks that            \
	    * change fast are told by how often they were seen */
#define NO_SPAN	 WINDOWS_NONE
#define MAX_LEAD 64 /* bytes of a generator before its frame: its state, its exceptions' link */

static uint64_t word_at(const uint8_t *p, int32_t offset)
{
	uint64_t w;

	memcpy(&w, p + offset, 8);
	return w;
}

int windows_init(struct windows *w, const struct layout *layout, uint64_t tstate)
{
	w->layout = layout;
	w->tstate = tstate;
	w->settled = WINDOWS_NONE;
	if (layout->gen.iframe != ABSENT)
		w->lead = MAX_LEAD;
	if (layout->gen.frame_state != ABSENT && layout->gen.frame_state < layout->gen.iframe &&
	    layout->gen.iframe - layout->gen.frame_state <= MAX_LEAD)
		w->state_back = (uint32_t)(layout->gen.iframe - layout->gen.frame_state);
	w->words = calloc(1, (size_t)layout->tstate.size);
	return w->words ? 0 : -ENOMEM;
}

void windows_done(struct windows *w)
{
	for (size_t i = 0; i < w->n_chunks; i++)
		free(w->chunks[i].a);
	free(w->chunks);
	free(w->outside);
	free(w->spans);
	free(w->copies);
	free(w->words);
}

/* ---- chunks ---- */

/* Room for len bytes in both copies; what they held is lost. */
static int chunk_reserve(struct chunk *c, uint32_t len)
{
	uint32_t room = (len + 255) & ~255u;
	uint8_t *p;

	if (c->room >= len)
		return 0;
	p = calloc(2, room);
	if (!p)
		return -ENOMEM;
	free(c->a);
	c->a = p;
	c->b = p + room;
	c->room = room;
	return 0;
}

static uint32_t used_of(const struct windows *w, const struct chunk *newest)
{
	uint64_t top;

	if (w->layout->tstate.datastack_top == ABSENT)
		return newest->size;
	top = word_at(w->words, w->layout->tstate.datastack_top) - newest->addr;
	return top >= (uint64_t)w->layout->chunk.data && top <= newest->size ? (uint32_t)top : 0;
}

uint32_t windows_newest_used(const struct windows *w)
{
	return w->n_chunks ? used_of(w, &w->chunks[w->n_chunks - 1]) : 0;
}

/* Only the top of the datastack is copied twice: frames below one that stood still could not move
 * either. The boundary moves in steps, so that it rarely does. */
static void plan_twice(struct windows *w)
{
	uint32_t left = TWICE_BYTES;

	for (size_t i = w->n_chunks; i > 0; i--) {
		struct chunk *c = &w->chunks[i - 1];
		uint32_t from = left == 0	? c->len
				: c->len > left ? (c->len - left) & ~(TWICE_STEP - 1)
						: 0;

		/* Too much copied twice does no harm. */
		if (c->twice_from > from || c->twice_from + TWICE_STEP < from || left == 0) {
			w->moved |= c->twice_from != from;
			c->twice_from = from;
		}
		left = c->len < left ? left - c->len : 0;
	}
}

/* How much of the newest chunk to copy next: to the top as it was last, some slack, and as far as
 * it reached lately (which decays). */
static void plan_newest(struct windows *w)
{
	struct chunk *c = &w->chunks[w->n_chunks - 1];
	uint32_t used = used_of(w, c), len;

	if (used == 0)
		return;
	if (w->top_seen < used)
		w->top_seen = used;
	else
		w->top_seen -= (w->top_seen - used + 63) / 64;
	len = w->top_seen + SLACK;
	if (len > c->size)
		len = c->size;
	/* Room may be short when memory is: then less is copied and the rest is a miss. */
	if (len > c->room && chunk_reserve(c, len > c->size / 2 ? c->size : len) == 0)
		w->moved = true;
	c->len = len < c->room ? len : c->room;
	plan_twice(w);
}

/* The chunk at addr as the target describes it; its copies are taken over from the old list. */
static int read_chunk(struct windows *w, struct memory *m, uint64_t addr, bool newest,
		      struct chunk *ret, uint64_t *ret_previous)
{
	const struct layout *l = w->layout;
	uint8_t head[64];
	uint64_t size, top;

	*ret = (struct chunk){.addr = addr};
	if (addr % 8 || l->chunk.data > (int32_t)sizeof(head) ||
	    memory_read(m, addr, head, (size_t)l->chunk.data) < 0)
		return -EAGAIN;
	*ret_previous = word_at(head, l->chunk.previous);
	size = word_at(head, l->chunk.size);
	top = word_at(head, l->chunk.top);
	if (size < (uint64_t)l->chunk.data || size > MAX_CHUNK_BYTES)
		return -EAGAIN;
	ret->size = (uint32_t)size;
	ret->len = newest	    ? used_of(w, ret)
		   : top > size / 8 ? 0
				    : (uint32_t)(l->chunk.data + (int32_t)(top * 8));
	if (ret->len == 0 || ret->len > size)
		return -EAGAIN;
	for (size_t i = 0; i < w->n_chunks; i++)
		if (w->chunks[i].addr == addr) {
			ret->a = w->chunks[i].a;
			ret->b = w->chunks[i].b;
			ret->room = w->chunks[i].room;
			w->chunks[i] = (struct chunk){0};
		}
	return chunk_reserve(ret, ret->len);
}

/* Follows the list of chunks from the newest. */
static int list_chunks(struct windows *w, struct memory *m, uint64_t addr)
{
	struct chunk found[MAX_CHUNKS];
	size_t n = 0;
	int r = 0;

	while (addr && n < MAX_CHUNKS && r == 0) {
		r = read_chunk(w, m, addr, n == 0, &found[n], &addr);
		if (r == 0)
			n++;
		else
			free(found[n].a);
	}
	for (size_t i = 0; i < w->n_chunks; i++)
		free(w->chunks[i].a);
	w->n_chunks = 0;
	w->moved = true;
	if (r == 0)
		r = array_reserve(&w->chunks, &w->room_chunks, n, sizeof(*w->chunks));
	for (size_t i = 0; i < n; i++) {
		if (r == 0)
			w->chunks[w->n_chunks++] = found[n - 1 - i];
		else
			free(found[i].a);
	}
	w->top_seen = w->n_chunks ? w->chunks[w->n_chunks - 1].len : 0;
	return r;
}

int windows_plan_chunks(struct windows *w, struct memory *m)
{
	uint64_t addr;
	int r = 0;

	if (w->layout->tstate.datastack_chunk == ABSENT)
		return 0;
	addr = word_at(w->words, w->layout->tstate.datastack_chunk);
	if (!w->n_chunks || w->chunks[w->n_chunks - 1].addr != addr)
		r = list_chunks(w, m, addr);
	if (r < 0)
		return r;
	if (w->n_chunks) {
		struct chunk *newest = &w->chunks[w->n_chunks - 1];
		uint32_t used = used_of(w, newest);

		/* The whole of it, even when it grew by more than the slack. */
		if (used > newest->len) {
			if (chunk_reserve(newest, used) < 0)
				return -ENOMEM;
			newest->len = used;
			w->moved = true;
		}
	}
	for (size_t i = 0; i < w->n_chunks; i++) {
		struct chunk *c = &w->chunks[i];

		c->failed = memory_read(m, c->addr, c->a, c->len) < 0;
	}
	return 0;
}

/* ---- frames elsewhere ---- */

/* The place of addr among them, or where it would be. */
static size_t place_of(const struct windows *w, uint64_t addr)
{
	size_t low = 0, high = w->n_outside;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (w->outside[middle].addr < addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct outside *find_outside(const struct windows *w, uint64_t addr)
{
	size_t i = place_of(w, addr);

	return i < w->n_outside && w->outside[i].addr == addr ? &w->outside[i] : NULL;
}

/* Makes spans of those that are copied twice, or of the others. Returns where the next copies
 * begin. */
static size_t make_spans(struct windows *w, bool twice, size_t at)
{
	struct span *span = NULL;

	for (size_t i = 0; i < w->n_outside; i++) {
		struct outside *o = &w->outside[i];

		if (o->twice != twice)
			continue;
		if (!span || o->addr - w->lead - span->addr > (uint64_t)span->len + SPAN_GAP) {
			span = &w->spans[w->n_spans++];
			*span = (struct span){.addr = o->addr - w->lead, .at = (uint32_t)at};
		}
		o->span = (uint32_t)(w->n_spans - 1);
		o->at = span->at + (uint32_t)(o->addr - span->addr);
		if (o->at + o->len > at) {
			at = o->at + o->len;
			span->len = (uint32_t)(at - span->at);
		}
		/* Copies begin at multiples of 8, as frames do. */
		at = (at + 7) & ~(size_t)7;
	}
	return at;
}

/* Lays out the copies anew. What they held is lost. */
static int lay_out(struct windows *w)
{
	size_t need;

	w->stale = false;
	w->moved = true;
	w->settled = WINDOWS_NONE;
	w->n_spans = 0;
	if (array_reserve(&w->spans, &w->room_spans, w->n_outside, sizeof(*w->spans)) < 0)
		return -ENOMEM;
	need = make_spans(w, true, 0);
	w->n_twice = w->n_spans;
	need = make_spans(w, false, need);
	if (need > w->room) {
		uint8_t *p = calloc(2, need * 2);

		if (!p)
			return -ENOMEM;
		free(w->copies);
		w->copies = p;
		w->room = need * 2;
	}
	/* Nothing is there before the next gather. */
	for (size_t i = 0; i < w->n_spans; i++)
		w->spans[i].failed = true;
	return 0;
}

int windows_add(struct windows *w, uint64_t addr, uint32_t len, bool twice)
{
	size_t i = place_of(w, addr);

	if (i < w->n_outside && w->outside[i].addr == addr) {
		w->outside[i].used = w->walks;
		if (w->outside[i].span == w->settled) {
			w->settled = WINDOWS_NONE;
			w->wanted = w->walks;
		}
		return 0;
	}
	if (array_reserve(&w->outside, &w->room_outside, w->n_outside + 1, sizeof(*w->outside)) < 0)
		return -ENOMEM;
	memmove(w->outside + i + 1, w->outside + i, (w->n_outside - i) * sizeof(*w->outside));
	w->outside[i] = (struct outside){
		.addr = addr, .len = len, .used = w->walks, .span = NO_SPAN, .twice = twice};
	w->n_outside++;
	w->stale = true;
	return 0;
}

void windows_drop_failed(struct windows *w)
{
	size_t kept = 0;

	for (size_t i = 0; i < w->n_outside; i++)
		if (w->outside[i].span == NO_SPAN || !w->spans[w->outside[i].span].failed)
			w->outside[kept++] = w->outside[i];
	w->stale |= kept != w->n_outside;
	w->n_outside = kept;
}

void windows_settle(struct windows *w, uint64_t addr)
{
	const struct outside *o = addr ? find_outside(w, addr) : NULL, *end;

	w->settled = WINDOWS_NONE;
	if (!o || w->stale || o->twice || o->span == NO_SPAN || w->spans[o->span].failed)
		return;
	end = w->outside + w->n_outside;
	if ((o == w->outside || o[-1].span != o->span) && (o + 1 == end || o[1].span != o->span))
		w->settled = o->span;
}

void windows_mark(struct windows *w, uint64_t addr, bool twice)
{
	struct outside *o = find_outside(w, addr);

	if (!o)
		return;
	o->used = w->walks;
	w->stale |= o->twice != twice;
	o->twice = twice;
}

void windows_prune(struct windows *w)
{
	size_t kept = 0, spare = 0;

	for (size_t i = 0; i < w->n_outside; i++)
		spare += w->outside[i].used != w->walks;
	for (size_t i = 0; i < w->n_outside; i++) {
		uint32_t age = w->walks - w->outside[i].used;

		if (age <= PRUNE_TICKS && (spare <= MAX_SPARE || age <= PRUNE_TICKS / 8))
			w->outside[kept++] = w->outside[i];
	}
	w->stale |= kept != w->n_outside;
	w->n_outside = kept;
}

/* ---- the gather ---- */

bool windows_find(struct windows *w, uint64_t addr, uint32_t len, struct copied *ret)
{
	struct outside *o;

	for (size_t i = w->n_chunks; i > 0; i--) {
		const struct chunk *c = &w->chunks[i - 1];
		uint64_t at = addr - c->addr;

		if (at < c->len) {
			ret->a = c->a + at;
			ret->b = (at < c->twice_from ? c->a : c->b) + at;
			ret->in_chunk = true;
			ret->settled = false;
			return !c->failed && c->len - at >= len;
		}
	}
	o = find_outside(w, addr);
	if (!o || o->span == NO_SPAN || o->len < len || w->spans[o->span].failed)
		return false;
	o->used = w->walks;
	ret->a = w->copies + o->at;
	ret->b = ret->a + (o->span < w->n_twice ? w->room : 0);
	ret->in_chunk = false;
	ret->settled = o->span == w->settled;
	return true;
}

size_t windows_range_count(const struct windows *w)
{
	return w->n_chunks * 3 + w->n_outside * 2 + 1 + w->n_beside;
}

static size_t chunk_range(const struct chunk *c, uint32_t from, uint32_t to, uint8_t *copy,
			  struct memory_range *out)
{
	*out = (struct memory_range){.addr = c->addr + from, .len = to - from, .buf = copy + from};
	return to > from;
}

/* `copy` is where among the copies: 0, or `room` for the second. */
static size_t span_ranges(const struct windows *w, size_t from, size_t to, size_t copy,
			  struct memory_range *out)
{
	size_t n = 0;

	for (size_t i = from; i < to; i++)
		if (i != w->settled)
			out[n++] = (struct memory_range){.addr = w->spans[i].addr,
							 .len = w->spans[i].len,
							 .buf = w->copies + copy + w->spans[i].at};
	return n;
}

size_t windows_ranges(struct windows *w, struct memory_range *out, bool twice)
{
	size_t n = 0;

	if (w->stale && lay_out(w) < 0)
		w->n_outside = w->n_spans = w->n_twice = 0;
	if (w->n_chunks)
		plan_newest(w);
	w->once = !twice;
	n += span_ranges(w, 0, w->n_twice, 0, out + n);
	for (size_t i = w->n_chunks; i > 0; i--) {
		const struct chunk *c = &w->chunks[i - 1];

		n += chunk_range(c, c->twice_from, c->len, c->a, out + n);
	}
	out[n++] = (struct memory_range){
		.addr = w->tstate, .len = (uint32_t)w->layout->tstate.size, .buf = w->words};
	for (size_t i = 0; i < w->n_beside; i++)
		out[n++] = w->beside[i];
	for (size_t i = w->n_chunks; i > 0; i--) {
		const struct chunk *c = &w->chunks[i - 1];

		n += chunk_range(c, 0, c->twice_from, c->a, out + n);
	}
	n += span_ranges(w, w->n_twice, w->n_spans, 0, out + n);
	if (w->once)
		return n;
	for (size_t i = w->n_chunks; i > 0; i--) {
		const struct chunk *c = &w->chunks[i - 1];

		n += chunk_range(c, c->twice_from, c->len, c->b, out + n);
	}
	n += span_ranges(w, 0, w->n_twice, w->room, out + n);
	return n;
}

/* Where windows_ranges() put it, each range says whether it failed. */
bool windows_take(struct windows *w, const struct memory_range *ranges)
{
	size_t n = 0;

	for (size_t i = 0; i < w->n_twice; i++)
		w->spans[i].failed = ranges[n++].failed;
	for (size_t i = w->n_chunks; i > 0; i--) {
		struct chunk *c = &w->chunks[i - 1];

		c->failed = c->twice_from < c->len && ranges[n++].failed;
	}
	w->unreadable = ranges[n++].failed;
	n += w->n_beside;
	for (size_t i = w->n_chunks; i > 0; i--) {
		struct chunk *c = &w->chunks[i - 1];

		c->failed |= c->twice_from > 0 && ranges[n++].failed;
	}
	for (size_t i = w->n_twice; i < w->n_spans; i++)
		if (i != w->settled)
			w->spans[i].failed = ranges[n++].failed;
	if (w->once)
		return !w->unreadable;
	for (size_t i = w->n_chunks; i > 0; i--) {
		struct chunk *c = &w->chunks[i - 1];

		c->failed |= c->twice_from < c->len && ranges[n++].failed;
	}
	for (size_t i = 0; i < w->n_twice; i++)
		w->spans[i].failed |= ranges[n++].failed;
	return !w->unreadable;
}
