/* What a thread is doing besides its stack: who holds the GIL, exceptions, garbage collection. */
#ifndef PYPROF_REMOTE_STATE_H
#define PYPROF_REMOTE_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "remote/target.h"
#include "remote/thread.h"

#define STATE_WORDS_MAX	  1024 /* words nearer to each other than this are read as one range */
#define STATE_WORD_RANGES 2

/* The words of an interpreter that tell the state of its threads, and how many code objects it has
 * freed: read with each gather. */
struct state_words {
	struct words {
		uint64_t addr;
		uint32_t len; /* 0: none */
		uint8_t bytes[STATE_WORDS_MAX];
	} interp, gil;
	int32_t gc_at, generation_at; /* in interp.bytes; ABSENT */
	int32_t holder_at, locked_at; /* in gil.bytes; ABSENT */
};

void state_words_plan(struct state_words *w, const struct target *t,
		      const struct interpreter_info *info);

/* At most STATE_WORD_RANGES ranges into out: how many. They point into w. */
size_t state_words_ranges(struct state_words *w, struct memory_range *out);

/* The interpreter's count of freed code objects, 3.14+: false where there is none. */
bool state_words_generation(const struct state_words *w, uint64_t *ret);

/* Bits of enum sample_state, by the words of an interpreter and those of the thread state at addr.
 */
uint16_t state_of(const struct layout *l, const struct state_words *w, const uint8_t *thread_words,
		  uint64_t addr, bool main);

#endif
