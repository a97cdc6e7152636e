#include "formats/model-parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define ARENA_BLOCK (256u << 10)
#define GAP_FACTOR  10 /* intervals */

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

void model_publish(struct model *m)
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
	p->timeline.open = p->waits.open = p->options.timeline;
	m->mode = p->options.mode;
	m->opcodes = p->options.opcodes;
	m->from_ns = p->options.from_ns;
	m->to_ns = p->options.to_ns;
	p->warnings = calloc(MODEL_MAX_WARNINGS, sizeof(*p->warnings));
	if (!p->warnings || grow(&p->strings, &p->string_cap, 1, sizeof(*p->strings)) < 0 ||
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
	model_publish(m);
	*ret = m;
	return 0;
}

void model_local_done(struct local *l)
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
	for (uint32_t i = 0; i < m->process_count; i++) {
		model_local_done(&p->locals[i]);
		reports_done(&p->processes[i].reports);
	}
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
	timeline_done(&p->waits);
	free(p);
	free(m);
}

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

const char *model_source_name(const struct model *m, uint32_t source)
{
	return source ? m->p->sources[source] : "";
}

uint32_t model_add_string(struct model *m, const struct stream_string *s)
{
	struct model_private *p = m->p;
	XXH128_hash_t hash = XXH3_128bits(s->bytes, s->len);
	struct string_key key = {hash.low64, hash.high64};
	uint32_t before = p->string_index.count, i = table_intern(&p->string_index, &key);

	if (i == 0)
		return 0;
	if (p->string_index.count > before) {
		if (grow(&p->strings, &p->string_cap, (size_t)i + 1, sizeof(*p->strings)) < 0)
			return 0;
		p->strings[i].bytes = arena_copy(p, s->bytes, s->len);
		p->strings[i].len = s->len;
		if (!p->strings[i].bytes)
			return 0;
		model_publish(m);
	}
	return i;
}

/* ---- what the reader tells ---- */

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
			model_local_done(&p->locals[i]);
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
	model_publish(m);
	return 0;
}

static int on_tasks(void *arg, uint32_t stream, const struct stream_tasks *t)
{
	struct model *m = arg;

	m->p->processes[stream].tasks = *t;
	m->p->processes[stream].has_tasks = true;
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
	struct model_process *process = &m->p->processes[stream];

	process->statistics = *s;
	process->has_statistics = true;
	return reports_add(&process->reports, s);
}

static int on_summary(void *arg, uint32_t stream, const struct stream_summary *s)
{
	struct model *m = arg;
	struct model_process *process = &m->p->processes[stream];

	process->summary = *s;
	process->statistics = s->totals;
	process->has_summary = process->has_statistics = true;
	model_local_done(&m->p->locals[stream]);
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

const struct stream_handler model_handler = {
	.header = on_header,
	.string = model_on_string,
	.function = model_on_function,
	.frame = model_on_frame,
	.op = model_on_op,
	.stack = model_on_stack,
	.thread = model_on_thread,
	.task = model_on_task,
	.samples = model_on_samples,
	.task_state = model_on_task_state,
	.tasks = on_tasks,
	.wait = model_on_wait,
	.gap = on_gap,
	.statistics = on_statistics,
	.summary = on_summary,
	.damage = on_damage,
	.warning = on_warning,
};
