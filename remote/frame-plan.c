#include <errno.h>

#include "remote/frame-parts.h"
#include "remote/sampler.h"

static enum walk_result result_of(int r)
{
	return r == -ENOMEM ? WALK_MEMORY : r < 0 ? WALK_TORN : WALK_OK;
}

/* Adds what stands at addr to what is copied, and reads it as it is now. */
static enum walk_result plan_outside(struct walker *w, struct memory *m, uint64_t addr,
				     uint8_t *bytes, uint32_t len, bool twice)
{
	if (addr % 8 || memory_read(m, addr, bytes, len) < 0)
		return WALK_TORN;
	return result_of(windows_add(&w->windows, addr, len, twice));
}

/* The frames outside the chunks, and the _PyCFrame, by following the chain as it is now. */
static enum walk_result plan_chain(struct walker *w, struct memory *m)
{
	const struct layout *l = w->layout;
	const uint8_t *words = w->windows.words;
	uint8_t bytes[FRAME_MAX_HEAD];
	uint64_t addr, end = 0;
	enum walk_result r = WALK_OK;

	if (l->tstate.cframe == ABSENT) {
		addr = word_at(words, l->tstate.frame);
	} else {
		addr = word_at(words, l->tstate.cframe);
		if (addr)
			r = plan_outside(w, m, addr, bytes, CFRAME_BYTES, false);
		if (addr && r == WALK_OK)
			addr = word_at(bytes, l->cframe.current_frame);
	}
	if (l->tstate.base_frame != ABSENT)
		end = word_at(words, l->tstate.base_frame);
	for (size_t n = 0; r == WALK_OK && addr && addr != end && n < SAMPLER_MAX_DEPTH; n++) {
		struct copied c;

		/* What is copied of frames elsewhere may be older than the rest. */
		if (windows_find(&w->windows, addr, (uint32_t)l->frame.size, &c) && c.in_chunk) {
			addr = word_at(c.a, l->frame.previous);
			continue;
		}
		r = plan_outside(w, m, addr, bytes, (uint32_t)l->frame.size, true);
		addr = word_at(bytes, l->frame.previous);
	}
	return r;
}

enum walk_result walker_plan(struct walker *w, struct memory *m)
{
	enum walk_result r;

	w->resting = false;
	if (memory_read(m, w->windows.tstate, w->windows.words, (size_t)w->layout->tstate.size) < 0)
		return WALK_UNREADABLE;
	if (!walker_words_are_ours(w))
		return WALK_CHANGED;
	windows_drop_failed(&w->windows);
	r = result_of(windows_plan_chunks(&w->windows, m));
	return r == WALK_OK ? plan_chain(w, m) : r;
}
