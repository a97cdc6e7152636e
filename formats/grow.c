#include "formats/grow.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FIRST 64 /* items */

int grow(void *array, uint32_t *cap, size_t n, size_t size)
{
	size_t more = *cap ? *cap : FIRST;
	char *items, *larger;

	if (n <= *cap)
		return 0;
	while (more < n)
		more *= 2;
	if (more > UINT32_MAX)
		return -ENOMEM;
	memcpy(&items, array, sizeof(items));
	larger = reallocarray(items, more, size);
	if (!larger)
		return -ENOMEM;
	memset(larger + *cap * size, 0, (more - *cap) * size);
	memcpy(array, &larger, sizeof(larger));
	*cap = (uint32_t)more;
	return 0;
}
