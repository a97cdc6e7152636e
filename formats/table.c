#include "formats/table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define MAX_ITEMS (1u << 31)

int table_init(struct table *t, size_t size, size_t key_size)
{
	*t = (struct table){.size = size, .key_size = key_size, .cap = 64, .slot_count = 128};
	t->items = calloc(t->cap, size);
	t->slots = calloc(t->slot_count, sizeof(*t->slots));
	t->count = 1;
	if (t->items && t->slots)
		return 0;
	table_done(t);
	return -ENOMEM;
}

void table_done(struct table *t)
{
	free(t->items);
	free(t->slots);
	*t = (struct table){0};
}

static int grow(struct table *t)
{
	uint32_t n, *slots;
	char *items;

	if (t->cap >= MAX_ITEMS / 2)
		return -ENOMEM;
	items = reallocarray(t->items, 2 * (size_t)t->cap, t->size);
	if (!items)
		return -ENOMEM;
	t->items = items;
	n = 2 * t->slot_count;
	slots = calloc(n, sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	for (uint32_t i = 1; i < t->count; i++) {
		uint32_t at = XXH3_64bits(items + (size_t)i * t->size, t->key_size) & (n - 1);

		while (slots[at])
			at = (at + 1) & (n - 1);
		slots[at] = i;
	}
	free(t->slots);
	t->slots = slots;
	t->slot_count = n;
	t->cap *= 2;
	return 0;
}

uint32_t table_intern(struct table *t, const void *key)
{
	uint64_t hash = XXH3_64bits(key, t->key_size);
	uint32_t at = hash & (t->slot_count - 1);
	char *item;

	for (; t->slots[at]; at = (at + 1) & (t->slot_count - 1))
		if (memcmp(t->items + (size_t)t->slots[at] * t->size, key, t->key_size) == 0)
			return t->slots[at];
	if (t->count == t->cap) {
		if (grow(t) < 0)
			return 0;
		at = hash & (t->slot_count - 1);
		while (t->slots[at])
			at = (at + 1) & (t->slot_count - 1);
	}
	item = t->items + (size_t)t->count * t->size;
	memset(item, 0, t->size);
	memcpy(item, key, t->key_size);
	t->slots[at] = t->count;
	return t->count++;
}
