/* What the kernel says of a thread: whether it runs, what it waits for, its CPU time. */
#ifndef PYPROF_REMOTE_KERNEL_H
#define PYPROF_REMOTE_KERNEL_H

#include <stdint.h>

#include "remote/proc.h"

/* Descriptors of the thread's files, opened when they are first needed; -1: not yet, below: why
 * not. Closed by who has them. */
struct kernel_files {
	int *syscall_fd, *schedstat_fd, *stat_fd;
};

/* Bits of enum sample_state: whether it is running or runnable, whether it waits for the GIL whose
 * condition variable is at gil_cond (0: there is none), and STATE_CPU_TIME_KNOWN when *ret_run_ns
 * is the CPU time of the thread since its start, in ns. Of /proc/PID/task/TID/syscall, else stat,
 * and schedstat; proc(5), Documentation/scheduler/sched-stats.rst of the kernel. */
uint16_t kernel_ask(const struct proc_opener *opener, const struct kernel_files *files,
		    uint32_t tid, uint64_t gil_cond, uint64_t *ret_run_ns);

#endif
