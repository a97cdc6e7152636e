/* Code objects: what a frame's code and instruction pointer stand for.
 *
 * Cached by address. An address can be freed and used again by another code object, so an entry
 * carries the words that tell code objects apart and is read anew when they have changed. What a
 * copied frame points to was there when the copy was made only if it was the same before and after:
 * an entry knows by which gather it was first seen, and is checked after a gather that uses it. */
#ifndef PYPROF_REMOTE_CODE_H
#define PYPROF_REMOTE_CODE_H

#include <stdbool.h>
#include <stdint.h>

#include "remote/layout.h"
#include "remote/memory.h"
#include "remote/tables.h"

#define CODE_IDENTITY_WORDS 6

struct code {
	uint64_t addr;
	uint64_t start;	   /* address of the first instruction */
	uint32_t length;   /* bytes of instructions */
	uint32_t function; /* id in the tables */
	int32_t first_line;
	uint32_t first_traceable; /* bytes: where a frame is set up; 0 to 3.10 */
	bool generator;		  /* generator, coroutine or asynchronous generator */
	bool coroutine;		  /* what a task may be of: a coroutine, or a generator as one */
	uint64_t since;		  /* the caller's number of the last gather before it was read */
	uint64_t serial;	  /* of this reading: no other has it */
	bool checked;		  /* its identity was compared since it was read: */
	uint64_t stamp;		  /* the caller's, of when that was last done */
	uint64_t identity[CODE_IDENTITY_WORDS];
	uint8_t *lines; /* the line table */
	uint32_t lines_len;
	uint32_t *frames; /* frame id by instruction unit; 0 not looked up yet */
	uint64_t tlbc;	  /* free-threaded 3.14+: address of the array of thread-local copies */
	uint8_t *back; /* by instruction unit: how many units before it its instruction begins, or
			* CODE_BACK_UNKNOWN; NULL not looked up yet */
	uint8_t *
		calls; /* by instruction unit: what code_calls() found, plus 1; NULL: nothing yet */
};
#define CODE_BACK_UNKNOWN 255

struct code_cache;

int code_cache_new(struct code_cache **ret, struct memory *m, const struct layout *l,
		   struct tables *tables);
void code_cache_free(struct code_cache *c);

/* The code object at addr, read when it is not cached yet; owned by the cache, valid until
 * code_cache_check() or code_cache_forget() drops it. NULL: what stands there is no code object,
 * or cannot be read; *ret_error is then the -errno. A new entry gets since. */
struct code *code_cache_get(struct code_cache *c, uint64_t addr, uint64_t since, int *ret_error);

/* Drops the entries among n distinct codes whose target has changed since it was read, with one
 * read for up to CODE_CHECK_MAX of them; the others get stamp. How many were dropped, or -errno. */
#define CODE_CHECK_MAX 64
int code_cache_check(struct code_cache *c, struct code *const *codes, size_t n, uint64_t stamp);

/* How many code objects were found to have been replaced by others since code_cache_new(). */
uint64_t code_cache_replaced(const struct code_cache *c);

/* Drops everything; all struct code are void. tables: those of the ids to come. */
void code_cache_forget(struct code_cache *c, struct tables *tables);

/* The frame for the instruction at byte offset ip of code (below 0 before the first): its id,
 * or 0 when memory is short. */
uint32_t code_frame(struct code_cache *c, struct code *code, int64_t ip);

/* The same with the opcode that stands there: op is that plus 1, 0 unknown. */
uint32_t code_frame_op(struct code_cache *c, struct code *code, int64_t ip, uint32_t op);

/* The byte offset of the instruction that ip, where a frame stands, belongs to: ip itself but where
 * the version leaves it in an inline cache (layout.frame.caches). -1: not known. */
int64_t code_instruction(struct code_cache *c, struct code *code, int64_t ip);

/* Whether a frame that stands at ip may have called another: not before its first instruction, nor
 * where it returns, has yielded or begins (layout.frame.idle). True where that is not known. */
bool code_calls(struct code_cache *c, struct code *code, int64_t ip);

/* Where an instruction stands in the source, from a line table of the given style: pure, for
 * tests. Fields of *ret that are unknown are -1. */
struct code_position {
	int32_t line, end_line, column, end_column;
};
void code_position(enum line_style style, const uint8_t *lines, size_t len, int32_t first_line,
		   uint32_t ip, struct code_position *ret);

#endif
