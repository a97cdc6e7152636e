#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "formats/heat-page.h"
#include "formats/html.h"
#include "formats/web.h"

#define MAX_PROCESSES 8	   /* that the index tells of */
#define MAX_NO_FILE   20   /* frames without a file there */
#define MAX_ROWS      5000 /* files there */
#define MAX_TEXT      300

/* ---- what is made before anything is written ---- */

static int by_heat(const void *a, const void *b, void *heat)
{
	const struct heat_file *i = heat_file(heat, *(const uint32_t *)a);
	const struct heat_file *k = heat_file(heat, *(const uint32_t *)b);

	if (i->stat.direct != k->stat.direct)
		return i->stat.direct < k->stat.direct ? 1 : -1;
	if (i->stat.cumulative != k->stat.cumulative)
		return i->stat.cumulative < k->stat.cumulative ? 1 : -1;
	return (i->name > k->name) - (i->name < k->name);
}

/* The files with samples, the hottest first: NULL when memory is short. */
static uint32_t *sort_files(struct heat *h, uint32_t *ret_n)
{
	uint32_t *order = calloc(h->files.count, sizeof(*order)), n = 0;

	for (uint32_t i = 1; order && i < h->files.count; i++)
		if (heat_file(h, i)->stat.cumulative)
			order[n++] = i;
	if (order)
		qsort_r(order, n, sizeof(*order), by_heat, h);
	*ret_n = n;
	return order;
}

/* The hottest lines of all: few are kept, so an insertion does. */
static void find_top(struct heatmap *w)
{
	for (uint32_t i = 1; i < w->heat.lines.count; i++) {
		const struct heat_line *l = heat_line(&w->heat, i);
		unsigned at = w->n_top;

		if (!l->file || !l->stat.direct)
			continue;
		while (at && heat_line(&w->heat, w->top[at - 1].line)->stat.direct < l->stat.direct)
			at--;
		if (at == HEATMAP_TOP)
			continue;
		if (w->n_top < HEATMAP_TOP)
			w->n_top++;
		memmove(&w->top[at + 1], &w->top[at], (w->n_top - at - 1) * sizeof(w->top[0]));
		w->top[at].line = i;
	}
}

static int64_t find_start(const struct model *m)
{
	int64_t start = 0;

	for (uint32_t i = 0; i < m->process_count; i++) {
		int64_t at = (int64_t)m->processes[i].header.start_real_ns;

		if (m->processes[i].samples && at > 0 && (!start || at < start))
			start = at;
	}
	return start;
}

/* ---- the index ---- */

static void put_words(FILE *out, const char *before, const char *text, const char *after)
{
	if (!text[0])
		return;
	fputs(before, out);
	html_clipped(out, text, strlen(text), MAX_TEXT);
	fputs(after, out);
}

static void put_process(FILE *out, const struct model_process *p)
{
	const struct stream_header *h = &p->header;
	const struct stream_statistics *t = &p->statistics;
	uint64_t lost = 0;
	time_t start = (time_t)(h->start_real_ns / 1000000000);
	struct tm tm;
	char text[40];

	fprintf(out, "<li><b>process %" PRId32 "</b>", h->pid);
	put_words(out, " <code><bdi>", h->command, "</bdi></code>");
	put_words(out, ", Python ", h->python, "");
	put_words(out, ", on ", h->host, "");
	if (start && gmtime_r(&start, &tm) &&
	    strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S UTC", &tm))
		fprintf(out, ", %s", text);
	if (h->rate_hz > 0)
		fprintf(out, ", %.15g samples a second asked for", h->rate_hz);
	put_words(out, ", only ", h->selected, "");
	if (p->has_statistics) {
		for (int i = 0; i < STREAM_LOST_COUNT; i++)
			lost += t->lost[i];
		fprintf(out,
			": %.2f s, %" PRIu64 " samples due, %" PRIu64 " achieved, %" PRIu64
			" missed, %" PRIu64 " lost",
			(double)t->elapsed_ns / 1e9, t->due, t->achieved, t->missed, lost);
	} else {
		fprintf(out, ": %" PRIu64 " samples; the end of the recording is not there",
			p->samples);
	}
	fputs("</li>\n", out);
}

static void put_facts(FILE *out, const struct heatmap *w)
{
	const struct model *m = w->m;
	uint32_t shown = 0, more = 0;

	fputs("<ul class=\"about\">\n", out);
	for (uint32_t i = 0; i < m->process_count; i++) {
		if (m->processes[i].samples == 0)
			continue;
		if (shown++ < MAX_PROCESSES)
			put_process(out, &m->processes[i]);
		else
			more++;
	}
	if (more)
		fprintf(out, "<li>and %" PRIu32 " more</li>\n", more);
	fprintf(out, "<li>Shares are of %" PRIu64 " samples, which stand for ", m->samples);
	heat_page_time(out, m->ns);
	fprintf(out,
		" of %s%s. Self is what a line did itself, total is with all that it called; a "
		"line that calls itself counts once a sample.</li>\n",
		m->mode == MODE_CPU ? "CPU time" : "time of threads",
		m->mode == MODE_GIL	    ? " with the GIL"
		: m->mode == MODE_EXCEPTION ? " with an exception"
					    : "");
	fputs("<li>Colours are shares of all samples: ", out);
	heat_page_legend(out);
	fputs("</li>\n", out);
	for (uint32_t i = 0; i < m->warning_count && i < MAX_PROCESSES; i++)
		put_words(out, "<li class=\"warning\">", m->warnings[i], "</li>\n");
	fputs("</ul>\n", out);
}

static void put_levels(FILE *out, const struct heatmap *w, const struct call_stat *s)
{
	fprintf(out, "class=\"s%u t%u\"", heat_page_level(s->direct, w->m->samples),
		heat_page_level(s->cumulative, w->m->samples));
}

/* The two cells that each row ends with, or begins with. */
static void put_cells(FILE *out, const struct heatmap *w, const struct call_stat *s)
{
	heat_page_value(out, w, "td", "vs", s->direct, s->direct_ns);
	heat_page_value(out, w, "td", "vt", s->cumulative, s->cumulative_ns);
}

static void put_top(FILE *out, const struct heatmap *w)
{
	if (!w->n_top)
		return;
	fputs("<section class=\"top\"><h2>Hottest lines</h2>\n<table>\n<thead><tr><th>self</th>"
	      "<th>total</th><th>line</th></tr></thead>\n<tbody>\n",
	      out);
	for (unsigned i = 0; i < w->n_top; i++) {
		const struct heat_line *l = heat_line(&w->heat, w->top[i].line);

		fputs("<tr ", out);
		put_levels(out, w, &l->stat);
		fputs(">", out);
		put_cells(out, w, &l->stat);
		fputs("<td>", out);
		heat_page_link(out, w, l->file, l->line, w->m->functions[l->function].name);
		fputs("<code>", out);
		html_code(out, w->top[i].code, strlen(w->top[i].code));
		fputs("</code></td></tr>\n", out);
	}
	fputs("</tbody></table></section>\n", out);
}

static void put_file(FILE *out, const struct heatmap *w, uint32_t i)
{
	const struct heat_file *f = heat_file(&w->heat, i);
	const struct model_string *name = &w->m->strings[f->name];
	struct model_string base = heat_page_base(name);

	fputs("<tr ", out);
	put_levels(out, w, &f->stat);
	fputs(">", out);
	put_cells(out, w, &f->stat);
	fprintf(out,
		"<td class=\"count\" data-n=\"%" PRIu32 "\">%" PRIu32 "</td><td class=\"name\">",
		f->lines, f->lines);
	if (w->page[i])
		fprintf(out, "<a href=\"%" PRIu32 ".html\">", w->page[i]);
	fputs("<bdi class=\"dir\">", out);
	html_tail(out, name->bytes, name->len - base.len, MAX_TEXT);
	fputs("</bdi><bdi>", out);
	html_clipped(out, base.bytes, base.len, MAX_TEXT);
	fputs("</bdi>", out);
	fputs(w->page[i] ? "</a></td></tr>\n" : "</td></tr>\n", out);
}

/* What there is of a kind beyond the rows that are shown. */
struct rest {
	uint32_t files;
	uint64_t direct;
};

static void put_group(FILE *out, const struct heatmap *w, enum heat_kind kind,
		      const uint32_t *order, uint32_t n)
{
	static const char *const names[HEAT_KINDS] = {
		[HEAT_PROJECT] = "Project",
		[HEAT_SITE] = "Site-packages",
		[HEAT_STDLIB] = "Standard library",
		[HEAT_OTHER] = "Other",
	};
	const struct call_stat *s = &w->heat.kinds[kind];
	struct rest rest = {0, 0};
	uint32_t files = 0;

	for (uint32_t i = 0; i < n; i++)
		files += heat_file(&w->heat, order[i])->kind == kind;
	if (!files)
		return;
	fprintf(out, "<section class=\"files\"><h2>%s <small>%" PRIu32 " file%s, self ",
		names[kind], files, files == 1 ? "" : "s");
	heat_page_value(out, w, "b", "v", s->direct, s->direct_ns);
	fputs(", total ", out);
	heat_page_value(out, w, "b", "v", s->cumulative, s->cumulative_ns);
	fputs("</small></h2>\n<table class=\"sortable\">\n<thead><tr><th data-sort=\"0\">self</th>"
	      "<th data-sort=\"1\">total</th><th data-sort=\"2\">lines</th>"
	      "<th data-sort=\"3\">file</th></tr></thead>\n<tbody>\n",
	      out);
	for (uint32_t i = 0, shown = 0; i < n; i++) {
		const struct heat_file *f = heat_file(&w->heat, order[i]);

		if (f->kind != kind)
			continue;
		if (shown++ < MAX_ROWS) {
			put_file(out, w, order[i]);
		} else {
			rest.files++;
			rest.direct += f->stat.direct;
		}
	}
	fputs("</tbody></table>\n", out);
	if (rest.files)
		fprintf(out, "<p>and %" PRIu32 " more files with %" PRIu64 " samples (self)</p>\n",
			rest.files, rest.direct);
	fputs("</section>\n", out);
}

static int by_name_heat(const void *a, const void *b, void *heat)
{
	const struct heat_line *i = heat_line(heat, *(const uint32_t *)a);
	const struct heat_line *k = heat_line(heat, *(const uint32_t *)b);

	return (i->stat.cumulative < k->stat.cumulative) -
	       (i->stat.cumulative > k->stat.cumulative);
}

static void put_frame(FILE *out, const struct heatmap *w, const struct call_stat *s,
		      const char *name, size_t len)
{
	fputs("<tr ", out);
	put_levels(out, w, s);
	fputs(">", out);
	put_cells(out, w, s);
	fputs("<td>", out);
	html_clipped(out, name, len, MAX_TEXT);
	fputs("</td></tr>\n", out);
}

/* Samples of threads that had no Python frame. */
static struct call_stat bare_stat(const struct model *m)
{
	struct call_stat s = {0};

	for (uint32_t i = 0; i < m->count_count; i++) {
		if (m->counts[i].node)
			continue;
		s.direct += m->counts[i].count;
		s.direct_ns += m->counts[i].ns;
	}
	s.cumulative = s.direct;
	s.cumulative_ns = s.direct_ns;
	return s;
}

/* <moving>, <GC>, <native>, and the frames that stand for processes. */
static void put_no_file(FILE *out, struct heatmap *w)
{
	struct heat_index *x = &w->heat.by_file;
	const struct call_stat bare = bare_stat(w->m);
	uint32_t n = x->first[1];

	if (!n && !bare.direct)
		return;
	qsort_r(x->item, n, sizeof(*x->item), by_name_heat, &w->heat);
	fputs("<section><h2>Without a line of source</h2>\n<table>\n<thead><tr><th>self</th>"
	      "<th>total</th><th>frame</th></tr></thead>\n<tbody>\n",
	      out);
	for (uint32_t i = 0; i < n && i < MAX_NO_FILE; i++) {
		const struct heat_line *l = heat_line(&w->heat, x->item[i]);
		const struct model_string *name = &w->m->strings[l->name];

		put_frame(out, w, &l->stat, name->bytes, name->len);
	}
	if (bare.direct)
		put_frame(out, w, &bare, "(no Python frame)", 17);
	fputs("</tbody></table>\n", out);
	if (n > MAX_NO_FILE)
		fprintf(out, "<p>and %" PRIu32 " more</p>\n", n - MAX_NO_FILE);
	fputs("</section>\n", out);
}

static void put_index(FILE *out, struct heatmap *w, const uint32_t *order, uint32_t n)
{
	static const struct model_string title = {"All files", 9};

	heat_page_head(out, w, &title, "index");
	fputs("<header>\n<div class=\"bar\">\n<h1>Heatmap</h1>\n"
	      "<input id=\"search\" type=\"search\" placeholder=\"Search files and lines (/)\" "
	      "aria-label=\"Search files and lines\" autocomplete=\"off\" spellcheck=\"false\">\n",
	      out);
	heat_page_tools(out, false);
	fputs("</div>\n</header>\n<main>\n", out);
	put_facts(out, w);
	fputs("<p id=\"nothing\" hidden>Nothing is called that.</p>\n", out);
	put_top(out, w);
	for (int kind = 0; kind < HEAT_NO_FILE; kind++)
		put_group(out, w, (enum heat_kind)kind, order, n);
	if (n > w->pages)
		fprintf(out, "<p>The %" PRIu32 " hottest files have a page.</p>\n", w->pages);
	put_no_file(out, w);
	fputs("</main>\n</body>\n</html>\n", out);
}

/* ---- the folder ---- */

static int put_asset(const struct format_folder *to, const char *name, const char *start,
		     const char *end)
{
	size_t len = (size_t)(end - start);
	FILE *out;
	int r = to->open(to->arg, name, &out), e;

	if (r < 0)
		return r;
	if (fwrite(start, 1, len, out) != len)
		r = -EIO;
	e = to->close(to->arg, out);
	return e < 0 ? e : r;
}

static int put_pages(struct heatmap *w, const struct format_folder *to, const uint32_t *order)
{
	int r = 0, e;
	char name[24];
	FILE *out;

	for (uint32_t i = 0; r == 0 && i < w->pages; i++) {
		snprintf(name, sizeof(name), "%" PRIu32 ".html", i + 1);
		r = to->open(to->arg, name, &out);
		if (r < 0)
			return r;
		r = heat_page_write(w, order[i], out);
		e = to->close(to->arg, out);
		r = r < 0 ? r : e;
	}
	return r;
}

static int put_all(struct heatmap *w, const struct format_folder *to)
{
	uint32_t n, *order = sort_files(&w->heat, &n);
	FILE *out;
	int r = order ? 0 : -ENOMEM;

	w->page = calloc(w->heat.files.count, sizeof(*w->page));
	if (!w->page)
		r = -ENOMEM;
	w->pages = n < HEATMAP_MAX_PAGES ? n : HEATMAP_MAX_PAGES;
	for (uint32_t i = 0; r == 0 && i < w->pages; i++)
		w->page[order[i]] = i + 1;
	if (r == 0)
		r = put_asset(to, "heatmap.css", web_heatmap_css_start, web_heatmap_css_end);
	if (r == 0)
		r = put_asset(to, "heatmap.js", web_heatmap_js_start, web_heatmap_js_end);
	if (r == 0)
		r = put_pages(w, to, order);
	/* The last one: it says that the folder is whole. */
	if (r == 0)
		r = to->open(to->arg, "index.html", &out);
	if (r == 0) {
		put_index(out, w, order, n);
		r = to->close(to->arg, out);
	}
	free(order);
	return r;
}

static int heatmap_write(const struct model *m, const struct format_options *options,
			 const struct format_folder *to)
{
	struct heatmap w = {.m = m, .options = options};
	int r;

	if (m->samples == 0)
		return -ENODATA;
	r = heat_init(&w.heat, m);
	if (r < 0)
		return r;
	w.start_real_ns = find_start(m);
	find_top(&w);
	r = put_all(&w, to);
	free(w.page);
	heat_done(&w.heat);
	return r;
}

static bool heatmap_owns(const char *name)
{
	if (strcmp(name, "index.html") == 0 || strcmp(name, "heatmap.css") == 0 ||
	    strcmp(name, "heatmap.js") == 0)
		return true;
	return name[0] >= '1' && name[0] <= '9' &&
	       strcmp(name + strspn(name, "0123456789"), ".html") == 0;
}

const struct format format_heatmap = {
	.name = "heatmap",
	.opcodes = true,
	.write_folder = heatmap_write,
	.folder_mark = HEATMAP_MARK,
	.folder_owns = heatmap_owns,
};
