#include "formats/flame.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "formats/escape.h"
#include "formats/locations.h"
#include "formats/opcode.h"

/* ---- texts ---- */

const struct flame_text *flame_text_of(const struct flame *f, uint32_t text)
{
	return (const struct flame_text *)(const void *)f->texts.items + text;
}

/* Up to FLAME_TEXT bytes, escaped: each becomes ten at most, and none is cut through. */
static size_t put_escaped(struct bytes *to, const char *bytes, size_t len)
{
	bool cut = len > FLAME_TEXT;
	size_t n;

	if (cut)
		for (len = FLAME_TEXT; len > FLAME_TEXT - 4 && (bytes[len] & 0xc0) == 0x80; len--)
			;
	if (!bytes_reserve(to, 10 * len + 8))
		return 0;
	n = escape_text((char *)to->data + to->len, to->cap - to->len, bytes, len, ESCAPE_TERMINAL);
	if (cut) {
		memcpy(to->data + to->len + n, "\xe2\x80\xa6", 3);
		n += 3;
	}
	to->len += n;
	return n;
}

uint32_t flame_add_text(struct flame *f, const char *bytes, size_t len)
{
	XXH128_hash_t hash = XXH3_128bits(bytes, len);
	const uint64_t key[2] = {hash.low64, hash.high64};
	uint32_t before = f->texts.count, i;
	struct flame_text *text;

	if (len == 0)
		return 0;
	i = table_intern(&f->texts, key);
	if (i < before)
		return i;
	text = (struct flame_text *)(void *)f->texts.items + i;
	text->at = f->text.len;
	text->len = (uint32_t)put_escaped(&f->text, bytes, len);
	return f->text.failed ? 0 : i;
}

/* ---- the two profiles as one tree ---- */

static uint32_t add_text(struct flame *f, const struct model *m, uint32_t string)
{
	return flame_add_text(f, m->strings[string].bytes, m->strings[string].len);
}

static uint32_t add_function(struct flame *f, const struct model *m, uint32_t i)
{
	const struct model_function *from = &m->functions[i];
	struct flame_function key = {add_text(f, m, from->name), add_text(f, m, from->file),
				     from->file ? from->first_line : 0, from->kind};

	return table_intern(&f->functions, &key);
}

static uint32_t add_cell(struct flame *f, const struct model *m, uint32_t i)
{
	const struct model_frame *from = &m->frames[i];
	struct flame_cell key = {add_function(f, m, from->function), 0, 0};
	char name[80];

	if (key.function == 0)
		return 0;
	if (m->functions[from->function].file && from->line > 0)
		key.line = from->line;
	if (from->op) {
		opcode_text(from->op, name, sizeof(name));
		key.op = flame_add_text(f, name, strlen(name));
	}
	return table_intern(&f->cells, &key);
}

/* The nodes that samples are on, and those above them. */
static void mark(const struct model *m, uint8_t *used)
{
	for (uint32_t i = 0; i < m->count_count; i++) {
		if (m->counts[i].count == 0 && m->counts[i].ns == 0)
			continue;
		for (uint32_t n = m->counts[i].node; n && !used[n]; n = m->nodes[n].parent)
			used[n] = 1;
	}
}

static int add_places(struct flame *f, struct flame_side *side)
{
	const struct model *m = side->m;
	uint8_t *used = calloc(m->node_count, 1);
	uint32_t *cell = calloc(m->frame_count, sizeof(*cell));
	int r = used && cell ? 0 : -ENOMEM;

	side->place = calloc(m->node_count, sizeof(*side->place));
	if (!side->place)
		r = -ENOMEM;
	if (r == 0)
		mark(m, used);
	for (uint32_t i = 1; i < m->node_count && r == 0; i++) {
		const struct model_node *node = &m->nodes[i];
		struct flame_place key;

		if (!used[i])
			continue;
		if (cell[node->frame] == 0)
			cell[node->frame] = add_cell(f, m, node->frame);
		key = (struct flame_place){side->place[node->parent], cell[node->frame]};
		side->place[i] = key.cell ? table_intern(&f->places, &key) : 0;
		if (side->place[i] == 0)
			r = -ENOMEM;
	}
	free(used);
	free(cell);
	return r;
}

static int add_counts(struct flame *f, const struct flame_side *side)
{
	const struct model *m = side->m;

	for (uint32_t i = 0; i < m->count_count; i++) {
		const struct model_count *from = &m->counts[i];
		struct flame_count key = {.place = side->place[from->node]}, *to;
		uint32_t k;

		/* A thread without a Python frame has no place. */
		if (key.place == 0)
			continue;
		key.thread = side->first_thread + from->thread - 1;
		k = table_intern(&f->counts, &key);
		if (k == 0)
			return -ENOMEM;
		to = (struct flame_count *)(void *)f->counts.items + k;
		to->count += from->count;
		to->ns += from->ns;
	}
	return 0;
}

/* Depth first: a place, then all below it. */
static int put_in_order(struct flame *f)
{
	uint32_t count = f->places.count, *first, *child;
	const struct flame_place *places = (const void *)f->places.items;
	int r = children_of(&places->parent, sizeof(*places), count, &first, &child);

	if (r < 0)
		return r;
	f->order = calloc(count, sizeof(*f->order));
	f->rank = calloc(count, sizeof(*f->rank));
	r = f->order && f->rank ? rank_depth_first(first, child, count, f->rank) : -ENOMEM;
	for (uint32_t i = 0; i < count && r == 0; i++)
		f->order[f->rank[i]] = i;
	free(first);
	free(child);
	return r;
}

static int by_thread_and_place(const void *a, const void *b, void *arg)
{
	const struct flame *f = arg;
	const struct flame_count *i = a, *k = b;

	if (i->thread != k->thread)
		return i->thread < k->thread ? -1 : 1;
	return f->rank[i->place] < f->rank[k->place] ? -1 : f->rank[i->place] > f->rank[k->place];
}

int flame_init(struct flame *f, const struct model *m, const struct model *base)
{
	int r = 0;

	*f = (struct flame){.side_count = base ? 2 : 1, .thread_count = m->thread_count - 1};
	f->sides[0] = (struct flame_side){.m = m};
	if (base) {
		f->sides[1] = (struct flame_side){.m = base, .first_thread = f->thread_count};
		f->thread_count += base->thread_count - 1;
	}
	if (table_init(&f->texts, sizeof(struct flame_text), offsetof(struct flame_text, at)) < 0 ||
	    table_init(&f->functions, sizeof(struct flame_function),
		       sizeof(struct flame_function)) < 0 ||
	    table_init(&f->cells, sizeof(struct flame_cell), sizeof(struct flame_cell)) < 0 ||
	    table_init(&f->places, sizeof(struct flame_place), sizeof(struct flame_place)) < 0 ||
	    table_init(&f->counts, sizeof(struct flame_count),
		       offsetof(struct flame_count, count)) < 0)
		r = -ENOMEM;
	for (unsigned i = 0; i < f->side_count && r == 0; i++) {
		r = add_places(f, &f->sides[i]);
		if (r == 0)
			r = add_counts(f, &f->sides[i]);
		if (r == 0 && f->counts.count == 1)
			r = -ENODATA;
	}
	if (r == 0 && f->text.failed)
		r = -ENOMEM;
	if (r == 0)
		r = put_in_order(f);
	if (r == 0)
		qsort_r(f->counts.items + sizeof(struct flame_count), f->counts.count - 1,
			sizeof(struct flame_count), by_thread_and_place, f);
	if (r < 0)
		flame_done(f);
	return r;
}

void flame_done(struct flame *f)
{
	for (unsigned i = 0; i < 2; i++)
		free(f->sides[i].place);
	table_done(&f->texts);
	table_done(&f->functions);
	table_done(&f->cells);
	table_done(&f->places);
	table_done(&f->counts);
	bytes_done(&f->text);
	free(f->order);
	free(f->rank);
	*f = (struct flame){0};
}

/* ---- clocks ---- */

uint64_t flame_interval(const struct model *m)
{
	return m->process_count ? model_interval(&m->processes[0].header) : 0;
}

int64_t flame_clock(const struct model *m, uint32_t process)
{
	const struct stream_header *h = &m->processes[process].header;

	/* Two starts in one boot say the same, but for what the real clock was set meanwhile. */
	for (uint32_t i = 0; i < process; i++)
		if (strcmp(m->processes[i].header.boot_id, h->boot_id) == 0) {
			h = &m->processes[i].header;
			break;
		}
	return (int64_t)(h->start_real_ns - h->start_monotonic_ns);
}

/* Of the times of a thread's samples those that were asked for; false: there is none. */
static bool find_times(const struct model *m, const struct model_thread *t, uint64_t *ret_first,
		       uint64_t *ret_last)
{
	uint64_t begin = m->processes[t->process].first_ns, from = begin + m->from_ns;
	uint64_t to = m->to_ns && begin + m->to_ns > begin ? begin + m->to_ns - 1 : UINT64_MAX;

	/* Who folded threads has no process of theirs to count from. */
	if (m->threads_folded || from < begin)
		from = 0;
	if (m->threads_folded)
		to = UINT64_MAX;
	*ret_first = t->first_ns > from ? t->first_ns : from;
	*ret_last = t->last_ns < to ? t->last_ns : to;
	return *ret_first <= *ret_last;
}

/* all: also of threads of which no sample was asked for. */
static bool find_span(const struct model *m, bool all, int64_t *ret_from, int64_t *ret_to)
{
	int64_t from = 0, to = 0;
	bool any = false;

	for (uint32_t i = 1; i < m->thread_count; i++) {
		const struct model_thread *t = &m->threads[i];
		/* A recording may say what it likes: nothing overflows but to another time. */
		uint64_t clock = (uint64_t)flame_clock(m, t->process), first_ns, last_ns;
		int64_t first, last;

		if (!t->seen || (t->samples == 0 && !all) || !find_times(m, t, &first_ns, &last_ns))
			continue;
		first = (int64_t)(first_ns + clock);
		last = (int64_t)(last_ns + clock);
		if (!any || first < from)
			from = first;
		if (!any || last > to)
			to = last;
		any = true;
	}
	*ret_from = from;
	*ret_to = to;
	return any;
}

void flame_span(const struct model *m, int64_t *ret_from, int64_t *ret_to)
{
	/* Where all that there is are tasks that wait, they were looked at with other samples. */
	if (!find_span(m, false, ret_from, ret_to))
		find_span(m, true, ret_from, ret_to);
}

/* ---- writing ---- */

/* Numbers in the order of their first use: what is near in the tree is near in the tables. */
struct renamed {
	uint32_t *name, *item, count;
};

static int rename_init(struct renamed *r, uint32_t count)
{
	*r = (struct renamed){calloc(count, sizeof(*r->name)), calloc(count, sizeof(*r->item)), 0};
	return r->name && r->item ? 0 : -ENOMEM;
}

static void rename_done(struct renamed *r)
{
	free(r->name);
	free(r->item);
}

static uint32_t rename_of(struct renamed *r, uint32_t i)
{
	if (i && r->name[i] == 0) {
		r->name[i] = ++r->count;
		r->item[r->count] = i;
	}
	return r->name[i];
}

/* A new number as 0, others by how far they lie back. */
static void put_renamed(struct page *p, struct renamed *r, uint32_t i)
{
	uint32_t before = r->count, name = rename_of(r, i);

	page_varint(p, name > before ? 0 : before + 1 - name);
}

static void put_texts(const struct flame *f, struct page *p)
{
	page_varint(p, f->texts.count - 1);
	for (uint32_t i = 1; i < f->texts.count; i++)
		page_varint(p, flame_text_of(f, i)->len);
	for (uint32_t i = 1; i < f->texts.count; i++)
		page_put(p, f->text.data + flame_text_of(f, i)->at, flame_text_of(f, i)->len);
}

static void put_functions(const struct flame *f, struct page *p, const struct renamed *functions)
{
	const struct flame_function *all = (const void *)f->functions.items;

	page_varint(p, functions->count);
	for (uint32_t i = 1; i <= functions->count; i++)
		page_varint(p, all[functions->item[i]].name);
	for (uint32_t i = 1; i <= functions->count; i++)
		page_varint(p, all[functions->item[i]].file);
	for (uint32_t i = 1; i <= functions->count; i++)
		page_zigzag(p, all[functions->item[i]].first_line);
	for (uint32_t i = 1; i <= functions->count; i++)
		page_varint(p, all[functions->item[i]].kind);
}

static void put_cells(const struct flame *f, struct page *p, const struct renamed *cells,
		      struct renamed *functions)
{
	const struct flame_function *all = (const void *)f->functions.items;
	const struct flame_cell *c = (const void *)f->cells.items;

	page_varint(p, cells->count);
	for (uint32_t i = 1; i <= cells->count; i++)
		put_renamed(p, functions, c[cells->item[i]].function);
	for (uint32_t i = 1; i <= cells->count; i++) {
		const struct flame_cell *cell = &c[cells->item[i]];

		page_zigzag(p, cell->line ? (int64_t)cell->line - all[cell->function].first_line
					  : INT32_MIN);
	}
	for (uint32_t i = 1; i <= cells->count; i++)
		page_varint(p, c[cells->item[i]].op);
}

void flame_put_tree(const struct flame *f, struct page *p)
{
	const struct flame_place *places = (const void *)f->places.items;
	uint32_t count = f->places.count;
	struct renamed cells, functions;
	int r = rename_init(&cells, f->cells.count);

	if (rename_init(&functions, f->functions.count) < 0)
		r = -ENOMEM;
	if (r < 0 && p->error == 0)
		p->error = r;
	if (r == 0) {
		put_texts(f, p);
		page_varint(p, count - 1);
		/* How many levels up from the place before its parent is. */
		for (uint32_t i = 1; i < count; i++) {
			uint32_t up = 0, at = f->order[i - 1], parent = places[f->order[i]].parent;

			for (; at != parent; at = places[at].parent)
				up++;
			page_varint(p, up);
		}
		for (uint32_t i = 1; i < count; i++)
			put_renamed(p, &cells, places[f->order[i]].cell);
		put_cells(f, p, &cells, &functions);
		put_functions(f, p, &functions);
	}
	rename_done(&cells);
	rename_done(&functions);
}

void flame_put_counts(const struct flame *f, struct page *p, uint64_t interval_ns)
{
	const struct flame_count *c = (const void *)f->counts.items;
	uint32_t count = f->counts.count, i = 1;
	uint64_t unit = 1000;

	/* Most recordings have whole microseconds. */
	for (uint32_t k = 1; k < count && unit > 1; k++)
		if (c[k].ns % unit)
			unit = 1;
	page_varint(p, unit);
	for (uint32_t thread = 0; thread < f->thread_count; thread++) {
		uint32_t end = i, before = 0;

		while (end < count && c[end].thread == thread)
			end++;
		page_varint(p, end - i);
		for (uint32_t k = i; k < end; k++) {
			page_varint(p, f->rank[c[k].place] - before);
			before = f->rank[c[k].place];
		}
		for (uint32_t k = i; k < end; k++)
			page_varint(p, c[k].count);
		for (uint32_t k = i; k < end; k++)
			page_zigzag(p,
				    (int64_t)(c[k].ns / unit - c[k].count * (interval_ns / unit)));
		i = end;
	}
}
