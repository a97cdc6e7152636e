#include "remote/array.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define FIRST 8 /* items */

int array_reserve(void *array, size_t *room, size_t n, size_t size)
{
	size_t more = *room ? *room : FIRST;
	void *items, *larger;

	if (n <= *room)
		return 0;
	while (more < n && more <= SIZE_MAX / 2)
		more *= 2;
	if (more < n)
		return -ENOMEM;
	memcpy(&items, array, sizeof(items));
	larger = reallocarray(items, more, size);
	if (!larger)
		return -ENOMEM;
	memcpy(array, &larger, sizeof(larger));
	*room = more;
	return 0;
}
