/* What the kernel says of a thread: whether it runs, what it waits for, its CPU time. */
#ifndef PYPROF_REMOTE_KERNEL_H
#define PYPROF_REMOTE_KERNEL_H

#include <stdbool.h>
#include <stdint.h>

#include "remote/proc.h"

/* One thread, its files, and what they said when they were last read. A read costs 2 to 4 us; what
 * can tell nothing new is not read: a thread that slept once its account had been read, and whose
 * account is the same now, has not run since. It still sleeps, or waits for a CPU by now; how long
 * it waits for CPUs its account tells as well. While that is less than 1/256 of a second in each,
 * it is said to sleep. */
struct kernel_thread {
	int syscall_fd, schedstat_fd, stat_fd; /* -1: not opened yet, below: why not */
	struct kernel_account {
		uint64_t run_ns, wait_ns; /* on a CPU, and waiting for one */
		uint64_t slices;	  /* how often it was given one */
	} account;
	uint16_t state; /* as told last */
	bool slept;	/* behind that reading */
	bool prompt;	/* it did not wait long for a CPU in the second before ... */
	uint64_t since_ns, since_wait_ns; /* ... this one */
};

void kernel_init(struct kernel_thread *k);
void kernel_done(struct kernel_thread *k);

/* Bits of enum sample_state: whether it is running or runnable, whether it waits for the GIL whose
 * condition variable is at gil_cond (0: there is none; the same each time), and
 * STATE_CPU_TIME_KNOWN when *ret_run_ns is the CPU time of the thread since its start, in ns. Of
 * /proc/PID/task/TID/syscall, else stat, and schedstat; proc(5),
 * Documentation/scheduler/sched-stats.rst of the kernel. now_ns: CLOCK_MONOTONIC, a little
 * earlier. */
uint16_t kernel_ask(struct kernel_thread *k, const struct proc_opener *opener, uint32_t tid,
		    uint64_t gil_cond, uint64_t now_ns, uint64_t *ret_run_ns);

#endif
