#include "remote/array.h"
#include "remote/frame-parts.h"
#include "remote/sampler.h"

/* Whether frame k stands in a part of the datastack that is in use by the words. */
static bool is_live(const struct walker *w, const struct known *k)
{
	const struct chunk *newest = &w->windows.chunks[w->windows.n_chunks - 1];
	uint32_t used = windows_newest_used(&w->windows);

	if (!k->in_chunk)
		return false;
	if (used > newest->len)
		used = newest->len;
	if (k->addr - newest->addr < newest->size)
		return k->addr - newest->addr + (uint64_t)w->layout->frame.size <= used;
	return true;
}

/* How many frames of the last walk, from the base, are proven to be in use: of the same unchanged
 * ones. */
static size_t live(const struct walker *w, size_t same)
{
	size_t n = 0;

	/* On the heap only the chain itself shows that a frame is in use. */
	if (w->layout->frame_style != FRAME_STYLE_INTERPRETER)
		return 0;
	/* Frames lie on the datastack one behind the other, so a frame that did not change, stands
	 * where the frame above an unchanged caller begins, and lies below the top, is alive. A
	 * frame elsewhere is proven by the one that it called. */
	for (size_t i = 0; i < same; i++) {
		if (is_live(w, &w->known[i]))
			n = i + 1;
		else if (w->known[i].in_chunk)
			break;
	}
	return n;
}

/* Follows the chain from the leaf down to one of the same unchanged frames of the last walk: how
 * many those are up to it; 0: it does not get there. *ret_n: the frames above it, leaf first; those
 * moved, but were in use when the leaf was named. */
static size_t climb(struct walker *w, size_t same, size_t *ret_n)
{
	uint64_t addr;

	*ret_n = 0;
	if (walker_leaf(w, &addr) != WALK_OK || !walker_copied_enough(w, addr))
		return 0;
	for (size_t n = 0; addr && n < SAMPLER_MAX_DEPTH; n++) {
		size_t place = walker_known_index(w, addr, same);

		*ret_n = n;
		if (place < same)
			return place + 1;
		if (array_reserve(&w->fresh, &w->room_fresh, n + 1, sizeof(*w->fresh)) < 0 ||
		    walker_take_frame(w, addr, MOVES, &w->fresh[n]) != WALK_OK)
			return 0;
		w->fresh[n].caller = n > 0;
		addr = w->fresh[n].previous;
	}
	return 0;
}

/* The frame that stands on the first n of the last walk, of above that were followed from the leaf.
 * It was called from there while it was read, and got on: where it stood last is shown. */
static uint32_t moving_above(struct walker *w, struct walk_context *c, size_t n, size_t above)
{
	uint32_t callers = w->known[n - 1].stack, stack = callers;

	if (!above)
		return callers;
	w->fresh[0] = w->fresh[above - 1];
	if (walker_check_caller(w, c, &w->known[n - 1]) != WALK_OK ||
	    walker_check_fresh(w, c, 1) != WALK_OK ||
	    walker_intern(w, c, &w->fresh[0], callers, &stack) != WALK_OK)
		return callers;
	return stack;
}

uint32_t walker_prefix(struct walker *w, struct walk_context *c)
{
	size_t same, proven, followed, above = 0;
	uint32_t frame, callers;

	w->prefix = (struct prefix){0};
	walker_relocate(w);
	if (w->layout->frame_style == FRAME_STYLE_INTERPRETER &&
	    (!w->windows.n_chunks || !walker_newest_chunk_is(w)))
		return 0;
	same = walker_unchanged(w, w->n_known, c->held);
	proven = live(w, same);
	followed = climb(w, same, &above);
	if (followed < proven)
		above = 0;
	else
		proven = followed;
	if (!proven || !w->known[proven - 1].stack || walker_check_known(w, c, proven) != WALK_OK)
		return 0;
	callers = moving_above(w, c, proven, above);
	w->prefix = (struct prefix){proven, callers != w->known[proven - 1].stack, callers};
	frame = walk_special_frame(c, &c->moving_frame, "<moving>", FRAME_MOVING);
	return frame ? tables_stack(c->tables, callers, frame) : 0;
}
