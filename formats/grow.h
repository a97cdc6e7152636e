/* Arrays that grow. Internal to formats/. */
#ifndef PYPROF_FORMATS_GROW_H
#define PYPROF_FORMATS_GROW_H

#include <stddef.h>
#include <stdint.h>

/* Room for n items of size bytes in an array of *cap, whose pointer is at array; what is new is
 * zeroed. 0, or -ENOMEM with the array as it was. */
int grow(void *array, uint32_t *cap, size_t n, size_t size);

#endif
