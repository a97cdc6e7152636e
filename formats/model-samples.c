#include "formats/model-parts.h"

#include <errno.h>
#include <stdlib.h>

static bool wanted(const struct model *m, const struct model_thread *t, uint32_t node,
		   uint16_t state, uint64_t since_ns)
{
	const struct model_options *o = &m->p->options;

	return (state & o->states) == o->states && !(state & o->not_states) &&
	       (!o->main_only || t->main) && since_ns >= o->from_ns &&
	       (o->to_ns == 0 || since_ns < o->to_ns) && !t->unselected &&
	       (!model_selects_functions(o) || (node && m->p->taken_nodes[node]));
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
	frame = model_native_frame(m, stream);
	model_publish(m);
	if (frame == 0)
		return UINT32_MAX;
	node = model_add_node(m, plain, frame);
	model_publish(m);
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
		onto = model_add_node(m, onto, p->path[--n]);
		if (!onto)
			return -ENOMEM;
	}
	model_publish(m);
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

void model_add_to_count(struct model *m, uint32_t count, uint64_t samples, uint64_t ns)
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
	t->exceptions[0] += model_has_exception(state);
	t->exceptions[1] += model_tells_exception(state);
	if (how < 3)
		t->how[how]++;
	t->last_node = node;
	t->last_state = state;
	t->last_how = how;
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
	       o->native || o->selected.thread || model_selects_functions(o) || o->timeline ||
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
		return model_take_cpu(m, l, thread, count, b->state[i], b->cpu_ns[i], weight);
	*ret_count = count;
	return 0;
}

int model_on_samples(void *arg, uint32_t stream, const struct stream_batch *b)
{
	struct model *m = arg;
	struct model_private *p = m->p;
	struct local *l = &p->locals[stream];
	struct model_process *process = &p->processes[stream];
	bool question = has_question(&p->options, l);

	if (model_no_thread(m, stream) < 0 || model_reserve_stacks(l, 0) < 0)
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
				model_add_to_count(m, count, 1, weight);
			continue;
		}
		count = count_of(p, stack, thread, stack->node);
		if (count == 0)
			return -ENOMEM;
		note_state(t, stack->node, b->state[i], b->how[i]);
		model_add_to_count(m, count, 1, weight);
	}
	process->samples += b->n;
	model_publish(m);
	if (l->mode == MODE_CPU)
		model_spread_cpu(m, stream);
	return 0;
}

/* How much of n a part of a time is, in whole numbers. */
static uint64_t part_of(uint64_t n, uint64_t part, uint64_t whole)
{
	return part >= whole ? n : (uint64_t)((double)n * (double)part / (double)whole + 0.5);
}

/* How often it was looked at takes the place of the CPU time. */
static void keep_wait(struct model_private *p, const struct model_wait *w)
{
	struct model_sample s = {
		.time_ns = w->time_ns,
		.ns = w->ns,
		.cpu_ns = w->count,
		.thread = w->thread,
		.node = w->node,
	};

	timeline_put(&p->waits, &s);
}

struct waits_taker {
	int (*take)(void *arg, const struct model_wait *w);
	void *arg;
};

static int take_wait(void *arg, const struct model_sample *s)
{
	const struct waits_taker *taker = arg;
	struct model_wait w = {s->time_ns, s->ns, s->cpu_ns, s->thread, s->node};

	return taker->take(taker->arg, &w);
}

int model_waits(const struct model *m, int (*take)(void *arg, const struct model_wait *w),
		void *arg)
{
	struct waits_taker taker = {take, arg};

	return timeline_each(&m->p->waits, take_wait, &taker);
}

int model_on_wait(void *arg, uint32_t stream, const struct stream_wait *w)
{
	struct model *m = arg;
	struct model_private *p = m->p;
	const struct model_options *o = &p->options;
	struct local *l = &p->locals[stream];
	struct model_process *process = &p->processes[stream];
	struct model_count key = {0};
	struct model_thread *t;
	struct model_wait part;
	uint64_t from, to, since;
	uint32_t count;

	if (o->tasks != MODEL_TASKS_ALL || l->mode != MODE_WALL || o->states || o->not_states)
		return 0;
	process->waits += w->count;
	if (w->stack == 0) {
		process->lost_waits += w->count;
		return 0;
	}
	if (model_no_thread(m, stream) < 0)
		return -ENOMEM;
	model_publish(m);
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
	part = (struct model_wait){w->time_ns + from, to - from,
				   part_of(w->count, to - from, w->ns), key.thread, key.node};
	model_add_to_count(m, count, part.count, part.ns);
	if (o->timeline)
		keep_wait(p, &part);
	model_publish(m);
	return 0;
}
