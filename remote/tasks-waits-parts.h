/* What the parts of the looks at tasks that wait share: tasks-waits.c has the look and what is told
 * of it, tasks-quick.c proves those that do not stand still for the length of a look. */
#ifndef PYPROF_REMOTE_TASKS_WAITS_PARTS_H
#define PYPROF_REMOTE_TASKS_WAITS_PARTS_H

#include "remote/latency.h"
#include "remote/memo.h"
#include "remote/tasks-waits.h"
#include "remote/tasks.h"

struct quick;

struct seen {
	uint64_t addr;
	struct task_ref ref;
	uint32_t look;	  /* that it was last listed in */
	uint32_t missing; /* looks since then that went through all lists */
	unsigned heat;	  /* how often it was seen to have changed, lately */
	bool child;	  /* another awaits it ... */
	/* In this look. */
	bool moved;    /* it is not where it was */
	bool fresh;    /* to be proven with others like it */
	bool proven;   /* it was where it is said to be */
	bool quick;    /* it is proven by a reading of its own, or while its thread was held */
	uint32_t unit; /* with those of the same number it was proven at one instant; 0: with all
			* that stood still */
	enum task_waits what;
	struct memo memo;
	uint64_t made; /* when its memo was made, in followings */
	struct task_waiting at;
	uint32_t composed;    /* its stack with those that await it, 0 none ... */
	uint64_t composed_in; /* ... and when it was made, in the same */
	uint32_t checked;     /* the look in which it was read again */
	/* Where it was proven in a unit: its loop, and the task that stands still which awaits the
	 * last of the unit, 0 none; and whether it was followed again since, so that what is known
	 * of it by now is not proven. */
	uint64_t loop, base;
	bool loose;
	/* What is not told yet: count looks on stack. */
	uint64_t first_ns, ns, count;
	uint32_t stack, thread;
};

struct waits {
	struct task_reader *reader;
	struct memory *live; /* the target's, borrowed */
	struct tables *tables;
	struct waits_listener listener;
	struct memory_log log;
	struct task_list list;
	uint64_t found_ns, green_ns; /* the next for greenlets */
	unsigned again;
	uint32_t look;
	uint64_t followed; /* how often one was */
	struct seen **seen;
	size_t n, room;
	uint32_t *slots; /* by address: index + 1 */
	size_t n_slots;
	uint64_t lost; /* not told yet */
	struct latency page;
	uint8_t *scratch;
	struct quick *quick;
};

#define MAX_AWAITERS_UP 64 /* tasks above each other in one stack */

/* ---- tasks-waits.c ---- */
/* Whether an error ends all looks. */
bool waits_is_fatal(int r);
struct seen *waits_find(const struct waits *w, uint64_t addr);
/* Whether a reading of so many pages that began then took no longer than one does: page is what
 * those before took for each. Between the copies of one that was interrupted much can have
 * happened, the same thing twice among it: it proves nothing. */
bool waits_in_time(struct latency *page, uint64_t began_ns, size_t pages);
/* Reads all pages of all anew, again where that was interrupted: 0 or -errno, -EAGAIN when it was
 * each time. */
int waits_renew(struct waits *w);
/* NULL when memory is short. */
struct seen *waits_add(struct waits *w, const struct task_ref *ref);
/* Follows a task whose words are not known to be what they were, by what the reader reads. 0 or
 * -errno. */
int waits_follow(struct waits *w, struct seen *t);
/* Whether what its answer depends on stands so in m. */
bool waits_holds(struct waits *w, struct seen *t, struct memory *m);
/* The stack of a task, those that await it included: the one at the lowest address each time. 0:
 * one of them is not known, or was not seen to wait at the same instant; or memory is short. */
uint32_t waits_compose(struct waits *w, struct seen *leaf);

/* ---- tasks-quick.c ---- */
int quick_new(struct quick **ret, struct waits *w);
void quick_free(struct quick *q);
/* How many can be proven one by one; where more have changed, all are tried together first. */
size_t quick_room(const struct quick *q, uint64_t ns);
/* Proves those that are not proven yet, as far as time and budget allow: 0 or -errno. ns: the time
 * that the look stands for. */
int quick_prove(struct quick *q, uint64_t ns);

#endif
