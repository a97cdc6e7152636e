/* The lines that frames stand at, and those around them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "formats/escape.h"
#include "formats/flame.h"

#define MAX_LOCATIONS 4000 /* the heaviest are shown */
#define AROUND	      2	   /* lines before and behind */
#define MAX_LINE      200  /* bytes of a line */
#define MAX_BYTES     (1u << 20)

/* Why a file has no lines. The page has these numbers. */
enum source {
	SOURCE_SHOWN,
	SOURCE_MISSING,
	SOURCE_DENIED,
	SOURCE_CHANGED, /* since the recording began */
	SOURCE_LARGE,
	SOURCE_NO_TEXT,
	SOURCE_NO_PATH,
	SOURCE_NOT_ASKED,
	SOURCE_OTHER,
};

/* A line of a file. */
struct location {
	uint32_t file; /* a string of the model */
	int32_t line;
	uint64_t weight;
};

struct wanted {
	uint32_t file, line;
};

static int by_weight(const void *a, const void *b)
{
	const struct location *i = a, *k = b;

	if (i->weight != k->weight)
		return i->weight < k->weight ? 1 : -1;
	if (i->file != k->file)
		return i->file < k->file ? -1 : 1;
	return (i->line > k->line) - (i->line < k->line);
}

static int by_file(const void *a, const void *b)
{
	const struct wanted *i = a, *k = b;

	if (i->file != k->file)
		return i->file < k->file ? -1 : 1;
	return (i->line > k->line) - (i->line < k->line);
}

/* What was counted at each line and below it. */
static int weigh(const struct model *m, struct table *locations)
{
	uint64_t *weight = calloc(m->node_count, sizeof(*weight));
	int r = weight ? 0 : -ENOMEM;

	for (uint32_t i = 0; i < m->count_count && r == 0; i++)
		weight[m->counts[i].node] += m->counts[i].count;
	for (uint32_t i = m->node_count; i-- > 1 && r == 0;) {
		const struct model_frame *frame = &m->frames[m->nodes[i].frame];
		struct location key = {m->functions[frame->function].file, frame->line, 0};
		uint32_t k;

		weight[m->nodes[i].parent] += weight[i];
		if (weight[i] == 0 || key.file == 0 || key.line <= 0)
			continue;
		k = table_intern(locations, &key);
		if (k == 0)
			r = -ENOMEM;
		else
			((struct location *)(void *)locations->items)[k].weight += weight[i];
	}
	free(weight);
	return r;
}

/* The lines to ask for, by file; *ret_count. NULL: memory is short. */
static struct wanted *choose(struct table *locations, uint32_t *ret_count)
{
	struct location *l = (void *)locations->items;
	uint32_t n = locations->count - 1, count = 0, kept = 0;
	struct wanted *wanted;

	qsort(l + 1, n, sizeof(*l), by_weight);
	if (n > MAX_LOCATIONS)
		n = MAX_LOCATIONS;
	wanted = calloc((size_t)n * (2 * AROUND + 1) + 1, sizeof(*wanted));
	if (!wanted)
		return NULL;
	for (uint32_t i = 1; i <= n; i++) {
		int64_t end = (int64_t)l[i].line + AROUND;

		for (int64_t line = l[i].line - AROUND; line <= end; line++)
			if (line > 0)
				wanted[count++] = (struct wanted){l[i].file, (uint32_t)line};
	}
	qsort(wanted, count, sizeof(*wanted), by_file);
	for (uint32_t i = 0; i < count; i++)
		if (kept == 0 || by_file(&wanted[kept - 1], &wanted[i]) != 0)
			wanted[kept++] = wanted[i];
	*ret_count = kept;
	return wanted;
}

/* Escaped, a tab as the spaces that it is; what is long is cut. */
static size_t put_line(char *to, size_t size, const char *at, size_t len)
{
	char raw[MAX_LINE + 8];
	size_t n = 0;

	for (size_t i = 0; i < len && n < MAX_LINE; i++) {
		if (at[i] != '\t') {
			raw[n++] = at[i];
			continue;
		}
		do
			raw[n++] = ' ';
		while (n % 8);
	}
	/* Not through a character. */
	if (n >= MAX_LINE) {
		while (n && (raw[n - 1] & 0xc0) == 0x80)
			n--;
		n -= n && (raw[n - 1] & 0x80);
	}
	return escape_text(to, size, raw, n, ESCAPE_TERMINAL);
}

/* The start of each line that is wanted is looked for once, from the line before. Returns how many
 * were put. *ret_end: how many there are, when the file ended first, else 0. */
static uint32_t put_lines(const struct format_source *source, const struct wanted *wanted,
			  uint32_t n, struct bytes *to, uint32_t *ret_end)
{
	const char *at = source->text, *end = at + source->len;
	char text[10 * (MAX_LINE + 8) + 1];
	uint32_t line = 1, found = 0, before = 0;

	for (uint32_t i = 0; i < n && to->len < MAX_BYTES; i++) {
		const char *stop;
		size_t len;

		for (; line < wanted[i].line && at < end; line++) {
			stop = memchr(at, '\n', (size_t)(end - at));
			at = stop ? stop + 1 : end;
		}
		if (at == end) {
			*ret_end = line - 1;
			break;
		}
		stop = memchr(at, '\n', (size_t)(end - at));
		len = (size_t)((stop ? stop : end) - at);
		if (len && at[len - 1] == '\r')
			len--;
		len = put_line(text, sizeof(text), at, len);
		bytes_varint(to, wanted[i].line - before);
		bytes_varint(to, len);
		bytes_put(to, text, len);
		before = wanted[i].line;
		found++;
	}
	return found;
}

static enum source source_of(int r)
{
	switch (r) {
	case 0:
		return SOURCE_SHOWN;
	case -ENOENT:
	case -ENOTDIR:
		return SOURCE_MISSING;
	case -EACCES:
	case -EPERM:
		return SOURCE_DENIED;
	case -EFBIG:
		return SOURCE_LARGE;
	case -EILSEQ:
	case -EISDIR:
		return SOURCE_NO_TEXT;
	default:
		return SOURCE_OTHER;
	}
}

static enum source read_source(const struct flame *f, const struct format_options *o,
			       const struct model_string *file, struct format_source *ret)
{
	const struct stream_header *h = &f->sides[0].m->processes[0].header;
	enum source why;

	if (!o->source_file)
		return SOURCE_NOT_ASKED;
	/* What is no path ends early; what begins so is none. */
	if (strlen(file->bytes) != file->len || file->bytes[0] == '<')
		return SOURCE_NO_PATH;
	why = source_of(o->source_file(o->arg, file->bytes, ret));
	if (why == SOURCE_SHOWN && h->start_real_ns && ret->mtime_ns >= (int64_t)h->start_real_ns) {
		free(ret->text);
		why = SOURCE_CHANGED;
	}
	return why;
}

/* One file: its text, why there are no lines, and else how many the file has, where it is shorter
 * than what was recorded, and those that are wanted. */
static void put_file(struct flame *f, const struct format_options *o,
		     const struct model_string *file, const struct wanted *wanted, uint32_t n,
		     struct bytes *lines, struct bytes *to)
{
	struct format_source source;
	enum source why = read_source(f, o, file, &source);
	uint32_t found, end = 0;

	/* It is there: a function is of this file. */
	bytes_varint(to, flame_add_text(f, file->bytes, file->len));
	bytes_varint(to, why);
	if (why != SOURCE_SHOWN)
		return;
	lines->len = 0;
	found = put_lines(&source, wanted, n, lines, &end);
	free(source.text);
	bytes_varint(to, end);
	bytes_varint(to, found);
	bytes_put(to, lines->data, lines->len);
}

int flame_put_sources(struct flame *f, const struct format_options *o, struct page *p)
{
	const struct model *m = f->sides[0].m;
	struct table locations;
	struct wanted *wanted = NULL;
	struct bytes lines = {0}, all = {0};
	uint32_t count = 0, files = 0;
	int r = table_init(&locations, sizeof(struct location), offsetof(struct location, weight));

	if (r == 0)
		r = weigh(m, &locations);
	if (r == 0) {
		wanted = choose(&locations, &count);
		r = wanted ? 0 : -ENOMEM;
	}
	for (uint32_t i = 0, end; i < count && all.len < MAX_BYTES; i = end) {
		for (end = i; end < count && wanted[end].file == wanted[i].file; end++)
			;
		put_file(f, o, &m->strings[wanted[i].file], wanted + i, end - i, &lines, &all);
		files++;
	}
	page_varint(p, files);
	page_put(p, all.data, all.len);
	if (lines.failed || all.failed)
		r = -ENOMEM;
	bytes_done(&lines);
	bytes_done(&all);
	free(wanted);
	table_done(&locations);
	return r;
}
