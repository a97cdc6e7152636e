#include "formats/model-parts.h"

#include <errno.h>

static int set_local(struct local *l, int kind, uint32_t id, uint32_t value)
{
	if (value == 0 ||
	    grow(&l->ids[kind], &l->caps[kind], (size_t)id + 1, sizeof(*l->ids[kind])) < 0)
		return -ENOMEM;
	l->ids[kind][id] = value;
	return 0;
}

static uint32_t get_local(const struct local *l, int kind, uint32_t id)
{
	return id ? l->ids[kind][id] : 0;
}

int model_on_string(void *arg, uint32_t stream, uint32_t id, const struct stream_string *s)
{
	struct model *m = arg;

	return set_local(&m->p->locals[stream], LOCAL_STRING, id, model_add_string(m, s));
}

static int put_byte(uint8_t **array, uint32_t *cap, uint32_t i, uint8_t value)
{
	if (grow(array, cap, (size_t)i + 1, 1) < 0)
		return -ENOMEM;
	(*array)[i] = value;
	return 0;
}

bool model_selects_functions(const struct model_options *o)
{
	return o->selected.function || o->selected.source;
}

int model_on_function(void *arg, uint32_t stream, uint32_t id, const struct stream_function *f)
{
	struct model *m = arg;
	struct local *l = &m->p->locals[stream];
	struct model_function key = {get_local(l, LOCAL_STRING, f->name),
				     get_local(l, LOCAL_STRING, f->file), f->first_line, f->kind};
	uint32_t i = table_intern(&m->p->functions, &key);
	int r = set_local(l, LOCAL_FUNCTION, id, i);

	if (r == 0 && model_selects_functions(&m->p->options))
		r = put_byte(&m->p->taken_functions, &m->p->taken_function_cap, i,
			     selection_takes_function(&m->p->options.selected,
						      m->strings[key.name].bytes,
						      m->strings[key.file].bytes));
	model_publish(m);
	return r;
}

int model_on_frame(void *arg, uint32_t stream, uint32_t id, const struct stream_frame *f)
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

	model_publish(m);
	return r;
}

int model_on_op(void *arg, uint32_t stream, uint32_t id, uint16_t op)
{
	struct model *m = arg;
	struct local *l = &m->p->locals[stream];
	struct model_frame key;
	int r;

	m->p->processes[stream].has_opcodes = true;
	if (!m->p->options.opcodes)
		return 0;
	key = m->frames[get_local(l, LOCAL_FRAME, id)];
	key.op = op;
	r = set_local(l, LOCAL_FRAME, id, table_intern(&m->p->frames, &key));
	model_publish(m);
	return r;
}

int model_reserve_stacks(struct local *l, uint32_t id)
{
	bool first = !l->stacks;

	if (grow(&l->stacks, &l->stack_cap, (size_t)id + 1, sizeof(*l->stacks)) < 0)
		return -ENOMEM;
	if (first)
		l->stacks[0].thread = UINT32_MAX;
	return 0;
}

uint32_t model_add_node(struct model *m, uint32_t parent, uint32_t frame)
{
	struct model_private *p = m->p;
	struct model_node key = {.parent = parent, .frame = frame}, *nodes;
	uint32_t node = table_intern(&p->nodes, &key);

	if (node == 0)
		return 0;
	nodes = (void *)p->nodes.items;
	nodes[node].depth = nodes[parent].depth + 1;
	if (model_selects_functions(&p->options)) {
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

int model_on_stack(void *arg, uint32_t stream, uint32_t id, const struct stream_stack *s)
{
	struct model *m = arg;
	struct local *l = &m->p->locals[stream];
	uint32_t frame = get_local(l, LOCAL_FRAME, s->frame), node;

	if (model_reserve_stacks(l, id) < 0)
		return -ENOMEM;
	node = s->parent ? l->stacks[s->parent].node : 0;
	if (is_shown(m, l, frame)) {
		node = model_add_node(m, node, frame);
		if (node == 0)
			return -ENOMEM;
	}
	l->stacks[id] = (struct local_stack){.node = node, .thread = UINT32_MAX};
	model_publish(m);
	return 0;
}

int model_on_thread(void *arg, uint32_t stream, uint32_t id, const struct stream_thread *t)
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
	model_publish(m);
	return 0;
}

int model_on_task(void *arg, uint32_t stream, uint32_t id, const struct stream_task *t)
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
	model_publish(m);
	return 0;
}

int model_on_task_state(void *arg, uint32_t stream, const struct stream_task_state *s)
{
	struct model *m = arg;
	struct model_private *p = m->p;
	struct local *l = &p->locals[stream];
	struct model_task *t =
		(struct model_task *)(void *)p->tasks.items + l->ids[LOCAL_TASK][s->task];

	if (model_reserve_stacks(l, 0) < 0)
		return -ENOMEM;
	/* Seen again with no more awaiters than before, it keeps its place. */
	if (s->n_awaiters > t->n_awaiters) {
		if (grow(&p->awaiters, &p->awaiter_cap, (size_t)p->awaiter_count + s->n_awaiters,
			 sizeof(*p->awaiters)) < 0)
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
	model_publish(m);
	return 0;
}

int model_no_thread(struct model *m, uint32_t stream)
{
	struct local *l = &m->p->locals[stream];
	struct model_thread key = {.process = stream};

	uint32_t i = table_intern(&m->p->threads, &key);

	if (i && m->p->options.selected.thread)
		((struct model_thread *)(void *)m->p->threads.items)[i].unselected = true;
	return set_local(l, LOCAL_THREAD, 0, i);
}

uint32_t model_native_frame(struct model *m, uint32_t stream)
{
	static const struct stream_string name = {"<native>", 8};
	struct model_private *p = m->p;
	struct local *l = &p->locals[stream];
	struct model_function f = {.kind = STREAM_FRAME_NATIVE};
	struct model_frame key = {.line = -1, .end_line = -1, .column = -1, .end_column = -1};

	if (p->native_frame)
		return p->native_frame;
	/* Under the id 0, which no definition has. */
	if (model_on_string(m, stream, 0, &name) < 0)
		return 0;
	f.name = l->ids[LOCAL_STRING][0];
	key.function = table_intern(&p->functions, &f);
	if (key.function == 0 ||
	    (model_selects_functions(&p->options) &&
	     put_byte(&p->taken_functions, &p->taken_function_cap, key.function,
		      selection_takes_function(&p->options.selected, name.bytes, "")) < 0))
		return 0;
	return p->native_frame = table_intern(&p->frames, &key);
}
