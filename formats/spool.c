#include "formats/spool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIRST_BYTES 512u	/* of a list's block in memory, at first: most lists stay short */
#define BLOCK_BYTES (32u << 10) /* of one in the file */

struct list {
	char *data;
	size_t len, cap; /* bytes */
	uint64_t count;
	uint32_t first, last; /* blocks in the file, plus 1; 0: none */
};

struct spool {
	FILE *file;
	size_t record, block; /* bytes; block is a multiple of record */
	struct list *lists;
	uint32_t list_count;
	uint32_t *next; /* of each block in the file, plus 1 */
	uint32_t blocks, next_cap;
	char *buffer;
};

int spool_new(struct spool **ret, size_t record, uint32_t lists, FILE *(*open_file)(void))
{
	struct spool *s = calloc(1, sizeof(*s));
	int r = -ENOMEM;

	if (!s)
		return r;
	s->record = record;
	s->block = BLOCK_BYTES / record * record;
	s->list_count = lists;
	s->lists = calloc(lists, sizeof(*s->lists));
	s->buffer = malloc(s->block);
	if (s->lists && s->buffer) {
		errno = 0;
		s->file = open_file ? open_file() : tmpfile();
		r = s->file ? 0 : errno ? -errno : -EIO;
	}
	if (r < 0) {
		spool_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

void spool_free(struct spool *s)
{
	if (!s)
		return;
	for (uint32_t i = 0; s->lists && i < s->list_count; i++)
		free(s->lists[i].data);
	free(s->lists);
	free(s->next);
	free(s->buffer);
	if (s->file)
		fclose(s->file);
	free(s);
}

/* The file is used by its descriptor alone. */
static int write_block(struct spool *s, const struct list *l)
{
	size_t done = 0;

	while (done < l->len) {
		ssize_t n = pwrite(fileno(s->file), l->data + done, l->len - done,
				   (off_t)s->blocks * (off_t)s->block + (off_t)done);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0)
			done += (size_t)n;
	}
	return 0;
}

static int read_block(struct spool *s, uint32_t block)
{
	size_t done = 0;

	while (done < s->block) {
		ssize_t n = pread(fileno(s->file), s->buffer + done, s->block - done,
				  (off_t)block * (off_t)s->block + (off_t)done);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			return -EIO;
		if (n > 0)
			done += (size_t)n;
	}
	return 0;
}

/* A list's block is full: it goes to the end of the file. */
static int spill(struct spool *s, struct list *l)
{
	int r;

	if (s->blocks == s->next_cap) {
		uint32_t cap = s->next_cap ? 2 * s->next_cap : 64;
		uint32_t *next = reallocarray(s->next, cap, sizeof(*next));

		if (!next)
			return -ENOMEM;
		s->next = next;
		s->next_cap = cap;
	}
	r = write_block(s, l);
	if (r < 0)
		return r;
	s->next[s->blocks++] = 0;
	if (l->last)
		s->next[l->last - 1] = s->blocks;
	else
		l->first = s->blocks;
	l->last = s->blocks;
	l->len = 0;
	return 0;
}

static int make_room(struct spool *s, struct list *l)
{
	size_t cap = l->cap ? 2 * l->cap : FIRST_BYTES / s->record * s->record + s->record;
	char *data;

	if (l->cap == s->block)
		return spill(s, l);
	if (cap > s->block)
		cap = s->block;
	data = realloc(l->data, cap);
	if (!data)
		return -ENOMEM;
	l->data = data;
	l->cap = cap;
	return 0;
}

int spool_add(struct spool *s, uint32_t list, const void *record)
{
	struct list *l = &s->lists[list];

	if (l->len == l->cap) {
		int r = make_room(s, l);

		if (r < 0)
			return r;
	}
	memcpy(l->data + l->len, record, s->record);
	l->len += s->record;
	l->count++;
	return 0;
}

uint64_t spool_count(const struct spool *s, uint32_t list)
{
	return s->lists[list].count;
}

int spool_each(struct spool *s, uint32_t list, int (*take)(void *, const void *, size_t), void *arg)
{
	const struct list *l = &s->lists[list];
	int r;

	for (uint32_t at = l->first; at; at = s->next[at - 1]) {
		r = read_block(s, at - 1);
		if (r == 0)
			r = take(arg, s->buffer, s->block / s->record);
		if (r)
			return r;
	}
	return l->len ? take(arg, l->data, l->len / s->record) : 0;
}

void spool_clear(struct spool *s)
{
	for (uint32_t i = 0; i < s->list_count; i++) {
		s->lists[i].len = 0;
		s->lists[i].count = 0;
		s->lists[i].first = s->lists[i].last = 0;
	}
	s->blocks = 0;
}
