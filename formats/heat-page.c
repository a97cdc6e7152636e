#include "formats/heat-page.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "formats/html.h"
#include "formats/opcode.h"

#define MAX_LINES     100000 /* of source in a page; beyond, only those with samples */
#define MAX_LINE      2000   /* bytes of a line of source */
#define MAX_NAME      120    /* bytes of a name in running text */
#define MAX_PATH      300
#define MAX_CALLS     12 /* callers or callees of a line */
#define MAX_SPOTS     64 /* expressions of a line */
#define MAX_OPS	      24
#define MAX_FUNCTIONS 500 /* in the list of a page */

/* ---- what the pages share ---- */

void heat_page_share(FILE *out, uint64_t part, uint64_t whole)
{
	double share = whole ? 100.0 * (double)part / (double)whole : 0;

	if (part && share < 0.05)
		fputs("&lt;0.1%", out);
	else
		fprintf(out, "%.1f%%", share);
}

/* Tenths of a percent from which on each level is. */
static const unsigned least[HEATMAP_LEVELS] = {0, 1, 3, 10, 30, 100, 300};

unsigned heat_page_level(uint64_t part, uint64_t whole)
{
	unsigned level = 0;

	while (part && level < HEATMAP_LEVELS &&
	       1000 * (double)part >= (double)least[level] * (double)whole)
		level++;
	return level;
}

void heat_page_legend(FILE *out)
{
	fputs("<span class=\"legend\" title=\"Share of all samples, at least\">", out);
	for (unsigned i = 0; i < HEATMAP_LEVELS; i++)
		fprintf(out, "<i class=\"k%u\">%s%g%%</i>", i + 1, i ? "" : "&gt;",
			least[i] / 10.0);
	fputs("</span>\n", out);
}

void heat_page_time(FILE *out, uint64_t ns)
{
	if (ns >= 100000000000)
		fprintf(out, "%.0f s", (double)ns / 1e9);
	else if (ns >= 1000000000)
		fprintf(out, "%.2f s", (double)ns / 1e9);
	else if (ns >= 1000000)
		fprintf(out, "%.1f ms", (double)ns / 1e6);
	else
		fprintf(out, "%.0f \xc2\xb5s", (double)ns / 1e3);
}

void heat_page_value(FILE *out, const struct heatmap *w, const char *element, const char *class,
		     uint64_t samples, uint64_t ns)
{
	fprintf(out, "<%s class=\"%s\" data-n=\"%" PRIu64 "\" data-u=\"%" PRIu64 "\">", element,
		class, samples, ns / 1000);
	heat_page_share(out, samples, w->m->samples);
	fprintf(out, "</%s>", element);
}

struct model_string heat_page_base(const struct model_string *path)
{
	const char *slash = path->len ? memrchr(path->bytes, '/', path->len) : NULL;
	struct model_string base = *path;

	if (slash && slash + 1 < path->bytes + path->len) {
		base.bytes = slash + 1;
		base.len = (uint32_t)(path->bytes + path->len - base.bytes);
	}
	return base;
}

void heat_page_link(FILE *out, const struct heatmap *w, uint32_t file, int32_t line, uint32_t name)
{
	const struct model_string *s = &w->m->strings[name];
	struct model_string base;

	if (file && w->page[file])
		fprintf(out, "<a href=\"%" PRIu32 ".html#L%" PRId32 "\">", w->page[file],
			line > 0 ? line : 0);
	fputs("<bdi>", out);
	html_clipped(out, s->bytes, s->len, MAX_NAME);
	fputs("</bdi>", out);
	if (file) {
		base = heat_page_base(&w->m->strings[heat_file(&w->heat, file)->name]);
		fputs(" <small><bdi>", out);
		html_clipped(out, base.bytes, base.len, MAX_NAME);
		fprintf(out, "</bdi>:%" PRId32 "</small>", line > 0 ? line : 0);
	}
	if (file && w->page[file])
		fputs("</a>", out);
}

void heat_page_head(FILE *out, const struct heatmap *w, const struct model_string *title,
		    const char *kind)
{
	fputs("<!doctype html>\n<html lang=\"en\" class=\"by-self\">\n<head>\n"
	      "<meta charset=\"utf-8\">\n" HEATMAP_MARK "\n"
	      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
	      "script-src 'self'; style-src 'self'; img-src data:; base-uri 'none'; "
	      "form-action 'none'; require-trusted-types-for 'script'\">\n"
	      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
	      "<meta name=\"referrer\" content=\"no-referrer\">\n"
	      "<link rel=\"icon\" href=\"data:,\">\n"
	      "<title>",
	      out);
	html_clipped(out, title->bytes, title->len, MAX_NAME);
	fprintf(out,
		" - heatmap</title>\n"
		"<link rel=\"stylesheet\" href=\"heatmap.css\">\n"
		"<script src=\"heatmap.js\"></script>\n"
		"</head>\n<body class=\"%s\" data-samples=\"%" PRIu64 "\">\n",
		kind, w->m->samples);
}

static void button(FILE *out, const char *name, const char *value, const char *text,
		   const char *title)
{
	fprintf(out,
		"<button type=\"button\" data-set=\"%s\" data-to=\"%s\" title=\"%s\" "
		"aria-pressed=\"false\">%s</button>",
		name, value, title, text);
}

static void action(FILE *out, const char *name, const char *text, const char *title)
{
	fprintf(out,
		"<button type=\"button\" data-do=\"%s\" title=\"%s\" aria-label=\"%s\">%s</button>",
		name, title, title, text);
}

void heat_page_tools(FILE *out, bool lines)
{
	fputs("<div class=\"tools\" role=\"toolbar\" aria-label=\"How it is shown\">\n<span "
	      "class=\"group\">",
	      out);
	button(out, "by", "self", "Self", "Colour by samples in the line itself (s)");
	button(out, "by", "total", "Total", "Colour by samples in the line and all it calls (s)");
	fputs("</span>\n<span class=\"group\">", out);
	button(out, "unit", "share", "%", "Show shares of all samples (u)");
	button(out, "unit", "samples", "Samples", "Show numbers of samples (u)");
	button(out, "unit", "time", "Time", "Show time (u)");
	fputs("</span>\n", out);
	if (lines) {
		fputs("<span class=\"group\">", out);
		button(out, "hot", "toggle", "Hot only", "Hide lines without samples (o)");
		fputs("</span>\n<span class=\"group\">", out);
		action(out, "previous", "\xe2\x96\xb2", "Previous hot line (p)");
		action(out, "next", "\xe2\x96\xbc", "Next hot line (n)");
		action(out, "hottest", "\xe2\x98\x85", "Hottest line (h)");
		fputs("</span>\n", out);
	}
	fputs("<span class=\"group\">", out);
	action(out, "theme", "\xe2\x97\x90", "Theme: as the system, light, dark (t)");
	action(out, "help", "?", "Keys (?)");
	fputs("</span>\n</div>\n", out);
}

/* ---- a page ---- */

struct page {
	struct heatmap *w;
	FILE *out;
	uint32_t file;
	struct format_source source;
	const char **lines; /* where each begins, and one more; NULL: no source */
	uint32_t line_count;
	/* Cursors over what the rows are made of. */
	const uint32_t *hot, *hot_end; /* lines of the file with samples */
	const uint32_t *function, *function_end;
	bool no_fit; /* the source cannot be that which ran */
};

static int split(struct page *p)
{
	const char *at = p->source.text, *end = at + p->source.len;
	uint32_t n = 0;

	while (at < end && n < MAX_LINES) {
		at = memchr(at, '\n', end - at);
		at = at ? at + 1 : end;
		n++;
	}
	p->lines = malloc(((size_t)n + 1) * sizeof(*p->lines));
	if (!p->lines)
		return -ENOMEM;
	p->line_count = n;
	at = p->source.text;
	for (uint32_t i = 0; i < n; i++) {
		p->lines[i] = at;
		at = memchr(at, '\n', end - at);
		at = at ? at + 1 : end;
	}
	p->lines[n] = at;
	return 0;
}

/* Line n, from 1 on, without what ends it. */
static struct model_string source_line(const struct page *p, int32_t n)
{
	struct model_string s = {"", 0};
	const char *end;

	if (!p->lines || n < 1 || (uint32_t)n > p->line_count)
		return s;
	s.bytes = p->lines[n - 1];
	end = p->lines[n];
	while (end > s.bytes && (end[-1] == '\n' || end[-1] == '\r'))
		end--;
	s.len = (uint32_t)(end - s.bytes);
	return s;
}

static bool is_whole(const struct page *p)
{
	return p->lines && p->lines[p->line_count] == p->source.text + p->source.len;
}

/* Whether all that was recorded of the file has a place in this source. */
static bool fits(const struct page *p)
{
	const struct heat *h = &p->w->heat;

	for (const uint32_t *l = p->hot; l < p->hot_end; l++) {
		const struct heat_line *line = heat_line(h, *l);
		uint32_t len = source_line(p, line->line).len;

		if (line->line > 0 && (uint32_t)line->line > p->line_count)
			return !is_whole(p);
		for (uint32_t i = h->spots_of_line.first[*l]; i < h->spots_of_line.first[*l + 1];
		     i++) {
			const struct heat_spot *s = heat_spot(h, h->spots_of_line.item[i]);

			if (s->column > 0 && (uint32_t)s->column > len)
				return false;
			if (s->end_line == line->line && s->end_column > 0 &&
			    (uint32_t)s->end_column > len)
				return false;
		}
	}
	return true;
}

/* Reads the source: 0, or why there is none. */
static int read_source(struct page *p)
{
	struct heatmap *w = p->w;
	const struct model_string *name = &w->m->strings[heat_file(&w->heat, p->file)->name];
	int r;

	if (!w->options->source_file || name->len == 0 || name->bytes[0] == '<' ||
	    strlen(name->bytes) != name->len)
		return -ENOENT;
	if (w->source_bytes >= HEATMAP_MAX_SOURCES)
		return -EDQUOT;
	r = w->options->source_file(w->options->arg, name->bytes, &p->source);
	if (r < 0)
		return r;
	w->source_bytes += p->source.len;
	r = split(p);
	p->no_fit = r == 0 && !fits(p);
	return r;
}

static void note(FILE *out, const char *text)
{
	fprintf(out, "<p class=\"note\">%s</p>\n", text);
}

static void put_notes(const struct page *p, int missing)
{
	const char *only = "Only lines with samples are shown.";
	FILE *out = p->out;

	if (missing == -EFBIG || missing == -EDQUOT)
		fprintf(out, "<p class=\"note\">%s %s</p>\n",
			missing == -EFBIG ? "The source is larger than is shown."
					  : "There is more source than is shown in all.",
			only);
	else if (missing == -EILSEQ)
		fprintf(out, "<p class=\"note\">What is there under this name is no text. %s</p>\n",
			only);
	else if (missing)
		fprintf(out, "<p class=\"note\">The source is not to be had: %s. %s</p>\n",
			strerror(-missing), only);
	if (!missing && p->no_fit)
		note(out, "This is not the source that ran: lines or columns of the recording are "
			  "not in "
			  "it. What stands beside its lines may belong to others.");
	else if (!missing && p->w->start_real_ns && p->source.mtime_ns > p->w->start_real_ns)
		note(out,
		     "The source was changed after the recording began: what stands beside its "
		     "lines may belong to others.");
	if (!missing && !is_whole(p))
		fprintf(out,
			"<p class=\"note\">From line %d on only lines with samples are "
			"shown.</p>\n",
			MAX_LINES + 1);
}

static void put_functions(const struct page *p)
{
	const struct model *m = p->w->m;
	uint32_t n = 0;

	if (p->function == p->function_end)
		return;
	fprintf(p->out, "<details class=\"functions\"><summary>Functions (%zu)</summary><ul>\n",
		(size_t)(p->function_end - p->function));
	for (const uint32_t *f = p->function; f < p->function_end && n < MAX_FUNCTIONS; f++, n++) {
		const struct model_function *function = &m->functions[*f];
		const struct call_stat *s = &p->w->heat.functions[*f];

		fprintf(p->out, "<li><a href=\"#L%" PRId32 "\"><bdi>",
			function->first_line > 0 ? function->first_line : 0);
		html_clipped(p->out, m->strings[function->name].bytes,
			     m->strings[function->name].len, MAX_NAME);
		fputs("</bdi></a> ", p->out);
		heat_page_value(p->out, p->w, "b", "vs", s->direct, s->direct_ns);
		heat_page_value(p->out, p->w, "b", "vt", s->cumulative, s->cumulative_ns);
		fputs("</li>\n", p->out);
	}
	if (p->function_end - p->function > MAX_FUNCTIONS)
		fputs("<li>and more</li>\n", p->out);
	fputs("</ul></details>\n", p->out);
}

static const char *const kind_names[HEAT_KINDS] = {
	[HEAT_PROJECT] = "project",
	[HEAT_SITE] = "site-packages",
	[HEAT_STDLIB] = "standard library",
	[HEAT_OTHER] = "other",
};

static void put_header(const struct page *p)
{
	const struct heat_file *f = heat_file(&p->w->heat, p->file);
	const struct model_string *name = &p->w->m->strings[f->name];
	struct model_string base = heat_page_base(name);
	FILE *out = p->out;

	fputs("<header>\n<div class=\"bar\">\n<a class=\"home\" href=\"index.html\" title=\"All "
	      "files "
	      "(i)\">\xe2\x86\x90 All files</a>\n<h1 title=\"",
	      out);
	html_tail(out, name->bytes, name->len, 1000);
	fputs("\"><bdi class=\"dir\">", out);
	html_tail(out, name->bytes, name->len - base.len, MAX_PATH);
	fputs("</bdi><bdi>", out);
	html_clipped(out, base.bytes, base.len, MAX_NAME);
	fputs("</bdi></h1>\n", out);
	heat_page_tools(out, true);
	fputs("</div>\n</header>\n<div class=\"facts\"><span>self ", out);
	heat_page_value(out, p->w, "b", "v", f->stat.direct, f->stat.direct_ns);
	fputs("</span><span>total ", out);
	heat_page_value(out, p->w, "b", "v", f->stat.cumulative, f->stat.cumulative_ns);
	fprintf(out, "</span><span>of %" PRIu64 " samples, ", p->w->m->samples);
	heat_page_time(out, p->w->m->ns);
	fprintf(out, "</span><span>%" PRIu32 " line%s with samples</span><span>%s</span>\n",
		f->lines, f->lines == 1 ? "" : "s", kind_names[f->kind]);
	put_functions(p);
	heat_page_legend(out);
	fputs("</div>\n", out);
}

/* ---- a line ---- */

static void put_calls(const struct page *p, const char *title, const struct heat_index *index,
		      uint32_t key, bool lines, bool callers, uint64_t whole)
{
	const struct heat *h = &p->w->heat;
	const struct model *m = p->w->m;
	uint32_t from = index->first[key], to = index->first[key + 1], n = 0;

	if (from == to)
		return;
	fprintf(p->out, "<section><h3>%s</h3><ul>\n", title);
	for (uint32_t i = from; i < to && n < MAX_CALLS; i++, n++) {
		const struct call_edge *e =
			lines ? heat_line_call(h, index->item[i]) : heat_call(h, index->item[i]);

		fputs("<li>", p->out);
		if (callers) {
			const struct heat_line *l = heat_line(h, e->caller);

			heat_page_link(p->out, p->w, l->file, l->line,
				       l->file ? m->functions[l->function].name : l->name);
		} else {
			const struct model_function *f = &m->functions[e->callee];
			uint32_t file = h->file_of_function[e->callee];

			heat_page_link(p->out, p->w, file, f->first_line, f->name);
		}
		fputs(" <b>", p->out);
		heat_page_share(p->out, e->stat.cumulative, whole);
		fprintf(p->out, "</b> <small>%" PRIu64 "</small></li>\n", e->stat.cumulative);
	}
	if (to - from > MAX_CALLS)
		fprintf(p->out, "<li><small>and %" PRIu32 " more</small></li>\n",
			to - from - MAX_CALLS);
	fputs("</ul></section>\n", p->out);
}

/* Where a spot begins and ends in its line; false: nowhere. */
static bool spot_range(const struct page *p, const struct heat_spot *s,
		       const struct model_string *line, uint32_t *ret_from, uint32_t *ret_to)
{
	int32_t n = heat_line(&p->w->heat, s->line)->line;
	uint32_t from, to;

	if (s->column < 0 || s->end_line < n || (s->end_line == n && s->end_column <= s->column))
		return false;
	from = (uint32_t)s->column;
	to = s->end_line == n ? (uint32_t)s->end_column : line->len;
	if (from >= line->len)
		return false;
	if (to > line->len)
		to = line->len;
	while (from < line->len && ((unsigned char)line->bytes[from] & 0xc0) == 0x80)
		from++;
	while (to < line->len && ((unsigned char)line->bytes[to] & 0xc0) == 0x80)
		to++;
	*ret_from = from;
	*ret_to = to;
	return from < to;
}

/* A table of shares, and what of. */
static void table_head(FILE *out, const char *class, const char *title, const char *what)
{
	fprintf(out,
		"<section class=\"%s\"><h3>%s<small> shares of this line's samples</small>"
		"</h3><table aria-label=\"%s\"><tr><th scope=\"col\">self</th>"
		"<th scope=\"col\">total</th><th scope=\"col\">%s</th></tr>\n",
		class, title, title, what);
}

static void put_spots(const struct page *p, uint32_t number, const struct model_string *line)
{
	const struct heat *h = &p->w->heat;
	const struct heat_line *l = heat_line(h, number);
	uint32_t from = h->spots_of_line.first[number], to = h->spots_of_line.first[number + 1];
	uint32_t shown = 0, begin, end;

	for (uint32_t i = from; i < to && shown < MAX_SPOTS; i++) {
		const struct heat_spot *s = heat_spot(h, h->spots_of_line.item[i]);

		if (!s->stat.cumulative || !spot_range(p, s, line, &begin, &end))
			continue;
		if (shown++ == 0)
			table_head(p->out, "spots", "Expressions", "expression");
		fputs("<tr><td>", p->out);
		heat_page_share(p->out, s->stat.direct, l->stat.direct);
		fputs("</td><td>", p->out);
		heat_page_share(p->out, s->stat.cumulative, l->stat.cumulative);
		fputs("</td><td><code>", p->out);
		html_clipped(p->out, line->bytes + begin, end - begin, MAX_NAME);
		fputs("</code>", p->out);
		if (s->end_line > l->line)
			fprintf(p->out, " <small>to line %" PRId32 "</small>", s->end_line);
		fputs("</td></tr>\n", p->out);
	}
	if (shown)
		fputs("</table></section>\n", p->out);
}

static void put_opcode(FILE *out, uint32_t op)
{
	const char *name = opcode_name(op), *base = opcode_base(op);
	char text[80];

	if (!name || base == name) {
		opcode_text(op, text, sizeof(text));
		html_text(out, text, strlen(text));
	} else {
		fprintf(out, "%s <small>of %s</small>", name, base);
	}
}

static void put_ops(const struct page *p, uint32_t number)
{
	const struct heat *h = &p->w->heat;
	const struct heat_line *line = heat_line(h, number);
	uint32_t from = h->ops_of_line.first[number], to = h->ops_of_line.first[number + 1];
	uint64_t known = 0, special = 0;
	uint32_t shown = 0;

	for (uint32_t i = from; i < to; i++) {
		const struct heat_op *o = heat_op(h, h->ops_of_line.item[i]);

		known += opcode_name(o->op) ? o->stat.direct : 0;
		special += opcode_is_special(o->op) ? o->stat.direct : 0;
	}
	for (uint32_t i = from; i < to; i++) {
		const struct heat_op *o = heat_op(h, h->ops_of_line.item[i]);

		if (!o->op || !o->stat.cumulative || ++shown > MAX_OPS)
			continue;
		if (shown == 1)
			table_head(p->out, "ops", "Instructions", "instruction");
		fprintf(p->out, "<tr class=\"%s\"><td>",
			opcode_is_special(o->op) ? "special" : "plain");
		heat_page_share(p->out, o->stat.direct, line->stat.direct);
		fputs("</td><td>", p->out);
		heat_page_share(p->out, o->stat.cumulative, line->stat.cumulative);
		fputs("</td><td><code>", p->out);
		put_opcode(p->out, o->op);
		fputs("</code></td></tr>\n", p->out);
	}
	if (!shown)
		return;
	fputs("</table>", p->out);
	if (shown > MAX_OPS)
		fprintf(p->out, "<p class=\"spec\">and %" PRIu32 " more</p>", shown - MAX_OPS);
	if (known) {
		fputs("<p class=\"spec\">", p->out);
		heat_page_share(p->out, special, known);
		fputs(" of the line's own samples are at <b>specialised</b> instructions</p>",
		      p->out);
	}
	fputs("</section>\n", p->out);
}

static void put_sum(const struct page *p, uint32_t number)
{
	const struct heat_line *l = heat_line(&p->w->heat, number);
	const struct model_function *f = &p->w->m->functions[l->function];
	FILE *out = p->out;

	fprintf(out, "<p>In <a href=\"#L%" PRId32 "\"><bdi>",
		f->first_line > 0 ? f->first_line : 0);
	html_clipped(out, p->w->m->strings[f->name].bytes, p->w->m->strings[f->name].len, MAX_NAME);
	fprintf(out, "</bdi></a>: self %" PRIu64 " sample%s (", l->stat.direct,
		l->stat.direct == 1 ? "" : "s");
	heat_page_share(out, l->stat.direct, p->w->m->samples);
	fputs("), ", out);
	heat_page_time(out, l->stat.direct_ns);
	fprintf(out, "; total %" PRIu64 " (", l->stat.cumulative);
	heat_page_share(out, l->stat.cumulative, p->w->m->samples);
	fputs("), ", out);
	heat_page_time(out, l->stat.cumulative_ns);
	fputs("</p>\n", out);
}

/* What is known of a line; number 0: it has no samples. Functions that begin there. */
static void put_panel(const struct page *p, uint32_t number, const struct model_string *line,
		      const uint32_t *functions, const uint32_t *functions_end)
{
	const struct heat *h = &p->w->heat;
	const struct model *m = p->w->m;

	fputs("<div class=\"p\">\n", p->out);
	if (number) {
		uint64_t total = heat_line(h, number)->stat.cumulative;

		put_sum(p, number);
		put_calls(p, "Called from", &h->callers_of_line, number, true, true, total);
		put_calls(p, "Calls", &h->callees_of_line, number, false, false, total);
		put_spots(p, number, line);
		put_ops(p, number);
	}
	for (const uint32_t *f = functions; f < functions_end && f < functions + 4; f++) {
		const struct model_string *name = &m->strings[m->functions[*f].name];
		const struct call_stat *s = &h->functions[*f];

		fputs("<p>Function <bdi>", p->out);
		html_clipped(p->out, name->bytes, name->len, MAX_NAME);
		fputs("</bdi>: self ", p->out);
		heat_page_share(p->out, s->direct, m->samples);
		fputs(", total ", p->out);
		heat_page_share(p->out, s->cumulative, m->samples);
		fputs("</p>\n", p->out);
		put_calls(p, "Its callers", &h->callers_of_function, *f, false, true,
			  s->cumulative);
	}
	fputs("</div>", p->out);
}

/* How much of a line's samples an expression has: 0 none, to 4. */
static unsigned part_level(uint64_t part, uint64_t whole)
{
	if (!part)
		return 0;
	return 1 + (10 * part >= whole) + (10 * part >= 3 * whole) + (10 * part >= 6 * whole);
}

static void open_mark(const struct page *p, const struct heat_spot *s, const struct heat_line *l)
{
	fprintf(p->out, "<mark class=\"e%u f%u\" title=\"self ",
		part_level(s->stat.direct, l->stat.direct),
		part_level(s->stat.cumulative, l->stat.cumulative));
	heat_page_share(p->out, s->stat.direct, l->stat.direct);
	fputs(", total ", p->out);
	heat_page_share(p->out, s->stat.cumulative, l->stat.cumulative);
	fputs(" of this line\">", p->out);
}

/* The text of a line with its expressions marked. They nest, or are cut where they do not. */
static void put_code(const struct page *p, uint32_t number, struct model_string line)
{
	const struct heat *h = &p->w->heat;
	uint32_t ends[MAX_SPOTS] = {0}, depth = 0, at = 0, marks = 0, begin, end;
	bool cut = line.len > MAX_LINE;

	while (line.len > MAX_LINE)
		line.len = MAX_LINE;
	while (cut && line.len && ((unsigned char)line.bytes[line.len] & 0xc0) == 0x80)
		line.len--;
	for (uint32_t i = number ? h->spots_of_line.first[number] : 0;
	     number && i < h->spots_of_line.first[number + 1] && marks < MAX_SPOTS; i++) {
		const struct heat_spot *s = heat_spot(h, h->spots_of_line.item[i]);

		if (!s->stat.cumulative || !spot_range(p, s, &line, &begin, &end))
			continue;
		for (; depth && ends[depth - 1] <= begin; depth--) {
			html_code(p->out, line.bytes + at, ends[depth - 1] - at);
			at = ends[depth - 1];
			fputs("</mark>", p->out);
		}
		if (depth && end > ends[depth - 1])
			end = ends[depth - 1];
		html_code(p->out, line.bytes + at, begin - at);
		at = begin;
		open_mark(p, s, heat_line(h, number));
		ends[depth++] = end;
		marks++;
	}
	for (; depth; depth--) {
		html_code(p->out, line.bytes + at, ends[depth - 1] - at);
		at = ends[depth - 1];
		fputs("</mark>", p->out);
	}
	html_code(p->out, line.bytes + at, line.len - at);
	if (cut)
		fputs("<i>\xe2\x80\xa6 the line is longer</i>", p->out);
}

static void remember(struct heatmap *w, uint32_t number, const struct model_string *line)
{
	struct model_string s = *line;

	while (s.len && (*s.bytes == ' ' || *s.bytes == '\t')) {
		s.bytes++;
		s.len--;
	}
	if (s.len >= sizeof(w->top[0].code))
		s.len = sizeof(w->top[0].code) - 1;
	while (s.len < line->len && s.len && ((unsigned char)s.bytes[s.len] & 0xc0) == 0x80)
		s.len--;
	for (unsigned i = 0; i < w->n_top; i++) {
		if (w->top[i].line != number)
			continue;
		memcpy(w->top[i].code, s.bytes, s.len);
		w->top[i].code[s.len] = '\0';
	}
}

/* What is known of a line whose source is not: its function. */
static void put_stand_in(const struct page *p, int32_t n, uint32_t number,
			 const uint32_t *functions)
{
	const struct model *m = p->w->m;
	uint32_t function = number ? heat_line(&p->w->heat, number)->function : *functions;
	const struct model_string *name = &m->strings[m->functions[function].name];

	fprintf(p->out, "<small>%s ", n == 0 ? "line not known, in" : number ? "in" : "function");
	html_clipped(p->out, name->bytes, name->len, MAX_NAME);
	fputs("</small>", p->out);
}

/* Row n, where the cursors stand at it or beyond. */
static void put_row(struct page *p, int32_t n)
{
	const struct heat *h = &p->w->heat;
	uint64_t all = p->w->m->samples;
	struct model_string line = source_line(p, n);
	const struct call_stat none = {0}, *s = &none;
	const uint32_t *functions = p->function;
	uint32_t number = 0;
	bool panel;

	if (p->hot < p->hot_end && heat_line(h, *p->hot)->line == n) {
		number = *p->hot++;
		s = &heat_line(h, number)->stat;
		remember(p->w, number, &line);
	}
	while (p->function < p->function_end && p->w->m->functions[*p->function].first_line <= n)
		p->function++;
	panel = number || p->function > functions;
	fprintf(p->out,
		"<%s class=\"l s%u t%u\" id=\"L%" PRId32
		"\">%s<span class=\"g\"><a class=\"n\" href=\"#L%" PRId32 "\" tabindex=\"-1\">",
		panel ? "details" : "div", heat_page_level(s->direct, all),
		heat_page_level(s->cumulative, all), n, panel ? "<summary>" : "", n);
	if (n)
		fprintf(p->out, "%" PRId32, n);
	else
		fputs("?", p->out);
	fputs("</a>", p->out);
	if (s->direct)
		heat_page_value(p->out, p->w, "b", "vs", s->direct, s->direct_ns);
	else
		fputs("<b class=\"vs\"></b>", p->out);
	if (s->cumulative)
		heat_page_value(p->out, p->w, "b", "vt", s->cumulative, s->cumulative_ns);
	else
		fputs("<b class=\"vt\"></b>", p->out);
	fputs("</span><code>", p->out);
	if (n > 0 && (uint32_t)n <= p->line_count)
		put_code(p, number, line);
	else
		put_stand_in(p, n, number, functions);
	fputs("</code>", p->out);
	if (panel) {
		fputs("</summary>", p->out);
		put_panel(p, number, &line, functions, p->function);
	}
	fprintf(p->out, "</%s>\n", panel ? "details" : "div");
}

/* The next line that has something, beyond those of the source; 0: none. */
static int32_t next_row(const struct page *p)
{
	int32_t hot = 0, function = 0;

	if (p->hot < p->hot_end)
		hot = heat_line(&p->w->heat, *p->hot)->line;
	if (p->function < p->function_end)
		function = p->w->m->functions[*p->function].first_line;
	return !function || (hot && hot < function) ? hot : function;
}

static void put_rows(struct page *p)
{
	int32_t n;

	while (p->function < p->function_end && p->w->m->functions[*p->function].first_line <= 0)
		p->function++;
	if (p->hot < p->hot_end && heat_line(&p->w->heat, *p->hot)->line == 0)
		put_row(p, 0);
	for (uint32_t i = 1; i <= p->line_count; i++)
		put_row(p, (int32_t)i);
	while ((n = next_row(p)) > 0)
		put_row(p, n);
}

int heat_page_write(struct heatmap *w, uint32_t file, FILE *out)
{
	const struct heat *h = &w->heat;
	struct page p = {.w = w,
			 .out = out,
			 .file = file,
			 .hot = h->by_file.item + h->by_file.first[file],
			 .hot_end = h->by_file.item + h->by_file.first[file + 1],
			 .function = h->functions_of_file.item + h->functions_of_file.first[file],
			 .function_end =
				 h->functions_of_file.item + h->functions_of_file.first[file + 1]};
	struct model_string base = heat_page_base(&w->m->strings[heat_file(h, file)->name]);
	int missing = read_source(&p);

	if (missing == -ENOMEM) {
		free(p.source.text);
		return missing;
	}
	heat_page_head(out, w, &base, "file");
	put_header(&p);
	put_notes(&p, missing);
	fprintf(out,
		"<main class=\"code\"><div class=\"lines\">\n"
		"<div class=\"l head\"><span class=\"g\"><span class=\"n\">line</span>"
		"<b class=\"vs\">self</b><b class=\"vt\">total</b></span><code></code></div>\n");
	put_rows(&p);
	fputs("</div></main>\n<canvas id=\"map\" "
	      "aria-hidden=\"true\"></canvas>\n</body>\n</html>\n",
	      out);
	free(p.lines);
	free(p.source.text);
	return 0;
}
