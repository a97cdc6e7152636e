/* A made-up interpreter in a buffer whose asyncio has a few tasks, laid out as CPython 3.11's; or,
 * with lists, so that tasks are in the lists of their threads and know their awaiters, as from 3.14
 * on. */
#ifndef PYPROF_TESTS_SYNTHETIC_TASKS_H
#define PYPROF_TESTS_SYNTHETIC_TASKS_H

#include <stdbool.h>
#include <stdint.h>

#include "remote/target.h"

#define SYNTHETIC_TASKS_BASE 0x100000u
#define SYNTHETIC_TASKS_SIZE 0xa000u

/* Tasks: 0 awaits 1 and 2 by a gather(), 2 awaits 1. Each has two coroutines, outer and inner, and
 * waits at the inner one; the loop runs in the one thread. */
#define SYNTHETIC_TASKS 3

/* Greenlets, where they are asked for: 0 is the first of the thread and runs, 1 is suspended, its
 * newer frame where its C stack is kept, 2 is not begun. */
#define SYNTHETIC_GREENLETS 3

struct synthetic_tasks {
	_Alignas(8) uint8_t image[SYNTHETIC_TASKS_SIZE];
	struct target target;
	bool lists;
	uint64_t used; /* of the image */
	uint64_t types[24];
	uint64_t none, interp, tstate, set, loop;
	uint64_t modules, greenlets[SYNTHETIC_GREENLETS], state[SYNTHETIC_GREENLETS];
	uint64_t gc_lists; /* the first head of the collector's lists */
	/* asyncio's callback of each task, with task 0's future; and another, which is none's, so
	 * near to that future that both are in 256 bytes of one block. */
	uint64_t callbacks[SYNTHETIC_TASKS], another;
	uint64_t tasks[SYNTHETIC_TASKS], outer[SYNTHETIC_TASKS], inner[SYNTHETIC_TASKS];
};

void synthetic_tasks_init(struct synthetic_tasks *s, bool lists);
/* Greenlets beside the tasks. */
void synthetic_tasks_add_greenlets(struct synthetic_tasks *s);
uint64_t synthetic_tasks_greenlet_type(const struct synthetic_tasks *s);
void synthetic_tasks_done(struct synthetic_tasks *s);

void synthetic_tasks_put(struct synthetic_tasks *s, uint64_t addr, int32_t offset, uint64_t word);
uint64_t synthetic_tasks_get(const struct synthetic_tasks *s, uint64_t addr, int32_t offset);

/* What a coroutine waits for. */
void synthetic_tasks_await(struct synthetic_tasks *s, uint64_t coroutine, uint64_t object);

#endif
