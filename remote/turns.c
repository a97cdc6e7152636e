#include "remote/turns.h"

#include <string.h>

#define WRONG_MAX 8 /* then it is not believed any more */

/* Of a condition variable of glibc. In __wrefs eight for each thread that waits, and below that how
 * it was made: for CLOCK_MONOTONIC and for one process, by CPython. */
#define COND_BYTES 48
#define COND_STEP  8
#define COND_MADE  2u
/* Where __wrefs is: to glibc 2.41, and since. */
static const int32_t wrefs_at[TURNS_FORMS] = {36, 28};

void turns_plan(struct turns *t, const struct target *target, const struct interpreter_info *info)
{
	const struct layout *l = &target->layout;
	const uint64_t base = info->gil ? info->gil : target->runtime;
	const int32_t holder = info->gil ? l->gil.last_holder : l->runtime.gil_last_holder;
	const int32_t count = info->gil ? l->gil.switches : l->runtime.gil_switches;
	const int32_t cond = info->gil ? l->gil.cond : l->runtime.gil_cond;

	if (l->free_threaded || holder == ABSENT || count <= holder ||
	    count - holder > TURNS_BYTES - 8) {
		*t = (struct turns){0};
		return;
	}
	if (t->addr == base + (uint64_t)holder)
		return;
	*t = (struct turns){.addr = base + (uint64_t)holder,
			    .len = (uint32_t)(count - holder) + 8,
			    .count_at = count - holder};
	if (cond < count + 8 || cond - holder > TURNS_BYTES - COND_BYTES)
		return;
	t->cond_at = cond - holder;
	t->len = (uint32_t)t->cond_at + COND_BYTES;
	t->forms = (1u << TURNS_FORMS) - 1;
}

size_t turns_ranges(struct turns *t, struct memory_range *out)
{
	if (!t->len)
		return 0;
	for (size_t i = 0; i < TURNS_RANGES; i++) {
		/* What cannot be read is never twice the same. */
		memset(t->bytes[i], (int)i, t->len);
		out[i] = (struct memory_range){.addr = t->addr, .len = t->len, .buf = t->bytes[i]};
	}
	return TURNS_RANGES;
}

static void add_holder(struct turns *t)
{
	t->known &= t->n_holders < TURNS_HOLDERS;
	if (t->known)
		t->holders[t->n_holders++] = t->holder;
}

/* Where a word has not the form of __wrefs when it is looked at, it is none. */
static uint32_t count_waiting(struct turns *t)
{
	uint32_t most = 0, w;

	for (size_t i = 0; i < TURNS_FORMS; i++)
		for (size_t copy = 0; copy < TURNS_RANGES && t->forms >> i & 1; copy++) {
			memcpy(&w, t->bytes[copy] + t->cond_at + wrefs_at[i], 4);
			if (w % COND_STEP != COND_MADE)
				t->forms &= ~(1u << i);
			else if (w / COND_STEP > most)
				most = w / COND_STEP;
		}
	return most;
}

/* Two words that are written one after the other: read twice, they belong together. */
static bool are_whole(const struct turns *t)
{
	return t->len && memcmp(t->bytes[0], t->bytes[1], (size_t)t->count_at + 8) == 0;
}

void turns_look(struct turns *t)
{
	const bool looked = t->looked;
	const uint64_t holder = t->holder, count = t->count;

	t->looked = are_whole(t);
	t->known &= t->looked && looked;
	if (!t->looked)
		return;
	t->waiting = count_waiting(t);
	memcpy(&t->holder, t->bytes[0], 8);
	memcpy(&t->count, t->bytes[0] + t->count_at, 8);
	if (!looked || (t->count == count && t->holder == holder))
		return;
	t->wrong += t->count < count || t->count == count ||
		    (t->count == count + 1 && t->holder == holder);
	t->known &= t->count == count + 1 && t->holder != holder;
	add_holder(t);
}

void turns_begin(struct turns *t)
{
	t->known = t->looked;
	t->n_holders = 0;
	add_holder(t);
}

bool turns_known(const struct turns *t)
{
	return t->known && !t->shared && t->wrong < WRONG_MAX;
}

bool turns_held(const struct turns *t, uint64_t addr)
{
	for (size_t i = 0; i < t->n_holders; i++)
		if (t->holders[i] == addr)
			return true;
	return false;
}

bool turns_still(struct turns *t)
{
	uint32_t waiting;

	if (!t->looked || t->shared || !are_whole(t))
		return false;
	waiting = count_waiting(t);
	t->waiting = waiting > t->waiting ? waiting : t->waiting;
	/* One form is left, and nobody's turn came. */
	return t->forms && !(t->forms & (t->forms - 1)) &&
	       memcmp(t->bytes[0], &t->holder, 8) == 0 &&
	       memcmp(t->bytes[0] + t->count_at, &t->count, 8) == 0;
}

uint32_t turns_waiting(const struct turns *t)
{
	return t->waiting;
}
