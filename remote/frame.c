#include "remote/frame.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "remote/array.h"
#include "remote/frame-parts.h"
#include "remote/sampler.h"

#define TWICE_FRAMES 8	  /* of the frames elsewhere, counted from the leaf, are copied twice */
#define PRUNE_EVERY  16	  /* walks */
#define SETTLE_TIMES 16	  /* of so many times that is done, the base is read again after one */
#define SETTLE_AFTER 4096 /* walks since it had to be read again */

int walker_new(struct walker **ret, const struct target *target, uint64_t tstate, uint64_t ident,
	       uint64_t interp)
{
	struct walker *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	w->layout = &target->layout;
	w->ident = ident;
	w->interp = interp;
	if (windows_init(&w->windows, w->layout, tstate) < 0) {
		walker_free(w);
		return -ENOMEM;
	}
	*ret = w;
	return 0;
}

void walker_free(struct walker *w)
{
	if (!w)
		return;
	windows_done(&w->windows);
	free(w->known);
	free(w->fresh);
	free(w);
}

void walker_set_beside(struct walker *w, const struct memory_range *ranges, size_t n)
{
	w->windows.beside = ranges;
	w->windows.n_beside = n;
}

void walker_set_still(struct walker *w, bool still)
{
	w->still = still;
}

const uint8_t *walker_words(const struct walker *w)
{
	return w->windows.words;
}

void walker_forget(struct walker *w)
{
	w->n_known = 0;
	w->has_walk = false;
	w->resting = false;
}

static size_t hash_addr(uint64_t addr)
{
	return (size_t)((addr >> 3) * 0x9e3779b97f4a7c15ull >> 24);
}

/* After windows moved: the frames of the last walk are looked for anew; one that is not copied
 * any more ends what is known. */
void walker_relocate(struct walker *w)
{
	if (!w->windows.moved)
		return;
	w->windows.moved = false;
	for (size_t i = 0; i < w->n_known; i++) {
		struct known *k = &w->known[i];
		struct copied c;

		if (!windows_find(&w->windows, k->addr, (uint32_t)w->layout->frame.size, &c)) {
			w->n_known = i;
			break;
		}
		k->a = c.a;
		k->b = c.b;
		k->in_chunk = c.in_chunk;
	}
}

/* Whether no frame has room below it on the datastack, of which the first word is not used. */
static bool is_lowest(const struct walker *w, const struct known *k)
{
	uint64_t bottom = w->windows.chunks[0].addr + (uint64_t)w->layout->chunk.data;

	return k->addr == bottom || k->addr == bottom + 8;
}

/* The interpreter's own frame that a thread begins with stands on the C stack, in a page of its
 * own, and only says that there is nothing below it. Where the frame above it is the first on the
 * datastack, and stands where it stood, in the same call, it was not left: then it is not read.
 * (Had it been left, the same function would have to be called again from the same place of the C
 * stack, with nothing on the datastack, but by a generator; so it is read now and then.) */
static void settle_base(struct walker *w)
{
	const struct known *base = w->known;
	bool settled = w->n_known > 1 && w->windows.n_chunks && base->hidden && !base->in_chunk &&
		       base[1].in_chunk && is_lowest(w, &base[1]) &&
		       w->windows.walks - w->windows.wanted > SETTLE_AFTER &&
		       w->windows.walks / PRUNE_EVERY % SETTLE_TIMES != 0;

	windows_settle(&w->windows, settled ? base->addr : 0);
}

/* Tells the windows which frames the stack uses, and of which one copy is enough. */
static void prune(struct walker *w)
{
	for (size_t i = 0; i < w->n_known; i++) {
		const struct known *k = &w->known[i];

		if (!k->in_chunk)
			windows_mark(&w->windows, k->addr,
				     !k->hidden && w->n_known - i <= TWICE_FRAMES);
	}
	windows_prune(&w->windows);
	settle_base(w);
}

size_t walker_range_count(const struct walker *w)
{
	size_t n = windows_range_count(&w->windows);

	return n > WALKER_REST_RANGES ? n : WALKER_REST_RANGES;
}

size_t walker_ranges(struct walker *w, struct memory_range *out, bool twice)
{
	return windows_ranges(&w->windows, out, twice);
}

/* ---- what was copied ---- */

bool walker_words_are_ours(const struct walker *w)
{
	const struct layout *l = w->layout;

	return word_at(w->windows.words, l->tstate.interp) == w->interp &&
	       word_at(w->windows.words, l->tstate.thread_id) == w->ident;
}

/* The leaf's address by the words; 0 none. */
enum walk_result walker_leaf(struct walker *w, uint64_t *ret)
{
	const struct layout *l = w->layout;
	struct copied c;
	uint64_t cframe;

	if (l->tstate.cframe == ABSENT) {
		*ret = word_at(w->windows.words, l->tstate.frame);
		return WALK_OK;
	}
	*ret = 0;
	cframe = word_at(w->windows.words, l->tstate.cframe);
	if (cframe == 0)
		return WALK_OK;
	/* It is copied once, after the words that name it. */
	if (!windows_find(&w->windows, cframe, CFRAME_BYTES, &c))
		return WALK_MISS;
	*ret = word_at(c.a, l->cframe.current_frame);
	return WALK_OK;
}

/* Whether the generator that owns a frame was executing in both copies. If not it ran at most in
 * between, and who called it then may have been another at the same place. */
static bool executes(const struct walker *w, const uint8_t *a, const uint8_t *b)
{
	const uint32_t back = w->windows.state_back;
	const int8_t executing = w->layout->gen.executing;

	if (w->windows.once)
		b = a;
	a -= back;
	b -= back;
	return !back || ((int8_t)*a == executing && (int8_t)*b == executing);
}

/* As far as they were copied: a base that is settled is proven by the frame above it. */
static size_t unchanged(const struct walker *w, size_t n, bool held)
{
	const struct layout *l = w->layout;
	const int32_t code = l->frame.executable, previous = l->frame.previous;

	for (size_t i = 0; i < n; i++) {
		const struct known *k = &w->known[i];
		const uint8_t *a = k->a, *b = w->windows.once ? k->a : k->b;

		if (((word_at(a, code) ^ k->code) | (word_at(b, code) ^ k->code) |
		     (word_at(a, previous) ^ k->previous) | (word_at(b, previous) ^ k->previous) |
		     (ip_at(l, a) ^ k->ip) | (ip_at(l, b) ^ k->ip)) != 0)
			return i;
		if (k->generator == k->addr && !k->in_chunk && !held && !executes(w, a, b))
			return i;
	}
	return n;
}

/* How many frames of the last walk, from the base, are in both copies as they were then. */
size_t walker_unchanged(const struct walker *w, size_t n, bool held)
{
	size_t same = unchanged(w, n, held);

	return same == 1 && w->windows.settled != WINDOWS_NONE ? 0 : same;
}

/* The place of addr in the last walk if it is below limit; else limit. */
size_t walker_known_index(const struct walker *w, uint64_t addr, size_t limit)
{
	size_t i = w->near[hash_addr(addr) & ((1 << NEAR_BITS) - 1)];

	return i < limit && w->known[i].addr == addr ? i : limit;
}

static bool is_owner(int8_t owner, int8_t kind)
{
	return kind != ABSENT && owner == kind;
}

/* Takes the frame at addr out of the copies. */
enum walk_result walker_take_frame(struct walker *w, uint64_t addr, enum stand stand,
				   struct fresh *ret)
{
	const struct layout *l = w->layout;
	struct fresh f = {.addr = addr, .caller = stand == STANDS};
	struct copied c;
	const uint8_t *b;
	uint64_t previous;

	if (addr % 8)
		return WALK_TORN;
	if (!windows_find(&w->windows, addr, (uint32_t)l->frame.size, &c) || c.settled)
		return WALK_MISS;
	f.a = c.a;
	f.b = c.b;
	f.in_chunk = c.in_chunk;
	b = w->windows.once ? f.a : f.b;
	f.code = word_at(f.a, l->frame.executable);
	f.previous = word_at(f.a, l->frame.previous);
	previous = word_at(b, l->frame.previous);
	if (stand == MOVES && !f.previous)
		f.previous = previous;
	else if (stand == MOVES && !previous)
		previous = f.previous;
	f.ip = ip_at(l, b);
	if (f.code != word_at(b, l->frame.executable) || f.previous != previous ||
	    (stand == STANDS && f.ip != ip_at(l, f.a)))
		return WALK_TORN;
	if (l->frame.owner != ABSENT) {
		int8_t owner = (int8_t)b[l->frame.owner];

		f.hidden = is_owner(owner, l->frame.owner_interpreter) ||
			   is_owner(owner, l->frame.owner_cstack);
		f.generator = is_owner(owner, l->frame.owner_generator);
		if (!f.hidden && !f.generator && !is_owner(owner, l->frame.owner_thread) &&
		    !is_owner(owner, l->frame.owner_frame_object))
			return WALK_TORN;
	}
	f.entry = l->frame.is_entry != ABSENT && b[l->frame.is_entry];
	*ret = f;
	return WALK_OK;
}

/* Whether the newest chunk was copied as far as the stack reaches: to the leaf in it, or where that
 * stands elsewhere, to the top. What lies beyond is of an earlier gather. */
bool walker_copied_enough(const struct walker *w, uint64_t leaf)
{
	const struct windows *ws = &w->windows;
	const struct chunk *newest;

	if (!ws->n_chunks)
		return true;
	newest = &ws->chunks[ws->n_chunks - 1];
	if (leaf - newest->addr < newest->size)
		return leaf - newest->addr + (uint64_t)w->layout->frame.size <= newest->len;
	return windows_newest_used(ws) <= newest->len;
}

/* Whether the callers on the datastack are the same in both copies byte for byte, with their
 * values: up to the leaf, or where that stands elsewhere, up to the top. (The leaf's name may be a
 * little newer than the words with the top: layout.tstate.cframe.) */
static bool callers_stood(const struct walker *w, uint64_t leaf)
{
	const struct windows *ws = &w->windows;

	for (size_t i = ws->n_chunks; i > 0; i--) {
		const struct chunk *win = &ws->chunks[i - 1];
		uint32_t to = win->len;

		if (leaf - win->addr < win->len)
			to = (uint32_t)(leaf - win->addr);
		else if (i == ws->n_chunks && windows_newest_used(ws) < to)
			to = windows_newest_used(ws);
		if (to > win->twice_from &&
		    memcmp(win->a + win->twice_from, win->b + win->twice_from,
			   to - win->twice_from) != 0)
			return false;
	}
	return true;
}

/* Whether the newest chunk is the one that the words name. */
bool walker_newest_chunk_is(const struct walker *w)
{
	const struct windows *ws = &w->windows;

	return !ws->n_chunks || w->layout->tstate.datastack_chunk == ABSENT ||
	       word_at(ws->words, w->layout->tstate.datastack_chunk) ==
		       ws->chunks[ws->n_chunks - 1].addr;
}

/* ---- the walk ---- */

/* Makes the walk's result what is known: shared frames of the last walk and n fresh ones. */
static enum walk_result keep_walk(struct walker *w, struct walk_context *c, size_t shared, size_t n,
				  bool truncated, uint32_t *ret_stack)
{
	uint64_t generator = shared ? w->known[shared - 1].generator : 0;
	uint32_t stack = shared ? w->known[shared - 1].stack : 0;
	enum walk_result r;

	if (truncated) {
		uint32_t frame =
			walk_special_frame(c, &c->truncated_frame, "<truncated>", FRAME_TRUNCATED);

		stack = frame ? tables_stack(c->tables, 0, frame) : 0;
		if (!stack)
			return WALK_MEMORY;
	}
	r = walker_check_fresh(w, c, n);
	if (r != WALK_OK)
		return r;
	if (c->opcodes)
		walker_fetch_opcodes(w, c, n);
	if (array_reserve(&w->known, &w->room_known, shared + n, sizeof(*w->known)) < 0)
		return WALK_MEMORY;
	w->n_known = shared;
	for (size_t i = n; i > 0; i--) {
		struct fresh *f = &w->fresh[i - 1];
		bool own = f->hidden; /* the interpreter's, by its owner */

		r = walker_intern(w, c, f, stack, &stack);
		if (r != WALK_OK)
			break;
		if (f->generator)
			generator = f->addr;
		w->near[hash_addr(f->addr) & ((1 << NEAR_BITS) - 1)] = (uint16_t)w->n_known;
		w->known[w->n_known++] = (struct known){.addr = f->addr,
							.code = f->code,
							.previous = f->previous,
							.ip = f->ip,
							.serial = f->serial,
							.stack = stack,
							.generator = generator,
							.in_chunk = f->in_chunk,
							.hidden = f->hidden,
							.calls = own || f->caller,
							.a = f->a,
							.b = f->b};
	}
	/* A chain whose base was cut cannot be compared from its base. */
	if (truncated)
		w->n_known = 0;
	if (r != WALK_OK)
		return r;
	w->has_walk = !truncated;
	w->codes_stamp = c->stamp;
	*ret_stack = stack;
	return WALK_OK;
}

static enum walk_result walk(struct walker *w, struct walk_context *c, uint32_t *ret_stack,
			     bool *ret_repeat)
{
	const struct layout *l = w->layout;
	uint64_t addr, end = 0;
	size_t n = 0, same, place, shared = 0;
	bool truncated = false;
	struct fresh *f;
	enum walk_result r;

	if (w->doubtful && !c->held) {
		walker_forget(w);
		w->doubtful = false;
	}
	walker_relocate(w);
	w->windows.walks++;
	*ret_repeat = false;
	if (!walker_words_are_ours(w))
		return WALK_CHANGED;
	r = walker_leaf(w, &addr);
	if (r != WALK_OK)
		return r;
	if (l->tstate.base_frame != ABSENT)
		end = word_at(w->windows.words, l->tstate.base_frame);
	if (!walker_newest_chunk_is(w) || !walker_copied_enough(w, addr))
		return WALK_MISS;
	if (!w->windows.once && !callers_stood(w, addr))
		return WALK_TORN;
	place = walker_known_index(w, addr, w->n_known);
	same = walker_unchanged(w, place < w->n_known ? place + 1 : w->n_known, c->held);
	while (addr && addr != end) {
		place = walker_known_index(w, addr, same);
		if (place < same) {
			shared = place + 1;
			break;
		}
		if (n == SAMPLER_MAX_DEPTH) {
			truncated = true;
			break;
		}
		if (array_reserve(&w->fresh, &w->room_fresh, n + 1, sizeof(*w->fresh)) < 0)
			return WALK_MEMORY;
		f = &w->fresh[n];
		r = walker_take_frame(w, addr, n ? STANDS : EXECUTES, f);
		if (r == WALK_OK && f->generator && !f->in_chunk && !c->held &&
		    !executes(w, f->a, f->b))
			r = WALK_TORN;
		if (r != WALK_OK)
			return r;
		addr = w->fresh[n++].previous;
	}
	r = walker_check_known(w, c, shared);
	if (r == WALK_OK && n && shared)
		r = walker_check_caller(w, c, &w->known[shared - 1]);
	if (r != WALK_OK)
		return r;
	if (n == 0 && w->has_walk && shared == w->n_known) {
		w->codes_stamp = c->stamp;
		*ret_repeat = true;
		*ret_stack = shared ? w->known[shared - 1].stack : 0;
		return WALK_OK;
	}
	return keep_walk(w, c, shared, n, truncated, ret_stack);
}

enum walk_result walker_walk(struct walker *w, struct walk_context *c, struct memory_range *ranges,
			     uint32_t *ret_stack, bool *ret_repeat)
{
	enum walk_result r;

	if (!windows_take(&w->windows, ranges))
		return WALK_UNREADABLE;
	r = walk(w, c, ret_stack, ret_repeat);
	w->resting = r == WALK_OK && *ret_repeat && !w->windows.once &&
		     walker_remember_rest(w, c->gathered_ns);
	if (!*ret_repeat)
		w->rest.same = 0;
	if (w->windows.walks % PRUNE_EVERY == 0)
		prune(w);
	return r;
}
