#include "remote/hand.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "remote/clock.h"
#include "remote/slice.h"

#define ENTRY_NS 12000	/* that a program loses besides the work */
#define SPIN_NS	 100000 /* a hand that is not done by then is waited for asleep */
#define HOLD_NS	 500000 /* nor held for longer: who looks may have lost the CPU */
#define STACK	 (256u << 10)

struct hand {
	pthread_t thread;
	_Atomic pid_t tid;
	int cpu; /* where it is bound to; -1 nowhere yet */
	void (*work)(void *arg);
	void *arg;
	bool holds;   /* it only keeps the CPU; else it works */
	bool prompt;  /* it has a real-time priority */
	bool working; /* written by the hand, read by its own work */
	bool kept;    /* the last hold went on until it was over */
	uint64_t began_ns, ended_ns;
	_Alignas(64) _Atomic uint32_t asked; /* by steps of two; odd: the hand shall end */
	_Atomic uint32_t over;		     /* asked: the caller has looked */
	_Alignas(64) _Atomic uint32_t done;  /* asked; one less: it holds */
	_Atomic bool asleep; /* the caller is, or is about to be: it is to be woken */
};

static void futex(_Atomic uint32_t *word, int operation, uint32_t value)
{
	syscall(SYS_futex, word, operation | FUTEX_PRIVATE_FLAG, value, NULL, NULL, 0);
}

void hand_prepare(void)
{
	const struct sched_param lowest = {.sched_priority = 1};

	(void)sched_setscheduler(0, SCHED_FIFO, &lowest);
}

static void say(struct hand *h, uint32_t done)
{
	/* Either we see that the caller sleeps, or it sees this. */
	atomic_store(&h->done, done);
	if (atomic_load(&h->asleep))
		futex(&h->done, FUTEX_WAKE, 1);
}

/* Keeps the CPU until the caller has looked. */
static bool hold(struct hand *h, uint32_t asked)
{
	say(h, asked - 1);
	while (atomic_load_explicit(&h->over, memory_order_acquire) != asked) {
		if (clock_now_ns() - h->began_ns > HOLD_NS)
			return false;
		__builtin_ia32_pause();
	}
	return true;
}

static void *hand_main(void *arg)
{
	struct hand *h = arg;
	uint32_t seen = 0;

	h->prompt = sched_getscheduler(0) != SCHED_OTHER;
	(void)slice_shorten();
	h->tid = (pid_t)syscall(SYS_gettid);
	for (;;) {
		uint32_t asked;

		while ((asked = atomic_load_explicit(&h->asked, memory_order_acquire)) == seen)
			futex(&h->asked, FUTEX_WAIT, seen);
		if (asked & 1)
			return NULL;
		seen = asked;
		h->began_ns = clock_now_ns();
		h->kept = true;
		if (h->holds) {
			h->kept = hold(h, asked);
		} else {
			h->working = true;
			h->work(h->arg);
			h->working = false;
		}
		h->ended_ns = clock_now_ns();
		say(h, asked);
	}
}

int hand_new(struct hand **ret)
{
	const struct sched_param none = {0};
	struct hand *h = aligned_alloc(64, (sizeof(*h) + 63) & ~(size_t)63);
	pthread_attr_t attr;
	sigset_t all, old;
	int r;

	if (!h)
		return -ENOMEM;
	*h = (struct hand){.cpu = -1};
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	r = pthread_create(&h->thread, &attr, hand_main, h);
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	(void)sched_setscheduler(0, SCHED_OTHER, &none);
	if (r) {
		free(h);
		return -r;
	}
	while (!h->tid)
		sched_yield();
	*ret = h;
	return 0;
}

void hand_free(struct hand *h)
{
	if (!h)
		return;
	h->asked |= 1;
	futex(&h->asked, FUTEX_WAKE, 1);
	pthread_join(h->thread, NULL);
	free(h);
}

pid_t hand_tid(const struct hand *h)
{
	return h->tid;
}

bool hand_is_prompt(const struct hand *h)
{
	return h->prompt;
}

uint64_t hand_entry_ns(void)
{
	return ENTRY_NS;
}

static bool bind_to(struct hand *h, int cpu)
{
	cpu_set_t set;

	if (cpu < 0 || cpu >= CPU_SETSIZE)
		return false;
	if (cpu == h->cpu)
		return true;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(h->tid, sizeof(set), &set) < 0)
		return false;
	h->cpu = cpu;
	return true;
}

/* What the hand says next. Awake at first: to be woken would cost the CPU of the hand an interrupt
 * that it has to send, which takes a virtual machine over ten microseconds when our CPU has fallen
 * idle. */
static uint32_t await(struct hand *h, uint32_t before)
{
	const uint64_t began_ns = clock_now_ns();
	uint32_t done;

	while ((done = atomic_load_explicit(&h->done, memory_order_acquire)) == before) {
		if (clock_now_ns() - began_ns > SPIN_NS)
			break;
		__builtin_ia32_pause();
	}
	if (done != before)
		return done;
	atomic_store(&h->asleep, true);
	while ((done = atomic_load(&h->done)) == before)
		futex(&h->done, FUTEX_WAIT, before);
	atomic_store_explicit(&h->asleep, false, memory_order_relaxed);
	return done;
}

/* from: the CPU of who asks to hold; -1: to work. */
static enum hand_kept ask(struct hand *h, int cpu, int from, void (*work)(void *arg), void *arg,
			  uint64_t *ret_cost_ns)
{
	uint32_t asked, done;

	if (!bind_to(h, cpu))
		return HAND_NOT_THERE;
	if (h->working) {
		*ret_cost_ns = 0;
		work(arg);
		return HAND_KEPT;
	}
	h->work = work;
	h->arg = arg;
	h->holds = from >= 0 && from != cpu;
	asked = atomic_load_explicit(&h->asked, memory_order_relaxed) + 2;
	atomic_store_explicit(&h->asked, asked, memory_order_release);
	futex(&h->asked, FUTEX_WAKE, 1);
	done = await(h, asked - 2);
	/* Where we lost our CPU it may have come and gone by now. */
	if (h->holds)
		work(arg);
	if (done != asked) {
		atomic_store_explicit(&h->over, asked, memory_order_release);
		await(h, asked - 1);
	}
	*ret_cost_ns = h->ended_ns - h->began_ns + ENTRY_NS;
	return h->kept ? HAND_KEPT : HAND_LEFT;
}

bool hand_work(struct hand *h, int cpu, void (*work)(void *arg), void *arg, uint64_t *ret_cost_ns)
{
	return ask(h, cpu, -1, work, arg, ret_cost_ns) != HAND_NOT_THERE;
}

enum hand_kept hand_hold(struct hand *h, int cpu, void (*work)(void *arg), void *arg,
			 uint64_t *ret_cost_ns)
{
	return ask(h, cpu, sched_getcpu(), work, arg, ret_cost_ns);
}
