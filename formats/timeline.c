#include "formats/timeline.h"

#include <errno.h>
#include <stdlib.h>

#define BLOCK  1024 /* samples; 40 KiB */
#define BUFFER (1u << 18)

static int note_error(struct timeline *t)
{
	t->error = errno ? -errno : -EIO;
	return t->error;
}

void timeline_put(struct timeline *t, const struct model_sample *s)
{
	if (t->error || !t->open)
		return;
	errno = 0;
	if (!t->file) {
		t->file = t->open();
		t->buffer = t->file ? malloc(BUFFER) : NULL;
		if (t->buffer)
			setvbuf(t->file, t->buffer, _IOFBF, BUFFER);
	}
	if (!t->file || fwrite_unlocked(s, sizeof(*s), 1, t->file) != 1)
		note_error(t);
}

static int put_back(struct timeline *t, off_t at, const struct model_sample *block, size_t n)
{
	if (fseeko(t->file, at, SEEK_SET) < 0 ||
	    fwrite_unlocked(block, sizeof(*block), n, t->file) != n || fflush(t->file) != 0)
		return note_error(t);
	return 0;
}

/* change NULL: nothing is written back. */
static int each(struct timeline *t, int (*take)(void *, const struct model_sample *),
		int (*change)(void *, struct model_sample *), void *arg)
{
	struct model_sample block[BLOCK];
	off_t at = 0;
	size_t n;

	errno = 0;
	if (t->error || !t->file)
		return t->error;
	do {
		int r = 0;

		/* fseeko() also writes what is buffered. */
		if (fseeko(t->file, at, SEEK_SET) < 0)
			return note_error(t);
		n = fread_unlocked(block, sizeof(*block), BLOCK, t->file);
		if (n < BLOCK && ferror_unlocked(t->file))
			return note_error(t);
		for (size_t i = 0; r == 0 && i < n; i++)
			r = change ? change(arg, &block[i]) : take(arg, &block[i]);
		if (r == 0 && change)
			r = put_back(t, at, block, n);
		if (r)
			return r;
		at += (off_t)(n * sizeof(*block));
	} while (n == BLOCK);
	return 0;
}

int timeline_each(struct timeline *t, int (*take)(void *arg, const struct model_sample *s),
		  void *arg)
{
	return each(t, take, NULL, arg);
}

int timeline_change(struct timeline *t, int (*change)(void *arg, struct model_sample *s), void *arg)
{
	return each(t, NULL, change, arg);
}

void timeline_done(struct timeline *t)
{
	if (t->file)
		fclose(t->file);
	free(t->buffer);
	*t = (struct timeline){0};
}
