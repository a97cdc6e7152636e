/* Python objects read from outside: strings, ints, dicts, instance attributes.
 *
 * Addresses are the target's. Every read is bounded; a structure that does not hold gives
 * -EBADMSG, an unreadable one the error of memory_read(). Nothing is cached. */
#ifndef PYPROF_REMOTE_OBJECT_H
#define PYPROF_REMOTE_OBJECT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "remote/layout.h"
#include "remote/memory.h"

#define OBJECT_MAX_STRING 16384 /* bytes of UTF-8 of a name or path; longer is cut */

/* A str as UTF-8 (lone surrogates as three bytes each): its length in bytes, cut to size at a
 * character; or -errno. Not terminated. */
ssize_t object_read_string(struct memory *m, const struct layout *l, uint64_t addr, char *buf,
			   size_t size);

/* The address of a bytes object's data and its length. 0 or -errno. */
int object_read_bytes_head(struct memory *m, const struct layout *l, uint64_t addr,
			   uint64_t *ret_data, size_t *ret_len);

/* A non-negative int below 2^63. 0 or -errno (-ERANGE otherwise). */
int object_read_uint(struct memory *m, const struct layout *l, uint64_t addr, uint64_t *ret);

/* Calls each() with the addresses of every key and value of a dict; a nonzero return ends the walk
 * and is returned. */
int object_each_item(struct memory *m, const struct layout *l, uint64_t dict,
		     int (*each)(void *arg, uint64_t key, uint64_t value), void *arg);

/* A dict's table of keys as it lies in memory: how many bytes its entries end at, at most; and the
 * value of a key, an object by its address, in a copy of it whose values are in it too. 0, -ENOENT,
 * or another -errno. */
int object_keys_length(struct memory *m, const struct layout *l, uint64_t keys, size_t *ret);
int object_keys_find(const struct layout *l, const uint8_t *bytes, size_t len, uint64_t key,
		     uint64_t *ret);

/* The value of an ASCII key of at most 64 bytes in a dict: 0, -ENOENT, or another -errno. */
int object_dict_get(struct memory *m, const struct layout *l, uint64_t dict, const char *key,
		    uint64_t *ret);

/* An attribute (named as a dict's key) of an instance, from wherever its version keeps it (dict,
 * split values, inline values). 0, -ENOENT, or another -errno. */
int object_get_attribute(struct memory *m, const struct layout *l, uint64_t object,
			 const char *name, uint64_t *ret);

#endif
