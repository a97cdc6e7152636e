#include "remote/address-map.h"

#include <errno.h>
#include <stdlib.h>

#define FIRST 256 /* slots */

size_t address_hash(uint64_t addr)
{
	return (size_t)((addr >> 3) * 0x9e3779b97f4a7c15ull >> 24);
}

/* The slot of a key, or the one to put it in: at most half of them are taken. */
static struct address_entry *slot(const struct address_map *m, uint64_t key)
{
	size_t k = address_hash(key) & (m->size - 1);

	while (m->entries[k].key && m->entries[k].key != key)
		k = (k + 1) & (m->size - 1);
	return &m->entries[k];
}

static int enlarge(struct address_map *m)
{
	struct address_map larger = {.size = m->size ? m->size * 2 : FIRST, .count = m->count};

	if (m->count * 2 < m->size)
		return 0;
	larger.entries = calloc(larger.size, sizeof(*larger.entries));
	if (!larger.entries)
		return -ENOMEM;
	for (size_t i = 0; i < m->size; i++)
		if (m->entries[i].key)
			*slot(&larger, m->entries[i].key) = m->entries[i];
	free(m->entries);
	*m = larger;
	return 0;
}

struct address_entry *address_map_find(const struct address_map *m, uint64_t key)
{
	struct address_entry *e = m->size && key ? slot(m, key) : NULL;

	return e && e->key ? e : NULL;
}

int address_map_add(struct address_map *m, uint64_t key, uint32_t value)
{
	struct address_entry *e;

	if (enlarge(m) < 0)
		return -ENOMEM;
	e = slot(m, key);
	if (e->key)
		return 0;
	*e = (struct address_entry){key, value};
	m->count++;
	return 0;
}

void address_map_done(struct address_map *m)
{
	free(m->entries);
	*m = (struct address_map){0};
}
