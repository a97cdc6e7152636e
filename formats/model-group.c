#include "formats/model-parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_COMPARED 64 /* streams that each other one's boot is held against */

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
	model_publish(g->m);
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
	if (r == 0 && timeline_change(&p->waits, regroup_sample, g) == -ENOMEM)
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
	const char *name = base_name(model_source_name(m, source));

	for (uint32_t i = 1; i <= m->p->source_count; i++)
		if (i != source && strcmp(base_name(model_source_name(m, i)), name) == 0)
			return model_source_name(m, source);
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
		process->label = model_add_string(m, &s);
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
	model_publish(m);
	return 0;
}

/* ---- one thread for many ---- */

/* What to add to times of one process to have them on the clock of another: of two boots, by their
 * real clocks. */
static uint64_t clock_shift(const struct model *m, uint32_t from, uint32_t to)
{
	const struct stream_header *a = &m->processes[from].header, *b = &m->processes[to].header;

	if (strcmp(a->boot_id, b->boot_id) == 0 || !a->start_real_ns || !b->start_real_ns)
		return 0;
	return a->start_real_ns - a->start_monotonic_ns -
	       (b->start_real_ns - b->start_monotonic_ns);
}

/* shift: to add to its times. */
static void add_thread(struct model_thread *to, const struct model_thread *t, uint64_t shift)
{
	to->samples += t->samples;
	to->ns += t->ns;
	for (int i = 0; i < MODEL_STATES; i++)
		to->states[i] += t->states[i];
	for (int i = 0; i < 2; i++)
		to->exceptions[i] += t->exceptions[i];
	for (int i = 0; i < 3; i++)
		to->how[i] += t->how[i];
	if (t->seen && (!to->seen || t->first_ns + shift < to->first_ns))
		to->first_ns = t->first_ns + shift;
	if (t->seen && (!to->seen || t->last_ns + shift >= to->last_ns)) {
		to->last_ns = t->last_ns + shift;
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

struct folding {
	const struct model *m;
	const uint32_t *owner; /* of each process */
	uint32_t *thread;      /* of each old thread: the new one */
};

static int refold_sample(void *arg, struct model_sample *s)
{
	const struct folding *f = arg;
	uint32_t process = f->m->threads[s->thread].process;

	s->time_ns += clock_shift(f->m, process, f->owner[process]);
	s->thread = f->thread[s->thread];
	return 0;
}

int model_fold_threads(struct model *m, bool all_processes)
{
	struct model_private *p = m->p;
	struct folding folding = {.m = m};
	uint32_t *owner = calloc((size_t)m->process_count + 1, sizeof(*owner));
	struct table threads = {0}, counts = {0};
	int r = owner ? 0 : -ENOMEM;

	folding.owner = owner;
	folding.thread = calloc(m->thread_count, sizeof(*folding.thread));
	if (!folding.thread)
		r = -ENOMEM;
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

		if (thread == 0)
			r = -ENOMEM;
		else
			add_thread((struct model_thread *)(void *)threads.items + thread,
				   &m->threads[i],
				   clock_shift(m, m->threads[i].process, key.process));
		folding.thread[i] = thread;
	}
	for (uint32_t i = 0; r == 0 && i < m->count_count; i++) {
		const struct model_count *c = &m->counts[i];
		struct model_thread thread = {.process = owner[m->threads[c->thread].process]};
		struct model_count key = {table_intern(&threads, &thread), c->node, 0, 0}, *to;
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
		timeline_change(&p->timeline, refold_sample, &folding);
	if (r == 0)
		timeline_change(&p->waits, refold_sample, &folding);
	free(folding.thread);
	free(owner);
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
	model_publish(m);
	return 0;
}
