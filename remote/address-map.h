/* Numbers by address. */
#ifndef PYPROF_REMOTE_ADDRESS_MAP_H
#define PYPROF_REMOTE_ADDRESS_MAP_H

#include <stddef.h>
#include <stdint.h>

/* All zero: empty. */
struct address_map {
	struct address_entry {
		uint64_t key;
		uint32_t value;
	} * entries;
	size_t size, count;
};

/* Until the next is added; NULL: it is not there. 0 is no address. */
struct address_entry *address_map_find(const struct address_map *m, uint64_t key);
/* Keeps what is there already. key is not 0. 0 or -ENOMEM. */
int address_map_add(struct address_map *m, uint64_t key, uint32_t value);
/* For tables of their own: a number that differs in its low bits. */
size_t address_hash(uint64_t addr);
/* Empties it. */
void address_map_done(struct address_map *m);

#endif
