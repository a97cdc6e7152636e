/* What something of ours usually takes, apart from waits that are not ours. */
#ifndef PYPROF_REMOTE_LATENCY_H
#define PYPROF_REMOTE_LATENCY_H

#include <stdint.h>

struct latency {
	uint64_t ns; /* a running lower quartile; start with a guess */
};

/* Takes in that it took so long once. Returns how much of that is to be counted: a time far beyond
 * the usual was spent waiting for a CPU. */
static inline uint64_t latency_add(struct latency *l, uint64_t took_ns)
{
	uint64_t step = l->ns / 64 + 1;

	if (took_ns >= l->ns)
		l->ns += step;
	else
		l->ns -= l->ns > 3 * step ? 3 * step : 0;
	return took_ns < 2 * l->ns ? took_ns : 2 * l->ns;
}

#endif
