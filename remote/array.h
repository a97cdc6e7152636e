/* Arrays that grow. Internal to remote/. */
#ifndef PYPROF_REMOTE_ARRAY_H
#define PYPROF_REMOTE_ARRAY_H

#include <stddef.h>

/* Room for n items of size bytes in an array of *room, whose pointer is at array; what is new holds
 * anything. *room is 0 or a power of two. 0, or -ENOMEM with the array as it was. */
int array_reserve(void *array, size_t *room, size_t n, size_t size);

#endif
