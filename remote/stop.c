#include "remote/stop.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>

#include "remote/clock.h"

#define ENTRY_NS                                                                                   \
	10000 /* from the interrupt of a running thread to its stop, until it was measured */
#define SPIN_NS                                                                                    \
	60000 /* a running thread stops within about 10 us; beyond this we yield the CPU           \
	       */

/* 1 stopped (signal: what a signal stop holds back), 0 not yet, -ESRCH gone. */
static int poll_stop(pid_t tid, int *ret_signal)
{
	int status;
	pid_t r = waitpid(tid, &status, __WALL | WNOHANG);

	if (r == 0)
		return 0;
	if (r < 0 || !WIFSTOPPED(status))
		return -ESRCH;
	/* With PTRACE_SEIZE our interrupt and group stops are events; only a signal that is about
	 * to be delivered has none, and it is delivered on detaching. */
	*ret_signal = status >> 16 ? 0 : WSTOPSIG(status);
	return 1;
}

static void detach(pid_t tid, int sig)
{
	ptrace(PTRACE_DETACH, tid, 0, (void *)(intptr_t)sig);
}

int stop_thread(struct stops *s, pid_t tid, uint64_t timeout_ns, struct stop *ret)
{
	uint64_t began, at;
	int r, sig = 0;

	if (s->entry.ns == 0)
		s->entry.ns = ENTRY_NS;
	for (unsigned i = 0; i < s->n_pending; i++)
		if (s->pending[i] == tid)
			return -EBUSY;
	if (s->n_pending == STOP_MAX_PENDING)
		return -EBUSY;
	if (ptrace(PTRACE_SEIZE, tid, 0, 0) < 0)
		return errno == ESRCH ? -ESRCH : -EPERM;
	began = clock_now_ns();
	/* The only way to let a running thread go is to stop it first, so even a failed interrupt
	 * leaves it on the list. */
	ptrace(PTRACE_INTERRUPT, tid, 0, 0);
	while ((r = poll_stop(tid, &sig)) == 0) {
		uint64_t waited = clock_now_ns() - began;

		if (waited > timeout_ns) {
			s->pending[s->n_pending++] = tid;
			return -ETIMEDOUT;
		}
		if (waited > SPIN_NS)
			sched_yield();
	}
	if (r < 0)
		return r;
	at = clock_now_ns();
	*ret = (struct stop){tid, sig, at - latency_add(&s->entry, at - began)};
	return 0;
}

uint64_t stop_resume(struct stops *s, const struct stop *stop)
{
	detach(stop->tid, stop->signal);
	/* What a program that counts its own work loses is this and another entry: its way back,
	 * and caches that have to be filled again. */
	return clock_now_ns() - stop->began_ns + s->entry.ns;
}

void stop_reap(struct stops *s)
{
	for (unsigned i = 0; i < s->n_pending;) {
		int sig = 0, r = poll_stop(s->pending[i], &sig);

		if (r == 0) {
			i++;
			continue;
		}
		if (r > 0)
			detach(s->pending[i], sig);
		s->pending[i] = s->pending[--s->n_pending];
	}
}

void stop_done(struct stops *s, uint64_t timeout_ns)
{
	const struct timespec nap = {0, 1000000};
	uint64_t until = clock_now_ns() + timeout_ns;

	for (stop_reap(s); s->n_pending && clock_now_ns() < until; stop_reap(s))
		nanosleep(&nap, NULL);
}
