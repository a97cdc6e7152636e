/* What the parts of the task reader share. tasks-reader.c finds asyncio and greenlets; a look is
 * made of tasks-set.c (which tasks there are, what each is), tasks-stack.c (where each stands) and
 * tasks-awaiters.c and tasks-gevent.c (who awaits whom), through tasks-objects.c; tasks.c has the
 * looks. */
#ifndef PYPROF_REMOTE_TASKS_PARTS_H
#define PYPROF_REMOTE_TASKS_PARTS_H

#include "remote/address-map.h"
#include "remote/greenlets.h"
#include "remote/memory.h"
#include "remote/tasks.h"

#define POINTER	      8
#define MAX_CHAIN     4096 /* coroutines one awaits the other; deeper than Python recurses */
#define MAX_CALLBACKS 256  /* of one future: as many tasks may wait for it by them */
#define MAX_THREADS   4096
#define MAX_TYPES     64 /* types whose kind is remembered */
#define NAME_LEN      1024

/* What is known of an object by its type. */
enum kind {
	KIND_OTHER,
	KIND_COROUTINE, /* a coroutine, generator or asynchronous generator */
	KIND_WRAPPER,	/* awaits the object that it holds */
	KIND_NONE,
	KIND_STR,
	KIND_INT,
	KIND_FUNCTION,
	KIND_METHOD,
	KIND_PARTIAL,
	KIND_LIST,
	KIND_TUPLE,
	KIND_CELL,
	KIND_SET,
	KIND_LOOP_HOLDER, /* of a thread's running loop, to 3.11 */
	KIND_WAKEUP,	  /* to 3.8: of the task that it wakes up */
	KIND_BUILTIN,	  /* a function in C with its self: later that */
};

/* What asyncio is in one interpreter. 0: there is none. */
struct asyncio {
	uint64_t interp;
	uint64_t globals;	      /* of asyncio.tasks: a dict */
	uint64_t c_task, py_task;     /* types */
	uint64_t c_future, py_future; /* types; to 3.13 */
	uint64_t scheduled;	      /* the set in the WeakSet of tasks */
	uint64_t eager;		      /* a set */
	uint64_t current;	      /* a dict: loop to task; to 3.13 */
};

/* The greenlets of one interpreter. */
struct green {
	uint64_t interp;
	struct greenlets all;
};

struct task_reader {
	struct target *target;
	struct target view;   /* the same, with the kept memory and asyncio's layout */
	struct memory *other; /* that tasks which wait are read by; NULL: the kept one */
	struct tables *tables;
	struct code_cache *codes;
	struct asyncio *asyncio;
	size_t n_asyncio;
	struct green *green;
	size_t n_green;
	enum tasks_found found; /* of asyncio */
	struct type_kind {
		uint64_t type;
		enum kind kind;
	} types[MAX_TYPES];
	uint64_t stamp; /* of looks that go on: by which code objects were checked */
};

/* A task on the way. */
struct work {
	const struct asyncio *asyncio; /* NULL: it is a greenlet */
	const struct green *green;
	struct greenlet greenlet;
	bool c; /* the accelerator's */
	uint64_t coro, waiter;
	uint64_t frame;	    /* of its coroutine; 0 none */
	uint32_t next_same; /* the next with the same waiter, + 1 */
	bool on_stack;
};

struct edge {
	uint32_t task, awaiter;
};

struct frame {
	uint64_t addr, code, ip, previous;
	int32_t tlbc_index;
	bool created, generator, hidden;
};

struct look {
	struct task_reader *r;
	struct memory *m;
	const struct layout *l;
	struct tasks *out;
	struct work *work;
	size_t room;
	struct address_map by_addr, by_frame, by_waiter, by_main;
	struct edge *edges;
	size_t n_edges, room_edges;
	struct frame *frames; /* MAX_CHAIN */
	struct running {
		uint64_t tstate, loop;
		const struct asyncio *asyncio;
	} * threads;
	size_t n_threads;
	struct type_kind *types; /* MAX_TYPES */
	/* One task and those that await it, not all that there are: the awaiters of the one that is
	 * looked at. */
	bool climbs;
	bool runs;   /* that one: what it waits for each time it does not is left out */
	bool python; /* some tasks are in Python */
	const struct asyncio *climb_from;
	const struct green *climb_green; /* or these */
	uint64_t awaiters[MAX_CALLBACKS];
	size_t n_awaiters;
	uint64_t calls0, bytes0;
	uint64_t parent_of, parent; /* the last TaskGroup seen, and its task */
	int error;		    /* what ends the look */
};

/* ---- tasks-objects.c: what stands in memory ---- */

/* Notes what makes going on useless; other errors concern one object. Returns r. */
int look_note(struct look *k, int r);
/* Whether the look has cost what it may. */
bool look_spent(const struct look *k);
/* As memory_read(); a word of an object, at offset: -EBADMSG where it cannot be, since objects
 * stand at multiples of a word. */
int look_bytes(struct look *k, uint64_t addr, void *buf, size_t len);
int look_word(struct look *k, uint64_t addr, int32_t offset, uint64_t *ret);
void look_word_or_0(struct look *k, uint64_t addr, int32_t offset, uint64_t *ret);
int look_type(struct look *k, uint64_t object, uint64_t *ret);
/* The kind of an object by its type. Classes made by Python code may have any name. */
enum kind look_kind(struct look *k, uint64_t object);
/* Whether a type is base, or a class below it. */
bool look_is_a(struct look *k, uint64_t type, uint64_t base);
/* 0: it has none. */
uint64_t look_attribute(struct look *k, uint64_t object, const char *name);
/* Calls each() with the members of a set; a negative return ends the walk. */
void look_each_member(struct look *k, uint64_t set,
		      int (*each)(struct look *k, void *arg, uint64_t object), void *arg);

/* ---- tasks-set.c: which tasks there are, what each is ---- */

/* One that is there already is not added again; negative: no more can be. */
int look_add_task(struct look *k, const struct asyncio *a, uint64_t addr);
int look_add_greenlet(struct look *k, const struct green *g, uint64_t addr);
/* All that there are to look at: 0 or -errno. */
int look_add_all(struct look *k);
/* Reads task i. False: it is none, or done. */
bool look_read_task(struct look *k, size_t i);
/* Reads all tasks, leaves those that are none, and sorts them into the maps: 0 or -errno. */
int look_read_tasks(struct look *k);
/* The loop that runs in a thread; 0: none. */
uint64_t look_running_loop(struct look *k, uint64_t tstate);

/* ---- tasks-stack.c: where each stands ---- */

/* The frame of a coroutine that Python runs; 0: it has none (any more). */
uint64_t look_coroutine_frame(struct look *k, uint64_t coro);
/* Reads the frame of a coroutine that does not run, and what it waits for: 0 nothing that is
 * known. -EAGAIN: it runs, or has ended. */
int look_read_suspended(struct look *k, uint64_t coro, struct frame *f, uint64_t *ret_next);
/* The chain of coroutines from a task's own to what it waits for in the end. */
void look_read_chain(struct look *k, size_t i);
/* The stack of a greenlet: all of its thread's while it runs. */
void look_read_green_stack(struct look *k, size_t i);
/* The tasks that run in a thread: their coroutines' frames are on its stack. */
void look_read_running(struct look *k, const struct running *thread);

/* ---- tasks-awaiters.c: who awaits whom ---- */

/* Whoever is at awaiter_addr waits for task, if a task is there. */
void look_add_edge(struct look *k, uint32_t task, uint64_t awaiter_addr);
/* Of all tasks: 0 or -errno. */
int look_read_awaiters(struct look *k);
/* Whether it is a task of the accelerator's that is not done. */
bool look_is_pending(struct look *k, const struct asyncio *a, uint64_t object);
/* Those that await task i, the lowest address first, of a look that climbs. */
void look_find_awaiters(struct look *k, uint32_t i);

/* ---- tasks-gevent.c: who waits for a greenlet ---- */

void look_follow_links(struct look *k, uint32_t task);

#endif
