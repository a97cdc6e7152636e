/* Records of one size in many lists, in a file: what comes mixed and is wanted list by list.
 * Memory: a block for each list, and four bytes for each block of the file. Internal to formats/.
 */
#ifndef PYPROF_FORMATS_SPOOL_H
#define PYPROF_FORMATS_SPOOL_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct spool;

/* open: as format_options.scratch; may be NULL. 0, -ENOMEM, -errno of the opening. */
int spool_new(struct spool **ret, size_t record, uint32_t lists, FILE *(*open)(void));
void spool_free(struct spool *s);
/* Appends to a list. 0, -ENOMEM, -errno of the file. */
int spool_add(struct spool *s, uint32_t list, const void *record);
/* How many records a list has. */
uint64_t spool_count(const struct spool *s, uint32_t list);
/* The records of a list in their order, n at a time. 0, what take returned when not 0, -errno. */
int spool_each(struct spool *s, uint32_t list,
	       int (*take)(void *arg, const void *records, size_t n), void *arg);
/* Forgets all records. */
void spool_clear(struct spool *s);

#endif
