#include <stdlib.h>
#include <string.h>

#include "remote/frame-parts.h"

#define REST_AFTER 8 /* walks that are the same: a tight loop often is so twice */

/* Whether all that can move in the thread's stack lies in one chunk, which copy A has whole. */
static bool may_rest(const struct walker *w)
{
	const struct windows *ws = &w->windows;
	uint32_t used = windows_newest_used(ws);

	if (!w->has_walk || !w->n_known || ws->n_chunks != 1 ||
	    w->layout->tstate.datastack_top == ABSENT || used == 0 || used > ws->chunks[0].len ||
	    ws->chunks[0].failed || !w->known[w->n_known - 1].in_chunk)
		return false;
	/* A frame of the interpreter's own, elsewhere, only leads from one in the chunk to another.
	 */
	for (size_t i = 0; i < w->n_known; i++)
		if (!w->known[i].in_chunk && !w->known[i].hidden)
			return false;
	return true;
}

/* After a proven walk that repeated the one before: remembers how the thread stands. So often the
 * same, and it rests. */
bool walker_remember_rest(struct walker *w)
{
	size_t size = (size_t)w->layout->tstate.size;

	if (!may_rest(w))
		return false;
	if (!w->rest) {
		w->rest = calloc(1, sizeof(*w->rest) + size);
		if (!w->rest)
			return false;
		w->rest->words = (uint8_t *)(w->rest + 1);
	}
	if (w->rest->same && memcmp(w->rest->words, w->windows.words, size) == 0)
		return ++w->rest->same > REST_AFTER;
	w->rest->same = 1;
	memcpy(w->rest->words, w->windows.words, size);
	return false;
}

bool walker_rests(const struct walker *w)
{
	return w->resting;
}

struct memory_range walker_rest_words(struct walker *w)
{
	return (struct memory_range){.addr = w->windows.tstate,
				     .len = (uint32_t)w->layout->tstate.size,
				     .buf = w->windows.words};
}

size_t walker_rest_ranges(struct walker *w, struct memory_range *out)
{
	const struct layout *l = w->layout;

	const struct chunk *newest = &w->windows.chunks[0];

	out[0] = (struct memory_range){
		.addr = newest->addr, .len = windows_newest_used(&w->windows), .buf = newest->b};
	if (l->tstate.cframe == ABSENT)
		return 1;
	/* In 3.11 and 3.12 the leaf is named there. */
	out[1] = (struct memory_range){.addr = word_at(w->rest->words, l->tstate.cframe),
				       .len = CFRAME_BYTES,
				       .buf = w->rest->cframe};
	return 2;
}

static bool leaf_stays(const struct walker *w, const struct memory_range *ranges)
{
	if (w->layout->tstate.cframe == ABSENT)
		return true;
	return !ranges[1].failed && word_at(w->rest->cframe, w->layout->cframe.current_frame) ==
					    w->known[w->n_known - 1].addr;
}

bool walker_still_rests(struct walker *w, struct walk_context *c, const struct memory_range *words,
			const struct memory_range *ranges, uint32_t *ret_stack)
{
	const struct chunk *newest = &w->windows.chunks[0];

	if (!words->failed && !ranges[0].failed &&
	    memcmp(w->windows.words, w->rest->words, (size_t)w->layout->tstate.size) == 0 &&
	    memcmp(newest->b, newest->a, ranges[0].len) == 0 && leaf_stays(w, ranges) &&
	    walker_check_known(w, c, w->n_known) == WALK_OK) {
		w->codes_stamp = c->stamp;
		*ret_stack = w->known[w->n_known - 1].stack;
		return true;
	}
	w->resting = false;
	w->rest->same = 0;
	return false;
}
