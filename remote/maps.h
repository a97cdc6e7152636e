/* What is mapped into a process, by the text of its maps: mappings, and the objects that they are
 * of. */
#ifndef PYPROF_REMOTE_MAPS_H
#define PYPROF_REMOTE_MAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "remote/proc.h"

struct mapping {
	uint64_t start, end, offset;
	uint64_t dev_major, dev_minor, inode;
	bool readable, writable, executable;
	const char *path; /* within the text of maps; "" when there is none */
};

/* A run of mappings of one file, with the anonymous ones that extend it (.bss). */
struct object {
	const struct mapping *first;
	size_t count;
	bool executable; /* some mapping of it is */
	bool main;	 /* the process's own executable */
	bool tried;
};

/* All zero: none. */
struct maps {
	char *text;
	struct mapping *mappings;
	size_t mappings_count;
	struct object *objects;
	size_t objects_count;
};

/* Reads the maps of the process that opener is for: the lowest, where there are more than anyone
 * has. Lines that are none are left out. 0 or -errno; in both cases maps_done() frees what there
 * is. */
int maps_read(struct maps *maps, const struct proc_opener *opener);
void maps_done(struct maps *maps);

#endif
