/* What an answer depends on: pieces of memory as they were when it was found. While they are
 * unchanged it holds. */
#ifndef PYPROF_REMOTE_MEMO_H
#define PYPROF_REMOTE_MEMO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "remote/memory.h"

#define MEMO_RANGES 128		/* of one answer, at most */
#define MEMO_BYTES  (64u << 10) /* all of them together, with what lies between pieces */

/* Zeroed it is empty, and holds always. */
struct memo {
	/* Pieces that are near to each other are one range; a range begins with a piece. */
	struct memo_range {
		uint64_t addr;
		uint32_t len, at; /* at: in expected and mask */
	} * ranges;
	size_t n_ranges, room_ranges;
	uint8_t *expected, *mask; /* what stood there, where mask is not 0 */
	size_t used, room;
};

void memo_done(struct memo *m);
void memo_clear(struct memo *m);

/* Makes it what log has noted, which is sorted by it. 0; -E2BIG: it would be over one of the
 * bounds; -ENOMEM. Then it is empty. */
int memo_keep(struct memo *m, struct memory_log *log);

/* Whether bytes, the ranges one behind the other, are what is expected. */
bool memo_holds(const struct memo *m, const uint8_t *bytes);

/* The range that has the byte at addr; NULL: none. */
const struct memo_range *memo_range_at(const struct memo *m, uint64_t addr);
/* The same of len bytes of one range, from at on in what is expected; a len that is not the memo's
 * any more does not hold. */
bool memo_holds_at(const struct memo *m, uint32_t at, const uint8_t *bytes, uint32_t len);

/* The same of a range each, read from memory into scratch: MEMO_BYTES. */
bool memo_holds_in(const struct memo *m, struct memory *memory, uint8_t *scratch);

/* The same of range i alone. */
bool memo_range_holds_in(const struct memo *m, size_t i, struct memory *memory, uint8_t *scratch);

#endif
