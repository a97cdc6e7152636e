#include "formats/model.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "formats/table.h"

#define ARENA_BLOCK (256u << 10)
#define GAP_FACTOR  10 /* intervals */

/* What a local stack id stands for, with the count that it went to last: most samples of a stack
 * come from one thread. */
struct local_stack {
	uint32_t node, thread, count;
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

struct model_private {
	struct model_options options;
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
		p->processes[m->process_count] = (struct model_process){0};
		p->locals[m->process_count++] = (struct local){.cap_ns = MODEL_GAP_NS};
	}
	return 0;
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
	if (h->rate_hz > 0 && h->rate_hz < 1e9)
		l->interval_ns = 1e9 / h->rate_hz < 3.6e12 ? 1e9 / h->rate_hz : 3600000000000;
	if (GAP_FACTOR * l->interval_ns > l->cap_ns)
		l->cap_ns = GAP_FACTOR * l->interval_ns;
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

static int on_function(void *arg, uint32_t stream, uint32_t id, const struct stream_function *f)
{
	struct model *m = arg;
	struct local *l = &m->p->locals[stream];
	struct model_function key = {get_local(l, LOCAL_STRING, f->name),
				     get_local(l, LOCAL_STRING, f->file), f->first_line, f->kind};
	int r = set_local(l, LOCAL_FUNCTION, id, table_intern(&m->p->functions, &key));

	publish(m);
	return r;
}

static int on_frame(void *arg, uint32_t stream, uint32_t id, const struct stream_frame *f)
{
	struct model *m = arg;
	struct local *l = &m->p->locals[stream];
	struct model_frame key = {get_local(l, LOCAL_FUNCTION, f->function), f->line, f->end_line,
				  f->column, f->end_column};
	int r = set_local(l, LOCAL_FRAME, id, table_intern(&m->p->frames, &key));

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
		stacks[0] = (struct local_stack){0, UINT32_MAX, 0};
	l->stacks = stacks;
	l->stack_cap = cap;
	return 0;
}

static int on_stack(void *arg, uint32_t stream, uint32_t id, const struct stream_stack *s)
{
	struct model *m = arg;
	struct model_private *p = m->p;
	struct local *l = &p->locals[stream];
	struct model_node key = {0}, *nodes;
	uint32_t node;

	if (reserve_stacks(l, id) < 0)
		return -ENOMEM;
	key.parent = s->parent ? l->stacks[s->parent].node : 0;
	key.frame = get_local(l, LOCAL_FRAME, s->frame);
	node = table_intern(&p->nodes, &key);
	if (node == 0)
		return -ENOMEM;
	nodes = (void *)p->nodes.items;
	nodes[node].depth = nodes[key.parent].depth + 1;
	l->stacks[id] = (struct local_stack){node, UINT32_MAX, 0};
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

	return set_local(l, LOCAL_THREAD, 0, table_intern(&m->p->threads, &key));
}

static bool wanted(const struct model_options *o, const struct model_thread *t, uint16_t state,
		   uint64_t since_ns)
{
	return (state & o->states) == o->states && !(state & o->not_states) &&
	       (!o->main_only || t->main) && since_ns >= o->from_ns &&
	       (o->to_ns == 0 || since_ns < o->to_ns);
}

static int on_samples(void *arg, uint32_t stream, const struct stream_batch *b)
{
	struct model *m = arg;
	struct model_private *p = m->p;
	struct local *l = &p->locals[stream];
	struct model_process *process = &p->processes[stream];
	struct model_thread *threads;
	const struct model_options *o = &p->options;
	bool filter = o->states || o->not_states || o->main_only || o->from_ns || o->to_ns;
	uint64_t samples = 0, ns = 0;

	if (no_thread(m, stream) < 0 || reserve_stacks(l, 0) < 0)
		return -ENOMEM;
	threads = (void *)p->threads.items;
	if (process->samples == 0)
		process->first_ns = process->last_ns = b->time_ns[0];
	for (size_t i = 0; i < b->n; i++) {
		uint64_t time = b->time_ns[i], weight;
		uint32_t thread = l->ids[LOCAL_THREAD][b->thread[i]];
		struct local_stack *stack = &l->stacks[b->stack[i]];
		struct model_thread *t = &threads[thread];
		uint16_t state = b->state[i];
		struct model_count *c;

		if (time > process->last_ns)
			process->last_ns = time;
		weight = time > t->last_ns ? time - t->last_ns : 0;
		if (weight > l->cap_ns)
			weight = l->cap_ns;
		if (!t->seen) {
			weight = l->interval_ns;
			t->seen = true;
			t->first_ns = time;
		}
		t->last_ns = time;
		if (filter &&
		    !wanted(o, t, state, time > process->first_ns ? time - process->first_ns : 0))
			continue;
		t->samples++;
		t->ns += weight;
		for (uint32_t bits = state; bits; bits &= bits - 1) {
			unsigned bit = __builtin_ctz(bits);

			if (bit < MODEL_STATES)
				t->states[bit]++;
		}
		if (b->how[i] < 3)
			t->how[b->how[i]]++;
		t->last_node = stack->node;
		t->last_state = state;
		t->last_how = b->how[i];
		if (stack->thread != thread) {
			struct model_count key = {.thread = thread, .node = stack->node};

			stack->count = table_intern(&p->counts, &key);
			if (stack->count == 0)
				return -ENOMEM;
			stack->thread = thread;
		}
		c = (struct model_count *)(void *)p->counts.items + stack->count;
		c->count++;
		c->ns += weight;
		samples++;
		ns += weight;
	}
	process->samples += b->n;
	m->samples += samples;
	m->ns += ns;
	publish(m);
	return 0;
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

static uint32_t add_root(struct grouping *g, int32_t pid)
{
	struct model_private *p = g->m->p;
	struct model_function function = {0};
	struct model_frame frame = {0, -1, -1, -1, -1};
	struct model_node node = {0};
	char name[24];
	struct stream_string s = {name, 0};

	s.len = (uint32_t)snprintf(name, sizeof(name), "pid:%d", (int)pid);
	function.name = add_string(g->m, &s);
	if (function.name)
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

static int regroup(struct grouping *g)
{
	struct model *m = g->m;
	struct model_private *p = m->p;
	uint32_t *order = calloc((size_t)m->count_count + 1, sizeof(*order));
	struct model_count *counts = (struct model_count *)(void *)p->counts.items + 1;
	struct model_thread *threads = (void *)p->threads.items;
	int r = order ? 0 : -ENOMEM;

	for (uint32_t i = 0; r == 0 && i < m->process_count; i++) {
		g->root[i] = add_root(g, m->processes[i].header.pid);
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
	return r;
}

static bool has_several_processes(const struct model *m)
{
	const struct model_process *first = NULL;

	for (uint32_t i = 0; i < m->process_count; i++) {
		const struct model_process *process = &m->processes[i];

		if (process->samples == 0)
			continue;
		if (first && first->header.pid != process->header.pid)
			return true;
		first = process;
	}
	return false;
}

int model_group_processes(struct model *m)
{
	struct model_private *p = m->p;
	struct grouping g = {.m = m};
	struct model_node *nodes;
	int r;

	if (m->grouped || !has_several_processes(m))
		return 0;
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

const struct stream_handler model_handler = {
	.header = on_header,
	.string = on_string,
	.function = on_function,
	.frame = on_frame,
	.stack = on_stack,
	.thread = on_thread,
	.task = on_task,
	.samples = on_samples,
	.task_state = on_task_state,
	.tasks = on_tasks,
	.gap = on_gap,
	.statistics = on_statistics,
	.summary = on_summary,
	.damage = on_damage,
	.warning = on_warning,
};
