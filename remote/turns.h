/* Whose turn it was: which threads can have run Python code between two looks.
 *
 * A GIL counts how often it was taken by another thread than held it before. Where as many threads
 * are known to have taken it as it counts, no other one did: it has not run, and stands where it
 * stood. Who holds the GIL, and who held it, is known; of others it shows in what they did.
 * Source: take_gil() and drop_gil() of CPython's Python/ceval_gil.c (ceval_gil.h to 3.11). */
#ifndef PYPROF_REMOTE_TURNS_H
#define PYPROF_REMOTE_TURNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "remote/memory.h"
#include "remote/target.h"
#include "remote/thread.h"

#define TURNS_MAX 64 /* bytes that the holder and the count lie in */

/* Of one GIL. Zeroed it is new. */
struct turns {
	uint64_t addr;
	uint32_t len;	  /* 0: it does not count */
	int32_t count_at; /* behind the holder */
	bool wrong;	  /* it was seen to count otherwise: it is not believed any more */
	bool shared;	  /* set by the owner: by several interpreters, then it tells nothing */
	uint8_t before[TURNS_MAX], after[TURNS_MAX]; /* at both ends of a gather */
	struct turn {
		uint64_t look; /* its number; 0: it is not known */
		uint64_t holder, count;
	} last, now;
	uint64_t ran; /* threads that are known to have run since the last look, but its holder
			 and the one of now */
};

/* For an interpreter's GIL; what was known stays if it is the same. */
void turns_plan(struct turns *t, const struct target *target, const struct interpreter_info *info);

/* A range at the beginning, or at the end, of a look's gather into out: 1, or 0 where nothing is
 * counted. */
size_t turns_range(struct turns *t, bool end, struct memory_range *out);

/* After the gather of a look, numbered from 1 on. */
void turns_take(struct turns *t, uint64_t look);

/* The thread state at addr was read in this gather and in the last look's, and has run in between.
 */
void turns_ran(struct turns *t, uint64_t addr);

/* Whether all are known who can have run since the last look: the two holders, and those told. */
bool turns_known(const struct turns *t);

/* Whether the thread state at addr held the GIL at the last look or at this one. */
bool turns_held(const struct turns *t, uint64_t addr);

#endif
