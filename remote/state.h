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
	int32_t gc_at, generation_at, gc_frame_at, head_at; /* in interp.bytes; ABSENT */
	int32_t holder_at, locked_at;			    /* in gil.bytes; ABSENT */
	uint64_t gil_cond;				    /* address; 0 unknown */
};

void state_words_plan(struct state_words *w, const struct target *t,
		      const struct interpreter_info *info);

/* At most STATE_WORD_RANGES ranges into out: how many. They point into w. */
size_t state_words_ranges(struct state_words *w, struct memory_range *out);

/* The interpreter's count of freed code objects, 3.14+: false where there is none. */
bool state_words_generation(const struct state_words *w, uint64_t *ret);

/* The interpreter's newest thread state: false where it is not among the words, or not yet. */
bool state_words_threads_head(const struct state_words *w, uint64_t *ret);

/* Bits of enum sample_state: whether a collection runs. */
uint16_t state_of_collector(const struct state_words *w);
/* Whether a thread waits for the GIL, by tstate.gil_requested. */
uint16_t state_of_request(int32_t requested);
/* Bits of enum sample_state, by the words of an interpreter and those of the thread state at addr.
 */
uint16_t state_of(const struct layout *l, const struct state_words *w, const uint8_t *thread_words,
		  uint64_t addr, bool main);

/* Whether a thread of this state collects garbage, as far as that is known: then *ret_frame is the
 * address of the frame that the collection interrupts, or 0 where the version does not tell. */
bool state_collects(const struct state_words *w, uint16_t state, uint64_t *ret_frame);

/* ---- exceptions being handled ---- */

#define HANDLING_MAX  32 /* links that are remembered: coroutines that await each other */
#define HANDLING_ITEM 32 /* bytes of a _PyErr_StackItem: four words to 3.10, two later */

#define GENERATOR_TYPES 3
/* What is known of all threads of a process. Zeroed it is new. */
struct handling_known {
	uint64_t none;	 /* address of None */
	uint32_t before; /* how far before the frame of a generator its own link stands */
	uint64_t types[GENERATOR_TYPES];
};

/* What is remembered of one thread. Zeroed it is new. */
struct handling {
	uint64_t addrs[HANDLING_MAX]; /* the links seen last, from exc_info on */
	size_t n;
	uint16_t state; /* the last answer */
	uint16_t chain; /* what state_follow() found */
};

/* The frames on a stack that generators and coroutines own, innermost first; to 3.10, where these
 * name their generators, their links. */
struct generators {
	uint64_t frames[HANDLING_MAX];
	const uint8_t *copies[HANDLING_MAX][2]; /* of those; NULL: there are none */
	uint32_t lead;				/* bytes that were copied before each */
	bool links;
	size_t n;
	bool more; /* than that */
};

/* STATE_EXCEPTION_KNOWN and STATE_HANDLING, by the thread's words as they were gathered.
 *
 * _PyErr_GetTopmostException(): the first link with an exception in the chain that begins at
 * exc_info. Its last link is in the thread state itself, and is all there is outside of generators
 * and coroutines. From 3.11 on links in those were copied with their frames; else they are read
 * now, some microseconds after the words; a chain that does not hold any more is not known.
 *
 * A generator's link and its frame do not come and go at one instant. What counts is the stack: an
 * exception is handled where one of its frames does. on_stack: NULL when the stack is not known;
 * then the chain counts. followed: state_follow()
 * was asked, for the same words, while the thread stood still. still: the words are those of the
 * last time, and the thread did not move since. */
uint16_t state_handling(struct handling *h, struct handling_known *known, const struct layout *l,
			struct memory *m, const uint8_t *thread_words, uint64_t addr,
			const struct generators *on_stack, bool followed, bool still);

/* Follows the chain for a call of that to come. */
void state_follow(struct handling *h, struct handling_known *known, const struct layout *l,
		  struct memory *m, const uint8_t *thread_words, uint64_t addr);

#endif
