#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "formats/heat.h"
#include "formats/html.h"
#include "tests/unit/stream_fixture.h"
#include "tests/unit/stream_formats.h"
#include "tests/unit/stream_tables.h"

/* ---- a profile that is known by heart ---- */

static const struct stream_string strings[] = {
	STREAM_TEXT(""),
	STREAM_TEXT("/srv/app/main.py"),
	STREAM_TEXT("/srv/app/lib/util.py"),
	STREAM_TEXT("/usr/lib/python3.13/json/decoder.py"),
	STREAM_TEXT("/venv/lib/python3.13/site-packages/dep.py"),
	STREAM_TEXT("/opt/elsewhere.py"),
	STREAM_TEXT("<frozen runpy>"),
	STREAM_TEXT("rel.py"),
	STREAM_TEXT("<string>"),
	STREAM_TEXT("<module>"), /* 9 */
	STREAM_TEXT("work"),
	STREAM_TEXT("walk"),
	STREAM_TEXT("<moving>"),
};
static const struct stream_function functions[] = {
	{0},
	{9, 1, 1, 0},			 /* 1: main.py */
	{10, 1, 5, 0},			 /* 2: work in main.py */
	{11, 2, 3, 0},			 /* 3: walk in util.py, which calls itself */
	{10, 3, 7, 0},			 /* 4 */
	{10, 4, 7, 0},			 /* 5 */
	{10, 5, 7, 0},			 /* 6 */
	{9, 6, 1, 0},			 /* 7: runpy */
	{10, 7, 1, 0},			 /* 8 */
	{10, 8, 1, 0},			 /* 9 */
	{12, 0, 0, STREAM_FRAME_MOVING}, /* 10 */
};
static const struct stream_frame frames[] = {
	{0},
	{1, 20, 20, 0, 6, 0}, /* 1: main.py:20 */
	{2, 6, 6, 4, 30, 0},  /* 2: main.py:6, the whole expression */
	{2, 6, 6, 11, 18, 0}, /* 3: main.py:6, a part of it */
	{3, 4, 5, 8, 3, 0},   /* 4: util.py:4, to the next line */
	{4, 9, 9, 0, 1, 0},   /* 5..: files of other kinds */
	{5, 9, 9, 0, 1, 0},
	{6, 9, 9, 0, 1, 0},
	{7, 2, 2, 0, 1, 0},	/* 8: runpy */
	{8, -1, -1, -1, -1, 0}, /* 9: a line that is not known */
	{9, 1, 1, -1, -1, 0},	/* 10 */
	{10, -1, -1, -1, -1, 0},
};
/* Stacks by parent and frame: 1 runpy, 2 main:20, 3 main:6 (whole), 4 walk, 5 walk in walk, 6 walk
 * in that, 7 main:6 (part), 8.. one of each kind on main:6. */
static const struct stream_stack stacks[] = {
	{0},	{0, 8}, {1, 1}, {2, 2}, {3, 4}, {4, 4},	 {5, 4},
	{2, 3}, {7, 5}, {7, 6}, {7, 7}, {7, 9}, {7, 10}, {7, 11},
};
#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static const struct stream_thread threads[] = {{0}, {.tid = 100, .main = true}};

/* times[i] samples of stack i, 10 ms apart. */
static struct model *make_model(const unsigned *times, size_t n)
{
	struct stream_tables tables = {strings, functions, frames, stacks, threads};
	const struct stream_definitions d = stream_tables_definitions(&tables);
	struct stream_header h = {.stream_id = 1,
				  .time_unit_ns = 1000,
				  .rate_hz = 100,
				  .pid = 77,
				  .python = "3.13.5",
				  .command = "python <b>&\"main\".py",
				  .pyprof = "1"};
	struct stream_writer_options o = {.codec = STREAM_NONE};
	struct stream_summary end = {.end = "stopped"};
	struct stream_writer *w;
	struct bytes b = {0};
	struct model *m;
	uint64_t time = 1000000000;

	assert_int_equal(stream_writer_new(&w, &h, &d, &o, fixture_sink, &b), 0);
	for (size_t i = 0; i < n; i++) {
		for (unsigned k = 0; k < times[i]; k++) {
			struct stream_sample s = {
				.time_ns = time, .thread = 1, .stack = (uint32_t)i};

			assert_int_equal(stream_writer_sample(w, &s), 0);
			time += 10000000;
		}
	}
	assert_int_equal(stream_writer_finish(w, &end), 0);
	stream_writer_free(w);
	m = fixture_model(b.data, b.len, NULL);
	bytes_done(&b);
	return m;
}

static const unsigned known[COUNT(stacks)] = {0, 0, 1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6};
#define KNOWN 42

static struct model *known_model(void)
{
	return make_model(known, COUNT(known));
}

static const struct heat_line *line_at(const struct heat *h, const char *file, int line)
{
	for (uint32_t i = 1; i < h->lines.count; i++) {
		const struct heat_line *l = heat_line(h, i);
		uint32_t name = l->file ? heat_file(h, l->file)->name : l->name;

		if (l->line == line && strcmp(h->m->strings[name].bytes, file) == 0)
			return l;
	}
	fail_msg("no %s:%d", file, line);
	return NULL;
}

static uint32_t number_of(const struct heat *h, const struct heat_line *l)
{
	return (uint32_t)(l - heat_line(h, 0));
}

static void check(const struct heat_line *l, uint64_t direct, uint64_t cumulative)
{
	assert_int_equal(l->stat.direct, direct);
	assert_int_equal(l->stat.cumulative, cumulative);
	/* Every sample weighs the same here. */
	assert_int_equal(l->stat.direct_ns, direct * 10000000);
	assert_int_equal(l->stat.cumulative_ns, cumulative * 10000000);
}

static void lines_have_self_and_total(void **state)
{
	struct model *m = known_model();
	struct heat h;

	assert_int_equal(heat_init(&h, m), 0);
	check(line_at(&h, "/srv/app/main.py", 20), 1, KNOWN);
	/* Two expressions of one line. */
	check(line_at(&h, "/srv/app/main.py", 6), 2 + 6, KNOWN - 1);
	check(line_at(&h, "rel.py", 0), 4, 4);
	check(line_at(&h, "<moving>", 0), 6, 6);
	check(line_at(&h, "<frozen runpy>", 2), 0, KNOWN);
	heat_done(&h);
	model_free(m);
}

static void recursion_counts_once_a_sample(void **state)
{
	struct model *m = known_model();
	const struct heat_line *l;
	struct heat h;

	assert_int_equal(heat_init(&h, m), 0);
	l = line_at(&h, "/srv/app/lib/util.py", 4);
	check(l, 3 + 4 + 5, 3 + 4 + 5);
	/* It calls itself in 4 + 5 samples, in 5 of them twice. */
	for (uint32_t i = h.callers_of_line.first[number_of(&h, l)], n = 0;
	     i < h.callers_of_line.first[number_of(&h, l) + 1]; i++, n++) {
		const struct call_edge *e = heat_line_call(&h, h.callers_of_line.item[i]);

		assert_true(n < 2);
		assert_int_equal(e->stat.cumulative, n == 0 ? 12 : 9);
		assert_int_equal(e->caller == number_of(&h, l), n);
	}
	heat_done(&h);
	model_free(m);
}

static void expressions_of_a_line_are_apart(void **state)
{
	struct model *m = known_model();
	const struct heat_spot *s;
	struct heat h;
	uint32_t line, first;

	assert_int_equal(heat_init(&h, m), 0);
	line = number_of(&h, line_at(&h, "/srv/app/main.py", 6));
	first = h.spots_of_line.first[line];
	assert_int_equal(h.spots_of_line.first[line + 1] - first, 2);
	s = heat_spot(&h, h.spots_of_line.item[first]);
	assert_int_equal(s->column, 4);
	assert_int_equal(s->end_column, 30);
	assert_int_equal(s->stat.direct, 2);
	assert_int_equal(s->stat.cumulative, 2 + 3 + 4 + 5);
	s = heat_spot(&h, h.spots_of_line.item[first + 1]);
	assert_int_equal(s->column, 11);
	assert_int_equal(s->stat.direct, 6);
	assert_int_equal(s->stat.cumulative, KNOWN - 1 - 14);
	heat_done(&h);
	model_free(m);
}

static void files_are_of_a_kind(void **state)
{
	static const struct {
		const char *file;
		enum heat_kind kind;
		uint64_t direct, cumulative;
	} rows[] = {
		{"/srv/app/main.py", HEAT_PROJECT, 9, KNOWN},
		{"/srv/app/lib/util.py", HEAT_PROJECT, 12, 12},
		{"rel.py", HEAT_PROJECT, 4, 4},
		{"/usr/lib/python3.13/json/decoder.py", HEAT_STDLIB, 1, 1},
		{"<frozen runpy>", HEAT_STDLIB, 0, KNOWN},
		{"/venv/lib/python3.13/site-packages/dep.py", HEAT_SITE, 2, 2},
		{"/opt/elsewhere.py", HEAT_OTHER, 3, 3},
		{"<string>", HEAT_OTHER, 5, 5},
	};
	struct model *m = known_model();
	struct heat h;

	assert_int_equal(heat_init(&h, m), 0);
	assert_int_equal(h.files.count - 1, COUNT(rows));
	for (size_t i = 0; i < COUNT(rows); i++) {
		uint32_t n = 1;

		while (strcmp(m->strings[heat_file(&h, n)->name].bytes, rows[i].file) != 0)
			assert_true(++n < h.files.count);
		assert_int_equal(heat_file(&h, n)->kind, rows[i].kind);
		assert_int_equal(heat_file(&h, n)->stat.direct, rows[i].direct);
		assert_int_equal(heat_file(&h, n)->stat.cumulative, rows[i].cumulative);
	}
	/* Self adds up to all samples; total counts a sample once in each. */
	assert_int_equal(h.kinds[HEAT_PROJECT].direct, 25);
	assert_int_equal(h.kinds[HEAT_PROJECT].cumulative, KNOWN);
	assert_int_equal(h.kinds[HEAT_STDLIB].direct, 1);
	assert_int_equal(h.kinds[HEAT_STDLIB].cumulative, KNOWN);
	assert_int_equal(h.kinds[HEAT_SITE].direct, 2);
	assert_int_equal(h.kinds[HEAT_OTHER].direct, 8);
	assert_int_equal(h.kinds[HEAT_NO_FILE].direct, 6);
	heat_done(&h);
	model_free(m);
}

/* ---- what is written, in memory ---- */

struct written {
	char *name[16], *text[16];
	size_t len[16];
	unsigned n;
	int fail; /* what closing a file says */
};

static int open_file(void *arg, const char *name, FILE **ret)
{
	struct written *w = arg;

	assert_true(w->n < 16);
	for (unsigned i = 0; i < w->n; i++)
		assert_string_not_equal(w->name[i], name);
	w->name[w->n] = strdup(name);
	*ret = open_memstream(&w->text[w->n], &w->len[w->n]);
	return *ret ? 0 : -ENOMEM;
}

static int close_file(void *arg, FILE *file)
{
	struct written *w = arg;

	fclose(file);
	w->n++;
	return w->fail;
}

static int write_all(struct written *w, const struct model *m, const struct format_options *o)
{
	const struct format_folder to = {w, open_file, close_file};

	return format_heatmap.write_folder(m, o, &to);
}

static const char *text_of(const struct written *w, const char *name)
{
	for (unsigned i = 0; i < w->n; i++)
		if (strcmp(w->name[i], name) == 0)
			return w->text[i];
	fail_msg("no file %s", name);
	return NULL;
}

/* The page that has this title. */
static const char *page_of(const struct written *w, const char *title)
{
	char whole[200];

	snprintf(whole, sizeof(whole), "<title>%s - heatmap</title>", title);
	for (unsigned i = 0; i < w->n; i++)
		if (strstr(w->text[i], whole))
			return w->text[i];
	fail_msg("no page of %s", title);
	return NULL;
}

static void forget(struct written *w)
{
	for (unsigned i = 0; i < w->n; i++) {
		free(w->name[i]);
		free(w->text[i]);
	}
	*w = (struct written){0};
}

/* main.py has five lines before line 6, util.py is gone, rel.py is too much. */
static int get_source(void *arg, const char *file, struct format_source *ret)
{
	const char *text = arg;

	if (strcmp(file, "rel.py") == 0)
		return -EFBIG;
	if (strcmp(file, "/srv/app/main.py") != 0)
		return -ENOENT;
	ret->text = strdup(text);
	ret->len = strlen(text);
	ret->mtime_ns = 1;
	return 0;
}

#define FIVE   "1\n2\n3\n4\ndef work():\n"
#define TWENTY "7\n8\n9\n10\n11\n12\n13\n14\n15\n16\n17\n18\n19\nwork()\n"

static void a_page_has_lines_and_marks(void **state)
{
	char source[] = FIVE "    (a < b, inner(), \"&\", 4567)\n" TWENTY;
	struct format_options o = {.source_file = get_source, .arg = source};
	struct model *m = known_model();
	struct written w = {0};
	const char *text, *line;

	assert_int_equal(write_all(&w, m, &o), 0);
	assert_string_equal(w.name[w.n - 1], "index.html");
	text = page_of(&w, "main.py");
	assert_non_null(strstr(text, "<div class=\"l s0 t0\" id=\"L4\">"));
	/* Level 6 is 10 % or more, 7 is 30 %. */
	line = strstr(text, "<details class=\"l s6 t7\" id=\"L6\">");
	assert_non_null(line);
	assert_non_null(strstr(line, "data-n=\"8\" data-u=\"80000\">19.0%"));
	assert_non_null(
		strstr(line, "<mark class=\"e2 f3\" title=\"self 25.0%, total 34.1% of this line\">"
			     "(a &lt; b,<mark"));
	assert_non_null(strstr(line, "> inner(</mark>), &quot;&amp;&quot;, 4567</mark>)"));
	assert_null(strstr(text, "class=\"note\""));
	/* The function that begins at line 5 has no samples there, but callers. */
	line = strstr(text, "<details class=\"l s0 t0\" id=\"L5\">");
	assert_non_null(line);
	assert_non_null(strstr(line, "<h3>Its callers</h3>"));
	forget(&w);
	model_free(m);
}

static void links_lead_to_the_other_page(void **state)
{
	struct format_options o = {0};
	struct model *m = known_model();
	struct written w = {0};
	const char *text, *link;
	char name[24] = "";

	assert_int_equal(write_all(&w, m, &o), 0);
	text = strstr(page_of(&w, "main.py"), "<h3>Calls</h3>");
	assert_non_null(text);
	link = strstr(text, "html#L3\"><bdi>walk</bdi>");
	assert_non_null(link);
	while (link[-1] != '"')
		link--;
	snprintf(name, sizeof(name), "%.*s", (int)strcspn(link, "#"), link);
	assert_ptr_equal(text_of(&w, name), page_of(&w, "util.py"));
	assert_non_null(strstr(page_of(&w, "util.py"), "id=\"L3\""));
	assert_non_null(strstr(page_of(&w, "util.py"), "id=\"L4\""));
	forget(&w);
	model_free(m);
}

static void missing_and_other_source_is_said(void **state)
{
	char source[] = FIVE "short\n" TWENTY,
	     changed[] = FIVE "    (a < b, inner(), \"&\", 4567)\n";
	struct format_options o = {.source_file = get_source, .arg = source};
	struct model *m = known_model();
	struct written w = {0};

	assert_int_equal(write_all(&w, m, &o), 0);
	assert_non_null(strstr(page_of(&w, "main.py"), "not the source that ran"));
	assert_non_null(strstr(page_of(&w, "util.py"), "not to be had: No such file"));
	assert_non_null(strstr(page_of(&w, "util.py"), "id=\"L4\""));
	assert_non_null(strstr(page_of(&w, "rel.py"), "larger than is shown"));
	assert_non_null(strstr(page_of(&w, "rel.py"), "line not known"));
	forget(&w);
	/* Line 20 is not there, but shown. */
	o.arg = changed;
	assert_int_equal(write_all(&w, m, &o), 0);
	assert_non_null(strstr(page_of(&w, "main.py"), "not the source that ran"));
	assert_non_null(strstr(page_of(&w, "main.py"), "id=\"L20\""));
	assert_null(strstr(page_of(&w, "main.py"), "id=\"L19\""));
	forget(&w);
	model_free(m);
}

static void the_index_has_all_groups(void **state)
{
	struct format_options o = {0};
	struct model *m = known_model();
	struct written w = {0};
	const char *text;

	assert_int_equal(write_all(&w, m, &o), 0);
	text = text_of(&w, "index.html");
	assert_non_null(
		memmem(text, 1024, format_heatmap.folder_mark, strlen(format_heatmap.folder_mark)));
	assert_non_null(strstr(text, "python &lt;b&gt;&amp;&quot;main&quot;.py"));
	assert_non_null(strstr(text, "Shares are of 42 samples, which stand for 420.0 ms"));
	assert_true(strstr(text, "<h2>Project") < strstr(text, "<h2>Site-packages"));
	assert_true(strstr(text, "<h2>Site-packages") < strstr(text, "<h2>Standard library"));
	assert_true(strstr(text, "<h2>Standard library") < strstr(text, "<h2>Other"));
	assert_non_null(strstr(text, "<td>&lt;moving&gt;</td>"));
	for (unsigned i = 0; i < w.n; i++)
		assert_true(format_heatmap.folder_owns(w.name[i]));
	forget(&w);
	model_free(m);
}

static void names_of_others_are_not_owned(void **state)
{
	static const char *const names[] = {"notes.html", "0.html",	 "1.htm",
					    "1.html.bak", ".html",	 "",
					    "12x.html",	  "heatmap.txt", "../1.html"};

	for (size_t i = 0; i < COUNT(names); i++)
		assert_false(format_heatmap.folder_owns(names[i]));
	assert_true(format_heatmap.folder_owns("120.html"));
}

static void errors_of_writing_are_told(void **state)
{
	struct format_options o = {0};
	struct model *m = known_model();
	struct written w = {.fail = -ENOSPC};

	assert_int_equal(write_all(&w, m, &o), -ENOSPC);
	assert_int_equal(w.n, 1);
	forget(&w);
	model_free(m);
	assert_int_equal(model_new(&m, NULL), 0);
	assert_int_equal(write_all(&w, m, &o), -ENODATA);
	assert_int_equal(w.n, 0);
	model_free(m);
}

static void check_html(const char *in, const char *text, const char *code)
{
	char *got;
	size_t len;
	FILE *out = open_memstream(&got, &len);

	html_text(out, in, strlen(in));
	fputc('|', out);
	html_code(out, in, strlen(in));
	fclose(out);
	got[strcspn(got, "|")] = '\0';
	assert_string_equal(got, text);
	assert_string_equal(got + strlen(got) + 1, code);
	free(got);
}

static void nothing_of_a_target_is_markup(void **state)
{
	char *got;
	size_t len;
	FILE *out;

	check_html("<a b='c' d=\"&\">", "&lt;a b=&#39;c&#39; d=&quot;&amp;&quot;&gt;",
		   "&lt;a b=&#39;c&#39; d=&quot;&amp;&quot;&gt;");
	check_html("a\tb\n\x01", "a\\tb\\n\\x01", "a\tb<i>\\n</i><i>\\x01</i>");
	check_html("\xe2\x80\xae\xff\xc3\xa9", "\\u202e\\xff\xc3\xa9",
		   "<i>\\u202e</i><i>\\xff</i>\xc3\xa9");
	check_html("\xef\xbf\xbe", "\\ufffe", "<i>\\ufffe</i>");
	/* Cut between characters. */
	out = open_memstream(&got, &len);
	html_clipped(out, "ab\xc3\xa9zz", 6, 3);
	html_tail(out, "ab\xc3\xa9zz", 6, 3);
	fclose(out);
	assert_string_equal(got, "ab\xe2\x80\xa6\xe2\x80\xa6zz");
	free(got);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_have_self_and_total),
		cmocka_unit_test(recursion_counts_once_a_sample),
		cmocka_unit_test(expressions_of_a_line_are_apart),
		cmocka_unit_test(files_are_of_a_kind),
		cmocka_unit_test(a_page_has_lines_and_marks),
		cmocka_unit_test(links_lead_to_the_other_page),
		cmocka_unit_test(missing_and_other_source_is_said),
		cmocka_unit_test(the_index_has_all_groups),
		cmocka_unit_test(names_of_others_are_not_owned),
		cmocka_unit_test(errors_of_writing_are_told),
		cmocka_unit_test(nothing_of_a_target_is_markup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
