#include "remote/tasks-parts.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "remote/code.h"
#include "remote/object.h"

#define MAX_CLIMB 64 /* tasks one awaits the other, of which one runs */
#define MAX_AHEAD 24 /* pages of the last look that are read at once */

/* climbs: of one task and those that await it. */
static struct look begin_look(struct task_reader *r, struct tasks *out, bool climbs)
{
	return (struct look){.r = r,
			     .m = r->other ? r->other : r->view.memory,
			     .l = &r->view.layout,
			     .out = out,
			     .types = r->types,
			     .climbs = climbs};
}

static int look_at_all(struct look *k)
{
	int e = look_add_all(k);

	if (e == 0)
		e = look_read_tasks(k);
	if (e < 0)
		return e;
	for (size_t i = 0; i < k->r->n_green; i++)
		k->out->more |= k->r->green[i].all.more;
	for (size_t i = 0; i < k->n_threads && !k->error; i++)
		look_read_running(k, &k->threads[i]);
	for (size_t i = 0; i < k->out->n && !k->error; i++) {
		if (k->out->info[i].problem != TASK_FINE || k->work[i].on_stack)
			continue;
		if (k->work[i].green)
			look_read_green_stack(k, i);
		else
			look_read_chain(k, i);
	}
	e = k->error ? k->error : look_read_awaiters(k);
	for (size_t i = 0; i < k->out->n && e == 0; i++)
		k->out->problems += k->out->info[i].problem != TASK_FINE;
	return e;
}

int task_reader_read(struct task_reader *r, struct tasks *ret)
{
	struct tasks out = {.found = task_reader_found(r)};
	struct look k = begin_look(r, &out, false);
	int e = -ENOMEM;

	/* The pages may be others than those that the code objects were read from. */
	code_cache_forget(r->codes, r->tables);
	memset(r->types, 0, sizeof(r->types));
	memory_counts(k.m, &k.calls0, &k.bytes0);
	k.frames = calloc(MAX_CHAIN, sizeof(*k.frames));
	k.threads = calloc(MAX_THREADS, sizeof(*k.threads));
	out.loop_threads = calloc(MAX_THREADS, sizeof(*out.loop_threads));
	if (k.frames && k.threads && out.loop_threads)
		e = look_at_all(&k);
	free(k.work);
	address_map_done(&k.by_addr);
	address_map_done(&k.by_frame);
	address_map_done(&k.by_waiter);
	address_map_done(&k.by_main);
	free(k.edges);
	free(k.frames);
	free(k.threads);
	if (e < 0) {
		tasks_done(&out);
		return e;
	}
	*ret = out;
	return 0;
}

void tasks_done(struct tasks *t)
{
	free(t->info);
	free(t->awaiters);
	free(t->loop_threads);
	*t = (struct tasks){0};
}

/* ---- what runs in one thread ---- */

/* The last task found, and which await it. *ret: the one that is gone on with, 0 none. */
static int climb(struct look *k, uint64_t addr, uint64_t *ret)
{
	struct tasks *out = k->out;
	uint32_t i = (uint32_t)out->n;

	*ret = 0;
	if ((k->climb_green ? look_add_greenlet(k, k->climb_green, addr)
			    : look_add_task(k, k->climb_from, addr)) < 0)
		return k->error ? k->error : -ENOTSUP;
	if (out->n == i)
		return 0; /* tasks that await each other */
	if (!look_read_task(k, i) || out->info[i].problem != TASK_FINE)
		return -EAGAIN;
	if (address_map_add(&k->by_addr, addr, i) < 0)
		return -ENOMEM;
	look_find_awaiters(k, i);
	if (k->n_awaiters)
		*ret = k->awaiters[0];
	return k->error;
}

uint32_t task_marker(struct tables *t, uint32_t stack, uint32_t name_id, uint64_t addr,
		     uint32_t n_awaiters)
{
	const struct table_string *name = tables_get_string(t, name_id);
	struct table_function function = {.kind = FRAME_TASK};
	struct table_frame frame = {.line = -1, .end_line = -1, .column = -1, .end_column = -1};
	char text[NAME_LEN + 64];
	int n = 0;

	if (name)
		memcpy(text, name->bytes, (size_t)(n = (int)name->len));
	else
		n = snprintf(text, sizeof(text), "Task-%" PRIu64, addr);
	if (n_awaiters > 1)
		n += snprintf(text + n, sizeof(text) - (size_t)n, " (%" PRIu32 " parents)",
			      n_awaiters);
	function.name = tables_string(t, text, (uint32_t)n);
	function.file = tables_string(t, "<task>", 6);
	frame.function = function.name && function.file ? tables_function(t, &function) : 0;
	frame.function = frame.function ? tables_frame(t, &frame) : 0;
	return frame.function ? tables_stack(t, stack, frame.function) : 0;
}

/* From the outermost awaiter down to the task that runs: its marker is the last. */
static int put_chain(struct look *k, uint32_t *ret)
{
	struct task_info *info = k->out->info;
	uint32_t stack = 0;

	for (size_t i = k->out->n; i > 0; i--) {
		stack = task_marker(k->r->tables, stack, info[i - 1].name, info[i - 1].addr,
				    info[i - 1].n_awaiters);
		if (!stack)
			return -ENOMEM;
		if (i == 1)
			break;
		info[i - 1].stack = stack;
		if (k->work[i - 1].green)
			look_read_green_stack(k, i - 1);
		else
			look_read_chain(k, i - 1);
		if (k->error)
			return k->error;
		if (info[i - 1].problem != TASK_FINE)
			return -EAGAIN;
		stack = info[i - 1].stack;
	}
	*ret = stack;
	return 0;
}

/* A task, and those that await it. */
static int look_at_chain(struct look *k, uint64_t task, struct task_chain *ret)
{
	uint64_t at = task;
	int r = 0;

	ret->task = task;
	while (at && r == 0)
		r = k->out->n == MAX_CLIMB ? -ENOTSUP : climb(k, at, &at);
	if (r == 0 && !k->climb_green)
		ret->frame = look_coroutine_frame(k, k->work[0].coro);
	if (r == 0)
		r = put_chain(k, &ret->stack);
	return k->error ? k->error : r;
}

/* The first greenlet of a thread; 0 none is known. -EAGAIN: of several it is not known which. */
static int first_greenlet(const struct greenlets *g, uint64_t tstate, uint64_t *ret)
{
	*ret = 0;
	for (size_t i = 0; i < g->n_threads; i++) {
		if (g->threads[i].tstate != tstate)
			continue;
		if (*ret)
			return -EAGAIN;
		*ret = g->threads[i].main;
	}
	return 0;
}

/* Where a thread says which greenlet runs. */
static int look_for_green(struct look *k, const struct green *g, uint64_t tstate,
			  struct task_place *ret)
{
	int r = first_greenlet(&g->all, tstate, &ret->first);

	/* Where others have some it may have begun with them since. */
	ret->unsure =
		r < 0 || (!ret->first && (g->all.more || g->all.unreadable || g->all.n_threads));
	if (r < 0)
		ret->first = 0;
	if (!ret->first)
		return 0;
	r = k->l->tstate.context_ver == ABSENT
		    ? -ENOTSUP
		    : greenlet_current_at(k->m, &g->all, ret->first, &ret->green);
	ret->unsure = r == -ENOTSUP;
	if (r == 0)
		ret->switches = tstate + (uint64_t)k->l->tstate.context_ver;
	return r == -ENOTSUP ? 0 : r;
}

/* Where a thread says which task its loop runs. */
static int look_for_loop(struct look *k, const struct asyncio *a, uint64_t tstate,
			 struct task_place *ret)
{
	ret->loop = look_running_loop(k, tstate);
	if (k->error || !ret->loop)
		return k->error;
	if (k->l->tstate.asyncio_task != ABSENT)
		ret->word = tstate + (uint64_t)k->l->tstate.asyncio_task;
	ret->dict = a->current;
	if (ret->dict && a->eager && k->l->set.used != ABSENT)
		ret->eager = a->eager + (uint64_t)k->l->set.used;
	return 0;
}

static const struct green *greenlets_of(const struct task_reader *r, uint64_t interp)
{
	for (size_t i = 0; i < r->n_green; i++)
		if (r->green[i].interp == interp)
			return &r->green[i];
	return NULL;
}

static const struct asyncio *asyncio_of(const struct task_reader *r, uint64_t interp)
{
	for (size_t i = 0; i < r->n_asyncio; i++)
		if (r->asyncio[i].interp == interp)
			return &r->asyncio[i];
	return NULL;
}

/* A look by memory that is copied anew, all of which is noted. */
static struct look begin_noted(struct task_reader *r, struct tasks *out, struct memory_log *log)
{
	struct look k = begin_look(r, out, true);

	memory_log_clear(log);
	/* Much of it is what the last look read: one call instead of many. */
	if (memory_kept(k.m) > MAX_AHEAD || memory_renew(k.m) < 0)
		memory_forget(k.m);
	memory_counts(k.m, &k.calls0, &k.bytes0);
	r->stamp++;
	memory_set_log(k.m, log);
	return k;
}

static int end_noted(struct look *k, const struct memory_log *log, int r)
{
	memory_set_log(k->m, NULL);
	free(k->out->info);
	free(k->work);
	address_map_done(&k->by_addr);
	if (r == 0 && log->full)
		r = -ENOTSUP;
	/* What could not be read is not what is not there. */
	if (r == 0 && log->lacks)
		r = -EAGAIN;
	return r == -EFAULT || r == -EBADMSG ? -EAGAIN : r;
}

int task_reader_place(struct task_reader *r, uint64_t interp, uint64_t tstate,
		      struct memory_log *log, struct task_place *ret)
{
	struct tasks out = {.found = r->found};
	struct task_place place = {0};
	const struct green *g = greenlets_of(r, interp);
	const struct asyncio *a = asyncio_of(r, interp);
	struct look k;
	int e = 0;

	memory_log_clear(log);
	if (a || g) {
		k = begin_noted(r, &out, log);
		if (g)
			e = look_for_green(&k, g, tstate, &place);
		if (e == 0 && a)
			e = look_for_loop(&k, a, tstate, &place);
		e = end_noted(&k, log, e);
	}
	if (e == 0)
		*ret = place;
	return e;
}

int task_reader_chain(struct task_reader *r, uint64_t interp, uint64_t first, uint64_t task,
		      struct memory_log *log, struct task_chain *ret)
{
	struct tasks out = {.found = r->found};
	struct task_chain chain = {.greenlet = first != 0};
	struct look k = begin_noted(r, &out, log);
	const struct greenlet *green;
	int e = -EAGAIN;

	k.runs = true;
	k.climb_green = first ? greenlets_of(r, interp) : NULL;
	k.climb_from = first ? NULL : asyncio_of(r, interp);
	if (k.climb_from && look_kind(&k, task) == KIND_NONE)
		e = k.error;
	else if (k.climb_from || k.climb_green)
		e = look_at_chain(&k, task, &chain);
	green = e == 0 && first ? &k.work[0].greenlet : NULL;
	if (green && (green->state != GREENLET_RUNNING || green->main != first))
		e = -EAGAIN;
	e = end_noted(&k, log, e);
	if (e == 0)
		*ret = chain;
	return e;
}

/* ---- those that wait ---- */

int task_reader_list(struct task_reader *r, struct task_list *ret)
{
	struct tasks out = {.found = r->found};
	struct look k = begin_look(r, &out, false);
	struct task_list list = {0};
	int e = 0;

	r->stamp++;
	memory_counts(k.m, &k.calls0, &k.bytes0);
	k.threads = calloc(MAX_THREADS, sizeof(*k.threads));
	out.loop_threads = calloc(MAX_THREADS, sizeof(*out.loop_threads));
	if (!k.threads || !out.loop_threads)
		e = -ENOMEM;
	if (e == 0)
		e = look_add_all(&k);
	if (e == 0) {
		list.tasks = calloc(out.n + 1, sizeof(*list.tasks));
		list.loops = calloc(k.n_threads + 1, sizeof(*list.loops));
		e = list.tasks && list.loops ? 0 : -ENOMEM;
	}
	for (size_t i = 0; i < out.n && e == 0; i++)
		list.tasks[list.n++] = (struct task_ref){
			out.info[i].addr,
			k.work[i].green
				? (uint32_t)(r->n_asyncio + (size_t)(k.work[i].green - r->green))
				: (uint32_t)(k.work[i].asyncio - r->asyncio)};
	for (size_t i = 0; i < k.n_threads && e == 0; i++)
		list.loops[list.n_loops++] =
			(struct task_loop){k.threads[i].loop, k.threads[i].tstate};
	list.more = out.more;
	free(k.threads);
	free(k.work);
	address_map_done(&k.by_addr);
	tasks_done(&out);
	if (e < 0)
		task_list_done(&list);
	else
		*ret = list;
	return e;
}

void task_list_done(struct task_list *t)
{
	free(t->tasks);
	free(t->loops);
	*t = (struct task_list){0};
}

/* Of the greenlet of a look. */
static int look_at_greenlet(struct look *k, struct task_waiting *ret)
{
	struct task_info *info = k->out->info;

	look_find_awaiters(k, 0);
	ret->n_awaiters = (uint32_t)k->n_awaiters;
	ret->awaiters = calloc(k->n_awaiters + 1, sizeof(*ret->awaiters));
	if (!ret->awaiters)
		return -ENOMEM;
	memcpy(ret->awaiters, k->awaiters, k->n_awaiters * sizeof(*ret->awaiters));
	if (k->error)
		return k->error;
	if (k->work[0].greenlet.state != GREENLET_SUSPENDED)
		return TASK_RUNS;
	look_read_green_stack(k, 0);
	ret->stack = info->stack;
	if (k->error)
		return k->error;
	return info->problem == TASK_MOVED ? TASK_CHANGES : TASK_WAITS;
}

/* Of the task of a look. */
static int look_at_waiting(struct look *k, struct task_waiting *ret)
{
	struct task_info *info = k->out->info;
	struct frame f;
	uint64_t next;
	int r;

	if (!look_read_task(k, 0)) /* done */
		return k->error ? k->error : TASK_RUNS;
	ret->loop = info->loop;
	ret->name = info->name;
	if (info->problem != TASK_FINE)
		return k->error ? k->error : TASK_CHANGES;
	if (k->work[0].green)
		return look_at_greenlet(k, ret);
	/* The coroutine of one that runs has no end of its stack. */
	r = look_kind(k, k->work[0].coro) == KIND_COROUTINE
		    ? look_read_suspended(k, k->work[0].coro, &f, &next)
		    : 0;
	if (r != -EAGAIN)
		look_read_chain(k, 0);
	if (r != -EAGAIN && look_is_pending(k, k->work[0].asyncio, k->work[0].waiter))
		ret->awaits = k->work[0].waiter;
	look_find_awaiters(k, 0);
	if (k->error)
		return k->error;
	if (info->problem == TASK_MOVED)
		return TASK_CHANGES;
	ret->stack = info->stack;
	ret->n_awaiters = (uint32_t)k->n_awaiters;
	ret->awaiters = calloc(k->n_awaiters + 1, sizeof(*ret->awaiters));
	if (!ret->awaiters)
		return -ENOMEM;
	memcpy(ret->awaiters, k->awaiters, k->n_awaiters * sizeof(*ret->awaiters));
	return r == -EAGAIN ? TASK_RUNS : TASK_WAITS;
}

int task_reader_waiting(struct task_reader *r, const struct task_ref *ref, struct memory_log *log,
			struct task_waiting *ret)
{
	struct tasks out = {.found = r->found};
	struct look k = begin_look(r, &out, true);
	int e = TASK_CHANGES;

	*ret = (struct task_waiting){0};
	memory_log_clear(log);
	memory_counts(k.m, &k.calls0, &k.bytes0);
	memory_set_log(k.m, log);
	if (ref->asyncio < r->n_asyncio)
		look_add_task(&k, &r->asyncio[ref->asyncio], ref->addr);
	else if (ref->asyncio - r->n_asyncio < r->n_green)
		look_add_greenlet(&k, &r->green[ref->asyncio - r->n_asyncio], ref->addr);
	if (out.n == 1)
		e = look_at_waiting(&k, ret);
	memory_set_log(k.m, NULL);
	free(out.info);
	free(k.work);
	free(k.frames);
	address_map_done(&k.by_addr);
	if (k.error == -ENOMEM)
		e = -ENOMEM;
	if (e >= 0 && (log->full || log->lacks))
		e = TASK_CHANGES;
	if (e != TASK_WAITS && e != TASK_RUNS) {
		free(ret->awaiters);
		ret->awaiters = NULL;
	}
	return e < 0 && e != -ENOMEM ? TASK_CHANGES : e;
}
