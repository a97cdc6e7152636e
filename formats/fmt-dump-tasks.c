#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "formats/fmt-dump.h"

#define CHAIN_MAX 64   /* tasks above each other in one stack */
#define WALK_MAX  1024 /* tasks below each other that are searched for one to begin with */
#define DEPTH_MAX 64   /* of the tree: what is deeper begins a tree of its own */

/* Which tasks await which, the other way round. */
struct tree {
	uint32_t *first,
		*child; /* tasks that task i awaits: child[first[i]] to child[first[i+1]] */
	bool *shown;
};

bool dump_runs_task(const struct model *m, uint32_t thread)
{
	for (uint32_t i = 1; i < m->task_count; i++)
		if (m->tasks[i].seen && m->tasks[i].thread == thread &&
		    m->tasks[i].state == STREAM_TASK_RUNNING && m->tasks[i].node)
			return true;
	return false;
}

static bool is_shown(const struct model *m, uint32_t task, uint32_t process)
{
	return m->tasks[task].seen && m->tasks[task].process == process;
}

static void put_name(const struct dump *d, uint32_t task)
{
	const struct model_task *t = &d->m->tasks[task];

	if (t->name)
		dump_escaped(d, d->m->strings[t->name].bytes, d->m->strings[t->name].len);
	else
		fprintf(d->out, "0x%" PRIx64, t->addr);
}

static void put_header(const struct dump *d, uint32_t task, bool first)
{
	const struct model_task *t = &d->m->tasks[task];
	const struct model_thread *th = &d->m->threads[t->thread];

	fprintf(d->out, "%sStack dump", dump_color(d, DUMP_HEADING));
	if (first)
		fprintf(d->out, " for PID %" PRId32, d->m->processes[t->process].header.pid);
	if (t->thread)
		fprintf(d->out, ", thread %" PRIu64, th->tid ? th->tid : th->ident);
	if (t->thread && th->name) {
		fputs(" \"", d->out);
		dump_escaped(d, d->m->strings[th->name].bytes, d->m->strings[th->name].len);
		fputs("\"", d->out);
	}
	fprintf(d->out, " (task %" PRIu64 ", %s", t->addr,
		t->state == STREAM_TASK_RUNNING ? "running" : "waiting");
	if (!t->thread)
		fputs(", its loop does not run", d->out);
	fprintf(d->out, "; most recent call last):%s\n", dump_color(d, DUMP_RESET));
}

/* A task's marker and its own stack. */
static int put_task(const struct dump *d, uint32_t task)
{
	const struct model_task *t = &d->m->tasks[task];
	const char *remark = NULL;

	fprintf(d->out, "  File \"<task>\", in %s", dump_color(d, DUMP_NAME));
	put_name(d, task);
	fputs(dump_color(d, DUMP_RESET), d->out);
	if (t->n_awaiters > 1)
		fprintf(d->out, " (%" PRIu32 " parents)", t->n_awaiters);
	fputc('\n', d->out);
	if (t->problem == STREAM_TASK_MOVED)
		remark = "It moved while it was looked at";
	else if (t->problem)
		remark = "Not all of it could be read";
	else if (!t->node)
		remark = "No Python frames";
	if (remark)
		fprintf(d->out, "    %s%s%s\n", dump_color(d, DUMP_REMARK), remark,
			dump_color(d, DUMP_RESET));
	return dump_frames(d, t->node);
}

/* The stack of a task, those above it that await it included: the first of them each time. */
static int put_stack(const struct dump *d, struct tree *tree, uint32_t task, bool *none,
		     bool *first)
{
	uint32_t chain[CHAIN_MAX] = {0}, n = 0, at = task;
	bool cut = false;
	int r = 0;

	if (!*first)
		fputc('\n', d->out);
	put_header(d, task, *none);
	*none = *first = false;
	while (at) {
		const struct model_task *t = &d->m->tasks[at];

		/* A circle of tasks that await each other. */
		for (uint32_t i = 0; i < n && !cut; i++)
			cut = chain[i] == at;
		cut |= n == CHAIN_MAX;
		if (cut)
			break;
		chain[n++] = at;
		tree->shown[at] = true;
		at = t->n_awaiters ? d->m->awaiters[t->first_awaiter] : 0;
	}
	if (cut)
		fprintf(d->out, "  %sMore tasks await these%s\n", dump_color(d, DUMP_REMARK),
			dump_color(d, DUMP_RESET));
	while (n > 0 && r == 0)
		r = put_task(d, chain[--n]);
	return r;
}

static bool awaits_shown(const struct dump *d, const struct tree *tree, uint32_t task,
			 uint32_t process)
{
	for (uint32_t i = tree->first[task]; i < tree->first[task + 1]; i++)
		if (is_shown(d->m, tree->child[i], process))
			return true;
	return false;
}

/* From a task that is in no stack yet to one that it awaits, and so on, as long as these are in
 * none either. */
static uint32_t deepest(const struct dump *d, const struct tree *tree, uint32_t task,
			uint32_t process)
{
	for (int i = 0; i < WALK_MAX; i++) {
		uint32_t next = 0;

		for (uint32_t k = tree->first[task]; k < tree->first[task + 1] && !next; k++)
			if (is_shown(d->m, tree->child[k], process) && !tree->shown[tree->child[k]])
				next = tree->child[k];
		if (!next)
			break;
		task = next;
	}
	return task;
}

/* First those that await no other, each below those that await it; then who was in none of these
 * stacks. */
static int put_stacks(const struct dump *d, struct tree *tree, uint32_t process, bool none,
		      bool *first)
{
	int r = 0;

	for (uint32_t i = 1; i < d->m->task_count && r == 0; i++)
		if (is_shown(d->m, i, process) && !tree->shown[i] &&
		    !awaits_shown(d, tree, i, process))
			r = put_stack(d, tree, i, &none, first);
	for (uint32_t i = 1; i < d->m->task_count && r == 0; i++)
		while (is_shown(d->m, i, process) && !tree->shown[i] && r == 0)
			r = put_stack(d, tree, deepest(d, tree, i, process), &none, first);
	return r;
}

/* ---- the tree ---- */

struct level {
	uint32_t next, end; /* of tree->child */
};

static void put_branch(const struct dump *d, const struct level *levels, uint32_t depth)
{
	for (uint32_t i = 0; i + 1 < depth; i++)
		fputs(levels[i].next < levels[i].end ? "│   " : "    ", d->out);
	if (depth)
		fputs(levels[depth - 1].next < levels[depth - 1].end ? "├── " : "└── ", d->out);
}

static void put_node(const struct dump *d, const struct tree *tree, uint32_t task, bool again)
{
	const struct model_task *t = &d->m->tasks[task];

	fputs(dump_color(d, DUMP_NAME), d->out);
	put_name(d, task);
	fputs(dump_color(d, DUMP_RESET), d->out);
	if (t->state == STREAM_TASK_RUNNING)
		fputs(" (running)", d->out);
	if (t->n_awaiters > 1)
		fprintf(d->out, " (%" PRIu32 " parents)", t->n_awaiters);
	if (again && tree->first[task] < tree->first[task + 1])
		fputs(" ...", d->out);
	fputc('\n', d->out);
}

/* A task, and below it those that it awaits. What was printed before is not entered again. */
static void put_subtree(const struct dump *d, struct tree *tree, uint32_t root)
{
	struct level levels[DEPTH_MAX] = {{0}};
	uint32_t depth = 0, task = root;

	for (;;) {
		bool again = tree->shown[task];

		/* Deeper ones begin a tree of their own. */
		if (!again && depth == DEPTH_MAX) {
			put_branch(d, levels, depth);
			put_node(d, tree, task, true);
		} else {
			tree->shown[task] = true;
			put_branch(d, levels, depth);
			put_node(d, tree, task, again);
			if (!again)
				levels[depth++] =
					(struct level){tree->first[task], tree->first[task + 1]};
		}
		while (depth && levels[depth - 1].next == levels[depth - 1].end)
			depth--;
		if (!depth)
			return;
		task = tree->child[levels[depth - 1].next++];
	}
}

static void put_tree(const struct dump *d, struct tree *tree, uint32_t process)
{
	for (uint32_t i = 0; i < d->m->task_count; i++)
		tree->shown[i] = false;
	fprintf(d->out, "\n%sTasks, each above those that it awaits:%s\n",
		dump_color(d, DUMP_HEADING), dump_color(d, DUMP_RESET));
	/* Where all await each other there is no root. */
	for (int pass = 0; pass < 2; pass++)
		for (uint32_t i = 1; i < d->m->task_count; i++)
			if (is_shown(d->m, i, process) && !tree->shown[i] &&
			    (pass || d->m->tasks[i].n_awaiters == 0))
				put_subtree(d, tree, i);
}

/* Turns the lists of awaiters round. */
static int tree_init(struct tree *tree, const struct model *m)
{
	uint32_t edges = 0, *at;

	for (uint32_t i = 1; i < m->task_count; i++)
		edges += m->tasks[i].n_awaiters;
	tree->first = calloc((size_t)m->task_count + 3, sizeof(*tree->first));
	tree->child = calloc((size_t)edges + 1, sizeof(*tree->child));
	tree->shown = calloc((size_t)m->task_count + 1, sizeof(*tree->shown));
	if (!tree->first || !tree->child || !tree->shown)
		return -ENOMEM;
	/* Counted two behind: filling moves each start to the one behind its own. */
	at = tree->first + 2;
	for (uint32_t i = 1; i < m->task_count; i++)
		for (uint32_t k = 0; k < m->tasks[i].n_awaiters; k++)
			at[m->awaiters[m->tasks[i].first_awaiter + k]]++;
	for (uint32_t i = 2; i < m->task_count + 2; i++)
		tree->first[i] += tree->first[i - 1];
	for (uint32_t i = 1; i < m->task_count; i++)
		for (uint32_t k = 0; k < m->tasks[i].n_awaiters; k++) {
			uint32_t awaiter = m->awaiters[m->tasks[i].first_awaiter + k];

			tree->child[tree->first[awaiter + 1]++] = i;
		}
	return 0;
}

int dump_tasks(const struct dump *d, uint32_t process, bool none, bool *first)
{
	struct tree tree = {0};
	bool edges = false;
	int r = tree_init(&tree, d->m);

	if (r == 0)
		r = put_stacks(d, &tree, process, none, first);
	for (uint32_t i = 1; i < d->m->task_count && !edges; i++)
		edges = is_shown(d->m, i, process) && d->m->tasks[i].n_awaiters;
	if (r == 0 && edges)
		put_tree(d, &tree, process);
	free(tree.first);
	free(tree.child);
	free(tree.shown);
	return r;
}
