/* What the parts of the text dump share. Internal to formats/. */
#ifndef PYPROF_FORMATS_FMT_DUMP_H
#define PYPROF_FORMATS_FMT_DUMP_H

#include <stdbool.h>
#include <stdio.h>

#include "formats/format.h"

#define DUMP_HEADING "\033[1;34m"
#define DUMP_NAME    "\033[1;32m"
#define DUMP_REMARK  "\033[33m"
#define DUMP_RESET   "\033[0m"

struct dump {
	const struct model *m;
	const struct format_options *options;
	FILE *out;
};

/* code, or nothing where there are no colours. */
const char *dump_color(const struct dump *d, const char *code);

/* Text of the target. */
void dump_escaped(const struct dump *d, const char *text, size_t len);

/* The frames up to node, the base first. 0 or -ENOMEM. */
int dump_frames(const struct dump *d, uint32_t node);

/* The asyncio tasks of a process: a stack for each that no other awaits, with those that await it
 * above, and the tree of them all. none: nothing of the process was printed yet; *first: nothing at
 * all. 0 or -ENOMEM. */
int dump_tasks(const struct dump *d, uint32_t process, bool none, bool *first);

/* Whether a task is shown that runs in this thread of the model: its stack is the thread's. */
bool dump_runs_task(const struct model *m, uint32_t thread);

#endif
