#include "remote/turns.h"

#include <string.h>

#define WRONG_MAX 8 /* then it is not believed any more */

void turns_plan(struct turns *t, const struct target *target, const struct interpreter_info *info)
{
	const struct layout *l = &target->layout;
	const uint64_t base = info->gil ? info->gil : target->runtime;
	const int32_t holder = info->gil ? l->gil.last_holder : l->runtime.gil_last_holder;
	const int32_t count = info->gil ? l->gil.switches : l->runtime.gil_switches;

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

void turns_look(struct turns *t)
{
	const bool looked = t->looked;
	const uint64_t holder = t->holder, count = t->count;

	/* Two words that are written one after the other: read twice, they belong together. */
	t->looked = t->len && memcmp(t->bytes[0], t->bytes[1], t->len) == 0;
	t->known &= t->looked && looked;
	if (!t->looked)
		return;
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
