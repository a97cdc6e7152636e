/* What of a thread's stack is copied at each gather, and where the copies are: the used part of its
 * datastack chunks, and the frames that live elsewhere (generators, coroutines, entry frames;
 * before 3.11 all). Frames that lie near each other are copied as one span. */
#ifndef PYPROF_REMOTE_WINDOW_H
#define PYPROF_REMOTE_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "remote/layout.h"
#include "remote/memory.h"

/* A chunk of the datastack. Copies a and b hold room bytes each. */
struct chunk {
	uint64_t addr;
	uint32_t size;	     /* in the target */
	uint32_t len;	     /* bytes to copy now */
	uint32_t twice_from; /* from here on copy B is made too; len: none */
	uint32_t room;
	bool failed; /* the last gather could not read it */
	uint8_t *a, *b;
};

/* A frame elsewhere, or a _PyCFrame of 3.11 and 3.12. */
struct outside {
	uint64_t addr;
	uint32_t len;
	uint32_t used; /* walk number when it was last part of a stack */
	uint32_t at;   /* in the copies */
	uint32_t span;
	bool twice;
};

struct span {
	uint64_t addr;
	uint32_t len, at;
	bool failed;
};

struct windows {
	const struct layout *layout;
	uint32_t lead;	     /* bytes before a frame elsewhere that are copied with it */
	uint32_t state_back; /* so far before it is a generator's state; 0: there is none */
	uint64_t tstate;
	uint8_t *words;	 /* the thread state as last read: layout->tstate.size bytes */
	bool unreadable; /* it could not be read */
	bool once;	 /* the last gather made copy A only */
	bool moved;	/* copies are at other places than before: set here, cleared by the owner */
	bool stale;	/* spans are to be laid out anew */
	uint32_t walks; /* how many there were: the clock by which frames age */
	uint32_t top_seen;    /* the highest top of the newest chunk lately, from its start */
	struct chunk *chunks; /* oldest first */
	size_t n_chunks, room_chunks;
	struct outside *outside; /* by address */
	size_t n_outside, room_outside;
	struct span *spans; /* those copied twice, then the others */
	size_t n_spans, n_twice, room_spans;
	uint32_t settled; /* span that is not read: windows_settle(); WINDOWS_NONE */
	uint32_t wanted;  /* walk number when such a one was added again */
	uint8_t *copies;  /* of spans: A, and room bytes further B */
	size_t room;
	const struct memory_range *beside; /* borrowed: the owner's, read right behind the words */
	size_t n_beside;
};

#define WINDOWS_NONE UINT32_MAX

/* A copied piece. */
struct copied {
	const uint8_t *a, *b; /* the same where only one copy was made */
	bool in_chunk;
	bool settled; /* it was not read with the rest */
};

/* 0 or -ENOMEM; windows_done() takes a half-made one. */
int windows_init(struct windows *w, const struct layout *layout, uint64_t tstate);
void windows_done(struct windows *w);

/* How many ranges windows_ranges() gives at most now. */
size_t windows_range_count(const struct windows *w);

/* The ranges of the next gather into out: how many. In order: copy A of what is copied twice, the
 * words, what is to be read beside them, what is copied once, and, with twice, copy B; what is
 * elsewhere encloses the chunks. */
size_t windows_ranges(struct windows *w, struct memory_range *out, bool twice);

/* Takes over which of those ranges failed: false when the words did. */
bool windows_take(struct windows *w, const struct memory_range *ranges);

/* The copies of the len bytes at addr: false when they were not made. */
bool windows_find(struct windows *w, uint64_t addr, uint32_t len, struct copied *ret);

/* The used part of the newest chunk by the words; 0 when they do not hold. */
uint32_t windows_newest_used(const struct windows *w);

/* Plans the chunks by the words as they are, with as many calls as it takes, and reads them into
 * copy A. 0; -EAGAIN when the list of chunks does not hold, -ENOMEM. */
int windows_plan_chunks(struct windows *w, struct memory *m);

/* Adds what stands at addr, of which, with twice, both copies are made. 0 or -ENOMEM. They are
 * there from the next gather on. */
int windows_add(struct windows *w, uint64_t addr, uint32_t len, bool twice);

/* Gives up what the last gather could not read: before what is still in use is added again. */
void windows_drop_failed(struct windows *w);

/* What stands alone at addr and is copied once is not read any more: its copy stays. Until it is
 * added again, or the copies are laid out anew, or 0 is given. One at a time. */
void windows_settle(struct windows *w, uint64_t addr);

/* For the walk's owner: marks what the stack uses, then gives up what no stack has used for a
 * while. Of what is marked with twice = false one copy is made. */
void windows_mark(struct windows *w, uint64_t addr, bool twice);
void windows_prune(struct windows *w);

#endif
