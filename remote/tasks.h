/* asyncio's tasks, read from outside: which there are, where each stands, who awaits whom.
 *
 * To 3.13 the sets of tasks are found through the module asyncio.tasks, and who awaits a task by
 * what its awaiters wait for; from 3.14 tasks are in lists of their threads and know their awaiters
 * themselves. Tasks written in Python are in a set in every version. Everything read is bounded;
 * what cannot be read of one task is said of it and fails no other.
 *
 * A look reads through memory that is kept by pages, so that it can be made again on pages that
 * are of one instant: see tasks-take.h. */
#ifndef PYPROF_REMOTE_TASKS_H
#define PYPROF_REMOTE_TASKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "remote/tables.h"
#include "remote/target.h"

#define TASKS_MAX 32768u /* that are looked at; more is said */

enum task_state {
	TASK_PENDING, /* not done; suspended, or not started */
	TASK_RUNNING, /* its coroutine is on a thread's stack */
};

enum task_problem {
	TASK_FINE,
	TASK_MOVED,	 /* it changed while it was looked at: there is no stack */
	TASK_UNREADABLE, /* its coroutines could not be read, or not all: the stack is what could */
};

struct task_info {
	uint64_t addr, loop;
	uint64_t tstate; /* thread state that runs its loop; 0: none does */
	enum task_state state;
	enum task_problem problem;
	uint32_t name;	/* string; 0 unknown */
	uint32_t stack; /* 0: no Python frame */
	uint32_t first_awaiter, n_awaiters;
};

/* Whether there is something to read. */
enum tasks_found {
	TASKS_FOUND,	    /* though there may be none just now */
	TASKS_NO_ASYNCIO,   /* it was not imported */
	TASKS_UNKNOWN,	    /* it was, but where it keeps its tasks could not be found */
	TASKS_NO_GREENLETS, /* there are greenlets, of a version that cannot be read */
};

struct tasks {
	struct task_info *info;
	size_t n;
	uint32_t *awaiters; /* indices of tasks; each task's are together */
	size_t n_awaiters;
	size_t problems; /* tasks with a problem */
	bool more;	 /* there are more tasks, or awaiters, than were looked at */
	enum tasks_found found;
	uint64_t *loop_threads; /* thread states that run a loop */
	size_t n_loop_threads;
};

/* Where a thread says which task runs in it. */
struct task_place {
	uint64_t loop; /* that runs in it; 0 none: there is nothing but greenlets */
	bool unsure;   /* it may have greenlets that were not found yet, or cannot be read */
	/* 3.14+: of the word with the accelerator's task, 0 while none runs; else 0. */
	uint64_t word;
	/* A dict, loop to task: of all tasks to 3.13, then of those in Python. 0: there is none. */
	uint64_t dict;
	/* Beside it, 3.12+: of the set of tasks that begin at once, inside of others, the word that
	 * counts them; 0 it is not known. */
	uint64_t eager;
	/* Of a thread with greenlets, one of which always runs: the first, and the address of the
	 * word that names the one that runs now; and of its count of switches, a u64: between two
	 * equal readings of that the same one ran. 0: it has none. */
	uint64_t first, green, switches;
};

/* A task that runs, and who waits for it. */
struct task_chain {
	uint64_t task;	/* 0: it is none */
	uint64_t frame; /* of its coroutine; 0: Python does not run it */
	bool greenlet;
	/* Stack: a frame of kind FRAME_TASK for each task, from the outermost that waits to the one
	 * that runs, and above each but the last the frames where it waits. Of several that await
	 * one task the one at the lowest address is taken. */
	uint32_t stack;
};

struct task_reader;

/* tables: where names and stacks go; both are borrowed. Finds asyncio in each interpreter. 0 or
 * -errno. */
int task_reader_new(struct task_reader **ret, struct target *target, struct tables *tables);
void task_reader_free(struct task_reader *r);

/* The target's layout, with what is known of asyncio: valid while r is. */
const struct layout *task_reader_layout(const struct task_reader *r);

/* The kept memory that task_reader_read() reads: a memory_new_cached(). */
struct memory *task_reader_memory(struct task_reader *r);

/* From here on task_reader_waiting() reads m, another such memory, which is borrowed; NULL: the
 * one above. Code objects are read through the latter all the same. */
void task_reader_use(struct task_reader *r, struct memory *m);

/* How many bytes of a thread state are its words. */
size_t task_reader_thread_size(const struct task_reader *r);

/* Looks at all tasks by the memory above. *ret is the caller's: tasks_done(). 0 or -errno when
 * nothing can be read, or memory is short. */
int task_reader_read(struct task_reader *r, struct tasks *ret);
void tasks_done(struct tasks *t);

/* Finds asyncio anew, where it was not found yet or more interpreters may have it: for looks that
 * go on. 0 or -errno. */
int task_reader_find(struct task_reader *r);
enum tasks_found task_reader_found(const struct task_reader *r);

/* Whether asyncio is found; greenlets are looked for besides. */
bool task_reader_knows_asyncio(const struct task_reader *r);

/* Finds the greenlets that there are now: later looks are at those as well, as at tasks. As
 * greenlets_find(). */
int task_reader_find_greenlets(struct task_reader *r, uint64_t calls);

/* Whether the module greenlet was imported; whether there are greenlets that were not found, or
 * cannot be read. */
bool task_reader_knows_greenlets(const struct task_reader *r);
bool task_reader_lacks_greenlets(const struct task_reader *r);

/* Where one thread says what runs in it; and what there is to say of a task that does: of
 * asyncio's, or, with first, of a greenlet of that thread. By memory that is copied anew; what the
 * answer depends on is noted in log: it is of whatever instant finds all of that as it is there.
 * Nothing else is: the answer is a guess until then. 0; -EAGAIN when it moved too much; -ENOTSUP
 * when it cannot be read, or the chain is too long; another -errno when nothing can be read, or
 * memory is short. */
int task_reader_place(struct task_reader *r, uint64_t interp, uint64_t tstate,
		      struct memory_log *log, struct task_place *ret);
int task_reader_chain(struct task_reader *r, uint64_t interp, uint64_t first, uint64_t task,
		      struct memory_log *log, struct task_chain *ret);

/* Which tasks there are, and which loops run, by the kept memory. *ret is the caller's:
 * task_list_done(). 0 or -errno. */
struct task_list {
	struct task_ref {
		uint64_t addr;
		uint32_t asyncio; /* for task_reader_waiting(), until something is found anew */
	} * tasks;
	size_t n;
	struct task_loop {
		uint64_t loop, tstate;
	} * loops;
	size_t n_loops;
	bool more; /* tasks than are looked at */
};
int task_reader_list(struct task_reader *r, struct task_list *ret);
void task_list_done(struct task_list *t);

/* Where one of them waits, by the kept memory; what the answer depends on is noted in log. */
enum task_waits {
	TASK_WAITS,
	TASK_RUNS,    /* or is done, or was not begun to be awaited by its loop: it does not wait */
	TASK_CHANGES, /* it changed while it was read, or cannot be read */
};
struct task_waiting {
	uint64_t loop;
	uint32_t name, stack; /* string; its own frames */
	uint32_t n_awaiters;
	uint64_t *awaiters; /* addresses, the lowest first; the caller's to free */
	uint64_t awaits;    /* the task that it waits for, where it is one of the accelerator's */
};
/* -ENOMEM, or enum task_waits; *ret with TASK_WAITS and TASK_RUNS. */
int task_reader_waiting(struct task_reader *r, const struct task_ref *ref, struct memory_log *log,
			struct task_waiting *ret);

/* A frame of kind FRAME_TASK above a stack: the stack; 0 when memory is short. */
uint32_t task_marker(struct tables *t, uint32_t stack, uint32_t name, uint64_t addr,
		     uint32_t n_awaiters);

/* All ids are void; tables: those of the ids to come. */
void task_reader_forget(struct task_reader *r, struct tables *tables);

#endif
