#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "formats/escape.h"
#include "formats/format.h"
#include "formats/heat.h"
#include "formats/html.h"
#include "formats/locations.h"
#include "formats/table.h"

#define WIDTH	    1200.0
#define MARGIN	    10.0
#define ROW	    18
#define HEAD	    52	/* above the graph */
#define LEGEND	    24	/* below it */
#define MIN_WIDTH   0.5 /* what is narrower cannot be seen */
#define MAX_DEPTH   250
#define CHARACTER   6.63 /* of the font below, at its size */
#define TITLE_BYTES 400

/* A place in the tree of functions, where stacks that differ in lines only are one. Place 0 is all:
 * what it has of its own are samples of threads without a Python frame. */
struct place {
	uint32_t parent, function;
	uint64_t direct, total, ns; /* samples, and the time of those in total */
	uint32_t below;		    /* places below it */
	uint32_t depth;
	double x; /* where it begins, in samples */
};

struct svg {
	const struct model *m;
	struct table places;
	struct heat_roots roots;
	uint32_t *first, *child;
	uint8_t *hidden; /* by place */
	uint32_t levels; /* that are drawn, with the base's */
	uint32_t narrow, deep;
};

static struct place *place_at(const struct svg *s, uint32_t i)
{
	return (struct place *)(void *)s->places.items + i;
}

/* ---- the tree ---- */

static int make_places(struct svg *s)
{
	const struct model *m = s->m;
	uint32_t *place = calloc(m->node_count, sizeof(*place));
	int r = place ? 0 : -ENOMEM;

	for (uint32_t i = 1; r == 0 && i < m->node_count; i++) {
		const struct model_node *node = &m->nodes[i];
		struct place key = {.parent = place[node->parent],
				    .function = m->frames[node->frame].function};

		place[i] = table_intern(&s->places, &key);
		if (place[i] == 0)
			r = -ENOMEM;
	}
	for (uint32_t i = 0; r == 0 && i < m->count_count; i++) {
		const struct model_count *c = &m->counts[i];
		struct place *p = place_at(s, place[c->node]);

		p->direct += c->count;
		p->total += c->count;
		p->ns += c->ns;
	}
	free(place);
	return r;
}

/* Parents come before their children. */
static void add_up(struct svg *s)
{
	for (uint32_t i = s->places.count - 1; i > 0; i--) {
		struct place *p = place_at(s, i), *parent = place_at(s, p->parent);

		parent->total += p->total;
		parent->ns += p->ns;
		parent->below += p->below + (p->total > 0);
	}
}

static int by_name(const void *a, const void *b, void *arg)
{
	const struct svg *s = arg;
	const struct model *m = s->m;
	const struct model_function *i = &m->functions[place_at(s, *(const uint32_t *)a)->function];
	const struct model_function *k = &m->functions[place_at(s, *(const uint32_t *)b)->function];
	int d = strcmp(m->strings[i->name].bytes, m->strings[k->name].bytes);

	d = d ? d : strcmp(m->strings[i->file].bytes, m->strings[k->file].bytes);
	return d ? d : (i->first_line > k->first_line) - (i->first_line < k->first_line);
}

static int lay_out(struct svg *s)
{
	uint32_t n = s->places.count;
	int r = children_of(&place_at(s, 0)->parent, sizeof(struct place), n, &s->first, &s->child);

	if (r < 0)
		return r;
	for (uint32_t i = 0; i < n; i++) {
		double x = place_at(s, i)->x;

		qsort_r(s->child + s->first[i], s->first[i + 1] - s->first[i], sizeof(*s->child),
			by_name, s);
		for (uint32_t k = s->first[i]; k < s->first[i + 1]; k++) {
			struct place *p = place_at(s, s->child[k]);

			p->x = x;
			p->depth = place_at(s, i)->depth + 1;
			x += (double)p->total;
		}
	}
	return 0;
}

/* ---- which of it is drawn ---- */

static double width_of(const struct svg *s, const struct place *p)
{
	return (double)p->total * (WIDTH - 2 * MARGIN) / (double)s->m->samples;
}

/* Calls draw, if there is one, for what is drawn; counts what is not. */
static void each(struct svg *s, void (*draw)(struct svg *s, const struct place *p, FILE *out),
		 FILE *out)
{
	s->narrow = s->deep = s->levels = 0;
	for (uint32_t i = 0; i < s->places.count; i++) {
		const struct place *p = place_at(s, i);

		s->hidden[i] = 1;
		if (p->total == 0 || (i && s->hidden[p->parent]))
			continue;
		if (width_of(s, p) < MIN_WIDTH) {
			s->narrow += 1 + p->below;
		} else if (p->depth >= MAX_DEPTH) {
			s->deep += 1 + p->below;
		} else {
			s->hidden[i] = 0;
			if (p->depth >= s->levels)
				s->levels = p->depth + 1;
			if (draw)
				draw(s, p, out);
		}
	}
}

/* ---- what is written ---- */

/* A shade of the colour of its kind, the same for a name everywhere. */
static const char *colour_of(const struct svg *s, const struct model_function *f)
{
	static const char *const shades[HEAT_KINDS][4] = {
		[HEAT_PROJECT] = {"#f8bd80", "#f5b06c", "#f9c994", "#f3a95f"},
		[HEAT_SITE] = {"#a8d5a2", "#99cc94", "#b8ddb1", "#8fc58c"},
		[HEAT_STDLIB] = {"#a9c9ea", "#98bde4", "#bad5ef", "#8fb6e0"},
		[HEAT_OTHER] = {"#d6c1e6", "#ccb3e0", "#dfcfec", "#c5a9db"},
		[HEAT_NO_FILE] = {"#d5d5d2", "#cccccb", "#dedede", "#c6c6c4"},
	};
	const struct model_string *name = &s->m->strings[f->name];
	uint32_t hash = 2166136261;

	for (uint32_t i = 0; i < name->len; i++)
		hash = (hash ^ (unsigned char)name->bytes[i]) * 16777619;
	return shades[heat_kind_of(&s->m->strings[f->file], &s->roots)][hash >> 13 & 3];
}

static const struct model_string everything = {"all", 3};

static const struct model_string *label_of(const struct svg *s, const struct place *p)
{
	return p == place_at(s, 0) ? &everything
				   : &s->m->strings[s->m->functions[p->function].name];
}

/* How many bytes of text fit into so many columns; wide characters take two. */
static size_t fitting(const struct model_string *text, unsigned columns)
{
	size_t at = 0;
	unsigned used = 0;

	while (at < text->len) {
		uint32_t point = 0;
		unsigned n =
			utf8_sequence((const uint8_t *)text->bytes + at, text->len - at, &point);
		char escaped[16];
		/* What is shown escaped is as long as that. */
		unsigned more = (unsigned)escape_text(escaped, sizeof(escaped), text->bytes + at,
						      n ? n : 1, ESCAPE_TERMINAL);

		if (n && more == n)
			more = point >= 0x1100 ? 2 : 1;
		if (used + more > columns)
			break;
		used += more;
		at += n ? n : 1;
	}
	return at;
}

static void put_label(FILE *out, const struct model_string *label, double x, double y, double width)
{
	unsigned columns = width > 6 ? (unsigned)((width - 6) / CHARACTER) : 0;
	size_t n = fitting(label, columns);

	if (n < label->len)
		n = columns >= 4 ? fitting(label, columns - 1) : 0;
	if (n == 0)
		return;
	fprintf(out, "<text x=\"%.1f\" y=\"%.1f\">", x + 3, y + 13);
	html_text(out, label->bytes, n);
	fputs(n < label->len ? "\xe2\x80\xa6</text>" : "</text>", out);
}

static void put_tooltip(const struct svg *s, const struct place *p, FILE *out)
{
	const struct model_function *f = &s->m->functions[p->function];
	const struct model_string *label = label_of(s, p), *file = &s->m->strings[f->file];

	fputs("<title>", out);
	html_clipped(out, label->bytes, label->len, TITLE_BYTES);
	if (f->file && p != place_at(s, 0)) {
		fputs(" (", out);
		html_tail(out, file->bytes, file->len, TITLE_BYTES);
		fprintf(out, ":%" PRId32 ")", f->first_line);
	}
	fprintf(out, "\n%" PRIu64 " samples, %.2f %%, %.3f s; %" PRIu64 " of them %s</title>",
		p->total, 100.0 * (double)p->total / (double)s->m->samples, (double)p->ns / 1e9,
		p->direct, p == place_at(s, 0) ? "without a Python frame" : "its own");
}

static void put_place(struct svg *s, const struct place *p, FILE *out)
{
	double scale = (WIDTH - 2 * MARGIN) / (double)s->m->samples;
	double x = MARGIN + p->x * scale, width = width_of(s, p);
	double y = HEAD + (MAX_DEPTH - 1 - (double)p->depth) * ROW;
	const struct model_function *f = &s->m->functions[p->function];

	fputs("<g>", out);
	put_tooltip(s, p, out);
	fprintf(out, "<rect x=\"%.2f\" y=\"%.1f\" width=\"%.2f\" height=\"%d\" fill=\"%s\"/>", x, y,
		width > 2 ? width - 0.6 : width, ROW - 1,
		p == place_at(s, 0) ? "#e4e4e0" : colour_of(s, f));
	put_label(out, label_of(s, p), x, y, width);
	fputs("</g>\n", out);
}

static const char *unit_of(enum mode mode)
{
	switch (mode) {
	case MODE_CPU:
		return "of CPU time";
	case MODE_GIL:
		return "of threads with the GIL";
	case MODE_EXCEPTION:
		return "of threads with an exception";
	default:
		return "of threads";
	}
}

/* Whose profile it is: the first process, and how many there are. */
static void put_head(const struct svg *s, FILE *out)
{
	const struct model *m = s->m;
	const struct stream_header *h = NULL;
	uint32_t n = 0;

	for (uint32_t i = 0; i < m->process_count; i++) {
		if (m->processes[i].samples == 0)
			continue;
		if (!h)
			h = &m->processes[i].header;
		n++;
	}
	fprintf(out, "<text x=\"%.0f\" y=\"20\" font-size=\"14\" font-weight=\"bold\">", MARGIN);
	if (h && h->command[0])
		html_clipped(out, h->command, strlen(h->command), 110);
	else
		fputs("profile", out);
	fprintf(out, "</text>\n<text x=\"%.0f\" y=\"39\" fill=\"#555\">", MARGIN);
	if (h) {
		fprintf(out, "process %" PRId32, h->pid);
		if (n > 1)
			fprintf(out, " and %" PRIu32 " more recordings", n - 1);
		if (h->python[0]) {
			fputs(", Python ", out);
			html_text(out, h->python, strlen(h->python));
		}
		fputs(": ", out);
	}
	fprintf(out, "%" PRIu64 " samples, %.2f s %s; width is samples</text>\n", m->samples,
		(double)m->ns / 1e9, unit_of(m->mode));
}

/* The colours, and what is left out. */
static void put_legend(const struct svg *s, FILE *out, double y)
{
	static const struct {
		const char *name, *colour;
	} kinds[] = {
		{"project", "#f8bd80"},		 {"site-packages", "#a8d5a2"},
		{"standard library", "#a9c9ea"}, {"other", "#d6c1e6"},
		{"no source", "#d5d5d2"},
	};
	double x = MARGIN;

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		fprintf(out,
			"<rect x=\"%.1f\" y=\"%.1f\" width=\"10\" height=\"10\" fill=\"%s\"/>"
			"<text x=\"%.1f\" y=\"%.1f\" fill=\"#555\">%s</text>\n",
			x, y, kinds[i].colour, x + 14, y + 9, kinds[i].name);
		x += 14 + CHARACTER * (double)strlen(kinds[i].name) + 16;
	}
	if (!s->narrow && !s->deep)
		return;
	fprintf(out, "<text x=\"%.0f\" y=\"%.1f\" text-anchor=\"end\" fill=\"#555\">",
		WIDTH - MARGIN, y + 9);
	if (s->narrow)
		fprintf(out, "%" PRIu32 " too narrow to be seen", s->narrow);
	if (s->deep)
		fprintf(out, "%s%" PRIu32 " above level %d", s->narrow ? ", " : "", s->deep,
			MAX_DEPTH - 1);
	fputs(": left out</text>\n", out);
}

static void put_all(struct svg *s, FILE *out)
{
	double graph;

	each(s, NULL, NULL);
	graph = (double)s->levels * ROW;
	fprintf(out,
		"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" "
		"viewBox=\"0 0 %.0f %.0f\" font-family=\"'DejaVu Sans Mono', Menlo, Consolas, "
		"monospace\" font-size=\"11\" fill=\"#1d1d1b\">\n"
		"<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
		WIDTH, HEAD + graph + LEGEND, WIDTH, HEAD + graph + LEGEND);
	put_head(s, out);
	/* Rows are placed as if there were all of them; the base stands at the bottom. */
	fprintf(out, "<g stroke=\"none\" transform=\"translate(0 %.0f)\">\n",
		graph - (double)MAX_DEPTH * ROW);
	each(s, put_place, out);
	fputs("</g>\n", out);
	put_legend(s, out, HEAD + graph + 7);
	fputs("</svg>\n", out);
}

static int svg_write(const struct model *m, const struct format_options *options, FILE *out)
{
	struct svg s = {.m = m};
	int r;

	if (m->samples == 0)
		return -ENODATA;
	r = table_init(&s.places, sizeof(struct place), offsetof(struct place, direct));
	if (r < 0)
		return r;
	heat_roots_find(m, &s.roots);
	r = make_places(&s);
	if (r == 0) {
		add_up(&s);
		r = lay_out(&s);
		s.hidden = calloc(s.places.count, 1);
		if (!s.hidden)
			r = -ENOMEM;
	}
	if (r == 0) {
		put_all(&s, out);
		r = ferror(out) ? -EIO : 0;
	}
	free(s.hidden);
	free(s.first);
	free(s.child);
	table_done(&s.places);
	return r;
}

const struct format format_svg = {
	.name = "svg",
	.extension = "svg",
	.extensions = "svg",
	.write = svg_write,
};
