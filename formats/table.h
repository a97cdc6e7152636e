/* Interning: items by number, found by the bytes that they begin with. Internal to formats/. */
#ifndef PYPROF_FORMATS_TABLE_H
#define PYPROF_FORMATS_TABLE_H

#include <stddef.h>
#include <stdint.h>

struct table {
	char *items;
	uint32_t count, cap;
	uint32_t *slots; /* index of an item, 0 free; a power of two */
	uint32_t slot_count;
	uint32_t size, key_size; /* of an item; of its key, without padding */
};

/* With item 0, zeroed, in it already. 0, -ENOMEM. */
int table_init(struct table *t, size_t size, size_t key_size);
void table_done(struct table *t);
/* The index of the item whose key is at key, added with the rest zeroed when new; 0 when memory is
 * short. */
uint32_t table_intern(struct table *t, const void *key);

#endif
