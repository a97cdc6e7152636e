/* The stack of one thread: what to read of it, whether what was read ever stood there, and its
 * number in the tables.
 *
 * A gathered read copies, in this order: every frame that the last samples made likely (copy A),
 * the thread's words, the same frames again (copy B). A caller that is equal in both copies stood
 * still in between, and so while the words were read; the words say which frame was the leaf then.
 * A chain of such frames from the leaf to the base therefore was the stack at that instant. The
 * leaf itself may execute meanwhile: its code and its caller must be equal. On the datastack
 * callers are compared with all their values, which are not the same when they are left and entered
 * again; and they must stand at instructions that call, since frames that were left stand at their
 * return, the same in both copies if the same was called twice. What remains possible is that a
 * caller was left and entered again by the same instruction between its two copies and another
 * frame stood in its place just when the words were read. */
#ifndef PYPROF_REMOTE_FRAME_H
#define PYPROF_REMOTE_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "remote/code.h"
#include "remote/memory.h"
#include "remote/tables.h"
#include "remote/target.h"

struct generators;

#define WALKER_REST_RANGES 3
#define FRAME_MAX_HEAD	   512 /* bytes of a frame without its locals: layout.frame.size at most */

enum walk_result {
	WALK_OK,
	WALK_TORN,	 /* the copies disagree, or the chain does not hold */
	WALK_MISS,	 /* the stack uses memory that was not among what was copied */
	WALK_UNREADABLE, /* the thread's words could not be read */
	WALK_CHANGED,	 /* the words are those of another thread: this one ended */
	WALK_MEMORY,	 /* ours was short */
};

/* What interning needs; shared by the threads of a sampler. */
struct walk_context {
	struct target *target;
	struct tables *tables;
	struct code_cache *codes;
	uint64_t stamp;	  /* code objects whose stamp differs are checked before they are used */
	uint64_t gather;  /* the number of the gather that is walked */
	uint64_t gathers; /* how many there were: a code object that is read now was not known
			     before */
	uint64_t gathered_ns; /* CLOCK_MONOTONIC when that gather was made; 0: does not matter */
	uint32_t moving_frame, truncated_frame, native_frame, gc_frame; /* ids; 0 not made yet */
	bool held;    /* the thread could not move when it was read */
	bool opcodes; /* frames tell their instruction */
};

struct walker;

/* A walker for the thread state at tstate, of thread ident in interpreter interp. 0 or -ENOMEM. */
int walker_new(struct walker **ret, const struct target *target, uint64_t tstate, uint64_t ident,
	       uint64_t interp);
void walker_free(struct walker *w);

/* How many ranges walker_ranges() gives at most now. */
size_t walker_range_count(const struct walker *w);

/* The ranges of the next gathered read into out: how many. twice: both copies, else copy A and the
 * words only, for a thread that cannot move. They point into the walker and hold until its next
 * walker_plan(). */
size_t walker_ranges(struct walker *w, struct memory_range *out, bool twice);

/* What the owner wants to have read right behind the thread's words, by each gather from now on:
 * n ranges, borrowed until it says otherwise. */
void walker_set_beside(struct walker *w, const struct memory_range *ranges, size_t n);

/* Looks at what a gather of walker_ranges() brought (ranges: the same array). WALK_OK: *ret_stack
 * is the stack's id, 0 for a thread without Python frames; *ret_repeat that it is as before. */
enum walk_result walker_walk(struct walker *w, struct walk_context *c, struct memory_range *ranges,
			     uint32_t *ret_stack, bool *ret_repeat);

/* A thread that stood still over several walks rests, and two or three ranges are enough to see
 * that it still does: its words (the leaf and the top of its datastack are where they were) and its
 * datastack byte for byte, all instruction pointers and values in it, once. The words have a range
 * of their own: those of several threads lie near each other. Only while walker_rests(). bytes is
 * where to, a multiple of 8: walker_rest_bytes() for all, the words first. */
bool walker_rests(const struct walker *w);
size_t walker_rest_bytes(const struct walker *w);
struct memory_range walker_rest_words(const struct walker *w, uint8_t *bytes);
size_t walker_rest_ranges(const struct walker *w, uint8_t *bytes, struct memory_range *out);
/* Whether it does, by a gather of those: then *ret_stack. If not, a whole walk must tell. */
bool walker_still_rests(struct walker *w, struct walk_context *c, const struct memory_range *words,
			const struct memory_range *ranges, uint32_t *ret_stack);
/* The thread did not run since it was last seen to rest, up to a gather with that stamp. */
void walker_stood(struct walker *w, uint64_t stamp);

/* Plans the next gathers by following the thread's frames as they are now, with as many calls as it
 * takes. Proves nothing: a gather of the plan does. */
enum walk_result walker_plan(struct walker *w, struct memory *m);

/* After a walk that failed: the callers that are proven all the same, with the frame above them
 * that got on meanwhile, where it is known, and a <moving> leaf; 0 when none is. */
uint32_t walker_prefix(struct walker *w, struct walk_context *c);

/* Of the stack that walker_prefix() told last, without the <moving> leaf: it; as walker_has(); as
 * walker_has_coroutine(). */
uint32_t walker_prefix_callers(const struct walker *w);
bool walker_prefix_has(const struct walker *w, struct walk_context *c, uint64_t addr,
		       uint32_t *ret_callers);
bool walker_prefix_has_coroutine(const struct walker *w, struct walk_context *c);

/* Whether the kernel says that the thread sleeps: then a state that is only passed through while
 * running is what it seems to be. */
void walker_set_still(struct walker *w, bool still);

/* The stack of the last walk with a <GC> frame: above the frame at address at, or as the leaf when
 * that is 0. The stack as it is when that frame is not in it, or memory is short. */
uint32_t walker_with_gc(struct walker *w, struct walk_context *c, uint64_t at, uint32_t stack);

/* The frames of the last walk that generators and coroutines own; to 3.10 their links. What it says
 * of copies holds until the next gather is planned. */
void walker_generators(struct walker *w, struct generators *ret);

/* Where the last walk's innermost entry of the interpreter left something on the C stack, which
 * grows down: 0 where the version does not tell (to 3.10). */
uint64_t walker_c_stack(const struct walker *w);

/* Whether the last walk found any frame. */
bool walker_has_frames(const struct walker *w);

/* Whether the frame at addr is in the last walk: then *ret_callers is the stack below it, 0 for
 * none.
 */
bool walker_has(const struct walker *w, const struct walk_context *c, uint64_t addr,
		uint32_t *ret_callers);

/* Whether the last walk has a frame of a generator or coroutine. */
bool walker_has_coroutine(const struct walker *w, struct walk_context *c);

/* Of the last walk, or with prefix of what walker_prefix() told of it: the innermost frame of a
 * generator or coroutine, or the next one outside of the one at inside; 0: none, or the version's
 * frames do not tell (to 3.10). */
uint64_t walker_generator(const struct walker *w, bool prefix, uint64_t inside);
/* Whether inside of the frame at addr there is a coroutine that is not awaited there, but was
 * begun by a function: it may be another task's. */
bool walker_nests(const struct walker *w, struct walk_context *c, bool prefix, uint64_t addr);

/* The thread's words as they were last read: layout.tstate.size bytes. */
const uint8_t *walker_words(const struct walker *w);

/* Forgets all ids of the tables (they are replaced). */
void walker_forget(struct walker *w);

#endif
