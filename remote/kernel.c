#include "remote/kernel.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "remote/sampler.h"

#define UNOPENED (-1)
#define REFUSED	 (-4096) /* below every -errno: EPERM would look like UNOPENED */

#define WINDOW_NS  1000000000u
#define WAIT_SHARE 256u /* of that may go by while it waits for CPUs */

void kernel_init(struct kernel_thread *k)
{
	*k = (struct kernel_thread){
		.syscall_fd = UNOPENED, .schedstat_fd = UNOPENED, .stat_fd = UNOPENED};
}

void kernel_done(struct kernel_thread *k)
{
	const int fds[] = {k->syscall_fd, k->schedstat_fd, k->stat_fd};

	for (size_t i = 0; i < sizeof(fds) / sizeof(*fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	kernel_init(k);
}

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

static uint16_t ask_state(struct kernel_thread *k, const struct proc_opener *opener, uint32_t tid,
			  uint64_t gil_cond)
{
	char text[512], letter;
	uint64_t start;

	if (read_file(opener, &k->syscall_fd, PROC_TASK_SYSCALL, tid, text, sizeof(text)) > 0)
		return parse_syscall(text, gil_cond);
	if (read_file(opener, &k->stat_fd, PROC_TASK_STAT, tid, text, sizeof(text)) > 0 &&
	    proc_parse_stat(text, &letter, &start) == 0)
		return STATE_CPU_KNOWN | (letter == 'R' ? STATE_CPU : 0);
	return 0;
}

/* "RUN WAIT SLICES", all 0 of a kernel that does not count them. */
static bool ask_account(struct kernel_thread *k, const struct proc_opener *opener, uint32_t tid,
			struct kernel_account *ret)
{
	char text[512], *end = text;
	uint64_t *const fields[] = {&ret->run_ns, &ret->wait_ns, &ret->slices};

	if (read_file(opener, &k->schedstat_fd, PROC_TASK_SCHEDSTAT, tid, text, sizeof(text)) <= 0)
		return false;
	for (size_t i = 0; i < 3; i++) {
		const char *from = end;

		*fields[i] = strtoull(from, &end, 10);
		if (end == from || *end != (i < 2 ? ' ' : '\n'))
			return false;
	}
	return true;
}

/* Whether it was given a CPU soon, each time that it wanted one. */
static void judge_waits(struct kernel_thread *k, const struct kernel_account *now, uint64_t now_ns)
{
	const uint64_t most = WINDOW_NS / WAIT_SHARE;

	if (k->since_ns && now->wait_ns - k->since_wait_ns > most)
		k->prompt = false;
	else if (k->since_ns && now_ns - k->since_ns < WINDOW_NS)
		return;
	else
		k->prompt = k->since_ns != 0;
	k->since_ns = now_ns;
	k->since_wait_ns = now->wait_ns;
}

static bool has_not_run(const struct kernel_thread *k, const struct kernel_account *now)
{
	return k->slept && now->slices && now->slices == k->account.slices &&
	       now->run_ns == k->account.run_ns && now->wait_ns == k->account.wait_ns;
}

uint16_t kernel_ask(struct kernel_thread *k, const struct proc_opener *opener, uint32_t tid,
		    uint64_t gil_cond, uint64_t now_ns, uint64_t *ret_run_ns)
{
	/* One that ran may fall asleep between the two readings, which makes its account exact. */
	const bool state_first = k->state & STATE_CPU;
	struct kernel_account now = {0};
	uint16_t state = 0;
	bool known;

	if (!tid)
		return 0;
	if (state_first)
		state = ask_state(k, opener, tid, gil_cond);
	known = ask_account(k, opener, tid, &now);
	if (known)
		judge_waits(k, &now, now_ns);
	*ret_run_ns = now.run_ns;
	if (known && k->prompt && has_not_run(k, &now))
		return k->state;
	if (!state_first)
		state = ask_state(k, opener, tid, gil_cond);
	k->account = now;
	k->slept = known && !state_first && state & STATE_CPU_KNOWN && !(state & STATE_CPU);
	k->state = state | (known ? STATE_CPU_TIME_KNOWN : 0);
	return k->state;
}
