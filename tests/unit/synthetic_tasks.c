#include "tests/unit/synthetic_tasks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum type {
	TYPE_STR,
	TYPE_DICT,
	TYPE_MODULE,
	TYPE_WEAK_SET,
	TYPE_SET,
	TYPE_REF,
	TYPE_FUTURE,
	TYPE_TASK,
	TYPE_COROUTINE,
	TYPE_CODE,
	TYPE_FUNCTION,
	TYPE_TUPLE,
	TYPE_CELL,
	TYPE_NONE,
	TYPE_LOOP,
	TYPE_GREENLET,
	TYPE_FRAME,
	TYPE_BUILTIN,
	TYPE_COUNT
};

#define FLAG_HEAP (1u << 9)
#define UNITS	  8

static const char *const type_names[TYPE_COUNT] = {
	[TYPE_STR] = "str",
	[TYPE_DICT] = "dict",
	[TYPE_MODULE] = "module",
	[TYPE_WEAK_SET] = "WeakSet",
	[TYPE_SET] = "set",
	[TYPE_REF] = "weakref",
	[TYPE_FUTURE] = "Future",
	[TYPE_TASK] = "Task",
	[TYPE_COROUTINE] = "coroutine",
	[TYPE_CODE] = "code",
	[TYPE_FUNCTION] = "function",
	[TYPE_TUPLE] = "tuple",
	[TYPE_CELL] = "cell",
	[TYPE_NONE] = "NoneType",
	[TYPE_LOOP] = "Loop",
	[TYPE_GREENLET] = "greenlet",
	[TYPE_FRAME] = "frame",
	[TYPE_BUILTIN] = "builtin_function_or_method",
};

static uint8_t *at(struct synthetic_tasks *s, uint64_t addr)
{
	return s->image + (addr - SYNTHETIC_TASKS_BASE);
}

void synthetic_tasks_put(struct synthetic_tasks *s, uint64_t addr, int32_t offset, uint64_t word)
{
	memcpy(at(s, addr) + offset, &word, sizeof(word));
}

uint64_t synthetic_tasks_get(const struct synthetic_tasks *s, uint64_t addr, int32_t offset)
{
	uint64_t word;

	memcpy(&word, s->image + (addr - SYNTHETIC_TASKS_BASE) + offset, sizeof(word));
	return word;
}

static uint64_t take(struct synthetic_tasks *s, size_t size)
{
	uint64_t addr = SYNTHETIC_TASKS_BASE + s->used;

	s->used += (size + 15) & ~(size_t)15;
	if (s->used > SYNTHETIC_TASKS_SIZE) {
		fputs("the made-up memory is too small\n", stderr);
		abort();
	}
	return addr;
}

static uint64_t object(struct synthetic_tasks *s, enum type type, size_t size)
{
	uint64_t addr = take(s, size);

	synthetic_tasks_put(s, addr, s->target.layout.object.ob_type, s->types[type]);
	return addr;
}

static uint64_t string(struct synthetic_tasks *s, const char *text)
{
	const struct layout *l = &s->target.layout;
	uint64_t addr = object(s, TYPE_STR, (size_t)l->unicode.ascii_data + strlen(text) + 1);

	synthetic_tasks_put(s, addr, l->unicode.length, strlen(text));
	synthetic_tasks_put(s, addr, l->unicode.state, 1u << 2 | 1u << 5 | 1u << 6);
	memcpy(at(s, addr) + l->unicode.ascii_data, text, strlen(text) + 1);
	return addr;
}

/* A dict of n string keys. */
static uint64_t dict(struct synthetic_tasks *s, size_t n, const char *const *keys,
		     const uint64_t *values)
{
	const struct layout *l = &s->target.layout;
	uint64_t addr = object(s, TYPE_DICT, 48), table = take(s, 32 + 8 + 24 * 8);

	synthetic_tasks_put(s, addr, l->dict.ma_keys, table);
	at(s, table)[l->dict.keys_size] = 3;
	at(s, table)[l->dict.keys_log2_index_bytes] = 3;
	synthetic_tasks_put(s, table, l->dict.keys_nentries, n);
	for (size_t i = 0; i < n; i++) {
		uint64_t entry = table + (uint64_t)l->dict.keys_header + 8 + 24 * i;

		synthetic_tasks_put(s, entry, 8, string(s, keys[i]));
		synthetic_tasks_put(s, entry, 16, values[i]);
	}
	return addr;
}

static uint64_t module(struct synthetic_tasks *s, uint64_t globals)
{
	uint64_t addr = object(s, TYPE_MODULE, 32);

	synthetic_tasks_put(s, addr, s->target.layout.inner.first, globals);
	return addr;
}

static uint64_t code(struct synthetic_tasks *s, const char *name, int line)
{
	const struct layout *l = &s->target.layout;
	uint64_t addr = object(s, TYPE_CODE, (size_t)l->code.code + 2 * UNITS);
	uint64_t lines = take(s, (size_t)l->bytes.ob_sval + 2);

	synthetic_tasks_put(s, addr, l->var.ob_size, UNITS);
	synthetic_tasks_put(s, addr, l->code.filename, string(s, "file.py"));
	synthetic_tasks_put(s, addr, l->code.qualname, string(s, name));
	synthetic_tasks_put(s, addr, l->code.name, string(s, name));
	synthetic_tasks_put(s, addr, l->code.linetable, lines);
	synthetic_tasks_put(s, addr, l->code.firstlineno, (uint64_t)line);
	/* One location entry for all units: no columns, same line. */
	synthetic_tasks_put(s, lines, l->bytes.ob_size, 2);
	at(s, lines)[l->bytes.ob_sval] = 0x80 | 13 << 3 | (UNITS - 1);
	/* Behind the unit that is run: RESUME, of a frame that awaits. */
	at(s, addr)[l->code.code + 2 * 3] = (uint8_t)l->gen.yield_from_opcodes[0];
	at(s, addr)[l->code.code + 2 * 3 + 1] = (uint8_t)l->gen.yield_from_arg;
	return addr;
}

void synthetic_tasks_await(struct synthetic_tasks *s, uint64_t coroutine, uint64_t awaited)
{
	const struct layout *l = &s->target.layout;
	uint64_t frame = coroutine + (uint64_t)l->gen.iframe;
	int32_t depth = 2;

	memcpy(at(s, frame) + l->frame.stackpointer, &depth, sizeof(depth));
	synthetic_tasks_put(s, frame, l->frame.localsplus + 8, awaited);
}

/* A coroutine that is suspended in its third unit. */
static uint64_t coroutine(struct synthetic_tasks *s, uint64_t of, uint64_t awaited)
{
	const struct layout *l = &s->target.layout;
	uint64_t addr =
		object(s, TYPE_COROUTINE, (size_t)(l->gen.iframe + l->frame.localsplus) + 4 * 8);
	uint64_t frame = addr + (uint64_t)l->gen.iframe;

	at(s, addr)[l->gen.frame_state] = (uint8_t)l->gen.suspended;
	at(s, frame)[l->frame.owner] = (uint8_t)l->frame.owner_generator;
	synthetic_tasks_put(s, frame, l->frame.executable, of);
	synthetic_tasks_put(s, frame, l->frame.instr_ptr, of + (uint64_t)l->code.code + 2 * 2);
	synthetic_tasks_await(s, addr, awaited);
	return addr;
}

static void make_types(struct synthetic_tasks *s)
{
	const struct layout *l = &s->target.layout;

	for (int i = 0; i < TYPE_COUNT; i++) {
		uint64_t name = take(s, strlen(type_names[i]) + 1);
		bool heap = i == TYPE_WEAK_SET || i == TYPE_LOOP;

		strcpy((char *)at(s, name), type_names[i]);
		/* What is looked at of a type ends with its dict's place. */
		s->types[i] = take(s, (size_t)l->type.tp_dictoffset + 8);
		synthetic_tasks_put(s, s->types[i], l->type.tp_name, name);
		synthetic_tasks_put(s, s->types[i], l->type.tp_flags, heap ? FLAG_HEAP : 0);
	}
	synthetic_tasks_put(s, s->types[TYPE_TASK], l->type.tp_base, s->types[TYPE_FUTURE]);
	synthetic_tasks_put(s, s->types[TYPE_WEAK_SET], l->type.tp_dictoffset, 16);
}

static uint64_t future(struct synthetic_tasks *s)
{
	return object(s, TYPE_FUTURE, (size_t)s->target.layout.task.state + 8);
}

static uint64_t tuple(struct synthetic_tasks *s, uint64_t item)
{
	const struct layout *l = &s->target.layout;
	uint64_t addr = object(s, TYPE_TUPLE, (size_t)l->tuple.ob_item + 8);

	synthetic_tasks_put(s, addr, l->tuple.ob_size, 1);
	synthetic_tasks_put(s, addr, l->tuple.ob_item, item);
	return addr;
}

/* What wakes a task up that waits for a future. */
static uint64_t wakeup(struct synthetic_tasks *s, uint64_t task)
{
	const struct layout *l = &s->target.layout;
	uint64_t function = object(s, TYPE_BUILTIN, (size_t)l->inner.method_self + 8);

	synthetic_tasks_put(s, function, l->inner.method_self, task);
	return function;
}

/* Room behind which the next objects are in one block. */
static void align(struct synthetic_tasks *s)
{
	while (s->used % 256)
		take(s, 16);
}

/* asyncio's callback that holds a future. */
static uint64_t callback(struct synthetic_tasks *s, uint64_t globals, uint64_t held)
{
	const struct layout *l = &s->target.layout;
	uint64_t function = object(s, TYPE_FUNCTION, (size_t)l->inner.function_closure + 8);
	uint64_t cell = object(s, TYPE_CELL, 24);

	synthetic_tasks_put(s, cell, l->inner.first, held);
	synthetic_tasks_put(s, function, l->inner.function_globals, globals);
	synthetic_tasks_put(s, function, l->inner.function_closure, tuple(s, cell));
	return function;
}

static void make_tasks(struct synthetic_tasks *s, uint64_t globals)
{
	struct layout *l = &s->target.layout;
	uint64_t outer = code(s, "outer", 10), inner = code(s, "inner", 20), gathering, table;

	align(s);
	gathering = future(s);
	s->another = callback(s, globals, gathering);
	table = take(s, 8 * 16);
	for (int i = 0; i < SYNTHETIC_TASKS; i++) {
		uint64_t task = object(s, TYPE_TASK, 256), waiter = i == 0   ? gathering
								    : i == 2 ? s->tasks[1]
									     : future(s);
		char name[16];

		snprintf(name, sizeof(name), "task %d", i);
		s->tasks[i] = task;
		s->inner[i] = coroutine(s, inner, waiter);
		s->outer[i] = coroutine(s, outer, s->inner[i]);
		synthetic_tasks_put(s, task, l->task.loop, s->loop);
		synthetic_tasks_put(s, task, l->task.coro, s->outer[i]);
		synthetic_tasks_put(s, task, l->task.name, string(s, name));
		synthetic_tasks_put(s, task, l->task.fut_waiter, waiter);
		if (i) {
			s->callbacks[i] = callback(s, globals, gathering);
			synthetic_tasks_put(s, task, l->task.callback0, s->callbacks[i]);
		}
		if (!s->lists) {
			uint64_t ref = object(s, TYPE_REF, 32);

			synthetic_tasks_put(s, ref, l->inner.first, task);
			synthetic_tasks_put(s, table, 16 * 2 * i, ref);
		}
	}
	synthetic_tasks_put(s, gathering, l->task.callback0, wakeup(s, s->tasks[0]));
	synthetic_tasks_put(s, s->set, l->set.mask, 7);
	synthetic_tasks_put(s, s->set, l->set.table, table);
}

/* The fields that only later versions have, behind those of 3.11. */
static void make_lists(struct synthetic_tasks *s)
{
	const struct layout *l = &s->target.layout;
	uint64_t head = s->tstate + (uint64_t)l->tstate.asyncio_tasks, last = head;
	uint64_t both = object(s, TYPE_SET, 64), table = take(s, 8 * 16);

	for (int i = 0; i < SYNTHETIC_TASKS; i++) {
		uint64_t node = s->tasks[i] + (uint64_t)l->task.node;

		synthetic_tasks_put(s, last, l->llist.next, node);
		synthetic_tasks_put(s, node, l->llist.prev, last);
		last = node;
	}
	synthetic_tasks_put(s, last, l->llist.next, head);
	synthetic_tasks_put(s, head, l->llist.prev, last);
	head = s->interp + (uint64_t)l->interp.asyncio_tasks;
	synthetic_tasks_put(s, head, l->llist.next, head);
	synthetic_tasks_put(s, head, l->llist.prev, head);
	synthetic_tasks_put(s, s->tasks[2], l->task.awaited_by, s->tasks[0]);
	synthetic_tasks_put(s, both, l->set.mask, 7);
	synthetic_tasks_put(s, both, l->set.table, table);
	synthetic_tasks_put(s, table, 0, s->tasks[0]);
	synthetic_tasks_put(s, table, 32, s->tasks[2]);
	synthetic_tasks_put(s, s->tasks[1], l->task.awaited_by, both);
	at(s, s->tasks[1])[l->task.awaited_by_is_set] = 1;
}

void synthetic_tasks_init(struct synthetic_tasks *s, bool lists)
{
	static const char *const running[] = {"__asyncio_running_event_loop__"};
	static const char *const modules[] = {"asyncio.tasks", "asyncio.futures"};
	static const char *const task_names[] = {"_CTask", "_all_tasks"};
	static const char *const future_names[] = {"_CFuture"};
	static const char *const data[] = {"data"};
	struct layout *l = &s->target.layout;
	uint64_t weak_set, globals, futures, values[2];

	memset(s, 0, sizeof(*s));
	s->lists = lists;
	*l = *layout_rows(0x030b0000, false);
	if (lists) {
		l->tstate.asyncio_loop = l->tstate.size;
		l->tstate.asyncio_tasks = l->tstate.size + 8;
		l->tstate.asyncio_task = l->tstate.size + 24;
		l->interp.asyncio_tasks = l->interp.modules + 8;
		l->task.awaited_by = 200;
		l->task.awaited_by_is_set = 208;
		l->task.node = 216;
	}
	memory_new_image(&s->target.memory, s->image, SYNTHETIC_TASKS_SIZE, SYNTHETIC_TASKS_BASE);
	s->target.runtime = take(s, 64);
	make_types(s);
	s->none = object(s, TYPE_NONE, 16);
	s->loop = object(s, TYPE_LOOP, 16);
	s->interp = take(s, (size_t)l->interp.modules + 32);
	s->tstate = take(s, (size_t)l->tstate.size + 32);
	synthetic_tasks_put(s, s->target.runtime, l->runtime.interpreters_head, s->interp);
	synthetic_tasks_put(s, s->interp, l->interp.threads_head, s->tstate);
	synthetic_tasks_put(s, s->tstate, l->tstate.interp, s->interp);
	synthetic_tasks_put(s, s->tstate, l->tstate.thread_id, 77);
	synthetic_tasks_put(s, s->tstate, l->tstate.cframe, take(s, 32));
	if (lists)
		synthetic_tasks_put(s, s->tstate, l->tstate.asyncio_loop, s->loop);
	else
		synthetic_tasks_put(s, s->tstate, l->tstate.dict, dict(s, 1, running, &s->loop));
	s->set = object(s, TYPE_SET, 64);
	weak_set = object(s, TYPE_WEAK_SET, 24);
	synthetic_tasks_put(s, weak_set, 16, dict(s, 1, data, &s->set));
	values[0] = s->types[TYPE_TASK];
	values[1] = weak_set;
	globals = dict(s, 2, task_names, values);
	values[0] = s->types[TYPE_FUTURE];
	futures = dict(s, 1, future_names, values);
	values[0] = module(s, globals);
	values[1] = module(s, futures);
	s->modules = dict(s, 2, modules, values);
	synthetic_tasks_put(s, s->interp, l->interp.modules, s->modules);
	make_tasks(s, globals);
	if (lists)
		make_lists(s);
}

/* The row that holds for this version. */
static const struct greenlet_layout *greenlet_layout(const struct synthetic_tasks *s)
{
	const struct greenlet_layout *gl = layout_greenlets;

	while (s->target.layout.version < gl->from || gl->self == ABSENT || gl->to <= 0x030b0000)
		gl++;
	return gl;
}

uint64_t synthetic_tasks_greenlet_type(const struct synthetic_tasks *s)
{
	return s->types[TYPE_GREENLET];
}

/* A frame of the datastack, or of a C stack. */
static uint64_t plain_frame(struct synthetic_tasks *s, uint64_t of, uint64_t previous)
{
	const struct layout *l = &s->target.layout;
	uint64_t frame = take(s, (size_t)l->frame.size + 8);

	at(s, frame)[l->frame.owner] = (uint8_t)l->frame.owner_thread;
	synthetic_tasks_put(s, frame, l->frame.executable, of);
	synthetic_tasks_put(s, frame, l->frame.previous, previous);
	synthetic_tasks_put(s, frame, l->frame.instr_ptr, of + (uint64_t)l->code.code + 2 * 2);
	return frame;
}

/* Objects of the collector's first list, one behind the other. */
static void make_lists_of(struct synthetic_tasks *s)
{
	const struct layout *l = &s->target.layout;
	uint64_t last = s->gc_lists;

	for (int i = 0; i < 4; i++) {
		uint64_t head = s->gc_lists +
				(uint64_t)(i < 3 ? i * l->gc.generation_size : l->gc.permanent);

		synthetic_tasks_put(s, head, 0, head);
		synthetic_tasks_put(s, head, 8, head);
	}
	for (int i = 0; i < SYNTHETIC_GREENLETS; i++) {
		uint64_t node = s->greenlets[i] - 16;

		synthetic_tasks_put(s, last, 0, node);
		synthetic_tasks_put(s, node, 8, last);
		last = node;
	}
	synthetic_tasks_put(s, last, 0, s->gc_lists);
	synthetic_tasks_put(s, s->gc_lists, 8, last);
}

void synthetic_tasks_add_greenlets(struct synthetic_tasks *s)
{
	static const char *const name[] = {"greenlet"};
	const struct layout *l = &s->target.layout;
	const struct greenlet_layout *gl = greenlet_layout(s);
	uint64_t type = s->types[TYPE_GREENLET], table, entry, n, newer, older, kept, object_;

	synthetic_tasks_put(s, type, l->type.tp_basicsize, (uint64_t)gl->basicsize);
	for (int i = 0; i < SYNTHETIC_GREENLETS; i++) {
		take(s, 16);
		s->greenlets[i] = object(s, TYPE_GREENLET, (size_t)gl->basicsize);
		s->state[i] = take(s, (size_t)gl->parent + 8);
		synthetic_tasks_put(s, s->greenlets[i], 0, 1);
		synthetic_tasks_put(s, s->greenlets[i], gl->pimpl, s->state[i]);
		synthetic_tasks_put(s, s->state[i], gl->self, s->greenlets[i]);
		if (i)
			synthetic_tasks_put(s, s->state[i], gl->parent, s->greenlets[0]);
	}
	synthetic_tasks_put(s, s->state[0], gl->stack, 1);
	synthetic_tasks_put(s, s->state[0], gl->stack + 8, UINT64_MAX);
	/* The newer frame's place holds another's now. */
	older = plain_frame(s, code(s, "older", 30), 0);
	kept = plain_frame(s, code(s, "newer", 40), older);
	newer = take(s, (size_t)l->frame.size + 8);
	object_ = object(s, TYPE_FRAME, 48);
	synthetic_tasks_put(s, object_, l->inner.frame_object, newer);
	synthetic_tasks_put(s, s->state[1], gl->stack, newer - 16);
	synthetic_tasks_put(s, s->state[1], gl->stack + 8, newer + 4096);
	synthetic_tasks_put(s, s->state[1], gl->stack + 16, kept - 16);
	synthetic_tasks_put(s, s->state[1], gl->stack + 24, 16 + (uint64_t)l->frame.size);
	synthetic_tasks_put(s, s->state[1], gl->top_frame, object_);
	synthetic_tasks_put(s, s->state[1], gl->frame, newer);
	s->gc_lists = s->interp + (uint64_t)(l->interp.gc_collecting - l->gc.generations);
	make_lists_of(s);
	/* One module more. */
	table = synthetic_tasks_get(s, s->modules, l->dict.ma_keys);
	n = synthetic_tasks_get(s, table, l->dict.keys_nentries);
	entry = table + (uint64_t)l->dict.keys_header + 8 + 24 * n;
	synthetic_tasks_put(s, entry, 8, string(s, name[0]));
	synthetic_tasks_put(s, entry, 16, module(s, dict(s, 1, name, &type)));
	synthetic_tasks_put(s, table, l->dict.keys_nentries, n + 1);
}

void synthetic_tasks_done(struct synthetic_tasks *s)
{
	memory_free(s->target.memory);
}
