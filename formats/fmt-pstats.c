/* The file that Python's pstats.Stats loads: a marshalled dict of (file, line, function) to
 * (primitive calls, calls, own seconds, cumulative seconds, callers). As CPython's sampling
 * profiler does, the two calls are samples: as leaf, and anywhere on the stack. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "formats/bytes.h"
#include "formats/call-stats.h"
#include "formats/escape.h"
#include "formats/format.h"
#include "formats/locations.h"

#define FLUSH (256u << 10) /* bytes gathered before they are written */

/* Types of marshal version 2, which every Python 3 reads (Python/marshal.c). */
enum marshal {
	MARSHAL_NULL = '0',
	MARSHAL_INT = 'i',
	MARSHAL_LONG = 'l',
	MARSHAL_FLOAT = 'g',
	MARSHAL_UNICODE = 'u',
	MARSHAL_TUPLE = '(',
	MARSHAL_DICT = '{',
};

static void put32(struct bytes *b, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		bytes_byte(b, v >> 8 * i);
}

static void put_int(struct bytes *b, uint64_t v)
{
	unsigned digits = 0;

	if (v <= INT32_MAX) {
		bytes_byte(b, MARSHAL_INT);
		put32(b, v);
		return;
	}
	/* Digits of 15 bits, the lowest first. */
	for (uint64_t rest = v; rest; rest >>= 15)
		digits++;
	bytes_byte(b, MARSHAL_LONG);
	put32(b, digits);
	for (; v; v >>= 15) {
		bytes_byte(b, v);
		bytes_byte(b, v >> 8 & 0x7f);
	}
}

static void put_seconds(struct bytes *b, uint64_t ns)
{
	double v = ns / 1e9;
	uint64_t bits;

	memcpy(&bits, &v, sizeof(bits));
	bytes_byte(b, MARSHAL_FLOAT);
	put32(b, bits);
	put32(b, bits >> 32);
}

static void put_text(struct bytes *b, const char *text, size_t len)
{
	size_t at, n;

	bytes_byte(b, MARSHAL_UNICODE);
	/* Each wrong byte becomes three. */
	if (!bytes_reserve(b, 3 * len + 5))
		return;
	at = b->len;
	n = escape_text((char *)b->data + at + 4, 3 * len + 1, text, len, ESCAPE_UTF8);
	put32(b, n);
	b->len = at + 4 + n;
}

static void put_tuple(struct bytes *b, uint32_t n)
{
	bytes_byte(b, MARSHAL_TUPLE);
	put32(b, n);
}

static void put_key(struct bytes *b, const struct model *m, const struct location *l)
{
	put_tuple(b, 3);
	/* What pstats takes for something without a source. */
	if (l->file)
		put_text(b, m->strings[l->file].bytes, m->strings[l->file].len);
	else
		put_text(b, "~", 1);
	put_int(b, l->line);
	put_text(b, m->strings[l->name].bytes, m->strings[l->name].len);
}

static void put_stat(struct bytes *b, const struct call_stat *s, bool edge)
{
	/* A caller's tuple has the two counts the other way round. */
	put_int(b, edge ? s->cumulative : s->direct);
	put_int(b, edge ? s->direct : s->cumulative);
	put_seconds(b, s->direct_ns);
	put_seconds(b, s->cumulative_ns);
}

static int flush(struct bytes *b, FILE *out, size_t limit)
{
	if (b->failed)
		return -ENOMEM;
	if (b->len < limit)
		return 0;
	if (fwrite(b->data, 1, b->len, out) != b->len)
		return errno ? -errno : -EIO;
	b->len = 0;
	return 0;
}

static int by_callee(const void *a, const void *b)
{
	const struct call_edge *i = a, *k = b;

	if (i->callee != k->callee)
		return i->callee < k->callee ? -1 : 1;
	return (i->caller > k->caller) - (i->caller < k->caller);
}

static int put_stats(const struct model *m, const struct locations *l,
		     const struct call_stat *stats, const struct table *edges, FILE *out)
{
	const struct call_edge *edge = (const struct call_edge *)(const void *)edges->items + 1;
	const struct call_edge *end = edge + edges->count - 1;
	struct bytes b = {0};
	int r = 0;

	bytes_byte(&b, MARSHAL_DICT);
	for (uint32_t i = 1; i < l->table.count && r == 0; i++) {
		if (stats[i].cumulative == 0) {
			while (edge < end && edge->callee == i)
				edge++;
			continue;
		}
		put_key(&b, m, locations_get(l, i));
		put_tuple(&b, 5);
		put_stat(&b, &stats[i], false);
		bytes_byte(&b, MARSHAL_DICT);
		for (; edge < end && edge->callee == i && r == 0; edge++) {
			if (edge->stat.cumulative == 0)
				continue;
			put_key(&b, m, locations_get(l, edge->caller));
			put_tuple(&b, 4);
			put_stat(&b, &edge->stat, true);
			r = flush(&b, out, FLUSH);
		}
		bytes_byte(&b, MARSHAL_NULL);
		if (r == 0)
			r = flush(&b, out, FLUSH);
	}
	bytes_byte(&b, MARSHAL_NULL);
	if (r == 0)
		r = flush(&b, out, 0);
	bytes_done(&b);
	return r;
}

static int pstats_write(const struct model *m, const struct format_options *options, FILE *out)
{
	struct locations l = {0};
	struct table edges = {0};
	struct call_stat *stats = NULL;
	int r;

	if (m->samples == 0)
		return -ENODATA;
	r = locations_init(&l, m);
	if (r < 0)
		return r;
	r = table_init(&edges, sizeof(struct call_edge), offsetof(struct call_edge, stat));
	if (r == 0) {
		stats = calloc(l.table.count, sizeof(*stats));
		r = stats ? call_stats(m, l.by_frame, l.table.count, stats, &edges) : -ENOMEM;
	}
	if (r == 0) {
		qsort((struct call_edge *)(void *)edges.items + 1, edges.count - 1,
		      sizeof(struct call_edge), by_callee);
		r = put_stats(m, &l, stats, &edges, out);
	}
	free(stats);
	table_done(&edges);
	locations_done(&l);
	return r;
}

const struct format format_pstats = {
	.name = "pstats",
	.extension = "pstats",
	.extensions = "pstats prof",
	.binary = true,
	.write = pstats_write,
};
