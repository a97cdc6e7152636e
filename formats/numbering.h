/* Numbers for what a part of a profile uses of the model's things: 0, 1 and so on in the order that
 * they are added in, or in the model's. Internal to formats/. */
#ifndef PYPROF_FORMATS_NUMBERING_H
#define PYPROF_FORMATS_NUMBERING_H

#include <stdbool.h>
#include <stdint.h>

struct numbering {
	uint32_t *number; /* of each thing, plus 1; 0: it has none */
	uint32_t *used;	  /* the things that have one, in its order */
	uint32_t count;
};

/* For things below count. 0, -ENOMEM; then too numbering_done() is called, as it may be for one
 * that is zeroed. */
int numbering_init(struct numbering *n, uint32_t count);
void numbering_done(struct numbering *n);
/* Takes all numbers back, in the time that it took to give them. */
void numbering_clear(struct numbering *n);
/* false: it has one already. */
bool numbering_add(struct numbering *n, uint32_t thing);
/* Gives the numbers anew, so that they ascend with the things. */
void numbering_sort(struct numbering *n);

#endif
