/* Samples one by one, kept in a file that the caller opens, for formats that show time. */
#ifndef PYPROF_FORMATS_TIMELINE_H
#define PYPROF_FORMATS_TIMELINE_H

#include <stdint.h>
#include <stdio.h>

#include "formats/model.h"

struct timeline {
	FILE *(*open)(void);
	FILE *file;	 /* owned, as the buffer is */
	uint8_t *buffer; /* what is not in it yet */
	size_t used;
	struct model_sample last; /* that was put */
	int error;		  /* the first: nothing is kept from then on */
};

/* The file is opened with the first sample. Errors are kept for timeline_each(). */
void timeline_put(struct timeline *t, const struct model_sample *s);
/* In the order of putting. 0, what take returned when not 0, or -errno of the file. */
int timeline_each(struct timeline *t, int (*take)(void *arg, const struct model_sample *s),
		  void *arg);
/* The same, and what change makes of each sample takes its place, in a file that is opened anew. An
 * error is kept. */
int timeline_change(struct timeline *t, int (*change)(void *arg, struct model_sample *s),
		    void *arg);
void timeline_done(struct timeline *t);

#endif
