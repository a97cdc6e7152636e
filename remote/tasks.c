#include "remote/tasks.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "remote/code.h"
#include "remote/greenlets.h"
#include "remote/object.h"
#include "remote/sampler.h"
#include "remote/thread.h"

#define POINTER	       8
#define TYPE_FLAG_HEAP (1u << 9) /* Py_TPFLAGS_HEAPTYPE */
#define MAX_BASES      32	 /* of a class, up to asyncio's */
#define MAX_CHAIN      4096	 /* coroutines one awaits the other; deeper than Python recurses */
#define MAX_CALLBACKS  256	 /* of one future: as many tasks may wait for it by them */
#define MAX_CELLS      16	 /* variables that a callback encloses; asyncio's have six */
#define MAX_FUTURES    8	 /* futures between two tasks: a gather() in a shield() in a ... */
#define MAX_EDGES      (1u << 18)
#define MAX_SET	       (1u << 22) /* slots of a set: those of TASKS_MAX tasks are 2^18 at most */
#define MAX_THREADS    4096
#define MAX_INTERPS    THREAD_MAX_INTERPRETERS
#define BUDGET_CALLS   (16u << 20)
#define BUDGET_BYTES   (2ull << 30) /* of one look: some seconds of copying */
#define MAX_HEAD       512	    /* of a frame without its locals */
#define MAX_TYPES      64	    /* types whose kind is remembered */
#define WEAK_SET_SLOT  16	    /* setentry: the object, its hash */
#define MAX_CLIMB      64	    /* tasks one awaits the other, of which one runs */
#define MAX_AHEAD      24	    /* pages of the last look that are read at once */
#define TAG_MASK       3	    /* of a reference on the stack: a tagged int has both bits */
#define NAME_LEN       1024
#define MAIN_GREENLET  "main greenlet" /* that a thread begins with */
#define GEVENT_TYPES   "gevent."       /* how the names of gevent's own types begin */
#define GEVENT_WAITER  "Waiter"	       /* and those of what waits for several end */
#define MAX_GEVENT     512	       /* bytes of either */

/* What is known of an object by its type. */
enum kind {
	KIND_OTHER,
	KIND_COROUTINE, /* a coroutine, generator or asynchronous generator */
	KIND_WRAPPER,	/* awaits the object that it holds */
	KIND_NONE,
	KIND_STR,
	KIND_INT,
	KIND_FUNCTION,
	KIND_METHOD,
	KIND_PARTIAL,
	KIND_LIST,
	KIND_TUPLE,
	KIND_CELL,
	KIND_SET,
	KIND_LOOP_HOLDER, /* of a thread's running loop, to 3.11 */
	KIND_WAKEUP,	  /* to 3.8: of the task that it wakes up */
	KIND_BUILTIN,	  /* a function in C with its self: later that */
};

/* What asyncio is in one interpreter. 0: there is none. */
struct asyncio {
	uint64_t interp;
	uint64_t globals;	      /* of asyncio.tasks: a dict */
	uint64_t c_task, py_task;     /* types */
	uint64_t c_future, py_future; /* types; to 3.13 */
	uint64_t scheduled;	      /* the set in the WeakSet of tasks */
	uint64_t eager;		      /* a set */
	uint64_t current;	      /* a dict: loop to task; to 3.13 */
};

/* The greenlets of one interpreter. */
struct green {
	uint64_t interp;
	struct greenlets all;
};

struct task_reader {
	struct target *target;
	struct target view; /* the same, with the kept memory and asyncio's layout */
	struct tables *tables;
	struct code_cache *codes;
	struct asyncio *asyncio;
	size_t n_asyncio;
	struct green *green;
	size_t n_green;
	enum tasks_found found; /* of asyncio */
	struct type_kind {
		uint64_t type;
		enum kind kind;
	} types[MAX_TYPES];
	uint64_t stamp; /* of looks that go on: by which code objects were checked */
};

/* Addresses by hash: to a number from 0. */
struct map {
	struct entry {
		uint64_t key;
		uint32_t value;
	} * entries;
	size_t size, count;
};

/* A task on the way. */
struct work {
	const struct asyncio *asyncio; /* NULL: it is a greenlet */
	const struct green *green;
	struct greenlet greenlet;
	bool c; /* the accelerator's */
	uint64_t coro, waiter;
	uint64_t frame;	    /* of its coroutine; 0 none */
	uint32_t next_same; /* the next with the same waiter, + 1 */
	bool on_stack;
};

struct edge {
	uint32_t task, awaiter;
};

struct frame {
	uint64_t addr, code, ip, previous;
	int32_t tlbc_index;
	bool created, generator, hidden;
};

struct look {
	struct task_reader *r;
	struct memory *m;
	const struct layout *l;
	struct tasks *out;
	struct work *work;
	size_t room;
	struct map by_addr, by_frame, by_waiter, by_main;
	struct edge *edges;
	size_t n_edges, room_edges;
	struct frame *frames; /* MAX_CHAIN */
	struct running {
		uint64_t tstate, loop;
		const struct asyncio *asyncio;
	} * threads;
	size_t n_threads;
	struct type_kind *types; /* MAX_TYPES */
	/* One task and those that await it, not all that there are: the awaiters of the one that is
	 * looked at. */
	bool climbs;
	bool python; /* some tasks are in Python */
	const struct asyncio *climb_from;
	const struct green *climb_green; /* or these */
	uint64_t awaiters[MAX_CALLBACKS];
	size_t n_awaiters;
	uint64_t calls0, bytes0;
	uint64_t parent_of, parent; /* the last TaskGroup seen, and its task */
	int error;		    /* what ends the look */
};

/* ---- small things ---- */

static size_t hash(uint64_t key)
{
	return (size_t)((key >> 3) * 0x9e3779b97f4a7c15ull >> 24);
}

static int map_grow(struct map *m)
{
	size_t size = m->size ? m->size * 2 : 256;
	struct entry *old = m->entries, *entries;

	if (m->count * 2 < m->size)
		return 0;
	entries = calloc(size, sizeof(*entries));
	if (!entries)
		return -ENOMEM;
	for (size_t i = 0; i < m->size; i++) {
		size_t k = hash(old[i].key) & (size - 1);

		if (!old[i].key)
			continue;
		while (entries[k].key)
			k = (k + 1) & (size - 1);
		entries[k] = old[i];
	}
	free(old);
	m->entries = entries;
	m->size = size;
	return 0;
}

static struct entry *map_find(const struct map *m, uint64_t key)
{
	if (!m->size || !key)
		return NULL;
	for (size_t k = hash(key) & (m->size - 1); m->entries[k].key; k = (k + 1) & (m->size - 1))
		if (m->entries[k].key == key)
			return &m->entries[k];
	return NULL;
}

/* Keeps what is there already. key is not 0. */
static int map_add(struct map *m, uint64_t key, uint32_t value)
{
	size_t k;

	if (map_grow(m) < 0)
		return -ENOMEM;
	for (k = hash(key) & (m->size - 1); m->entries[k].key; k = (k + 1) & (m->size - 1))
		if (m->entries[k].key == key)
			return 0;
	m->entries[k] = (struct entry){key, value};
	m->count++;
	return 0;
}

/* Notes what makes going on useless; other errors concern one object. */
static int note(struct look *k, int r)
{
	if (r == -ENOMEM || r == -ESRCH || r == -EPERM)
		k->error = r;
	return r;
}

static bool spent(const struct look *k)
{
	uint64_t calls, bytes;

	memory_counts(k->m, &calls, &bytes);
	return calls - k->calls0 > BUDGET_CALLS || bytes - k->bytes0 > BUDGET_BYTES;
}

static int read_bytes(struct look *k, uint64_t addr, void *buf, size_t len)
{
	return note(k, memory_read(k->m, addr, buf, len));
}

/* A word of an object; objects stand at multiples of a word. */
static int read_word(struct look *k, uint64_t addr, int32_t offset, uint64_t *ret)
{
	if (addr == 0 || addr % POINTER || offset == ABSENT)
		return -EBADMSG;
	return read_bytes(k, addr + (uint64_t)offset, ret, sizeof(*ret));
}

static int type_of(struct look *k, uint64_t object, uint64_t *ret)
{
	return read_word(k, object, k->l->object.ob_type, ret);
}

static enum kind kind_by_name(const char *name, bool heap)
{
	static const struct {
		const char *name;
		enum kind kind;
		bool any; /* in some versions it is a heap type */
	} names[] = {
		{"coroutine", KIND_COROUTINE, false},
		{"generator", KIND_COROUTINE, false},
		{"async_generator", KIND_COROUTINE, false},
		{"async_generator_asend", KIND_WRAPPER, false},
		{"async_generator_athrow", KIND_WRAPPER, false},
		{"coroutine_wrapper", KIND_WRAPPER, false},
		{"anext_awaitable", KIND_WRAPPER, false},
		{"NoneType", KIND_NONE, false},
		{"str", KIND_STR, false},
		{"int", KIND_INT, false},
		{"function", KIND_FUNCTION, false},
		{"method", KIND_METHOD, false},
		{"functools.partial", KIND_PARTIAL, true},
		{"list", KIND_LIST, false},
		{"tuple", KIND_TUPLE, false},
		{"cell", KIND_CELL, false},
		{"set", KIND_SET, false},
		{"_RunningLoopHolder", KIND_LOOP_HOLDER, true},
		{"TaskWakeupMethWrapper", KIND_WAKEUP, false},
		{"builtin_function_or_method", KIND_BUILTIN, false},
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (strcmp(name, names[i].name) == 0)
			return heap && !names[i].any ? KIND_OTHER : names[i].kind;
	return KIND_OTHER;
}

/* The kind of an object by its type. Classes made by Python code may have any name. */
static enum kind kind_of(struct look *k, uint64_t object)
{
	uint64_t type, text, flags;
	char name[32] = "";
	size_t slot;
	enum kind kind;

	if (type_of(k, object, &type) < 0 || type == 0)
		return KIND_OTHER;
	slot = hash(type) % MAX_TYPES;
	if (k->types[slot].type == type)
		return k->types[slot].kind;
	if (read_word(k, type, k->l->type.tp_name, &text) < 0 ||
	    read_word(k, type, k->l->type.tp_flags, &flags) < 0)
		return KIND_OTHER;
	/* The name may stand at the end of what is readable. */
	for (size_t i = 0; i < sizeof(name) - 1; i++)
		if (read_bytes(k, text + i, &name[i], 1) < 0 || !name[i]) {
			name[i] = '\0';
			break;
		}
	name[sizeof(name) - 1] = '\0';
	kind = kind_by_name(name, flags & TYPE_FLAG_HEAP);
	k->types[slot].type = type;
	k->types[slot].kind = kind;
	return kind;
}

/* Whether a type is base, or a class below it. */
static bool is_a(struct look *k, uint64_t type, uint64_t base)
{
	for (int i = 0; base && type && i < MAX_BASES; i++) {
		if (type == base)
			return true;
		if (read_word(k, type, k->l->type.tp_base, &type) < 0)
			return false;
	}
	return false;
}

/* ---- finding asyncio ---- */

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

bool task_reader_knows_asyncio(const struct task_reader *r)
{
	return r->found == TASKS_FOUND;
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

struct memory *task_reader_memory(struct task_reader *r)
{
	return r->view.memory;
}

/* ---- which tasks there are ---- */

static int add_task(struct look *k, const struct asyncio *a, uint64_t addr)
{
	struct tasks *out = k->out;

	if (addr == 0 || addr % POINTER || map_find(&k->by_addr, addr))
		return 0;
	if (out->n == TASKS_MAX || spent(k)) {
		out->more = true;
		return -E2BIG;
	}
	if (out->n == k->room) {
		size_t room = k->room ? k->room * 2 : 64;
		struct task_info *info = reallocarray(out->info, room, sizeof(*info));
		struct work *work;

		if (!info)
			return note(k, -ENOMEM);
		out->info = info;
		work = reallocarray(k->work, room, sizeof(*work));
		if (!work)
			return note(k, -ENOMEM);
		k->work = work;
		k->room = room;
	}
	if (map_add(&k->by_addr, addr, (uint32_t)out->n) < 0)
		return note(k, -ENOMEM);
	out->info[out->n] = (struct task_info){.addr = addr};
	k->work[out->n++] = (struct work){.asyncio = a};
	return 0;
}

/* Calls each() with the members of a set; a negative return ends the walk. */
static void each_member(struct look *k, uint64_t set,
			int (*each)(struct look *k, void *arg, uint64_t object), void *arg)
{
	uint64_t mask, table, entries[64][2];

	if (!set || kind_of(k, set) != KIND_SET || read_word(k, set, k->l->set.mask, &mask) < 0 ||
	    read_word(k, set, k->l->set.table, &table) < 0 || mask >= MAX_SET)
		return;
	for (uint64_t at = 0; at <= mask && !k->error; at += 64) {
		size_t n = mask + 1 - at < 64 ? (size_t)(mask + 1 - at) : 64;

		if (read_bytes(k, table + at * WEAK_SET_SLOT, entries, n * WEAK_SET_SLOT) < 0)
			return;
		for (size_t i = 0; i < n; i++)
			/* The hash of a member that was taken out is -1. */
			if (entries[i][0] && entries[i][1] != UINT64_MAX &&
			    each(k, arg, entries[i][0]) < 0)
				return;
	}
}

static int add_member(struct look *k, void *arg, uint64_t object)
{
	return add_task(k, arg, object);
}

static int add_weak_member(struct look *k, void *arg, uint64_t ref)
{
	uint64_t object;

	if (read_word(k, ref, k->l->inner.first, &object) < 0)
		return 0;
	/* A task that has ended left its reference empty: None. */
	if (kind_of(k, object) == KIND_NONE)
		return 0;
	return add_task(k, arg, object);
}

/* The accelerator's list of tasks at head, linked both ways. */
static void add_list(struct look *k, const struct asyncio *a, uint64_t head)
{
	const struct layout *l = k->l;
	uint64_t node = head, next, back;

	if (!a->c_task)
		return;
	for (uint32_t i = 0; i <= TASKS_MAX && !k->error; i++) {
		if (read_word(k, node, l->llist.next, &next) < 0 || next == head || next == 0)
			return;
		/* A list that moves is seen by its links. */
		if (read_word(k, next, l->llist.prev, &back) < 0 || back != node)
			break;
		if (add_task(k, a, next - (uint64_t)l->task.node) < 0)
			return;
		node = next;
	}
	k->out->more = true;
}

/* The loop that runs in a thread; 0: none. */
static uint64_t running_loop(struct look *k, uint64_t tstate)
{
	const struct layout *l = k->l;
	uint64_t dict, loop = 0;

	if (l->tstate.asyncio_loop != ABSENT) {
		if (read_word(k, tstate, l->tstate.asyncio_loop, &loop) < 0)
			return 0;
	} else if (l->tstate.dict != ABSENT) {
		if (read_word(k, tstate, l->tstate.dict, &dict) < 0 || dict == 0 ||
		    note(k, object_dict_get(k->m, l, dict, "__asyncio_running_event_loop__",
					    &loop)) < 0)
			return 0;
		if (kind_of(k, loop) == KIND_LOOP_HOLDER &&
		    read_word(k, loop, l->inner.first, &loop) < 0)
			return 0;
	}
	return loop && kind_of(k, loop) != KIND_NONE ? loop : 0;
}

static int add_thread(struct look *k, const struct asyncio *a, uint64_t tstate)
{
	uint64_t loop = running_loop(k, tstate);

	if (k->l->tstate.asyncio_tasks != ABSENT)
		add_list(k, a, tstate + (uint64_t)k->l->tstate.asyncio_tasks);
	if (loop && k->n_threads < MAX_THREADS) {
		k->threads[k->n_threads++] = (struct running){tstate, loop, a};
		k->out->loop_threads[k->out->n_loop_threads++] = tstate;
	}
	return k->error;
}

static int add_interpreter(struct look *k, const struct asyncio *a)
{
	struct interpreter_info info = {.addr = a->interp};
	struct thread_info *list = calloc(MAX_THREADS, sizeof(*list));
	int n = -ENOMEM;

	if (list && read_word(k, a->interp, k->l->interp.threads_head, &info.threads_head) == 0)
		n = note(k, thread_list(&k->r->view, &info, list, MAX_THREADS));
	for (int i = 0; i < n && !k->error; i++)
		add_thread(k, a, list[i].addr);
	free(list);
	if (n < 0)
		return n;
	if (k->l->interp.asyncio_tasks != ABSENT)
		add_list(k, a, a->interp + (uint64_t)k->l->interp.asyncio_tasks);
	each_member(k, a->scheduled, add_weak_member, (void *)(uintptr_t)a);
	each_member(k, a->eager, add_member, (void *)(uintptr_t)a);
	return k->error;
}

static int add_greenlet(struct look *k, const struct green *g, uint64_t addr)
{
	size_t n = k->out->n;
	int r = add_task(k, NULL, addr);

	if (k->out->n > n)
		k->work[n].green = g;
	return r;
}

static bool is_loop_thread(const struct tasks *out, uint64_t tstate)
{
	for (size_t i = 0; i < out->n_loop_threads; i++)
		if (out->loop_threads[i] == tstate)
			return true;
	return false;
}

/* A greenlet has the first of its thread for its loop. */
static int add_greenlets(struct look *k, const struct green *g)
{
	struct tasks *out = k->out;

	for (size_t i = 0; i < g->all.n; i++)
		if (greenlet_lives(k->m, g->all.addrs[i]) &&
		    add_greenlet(k, g, g->all.addrs[i]) < 0)
			break;
	for (size_t i = 0; i < g->all.n_threads && k->n_threads < MAX_THREADS; i++) {
		const struct greenlet_thread *t = &g->all.threads[i];

		k->threads[k->n_threads++] = (struct running){t->tstate, t->main, NULL};
		if (!is_loop_thread(out, t->tstate))
			out->loop_threads[out->n_loop_threads++] = t->tstate;
	}
	return k->error;
}

/* All that there are to look at. */
static int add_all(struct look *k)
{
	struct task_reader *r = k->r;
	int e = 0;

	for (size_t i = 0; i < r->n_asyncio && e == 0; i++)
		e = add_interpreter(k, &r->asyncio[i]);
	for (size_t i = 0; i < r->n_green && e == 0; i++)
		e = add_greenlets(k, &r->green[i]);
	return e;
}

/* ---- what each task is ---- */

static uint32_t read_name(struct look *k, uint64_t name)
{
	char buf[NAME_LEN];
	uint64_t number;
	ssize_t n = -1;

	switch (kind_of(k, name)) {
	case KIND_INT:
		/* From 3.12 a name that nobody gave is made when somebody asks for it. */
		if (object_read_uint(k->m, k->l, name, &number) == 0)
			n = snprintf(buf, sizeof(buf), "Task-%" PRIu64, number);
		break;
	case KIND_STR:
		n = note(k, (int)object_read_string(k->m, k->l, name, buf, sizeof(buf)));
		break;
	default:
		break;
	}
	return n < 0 ? 0 : tables_string(k->r->tables, buf, (uint32_t)n);
}

static uint64_t attribute(struct look *k, uint64_t object, const char *name)
{
	uint64_t value;

	return note(k, object_get_attribute(k->m, k->l, object, name, &value)) < 0 ? 0 : value;
}

static bool is_text(struct look *k, uint64_t string, const char *text)
{
	char buf[32];
	ssize_t n = kind_of(k, string) == KIND_STR
			    ? object_read_string(k->m, k->l, string, buf, sizeof(buf))
			    : -1;

	return n == (ssize_t)strlen(text) && memcmp(buf, text, (size_t)n) == 0;
}

static void absent_is_0(struct look *k, uint64_t addr, int32_t offset, uint64_t *ret)
{
	if (offset == ABSENT || read_word(k, addr, offset, ret) < 0)
		*ret = 0;
}

/* What greenlets of a type are called: as the type, whatever its module. */
static uint32_t name_by_type(struct look *k, uint64_t object)
{
	char name[NAME_LEN];
	const char *dot;
	uint64_t type, text;
	size_t n = 0;

	if (type_of(k, object, &type) < 0 || read_word(k, type, k->l->type.tp_name, &text) < 0)
		return 0;
	while (n < sizeof(name) - 1 && read_bytes(k, text + n, &name[n], 1) == 0 && name[n])
		n++;
	name[n] = '\0';
	dot = strrchr(name, '.');
	return tables_string(k->r->tables, dot ? dot + 1 : name,
			     (uint32_t)strlen(dot ? dot + 1 : name));
}

static bool read_greenlet(struct look *k, struct task_info *t, struct work *w)
{
	const struct greenlets *all = &w->green->all;
	int r = note(k, greenlet_read(k->m, k->l, all, t->addr, &w->greenlet));
	bool known = false;

	if ((r < 0 && r != -EAGAIN) || (r == 0 && w->greenlet.state == GREENLET_ENDED))
		return false;
	t->loop = w->greenlet.main;
	for (size_t i = 0; i < all->n_threads && !known; i++)
		known = all->threads[i].main == t->loop;
	/* A thread may have one and never switch: there is no other beside it. */
	if (r == 0 && w->greenlet.state == GREENLET_RUNNING && !known)
		return false;
	if (r < 0)
		t->problem = TASK_MOVED;
	t->name = r == 0 && t->addr == t->loop
			  ? tables_string(k->r->tables, MAIN_GREENLET, strlen(MAIN_GREENLET))
			  : name_by_type(k, t->addr);
	return true;
}

/* Reads task i. False: it is none, or done. */
static bool read_task(struct look *k, size_t i)
{
	struct task_info *t = &k->out->info[i];
	struct work *w = &k->work[i];
	const struct layout *l = k->l;
	uint64_t type, state_text, name = 0;
	uint32_t state;

	if (w->green)
		return read_greenlet(k, t, w);
	if (type_of(k, t->addr, &type) < 0)
		return false;
	w->c = is_a(k, type, w->asyncio->c_task);
	if (w->c) {
		if (l->task.state != ABSENT &&
		    (read_bytes(k, t->addr + (uint64_t)l->task.state, &state, 4) < 0 || state != 0))
			return false;
		if (read_word(k, t->addr, l->task.loop, &t->loop) < 0 ||
		    read_word(k, t->addr, l->task.coro, &w->coro) < 0 ||
		    read_word(k, t->addr, l->task.name, &name) < 0)
			t->problem = TASK_UNREADABLE;
		absent_is_0(k, t->addr, l->task.fut_waiter, &w->waiter);
	} else if (is_a(k, type, w->asyncio->py_task)) {
		/* The class has it until there is another. */
		state_text = attribute(k, t->addr, "_state");
		if (state_text && !is_text(k, state_text, "PENDING"))
			return false;
		t->loop = attribute(k, t->addr, "_loop");
		w->coro = attribute(k, t->addr, "_coro");
		w->waiter = attribute(k, t->addr, "_fut_waiter");
		name = attribute(k, t->addr, "_name");
	} else {
		return false;
	}
	/* One that is just made has no coroutine yet, one that is just ending none any more. */
	if (t->problem == TASK_FINE && (w->coro == 0 || kind_of(k, w->coro) == KIND_NONE))
		t->problem = TASK_MOVED;
	if (w->waiter && kind_of(k, w->waiter) == KIND_NONE)
		w->waiter = 0;
	t->name = read_name(k, name);
	return true;
}

/* The frame of a coroutine that Python runs; 0: it has none (any more). */
static uint64_t coroutine_frame(struct look *k, uint64_t coro)
{
	uint64_t frame;

	if (kind_of(k, coro) != KIND_COROUTINE)
		return 0;
	if (k->l->gen.frame == ABSENT)
		return coro + (uint64_t)k->l->gen.iframe;
	return read_word(k, coro, k->l->gen.frame, &frame) < 0 ? 0 : frame;
}

/* Reads all tasks, leaves those that are none, and sorts them into the maps. */
static int read_tasks(struct look *k)
{
	struct tasks *out = k->out;
	size_t kept = 0;

	for (size_t i = 0; i < out->n && !k->error; i++) {
		if (spent(k)) {
			out->more = true;
			break;
		}
		if (!read_task(k, i))
			continue;
		k->python |= !k->work[i].c && !k->work[i].green;
		out->info[kept] = out->info[i];
		k->work[kept++] = k->work[i];
	}
	out->n = kept;
	free(k->by_addr.entries);
	k->by_addr = (struct map){0};
	for (size_t i = 0; i < out->n && !k->error; i++) {
		struct task_info *t = &out->info[i];
		struct work *w = &k->work[i];
		struct entry *same = map_find(&k->by_waiter, w->waiter);
		int r = map_add(&k->by_addr, t->addr, (uint32_t)i);

		w->frame = coroutine_frame(k, w->coro);
		if (r == 0 && w->frame)
			r = map_add(&k->by_frame, w->frame, (uint32_t)i);
		w->next_same = same ? same->value + 1 : 0;
		if (same)
			same->value = (uint32_t)i;
		else if (r == 0 && w->waiter)
			r = map_add(&k->by_waiter, w->waiter, (uint32_t)i);
		/* The thread in whose list it is may only have made it. */
		for (size_t n = 0; n < k->n_threads && !t->tstate; n++)
			if (k->threads[n].loop == t->loop)
				t->tstate = k->threads[n].tstate;
		note(k, r);
	}
	return k->error;
}

/* ---- where each task stands ---- */

static uint64_t bytecode_start(struct look *k, const struct code *code, const struct frame *f)
{
	uint64_t start;

	/* _PyCodeArray: a size, then a pointer for each thread-local index; 0 is the code itself.
	 */
	if (!code->tlbc || f->tlbc_index <= 0 || f->tlbc_index > SAMPLER_MAX_THREADS ||
	    read_word(k, code->tlbc + POINTER, f->tlbc_index * POINTER, &start) < 0)
		return code->start;
	return start;
}

/* The code object of a frame. The frame keeps it, so that what is noted of the frame is enough. */
static struct code *code_of(struct look *k, const struct frame *f)
{
	struct memory_log *log = memory_set_log(k->m, NULL);
	uint64_t addr = f->code & k->l->frame.executable_mask;
	int error = 0, r = 0;
	struct code *code = code_cache_get(k->r->codes, addr, k->r->stamp, &error);

	/* One that was read for an earlier look may have been replaced by another. */
	if (code && code->since != k->r->stamp && code->stamp != k->r->stamp)
		r = error = code_cache_check(k->r->codes, &code, 1, k->r->stamp);
	if (r > 0)
		code = code_cache_get(k->r->codes, addr, k->r->stamp, &error);
	else if (r < 0)
		code = NULL;
	memory_set_log(k->m, log);
	if (!code)
		note(k, error);
	return code;
}

/* The stack of f above parent. 0; -EAGAIN it cannot be a frame; -ENOMEM. */
static int intern_frame(struct look *k, struct frame *f, uint32_t parent, uint32_t *ret)
{
	const struct layout *l = k->l;
	struct table_frame plain = {.end_line = -1, .column = -1, .end_column = -1};
	struct code *code;
	uint32_t frame;
	int64_t ip;

	*ret = parent;
	if (f->hidden)
		return 0;
	code = code_of(k, f);
	if (!code)
		return k->error == -ENOMEM ? -ENOMEM : -EAGAIN;
	if (l->frame_style == FRAME_STYLE_OBJECT) {
		ip = (int64_t)f->ip * l->frame.lasti_unit;
	} else {
		ip = (int64_t)(f->ip - bytecode_start(k, code, f)) - l->frame.instr_back;
		if (ip < (int64_t)code->first_traceable && !f->generator)
			return 0;
	}
	if (ip < -4 || ip >= (int64_t)code->length)
		return -EAGAIN;
	if (f->created && ip < 0) {
		plain.function = code->function;
		plain.line = code->first_line;
		frame = tables_frame(k->r->tables, &plain);
	} else {
		frame = code_frame(k->r->codes, code, ip);
	}
	*ret = frame ? tables_stack(k->r->tables, parent, frame) : 0;
	return *ret ? 0 : note(k, -ENOMEM);
}

static bool owner_is(int8_t owner, int8_t value)
{
	return value != ABSENT && owner == value;
}

/* g: the frame is of a greenlet, and may be where that keeps its C stack; or NULL. */
static int read_frame_of(struct look *k, const struct greenlet *g, uint64_t addr, struct frame *ret)
{
	const struct layout *l = k->l;
	uint8_t head[MAX_HEAD];
	int32_t lasti;
	int r;

	if (addr == 0 || addr % POINTER || l->frame.size > MAX_HEAD)
		return -EBADMSG;
	r = g ? greenlet_read_frame(k->m, g, addr, head, (size_t)l->frame.size)
	      : memory_read(k->m, addr, head, (size_t)l->frame.size);
	if (note(k, r) < 0)
		return -EFAULT;
	*ret = (struct frame){.addr = addr};
	memcpy(&ret->code, head + l->frame.executable, 8);
	memcpy(&ret->previous, head + l->frame.previous, 8);
	if (l->frame_style == FRAME_STYLE_OBJECT) {
		memcpy(&lasti, head + l->frame.instr_ptr, 4);
		ret->ip = (uint64_t)(int64_t)lasti;
		return 0;
	}
	memcpy(&ret->ip, head + l->frame.instr_ptr, 8);
	if (l->frame.tlbc_index != ABSENT)
		memcpy(&ret->tlbc_index, head + l->frame.tlbc_index, 4);
	ret->generator = owner_is((int8_t)head[l->frame.owner], l->frame.owner_generator);
	ret->hidden = owner_is((int8_t)head[l->frame.owner], l->frame.owner_interpreter) ||
		      owner_is((int8_t)head[l->frame.owner], l->frame.owner_cstack);
	return 0;
}

static int read_frame(struct look *k, uint64_t addr, struct frame *ret)
{
	return read_frame_of(k, NULL, addr, ret);
}

/* The value on a suspended frame's stack that it waits for. -EAGAIN: the frame is just being
 * entered or left. */
static int awaited_by_frame(struct look *k, const struct frame *f, uint64_t *ret)
{
	const struct layout *l = k->l;
	uint64_t top, base, word;
	int32_t depth;
	int r;

	if (l->stack_style == STACK_STYLE_POINTER) {
		r = read_word(k, f->addr, l->frame.stackpointer, &top);
		if (r == 0 && (top == 0 || top % POINTER))
			return -EAGAIN;
	} else {
		r = read_bytes(k, f->addr + (uint64_t)l->frame.stackpointer, &depth, 4);
		base = f->addr + (uint64_t)l->frame.localsplus;
		if (r == 0 && l->stack_style == STACK_STYLE_DEPTH)
			r = read_word(k, f->addr, l->frame.valuestack, &base);
		if (r == 0 && (depth <= 0 || base % POINTER))
			return -EAGAIN;
		top = base + (uint64_t)(uint32_t)depth * POINTER;
	}
	if (r == 0)
		r = read_word(k, top - (uint64_t)l->gen.await_depth * POINTER, 0, &word);
	if (r < 0)
		return r;
	if (l->frame.executable_mask != ~UINT64_C(0) && (word & TAG_MASK) == TAG_MASK)
		return -EAGAIN;
	word &= l->frame.executable_mask;
	/* What is sent to it lies there for a moment. */
	if (word == 0 || kind_of(k, word) == KIND_NONE)
		return -EAGAIN;
	*ret = word;
	return 0;
}

/* To 3.10: whether a frame runs. Its stack has no end then. */
static bool is_entered(struct look *k, const struct frame *f)
{
	uint64_t at = f->addr + (uint64_t)k->l->frame.stackpointer, top;
	int32_t depth;

	if (k->l->stack_style == STACK_STYLE_DEPTH)
		return read_bytes(k, at, &depth, sizeof(depth)) < 0 || depth < 0;
	return read_bytes(k, at, &top, sizeof(top)) < 0 || top == 0;
}

/* Whether a suspended frame waits for another awaitable, where only its code tells. */
static int yields_from(struct look *k, const struct frame *f)
{
	const struct layout *l = k->l;
	uint64_t at = f->ip + 2, data;
	uint8_t unit[2];
	size_t len;
	int r;

	if (l->frame_style == FRAME_STYLE_OBJECT) {
		uint64_t code = f->code, bytes;

		r = read_word(k, code, l->code.code, &bytes);
		if (r == 0)
			r = note(k, object_read_bytes_head(k->m, l, bytes, &data, &len));
		if (r < 0)
			return r;
		at = f->ip * (uint64_t)l->frame.lasti_unit + 2;
		if (at >= len)
			return -EAGAIN;
		at += data;
	}
	r = read_bytes(k, at, unit, sizeof(unit));
	if (r < 0)
		return r;
	return (unit[0] == l->gen.yield_from_opcodes[0] ||
		unit[0] == l->gen.yield_from_opcodes[1]) &&
	       unit[1] >= l->gen.yield_from_arg;
}

/* Reads the frame of a coroutine that does not run, and what it waits for: 0 nothing that is
 * known. -EAGAIN: it runs, or has ended. */
static int read_suspended(struct look *k, uint64_t coro, struct frame *f, uint64_t *ret_next)
{
	const struct layout *l = k->l;
	uint64_t frame = coroutine_frame(k, coro);
	int8_t state = 0;
	int r;

	*ret_next = 0;
	if (frame == 0)
		return -EAGAIN;
	r = read_frame(k, frame, f);
	if (r < 0)
		return r;
	f->generator = true;
	if (l->gen.frame_state == ABSENT) {
		if (is_entered(k, f))
			return -EAGAIN;
		f->created = (int64_t)f->ip < 0;
	} else {
		r = read_bytes(k, coro + (uint64_t)l->gen.frame_state, &state, 1);
		if (r < 0)
			return r;
		f->created = state == l->gen.created;
		if (!f->created && state != l->gen.suspended && state != l->gen.yield_from)
			return -EAGAIN;
	}
	if (f->created)
		return 0;
	r = l->gen.yield_from_opcodes[0] != ABSENT ? yields_from(k, f) : state == l->gen.yield_from;
	return r <= 0 ? r : awaited_by_frame(k, f, ret_next);
}

/* The chain of coroutines from a task's own to what it waits for in the end. */
static void read_chain(struct look *k, size_t i)
{
	struct task_info *t = &k->out->info[i];
	uint64_t at = k->work[i].coro;
	int r = 0;

	for (size_t n = 0; at && r == 0; n++) {
		struct frame f;

		switch (kind_of(k, at)) {
		case KIND_COROUTINE:
			r = read_suspended(k, at, &f, &at);
			if (r == 0)
				r = intern_frame(k, &f, t->stack, &t->stack);
			break;
		case KIND_WRAPPER:
			r = read_word(k, at, k->l->inner.first, &at);
			break;
		default:
			at = 0; /* a future, or something that is not Python's */
		}
		if (n == MAX_CHAIN || spent(k))
			r = -E2BIG;
	}
	if (r == -EAGAIN) {
		t->problem = TASK_MOVED;
		t->stack = 0;
	} else if (r < 0) {
		t->problem = TASK_UNREADABLE;
	}
}

/* The newest frame of a thread. */
static int leaf_of(struct look *k, uint64_t tstate, uint64_t *ret)
{
	const struct layout *l = k->l;
	uint64_t cframe;
	int r;

	if (l->tstate.cframe == ABSENT)
		return read_word(k, tstate, l->tstate.frame, ret);
	r = read_word(k, tstate, l->tstate.cframe, &cframe);
	return r < 0 ? r : read_word(k, cframe, l->cframe.current_frame, ret);
}

/* Gives task i the frames from..to of a thread, leaf first. */
static void take_segment(struct look *k, size_t i, size_t from, size_t to)
{
	struct task_info *t = &k->out->info[i];
	int r = 0;

	k->work[i].on_stack = true;
	t->state = TASK_RUNNING;
	t->stack = 0;
	for (size_t n = to + 1; n > from && r == 0; n--)
		r = intern_frame(k, &k->frames[n - 1], t->stack, &t->stack);
	if (r < 0) {
		t->problem = TASK_MOVED;
		t->stack = 0;
	}
}

/* All frames from addr on, of a suspended greenlet or of a thread that runs one. */
static int read_all_frames(struct look *k, const struct greenlet *g, uint64_t addr, uint64_t end,
			   uint32_t *ret)
{
	size_t n = 0;
	int r = 0;

	if (!k->frames)
		k->frames = calloc(MAX_CHAIN, sizeof(*k->frames));
	if (!k->frames)
		return note(k, -ENOMEM);
	for (; addr && addr != end && n < MAX_CHAIN && r == 0; n++) {
		r = spent(k) ? -E2BIG : read_frame_of(k, g, addr, &k->frames[n]);
		addr = k->frames[n].previous;
	}
	if (r == 0 && addr && addr != end)
		return -E2BIG;
	while (n > 0 && r == 0)
		r = intern_frame(k, &k->frames[--n], *ret, ret);
	return r;
}

/* The stack of a greenlet: all of its thread's while it runs. */
static void read_green_stack(struct look *k, size_t i)
{
	struct task_info *t = &k->out->info[i];
	struct work *w = &k->work[i];
	uint64_t leaf = w->greenlet.frame, end = 0;
	int r = 0;

	if (w->greenlet.state == GREENLET_NEW)
		return;
	if (t->tstate && k->l->tstate.base_frame != ABSENT)
		r = read_word(k, t->tstate, k->l->tstate.base_frame, &end);
	if (w->greenlet.state == GREENLET_SUSPENDED) {
		if (r == 0)
			r = read_all_frames(k, &w->greenlet, leaf, end, &t->stack);
	} else {
		const struct entry *other = map_find(&k->by_main, t->loop);

		t->state = TASK_RUNNING;
		/* Only one does at a time. */
		if (other) {
			k->out->info[other->value].problem = TASK_MOVED;
			k->out->info[other->value].stack = 0;
			r = -EAGAIN;
		} else if (r == 0) {
			r = map_add(&k->by_main, t->loop, (uint32_t)i);
		}
		if (r == 0)
			r = leaf_of(k, t->tstate, &leaf);
		if (r == 0)
			r = read_all_frames(k, NULL, leaf, end, &t->stack);
	}
	note(k, r);
	if (r == -EFAULT || r == -EBADMSG || r == -EAGAIN) {
		t->problem = TASK_MOVED;
		t->stack = 0;
	} else if (r < 0) {
		t->problem = TASK_UNREADABLE;
	}
}

/* The tasks that run in a thread: their coroutines' frames are on its stack. */
static void read_running(struct look *k, const struct running *thread)
{
	uint64_t addr, end = 0;
	size_t n = 0, from = 0;

	if (leaf_of(k, thread->tstate, &addr) < 0)
		return;
	if (k->l->tstate.base_frame != ABSENT)
		read_word(k, thread->tstate, k->l->tstate.base_frame, &end);
	while (addr && addr != end && n < MAX_CHAIN && !k->error) {
		const struct entry *e = map_find(&k->by_frame, addr);

		if (read_frame(k, addr, &k->frames[n]) < 0)
			return;
		if (e) {
			take_segment(k, e->value, from, n);
			from = n + 1;
		}
		addr = k->frames[n++].previous;
	}
}

/* ---- who awaits whom ---- */

static bool is_task(struct look *k, const struct asyncio *a, uint64_t object)
{
	uint64_t type;

	return object && type_of(k, object, &type) == 0 &&
	       (is_a(k, type, a->c_task) || is_a(k, type, a->py_task));
}

static bool is_greenlet(struct look *k, const struct green *g, uint64_t object)
{
	uint64_t type;

	return object && object % POINTER == 0 && type_of(k, object, &type) == 0 &&
	       is_a(k, type, g->all.type);
}

static bool is_suspended(struct look *k, const struct green *g, uint64_t object)
{
	struct greenlet one;

	return is_greenlet(k, g, object) && greenlet_read(k->m, k->l, &g->all, object, &one) == 0 &&
	       one.state == GREENLET_SUSPENDED;
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
	if (k->l->task.state != ABSENT && type_of(k, addr, &type) == 0 &&
	    is_a(k, type, k->work[task].asyncio->c_task) &&
	    (read_bytes(k, addr + (uint64_t)k->l->task.state, &state, 4) < 0 || state != 0))
		return;
	k->awaiters[k->n_awaiters++] = addr;
}

static void add_edge(struct look *k, uint32_t task, uint64_t awaiter_addr)
{
	const struct entry *e;

	if (k->climbs) {
		add_awaiter(k, task, awaiter_addr);
		return;
	}
	e = map_find(&k->by_addr, awaiter_addr);
	if (!e)
		return;
	if (k->n_edges == MAX_EDGES) {
		k->out->more = true;
		return;
	}
	if (k->n_edges == k->room_edges) {
		size_t room = k->room_edges ? k->room_edges * 2 : 256;
		struct edge *edges = reallocarray(k->edges, room, sizeof(*edges));

		if (!edges) {
			note(k, -ENOMEM);
			return;
		}
		k->edges = edges;
		k->room_edges = room;
	}
	k->edges[k->n_edges++] = (struct edge){task, e->value};
}

static int add_awaiting_member(struct look *k, void *arg, uint64_t object)
{
	add_edge(k, *(uint32_t *)arg, object);
	return k->error;
}

/* From 3.14 a task knows its awaiters, but for those of the other implementation. */
static void read_awaited_by(struct look *k, uint32_t i)
{
	const struct layout *l = k->l;
	uint64_t addr = k->out->info[i].addr, awaited_by = 0;
	const struct entry *e = map_find(&k->by_waiter, addr);
	uint8_t is_set = 0;

	for (uint32_t n = e ? e->value + 1 : 0; n; n = k->work[n - 1].next_same)
		add_edge(k, i, k->out->info[n - 1].addr);
	if (k->work[i].c) {
		if (read_word(k, addr, l->task.awaited_by, &awaited_by) < 0 || !awaited_by ||
		    read_bytes(k, addr + (uint64_t)l->task.awaited_by_is_set, &is_set, 1) < 0)
			return;
	} else {
		awaited_by = attribute(k, addr, "_Future__asyncio_awaited_by");
		is_set = 1;
	}
	if (is_set)
		each_member(k, awaited_by, add_awaiting_member, &i);
	else
		add_edge(k, i, awaited_by);
}

static void follow_future(struct look *k, uint32_t task, uint64_t future, int depth);

/* An object that a callback of asyncio's holds: a future that is done by it, perhaps. */
static void follow_held(struct look *k, uint32_t task, const struct asyncio *a, uint64_t object,
			int depth)
{
	uint64_t type;

	if (object == 0 || object % POINTER)
		return;
	if (map_find(&k->by_waiter, object) ||
	    (type_of(k, object, &type) == 0 &&
	     (is_a(k, type, a->c_future) || is_a(k, type, a->py_future))))
		follow_future(k, task, object, depth + 1);
}

/* The elements of a tuple, at most max. */
static size_t read_tuple(struct look *k, uint64_t tuple, uint64_t *ret, size_t max)
{
	uint64_t size;

	if (kind_of(k, tuple) != KIND_TUPLE ||
	    read_word(k, tuple, k->l->tuple.ob_size, &size) < 0 || size > MAX_CALLBACKS)
		return 0;
	if (size > max)
		size = max;
	if (size && read_bytes(k, tuple + (uint64_t)k->l->tuple.ob_item, ret, size * POINTER) < 0)
		return 0;
	return (size_t)size;
}

static bool is_asyncio_function(struct look *k, const struct asyncio *a, uint64_t function)
{
	uint64_t globals;

	return kind_of(k, function) == KIND_FUNCTION &&
	       read_word(k, function, k->l->inner.function_globals, &globals) == 0 &&
	       globals == a->globals;
}

/* A callback that runs when the task is done. asyncio's own say what waits for it: gather(),
 * shield() and wait() enclose a future, to 3.11 wait_for() binds one, a TaskGroup is bound. */
static void follow_callback(struct look *k, uint32_t task, uint64_t callback, int depth)
{
	const struct asyncio *a = k->work[task].asyncio;
	uint64_t items[MAX_CELLS], tuple, object;
	size_t n;

	switch (kind_of(k, callback)) {
	case KIND_FUNCTION:
		if (!is_asyncio_function(k, a, callback) ||
		    read_word(k, callback, k->l->inner.function_closure, &tuple) < 0 || !tuple)
			return;
		n = read_tuple(k, tuple, items, MAX_CELLS);
		for (size_t i = 0; i < n; i++)
			if (kind_of(k, items[i]) == KIND_CELL &&
			    read_word(k, items[i], k->l->inner.first, &object) == 0)
				follow_held(k, task, a, object, depth);
		return;
	case KIND_PARTIAL:
		if (read_word(k, callback, k->l->inner.first, &object) < 0 ||
		    !is_asyncio_function(k, a, object) ||
		    read_word(k, callback, k->l->inner.partial_args, &tuple) < 0)
			return;
		n = read_tuple(k, tuple, items, MAX_CELLS);
		for (size_t i = 0; i < n; i++)
			follow_held(k, task, a, items[i], depth);
		return;
	case KIND_METHOD:
		if (read_word(k, callback, k->l->inner.method_self, &object) < 0)
			return;
		if (is_task(k, a, object)) {
			add_edge(k, task, object);
			return;
		}
		/* A thousand tasks of one group ask the same. */
		if (object != k->parent_of) {
			k->parent_of = object;
			k->parent = attribute(k, object, "_parent_task");
		}
		add_edge(k, task, k->parent);
		return;
	case KIND_WAKEUP:
		if (read_word(k, callback, k->l->inner.first, &object) == 0)
			add_edge(k, task, object);
		return;
	case KIND_BUILTIN:
		if (read_word(k, callback, k->l->inner.method_self, &object) == 0)
			add_edge(k, task, object);
		return;
	default:
		return;
	}
}

static void follow_callbacks(struct look *k, uint32_t task, uint64_t callbacks, int depth)
{
	uint64_t size, items, item, pair[2];

	if (!callbacks || kind_of(k, callbacks) != KIND_LIST ||
	    read_word(k, callbacks, k->l->list.ob_size, &size) < 0 ||
	    read_word(k, callbacks, k->l->list.ob_item, &items) < 0)
		return;
	if (size > MAX_CALLBACKS) {
		size = MAX_CALLBACKS;
		k->out->more = true;
	}
	for (uint64_t i = 0; i < size && !k->error && !spent(k); i++)
		if (read_word(k, items, (int32_t)(i * POINTER), &item) == 0 &&
		    read_tuple(k, item, pair, 2) >= 1)
			follow_callback(k, task, pair[0], depth);
}

/* All that waits for a future which is done when the task is. */
static void follow_future(struct look *k, uint32_t task, uint64_t future, int depth)
{
	const struct asyncio *a = k->work[task].asyncio;
	const struct entry *e = map_find(&k->by_waiter, future);
	uint64_t type, callback0, callbacks;

	for (uint32_t i = e ? e->value + 1 : 0; i; i = k->work[i - 1].next_same)
		add_edge(k, task, k->out->info[i - 1].addr);
	if (depth == MAX_FUTURES || k->error || type_of(k, future, &type) < 0)
		return;
	if (is_a(k, type, a->c_future) || is_a(k, type, a->c_task)) {
		absent_is_0(k, future, k->l->task.callback0, &callback0);
		absent_is_0(k, future, k->l->task.callbacks, &callbacks);
		if (callback0)
			follow_callback(k, task, callback0, depth);
		follow_callbacks(k, task, callbacks, depth);
	} else if (is_a(k, type, a->py_future)) {
		follow_callbacks(k, task, attribute(k, future, "_callbacks"), depth);
	}
}

/* ---- who waits for a greenlet of gevent's ---- */

/* The type's name, or as much of it as buf takes. */
static bool read_type_name(struct look *k, uint64_t type, char *buf, size_t size)
{
	uint64_t text;
	size_t n = 0;

	if (read_word(k, type, k->l->type.tp_name, &text) < 0)
		return false;
	while (n < size - 1 && read_bytes(k, text + n, &buf[n], 1) == 0 && buf[n])
		n++;
	buf[n] = '\0';
	return n > 0;
}

/* The bytes of what gevent itself makes of a greenlet, of whatever class; 0 it is none of its. */
static uint64_t gevent_size(struct look *k, const struct green *g, uint64_t object)
{
	uint64_t type, size = 0;
	char name[8];

	if (type_of(k, object, &type) < 0)
		return 0;
	for (int i = 0; i < MAX_BASES && type && type != g->all.type; i++) {
		if (read_type_name(k, type, name, sizeof(name)) &&
		    strcmp(name, GEVENT_TYPES) == 0 &&
		    read_word(k, type, k->l->type.tp_basicsize, &size) == 0)
			return size < MAX_GEVENT ? size : MAX_GEVENT;
		if (read_word(k, type, k->l->type.tp_base, &type) < 0)
			return 0;
	}
	return 0;
}

/* What waits on behalf of a greenlet: one of gevent's objects that are called so. It has the hub,
 * and behind that the greenlet. */
static void follow_waiter(struct look *k, uint32_t task, uint64_t waiter)
{
	const struct green *g = k->work[task].green;
	uint64_t type, size, pair[2];
	char name[64];
	size_t n;

	if (type_of(k, waiter, &type) < 0 || !read_type_name(k, type, name, sizeof(name)) ||
	    read_word(k, type, k->l->type.tp_basicsize, &size) < 0)
		return;
	n = strlen(name);
	if (n < strlen(GEVENT_WAITER) || strncmp(name, GEVENT_TYPES, strlen(GEVENT_TYPES)) != 0 ||
	    strcmp(name + n - strlen(GEVENT_WAITER), GEVENT_WAITER) != 0)
		return;
	for (uint64_t at = (uint64_t)k->l->object.size;
	     at + sizeof(pair) <= size && at < MAX_GEVENT; at += POINTER) {
		if (read_bytes(k, waiter + at, pair, sizeof(pair)) < 0 ||
		    !is_greenlet(k, g, pair[0]))
			continue;
		if (is_suspended(k, g, pair[1]))
			add_edge(k, task, pair[1]);
		return;
	}
}

/* Called when a greenlet ends: the switch to one that waits for it, or a method of a waiter. */
static void follow_link(struct look *k, uint32_t task, uint64_t callback)
{
	enum kind kind = callback && callback % POINTER == 0 ? kind_of(k, callback) : KIND_OTHER;
	uint64_t object;

	if ((kind != KIND_BUILTIN && kind != KIND_METHOD) ||
	    read_word(k, callback, k->l->inner.method_self, &object) < 0)
		return;
	if (is_suspended(k, k->work[task].green, object))
		add_edge(k, task, object);
	else if (kind == KIND_METHOD && object)
		follow_waiter(k, task, object);
}

/* Its links are a list among what gevent adds to a greenlet. */
static void follow_links(struct look *k, uint32_t task)
{
	const struct green *g = k->work[task].green;
	uint64_t addr = k->out->info[task].addr, at, list, size, items, item;
	uint64_t end = gevent_size(k, g, addr);

	if (!end || read_word(k, g->all.type, k->l->type.tp_basicsize, &at) < 0)
		return;
	for (; at < end && !k->error && !spent(k); at += POINTER) {
		if (read_word(k, addr, (int32_t)at, &list) < 0 || list == 0 || list % POINTER ||
		    kind_of(k, list) != KIND_LIST ||
		    read_word(k, list, k->l->list.ob_size, &size) < 0 ||
		    read_word(k, list, k->l->list.ob_item, &items) < 0)
			continue;
		if (size > MAX_CALLBACKS) {
			size = MAX_CALLBACKS;
			k->out->more = true;
		}
		for (uint64_t i = 0; i < size && !k->error && !spent(k); i++)
			if (read_word(k, items, (int32_t)(i * POINTER), &item) == 0)
				follow_link(k, task, item);
	}
}

static int compare_edges(const void *a, const void *b)
{
	const struct edge *x = a, *y = b;

	if (x->task != y->task)
		return x->task < y->task ? -1 : 1;
	return x->awaiter < y->awaiter ? -1 : x->awaiter > y->awaiter;
}

static int read_awaiters(struct look *k)
{
	struct tasks *out = k->out;

	for (uint32_t i = 0; i < out->n && !k->error; i++) {
		if (spent(k)) {
			out->more = true;
			break;
		}
		if (k->work[i].green) {
			follow_links(k, i);
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

/* ---- all of it ---- */

static int look_at_all(struct look *k)
{
	int e = add_all(k);

	if (e == 0)
		e = read_tasks(k);
	if (e < 0)
		return e;
	for (size_t i = 0; i < k->r->n_green; i++)
		k->out->more |= k->r->green[i].all.more;
	for (size_t i = 0; i < k->n_threads && !k->error; i++)
		read_running(k, &k->threads[i]);
	for (size_t i = 0; i < k->out->n && !k->error; i++) {
		if (k->out->info[i].problem != TASK_FINE || k->work[i].on_stack)
			continue;
		if (k->work[i].green)
			read_green_stack(k, i);
		else
			read_chain(k, i);
	}
	e = k->error ? k->error : read_awaiters(k);
	for (size_t i = 0; i < k->out->n && e == 0; i++)
		k->out->problems += k->out->info[i].problem != TASK_FINE;
	return e;
}

int task_reader_read(struct task_reader *r, struct tasks *ret)
{
	struct tasks out = {.found = task_reader_found(r)};
	struct look k = {
		.r = r, .m = r->view.memory, .l = &r->view.layout, .out = &out, .types = r->types};
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
	free(k.by_addr.entries);
	free(k.by_frame.entries);
	free(k.by_waiter.entries);
	free(k.by_main.entries);
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

struct current {
	uint64_t loop, task;
};

static int match_loop(void *arg, uint64_t key, uint64_t value)
{
	struct current *c = arg;

	if (key != c->loop)
		return 0;
	c->task = value;
	return 1;
}

/* The task that a loop runs in a thread; 0 none. */
static int running_task(struct look *k, const struct asyncio *a, uint64_t tstate, uint64_t loop,
			uint64_t *ret)
{
	struct current c = {.loop = loop};
	uint64_t used = 0;
	int r = 0;

	if (k->l->tstate.asyncio_task != ABSENT)
		r = read_word(k, tstate, k->l->tstate.asyncio_task, &c.task);
	/* From 3.14 the dict is that of tasks in Python. */
	if (r == 0 && !c.task && a->current)
		r = read_word(k, a->current, k->l->dict.ma_used, &used);
	if (r == 0 && used)
		r = note(k, object_each_item(k->m, k->l, a->current, match_loop, &c));
	if (r < 0)
		return r;
	*ret = c.task && kind_of(k, c.task) != KIND_NONE ? c.task : 0;
	return 0;
}

/* Those that await task i, the lowest address first. */
static int compare_addresses(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static void find_awaiters(struct look *k, uint32_t i)
{
	uint64_t addr = k->out->info[i].addr;

	k->n_awaiters = 0;
	if (k->work[i].green)
		follow_links(k, i);
	else if (k->l->task.awaited_by != ABSENT)
		read_awaited_by(k, i);
	if (!k->work[i].green && (k->n_awaiters == 0 || !k->work[i].c))
		follow_future(k, i, addr, 0);
	k->out->info[i].n_awaiters = (uint32_t)k->n_awaiters;
	if (k->n_awaiters > 1)
		qsort(k->awaiters, k->n_awaiters, sizeof(*k->awaiters), compare_addresses);
}

/* The last task found, and which await it. *ret: the one that is gone on with, 0 none. */
static int climb(struct look *k, uint64_t addr, uint64_t *ret)
{
	struct tasks *out = k->out;
	uint32_t i = (uint32_t)out->n;

	*ret = 0;
	if ((k->climb_green ? add_greenlet(k, k->climb_green, addr)
			    : add_task(k, k->climb_from, addr)) < 0)
		return k->error ? k->error : -ENOTSUP;
	if (out->n == i)
		return 0; /* tasks that await each other */
	if (!read_task(k, i) || out->info[i].problem != TASK_FINE)
		return -EAGAIN;
	if (map_add(&k->by_addr, addr, i) < 0)
		return -ENOMEM;
	find_awaiters(k, i);
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
			read_green_stack(k, i - 1);
		else
			read_chain(k, i - 1);
		if (k->error)
			return k->error;
		if (info[i - 1].problem != TASK_FINE)
			return -EAGAIN;
		stack = info[i - 1].stack;
	}
	*ret = stack;
	return 0;
}

static int look_at_running(struct look *k, const struct asyncio *a, uint64_t tstate,
			   struct task_chain *ret)
{
	uint64_t loop = running_loop(k, tstate), at;
	int r;

	if (k->error || !loop)
		return k->error;
	ret->loop = true;
	r = running_task(k, a, tstate, loop, &at);
	if (r < 0 || !at)
		return r;
	ret->task = at;
	k->climb_from = a;
	while (at && r == 0)
		r = k->out->n == MAX_CLIMB ? -ENOTSUP : climb(k, at, &at);
	if (r == 0) {
		ret->frame = coroutine_frame(k, k->work[0].coro);
		r = put_chain(k, &ret->stack);
	}
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

/* Which greenlet runs in a thread. */
static int look_at_green(struct look *k, const struct green *g, uint64_t tstate,
			 struct task_chain *ret)
{
	struct greenlet one = {0};
	uint64_t first, current, at;
	int r = first_greenlet(&g->all, tstate, &first);

	ret->unsure = r < 0 || (!first && (g->all.more || g->all.unreadable));
	if (r < 0 || !first)
		return 0;
	r = k->l->tstate.context_ver == ABSENT ? -ENOTSUP
					       : greenlet_current(k->m, &g->all, first, &current);
	if (r == 0)
		r = greenlet_read(k->m, k->l, &g->all, current, &one);
	if (r == -EFAULT || r == -EBADMSG ||
	    (r == 0 && (one.state != GREENLET_RUNNING || one.main != first)))
		r = -EAGAIN;
	ret->unsure = r == -ENOTSUP;
	if (r == -ENOTSUP)
		return 0;
	if (r < 0)
		return r;
	ret->switches = tstate + (uint64_t)k->l->tstate.context_ver;
	ret->greenlet = current != first;
	if (!ret->greenlet)
		return 0;
	ret->task = at = current;
	k->climb_green = g;
	while (at && r == 0)
		r = k->out->n == MAX_CLIMB ? -ENOTSUP : climb(k, at, &at);
	if (r == 0)
		r = put_chain(k, &ret->stack);
	return k->error ? k->error : r;
}

static const struct green *greenlets_of(const struct task_reader *r, uint64_t interp)
{
	for (size_t i = 0; i < r->n_green; i++)
		if (r->green[i].interp == interp)
			return &r->green[i];
	return NULL;
}

int task_reader_running(struct task_reader *r, uint64_t interp, uint64_t tstate,
			struct memory_log *log, struct task_chain *ret)
{
	struct tasks out = {.found = r->found};
	struct task_chain chain = {0};
	struct look k = {.r = r,
			 .m = r->view.memory,
			 .l = &r->view.layout,
			 .out = &out,
			 .types = r->types,
			 .climbs = true};
	const struct green *g = greenlets_of(r, interp);
	const struct asyncio *a = NULL;
	int e = 0;

	for (size_t i = 0; i < r->n_asyncio; i++)
		if (r->asyncio[i].interp == interp)
			a = &r->asyncio[i];
	memory_log_clear(log);
	if (a || g) {
		/* Much of it is what the last look read: one call instead of many. */
		if (memory_kept(k.m) > MAX_AHEAD || memory_renew(k.m) < 0)
			memory_forget(k.m);
		memory_counts(k.m, &k.calls0, &k.bytes0);
		r->stamp++;
		memory_set_log(k.m, log);
		if (g)
			e = look_at_green(&k, g, tstate, &chain);
		if (e == 0 && a && !chain.greenlet)
			e = look_at_running(&k, a, tstate, &chain);
		memory_set_log(k.m, NULL);
	}
	free(out.info);
	free(k.work);
	free(k.by_addr.entries);
	if (e == 0 && log->full)
		e = -ENOTSUP;
	if (e == 0)
		*ret = chain;
	return e == -EFAULT || e == -EBADMSG ? -EAGAIN : e;
}

/* ---- those that wait ---- */

int task_reader_list(struct task_reader *r, struct task_list *ret)
{
	struct tasks out = {.found = r->found};
	struct look k = {
		.r = r, .m = r->view.memory, .l = &r->view.layout, .out = &out, .types = r->types};
	struct task_list list = {0};
	int e = 0;

	r->stamp++;
	memory_counts(k.m, &k.calls0, &k.bytes0);
	k.threads = calloc(MAX_THREADS, sizeof(*k.threads));
	out.loop_threads = calloc(MAX_THREADS, sizeof(*out.loop_threads));
	if (!k.threads || !out.loop_threads)
		e = -ENOMEM;
	if (e == 0)
		e = add_all(&k);
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
	free(k.by_addr.entries);
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

	find_awaiters(k, 0);
	ret->n_awaiters = (uint32_t)k->n_awaiters;
	ret->awaiters = calloc(k->n_awaiters + 1, sizeof(*ret->awaiters));
	if (!ret->awaiters)
		return -ENOMEM;
	memcpy(ret->awaiters, k->awaiters, k->n_awaiters * sizeof(*ret->awaiters));
	if (k->error)
		return k->error;
	if (k->work[0].greenlet.state != GREENLET_SUSPENDED)
		return TASK_RUNS;
	read_green_stack(k, 0);
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

	if (!read_task(k, 0)) /* done */
		return k->error ? k->error : TASK_RUNS;
	ret->loop = info->loop;
	ret->name = info->name;
	if (info->problem != TASK_FINE)
		return k->error ? k->error : TASK_CHANGES;
	if (k->work[0].green)
		return look_at_greenlet(k, ret);
	/* The coroutine of one that runs has no end of its stack. */
	r = kind_of(k, k->work[0].coro) == KIND_COROUTINE
		    ? read_suspended(k, k->work[0].coro, &f, &next)
		    : 0;
	if (r != -EAGAIN)
		read_chain(k, 0);
	find_awaiters(k, 0);
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
	struct look k = {.r = r,
			 .m = r->view.memory,
			 .l = &r->view.layout,
			 .out = &out,
			 .types = r->types,
			 .climbs = true};
	int e = TASK_CHANGES;

	*ret = (struct task_waiting){0};
	memory_log_clear(log);
	memory_counts(k.m, &k.calls0, &k.bytes0);
	memory_set_log(k.m, log);
	if (ref->asyncio < r->n_asyncio)
		add_task(&k, &r->asyncio[ref->asyncio], ref->addr);
	else if (ref->asyncio - r->n_asyncio < r->n_green)
		add_greenlet(&k, &r->green[ref->asyncio - r->n_asyncio], ref->addr);
	if (out.n == 1)
		e = look_at_waiting(&k, ret);
	memory_set_log(k.m, NULL);
	free(out.info);
	free(k.work);
	free(k.frames);
	free(k.by_addr.entries);
	if (k.error == -ENOMEM)
		e = -ENOMEM;
	if (e >= 0 && log->full)
		e = TASK_CHANGES;
	if (e != TASK_WAITS && e != TASK_RUNS) {
		free(ret->awaiters);
		ret->awaiters = NULL;
	}
	return e < 0 && e != -ENOMEM ? TASK_CHANGES : e;
}

void task_reader_forget(struct task_reader *r, struct tables *tables)
{
	r->tables = tables;
	code_cache_forget(r->codes, tables);
}
