#include "remote/kernel.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "remote/sampler.h"

#define UNOPENED (-1)
#define REFUSED	 (-4096) /* below every -errno: EPERM would look like UNOPENED */

static ssize_t read_file(const struct proc_opener *o, int *fd, enum proc_file file, uint32_t tid,
			 char *buf, size_t size)
{
	if (*fd == UNOPENED) {
		*fd = o->open(o->arg, file, tid, 0);
		if (*fd < 0)
			*fd = REFUSED;
	}
	return *fd < 0 ? -ENOENT : proc_read_piece(*fd, buf, size);
}

/* "running", or the number of the system call and its arguments in hexadecimal, or -1 for a thread
 * that waits without one. */
static uint16_t parse_syscall(const char *text, uint64_t gil_cond)
{
	uint16_t known = STATE_CPU_KNOWN | (gil_cond ? STATE_GIL_WAIT_KNOWN : 0);
	uint64_t futex;
	char *end;

	if (text[0] == 'r')
		return known | STATE_CPU;
	/* pthread_cond_timedwait() of take_gil(): a futex inside of the condition variable. */
	if (gil_cond && strtol(text, &end, 10) == SYS_futex) {
		futex = strtoull(end, NULL, 16);
		if (futex - gil_cond < sizeof(pthread_cond_t))
			known |= STATE_GIL_WAIT;
	}
	return known;
}

uint16_t kernel_ask(const struct proc_opener *opener, const struct kernel_files *files,
		    uint32_t tid, uint64_t gil_cond, uint64_t *ret_run_ns)
{
	char text[512], letter, *end;
	uint16_t state = 0;
	uint64_t start, ns;

	if (!tid)
		return 0;
	if (read_file(opener, files->syscall_fd, PROC_TASK_SYSCALL, tid, text, sizeof(text)) > 0)
		state = parse_syscall(text, gil_cond);
	else if (read_file(opener, files->stat_fd, PROC_TASK_STAT, tid, text, sizeof(text)) > 0 &&
		 proc_parse_stat(text, &letter, &start) == 0)
		state = STATE_CPU_KNOWN | (letter == 'R' ? STATE_CPU : 0);
	if (read_file(opener, files->schedstat_fd, PROC_TASK_SCHEDSTAT, tid, text, sizeof(text)) >
	    0) {
		ns = strtoull(text, &end, 10);
		if (end > text && *end == ' ') {
			*ret_run_ns = ns;
			state |= STATE_CPU_TIME_KNOWN;
		}
	}
	return state;
}
