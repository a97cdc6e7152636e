#include "remote/turns.h"

#include <string.h>

void turns_plan(struct turns *t, const struct target *target, const struct interpreter_info *info)
{
	const struct layout *l = &target->layout;
	const uint64_t base = info->gil ? info->gil : target->runtime;
	const int32_t holder = info->gil ? l->gil.last_holder : l->runtime.gil_last_holder;
	const int32_t count = info->gil ? l->gil.switches : l->runtime.gil_switches;

	if (l->free_threaded || holder == ABSENT || count <= holder ||
	    count - holder > TURNS_MAX - 8) {
		*t = (struct turns){0};
		return;
	}
	if (t->addr == base + (uint64_t)holder)
		return;
	*t = (struct turns){.addr = base + (uint64_t)holder,
			    .len = (uint32_t)(count - holder) + 8,
			    .count_at = count - holder};
}

size_t turns_range(struct turns *t, bool end, struct memory_range *out)
{
	/* What could not be read is like nothing that could be. */
	memset(end ? t->after : t->before, end, sizeof(t->after));
	*out = (struct memory_range){
		.addr = t->addr, .len = t->len, .buf = end ? t->after : t->before};
	return t->len != 0;
}

static struct turn turn_of(const struct turns *t, const uint8_t *bytes)
{
	struct turn turn = {0};

	memcpy(&turn.holder, bytes, 8);
	memcpy(&turn.count, bytes + t->count_at, 8);
	return turn;
}

void turns_take(struct turns *t, uint64_t look)
{
	struct turn first;

	t->last = t->now.look + 1 == look ? t->now : (struct turn){0};
	t->now = (struct turn){0};
	t->ran = 0;
	if (!t->len || t->wrong)
		return;
	first = turn_of(t, t->before);
	t->now = turn_of(t, t->after);
	/* Two words that are written one after the other, and a gather in which nobody took it. */
	if (first.holder != t->now.holder || first.count != t->now.count)
		return;
	t->now.look = look;
	if (t->last.look && (t->now.count < t->last.count ||
			     (t->now.holder != t->last.holder && t->now.count == t->last.count))) {
		t->wrong = true;
		t->now.look = 0;
	}
}

bool turns_held(const struct turns *t, uint64_t addr)
{
	return addr == t->last.holder || addr == t->now.holder;
}

void turns_ran(struct turns *t, uint64_t addr)
{
	if (!turns_held(t, addr))
		t->ran++;
}

bool turns_known(const struct turns *t)
{
	const uint64_t taken = t->now.count - t->last.count;

	if (t->shared || !t->last.look || !t->now.look)
		return false;
	/* The holder of now took it last. Who held it then need not have taken it at all. */
	return taken == 0 || taken == t->ran + 1;
}
