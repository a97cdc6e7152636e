#include "remote/tasks-parts.h"

#include <errno.h>
#include <stdlib.h>

#include "remote/code.h"
#include "remote/object.h"
#include "remote/thread.h"

#define MAX_INTERPS THREAD_MAX_INTERPRETERS

static uint64_t global(struct task_reader *r, uint64_t dict, const char *name)
{
	uint64_t value;

	return object_dict_get(r->target->memory, &r->target->layout, dict, name, &value) < 0
		       ? 0
		       : value;
}

/* The dict of a module that was imported; 0 when it was not. */
static uint64_t module_dict(struct task_reader *r, uint64_t interp, const char *name)
{
	const struct layout *l = &r->target->layout;
	struct memory *m = r->target->memory;
	uint64_t modules, module, dict;

	if (l->interp.modules == ABSENT ||
	    MEMORY_READ(m, interp + (uint64_t)l->interp.modules, &modules) < 0)
		return 0;
	module = global(r, modules, name);
	if (!module || MEMORY_READ(m, module + (uint64_t)l->inner.first, &dict) < 0)
		return 0;
	return dict;
}

/* ---- asyncio ---- */

/* What never changes while asyncio is there is looked up once. */
static bool find_asyncio(struct task_reader *r, uint64_t interp, struct asyncio *ret)
{
	const struct layout *l = &r->target->layout;
	uint64_t futures = module_dict(r, interp, "asyncio.futures"), weak_set;
	struct asyncio a = {.interp = interp, .globals = module_dict(r, interp, "asyncio.tasks")};

	if (!a.globals)
		return false;
	a.c_task = global(r, a.globals, "_CTask");
	a.py_task = global(r, a.globals, "_PyTask");
	a.c_future = futures ? global(r, futures, "_CFuture") : 0;
	a.py_future = futures ? global(r, futures, "_PyFuture") : 0;
	weak_set = global(r, a.globals, "_scheduled_tasks");
	if (!weak_set)
		weak_set = global(r, a.globals, "_all_tasks"); /* to 3.11 */
	if (!weak_set ||
	    object_get_attribute(r->target->memory, l, weak_set, "data", &a.scheduled) < 0)
		a.scheduled = 0;
	a.eager = global(r, a.globals, "_eager_tasks");
	a.current = global(r, a.globals, "_current_tasks");
	*ret = a;
	return true;
}

/* From 3.14 the accelerator has a table of its own. */
static int add_table(struct task_reader *r)
{
	uint8_t table[LAYOUT_ASYNCIO_BYTES];
	uint64_t addr, size;
	int e = target_find_section(r->target, ".AsyncioDebug", "_asyncio", &addr, &size);

	if (e == 0 && size < sizeof(table))
		e = -ENOTSUP;
	if (e == 0)
		e = memory_read(r->target->memory, addr, table, sizeof(table));
	return e < 0 ? e : layout_add_asyncio(&r->view.layout, table, sizeof(table));
}

static int find_all(struct task_reader *r)
{
	struct interpreter_info interps[MAX_INTERPS];
	bool table = r->view.layout.task.coro != ABSENT, known = true;
	int n = interpreter_list(r->target, interps, MAX_INTERPS);

	if (n < 0)
		return n;
	free(r->asyncio);
	r->n_asyncio = 0;
	r->asyncio = calloc((size_t)n + 1, sizeof(*r->asyncio));
	if (!r->asyncio)
		return -ENOMEM;
	r->found = TASKS_NO_ASYNCIO;
	for (int i = 0; i < n; i++) {
		struct asyncio *a = &r->asyncio[r->n_asyncio];

		if (!find_asyncio(r, interps[i].addr, a))
			continue;
		r->n_asyncio++;
		if (a->c_task && !table)
			table = add_table(r) == 0;
		if (a->c_task && !table) {
			known = false;
			a->c_task = 0;
		}
		known &= a->c_task || a->py_task;
	}
	if (r->n_asyncio)
		r->found = known ? TASKS_FOUND : TASKS_UNKNOWN;
	return 0;
}

int task_reader_find(struct task_reader *r)
{
	return find_all(r);
}

bool task_reader_knows_asyncio(const struct task_reader *r)
{
	return r->found == TASKS_FOUND;
}

/* ---- greenlets ---- */

static void drop_greenlets(struct task_reader *r)
{
	for (size_t i = 0; i < r->n_green; i++)
		greenlets_done(&r->green[i].all);
	free(r->green);
	r->green = NULL;
	r->n_green = 0;
}

int task_reader_find_greenlets(struct task_reader *r, uint64_t calls)
{
	struct interpreter_info interps[MAX_INTERPS];
	int n = interpreter_list(r->target, interps, MAX_INTERPS), e = 0;

	if (n < 0)
		return n;
	drop_greenlets(r);
	r->green = calloc((size_t)n + 1, sizeof(*r->green));
	if (!r->green)
		return -ENOMEM;
	for (int i = 0; i < n && e == 0; i++) {
		struct green *g = &r->green[r->n_green];
		uint64_t module = module_dict(r, interps[i].addr, "greenlet");
		uint64_t type = module ? global(r, module, "greenlet") : 0;

		if (!type)
			continue;
		g->interp = interps[i].addr;
		e = greenlets_find(&g->all, r->target, g->interp, type, calls);
		r->n_green += e == 0;
	}
	return e;
}

bool task_reader_knows_greenlets(const struct task_reader *r)
{
	return r->n_green > 0;
}

bool task_reader_lacks_greenlets(const struct task_reader *r)
{
	for (size_t i = 0; i < r->n_green; i++)
		if (r->green[i].all.more || r->green[i].all.unreadable)
			return true;
	return false;
}

/* ---- both ---- */

enum tasks_found task_reader_found(const struct task_reader *r)
{
	bool readable = false, unreadable = false;

	for (size_t i = 0; i < r->n_green; i++) {
		readable |= !r->green[i].all.unreadable;
		unreadable |= r->green[i].all.unreadable;
	}
	if (r->found == TASKS_UNKNOWN)
		return TASKS_UNKNOWN;
	if (unreadable)
		return TASKS_NO_GREENLETS;
	return readable ? TASKS_FOUND : r->found;
}

int task_reader_new(struct task_reader **ret, struct target *target, struct tables *tables)
{
	struct task_reader *r = calloc(1, sizeof(*r));
	int e;

	if (!r)
		return -ENOMEM;
	r->target = target;
	r->tables = tables;
	r->view = *target;
	r->view.memory = NULL;
	e = memory_new_cached(&r->view.memory, target->memory);
	if (e == 0)
		e = task_reader_find(r);
	if (e == 0)
		e = code_cache_new(&r->codes, r->view.memory, &r->view.layout, tables);
	if (e < 0) {
		task_reader_free(r);
		return e;
	}
	*ret = r;
	return 0;
}

void task_reader_free(struct task_reader *r)
{
	if (!r)
		return;
	code_cache_free(r->codes);
	memory_free(r->view.memory);
	drop_greenlets(r);
	free(r->asyncio);
	free(r);
}

const struct layout *task_reader_layout(const struct task_reader *r)
{
	return &r->view.layout;
}

struct memory *task_reader_memory(struct task_reader *r)
{
	return r->view.memory;
}

void task_reader_use(struct task_reader *r, struct memory *m)
{
	r->other = m;
}

size_t task_reader_thread_size(const struct task_reader *r)
{
	return (size_t)r->view.layout.tstate.size;
}

void task_reader_forget(struct task_reader *r, struct tables *tables)
{
	r->tables = tables;
	code_cache_forget(r->codes, tables);
}
