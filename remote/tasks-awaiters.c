#include "remote/tasks-parts.h"

#include <errno.h>
#include <stdlib.h>

#include "remote/array.h"

#define MAX_CELLS   16 /* variables that a callback encloses; asyncio's have six */
#define MAX_FUTURES 8  /* futures between two tasks: a gather() in a shield() in a ... */
#define MAX_EDGES   (1u << 18)

static bool is_task(struct look *k, const struct asyncio *a, uint64_t object)
{
	uint64_t type;

	return object && look_type(k, object, &type) == 0 &&
	       (look_is_a(k, type, a->c_task) || look_is_a(k, type, a->py_task));
}

bool look_is_pending(struct look *k, const struct asyncio *a, uint64_t object)
{
	uint64_t type;
	uint32_t state;

	return object && k->l->task.state != ABSENT && look_type(k, object, &type) == 0 &&
	       look_is_a(k, type, a->c_task) &&
	       look_bytes(k, object + (uint64_t)k->l->task.state, &state, 4) == 0 && state == 0;
}

/* Each once, those that are done left out. */
static void add_awaiter(struct look *k, uint32_t task, uint64_t addr)
{
	uint64_t type;
	uint32_t state;

	for (size_t i = 0; i < k->n_awaiters; i++)
		if (k->awaiters[i] == addr)
			return;
	if (k->work[task].green) {
		if (k->n_awaiters < MAX_CALLBACKS)
			k->awaiters[k->n_awaiters++] = addr;
		return;
	}
	if (k->n_awaiters == MAX_CALLBACKS || !is_task(k, k->work[task].asyncio, addr))
		return;
	if (k->l->task.state != ABSENT && look_type(k, addr, &type) == 0 &&
	    look_is_a(k, type, k->work[task].asyncio->c_task) &&
	    (look_bytes(k, addr + (uint64_t)k->l->task.state, &state, 4) < 0 || state != 0))
		return;
	k->awaiters[k->n_awaiters++] = addr;
}

void look_add_edge(struct look *k, uint32_t task, uint64_t awaiter_addr)
{
	const struct address_entry *e;

	if (k->climbs) {
		add_awaiter(k, task, awaiter_addr);
		return;
	}
	e = address_map_find(&k->by_addr, awaiter_addr);
	if (!e)
		return;
	if (k->n_edges == MAX_EDGES) {
		k->out->more = true;
		return;
	}
	if (array_reserve(&k->edges, &k->room_edges, k->n_edges + 1, sizeof(*k->edges)) < 0) {
		look_note(k, -ENOMEM);
		return;
	}
	k->edges[k->n_edges++] = (struct edge){task, e->value};
}

static int add_awaiting_member(struct look *k, void *arg, uint64_t object)
{
	look_add_edge(k, *(uint32_t *)arg, object);
	return k->error;
}

/* From 3.14 a task knows its awaiters, but for those of the other implementation. */
static void read_awaited_by(struct look *k, uint32_t i)
{
	const struct layout *l = k->l;
	uint64_t addr = k->out->info[i].addr, awaited_by = 0;
	const struct address_entry *e = address_map_find(&k->by_waiter, addr);
	uint8_t is_set = 0;

	for (uint32_t n = e ? e->value + 1 : 0; n; n = k->work[n - 1].next_same)
		look_add_edge(k, i, k->out->info[n - 1].addr);
	if (k->work[i].c) {
		if (look_word(k, addr, l->task.awaited_by, &awaited_by) < 0 || !awaited_by ||
		    look_bytes(k, addr + (uint64_t)l->task.awaited_by_is_set, &is_set, 1) < 0)
			return;
	} else {
		awaited_by = look_attribute(k, addr, "_Future__asyncio_awaited_by");
		is_set = 1;
	}
	if (is_set)
		look_each_member(k, awaited_by, add_awaiting_member, &i);
	else
		look_add_edge(k, i, awaited_by);
}

static void follow_future(struct look *k, uint32_t task, uint64_t future, int depth);

/* An object that a callback of asyncio's holds: a future that is done by it, perhaps. */
static void follow_held(struct look *k, uint32_t task, const struct asyncio *a, uint64_t object,
			int depth)
{
	uint64_t type;

	if (object == 0 || object % POINTER)
		return;
	if (address_map_find(&k->by_waiter, object) ||
	    (look_type(k, object, &type) == 0 &&
	     (look_is_a(k, type, a->c_future) || look_is_a(k, type, a->py_future))))
		follow_future(k, task, object, depth + 1);
}

/* The elements of a tuple, at most max. */
static size_t read_tuple(struct look *k, uint64_t tuple, uint64_t *ret, size_t max)
{
	uint64_t size;

	if (look_kind(k, tuple) != KIND_TUPLE ||
	    look_word(k, tuple, k->l->tuple.ob_size, &size) < 0 || size > MAX_CALLBACKS)
		return 0;
	if (size > max)
		size = max;
	if (size && look_bytes(k, tuple + (uint64_t)k->l->tuple.ob_item, ret, size * POINTER) < 0)
		return 0;
	return (size_t)size;
}

static bool is_asyncio_function(struct look *k, const struct asyncio *a, uint64_t function)
{
	uint64_t globals;

	return look_kind(k, function) == KIND_FUNCTION &&
	       look_word(k, function, k->l->inner.function_globals, &globals) == 0 &&
	       globals == a->globals;
}

/* A callback that runs when the task is done. asyncio's own say what waits for it: gather(),
 * shield() and wait() enclose a future, to 3.11 wait_for() binds one, a TaskGroup is bound. */
static void follow_callback(struct look *k, uint32_t task, uint64_t callback, int depth)
{
	const struct asyncio *a = k->work[task].asyncio;
	uint64_t items[MAX_CELLS], tuple, object;
	size_t n;

	switch (look_kind(k, callback)) {
	case KIND_FUNCTION:
		if (!is_asyncio_function(k, a, callback) ||
		    look_word(k, callback, k->l->inner.function_closure, &tuple) < 0 || !tuple)
			return;
		n = read_tuple(k, tuple, items, MAX_CELLS);
		for (size_t i = 0; i < n; i++)
			if (look_kind(k, items[i]) == KIND_CELL &&
			    look_word(k, items[i], k->l->inner.first, &object) == 0)
				follow_held(k, task, a, object, depth);
		return;
	case KIND_PARTIAL:
		if (look_word(k, callback, k->l->inner.first, &object) < 0 ||
		    !is_asyncio_function(k, a, object) ||
		    look_word(k, callback, k->l->inner.partial_args, &tuple) < 0)
			return;
		n = read_tuple(k, tuple, items, MAX_CELLS);
		for (size_t i = 0; i < n; i++)
			follow_held(k, task, a, items[i], depth);
		return;
	case KIND_METHOD:
		if (look_word(k, callback, k->l->inner.method_self, &object) < 0)
			return;
		if (is_task(k, a, object)) {
			look_add_edge(k, task, object);
			return;
		}
		/* A thousand tasks of one group ask the same. */
		if (object != k->parent_of) {
			k->parent_of = object;
			k->parent = look_attribute(k, object, "_parent_task");
		}
		look_add_edge(k, task, k->parent);
		return;
	case KIND_WAKEUP:
		if (look_word(k, callback, k->l->inner.first, &object) == 0)
			look_add_edge(k, task, object);
		return;
	case KIND_BUILTIN:
		if (look_word(k, callback, k->l->inner.method_self, &object) == 0)
			look_add_edge(k, task, object);
		return;
	default:
		return;
	}
}

static void follow_callbacks(struct look *k, uint32_t task, uint64_t callbacks, int depth)
{
	uint64_t size, items, item, pair[2];

	if (!callbacks || look_kind(k, callbacks) != KIND_LIST ||
	    look_word(k, callbacks, k->l->list.ob_size, &size) < 0 ||
	    look_word(k, callbacks, k->l->list.ob_item, &items) < 0)
		return;
	if (size > MAX_CALLBACKS) {
		size = MAX_CALLBACKS;
		k->out->more = true;
	}
	for (uint64_t i = 0; i < size && !k->error && !look_spent(k); i++)
		if (look_word(k, items, (int32_t)(i * POINTER), &item) == 0 &&
		    read_tuple(k, item, pair, 2) >= 1)
			follow_callback(k, task, pair[0], depth);
}

/* All that waits for a future which is done when the task is. */
static void follow_future(struct look *k, uint32_t task, uint64_t future, int depth)
{
	const struct asyncio *a = k->work[task].asyncio;
	const struct address_entry *e = address_map_find(&k->by_waiter, future);
	uint64_t type, callback0, callbacks;

	for (uint32_t i = e ? e->value + 1 : 0; i; i = k->work[i - 1].next_same)
		look_add_edge(k, task, k->out->info[i - 1].addr);
	if (depth == MAX_FUTURES || k->error || look_type(k, future, &type) < 0)
		return;
	if (look_is_a(k, type, a->c_future) || look_is_a(k, type, a->c_task)) {
		look_word_or_0(k, future, k->l->task.callback0, &callback0);
		look_word_or_0(k, future, k->l->task.callbacks, &callbacks);
		if (callback0)
			follow_callback(k, task, callback0, depth);
		follow_callbacks(k, task, callbacks, depth);
	} else if (look_is_a(k, type, a->py_future)) {
		follow_callbacks(k, task, look_attribute(k, future, "_callbacks"), depth);
	}
}

/* ---- of all tasks, of one ---- */

static int compare_edges(const void *a, const void *b)
{
	const struct edge *x = a, *y = b;

	if (x->task != y->task)
		return x->task < y->task ? -1 : 1;
	return x->awaiter < y->awaiter ? -1 : x->awaiter > y->awaiter;
}

int look_read_awaiters(struct look *k)
{
	struct tasks *out = k->out;

	for (uint32_t i = 0; i < out->n && !k->error; i++) {
		if (look_spent(k)) {
			out->more = true;
			break;
		}
		if (k->work[i].green) {
			look_follow_links(k, i);
			continue;
		}
		if (k->l->task.awaited_by != ABSENT)
			read_awaited_by(k, i);
		/* Where one of two is in Python neither knows. */
		if (k->l->task.awaited_by == ABSENT || k->python)
			follow_future(k, i, out->info[i].addr, 0);
	}
	if (k->error)
		return k->error;
	if (k->n_edges)
		qsort(k->edges, k->n_edges, sizeof(*k->edges), compare_edges);
	out->awaiters = calloc(k->n_edges + 1, sizeof(*out->awaiters));
	if (!out->awaiters)
		return -ENOMEM;
	for (size_t i = 0; i < k->n_edges; i++) {
		struct task_info *t = &out->info[k->edges[i].task];

		if (i && compare_edges(&k->edges[i - 1], &k->edges[i]) == 0)
			continue;
		if (t->n_awaiters++ == 0)
			t->first_awaiter = (uint32_t)out->n_awaiters;
		out->awaiters[out->n_awaiters++] = k->edges[i].awaiter;
	}
	return 0;
}

static int compare_addresses(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

void look_find_awaiters(struct look *k, uint32_t i)
{
	uint64_t addr = k->out->info[i].addr;

	k->n_awaiters = 0;
	if (k->work[i].green)
		look_follow_links(k, i);
	else if (k->l->task.awaited_by != ABSENT)
		read_awaited_by(k, i);
	if (!k->work[i].green && (k->n_awaiters == 0 || !k->work[i].c))
		follow_future(k, i, addr, 0);
	k->out->info[i].n_awaiters = (uint32_t)k->n_awaiters;
	if (k->n_awaiters > 1)
		qsort(k->awaiters, k->n_awaiters, sizeof(*k->awaiters), compare_addresses);
}
