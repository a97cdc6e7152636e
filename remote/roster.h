/* Who there is: the interpreters and threads that are sampled, kept up to date at little cost. */
#ifndef PYPROF_REMOTE_ROSTER_H
#define PYPROF_REMOTE_ROSTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "remote/frame.h"
#include "remote/sampler.h"
#include "remote/state.h"
#include "remote/tables.h"
#include "remote/target.h"
#include "remote/tasks-sample.h"
#include "remote/thread.h"
#include "remote/turns.h"

/* What the sampler keeps of a thread: first what is asked of each at every tick, also of those that
 * rest, which lies together. */
struct thread {
	uint64_t addr;
	struct walker *walker;
	struct task_watch *watch; /* NULL: of its tasks nothing is asked */
	struct thread *twin; /* the next state of the same kernel thread, in a ring; often itself */
	size_t interp;	     /* index */
	size_t first_range, words_range; /* words_range: of one that rested */
	uint64_t stop_until;		 /* tick */
	uint64_t proven_tick;		 /* the last tick that its stack was proven at */
	uint64_t stood_stamp;  /* of the last tick that it stood at; 0: none since it was read */
	bool planned;	       /* where its frames stand is known */
	bool rests;	       /* walker_rests() */
	bool gathered, rested; /* rested: by the ranges of a resting thread only */
	bool stood;	       /* and without: it cannot have run ... */
	bool glanced;	       /* ... but for a glance at whether it waits for the GIL */
	bool run_known;
	uint64_t run_ns;    /* CPU time at the last sample of it or a twin */
	struct sample last; /* the last one, whether it was told or not */

	uint64_t ident;
	uint32_t tid;	 /* in our pid namespace; 0 unknown */
	uint32_t id;	 /* in the tables */
	bool main, seen; /* seen: by the scan under way */
	bool named;	 /* by threading */
	unsigned name_tries;
	uint64_t name_due_ns; /* when it is asked for again; 0: no more */
	uint64_t prev, next;  /* its links, as scanned */
	int syscall_fd, stat_fd, schedstat_fd;
	uint64_t used_ns; /* when it was last seen to be used (CLOCK_MONOTONIC): roster_is_used() */
	int cpu;	  /* that it was last seen on; -1 unknown */
	uint64_t cpu_ns;  /* when that was */
	struct handling handling;
	uint32_t fail_rate;
};

struct interpreter {
	struct interpreter_info info;
	struct thread_names names;
	uint64_t names_ns;    /* the scan that read them */
	uint64_t listed_head; /* the newest thread when its threads were last listed */
	int listed;	      /* how many there were */
	bool seen;
	struct state_words words;
	struct turns turns;
	bool turns_known;	 /* at this tick */
	bool waits_known;	 /* all who wait for its GIL are known, at this tick */
	uint32_t waiting;	 /* how many are known to */
	uint64_t stacks_read_ns; /* when all of its threads were last read whole */
};

struct roster {
	struct target *target;
	struct tables *tables; /* where threads are named */
	bool all_threads;      /* else only the main thread of the main interpreter */
	struct interpreter *interps;
	size_t n_interps;
	struct thread **threads;
	size_t n_threads, room_threads;
	uint64_t total; /* thread states there are, followed or not */
	bool rescan;	/* something has changed: look again at the next refresh */
	/* Threads that are no tasks of the process may be left out for a while; set by the owner,
	 * who looks more than once. */
	bool patient;
	bool strays;	   /* there were such, in the last scan */
	uint64_t stray_ns; /* since when; 0: there are none */

	struct thread_info *list; /* of a scan */
	struct task *tasks;
	int n_tasks;
	uint64_t pid_ns_tid; /* the main task's id in its own namespace */
	int tid_offset;	     /* in the C library's thread descriptor; <= 0 unknown */
	uint64_t scanned_ns, listed_ns, names_due_ns;
	struct thread **by_addr; /* open addressing, made by a scan */
	size_t n_by_addr;
};

/* target and tables are borrowed. 0 or -ENOMEM; roster_done() takes a half-made one. */
int roster_init(struct roster *who, struct target *target, struct tables *tables, bool all_threads);
void roster_done(struct roster *who);

/* Brings interpreters and threads up to date, as far as it is due at now_ns (CLOCK_MONOTONIC).
 * 0, or -errno when the target cannot be read. */
int roster_refresh(struct roster *who, uint64_t now_ns);

/* Forgets all threads: they are found anew and named in these tables. */
void roster_restart(struct roster *who, struct tables *tables);

/* A kernel thread that works in several interpreters has a state in each, with a stack of its own,
 * and uses one at a time: that which holds its GIL (free-threaded: is attached), else the one that
 * was entered last, whose frames are innermost. Whether it is this one, by the words and stacks as
 * last read at now_ns. Where a thread has one state, always. */
bool roster_is_used(const struct roster *who, struct thread *th, uint64_t now_ns);

/* By its words as last read: whether a thread's neighbours are those of the last scan. */
bool roster_same_links(const struct roster *who, const struct thread *th);

#endif
