#include "formats/model.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "formats/opcode.h"
#include "formats/table.h"
#include "formats/timeline.h"

#define ARENA_BLOCK (256u << 10)
#define GAP_FACTOR  10 /* intervals */

#define MAX_RUNS      64 /* of samples on a CPU that wait to be told how much of it they used */
#define MAX_COMPARED  64 /* streams that each other one's boot is held against */
#define CPU_WINDOW_NS 20000000u /* five ticks of a usual kernel */

/* What a local stack id stands for, with the count that it went to last: most samples of a stack
 * come from one thread. */
struct local_stack {
	uint32_t node, thread, count;
	uint32_t native; /* the node with a <native> leaf; 0 not made yet */
	/* The node of the stack as that of a task, for the last that it was of. */
	uint32_t task, below, task_node;
};

enum { LOCAL_STRING, LOCAL_FUNCTION, LOCAL_FRAME, LOCAL_THREAD, LOCAL_TASK, LOCAL_COUNT };

/* A segment's ids, by kind. Not cleared between segments: the reader checks that an id is defined
 * before anything refers to it. */
struct local {
	uint32_t *ids[LOCAL_COUNT];
	uint32_t caps[LOCAL_COUNT];
	struct local_stack *stacks;
	uint32_t stack_cap;
	uint64_t interval_ns, cap_ns; /* the weight of a first sample; the most that one weighs */
	enum mode mode, recorded;
	bool sifted;  /* while recording: there are samples that were not asked for */
	bool tachyon; /* as in the header */
};

struct arena_block {
	struct arena_block *next;
	size_t used, size;
	char data[];
};

/* Strings are found by their bytes, not by what the table holds of them. */
struct string_key {
	uint64_t low, high; /* XXH3, 128 bits: two strings are never taken for one by chance */
};

struct string_item {
	struct string_key key;
	uint32_t len;
};

/* The CPU time of one thread, on its way to stacks. The kernel's account of a thread that runs is
 * brought up to date at its ticks, and when it stops running: only over some of them is it exact,
 * so what was used goes to all samples on a CPU since the thread last was on none, or in
 * CPU_WINDOW_NS, in proportion to the time that each stands for. */
struct cpu_share {
	struct cpu_run {
		uint32_t count; /* 0: samples that are not asked for */
		uint64_t weight;
	} runs[MAX_RUNS];
	unsigned n_runs;
	uint64_t window_ns, used_ns;
	uint64_t rest_ns; /* less than a sample */
	uint32_t last;	  /* where the last of it went, while no sample was on none since */
	bool was_on;
};

struct model_private {
	struct model_options options;
	struct timeline timeline;
	struct cpu_share *cpu; /* by thread; in MODE_CPU only */
	uint32_t cpu_cap;
	uint8_t *taken_functions, *taken_nodes; /* by selected: by function, by node */
	uint32_t taken_function_cap, taken_node_cap;
	uint32_t native_frame;
	uint32_t *path; /* of nodes, while one stack is put on another */
	uint32_t path_cap;
	struct table string_index; /* of struct string_item; the same numbers as strings */
	struct model_string *strings;
	uint32_t string_cap;
	struct arena_block *arena;
	struct table functions, frames, nodes, threads, counts, tasks;
	uint32_t *awaiters;
	uint32_t awaiter_count, awaiter_cap;
	struct model_process *processes;
	struct local *locals; /* by process */
	uint32_t process_cap;
	const char **sources; /* by number; 0 has no name */
	uint32_t source_count;
	char **warnings;
};

static void publish(struct model *m)
{
	struct model_private *p = m->p;

	m->strings = p->strings;
	m->string_count = p->string_index.count;
	m->functions = (const void *)p->functions.items;
	m->function_count = p->functions.count;
	m->frames = (const void *)p->frames.items;
	m->frame_count = p->frames.count;
	m->nodes = (const void *)p->nodes.items;
	m->node_count = p->nodes.count;
	m->threads = (const void *)p->threads.items;
	m->thread_count = p->threads.count;
	m->counts = (const struct model_count *)(const void *)p->counts.items + 1;
	m->count_count = p->counts.count - 1;
	m->tasks = (const void *)p->tasks.items;
	m->task_count = p->tasks.count;
	m->awaiters = p->awaiters;
	m->processes = p->processes;
	m->warnings = (const char *const *)p->warnings;
}

int model_new(struct model **ret, const struct model_options *options)
{
	struct model *m = calloc(1, sizeof(*m));
	struct model_private *p = calloc(1, sizeof(*p));

	if (!m || !p) {
		free(m);
		free(p);
		return -ENOMEM;
	}
	m->p = p;
	if (options)
		p->options = *options;
	p->timeline.open = p->options.timeline;
	m->mode = p->options.mode;
	m->opcodes = p->options.opcodes;
	p->string_cap = 64;
	p->strings = calloc(p->string_cap, sizeof(*p->strings));
	p->warnings = calloc(MODEL_MAX_WARNINGS, sizeof(*p->warnings));
	if (!p->strings || !p->warnings ||
	    table_init(&p->string_index, sizeof(struct string_item), sizeof(struct string_key)) <
		    0 ||
	    table_init(&p->functions, sizeof(struct model_function),
		       sizeof(struct model_function)) < 0 ||
	    table_init(&p->frames, sizeof(struct model_frame), sizeof(struct model_frame)) < 0 ||
	    table_init(&p->nodes, sizeof(struct model_node), offsetof(struct model_node, depth)) <
		    0 ||
	    table_init(&p->threads, sizeof(struct model_thread),
		       offsetof(struct model_thread, tid)) < 0 ||
	    table_init(&p->counts, sizeof(struct model_count),
		       offsetof(struct model_count, count)) < 0 ||
	    table_init(&p->tasks, sizeof(struct model_task), offsetof(struct model_task, loop)) <
		    0) {
		model_free(m);
		return -ENOMEM;
	}
	p->strings[0].bytes = "";
	publish(m);
	*ret = m;
	return 0;
}

static void local_done(struct local *l)
{
	for (int i = 0; i < LOCAL_COUNT; i++)
		free(l->ids[i]);
	free(l->stacks);
	memset(l->ids, 0, sizeof(l->ids));
	memset(l->caps, 0, sizeof(l->caps));
	l->stacks = NULL;
	l->stack_cap = 0;
}

void model_free(struct model *m)
{
	struct model_private *p;

	if (!m)
		return;
	p = m->p;
	for (struct arena_block *b = p->arena, *next; b; b = next) {
		next = b->next;
		free(b);
	}
	for (uint32_t i = 0; i < m->process_count; i++)
		local_done(&p->locals[i]);
	for (uint32_t i = 0; i < m->warning_count; i++)
		free(p->warnings[i]);
	free(p->warnings);
	free(p->sources);
	free(p->cpu);
	free(p->taken_functions);
	free(p->taken_nodes);
	free(p->path);
	free(p->strings);
	free(p->processes);
	free(p->locals);
	table_done(&p->string_index);
	table_done(&p->functions);
	table_done(&p->frames);
	table_done(&p->nodes);
	table_done(&p->threads);
	table_done(&p->counts);
	table_done(&p->tasks);
	free(p->awaiters);
	timeline_done(&p->timeline);
	free(p);
	free(m);
}

/* ---- what the reader tells ---- */

static const char *arena_copy(struct model_private *p, const char *bytes, size_t len)
{
	struct arena_block *b = p->arena;
	char *to;

	if (!b || b->size - b->used <= len) {
		size_t size = len + 1 > ARENA_BLOCK ? len + 1 : ARENA_BLOCK;

		b = malloc(sizeof(*b) + size);
		if (!b)
			return NULL;
		*b = (struct arena_block){.next = p->arena, .size = size};
		p->arena = b;
	}
	to = b->data + b->used;
	memcpy(to, bytes, len);
	to[len] = '\0';
	b->used += len + 1;
	return to;
}

int model_source(struct model *m, const char *name)
{
	struct model_private *p = m->p;
	const char **sources =
		reallocarray(p->sources, (size_t)p->source_count + 2, sizeof(*sources));
	const char *copy = arena_copy(p, name, strlen(name));

	if (sources)
		p->sources = sources;
	if (!sources || !copy)
		return -ENOMEM;
	sources[0] = "";
	sources[++p->source_count] = copy;
	return 0;
}

static int set_local(struct local *l, int kind, uint32_t id, uint32_t value)
{
	if (value == 0)
		return -ENOMEM;
	if (id >= l->caps[kind]) {
		uint32_t cap = l->caps[kind] ? l->caps[kind] : 256, *ids;

		while (cap <= id)
			cap *= 2;
		ids = reallocarray(l->ids[kind], cap, sizeof(*ids));
		if (!ids)
			return -ENOMEM;
		l->ids[kind] = ids;
		l->caps[kind] = cap;
	}
	l->ids[kind][id] = value;
	return 0;
}

static uint32_t get_local(const struct local *l, int kind, uint32_t id)
{
	return id ? l->ids[kind][id] : 0;
}

/* Room for the process of a stream, and of those before it that have not said a header yet. */
static int add_processes(struct model *m, uint32_t stream)
{
	struct model_private *p = m->p;

	while (m->process_count <= stream) {
		if (m->process_count == p->process_cap) {
			uint32_t cap = p->process_cap ? 2 * p->process_cap : 1;
			struct model_process *processes =
				reallocarray(p->processes, cap, sizeof(*processes));
			struct local *locals;

			if (!processes)
				return -ENOMEM;
			p->processes = processes;
			locals = reallocarray(p->locals, cap, sizeof(*locals));
			if (!locals)
				return -ENOMEM;
			p->locals = locals;
			p->process_cap = cap;
		}
		p->processes[m->process_count] = (struct model_process){.source = p->source_count};
		p->locals[m->process_count++] = (struct local){
			.cap_ns = MODEL_GAP_NS, .mode = MODE_WALL, .recorded = MODE_WALL};
	}
	return 0;
}

uint64_t model_interval(const struct stream_header *h)
{
	if (!(h->rate_hz > 0 && h->rate_hz <= 1e9))
		return 0;
	return 1e9 / h->rate_hz < 3.6e12 ? (uint64_t)(1e9 / h->rate_hz) : 3600000000000;
}

static int on_header(void *arg, uint32_t stream, const struct stream_header *h)
{
	struct model *m = arg;
	struct model_private *p = m->p;
	struct local *l;

	/* A stream that begins again: what went before under its number has ended. */
	for (uint32_t i = 0; i < m->process_count; i++)
		if (p->processes[i].header.stream_id == h->stream_id)
			local_done(&p->locals[i]);
	if (add_processes(m, stream) < 0)
		return -ENOMEM;
	p->processes[stream].header = *h;
	l = &p->locals[stream];
	l->interval_ns = model_interval(h);
	if (GAP_FACTOR * l->interval_ns > l->cap_ns)
		l->cap_ns = GAP_FACTOR * l->interval_ns;
	l->recorded = mode_find(h->mode);
	if (l->recorded == MODE_COUNT)
		l->recorded = MODE_WALL;
	l->sifted = h->selected[0] || l->recorded != MODE_WALL;
	l->tachyon = h->tachyon;
	/* There what lies between two samples of a mode may be of another one. */
	if (l->tachyon && l->recorded != MODE_WALL)
		l->cap_ns = l->interval_ns;
	l->mode = p->options.mode ? p->options.mode : l->recorded;
	if (!m->mode)
		m->mode = l->mode;
	publish(m);
	return 0;
}

/* The index of the string; 0 when memory is short. */
static uint32_t add_string(struct model *m, const struct stream_string *s)
{
	struct model_private *p = m->p;
	XXH128_hash_t hash = XXH3_128bits(s->bytes, s->len);
	struct string_key key = {hash.low64, hash.high64};
	uint32_t before = p->string_index.count, i = table_intern(&p->string_index, &key);

	if (i == 0)
		return 0;
	if (p->string_index.count > before) {
		if (i >= p->string_cap) {
			struct model_string *strings =
				reallocarray(p->strings, 2 * p->string_cap, sizeof(*strings));

			if (!strings)
				return 0;
			p->strings = strings;
			p->string_cap *= 2;
		}
		p->strings[i].bytes = arena_copy(p, s->bytes, s->len);
		p->strings[i].len = s->len;
		if (!p->strings[i].bytes)
			return 0;
		publish(m);
	}
	return i;
}

static int on_string(void *arg, uint32_t stream, uint32_t id, const struct stream_string *s)
{
	struct model *m = arg;

	return set_local(&m->p->locals[stream], LOCAL_STRING, id, add_string(m, s));
}

/* A byte of a growing array. */
static int put_byte(uint8_t **array, uint32_t *cap, uint32_t i, uint8_t value)
{
	uint32_t more = *cap ? *cap : 256;
	uint8_t *bytes;

	while (more <= i)
		more *= 2;
	if (more != *cap) {
		bytes = realloc(*array, more);
		if (!bytes)
			return -ENOMEM;
		memset(bytes + *cap, 0, more - *cap);
		*array = bytes;
		*cap = more;
	}
	(*array)[i] = value;
	return 0;
}

static bool selects_functions(const struct model_options *o)
{
	return o->selected.function || o->selected.source;
}

static int on_function(void *arg, uint32_t stream, uint32_t id, const struct stream_function *f)
{
	struct model *m = arg;
	struct local *l = &m->p->locals[stream];
	struct model_function key = {get_local(l, LOCAL_STRING, f->name),
				     get_local(l, LOCAL_STRING, f->file), f->first_line, f->kind};
	uint32_t i = table_intern(&m->p->functions, &key);
	int r = set_local(l, LOCAL_FUNCTION, id, i);

	if (r == 0 && selects_functions(&m->p->options))
		r = put_byte(&m->p->taken_functions, &m->p->taken_function_cap, i,
			     selection_takes_function(&m->p->options.selected,
						      m->strings[key.name].bytes,
						      m->strings[key.file].bytes));
	publish(m);
	return r;
}

static int on_frame(void *arg, uint32_t stream, uint32_t id, const struct stream_frame *f)
{
	struct model *m = arg;
	struct local *l = &m->p->locals[stream];
	struct model_frame key = {get_local(l, LOCAL_FUNCTION, f->function),
				  f->line,
				  f->end_line,
				  f->column,
				  f->end_column,
				  0};
	int r = set_local(l, LOCAL_FRAME, id, table_intern(&m->p->frames, &key));

	publish(m);
	return r;
}

static int on_op(void *arg, uint32_t stream, uint32_t id, uint16_t op)
{
	struct model *m = arg;
	struct local *l = &m->p->locals[stream];
	struct model_frame key;
	int r;

	m->p->processes[stream].has_opcodes = true;
	if (!m->p->options.opcodes)
		return 0;
	key = m->frames[get_local(l, LOCAL_FRAME, id)];
	key.op = opcode_number(m->p->processes[stream].header.python, op);
	r = set_local(l, LOCAL_FRAME, id, table_intern(&m->p->frames, &key));
	publish(m);
	return r;
}

static int reserve_stacks(struct local *l, uint32_t id)
{
	uint32_t cap = l->stack_cap ? l->stack_cap : 256;
	struct local_stack *stacks;

	if (id < l->stack_cap)
		return 0;
	while (cap <= id)
		cap *= 2;
	stacks = reallocarray(l->stacks, cap, sizeof(*stacks));
	if (!stacks)
		return -ENOMEM;
	if (!l->stacks)
		stacks[0] = (struct local_stack){.thread = UINT32_MAX};
	l->stacks = stacks;
	l->stack_cap = cap;
	return 0;
}

/* The node of a frame called by that of parent; 0 when memory is short. */
static uint32_t add_node(struct model *m, uint32_t parent, uint32_t frame)
{
	struct model_private *p = m->p;
	struct model_node key = {.parent = parent, .frame = frame}, *nodes;
	uint32_t node = table_intern(&p->nodes, &key);

	if (node == 0)
		return 0;
	nodes = (void *)p->nodes.items;
	nodes[node].depth = nodes[parent].depth + 1;
	if (selects_functions(&p->options)) {
		const struct model_frame *frames = (const void *)p->frames.items;
		uint32_t function = frames[frame].function;
		bool taken = (parent && p->taken_nodes[parent]) ||
			     (function && p->taken_functions[function]);

		if (put_byte(&p->taken_nodes, &p->taken_node_cap, node, taken) < 0)
			return 0;
	}
	return node;
}

/* Frames that say what was called, not who: whether they are wanted. */
static bool is_shown(const struct model *m, const struct local *l, uint32_t frame)
{
	switch (m->functions[m->frames[frame].function].kind) {
	case STREAM_FRAME_NATIVE:
		return m->p->options.native || l->tachyon;
	case STREAM_FRAME_GC:
		return !m->p->options.no_gc;
	default:
		return true;
	}
}

static int on_stack(void *arg, uint32_t stream, uint32_t id, const struct stream_stack *s)
{
	struct model *m = arg;
	struct local *l = &m->p->locals[stream];
	uint32_t frame = get_local(l, LOCAL_FRAME, s->frame), node;

	if (reserve_stacks(l, id) < 0)
		return -ENOMEM;
	node = s->parent ? l->stacks[s->parent].node : 0;
	if (is_shown(m, l, frame)) {
		node = add_node(m, node, frame);
		if (node == 0)
			return -ENOMEM;
	}
	l->stacks[id] = (struct local_stack){.node = node, .thread = UINT32_MAX};
	publish(m);
	return 0;
}

static int on_thread(void *arg, uint32_t stream, uint32_t id, const struct stream_thread *t)
{
	struct model *m = arg;
	struct model_private *p = m->p;
	struct local *l = &p->locals[stream];
	struct model_thread key = {.process = stream, .serial = t->serial}, *thread;
	uint32_t i = table_intern(&p->threads, &key);
	int r = set_local(l, LOCAL_THREAD, id, i);

	if (r < 0)
		return r;
	thread = (struct model_thread *)(void *)p->threads.items + i;
	thread->tid = t->tid;
	thread->ident = t->ident;
	thread->interpreter = t->interpreter;
	thread->main = t->main;
	/* A name that was given later is the better one; none does not take it away. */
	if (t->name)
		thread->name = get_local(l, LOCAL_STRING, t->name);
	thread->unselected = !selection_takes_thread(
		&p->options.selected, m->strings[thread->name].bytes, t->tid, t->ident);
	publish(m);
	return 0;
}

static int on_task(void *arg, uint32_t stream, uint32_t id, const struct stream_task *t)
{
	struct model *m = arg;
	struct model_private *p = m->p;
	struct local *l = &p->locals[stream];
	struct model_task key = {.process = stream, .addr = t->addr}, *task;
	uint32_t i = table_intern(&p->tasks, &key);
	int r = set_local(l, LOCAL_TASK, id, i);

	if (r < 0)
		return r;
	task = (struct model_task *)(void *)p->tasks.items + i;
	task->loop = t->loop;
	task->thread = get_local(l, LOCAL_THREAD, t->thread);
	task->name = get_local(l, LOCAL_STRING, t->name);
	publish(m);
	return 0;
}

static int reserve_awaiters(struct model_private *p, uint32_t n)
{
	uint32_t cap = p->awaiter_cap ? p->awaiter_cap : 256;
	uint32_t *awaiters;

	if (n <= p->awaiter_cap - p->awaiter_count)
		return 0;
	while (cap - p->awaiter_count < n) {
		if (cap > UINT32_MAX / 4)
			return -ENOMEM;
		cap *= 2;
	}
	awaiters = reallocarray(p->awaiters, cap, sizeof(*awaiters));
	if (!awaiters)
		return -ENOMEM;
	p->awaiters = awaiters;
	p->awaiter_cap = cap;
	return 0;
}

static int on_task_state(void *arg, uint32_t stream, const struct stream_task_state *s)
{
	struct model *m = arg;
	struct model_private *p = m->p;
	struct local *l = &p->locals[stream];
	struct model_task *t =
		(struct model_task *)(void *)p->tasks.items + l->ids[LOCAL_TASK][s->task];

	if (reserve_stacks(l, 0) < 0)
		return -ENOMEM;
	/* Seen again with no more awaiters than before, it keeps its place. */
	if (s->n_awaiters > t->n_awaiters) {
		if (reserve_awaiters(p, s->n_awaiters) < 0)
			return -ENOMEM;
		t->first_awaiter = p->awaiter_count;
		p->awaiter_count += s->n_awaiters;
	}
	t->n_awaiters = s->n_awaiters;
	for (uint32_t i = 0; i < s->n_awaiters; i++)
		p->awaiters[t->first_awaiter + i] = l->ids[LOCAL_TASK][s->awaiters[i]];
	t->seen = true;
	t->time_ns = s->time_ns;
	t->node = s->stack ? l->stacks[s->stack].node : 0;
	t->state = s->state;
	t->problem = s->problem;
	publish(m);
	return 0;
}

static int on_tasks(void *arg, uint32_t stream, const struct stream_tasks *t)
{
	struct model *m = arg;

	m->p->processes[stream].tasks = *t;
	m->p->processes[stream].has_tasks = true;
	return 0;
}

/* Samples of no thread that is known belong to one without a number. */
static int no_thread(struct model *m, uint32_t stream)
{
	struct local *l = &m->p->locals[stream];
	struct model_thread key = {.process = stream};

	uint32_t i = table_intern(&m->p->threads, &key);

	if (i && m->p->options.selected.thread)
		((struct model_thread *)(void *)m->p->threads.items)[i].unselected = true;
	return set_local(l, LOCAL_THREAD, 0, i);
}

static bool wanted(const struct model *m, const struct model_thread *t, uint32_t node,
		   uint16_t state, uint64_t since_ns)
{
	const struct model_options *o = &m->p->options;

	return (state & o->states) == o->states && !(state & o->not_states) &&
	       (!o->main_only || t->main) && since_ns >= o->from_ns &&
	       (o->to_ns == 0 || since_ns < o->to_ns) && !t->unselected &&
	       (!selects_functions(o) || (node && m->p->taken_nodes[node]));
}

/* Whether a thread on a stack is in C code at its leaf: it does not hold the GIL, and does not wait
 * for it either. -1: not known. */
static int is_native(const struct stream_header *h, uint16_t state)
{
	if (!(state & STREAM_STATE_GIL_KNOWN))
		return -1;
	if (state & (STREAM_STATE_GIL | STREAM_STATE_SUSPENDED | STREAM_STATE_GIL_WAIT))
		return 0;
	return h->free_threaded || state & STREAM_STATE_GIL_WAIT_KNOWN ? 1 : -1;
}

static uint32_t intern_native(struct model *m, uint32_t stream)
{
	static const struct stream_string name = {"<native>", 8};
	struct model_private *p = m->p;
	struct local *l = &p->locals[stream];
	struct model_function f = {.kind = STREAM_FRAME_NATIVE};
	struct model_frame key = {.line = -1, .end_line = -1, .column = -1, .end_column = -1};

	if (p->native_frame)
		return p->native_frame;
	/* Under the id 0, which no definition has. */
	if (on_string(m, stream, 0, &name) < 0)
		return 0;
	f.name = l->ids[LOCAL_STRING][0];
	key.function = table_intern(&p->functions, &f);
	if (key.function == 0 ||
	    (selects_functions(&p->options) &&
	     put_byte(&p->taken_functions, &p->taken_function_cap, key.function,
		      selection_takes_function(&p->options.selected, name.bytes, "")) < 0))
		return 0;
	return p->native_frame = table_intern(&p->frames, &key);
}

/* The node of a sample: with a <native> leaf where that is asked for and so. plain: the node
 * without. UINT32_MAX when memory is short. */
static uint32_t node_of(struct model *m, uint32_t stream, struct local_stack *stack, uint32_t plain,
			uint16_t state)
{
	struct model_process *process = &m->p->processes[stream];
	uint32_t frame, node;
	int native;

	if (!m->p->options.native || plain == 0)
		return plain;
	native = is_native(&process->header, state);
	if (native < 0)
		process->unknown_native++;
	if (native <= 0)
		return plain;
	if (plain == stack->node && stack->native)
		return stack->native;
	/* C code that is about to call Python has its frame already. */
	if (m->functions[m->frames[m->nodes[plain].frame].function].kind == STREAM_FRAME_NATIVE)
		return plain;
	frame = intern_native(m, stream);
	publish(m);
	if (frame == 0)
		return UINT32_MAX;
	node = add_node(m, plain, frame);
	publish(m);
	if (plain == stack->node)
		stack->native = node;
	return node ? node : UINT32_MAX;
}

/* ---- tasks ---- */

/* The frames of node above below, put on onto. *ret 0: below is not below it. 0 or -ENOMEM. */
static int put_above(struct model *m, uint32_t node, uint32_t below, uint32_t onto, uint32_t *ret)
{
	struct model_private *p = m->p;
	uint32_t n = 0, want = m->nodes[node].depth;

	*ret = 0;
	if (m->nodes[below].depth > want)
		return 0;
	want -= m->nodes[below].depth;
	if (want > p->path_cap) {
		uint32_t *path = reallocarray(p->path, want, sizeof(*path));

		if (!path)
			return -ENOMEM;
		p->path = path;
		p->path_cap = want;
	}
	for (; n < want; node = m->nodes[node].parent)
		p->path[n++] = m->nodes[node].frame;
	if (node != below)
		return 0;
	while (n > 0) {
		onto = add_node(m, onto, p->path[--n]);
		if (!onto)
			return -ENOMEM;
	}
	publish(m);
	*ret = onto;
	return 0;
}

/* The node of a sample's stack as that of a task; 0: it is of none, or that is not known.
 * 0 or -ENOMEM. */
static int task_node(struct model *m, uint32_t stream, const struct stream_batch *b, size_t i,
		     uint32_t *ret)
{
	struct local *l = &m->p->locals[stream];
	struct model_process *process = &m->p->processes[stream];
	struct local_stack *stack = &l->stacks[b->stack[i]];
	uint32_t task = b->task[i], below = b->below[i];
	int r = 0;

	*ret = 0;
	process->any_task |= task != STREAM_SAMPLE_TASK_UNKNOWN;
	if (b->state[i] & STREAM_STATE_UNASKED)
		return 0;
	process->no_task += task == STREAM_SAMPLE_TASK_NONE;
	if (task > STREAM_SAMPLE_TASK_STACK &&
	    (stack->task != task || stack->below != below || !stack->task_node)) {
		stack->task = task;
		stack->below = below;
		r = put_above(m, stack->node, below ? l->stacks[below].node : 0,
			      l->stacks[task - STREAM_SAMPLE_TASK_STACK].node, &stack->task_node);
	}
	if (r < 0)
		return r;
	if (task > STREAM_SAMPLE_TASK_STACK)
		*ret = stack->task_node;
	process->unknown_task += !*ret && task != STREAM_SAMPLE_TASK_NONE;
	return 0;
}

/* The count of a thread on a node; 0 when memory is short. */
static uint32_t count_of(struct model_private *p, struct local_stack *stack, uint32_t thread,
			 uint32_t node)
{
	struct model_count key = {.thread = thread, .node = node};

	if (node != stack->node)
		return table_intern(&p->counts, &key);
	if (stack->thread != thread) {
		stack->count = table_intern(&p->counts, &key);
		stack->thread = thread;
	}
	return stack->count;
}

static void add_to_count(struct model *m, uint32_t count, uint64_t samples, uint64_t ns)
{
	struct model_count *c = (struct model_count *)(void *)m->p->counts.items + count;
	struct model_thread *t = (struct model_thread *)(void *)m->p->threads.items + c->thread;

	c->count += samples;
	c->ns += ns;
	t->samples += samples;
	t->ns += ns;
	m->samples += samples;
	m->ns += ns;
}

static void note_state(struct model_thread *t, uint32_t node, uint16_t state, uint8_t how)
{
	for (uint32_t bits = state; bits; bits &= bits - 1)
		t->states[__builtin_ctz(bits)]++;
	if (how < 3)
		t->how[how]++;
	t->last_node = node;
	t->last_state = state;
	t->last_how = how;
}

/* ---- CPU time ---- */

static struct cpu_share *share_of(struct model_private *p, uint32_t thread)
{
	if (thread >= p->cpu_cap) {
		uint32_t cap = p->cpu_cap ? p->cpu_cap : 16;
		struct cpu_share *cpu;

		while (cap <= thread)
			cap *= 2;
		cpu = reallocarray(p->cpu, cap, sizeof(*cpu));
		if (!cpu)
			return NULL;
		memset(cpu + p->cpu_cap, 0, (cap - p->cpu_cap) * sizeof(*cpu));
		p->cpu = cpu;
		p->cpu_cap = cap;
	}
	return &p->cpu[thread];
}

/* CPU time to a count, and as many samples as intervals fit into it. */
static void add_cpu(struct model *m, struct cpu_share *share, uint64_t interval, uint32_t count,
		    uint64_t ns)
{
	uint64_t n = 1;

	if (interval) {
		share->rest_ns += ns;
		n = share->rest_ns / interval;
		share->rest_ns %= interval;
	}
	if (count)
		add_to_count(m, count, n, ns);
}

/* What was used goes to the samples that were on a CPU. */
static void spread(struct model *m, struct cpu_share *share, uint64_t interval)
{
	double weights = 0;
	uint64_t given = 0;

	for (unsigned i = 0; i < share->n_runs; i++)
		weights += (double)share->runs[i].weight;
	for (unsigned i = 0; i < share->n_runs; i++) {
		const struct cpu_run *run = &share->runs[i];
		uint64_t part = (uint64_t)((double)share->used_ns * (double)run->weight / weights);

		if (i + 1 == share->n_runs || part > share->used_ns - given)
			part = share->used_ns - given;
		add_cpu(m, share, interval, run->count, part);
		given += part;
	}
	if (share->n_runs)
		share->used_ns = 0;
	share->n_runs = 0;
	share->window_ns = 0;
}

static void put_run(struct cpu_share *share, uint32_t count, uint64_t weight)
{
	struct cpu_run *last = share->n_runs ? &share->runs[share->n_runs - 1] : NULL;

	share->window_ns += weight;
	if (last && (last->count == count || share->n_runs == MAX_RUNS))
		last->weight += weight;
	else
		share->runs[share->n_runs++] = (struct cpu_run){count, weight + 1};
}

/* One sample; count 0: it is not asked for, but takes its part. */
static int take_cpu(struct model *m, const struct local *l, uint32_t thread, uint32_t count,
		    uint16_t state, uint64_t cpu_ns, uint64_t weight)
{
	struct cpu_share *share = share_of(m->p, thread);
	bool on = state & STREAM_STATE_CPU;

	if (!share)
		return -ENOMEM;
	if (state & STREAM_STATE_CPU_TIME_KNOWN)
		share->used_ns += cpu_ns;
	if (on) {
		put_run(share, count, weight);
		share->last = count;
		if (share->window_ns >= CPU_WINDOW_NS || share->n_runs == MAX_RUNS)
			spread(m, share, l->interval_ns);
	} else if (share->n_runs) {
		spread(m, share, l->interval_ns);
	} else if (share->was_on) {
		/* The last bit of what was spread already. */
		add_cpu(m, share, l->interval_ns, share->last, share->used_ns);
		share->used_ns = 0;
	}
	share->was_on = on;
	return 0;
}

/* Nothing waits for samples that may not come. */
static void spread_all(struct model *m, uint32_t stream)
{
	struct model_private *p = m->p;

	for (uint32_t i = 0; i < p->cpu_cap && i < p->threads.count; i++)
		if (m->threads[i].process == stream)
			spread(m, &p->cpu[i], p->locals[stream].interval_ns);
}

/* ---- samples ---- */

/* Whether MODE_CPU counts samples on a CPU, where no CPU time is to be had. */
static bool counts_cpu(const struct model *m, const struct local *l)
{
	return m->p->options.one_look || l->tachyon;
}

/* The question of a mode to a sample; what cannot be answered is counted. first: of its thread,
 * when CPU time cannot be known. */
static bool is_of_mode(struct model *m, uint32_t stream, uint16_t state, uint64_t cpu_ns,
		       bool first)
{
	const struct local *l = &m->p->locals[stream];
	enum mode mode = l->mode;
	int takes = mode_takes(mode, state, cpu_ns);

	if (mode == MODE_CPU && !first && !counts_cpu(m, l) &&
	    !(state & STREAM_STATE_CPU_TIME_KNOWN))
		takes = -1;
	m->p->processes[stream].unknown += takes < 0;
	if (mode == MODE_CPU && counts_cpu(m, l))
		return state & STREAM_STATE_CPU;
	return takes > 0;
}

/* Whether there is anything to ask of samples but how many there are. */
static bool has_question(const struct model_options *o, const struct local *l)
{
	return o->tasks || o->states || o->not_states || o->main_only || o->from_ns || o->to_ns ||
	       o->native || o->selected.thread || selects_functions(o) || o->timeline ||
	       l->mode != MODE_WALL || l->sifted;
}

static void keep(struct model_private *p, const struct stream_batch *b, size_t i, uint32_t thread,
		 uint32_t node, uint64_t weight)
{
	struct model_sample s = {
		.time_ns = b->time_ns[i],
		.ns = weight,
		.cpu_ns = b->cpu_ns[i],
		.thread = thread,
		.node = node,
		.state = b->state[i],
		.how = b->how[i],
	};

	timeline_put(&p->timeline, &s);
}

int model_samples(const struct model *m, int (*take)(void *arg, const struct model_sample *s),
		  void *arg)
{
	return timeline_each(&m->p->timeline, take, arg);
}

/* A sample that there is a question to: *ret_count 0 when it is not of the profile. */
static int ask(struct model *m, uint32_t stream, const struct stream_batch *b, size_t i,
	       uint32_t thread, bool first, uint64_t weight, uint32_t *ret_count)
{
	struct model_private *p = m->p;
	struct local *l = &p->locals[stream];
	const struct model_process *process = &p->processes[stream];
	struct local_stack *stack = &l->stacks[b->stack[i]];
	struct model_thread *t = (struct model_thread *)(void *)p->threads.items + thread;
	uint64_t time = b->time_ns[i];
	uint32_t node = stack->node, count = 0;
	bool task = true;

	*ret_count = 0;
	if (p->options.tasks) {
		if (task_node(m, stream, b, i, &node) < 0)
			return -ENOMEM;
		task = node != 0;
	}
	node = node_of(m, stream, stack, node, b->state[i]);
	if (node == UINT32_MAX)
		return -ENOMEM;
	if (task && !(b->state[i] & STREAM_STATE_UNASKED) &&
	    is_of_mode(m, stream, b->state[i], b->cpu_ns[i], first) &&
	    wanted(m, t, node, b->state[i],
		   time > process->first_ns ? time - process->first_ns : 0)) {
		count = count_of(p, stack, thread, node);
		if (count == 0)
			return -ENOMEM;
		note_state(t, node, b->state[i], b->how[i]);
		if (p->options.timeline)
			keep(p, b, i, thread, node, weight);
	}
	if (l->mode == MODE_CPU && !counts_cpu(m, l))
		return take_cpu(m, l, thread, count, b->state[i], b->cpu_ns[i], weight);
	*ret_count = count;
	return 0;
}

static int on_samples(void *arg, uint32_t stream, const struct stream_batch *b)
{
	struct model *m = arg;
	struct model_private *p = m->p;
	struct local *l = &p->locals[stream];
	struct model_process *process = &p->processes[stream];
	bool question = has_question(&p->options, l);

	if (no_thread(m, stream) < 0 || reserve_stacks(l, 0) < 0)
		return -ENOMEM;
	if (process->samples == 0)
		process->first_ns = process->last_ns = b->time_ns[0];
	for (size_t i = 0; i < b->n; i++) {
		uint64_t time = b->time_ns[i], weight;
		uint32_t thread = l->ids[LOCAL_THREAD][b->thread[i]], count;
		struct local_stack *stack = &l->stacks[b->stack[i]];
		struct model_thread *t = (struct model_thread *)(void *)p->threads.items + thread;
		bool first = !t->seen;

		if (time > process->last_ns)
			process->last_ns = time;
		weight = time > t->last_ns ? time - t->last_ns : 0;
		if (weight > l->cap_ns)
			weight = l->cap_ns;
		if (first) {
			weight = l->interval_ns;
			t->seen = true;
			t->first_ns = time;
		}
		t->last_ns = time;
		if (question) {
			if (ask(m, stream, b, i, thread, first, weight, &count) < 0)
				return -ENOMEM;
			if (count)
				add_to_count(m, count, 1, weight);
			continue;
		}
		count = count_of(p, stack, thread, stack->node);
		if (count == 0)
			return -ENOMEM;
		note_state(t, stack->node, b->state[i], b->how[i]);
		add_to_count(m, count, 1, weight);
	}
	process->samples += b->n;
	publish(m);
	if (l->mode == MODE_CPU)
		spread_all(m, stream);
	return 0;
}

/* How much of n a part of a time is, in whole numbers. */
static uint64_t part_of(uint64_t n, uint64_t part, uint64_t whole)
{
	return part >= whole ? n : (uint64_t)((double)n * (double)part / (double)whole + 0.5);
}

static int on_wait(void *arg, uint32_t stream, const struct stream_wait *w)
{
	struct model *m = arg;
	struct model_private *p = m->p;
	const struct model_options *o = &p->options;
	struct local *l = &p->locals[stream];
	struct model_process *process = &p->processes[stream];
	struct model_count key = {0};
	struct model_thread *t;
	uint64_t from, to, since;
	uint32_t count;

	if (o->tasks != MODEL_TASKS_ALL || l->mode != MODE_WALL || o->states || o->not_states)
		return 0;
	process->waits += w->count;
	if (w->stack == 0) {
		process->lost_waits += w->count;
		return 0;
	}
	if (no_thread(m, stream) < 0)
		return -ENOMEM;
	publish(m);
	key.thread = l->ids[LOCAL_THREAD][w->thread];
	key.node = l->stacks[w->stack].node;
	t = (struct model_thread *)(void *)p->threads.items + key.thread;
	since = process->samples && w->time_ns > process->first_ns ? w->time_ns - process->first_ns
								   : 0;
	if (!key.node || !wanted(m, t, key.node, 0, o->from_ns))
		return 0;
	/* Of what began before, or ends behind the times asked for, the part between them. */
	from = since < o->from_ns ? o->from_ns - since : 0;
	to = w->ns;
	if (o->to_ns && (since >= o->to_ns || o->to_ns - since < to))
		to = since >= o->to_ns ? 0 : o->to_ns - since;
	if (from >= to && (o->from_ns || o->to_ns))
		return 0;
	count = table_intern(&p->counts, &key);
	if (!count)
		return -ENOMEM;
	add_to_count(m, count, part_of(w->count, to - from, w->ns), to - from);
	publish(m);
	return 0;
}

/* What a mode asks of samples, for people. */
static const char *const mode_needs[MODE_COUNT] = {
	[MODE_CPU] = "CPU time",
	[MODE_GIL] = "who holds the GIL",
	[MODE_EXCEPTION] = "exceptions",
};

/* The processes of one input, from..to; who: what to call it. */
static int check_input(const struct model *m, uint32_t from, uint32_t to, const char *who,
		       char *buf, size_t size)
{
	uint64_t samples = 0, unknown = 0, unknown_native = 0, unknown_task = 0;
	uint64_t all_waits = 0, lost_waits = 0;
	enum mode asked = MODE_WALL;
	bool any_op = false, any_task = false, waits = false, collected = false;

	for (uint32_t i = from; i < to; i++) {
		const struct model_process *process = &m->processes[i];
		const struct local *l = &m->p->locals[i];

		if (l->recorded != MODE_WALL && l->mode != l->recorded) {
			snprintf(buf, size,
				 "%s has only samples of mode %s: mode %s cannot be asked of it",
				 who, mode_names[l->recorded], mode_names[l->mode]);
			return -ENODATA;
		}
		samples += process->samples;
		unknown += process->unknown;
		unknown_native += process->unknown_native;
		any_op |= process->has_opcodes;
		unknown_task += process->unknown_task;
		all_waits += process->waits;
		lost_waits += process->lost_waits;
		any_task |= process->any_task;
		collected |= strstr(process->header.collected, "async") != NULL;
		waits |= strstr(process->header.collected, "async-waits") != NULL;
		if (process->unknown)
			asked = l->mode;
	}
	if (m->p->options.opcodes && samples && !any_op) {
		snprintf(buf, size, "%s lacks opcodes: they are recorded with --opcodes", who);
		return -ENODATA;
	}
	if (m->p->options.tasks && samples && !any_task) {
		if (collected)
			snprintf(buf, size,
				 "%s does not tell which tasks ran: they moved, or too many await "
				 "each other",
				 who);
		else
			snprintf(buf, size, "%s lacks tasks: they are recorded with --async-aware",
				 who);
		return -ENODATA;
	}
	if (m->p->options.tasks == MODEL_TASKS_ALL && samples && !waits) {
		snprintf(buf, size,
			 "%s lacks tasks that wait: they are recorded with --async-aware "
			 "--async-mode all",
			 who);
		return -ENODATA;
	}
	if (unknown && 2 * unknown >= samples) {
		snprintf(buf, size,
			 asked == MODE_CPU
				 ? "%s lacks %s: that is recorded with --mode cpu, or up to 10000 "
				   "samples of threads a second"
				 : "%s lacks %s",
			 who, mode_needs[asked]);
		return -ENODATA;
	}
	if (unknown_native && unknown_native == samples) {
		snprintf(buf, size,
			 "%s lacks what --native asks for: whether threads without the GIL wait "
			 "for it",
			 who);
		return -ENODATA;
	}
	if (1000 * unknown_task > samples && 1000 * lost_waits > all_waits) {
		snprintf(buf, size,
			 "%" PRIu64 " of %" PRIu64
			 " samples do not tell which task ran, and %" PRIu64 " of %" PRIu64
			 " looks at waiting tasks not where: they are left out",
			 unknown_task, samples, lost_waits, all_waits);
		return -EAGAIN;
	}
	if (1000 * lost_waits > all_waits) {
		snprintf(buf, size,
			 "%" PRIu64 " of %" PRIu64
			 " looks at waiting tasks do not tell where they waited: they are left out",
			 lost_waits, all_waits);
		return -EAGAIN;
	}
	if (1000 * unknown_task > samples) {
		snprintf(buf, size,
			 "%" PRIu64 " of %" PRIu64
			 " samples do not tell whether a task ran, and which: they are left out",
			 unknown_task, samples);
		return -EAGAIN;
	}
	if (1000 * unknown > samples) {
		snprintf(buf, size,
			 "%" PRIu64 " of %" PRIu64 " samples of %s lack %s and are left out",
			 unknown, samples, who, mode_needs[asked]);
		return -EAGAIN;
	}
	if (1000 * unknown_native > samples) {
		snprintf(buf, size,
			 "%" PRIu64 " of %" PRIu64
			 " samples of %s do not tell whether they are in C code",
			 unknown_native, samples, who);
		return -EAGAIN;
	}
	return 0;
}

static const char *source_name(const struct model *m, uint32_t source)
{
	return source ? m->p->sources[source] : "";
}

/* Samples and CPU time are not added up. */
static int check_modes(const struct model *m, char *buf, size_t size)
{
	const struct model_private *p = m->p;

	for (uint32_t i = 1; i < m->process_count; i++) {
		uint32_t before = p->processes[i - 1].source, source = p->processes[i].source;

		if (before == source || p->locals[i - 1].mode == p->locals[i].mode)
			continue;
		snprintf(buf, size,
			 "%.150s is of mode %s and %.150s of mode %s: that is no one profile, but "
			 "--mode may ask the same of both",
			 source_name(m, before), mode_names[p->locals[i - 1].mode],
			 source_name(m, source), mode_names[p->locals[i].mode]);
		return -ENODATA;
	}
	return 0;
}

int model_check(const struct model *m, char *buf, size_t size)
{
	int found = check_modes(m, buf, size);
	char text[512], who[192];

	for (uint32_t from = 0, to; found != -ENODATA && from < m->process_count; from = to) {
		uint32_t source = m->processes[from].source;
		int r;

		for (to = from + 1; to < m->process_count && m->processes[to].source == source;)
			to++;
		snprintf(who, sizeof(who), "%.150s",
			 m->p->source_count > 1 ? source_name(m, source) : "the recording");
		r = check_input(m, from, to, who, text, sizeof(text));
		if (r == -ENODATA || (r < 0 && found == 0)) {
			snprintf(buf, size, "%s", text);
			found = r;
		}
	}
	return found;
}

static int on_gap(void *arg, uint32_t stream, uint64_t time_ns, uint32_t thread, uint64_t count,
		  enum stream_lost reason)
{
	struct model *m = arg;

	m->p->processes[stream].gaps[reason] += count;
	return 0;
}

static int on_statistics(void *arg, uint32_t stream, const struct stream_statistics *s)
{
	struct model *m = arg;

	m->p->processes[stream].statistics = *s;
	m->p->processes[stream].has_statistics = true;
	return 0;
}

static int on_summary(void *arg, uint32_t stream, const struct stream_summary *s)
{
	struct model *m = arg;
	struct model_process *process = &m->p->processes[stream];

	process->summary = *s;
	process->statistics = s->totals;
	process->has_summary = process->has_statistics = true;
	local_done(&m->p->locals[stream]);
	return 0;
}

static int on_damage(void *arg, uint32_t stream, uint64_t samples)
{
	struct model *m = arg;

	m->p->processes[stream].damaged += samples;
	return 0;
}

static void on_warning(void *arg, const char *text)
{
	struct model *m = arg;

	if (m->warning_count < MODEL_MAX_WARNINGS) {
		m->p->warnings[m->warning_count] = strdup(text);
		if (m->p->warnings[m->warning_count])
			m->warning_count++;
	}
}

/* ---- a frame for each process ---- */

/* One pass over the counts of one process after the other. */
struct grouping {
	struct model *m;
	struct table nodes; /* what the tree becomes */
	uint32_t *process;  /* of each old node: whose place holds, plus 1 */
	uint32_t *place;    /* of each old node: the new one */
	uint32_t *path;
	uint32_t *root; /* of each process: the new node */
};

static uint32_t add_root(struct grouping *g, uint32_t label)
{
	struct model_private *p = g->m->p;
	struct model_function function = {.name = label};
	struct model_frame frame = {0, -1, -1, -1, -1, 0};
	struct model_node node = {0};

	frame.function = table_intern(&p->functions, &function);
	if (frame.function)
		node.frame = table_intern(&p->frames, &frame);
	publish(g->m);
	return node.frame ? table_intern(&g->nodes, &node) : 0;
}

/* The new node that stands for old in the tree of process; 0 when memory is short. */
static uint32_t place_of(struct grouping *g, uint32_t process, uint32_t old)
{
	const struct model_node *nodes = g->m->nodes;
	uint32_t n = 0, at = g->root[process];

	for (; old && g->process[old] != process + 1; old = nodes[old].parent)
		g->path[n++] = old;
	if (old)
		at = g->place[old];
	while (at && n > 0) {
		struct model_node key = {.parent = at, .frame = nodes[g->path[--n]].frame};

		at = table_intern(&g->nodes, &key);
		g->process[g->path[n]] = process + 1;
		g->place[g->path[n]] = at;
	}
	return at;
}

static int by_process(const void *a, const void *b, void *arg)
{
	const struct model *m = arg;
	uint32_t i = m->threads[m->counts[*(const uint32_t *)a].thread].process;
	uint32_t k = m->threads[m->counts[*(const uint32_t *)b].thread].process;

	return (i > k) - (i < k);
}

/* Where samples of processes alternate, this walks up to the root again for each. */
static int regroup_sample(void *arg, struct model_sample *s)
{
	struct grouping *g = arg;

	if (s->node == 0)
		return 0;
	s->node = place_of(g, g->m->threads[s->thread].process, s->node);
	return s->node ? 0 : -ENOMEM;
}

static int regroup(struct grouping *g)
{
	struct model *m = g->m;
	struct model_private *p = m->p;
	uint32_t *order = calloc((size_t)m->count_count + 1, sizeof(*order));
	struct model_count *counts = (struct model_count *)(void *)p->counts.items + 1;
	struct model_thread *threads = (void *)p->threads.items;
	int r = order ? 0 : -ENOMEM;

	for (uint32_t i = 0; r == 0 && i < m->process_count; i++) {
		g->root[i] = add_root(g, m->processes[i].label);
		if (g->root[i] == 0)
			r = -ENOMEM;
	}
	/* One process after the other: places are remembered for one at a time. */
	for (uint32_t i = 0; r == 0 && i < m->count_count; i++)
		order[i] = i;
	if (r == 0)
		qsort_r(order, m->count_count, sizeof(*order), by_process, m);
	for (uint32_t i = 0; r == 0 && i < m->count_count; i++) {
		struct model_count *c = &counts[order[i]];

		/* A thread without a Python frame stays one. */
		if (c->node == 0)
			continue;
		c->node = place_of(g, threads[c->thread].process, c->node);
		if (c->node == 0)
			r = -ENOMEM;
	}
	for (uint32_t i = 1; r == 0 && i < m->thread_count; i++) {
		if (threads[i].last_node == 0)
			continue;
		threads[i].last_node = place_of(g, threads[i].process, threads[i].last_node);
		if (threads[i].last_node == 0)
			r = -ENOMEM;
	}
	free(order);
	/* Its file's errors are for who reads it. */
	if (r == 0 && timeline_change(&p->timeline, regroup_sample, g) == -ENOMEM)
		r = -ENOMEM;
	return r;
}

static bool is_same_process(const struct model_process *a, const struct model_process *b)
{
	if (a->header.pid != b->header.pid)
		return false;
	if (a->header.pid == 0)
		return a->source == b->source;
	return strcmp(a->header.host, b->header.host) == 0 &&
	       strcmp(a->header.boot_id, b->header.boot_id) == 0;
}

bool model_has_several_processes(const struct model *m)
{
	const struct model_process *first = NULL;

	for (uint32_t i = 0; i < m->process_count; i++) {
		const struct model_process *process = &m->processes[i];

		if (process->samples == 0)
			continue;
		if (first && !is_same_process(first, process))
			return true;
		first = process;
	}
	return false;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* What a pid has to be told with: hosts where there are several, boots where a host has several. */
static void compare_hosts(const struct model *m, bool *ret_hosts, bool *ret_boots)
{
	const struct stream_header *first = NULL;

	*ret_hosts = *ret_boots = false;
	for (uint32_t i = 0; i < m->process_count; i++) {
		const struct stream_header *h = &m->processes[i].header;

		if (h->pid == 0)
			continue;
		if (!first)
			first = h;
		*ret_hosts |= strcmp(first->host, h->host) != 0;
	}
	for (uint32_t i = 1; i < m->process_count && !*ret_boots; i++) {
		const struct stream_header *h = &m->processes[i].header;

		for (uint32_t k = 0; k < i && k < MAX_COMPARED && h->pid; k++) {
			const struct stream_header *other = &m->processes[k].header;

			*ret_boots |= strcmp(other->host, h->host) == 0 &&
				      strcmp(other->boot_id, h->boot_id) != 0 && other->pid;
		}
	}
}

/* A file's name, or its path where another file has that name too. */
static const char *short_source(const struct model *m, uint32_t source)
{
	const char *name = base_name(source_name(m, source));

	for (uint32_t i = 1; i <= m->p->source_count; i++)
		if (i != source && strcmp(base_name(source_name(m, i)), name) == 0)
			return source_name(m, source);
	return name;
}

static int label_processes(struct model *m)
{
	bool hosts, boots;

	compare_hosts(m, &hosts, &boots);
	for (uint32_t i = 0; i < m->process_count; i++) {
		struct model_process *process = &m->p->processes[i];
		const struct stream_header *h = &process->header;
		char label[1024];
		struct stream_string s = {label, 0};

		if (h->pid == 0 && process->source)
			snprintf(label, sizeof(label), "file:%s", short_source(m, process->source));
		else
			snprintf(label, sizeof(label), "pid:%d%s%s%s%.8s", (int)h->pid,
				 hosts ? "@" : "", hosts ? h->host : "", boots ? "/" : "",
				 boots ? h->boot_id : "");
		s.len = (uint32_t)strlen(label);
		process->label = add_string(m, &s);
		if (process->label == 0)
			return -ENOMEM;
	}
	return 0;
}

int model_group_processes(struct model *m)
{
	struct model_private *p = m->p;
	struct grouping g = {.m = m};
	struct model_node *nodes;
	int r;

	if (m->grouped || !model_has_several_processes(m))
		return 0;
	if (label_processes(m) < 0)
		return -ENOMEM;
	r = table_init(&g.nodes, sizeof(struct model_node), offsetof(struct model_node, depth));
	g.process = calloc(m->node_count, sizeof(*g.process));
	g.place = calloc(m->node_count, sizeof(*g.place));
	g.path = calloc(m->node_count, sizeof(*g.path));
	g.root = calloc(m->process_count, sizeof(*g.root));
	if (r == 0)
		r = g.process && g.place && g.path && g.root ? regroup(&g) : -ENOMEM;
	free(g.process);
	free(g.place);
	free(g.path);
	free(g.root);
	if (r < 0) {
		table_done(&g.nodes);
		return r;
	}
	table_done(&p->nodes);
	p->nodes = g.nodes;
	nodes = (void *)p->nodes.items;
	for (uint32_t i = 1; i < p->nodes.count; i++)
		nodes[i].depth = nodes[nodes[i].parent].depth + 1;
	m->grouped = true;
	publish(m);
	return 0;
}

/* ---- one thread for many ---- */

static void add_thread(struct model_thread *to, const struct model_thread *t)
{
	to->samples += t->samples;
	to->ns += t->ns;
	for (int i = 0; i < MODEL_STATES; i++)
		to->states[i] += t->states[i];
	for (int i = 0; i < 3; i++)
		to->how[i] += t->how[i];
	if (t->seen && (!to->seen || t->first_ns < to->first_ns))
		to->first_ns = t->first_ns;
	if (t->seen && (!to->seen || t->last_ns >= to->last_ns)) {
		to->last_ns = t->last_ns;
		to->last_node = t->last_node;
		to->last_state = t->last_state;
		to->last_how = t->last_how;
	}
	to->seen |= t->seen;
}

/* Of each stream the first one of its process: 0, -ENOMEM. */
static int find_owners(struct model *m, uint32_t *owner)
{
	uint32_t *first;

	if (label_processes(m) < 0)
		return -ENOMEM;
	first = calloc(m->string_count, sizeof(*first));
	if (!first)
		return -ENOMEM;
	for (uint32_t i = 0; i < m->process_count; i++) {
		uint32_t *at = &first[m->processes[i].label];

		if (*at == 0)
			*at = i + 1;
		owner[i] = *at - 1;
	}
	free(first);
	return 0;
}

/* arg: which thread each has become. */
static int fold_sample(void *arg, struct model_sample *s)
{
	s->thread = ((const uint32_t *)arg)[s->thread];
	return 0;
}

int model_fold_threads(struct model *m, bool all_processes)
{
	struct model_private *p = m->p;
	uint32_t *became = calloc((size_t)m->thread_count + 1, sizeof(*became));
	uint32_t *owner = calloc((size_t)m->process_count + 1, sizeof(*owner));
	struct table threads = {0}, counts = {0};
	int r = owner && became ? 0 : -ENOMEM;

	if (r == 0 && !all_processes)
		r = find_owners(m, owner);
	if (r == 0)
		r = table_init(&threads, sizeof(struct model_thread),
			       offsetof(struct model_thread, tid));
	if (r == 0)
		r = table_init(&counts, sizeof(struct model_count),
			       offsetof(struct model_count, count));
	for (uint32_t i = 1; r == 0 && i < m->thread_count; i++) {
		struct model_thread key = {.process = owner[m->threads[i].process]};
		uint32_t thread = table_intern(&threads, &key);

		became[i] = thread;
		if (thread == 0)
			r = -ENOMEM;
		else
			add_thread((struct model_thread *)(void *)threads.items + thread,
				   &m->threads[i]);
	}
	for (uint32_t i = 0; r == 0 && i < m->count_count; i++) {
		const struct model_count *c = &m->counts[i];
		struct model_count key = {became[c->thread], c->node, 0, 0}, *to;
		uint32_t count = table_intern(&counts, &key);

		if (count == 0) {
			r = -ENOMEM;
			break;
		}
		to = (struct model_count *)(void *)counts.items + count;
		to->count += c->count;
		to->ns += c->ns;
	}
	/* Its file's errors are for who reads it. */
	if (r == 0)
		(void)timeline_change(&p->timeline, fold_sample, became);
	free(owner);
	free(became);
	if (r < 0) {
		table_done(&threads);
		table_done(&counts);
		return r;
	}
	table_done(&p->threads);
	table_done(&p->counts);
	p->threads = threads;
	p->counts = counts;
	m->threads_folded = true;
	publish(m);
	return 0;
}

const struct stream_handler model_handler = {
	.header = on_header,
	.string = on_string,
	.function = on_function,
	.frame = on_frame,
	.op = on_op,
	.stack = on_stack,
	.thread = on_thread,
	.task = on_task,
	.samples = on_samples,
	.task_state = on_task_state,
	.tasks = on_tasks,
	.wait = on_wait,
	.gap = on_gap,
	.statistics = on_statistics,
	.summary = on_summary,
	.damage = on_damage,
	.warning = on_warning,
};
