/* The callgrind profile format (valgrind's manual, "Callgrind Format Specification"): costs by
 * line, and calls with what they cost inclusively, in samples and nanoseconds.
 *
 * Each thread is a function of its own that calls what stands at the base of its stacks, so that
 * every other function is called by one. A sample goes to each function on its stack once: to the
 * call of its outermost occurrence. The calls of a function thus add up to its inclusive cost, with
 * recursion too; calls further in have no cost of their own. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "formats/bytes.h"
#include "formats/escape.h"
#include "formats/format.h"
#include "formats/locations.h"
#include "formats/places.h"
#include "formats/sink.h"
#include "formats/tracks.h"

struct cost {
	uint64_t samples, ns;
};

struct function {
	uint32_t file, name; /* strings of the model; file 0: none */
	int32_t first_line;
};

struct call {
	uint32_t from, to; /* a location, the function that it calls */
	struct cost cost;
};

struct callgrind {
	const struct model *m;
	struct sink *out;
	struct locations locations;
	struct places places;
	struct table functions, calls;
	uint32_t *function_of; /* of each location */
	struct cost *self;     /* of each location */
	struct cost *below;    /* of each place, with all that stand on it */
	bool *file_named, *function_named;
	struct bytes text;
};

static void add(struct cost *to, const struct cost *c)
{
	to->samples += c->samples;
	to->ns += c->ns;
}

static const struct function *function_get(const struct callgrind *c, uint32_t i)
{
	return (const struct function *)(const void *)c->functions.items + i;
}

static int make_functions(struct callgrind *c)
{
	const struct model *m = c->m;
	struct function *functions;

	for (uint32_t i = 1; i < m->frame_count; i++) {
		uint32_t l = c->locations.by_frame[i];
		const struct location *at = locations_get(&c->locations, l);
		struct function key = {.file = at->file, .name = at->name};
		int32_t line = m->functions[m->frames[i].function].first_line;

		c->function_of[l] = table_intern(&c->functions, &key);
		if (c->function_of[l] == 0)
			return -ENOMEM;
		functions = (void *)c->functions.items;
		functions[c->function_of[l]].first_line = at->file && line > 0 ? line : 0;
	}
	return 0;
}

static void add_costs(struct callgrind *c)
{
	const struct model *m = c->m;

	for (uint32_t i = 0; i < m->count_count; i++) {
		const struct model_count *count = &m->counts[i];
		struct cost cost = {count->count, count->ns};
		uint32_t place = c->places.by_node[count->node];

		add(&c->below[place], &cost);
		if (place)
			add(&c->self[places_get(&c->places, place)->group], &cost);
	}
	/* Parents come before their children; place 0 keeps what has no frame. */
	for (uint32_t i = c->places.table.count - 1; i > 0; i--) {
		uint32_t parent = places_get(&c->places, i)->parent;

		if (parent)
			add(&c->below[parent], &c->below[i]);
	}
}

static int add_call(struct callgrind *c, uint32_t place)
{
	const struct place *p = places_get(&c->places, place);
	struct call key = {.from = places_get(&c->places, p->parent)->group,
			   .to = c->function_of[p->group]};
	uint32_t i = table_intern(&c->calls, &key);

	if (i == 0)
		return -ENOMEM;
	add(&((struct call *)(void *)c->calls.items)[i].cost, &c->below[place]);
	return 0;
}

/* Walks the tree and gives each function's outermost occurrence to the call of it. */
static int add_calls(struct callgrind *c)
{
	const struct place *places = (const void *)c->places.table.items;
	uint32_t count = c->places.table.count, at = 0, *first, *child;
	uint32_t *active = calloc(c->functions.count, sizeof(*active));
	uint32_t *next = calloc(count, sizeof(*next));
	int r = children_of(&places->parent, sizeof(*places), count, &first, &child);

	if (r < 0 || !active || !next) {
		if (r == 0) {
			free(first);
			free(child);
		}
		free(active);
		free(next);
		return -ENOMEM;
	}
	memcpy(next, first, count * sizeof(*next));
	while (r == 0) {
		if (next[at] < first[at + 1]) {
			at = child[next[at]++];
			if (active[c->function_of[places[at].group]]++ == 0 && places[at].parent)
				r = add_call(c, at);
		} else if (at) {
			active[c->function_of[places[at].group]]--;
			at = places[at].parent;
		} else {
			break;
		}
	}
	free(first);
	free(child);
	free(active);
	free(next);
	return r;
}

static uint32_t caller_of(const struct callgrind *c, const struct call *call)
{
	return c->function_of[call->from];
}

static int by_caller(const void *a, const void *b, void *arg)
{
	const struct callgrind *c = arg;
	const struct call *i = a, *k = b;
	uint32_t caller_i = caller_of(c, i), caller_k = caller_of(c, k);

	if (caller_i != caller_k)
		return caller_i < caller_k ? -1 : 1;
	if (i->from != k->from)
		return i->from < k->from ? -1 : 1;
	return (i->to > k->to) - (i->to < k->to);
}

/* A line each is all that the format has for a name. */
static void put_name(struct callgrind *c, const char *name, size_t len)
{
	c->text.len = 0;
	if (!bytes_reserve(&c->text, 10 * len + 1)) {
		c->out->error = -ENOMEM;
		return;
	}
	c->text.len = escape_text((char *)c->text.data, c->text.cap, name, len, ESCAPE_TERMINAL);
	if (c->text.len)
		sink_put(c->out, c->text.data, c->text.len);
	else
		sink_text(c->out, "<empty>");
}

/* "fl=(1) name" the first time, then "fl=(1)". */
static void put_file(struct callgrind *c, const char *key, uint32_t file)
{
	sink_text(c->out, key);
	sink_byte(c->out, '(');
	sink_unsigned(c->out, file + 1);
	sink_byte(c->out, ')');
	if (!c->file_named[file]) {
		sink_byte(c->out, ' ');
		if (file)
			put_name(c, c->m->strings[file].bytes, c->m->strings[file].len);
		else
			sink_text(c->out, "???");
		c->file_named[file] = true;
	}
	sink_byte(c->out, '\n');
}

static void put_function(struct callgrind *c, const char *key, uint32_t function)
{
	const struct model_string *name = &c->m->strings[function_get(c, function)->name];

	sink_text(c->out, key);
	sink_byte(c->out, '(');
	sink_unsigned(c->out, function);
	sink_byte(c->out, ')');
	if (!c->function_named[function]) {
		sink_byte(c->out, ' ');
		put_name(c, name->bytes, name->len);
		c->function_named[function] = true;
	}
	sink_byte(c->out, '\n');
}

static void put_cost(struct callgrind *c, int32_t line, const struct cost *cost)
{
	sink_signed(c->out, line);
	sink_byte(c->out, ' ');
	sink_unsigned(c->out, cost->samples);
	sink_byte(c->out, ' ');
	sink_unsigned(c->out, cost->ns);
	sink_byte(c->out, '\n');
}

static void put_call(struct callgrind *c, int32_t line, uint32_t to, const struct cost *cost)
{
	const struct function *callee = function_get(c, to);

	put_file(c, "cfi=", callee->file);
	put_function(c, "cfn=", to);
	sink_text(c->out, "calls=");
	/* How often it was called is not known: how often it was seen called. 0 is no call. */
	sink_unsigned(c->out, cost->samples ? cost->samples : 1);
	sink_byte(c->out, ' ');
	sink_signed(c->out, callee->first_line);
	sink_byte(c->out, '\n');
	put_cost(c, line, cost);
}

static void put_header(struct callgrind *c)
{
	const struct model *m = c->m;
	const struct stream_header *h = &m->processes[0].header;

	sink_text(c->out, "# callgrind format\nversion: 1\ncreator: pyprof\npid: ");
	sink_signed(c->out, h->pid);
	sink_text(c->out, "\ncmd: ");
	put_name(c, h->command, strlen(h->command));
	sink_text(c->out, "\ndesc: Calls: samples that saw the call\n"
			  "positions: line\n"
			  "event: Samples : samples\n");
	sink_text(c->out, m->mode == MODE_CPU ? "event: Time : CPU time (ns)\n"
					      : "event: Time : time between samples (ns)\n");
	sink_text(c->out, "events: Samples Time\nsummary: ");
	sink_unsigned(c->out, m->samples);
	sink_byte(c->out, ' ');
	sink_unsigned(c->out, m->ns);
	sink_byte(c->out, '\n');
}

/* The places at the base of a thread's stacks, as calls of the thread. */
struct base_call {
	uint32_t thread, function; /* function 0: samples without a frame */
	struct cost cost;
};

static uint32_t base_of(const struct callgrind *c, uint32_t place)
{
	for (const struct place *p; (p = places_get(&c->places, place))->parent;)
		place = p->parent;
	return c->function_of[places_get(&c->places, place)->group];
}

static int by_thread(const void *a, const void *b)
{
	const struct base_call *i = a, *k = b;

	if (i->thread != k->thread)
		return i->thread < k->thread ? -1 : 1;
	return (i->function > k->function) - (i->function < k->function);
}

static void put_thread_name(struct callgrind *c, uint32_t thread)
{
	const struct model_thread *t = &c->m->threads[thread];
	const struct model_string *name = &c->m->strings[t->name];

	sink_text(c->out, "\nfl=(1)");
	if (!c->file_named[0])
		sink_text(c->out, " ???");
	c->file_named[0] = true;
	sink_text(c->out, "\nfn=(");
	/* Behind those of the functions. */
	sink_unsigned(c->out, (uint64_t)c->functions.count + thread);
	sink_text(c->out, ") thread");
	if (name->len) {
		sink_byte(c->out, ' ');
		put_name(c, name->bytes, name->len);
	} else if (t->main) {
		sink_text(c->out, " MainThread");
	}
	sink_text(c->out, " (pid ");
	sink_signed(c->out, c->m->processes[t->process].header.pid);
	sink_text(c->out, ", tid ");
	sink_unsigned(c->out, t->tid);
	sink_text(c->out, ")\n");
}

static int put_threads(struct callgrind *c)
{
	const struct model *m = c->m;
	struct base_call *calls;
	struct table table;
	uint32_t *tracks = NULL;
	int r = table_init(&table, sizeof(struct base_call), offsetof(struct base_call, cost));

	if (r == 0)
		r = tracks_find(&tracks, m);
	for (uint32_t i = 0; r == 0 && i < m->count_count; i++) {
		const struct model_count *count = &m->counts[i];
		struct cost cost = {count->count, count->ns};
		struct base_call key = {.thread = tracks[count->thread]};
		uint32_t place = c->places.by_node[count->node], at;

		if (place)
			key.function = base_of(c, place);
		at = table_intern(&table, &key);
		if (at)
			add(&((struct base_call *)(void *)table.items)[at].cost, &cost);
		else
			r = -ENOMEM;
	}
	calls = (void *)table.items;
	if (r == 0 && table.count > 2)
		qsort(calls + 1, table.count - 1, sizeof(*calls), by_thread);
	for (uint32_t i = 1; r == 0 && i < table.count; i++) {
		if (i == 1 || calls[i].thread != calls[i - 1].thread)
			put_thread_name(c, calls[i].thread);
		if (calls[i].function)
			put_call(c, 0, calls[i].function, &calls[i].cost);
		else
			put_cost(c, 0, &calls[i].cost);
	}
	free(tracks);
	table_done(&table);
	return r;
}

static int by_function(const void *a, const void *b, void *arg)
{
	const struct callgrind *c = arg;
	uint32_t i = *(const uint32_t *)a, k = *(const uint32_t *)b;

	if (c->function_of[i] != c->function_of[k])
		return c->function_of[i] < c->function_of[k] ? -1 : 1;
	return (i > k) - (i < k);
}

static int put_functions(struct callgrind *c)
{
	const struct call *call = (const struct call *)(const void *)c->calls.items + 1;
	const struct call *end = call + c->calls.count - 1;
	uint32_t n = c->locations.table.count, last = 0, *order = calloc(n, sizeof(*order));

	if (!order)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++)
		order[i] = i;
	qsort_r(order + 1, n - 1, sizeof(*order), by_function, c);
	qsort_r((void *)(uintptr_t)call, (size_t)(end - call), sizeof(*call), by_caller, c);
	for (uint32_t i = 1; i < n; i++) {
		uint32_t l = order[i], function = c->function_of[l];
		const struct location *at = locations_get(&c->locations, l);

		if (function == 0)
			continue;
		if (function != last) {
			sink_byte(c->out, '\n');
			put_file(c, "fl=", at->file);
			put_function(c, "fn=", function);
			last = function;
			/* So that its file has a line, whatever is called there. */
			put_cost(c, function_get(c, function)->first_line, &(struct cost){0, 0});
		}
		if (c->self[l].samples || c->self[l].ns)
			put_cost(c, at->line, &c->self[l]);
		for (; call < end && call->from == l; call++)
			put_call(c, at->line, call->to, &call->cost);
	}
	free(order);
	return 0;
}

static int prepare(struct callgrind *c)
{
	const struct model *m = c->m;
	int r = locations_init(&c->locations, m);

	if (r < 0)
		return r;
	r = places_init(&c->places, m, c->locations.by_frame, m->grouped);
	if (r == 0)
		r = table_init(&c->functions, sizeof(struct function),
			       offsetof(struct function, first_line));
	if (r == 0)
		r = table_init(&c->calls, sizeof(struct call), offsetof(struct call, cost));
	if (r < 0)
		return r;
	c->function_of = calloc(c->locations.table.count, sizeof(*c->function_of));
	c->self = calloc(c->locations.table.count, sizeof(*c->self));
	c->below = calloc(c->places.table.count, sizeof(*c->below));
	c->file_named = calloc(m->string_count, sizeof(*c->file_named));
	if (!c->function_of || !c->self || !c->below || !c->file_named)
		return -ENOMEM;
	r = make_functions(c);
	if (r < 0)
		return r;
	c->function_named = calloc(c->functions.count, sizeof(*c->function_named));
	if (!c->function_named)
		return -ENOMEM;
	add_costs(c);
	return add_calls(c);
}

static int callgrind_write(const struct model *m, const struct format_options *options, FILE *out)
{
	struct callgrind c = {.m = m};
	int r;

	if (m->samples == 0)
		return -ENODATA;
	r = prepare(&c);
	if (r == 0) {
		c.out = sink_new(out);
		if (c.out) {
			put_header(&c);
			r = put_threads(&c);
			if (r == 0)
				r = put_functions(&c);
		}
		r = sink_finish(c.out, r);
	}
	free(c.function_of);
	free(c.self);
	free(c.below);
	free(c.file_named);
	free(c.function_named);
	bytes_done(&c.text);
	table_done(&c.functions);
	table_done(&c.calls);
	places_done(&c.places);
	locations_done(&c.locations);
	return r;
}

const struct format format_callgrind = {
	.name = "callgrind",
	.extension = "out",
	.extensions = "callgrind",
	.write = callgrind_write,
};
