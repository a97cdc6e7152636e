/* A made-up interpreter in a buffer: one thread, a datastack, code objects, laid out by a layout of
 * its own. What real processes cannot be made to do at a given instant is done to this one. */
#ifndef PYPROF_TESTS_SYNTHETIC_H
#define PYPROF_TESTS_SYNTHETIC_H

#include <stdint.h>

#include "remote/target.h"

#define SYNTHETIC_BASE	0x10000u
#define SYNTHETIC_SIZE	0x8000u
#define SYNTHETIC_CODES 8

struct synthetic {
	_Alignas(8) uint8_t image[SYNTHETIC_SIZE];
	struct target target; /* memory is an image of the buffer above */
	uint64_t interp, tstate, chunk, generator_frame;
	uint64_t codes[SYNTHETIC_CODES]; /* function_0 ... in file.py, each with 8 units on line
					  * 10 * (index + 1) */
	unsigned depth;
	uint64_t leaf;
};

void synthetic_init(struct synthetic *s);
void synthetic_done(struct synthetic *s);

/* Calls: a frame for codes[code] above the leaf, its caller being at unit ip. */
void synthetic_push(struct synthetic *s, unsigned code, unsigned caller_ip);
void synthetic_pop(struct synthetic *s);
/* The leaf goes on to unit ip. */
void synthetic_step(struct synthetic *s, unsigned ip);

void synthetic_put(struct synthetic *s, uint64_t addr, uint64_t word);
uint64_t synthetic_get(const struct synthetic *s, uint64_t addr);
uint64_t synthetic_frame(const struct synthetic *s, unsigned depth);

#endif
