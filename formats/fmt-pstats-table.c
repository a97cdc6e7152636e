#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "formats/call-stats.h"
#include "formats/escape.h"
#include "formats/format.h"
#include "formats/locations.h"

#define DEFAULT_LIMIT 15
#define TOP	      3 /* functions of each kind in the summary */
#define NAME_MAX_TEXT 512

/* Files are shown by their last part, and what looks the same there is one row. */
struct row {
	uint64_t base_low, base_high; /* XXH3 of the file's last part */
	uint32_t name;
	int32_t line; /* 0 in rows that are functions */
	uint32_t file;
	struct call_stat stat;
};

struct table_writer {
	const struct model *m;
	const struct format_options *options;
	FILE *out;
	uint64_t samples;
	struct table lines, functions;	 /* of struct row */
	uint32_t *line_of, *function_of; /* of each frame */
};

struct unit {
	const char *name;
	double scale; /* of a second */
};

static const char *color(const struct table_writer *w, const char *code)
{
	return w->options->color ? code : "";
}
#define BOLD_BLUE "\033[1;34m"
#define GREEN	  "\033[32m"
#define YELLOW	  "\033[33m"
#define CYAN	  "\033[36m"
#define RESET	  "\033[0m"

static const char *base_of(const struct model_string *file, size_t *ret_len)
{
	const char *slash = file->len ? memrchr(file->bytes, '/', file->len) : NULL;
	const char *base = slash ? slash + 1 : file->bytes;

	*ret_len = file->bytes + file->len - base;
	return base;
}

/* As it is shown: "~" is pstats' word for what has no file. */
static const char *row_base(const struct table_writer *w, const struct row *row, size_t *ret_len)
{
	if (row->file)
		return base_of(&w->m->strings[row->file], ret_len);
	*ret_len = 1;
	return "~";
}

static uint32_t row_of(struct table_writer *w, struct table *t, const struct location *l,
		       int32_t line)
{
	size_t len;
	const char *base = base_of(&w->m->strings[l->file], &len);
	XXH128_hash_t hash = XXH3_128bits(base, len);
	struct row key = {
		.base_low = hash.low64, .base_high = hash.high64, .name = l->name, .line = line};
	uint32_t i = table_intern(t, &key);

	if (i)
		((struct row *)(void *)t->items)[i].file = l->file;
	return i;
}

static int fill(struct table_writer *w, struct table *t, const uint32_t *row_of_frame)
{
	struct call_stat *stats = calloc(t->count, sizeof(*stats));
	struct row *rows = (void *)t->items;
	int r = stats ? call_stats(w->m, row_of_frame, t->count, stats, NULL) : -ENOMEM;

	for (uint32_t i = 0; i < t->count && r == 0; i++)
		rows[i].stat = stats[i];
	free(stats);
	return r;
}

static int make_rows(struct table_writer *w)
{
	struct locations l;
	int r = locations_init(&l, w->m);

	if (r < 0)
		return r;
	w->line_of = calloc(w->m->frame_count, sizeof(*w->line_of));
	w->function_of = calloc(w->m->frame_count, sizeof(*w->function_of));
	r = table_init(&w->lines, sizeof(struct row), offsetof(struct row, file));
	if (r == 0)
		r = table_init(&w->functions, sizeof(struct row), offsetof(struct row, file));
	if (r == 0 && (!w->line_of || !w->function_of))
		r = -ENOMEM;
	for (uint32_t i = 1; i < w->m->frame_count && r == 0; i++) {
		const struct location *at = locations_get(&l, l.by_frame[i]);

		w->line_of[i] = row_of(w, &w->lines, at, at->line);
		w->function_of[i] = row_of(w, &w->functions, at, 0);
		if (!w->line_of[i] || !w->function_of[i])
			r = -ENOMEM;
	}
	locations_done(&l);
	if (r == 0)
		r = fill(w, &w->lines, w->line_of);
	if (r == 0)
		r = fill(w, &w->functions, w->function_of);
	return r;
}

static int descending(uint64_t a, uint64_t b)
{
	return (a < b) - (a > b);
}

static int by_name(const struct table_writer *w, const struct row *a, const struct row *b)
{
	const struct model_string *s = w->m->strings;
	size_t len_a, len_b;
	const char *base_a = row_base(w, a, &len_a), *base_b = row_base(w, b, &len_b);
	int d = memcmp(base_a, base_b, len_a < len_b ? len_a : len_b);

	if (d == 0)
		d = (len_a > len_b) - (len_a < len_b);
	if (d == 0)
		d = (a->line > b->line) - (a->line < b->line);
	return d ? d : strcmp(s[a->name].bytes, s[b->name].bytes);
}

static int by_sort(const void *x, const void *y, void *arg)
{
	const struct table_writer *w = arg;
	const struct row *a = *(const struct row *const *)x, *b = *(const struct row *const *)y;
	int d = 0;

	switch (w->options->sort) {
	case SORT_TOTTIME:
		d = descending(a->stat.direct_ns, b->stat.direct_ns);
		break;
	case SORT_CUMTIME:
		d = descending(a->stat.cumulative_ns, b->stat.cumulative_ns);
		break;
	case SORT_CUMUL_PCT:
	case SORT_NSAMPLES_CUMUL:
		d = descending(a->stat.cumulative, b->stat.cumulative);
		break;
	case SORT_NAME:
		break;
	default:
		d = descending(a->stat.direct, b->stat.direct);
		break;
	}
	return d ? d : by_name(w, a, b);
}

static struct unit unit_of(uint64_t ns)
{
	if (ns >= 1000000000)
		return (struct unit){"s", 1};
	if (ns >= 1000000)
		return (struct unit){"ms", 1e3};
	return (struct unit){"\xce\xbcs", 1e6};
}

static double percent(const struct table_writer *w, uint64_t n)
{
	return w->samples ? 100.0 * n / w->samples : 0;
}

static void put_place(const struct table_writer *w, const struct row *row, bool line)
{
	const struct model_string *name = &w->m->strings[row->name];
	char file_text[NAME_MAX_TEXT], name_text[NAME_MAX_TEXT], number[16] = "";
	const char *base;
	size_t len;

	base = row_base(w, row, &len);
	escape_text(file_text, sizeof(file_text), base, len, ESCAPE_TERMINAL);
	escape_text(name_text, sizeof(name_text), name->bytes, name->len, ESCAPE_TERMINAL);
	if (line)
		snprintf(number, sizeof(number), "%" PRId32, row->line);
	fprintf(w->out, "%s%s%s:%s%s%s(%s%s%s)\n", color(w, GREEN), file_text, color(w, RESET),
		color(w, YELLOW), number, color(w, RESET), color(w, CYAN), name_text,
		color(w, RESET));
}

static void put_table(const struct table_writer *w, const struct row *const *rows, size_t n)
{
	const char *blue = color(w, BOLD_BLUE), *reset = color(w, RESET);
	uint64_t most = 0, most_cumulative = 0;
	struct unit unit, cumulative;
	char tottime[32], cumtime[32];

	for (size_t i = 0; i < n; i++) {
		if (rows[i]->stat.direct_ns > most)
			most = rows[i]->stat.direct_ns;
		if (rows[i]->stat.cumulative_ns > most_cumulative)
			most_cumulative = rows[i]->stat.cumulative_ns;
	}
	unit = unit_of(most);
	cumulative = unit_of(most_cumulative);
	snprintf(tottime, sizeof(tottime), "tottime (%s)", unit.name);
	snprintf(cumtime, sizeof(cumtime), "cumtime (%s)", cumulative.name);
	/* In another mode all figures are of its samples only. */
	if (w->m->mode > MODE_WALL && w->m->mode < MODE_COUNT)
		fprintf(w->out, "%sProfile Stats (Mode: %s):%s\n", blue, mode_names[w->m->mode],
			reset);
	else
		fprintf(w->out, "%sProfile Stats:%s\n", blue, reset);
	/* The Greek letter is two bytes and one column. */
	fprintf(w->out, "%s%15s%s  %s%8s%s  %s%*s%s  %s%8s%s  %s%*s%s  %s%s%s\n", blue, "nsamples",
		reset, blue, "sample%", reset, blue, unit.scale == 1e6 ? 13 : 12, tottime, reset,
		blue, "cumul%", reset, blue, cumulative.scale == 1e6 ? 13 : 12, cumtime, reset,
		blue, "filename:lineno(function)", reset);
	for (size_t i = 0; i < n; i++) {
		const struct call_stat *s = &rows[i]->stat;
		char samples[48];

		snprintf(samples, sizeof(samples), "%" PRIu64 "/%" PRIu64, s->direct,
			 s->cumulative);
		fprintf(w->out, "%15s  %8.1f  %12.3f  %8.1f  %12.3f  ", samples,
			percent(w, s->direct), s->direct_ns / 1e9 * unit.scale,
			percent(w, s->cumulative), s->cumulative_ns / 1e9 * cumulative.scale);
		put_place(w, rows[i], true);
	}
}

static void put_legend(const struct table_writer *w)
{
	static const char *const words[][2] = {
		{"nsamples", "samples with the line as the leaf / anywhere on the stack"},
		{"sample%", "share of all samples with the line as the leaf"},
		{"tottime", "time between samples, given to the leaf"},
		{"cumul%", "share of all samples with the line on the stack"},
		{"cumtime", "the same time, given to everything on the stack"},
		{"filename:lineno(function)", "file, line being run, function"},
	};

	fprintf(w->out, "\n%sLegend:%s\n", color(w, BOLD_BLUE), color(w, RESET));
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		fprintf(w->out, "  %s%s%s: %s\n", color(w, YELLOW), words[i][0], color(w, RESET),
			words[i][1]);
}

static double hot(const struct call_stat *s)
{
	return s->cumulative ? (double)s->direct / s->cumulative : 0;
}

static double indirect(const struct call_stat *s)
{
	return s->cumulative - s->direct;
}

static double magnified(const struct call_stat *s)
{
	return s->direct ? (double)s->cumulative / s->direct : 0;
}

static void put_top(const struct table_writer *w, const struct row *const *rows, size_t n,
		    const char *title, double (*key)(const struct call_stat *s))
{
	const struct row *top[TOP];
	size_t count = 0;

	for (size_t i = 0; i < n; i++) {
		const struct row *row = rows[i];
		size_t at = count;

		while (at > 0 && key(&top[at - 1]->stat) < key(&row->stat))
			at--;
		if (at == TOP)
			continue;
		if (count < TOP)
			count++;
		memmove(&top[at + 1], &top[at], (count - 1 - at) * sizeof(*top));
		top[at] = row;
	}
	fprintf(w->out, "\n%s%s:%s\n", color(w, BOLD_BLUE), title, color(w, RESET));
	for (size_t i = 0; i < count; i++) {
		const struct call_stat *s = &top[i]->stat;
		uint64_t calls = s->cumulative - s->direct;

		if (key == hot && s->direct)
			fprintf(w->out,
				"  %.3f direct/cumulative ratio, %.1f%% direct samples: ", hot(s),
				percent(w, s->direct));
		else if (key == indirect && calls)
			fprintf(w->out,
				"  %" PRIu64 " indirect calls, %.1f%% total stack presence: ",
				calls, percent(w, s->cumulative));
		else if (key == magnified && s->direct && calls)
			fprintf(w->out,
				"  %.1fx call magnification, %" PRIu64
				" indirect calls from %" PRIu64 " direct: ",
				magnified(s), calls, s->direct);
		else
			continue;
		put_place(w, top[i], false);
	}
}

/* The functions that the shown lines belong to, with all that they did. */
static int put_summary(const struct table_writer *w, const struct row *const *rows, size_t n)
{
	const struct row *functions = (const void *)w->functions.items, **shown;
	const struct row *lines = (const void *)w->lines.items;
	bool *is_shown = calloc(w->lines.count, sizeof(*is_shown));
	bool *taken = calloc(w->functions.count, sizeof(*taken));
	size_t count = 0;
	int r = -ENOMEM;

	shown = calloc(n + 1, sizeof(*shown));
	if (is_shown && taken && shown) {
		for (size_t i = 0; i < n; i++)
			is_shown[rows[i] - lines] = true;
		for (uint32_t i = 1; i < w->m->frame_count; i++) {
			uint32_t f = w->function_of[i];

			if (!is_shown[w->line_of[i]] || taken[f])
				continue;
			taken[f] = true;
			shown[count++] = &functions[f];
		}
		fprintf(w->out, "\n%sSummary of Interesting Functions:%s\n", color(w, BOLD_BLUE),
			color(w, RESET));
		put_top(w, shown, count,
			"Functions with Highest Direct/Cumulative Ratio (Hot Spots)", hot);
		put_top(w, shown, count, "Functions with Highest Call Frequency (Indirect Calls)",
			indirect);
		put_top(w, shown, count,
			"Functions with Highest Call Magnification (Cumulative/Direct)", magnified);
		r = 0;
	}
	free(is_shown);
	free(taken);
	free(shown);
	return r;
}

static int pstats_table_write(const struct model *m, const struct format_options *options,
			      FILE *out)
{
	struct table_writer w = {.m = m, .options = options, .out = out};
	const struct row **rows = NULL;
	size_t n = 0;
	int r;

	if (m->samples == 0)
		return -ENODATA;
	r = make_rows(&w);
	if (r == 0) {
		const struct row *lines = (const void *)w.lines.items;

		rows = calloc(w.lines.count, sizeof(*rows));
		if (!rows)
			r = -ENOMEM;
		for (uint32_t i = 1; i < w.lines.count && r == 0; i++) {
			if (lines[i].stat.cumulative == 0)
				continue;
			rows[n++] = &lines[i];
			w.samples += lines[i].stat.direct;
		}
	}
	if (r == 0 && n == 0)
		r = -ENODATA;
	if (r == 0) {
		size_t limit = options->limit == 0  ? DEFAULT_LIMIT
			       : options->limit < 0 ? n
						    : (size_t)options->limit;

		qsort_r(rows, n, sizeof(*rows), by_sort, &w);
		if (n > limit)
			n = limit;
		put_table(&w, rows, n);
		put_legend(&w);
		if (!options->no_summary)
			r = put_summary(&w, rows, n);
	}
	if (r == 0 && ferror(out))
		r = errno ? -errno : -EIO;
	free(rows);
	free(w.line_of);
	free(w.function_of);
	table_done(&w.lines);
	table_done(&w.functions);
	return r;
}

const struct format format_pstats_table = {
	.name = "pstats-table",
	.write = pstats_table_write,
};
