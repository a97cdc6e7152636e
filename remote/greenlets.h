/* Greenlets, read from outside: which there are, and what each does.
 *
 * Nothing lists them but the collector, which has all objects that refer to others in lists. These
 * are walked while the process runs, each link checked by the one back: where one was cut the walk
 * goes on from the last that was not, or begins anew. What it brings are addresses that may hold a
 * greenlet; greenlet_read() tells. */
#ifndef PYPROF_REMOTE_GREENLETS_H
#define PYPROF_REMOTE_GREENLETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "remote/layout.h"
#include "remote/memory.h"
#include "remote/target.h"

#define GREENLETS_MAX 32768u /* that are looked at; more is said */

/* Those of one interpreter. */
struct greenlets {
	uint64_t type;			      /* of greenlets, or the base of their types */
	const struct greenlet_layout *layout; /* NULL: none that we know holds, or there are none */
	uint64_t *addrs;		      /* sorted */
	size_t n;
	/* The threads that they run in, by the greenlet that each thread begins with. */
	struct greenlet_thread {
		uint64_t main, tstate;
	} * threads;
	size_t n_threads;
	bool more;	 /* there may be more of them */
	bool unreadable; /* there are some, but not as we know them */
};

/* Finds the greenlets of an interpreter, whose type is at type; those of a find before are given
 * up, unless this one fails. calls bounds what it costs: so many pages are read for each list, a
 * microsecond or two each. 0, or -errno
 * when nothing can be read, or memory is short. */
int greenlets_find(struct greenlets *g, const struct target *t, uint64_t interp, uint64_t type,
		   uint64_t calls);
void greenlets_done(struct greenlets *g);

enum greenlet_state {
	GREENLET_NEW, /* not begun yet */
	GREENLET_SUSPENDED,
	GREENLET_RUNNING, /* in its thread, which may itself wait */
	GREENLET_ENDED,	  /* or none any more */
};

struct greenlet {
	enum greenlet_state state;
	uint64_t main;	/* the one that its thread begins with, perhaps itself; 0 unknown */
	uint64_t frame; /* suspended: its newest; 0 none */
	/* Of its C stack, where frames of the interpreter may lie, saved bytes from stack on are at
	 * copy. */
	uint64_t stack, saved, copy;
};

/* Whether something still refers to it: what was found before may have been freed since. */
bool greenlet_lives(struct memory *m, uint64_t addr);

/* 0; -EAGAIN it is not as a greenlet should be, so it is just being changed; or an error of
 * memory_read(). */
int greenlet_read(struct memory *m, const struct layout *l, const struct greenlets *g,
		  uint64_t addr, struct greenlet *ret);

/* Of a thread's first greenlet: the address of the word that names the one which runs in that
 * thread, perhaps itself. While that does not change, and it is GREENLET_RUNNING, and
 * layout.tstate.context_ver of the thread does not change either, the thread's stack is its own. 0;
 * -ENOTSUP where the module's version does not tell; -EAGAIN it is none any more; or an error of
 * memory_read(). */
int greenlet_current_at(struct memory *m, const struct greenlets *g, uint64_t main, uint64_t *ret);

/* len bytes of a suspended greenlet's frame, which may lie on its C stack: memory_read(). */
int greenlet_read_frame(struct memory *m, const struct greenlet *g, uint64_t addr, void *buf,
			size_t len);

#endif
