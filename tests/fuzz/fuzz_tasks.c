/* asyncio in memory that is hostile: a made-up world of tasks with any of its words overwritten.
 * The first byte chooses whether they are in a set or in lists. */
#include <string.h>

#include "remote/tasks.h"
#include "tests/unit/synthetic_tasks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look(struct synthetic_tasks *s)
{
	struct task_reader *r;
	struct tables *tables;
	struct tasks tasks;

	if (tables_new(&tables) < 0)
		return;
	if (task_reader_new(&r, &s->target, tables) == 0) {
		for (int i = 0; i < 2; i++) {
			if (task_reader_read(r, &tasks) == 0)
				tasks_done(&tasks);
			memory_renew(task_reader_memory(r));
		}
		task_reader_free(r);
	}
	tables_free(tables);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct synthetic_tasks s;

	if (size < 1)
		return 0;
	synthetic_tasks_init(&s, data[0] & 1);
	/* Ten bytes each: where, and what, before one of four looks. */
	for (size_t at = 1; at + 10 <= size; at += 10) {
		uint64_t word;
		uint16_t where;

		memcpy(&where, data + at, 2);
		memcpy(&word, data + at + 2, 8);
		where = (uint16_t)(where % (SYNTHETIC_TASKS_SIZE - 8)) & ~7u;
		/* Words that point into the image reach further than random ones. */
		if (word >> 62 == 1)
			word = (SYNTHETIC_TASKS_BASE + word % SYNTHETIC_TASKS_SIZE) & ~7ull;
		synthetic_tasks_put(&s, SYNTHETIC_TASKS_BASE + where, 0, word);
		if (at % 40 == 1)
			look(&s);
	}
	look(&s);
	synthetic_tasks_done(&s);
	return 0;
}
