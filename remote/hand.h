/* A hand: a thread of ours that goes to the CPU on which a thread of the target runs. While the
 * hand works there, that thread does not run, and can be looked at without ptrace(2), which would
 * cost it about twice as much: a CPU that has something else to do neither falls idle nor has to be
 * woken.
 *
 * The target's thread may be moved to another CPU meanwhile, so what the hand saw must be verified
 * as if nothing had been held. With the privilege for it the hand has a real-time priority, the
 * lowest, and so begins at once; else the scheduler decides when it does. */
#ifndef PYPROF_REMOTE_HAND_H
#define PYPROF_REMOTE_HAND_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct hand;

/* Takes the priority that the next hand_new() hands on; before privileges are given up. */
void hand_prepare(void);

/* Starts the hand, and gives the caller's priority back. 0 or -errno. */
int hand_new(struct hand **ret);
void hand_free(struct hand *h);

/* For a seccomp filter: hand_work() changes the affinity of this thread and of no other. */
pid_t hand_tid(const struct hand *h);

/* Whether it begins at once: not when it has to wait for its turn. */
bool hand_is_prompt(const struct hand *h);

/* Does work(arg) on that CPU while the caller waits, awake for as long as it takes as a rule, some
 * 25 us. false: it may not run there. *ret_cost_ns is for how long it kept others from that CPU, as
 * near as we can tell. From work itself it may be called too: then the hand goes to that CPU, works
 * there, and stays; the cost is 0, being part of what is under way. */
bool hand_work(struct hand *h, int cpu, void (*work)(void *arg), void *arg, uint64_t *ret_cost_ns);

enum hand_kept {
	HAND_NOT_THERE, /* it may not run on that CPU: work was not done */
	HAND_LEFT,	/* the CPU was given back before work was over */
	HAND_KEPT,
};

/* The same, but the hand only keeps the CPU, half a millisecond at most, while the caller does
 * work(arg): what it read before is in the caches of its own CPU, and what it reads now will be.
 * Where the caller is on that CPU itself, or is the hand, the hand works. */
enum hand_kept hand_hold(struct hand *h, int cpu, void (*work)(void *arg), void *arg,
			 uint64_t *ret_cost_ns);

/* What one entry of the hand costs those whose CPU it takes, besides its work: an interrupt, two
 * changes of threads, caches that have to be filled again. No clock shows it: from the call to the
 * hand's first instruction the program runs on for as long as an interrupt travels, and the kernel
 * counts that as the hand's CPU time. It is what programs lost that count their own work. */
uint64_t hand_entry_ns(void);

#endif
