#include "remote/tasks-answers.h"

#include <errno.h>
#include <stdlib.h>

#include "remote/address-map.h"

#define WAYS   8u /* places where the answer of one task may stand */
#define SETS   (TASK_ANSWERS / WAYS)
#define FRAMES (2 * TASK_ANSWERS)

struct task_answers {
	struct task_answer all[SETS][WAYS];
	uint64_t by_frame[FRAMES]; /* task, by its coroutine's frame: one of those there may be */
	uint64_t count;		   /* of what was asked and made */
	size_t bytes;
};

struct task_answers *task_answers_new(void)
{
	return calloc(1, sizeof(struct task_answers));
}

static size_t bytes_of(const struct task_answer *t)
{
	return 2 * t->memo.room + t->memo.room_ranges * sizeof(*t->memo.ranges);
}

static void drop(struct task_answers *a, struct task_answer *t)
{
	a->bytes -= bytes_of(t);
	memo_done(&t->memo);
	*t = (struct task_answer){0};
}

void task_answers_clear(struct task_answers *a)
{
	for (size_t i = 0; i < TASK_ANSWERS; i++)
		drop(a, &a->all[i / WAYS][i % WAYS]);
}

void task_answers_free(struct task_answers *a)
{
	if (a)
		task_answers_clear(a);
	free(a);
}

static struct task_answer *find(struct task_answers *a, uint64_t task)
{
	struct task_answer *set = a->all[address_hash(task) % SETS];

	for (size_t i = 0; i < WAYS; i++)
		if (set[i].task == task)
			return &set[i];
	return NULL;
}

struct task_answer *task_answers_get(struct task_answers *a, uint64_t task)
{
	struct task_answer *t = task ? find(a, task) : NULL;

	if (t)
		t->used = ++a->count;
	return t;
}

static uint64_t *place_of_frame(struct task_answers *a, uint64_t frame)
{
	return &a->by_frame[address_hash(frame) % FRAMES];
}

struct task_answer *task_answers_of_frame(struct task_answers *a, uint64_t frame)
{
	struct task_answer *t = task_answers_get(a, *place_of_frame(a, frame));

	return t && !t->beyond && t->chain.frame == frame ? t : NULL;
}

/* Of the places of a task the one that is free, or was not used for longest. */
static struct task_answer *make_room(struct task_answers *a, uint64_t task)
{
	struct task_answer *set = a->all[address_hash(task) % SETS], *oldest = set;

	for (size_t i = 1; i < WAYS; i++)
		if (set[i].used < oldest->used)
			oldest = &set[i];
	return oldest;
}

int task_answers_put(struct task_answers *a, uint64_t task, const struct task_chain *chain,
		     struct memory_log *log)
{
	struct task_answer *t = find(a, task);
	/* Another task at the address of one that ended is no change. */
	bool changed = t && !t->beyond && t->chain.frame == chain->frame;
	int r = 0;

	if (!t)
		t = make_room(a, task);
	if (a->bytes > TASK_ANSWERS_BYTES) {
		changed = false;
		task_answers_clear(a);
	}
	a->bytes -= bytes_of(t);
	memo_clear(&t->memo);
	if (log)
		r = memo_keep(&t->memo, log);
	a->bytes += bytes_of(t);
	if (r == -ENOMEM) {
		drop(a, t);
		return r;
	}
	t->task = task;
	t->used = ++a->count;
	t->chain = *chain;
	t->beyond = !log || r < 0;
	if (chain->frame)
		*place_of_frame(a, chain->frame) = task;
	t->wait = t->beyond ? TASK_BEYOND : 0;
	t->doubt = changed && !t->beyond ? TASK_DOUBT : 0;
	return r;
}
