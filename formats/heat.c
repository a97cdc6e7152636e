#include "formats/heat.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const void *item(const struct table *t, uint32_t i)
{
	return t->items + (size_t)i * t->size;
}

const struct heat_line *heat_line(const struct heat *h, uint32_t i)
{
	return item(&h->lines, i);
}

const struct heat_spot *heat_spot(const struct heat *h, uint32_t i)
{
	return item(&h->spots, i);
}

const struct heat_op *heat_op(const struct heat *h, uint32_t i)
{
	return item(&h->ops, i);
}

const struct heat_file *heat_file(const struct heat *h, uint32_t i)
{
	return item(&h->files, i);
}

const struct call_edge *heat_call(const struct heat *h, uint32_t i)
{
	return item(&h->calls, i);
}

const struct call_edge *heat_line_call(const struct heat *h, uint32_t i)
{
	return item(&h->line_calls, i);
}

/* ---- where a file belongs ---- */

static bool starts_with(const struct model_string *s, const char *prefix)
{
	size_t len = strlen(prefix);

	return s->len >= len && memcmp(s->bytes, prefix, len) == 0;
}

static const char *find(const struct model_string *s, const char *text)
{
	return memmem(s->bytes, s->len, text, strlen(text));
}

/* lib/python3.12/ or python312.zip/: where an interpreter has its library. */
static bool is_library(const struct model_string *s)
{
	const char *end = s->bytes + s->len;

	for (const char *at = s->bytes; (at = memmem(at, end - at, "/python3", 8)); at += 8) {
		const char *after = at + 8;

		after += strspn(after, ".0123456789t");
		if (*after == '/' && at - s->bytes >= 3 &&
		    (memcmp(at - 3, "lib", 3) == 0 ||
		     (at - s->bytes >= 5 && memcmp(at - 5, "lib64", 5) == 0)))
			return true;
		if (strncmp(after, "zip/", 4) == 0)
			return true;
	}
	return false;
}

static enum heat_kind place_of(const struct model_string *s)
{
	if (starts_with(s, "<frozen "))
		return HEAT_STDLIB;
	if (s->len == 0 || s->bytes[0] == '<')
		return HEAT_OTHER;
	if (find(s, "/site-packages/") || find(s, "/dist-packages/"))
		return HEAT_SITE;
	return is_library(s) ? HEAT_STDLIB : HEAT_OTHER;
}

enum heat_kind heat_kind_of(const struct model_string *s, const struct heat_roots *roots)
{
	enum heat_kind kind = place_of(s);

	if (s->len == 0)
		return HEAT_NO_FILE;
	if (kind != HEAT_OTHER || s->bytes[0] == '<')
		return kind;
	if (s->bytes[0] != '/')
		return HEAT_PROJECT;
	for (unsigned i = 0; i < roots->n; i++)
		if (s->len > roots->dirs[i].len &&
		    memcmp(s->bytes, roots->dirs[i].bytes, roots->dirs[i].len) == 0)
			return HEAT_PROJECT;
	return HEAT_OTHER;
}

/* The directory, with its slash, of a main program. */
static void add_root(struct heat_roots *roots, const struct model_string *file)
{
	const char *slash = memrchr(file->bytes, '/', file->len);
	struct model_string dir = {file->bytes, 0};

	if (!slash || slash == file->bytes || roots->n == HEAT_MAX_ROOTS)
		return;
	dir.len = (uint32_t)(slash - file->bytes) + 1;
	for (unsigned i = 0; i < roots->n; i++)
		if (roots->dirs[i].len == dir.len &&
		    memcmp(roots->dirs[i].bytes, dir.bytes, dir.len) == 0)
			return;
	roots->dirs[roots->n++] = dir;
}

/* A main program is the first module of a stack that is no library: runpy, say, comes before it. */
void heat_roots_find(const struct model *m, struct heat_roots *ret)
{
	uint8_t *below = calloc(m->node_count, 1); /* nothing but libraries are below */

	*ret = (struct heat_roots){.n = 0};
	if (!below)
		return;
	below[0] = 1;
	for (uint32_t i = 1; i < m->node_count; i++) {
		const struct model_function *f =
			&m->functions[m->frames[m->nodes[i].frame].function];
		const struct model_string *file = &m->strings[f->file];

		if (!below[m->nodes[i].parent])
			continue;
		if (f->file == 0 || place_of(file) != HEAT_OTHER)
			below[i] = 1;
		else if (strcmp(m->strings[f->name].bytes, "<module>") == 0 &&
			 file->bytes[0] == '/')
			add_root(ret, file);
	}
	free(below);
}

/* ---- grouping ---- */

/* The groups of each frame of the model. */
struct groups {
	uint32_t *line, *spot, *op, *file, *kind, *function;
};

static int group_frames(struct heat *h, struct groups *g)
{
	const struct model *m = h->m;

	for (uint32_t i = 1; i < m->frame_count; i++) {
		const struct model_frame *f = &m->frames[i];
		const struct model_function *function = &m->functions[f->function];
		struct heat_file file = {.name = function->file};
		struct heat_line line = {.line = f->line > 0 ? f->line : 0};
		struct heat_spot spot = {.function = f->function,
					 .end_line = f->end_line,
					 .column = f->column,
					 .end_column = f->end_column};
		struct heat_op op = {.op = f->op};

		if (function->file) {
			line.file = g->file[i] = table_intern(&h->files, &file);
			if (line.file == 0)
				return -ENOMEM;
		} else {
			line.line = 0;
			line.name = function->name;
		}
		spot.line = op.line = g->line[i] = table_intern(&h->lines, &line);
		g->spot[i] = table_intern(&h->spots, &spot);
		g->op[i] = table_intern(&h->ops, &op);
		if (g->line[i] == 0 || g->spot[i] == 0 || g->op[i] == 0)
			return -ENOMEM;
		g->function[i] = f->function;
	}
	return 0;
}

static int name_kinds(struct heat *h, struct groups *g)
{
	struct heat_file *files = (void *)h->files.items;
	struct heat_roots roots;

	heat_roots_find(h->m, &roots);
	for (uint32_t i = 1; i < h->files.count; i++)
		files[i].kind = heat_kind_of(&h->m->strings[files[i].name], &roots);
	for (uint32_t i = 1; i < h->m->frame_count; i++)
		g->kind[i] = g->file[i] ? files[g->file[i]].kind : HEAT_NO_FILE;
	return 0;
}

/* The stats of a grouping into its items, where they lie offset bytes in. */
static int count_into(const struct call_tree *t, const uint32_t *groups, struct table *items,
		      size_t offset)
{
	struct call_stat *stats = calloc(items->count, sizeof(*stats));
	int r = stats ? call_tree_stats(t, groups, items->count, stats) : -ENOMEM;

	for (uint32_t i = 1; r == 0 && i < items->count; i++)
		memcpy(items->items + (size_t)i * items->size + offset, &stats[i], sizeof(*stats));
	free(stats);
	return r;
}

static int count(struct heat *h, const struct groups *g)
{
	struct call_tree t;
	int r = call_tree_init(&t, h->m);

	if (r < 0)
		return r;
	r = count_into(&t, g->line, &h->lines, offsetof(struct heat_line, stat));
	if (r == 0)
		r = count_into(&t, g->spot, &h->spots, offsetof(struct heat_spot, stat));
	if (r == 0 && h->m->opcodes)
		r = count_into(&t, g->op, &h->ops, offsetof(struct heat_op, stat));
	if (r == 0)
		r = count_into(&t, g->file, &h->files, offsetof(struct heat_file, stat));
	if (r == 0)
		r = call_tree_stats(&t, g->kind, HEAT_KINDS, h->kinds);
	if (r == 0)
		r = call_tree_stats(&t, g->function, h->m->function_count, h->functions);
	if (r == 0)
		r = call_tree_edges(&t, g->line, g->function, &h->calls);
	if (r == 0)
		r = call_tree_edges(&t, g->line, g->line, &h->line_calls);
	call_tree_done(&t);
	return r;
}

/* ---- order ---- */

typedef int compare(const void *a, const void *b, void *heat);

/* keys[i] of count items, from 1 on, below key_count; UINT32_MAX: of none. */
static int index_by(struct heat_index *ret, struct heat *h, const uint32_t *keys, uint32_t n,
		    uint32_t key_count, compare *order)
{
	uint32_t *first = calloc((size_t)key_count + 2, sizeof(*first));
	uint32_t *items = calloc(n ? n : 1, sizeof(*items));

	ret->first = first;
	ret->item = items;
	if (!first || !items)
		return -ENOMEM;
	/* Counted two places on, so that filling moves each start to where it belongs. */
	for (uint32_t i = 1; i < n; i++)
		if (keys[i] < key_count)
			first[keys[i] + 2]++;
	for (uint32_t i = 2; i < key_count + 2; i++)
		first[i] += first[i - 1];
	for (uint32_t i = 1; i < n; i++)
		if (keys[i] < key_count)
			items[first[keys[i] + 1]++] = i;
	for (uint32_t i = 0; i < key_count; i++)
		qsort_r(items + first[i], first[i + 1] - first[i], sizeof(*items), order, h);
	return 0;
}

static int more(uint64_t a, uint64_t b)
{
	return (a < b) - (a > b);
}

static int by_line(const void *a, const void *b, void *heat)
{
	int32_t i = heat_line(heat, *(const uint32_t *)a)->line;
	int32_t k = heat_line(heat, *(const uint32_t *)b)->line;

	return (i > k) - (i < k);
}

static int by_place(const void *a, const void *b, void *heat)
{
	const struct heat_spot *i = heat_spot(heat, *(const uint32_t *)a);
	const struct heat_spot *k = heat_spot(heat, *(const uint32_t *)b);

	if (i->column != k->column)
		return (i->column > k->column) - (i->column < k->column);
	if (i->end_line != k->end_line)
		return (i->end_line < k->end_line) - (i->end_line > k->end_line);
	return (i->end_column < k->end_column) - (i->end_column > k->end_column);
}

static int by_first_line(const void *a, const void *b, void *heat)
{
	const struct model *m = ((struct heat *)heat)->m;
	int32_t i = m->functions[*(const uint32_t *)a].first_line;
	int32_t k = m->functions[*(const uint32_t *)b].first_line;

	return (i > k) - (i < k);
}

static int by_op(const void *a, const void *b, void *heat)
{
	const struct heat_op *i = heat_op(heat, *(const uint32_t *)a);
	const struct heat_op *k = heat_op(heat, *(const uint32_t *)b);
	int d = more(i->stat.direct, k->stat.direct);

	d = d ? d : more(i->stat.cumulative, k->stat.cumulative);
	return d ? d : (i->op > k->op) - (i->op < k->op);
}

static int by_weight(const struct call_edge *i, const struct call_edge *k)
{
	int d = more(i->stat.cumulative, k->stat.cumulative);

	d = d ? d : (i->callee > k->callee) - (i->callee < k->callee);
	return d ? d : (i->caller > k->caller) - (i->caller < k->caller);
}

static int by_call(const void *a, const void *b, void *heat)
{
	return by_weight(heat_call(heat, *(const uint32_t *)a),
			 heat_call(heat, *(const uint32_t *)b));
}

static int by_line_call(const void *a, const void *b, void *heat)
{
	return by_weight(heat_line_call(heat, *(const uint32_t *)a),
			 heat_line_call(heat, *(const uint32_t *)b));
}

/* The items of t that have samples, by the number that lies offset bytes in; their stat lies stat
 * bytes in. */
static int index_table(struct heat_index *ret, struct heat *h, const struct table *t, size_t offset,
		       size_t stat, uint32_t key_count, compare *order)
{
	uint32_t *keys = calloc(t->count, sizeof(*keys));
	int r = keys ? 0 : -ENOMEM;

	for (uint32_t i = 1; r == 0 && i < t->count; i++) {
		const char *at = item(t, i);
		const struct call_stat *s = (const void *)(at + stat);

		keys[i] = UINT32_MAX;
		if (s->cumulative)
			memcpy(&keys[i], at + offset, sizeof(*keys));
	}
	if (r == 0)
		r = index_by(ret, h, keys, t->count, key_count, order);
	free(keys);
	return r;
}

/* Functions with samples, by the file that they are in. */
static int index_functions(struct heat *h)
{
	const struct model *m = h->m;
	uint32_t *keys = malloc(m->function_count * sizeof(*keys));
	uint32_t *file_of = calloc(m->string_count, sizeof(*file_of));
	int r = keys && file_of ? 0 : -ENOMEM;

	for (uint32_t i = 1; r == 0 && i < h->files.count; i++)
		file_of[heat_file(h, i)->name] = i;
	for (uint32_t i = 0; r == 0 && i < m->function_count; i++) {
		uint32_t file = m->functions[i].file;

		h->file_of_function[i] = file_of[file];
		keys[i] = h->functions[i].cumulative && file ? file_of[file] : UINT32_MAX;
	}
	if (r == 0)
		r = index_by(&h->functions_of_file, h, keys, m->function_count, h->files.count,
			     by_first_line);
	free(keys);
	free(file_of);
	return r;
}

#define INDEX(ret, table, type, key, keys, order)                                                  \
	index_table(&h->ret, h, &h->table, offsetof(struct type, key),                             \
		    offsetof(struct type, stat), keys, order)

static int put_in_order(struct heat *h)
{
	uint32_t lines = h->lines.count;
	int r = INDEX(by_file, lines, heat_line, file, h->files.count, by_line);

	if (r == 0)
		r = INDEX(spots_of_line, spots, heat_spot, line, lines, by_place);
	if (r == 0)
		r = INDEX(ops_of_line, ops, heat_op, line, lines, by_op);
	if (r == 0)
		r = INDEX(callees_of_line, calls, call_edge, caller, lines, by_call);
	if (r == 0)
		r = INDEX(callers_of_line, line_calls, call_edge, callee, lines, by_line_call);
	if (r == 0)
		r = INDEX(callers_of_function, calls, call_edge, callee, h->m->function_count,
			  by_call);
	return r == 0 ? index_functions(h) : r;
}

/* What follows from the counts: whose a line is, how many lines a file has. */
static void derive(struct heat *h)
{
	struct heat_line *lines = (void *)h->lines.items;
	struct heat_file *files = (void *)h->files.items;
	uint64_t *most = calloc(h->lines.count, sizeof(*most));

	for (uint32_t i = 1; i < h->spots.count; i++) {
		const struct heat_spot *s = heat_spot(h, i);

		if (lines[s->line].function && (!most || s->stat.cumulative <= most[s->line]))
			continue;
		lines[s->line].function = s->function;
		if (most)
			most[s->line] = s->stat.cumulative;
	}
	free(most);
	for (uint32_t i = 1; i < h->lines.count; i++)
		files[lines[i].file].lines += lines[i].file && lines[i].stat.cumulative;
}

static int make(struct heat *h, struct groups *g)
{
	int r = group_frames(h, g);

	if (r == 0)
		r = name_kinds(h, g);
	if (r == 0)
		r = count(h, g);
	if (r < 0)
		return r;
	derive(h);
	return put_in_order(h);
}

int heat_init(struct heat *h, const struct model *m)
{
	uint32_t *all = calloc(6 * (size_t)m->frame_count, sizeof(*all));
	struct groups g;
	int r = all ? 0 : -ENOMEM;

	*h = (struct heat){.m = m};
	h->functions = calloc(m->function_count, sizeof(*h->functions));
	h->file_of_function = calloc(m->function_count, sizeof(*h->file_of_function));
	if (!h->functions || !h->file_of_function ||
	    table_init(&h->lines, sizeof(struct heat_line), offsetof(struct heat_line, function)) <
		    0 ||
	    table_init(&h->spots, sizeof(struct heat_spot),
		       offsetof(struct heat_spot, end_column) + sizeof(int32_t)) < 0 ||
	    table_init(&h->ops, sizeof(struct heat_op), offsetof(struct heat_op, stat)) < 0 ||
	    table_init(&h->files, sizeof(struct heat_file), offsetof(struct heat_file, kind)) < 0 ||
	    table_init(&h->calls, sizeof(struct call_edge), offsetof(struct call_edge, stat)) < 0 ||
	    table_init(&h->line_calls, sizeof(struct call_edge), offsetof(struct call_edge, stat)) <
		    0)
		r = -ENOMEM;
	if (r == 0) {
		g.line = all;
		g.spot = all + m->frame_count;
		g.op = all + 2 * (size_t)m->frame_count;
		g.file = all + 3 * (size_t)m->frame_count;
		g.kind = all + 4 * (size_t)m->frame_count;
		g.function = all + 5 * (size_t)m->frame_count;
		r = make(h, &g);
	}
	free(all);
	if (r < 0)
		heat_done(h);
	return r;
}

static void index_done(struct heat_index *i)
{
	free(i->first);
	free(i->item);
}

void heat_done(struct heat *h)
{
	table_done(&h->lines);
	table_done(&h->spots);
	table_done(&h->ops);
	table_done(&h->files);
	table_done(&h->calls);
	table_done(&h->line_calls);
	free(h->functions);
	free(h->file_of_function);
	index_done(&h->by_file);
	index_done(&h->functions_of_file);
	index_done(&h->spots_of_line);
	index_done(&h->ops_of_line);
	index_done(&h->callees_of_line);
	index_done(&h->callers_of_line);
	index_done(&h->callers_of_function);
	*h = (struct heat){0};
}
