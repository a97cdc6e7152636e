#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "formats/bytes.h"
#include "formats/escape.h"
#include "formats/format.h"
#include "formats/locations.h"

/* A place in the tree of locations, where stacks that differ in columns only are one. */
struct place {
	uint32_t parent, location;
	uint32_t rank; /* by text, parents before children */
};

struct line {
	uint64_t tid;
	uint32_t place, rank;
	uint64_t count;
};

struct collapsed {
	struct locations locations;
	struct table places, lines;
	struct bytes text;    /* of all labels */
	size_t *label;	      /* where each location's begins; one more entry */
	uint32_t *label_rank; /* locations in the order of their labels */
	bool grouped;	 /* the first place of each path is a process: it comes before the thread */
	bool no_threads; /* they are folded: there is no word for them */
};

static int make_labels(struct collapsed *c, const struct model *m, bool terminal)
{
	uint32_t count = c->locations.table.count;
	struct bytes plain = {0}, escaped = {0};

	c->label = calloc((size_t)count + 1, sizeof(*c->label));
	if (!c->label)
		return -ENOMEM;
	for (uint32_t i = 1; i < count; i++) {
		const struct location *l = locations_get(&c->locations, i);
		const struct model_string *file = &m->strings[l->file],
					  *name = &m->strings[l->name];
		const char *slash = file->len ? memrchr(file->bytes, '/', file->len) : NULL;
		const char *base = slash ? slash + 1 : file->bytes;
		char line[24];
		size_t n;

		plain.len = 0;
		if (l->file) {
			bytes_put(&plain, base, file->bytes + file->len - base);
			bytes_byte(&plain, ':');
		}
		bytes_put(&plain, name->bytes, name->len);
		if (l->file)
			bytes_put(&plain, line, snprintf(line, sizeof(line), ":%" PRId32, l->line));
		bytes_reserve(&plain, 1);
		/* Six bytes are the most that one or three become, twice. */
		if (terminal) {
			escaped.len = 0;
			if (!bytes_reserve(&escaped, 10 * plain.len + 1))
				break;
			escaped.len = escape_text((char *)escaped.data, escaped.cap,
						  (char *)plain.data, plain.len, ESCAPE_TERMINAL);
		}
		c->label[i] = c->text.len;
		if (!bytes_reserve(&c->text, (terminal ? escaped.len : plain.len) + 1))
			break;
		n = escape_text((char *)c->text.data + c->text.len, c->text.cap - c->text.len,
				(char *)(terminal ? escaped.data : plain.data),
				terminal ? escaped.len : plain.len, ESCAPE_COLLAPSED);
		c->text.len += n;
	}
	c->label[count] = c->text.len;
	bytes_done(&escaped);
	bytes_done(&plain);
	return c->text.failed || escaped.failed || plain.failed ? -ENOMEM : 0;
}

static int by_label(const void *a, const void *b, void *arg)
{
	const struct collapsed *c = arg;
	uint32_t i = *(const uint32_t *)a, k = *(const uint32_t *)b;
	size_t len_i = c->label[i + 1] - c->label[i], len_k = c->label[k + 1] - c->label[k];
	int d = memcmp(c->text.data + c->label[i], c->text.data + c->label[k],
		       len_i < len_k ? len_i : len_k);

	return d ? d : (len_i > len_k) - (len_i < len_k);
}

static int rank_labels(struct collapsed *c)
{
	uint32_t count = c->locations.table.count, *order = calloc(count, sizeof(*order));

	c->label_rank = calloc(count, sizeof(*c->label_rank));
	if (!order || !c->label_rank) {
		free(order);
		return -ENOMEM;
	}
	for (uint32_t i = 1; i < count; i++)
		order[i] = i;
	qsort_r(order + 1, count - 1, sizeof(*order), by_label, c);
	for (uint32_t i = 1; i < count; i++)
		c->label_rank[order[i]] = i;
	free(order);
	return 0;
}

static int by_rank(const void *a, const void *b, void *arg)
{
	const struct collapsed *c = arg;
	const struct place *places = (const void *)c->places.items;
	uint32_t i = c->label_rank[places[*(const uint32_t *)a].location];
	uint32_t k = c->label_rank[places[*(const uint32_t *)b].location];

	return (i > k) - (i < k);
}

/* Numbers the places in the order of their lines' text. */
static int rank_places(struct collapsed *c)
{
	struct place *places = (void *)c->places.items;
	uint32_t count = c->places.count, *first, *child, *rank;
	int r = children_of(&places->parent, sizeof(*places), count, &first, &child);

	if (r < 0)
		return r;
	for (uint32_t i = 0; i < count; i++)
		qsort_r(child + first[i], first[i + 1] - first[i], sizeof(*child), by_rank, c);
	rank = calloc(count, sizeof(*rank));
	r = rank ? rank_depth_first(first, child, count, rank) : -ENOMEM;
	for (uint32_t i = 0; i < count && r == 0; i++)
		places[i].rank = rank[i];
	free(first);
	free(child);
	free(rank);
	return r;
}

/* The places of all nodes and what was counted at them. */
static int make_lines(struct collapsed *c, const struct model *m)
{
	uint32_t *place = calloc(m->node_count, sizeof(*place));
	int r = place ? 0 : -ENOMEM;

	for (uint32_t i = 1; i < m->node_count && r == 0; i++) {
		const struct model_node *node = &m->nodes[i];
		struct place key = {place[node->parent], c->locations.by_frame[node->frame], 0};

		place[i] = table_intern(&c->places, &key);
		if (place[i] == 0)
			r = -ENOMEM;
	}
	for (uint32_t i = 0; i < m->count_count && r == 0; i++) {
		const struct model_count *count = &m->counts[i];
		struct line key = {.tid = m->threads[count->thread].tid,
				   .place = place[count->node]};
		uint32_t line;

		if (count->node == 0 || count->count == 0)
			continue;
		line = table_intern(&c->lines, &key);
		if (line == 0)
			r = -ENOMEM;
		else
			((struct line *)(void *)c->lines.items)[line].count += count->count;
	}
	free(place);
	return r;
}

static int by_count(const void *a, const void *b)
{
	const struct line *i = a, *k = b;

	if (i->count != k->count)
		return i->count < k->count ? 1 : -1;
	if (i->tid != k->tid) {
		char x[24], y[24];

		/* As text, like the rest of the line. */
		snprintf(x, sizeof(x), "%" PRIu64 ";", i->tid);
		snprintf(y, sizeof(y), "%" PRIu64 ";", k->tid);
		return strcmp(x, y);
	}
	return (i->rank > k->rank) - (i->rank < k->rank);
}

static int put_line(const struct collapsed *c, const struct line *line, struct bytes *b, FILE *out)
{
	const struct place *places = (const void *)c->places.items;
	char text[32];
	size_t len = 0, at, from_byte = c->no_threads && !c->grouped;
	uint32_t base = 0;

	b->len = 0;
	if (c->grouped) {
		for (uint32_t p = line->place; p; p = places[p].parent)
			base = p;
		at = c->label[places[base].location];
		bytes_put(b, c->text.data + at, c->label[places[base].location + 1] - at);
		if (!c->no_threads)
			bytes_byte(b, ';');
	}
	if (!c->no_threads)
		bytes_put(b, text, snprintf(text, sizeof(text), "tid:%" PRIu64, line->tid));
	/* Root first, but the tree is walked from the leaf: the length first, then backwards. */
	for (uint32_t p = line->place; p != base; p = places[p].parent)
		len += c->label[places[p].location + 1] - c->label[places[p].location] + 1;
	if (!bytes_reserve(b, len))
		return -ENOMEM;
	b->len += len;
	at = b->len;
	for (uint32_t p = line->place; p != base; p = places[p].parent) {
		size_t from = c->label[places[p].location];
		size_t n = c->label[places[p].location + 1] - from;

		at -= n;
		memcpy(b->data + at, c->text.data + from, n);
		b->data[--at] = ';';
	}
	bytes_put(b, text, snprintf(text, sizeof(text), " %" PRIu64 "\n", line->count));
	if (b->failed)
		return -ENOMEM;
	/* What no word is before needs no separator. */
	len = b->len - from_byte;
	return fwrite_unlocked(b->data + from_byte, 1, len, out) == len ? 0 : errno ? -errno : -EIO;
}

static int collapsed_write(const struct model *m, const struct format_options *options, FILE *out)
{
	struct collapsed c = {.grouped = m->grouped, .no_threads = m->threads_folded};
	struct bytes buffer = {0};
	struct line *lines;
	int r = locations_init(&c.locations, m);

	if (r < 0)
		return r;
	r = table_init(&c.places, sizeof(struct place), offsetof(struct place, rank));
	if (r == 0)
		r = table_init(&c.lines, sizeof(struct line), offsetof(struct line, rank));
	if (r == 0)
		r = make_lines(&c, m);
	if (r == 0 && c.lines.count == 1)
		r = -ENODATA;
	if (r == 0)
		r = make_labels(&c, m, options->terminal);
	if (r == 0)
		r = rank_labels(&c);
	if (r == 0)
		r = rank_places(&c);
	lines = (void *)c.lines.items;
	if (r == 0) {
		const struct place *places = (const void *)c.places.items;

		for (uint32_t i = 1; i < c.lines.count; i++)
			lines[i].rank = places[lines[i].place].rank;
		qsort(lines + 1, c.lines.count - 1, sizeof(*lines), by_count);
	}
	for (uint32_t i = 1; i < c.lines.count && r == 0; i++)
		r = put_line(&c, &lines[i], &buffer, out);
	bytes_done(&buffer);
	bytes_done(&c.text);
	free(c.label);
	free(c.label_rank);
	table_done(&c.lines);
	table_done(&c.places);
	locations_done(&c.locations);
	return r;
}

const struct format format_collapsed = {
	.name = "collapsed",
	.extension = "txt",
	.extensions = "txt collapsed folded",
	.write = collapsed_write,
};
