/* What is known of tasks that ran lately: for each who awaits it, and what that depends on.
 * Bounded: the one that was not asked for for longest makes room. */
#ifndef PYPROF_REMOTE_TASKS_ANSWERS_H
#define PYPROF_REMOTE_TASKS_ANSWERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "remote/memo.h"
#include "remote/tasks.h"

#define TASK_ANSWERS	   2048u       /* tasks */
#define TASK_ANSWERS_BYTES (16u << 20) /* of what they depend on, together */
#define TASK_DOUBT	   64u	       /* an answer that changed is doubted so many times */
#define TASK_BEYOND	   255u	       /* one that there is not is not looked for so many times */

struct task_answer {
	uint64_t task; /* 0: none */
	uint64_t used; /* when it was last asked for or made, by a count of these */
	struct task_chain chain;
	struct memo memo;
	bool beyond;  /* it is over a bound: there would be none */
	uint8_t wait; /* beyond: so many times more it is not looked for */
	/* It changed lately, and may change back: so many times more the task's own words must have
	 * been read before the instant that it is asked for as well. */
	uint8_t doubt;
};

struct task_answers;

/* NULL when memory is short. */
struct task_answers *task_answers_new(void);
void task_answers_free(struct task_answers *a);
void task_answers_clear(struct task_answers *a);

/* The answer of a task, until the next is made; NULL: there is none. */
struct task_answer *task_answers_get(struct task_answers *a, uint64_t task);

/* The answer of the task whose coroutine has that frame; NULL: none is known. */
struct task_answer *task_answers_of_frame(struct task_answers *a, uint64_t frame);

/* Makes it that of a task which is not 0, by what log noted; another of the same task is doubted.
 * log NULL: there would be none. 0; -E2BIG: it depends on more than a memo keeps, so
 * that there would be none either; -ENOMEM: there is none. */
int task_answers_put(struct task_answers *a, uint64_t task, const struct task_chain *chain,
		     struct memory_log *log);

#endif
