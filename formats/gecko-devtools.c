/* One thread once more, as Firefox' DevTools wrote it before there was the Firefox Profiler: tables
 * are rows, and a function's name, file and line are one text. Readers take that apart by a pattern
 * and know a sample by the time to the next: times are sums of what the samples weigh, and one
 * stack many times in a row is one sample. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/bytes.h"
#include "formats/escape.h"
#include "formats/gecko.h"

struct writing {
	struct gecko *g;
	uint64_t time; /* ns that the samples before weigh */
	int64_t last;  /* stack of the row before; -2: there is none */
	/* In mode cpu, of each node: the CPU time that its samples are yet to get, and what they
	 * weigh. */
	uint64_t *due, *weight;
};

/* ---- what a sample weighs ---- */

static uint64_t span(const struct gecko_sample *s)
{
	return s->time > s->begin ? s->time - s->begin : 0;
}

static int add_weights(void *arg, const void *records, size_t n)
{
	struct writing *w = arg;
	const struct gecko_sample *s = records;

	for (size_t i = 0; i < n; i++)
		w->weight[s[i].node] += span(&s[i]) + 1;
	return 0;
}

/* CPU time is of stacks: the samples of each share it in proportion to the time that they stand
 * for. */
static int find_cpu_time(struct writing *w)
{
	const struct gecko *g = w->g;

	w->due = calloc(g->m->node_count, sizeof(*w->due));
	w->weight = calloc(g->m->node_count, sizeof(*w->weight));
	if (!w->due || !w->weight)
		return -ENOMEM;
	for (uint32_t i = 0; i < g->m->count_count; i++)
		if (g->tracks[g->m->counts[i].thread] == g->thread)
			w->due[g->m->counts[i].node] += g->m->counts[i].ns;
	return spool_each(g->samples, g->thread, add_weights, w);
}

static uint64_t weigh(struct writing *w, const struct gecko_sample *s)
{
	uint64_t *due, *weight, mine = span(s) + 1, part;
	double share;

	if (!w->due)
		return span(s);
	due = &w->due[s->node];
	weight = &w->weight[s->node];
	share = (double)*due * ((double)mine / (double)*weight);
	/* The last one takes all that is left. */
	part = mine != *weight && share < (double)*due ? (uint64_t)share : *due;
	*due -= part;
	*weight -= mine;
	return part;
}

/* ---- samples and stacks ---- */

static void put_row(struct gecko *g, int64_t stack, uint64_t time)
{
	gecko_separate(g);
	sink_byte(g->out, '[');
	gecko_put_known(g, stack, 0);
	sink_byte(g->out, ',');
	gecko_put_milliseconds(g, time);
	sink_byte(g->out, ']');
}

static int put_samples(void *arg, const void *records, size_t n)
{
	struct writing *w = arg;
	const struct gecko_sample *s = records;

	for (size_t i = 0; i < n; i++) {
		int64_t stack = gecko_stack(w->g, s[i].node, s[i].idle);

		if (stack != w->last)
			put_row(w->g, stack, w->time);
		w->last = stack;
		w->time += weigh(w, &s[i]);
	}
	return w->g->out->error;
}

static void put_stacks(struct gecko *g, const struct numbering *stacks)
{
	for (uint32_t i = 0; i < stacks->count; i++) {
		const struct model_node *node = &g->m->nodes[stacks->used[i]];
		uint32_t function = g->m->frames[node->frame].function;

		gecko_separate(g);
		sink_byte(g->out, '[');
		gecko_put_known(g, gecko_stack(g, node->parent, false), 0);
		sink_byte(g->out, ',');
		sink_unsigned(g->out, g->functions.number[function] - 1);
		sink_byte(g->out, ']');
	}
}

/* ---- functions, each of which is a frame ---- */

static void add_escaped(struct bytes *to, const struct model_string *s)
{
	if (bytes_reserve(to, 4 * (size_t)s->len + 1))
		to->len += escape_text((char *)to->data + to->len, to->cap - to->len, s->bytes,
				       s->len, ESCAPE_TERMINAL);
}

/* Whether a character of a file's text would be taken for the begin of the file or the line, or the
 * text for one of Firefox' own code, which is left out. */
static bool is_misread(const char *text, size_t at)
{
	switch (text[at]) {
	case '(': /* behind a space, of which there are many */
		return at && (text[at - 1] == ' ' || (unsigned char)text[at - 1] >= 0x80);
	case ':':
		return text[at + 1] >= '0' && text[at + 1] <= '9';
	default:
		return at == 0 && (strncmp(text, "resource:", 9) == 0 ||
				   strncmp(text, "self-hosted", 11) == 0);
	}
}

static void add_file(struct bytes *to, const struct model_string *file)
{
	struct bytes text = {0};

	add_escaped(&text, file);
	for (size_t i = 0; i < text.len; i++) {
		char c = (char)text.data[i], hex[8];

		if (is_misread((const char *)text.data, i))
			bytes_put(to, hex, (size_t)snprintf(hex, sizeof(hex), "\\x%02x", c));
		else
			bytes_byte(to, (uint8_t)c);
	}
	to->failed |= text.failed;
	bytes_done(&text);
}

/* "NAME (FILE:LINE)", with the line where it is defined; "NAME ()" where there is no file: what
 * has no such end is left out by readers. */
static void put_location(struct gecko *g, const struct model_function *f, struct bytes *text)
{
	char line[16];

	text->len = 0;
	add_escaped(text, &g->m->strings[f->name]);
	bytes_put(text, " (", 2);
	if (f->file)
		add_file(text, &g->m->strings[f->file]);
	if (f->file && f->first_line > 0)
		bytes_put(text, line, (size_t)snprintf(line, sizeof(line), ":%d", f->first_line));
	bytes_byte(text, ')');
	if (!text->failed)
		sink_json(g->out, (const char *)text->data, text->len);
	else if (!g->out->error)
		g->out->error = -ENOMEM;
}

static void put_functions(struct gecko *g)
{
	struct bytes text = {0};

	sink_text(g->out, ",\n\"frameTable\":{\"schema\":{\"location\":0}");
	gecko_begin_column(g, "data");
	for (uint32_t i = 0; i < g->functions.count; i++) {
		gecko_separate(g);
		sink_byte(g->out, '[');
		sink_unsigned(g->out, i);
		sink_byte(g->out, ']');
	}
	gecko_end_column(g);
	sink_byte(g->out, '}');
	gecko_begin_column(g, "stringTable");
	for (uint32_t i = 0; i < g->functions.count; i++) {
		gecko_separate(g);
		put_location(g, &g->m->functions[g->functions.used[i]], &text);
	}
	gecko_end_column(g);
	bytes_done(&text);
}

/* ---- the thread ---- */

static int put_thread(struct writing *w)
{
	struct gecko *g = w->g;
	const struct model_thread *t = &g->m->threads[g->thread];
	int r;

	sink_text(g->out, ",\n\"systemHost\":{\"name\":\"Firefox\"},\n\"profile\":{\"threads\":["
			  "{\"name\":\"GeckoMain\",\"pid\":");
	sink_signed(g->out, g->m->processes[t->process].header.pid);
	sink_text(g->out, ",\"tid\":");
	sink_unsigned(g->out, t->tid);
	sink_text(g->out, ",\n\"samples\":{\"schema\":{\"stack\":0,\"time\":1}");
	gecko_begin_column(g, "data");
	r = spool_each(g->samples, g->thread, put_samples, w);
	put_row(g, -1, w->time);
	gecko_end_column(g);
	sink_text(g->out, "},\n\"stackTable\":{\"schema\":{\"prefix\":0,\"frame\":1}");
	gecko_begin_column(g, "data");
	put_stacks(g, &g->stacks);
	put_stacks(g, &g->idle_stacks);
	gecko_end_column(g);
	sink_byte(g->out, '}');
	put_functions(g);
	sink_text(g->out, "}]}");
	return r;
}

int gecko_put_devtools(struct gecko *g)
{
	struct writing w = {.g = g, .last = -2};
	int r = gecko_number_tables(g);

	if (r == 0 && g->m->mode == MODE_CPU)
		r = find_cpu_time(&w);
	if (r == 0)
		r = put_thread(&w);
	free(w.due);
	free(w.weight);
	return r;
}
