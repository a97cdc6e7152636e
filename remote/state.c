#include "remote/state.h"

#include <stdlib.h>
#include <string.h>

#include "remote/sampler.h"

/* The bit of a thread's status that says whether it may run Python code; ABSENT where it is said
 * elsewhere. */
static int status_bit(const struct layout *l)
{
	if (l->tstate.status == ABSENT)
		return ABSENT;
	return l->free_threaded ? l->tstate.status_active_bit : l->tstate.status_holds_gil_bit;
}

/* One range for two fields of a struct at base; a field that is ABSENT, or too far from the first,
 * is not read. */
static void plan_words(struct words *w, uint64_t base, int32_t first, int32_t second, uint32_t size,
		       int32_t *ret_first, int32_t *ret_second)
{
	int32_t low = first, high = first;

	*ret_first = *ret_second = ABSENT;
	w->len = 0;
	if (second != ABSENT && first != ABSENT && abs(second - first) > STATE_WORDS_MAX - 8)
		second = ABSENT;
	if (first == ABSENT || (second != ABSENT && second < first))
		low = second;
	if (first == ABSENT || second > first)
		high = second;
	if (low == ABSENT)
		return;
	w->addr = base + (uint64_t)low;
	w->len = (uint32_t)(high - low) + size;
	if (first != ABSENT)
		*ret_first = first - low;
	if (second != ABSENT)
		*ret_second = second - low;
}

void state_words_plan(struct state_words *w, const struct target *t,
		      const struct interpreter_info *info)
{
	const struct layout *l = &t->layout;

	if (l->interp.gc_collecting == ABSENT)
		plan_words(&w->interp, t->runtime, l->runtime.gc_collecting, ABSENT, 8, &w->gc_at,
			   &w->generation_at);
	else
		plan_words(&w->interp, info->addr, l->interp.gc_collecting,
			   l->interp.code_object_generation, 8, &w->gc_at, &w->generation_at);
	/* Where a thread says itself whether it holds the GIL, its words are enough. */
	if (l->free_threaded || l->tstate.holds_gil != ABSENT || status_bit(l) != ABSENT)
		plan_words(&w->gil, 0, ABSENT, ABSENT, 0, &w->holder_at, &w->locked_at);
	else if (info->gil)
		plan_words(&w->gil, info->gil, l->gil.last_holder, l->gil.locked, 8, &w->holder_at,
			   &w->locked_at);
	else
		plan_words(&w->gil, t->runtime, l->runtime.gil_last_holder, l->runtime.gil_locked,
			   8, &w->holder_at, &w->locked_at);
}

static size_t add_words(struct words *w, struct memory_range *out)
{
	*out = (struct memory_range){.addr = w->addr, .len = w->len, .buf = w->bytes};
	return w->len != 0;
}

size_t state_words_ranges(struct state_words *w, struct memory_range *out)
{
	size_t n = add_words(&w->interp, out);

	return n + add_words(&w->gil, out + n);
}

bool state_words_generation(const struct state_words *w, uint64_t *ret)
{
	if (w->generation_at == ABSENT)
		return false;
	memcpy(ret, w->interp.bytes + w->generation_at, 8);
	return true;
}

uint16_t state_of(const struct layout *l, const struct state_words *w, const uint8_t *thread_words,
		  uint64_t addr, bool main)
{
	uint16_t state = main ? STATE_MAIN : 0;
	uint64_t word, holder;
	int32_t i, locked;
	uint32_t bits;

	if (l->free_threaded && l->tstate.state != ABSENT) {
		memcpy(&i, thread_words + l->tstate.state, 4);
		state |= STATE_GIL_KNOWN | (i == 1 ? STATE_GIL : 0);
	} else if (status_bit(l) != ABSENT) {
		memcpy(&bits, thread_words + l->tstate.status, 4);
		state |= STATE_GIL_KNOWN | (bits >> status_bit(l) & 1 ? STATE_GIL : 0);
	} else if (l->tstate.holds_gil != ABSENT) {
		memcpy(&i, thread_words + l->tstate.holds_gil, 4);
		state |= STATE_GIL_KNOWN | (i ? STATE_GIL : 0);
	} else if (w->holder_at != ABSENT && w->locked_at != ABSENT) {
		memcpy(&holder, w->gil.bytes + w->holder_at, 8);
		memcpy(&locked, w->gil.bytes + w->locked_at, 4);
		state |= STATE_GIL_KNOWN | (locked && holder == addr ? STATE_GIL : 0);
	}
	if (l->tstate.current_exception != ABSENT) {
		memcpy(&word, thread_words + l->tstate.current_exception, 8);
		state |= word ? STATE_EXCEPTION : 0;
	}
	if (w->gc_at != ABSENT) {
		memcpy(&i, w->interp.bytes + w->gc_at, 4);
		state |= i ? STATE_GC : 0;
	}
	return state;
}
