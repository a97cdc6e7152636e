/* Whose turn it was: which threads can have run Python code since some look at their GIL.
 *
 * A GIL counts how often it was taken by another thread than had held it before. Where it did not
 * between two looks, only its holder can have run; where it was taken once, its holder then and its
 * holder now. All others stand where they stood.
 *
 * And how many threads wait for it: by the condition variable that they wait on, where that is
 * glibc's. One that is waked, or whose wait timed out, is not counted for the microseconds until it
 * waits again.
 *
 * Source: take_gil() and drop_gil() of CPython's Python/ceval_gil.c (ceval_gil.h to 3.11); __wrefs
 * in glibc's nptl/pthread_cond_wait.c and sysdeps/nptl/bits/thread-shared-types.h. */
#ifndef PYPROF_REMOTE_TURNS_H
#define PYPROF_REMOTE_TURNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "remote/memory.h"
#include "remote/target.h"
#include "remote/thread.h"

#define TURNS_BYTES   128 /* that the holder, the count and the condition variable lie in */
#define TURNS_FORMS   2	  /* that such a variable may have */
#define TURNS_HOLDERS 64  /* that are remembered of one span of looks */
#define TURNS_RANGES  2

/* Of one GIL. Zeroed it is new. */
struct turns {
	uint64_t addr;
	uint32_t len;	  /* 0: it does not count */
	int32_t count_at; /* the holder is at 0 */
	int32_t cond_at;  /* 0: not among them */
	unsigned forms;	  /* a bit for each that it may still have */
	uint32_t waiting; /* of the last look */
	unsigned wrong;	  /* so often it counted otherwise than it should */
	bool shared;	  /* set by the owner: by several interpreters, then it tells nothing */
	uint8_t bytes[TURNS_RANGES][TURNS_BYTES];
	bool looked; /* holder and count are known: of the last look */
	uint64_t holder, count;
	bool known; /* of the span: these are all who can have run */
	uint64_t holders[TURNS_HOLDERS];
	size_t n_holders;
};

/* For an interpreter's GIL; what was known stays if it is the same. */
void turns_plan(struct turns *t, const struct target *target, const struct interpreter_info *info);

/* The ranges of a look into out: TURNS_RANGES, or 0 where nothing is counted. */
size_t turns_ranges(struct turns *t, struct memory_range *out);

/* After they were read in one gather. */
void turns_look(struct turns *t);

/* A new span begins with the last look. */
void turns_begin(struct turns *t);

/* Whether all are known who can have run in the span; whether the thread state at addr is one. */
bool turns_known(const struct turns *t);
bool turns_held(const struct turns *t, uint64_t addr);

/* After the ranges were read again: whether it is known that nobody took the GIL since the last
 * look, and how many wait for it: turns_waiting(), the most that were counted since. */
bool turns_still(struct turns *t);
uint32_t turns_waiting(const struct turns *t);

#endif
