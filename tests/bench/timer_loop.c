/* What it costs to do nothing at a rate: the CPU of a loop that sleeps to absolute deadlines.
 *
 * usage: timer_loop HZ SECONDS
 * HZ 0 spins without a system call. Prints "ticks N cpu_ns N wall_ns N". */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int main(int argc, char **argv)
{
	uint64_t interval, start, end, deadline, ticks = 0;
	double hz;

	if (argc != 3)
		return 2;
	hz = atof(argv[1]);
	interval = hz > 0 ? (uint64_t)(1e9 / hz) : 0;
	start = deadline = clock_ns(CLOCK_MONOTONIC);
	end = start + (uint64_t)(atof(argv[2]) * 1e9);
	while (deadline < end) {
		if (interval) {
			struct timespec t;

			deadline += interval;
			t.tv_sec = (time_t)(deadline / 1000000000u);
			t.tv_nsec = (long)(deadline % 1000000000u);
			while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
				;
		} else {
			deadline = clock_ns(CLOCK_MONOTONIC);
		}
		ticks++;
	}
	printf("ticks %" PRIu64 " cpu_ns %" PRIu64 " wall_ns %" PRIu64 "\n", ticks,
	       clock_ns(CLOCK_PROCESS_CPUTIME_ID), clock_ns(CLOCK_MONOTONIC) - start);
	return 0;
}
