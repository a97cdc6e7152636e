/* Brief stops of one thread by ptrace(2): seize, interrupt, look, detach.
 *
 * A thread is seized only while it is being looked at: between samples its signals go where they
 * always went, a debugger can attach, and nothing is left to undo when we die (the kernel detaches
 * the threads of a dead tracer and lets them go on; a thread in a group stop stays in it). */
#ifndef PYPROF_REMOTE_STOP_H
#define PYPROF_REMOTE_STOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "remote/latency.h"

/* Interrupted threads that had not stopped in time; they are let go as soon as they do. */
#define STOP_MAX_PENDING 64

struct stops {
	pid_t pending[STOP_MAX_PENDING];
	unsigned n_pending;
	struct latency entry; /* from an interrupt to the stop */
};

struct stop {
	pid_t tid;
	int signal;	   /* to be delivered on resuming; 0: none */
	uint64_t began_ns; /* CLOCK_MONOTONIC from when on it stood still, as near as we can tell */
};

/* Stops thread tid (as our pid namespace shows it), waiting at most timeout_ns. 0; -EPERM refused
 * or traced by someone else; -ESRCH gone; -ETIMEDOUT not stopped in time (asleep in the kernel),
 * -EBUSY an earlier stop of it, or too many, are still under way. */
int stop_thread(struct stops *s, pid_t tid, uint64_t timeout_ns, struct stop *ret);

/* Lets the thread go on. Returns how long it was kept from running, ns. */
uint64_t stop_resume(struct stops *s, const struct stop *stop);

/* Lets go what has stopped late; call it often. Never blocks. */
void stop_reap(struct stops *s);

/* Waits, at most timeout_ns, until nothing is pending. */
void stop_done(struct stops *s, uint64_t timeout_ns);

#endif
