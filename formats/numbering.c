#include "formats/numbering.h"

#include <errno.h>
#include <stdlib.h>

int numbering_init(struct numbering *n, uint32_t count)
{
	n->number = calloc(count, sizeof(*n->number));
	n->used = calloc(count, sizeof(*n->used));
	return n->number && n->used ? 0 : -ENOMEM;
}

void numbering_done(struct numbering *n)
{
	free(n->number);
	free(n->used);
}

void numbering_clear(struct numbering *n)
{
	for (uint32_t i = 0; i < n->count; i++)
		n->number[n->used[i]] = 0;
	n->count = 0;
}

bool numbering_add(struct numbering *n, uint32_t thing)
{
	if (n->number[thing])
		return false;
	n->used[n->count++] = thing;
	n->number[thing] = n->count;
	return true;
}

static int ascending(const void *a, const void *b)
{
	uint32_t i = *(const uint32_t *)a, k = *(const uint32_t *)b;

	return (i > k) - (i < k);
}

void numbering_sort(struct numbering *n)
{
	qsort(n->used, n->count, sizeof(*n->used), ascending);
	for (uint32_t i = 0; i < n->count; i++)
		n->number[n->used[i]] = i + 1;
}
