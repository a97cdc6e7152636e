/* Clocks of the kernel, in ns. */
#ifndef PYPROF_REMOTE_CLOCK_H
#define PYPROF_REMOTE_CLOCK_H

#include <stdint.h>
#include <time.h>

/* clock_gettime(2) of that clock. */
uint64_t clock_ns(clockid_t clock);

/* Of CLOCK_MONOTONIC. */
uint64_t clock_now_ns(void);

#endif
