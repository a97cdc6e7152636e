#include "remote/turns.h"

#include <string.h>

void turns_plan(struct turns *t, const struct target *target, const struct interpreter_info *info)
{
	const struct layout *l = &target->layout;
	const uint64_t base = info->gil ? info->gil : target->runtime;
	const int32_t holder = info->gil ? l->gil.last_holder : l->runtime.gil_last_holder;
	const int32_t count = info->gil ? l->gil.switches : l->runtime.gil_switches;
	const int32_t low = holder < count ? holder : count, high = holder < count ? count : holder;
	const bool counts = !l->free_threaded && holder != ABSENT && count != ABSENT &&
			    high - low <= TURNS_MAX - 8;
	const uint64_t addr = counts ? base + (uint64_t)low : 0;

	if (t->addr == addr)
		return;
	*t = (struct turns){.addr = addr};
	if (!counts)
		return;
	t->len = (uint32_t)(high - low) + 8;
	t->holder_at = holder - low;
	t->count_at = count - low;
}

size_t turns_range(struct turns *t, bool end, struct memory_range *out)
{
	/* What could not be read is like nothing that could be. */
	memset(end ? t->after : t->before, end, sizeof(t->after));
	*out = (struct memory_range){
		.addr = t->addr, .len = t->len, .buf = end ? t->after : t->before};
	return t->len != 0;
}

void turns_take(struct turns *t, uint64_t look)
{
	t->last = t->now.look + 1 == look ? t->now : (struct turn){0};
	t->now = (struct turn){0};
	t->ran = 0;
	/* Two words that are written one after the other, and a gather in which nobody took it. */
	if (!t->len || t->wrong || memcmp(t->before, t->after, t->len) != 0)
		return;
	t->now.look = look;
	memcpy(&t->now.holder, t->after + t->holder_at, 8);
	memcpy(&t->now.count, t->after + t->count_at, 8);
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
