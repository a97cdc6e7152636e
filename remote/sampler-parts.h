/* What the parts of the sampler share: sampler.c has the ticks, sampler-attempt.c what is tried
 * with one thread, sampler-rest.c threads that rest, sampler-tasks.c asyncio's tasks. */
#ifndef PYPROF_REMOTE_SAMPLER_PARTS_H
#define PYPROF_REMOTE_SAMPLER_PARTS_H

#include "remote/hand.h"
#include "remote/roster.h"
#include "remote/sampler.h"
#include "remote/stop.h"
#include "remote/tasks-sample.h"
#include "remote/tasks-waits.h"

#define REST_BATCH                                                                                 \
	64 /* threads that rest and are read at once, before what was read is looked at */

/* What a thread's task may add to its ranges. */
#define TASK_RANGES (2 * TASK_WATCH_RANGES + TASK_WATCH_BESIDE)

struct sampler {
	struct target *target;
	struct sampler_options options;
	struct sampler_counts counts;
	struct walk_context walk;
	struct stops stops;

	struct task_watcher *watcher; /* NULL: of tasks nothing is asked, or not with each sample */
	struct waits *waits;	      /* NULL: those that wait are not asked for */
	uint64_t waits_ns;	      /* when they were last looked at */

	struct roster who;
	struct thread **ordered; /* those of who, by address */
	size_t n_ordered;
	uint64_t ordered_ns;		  /* the scan that it is of */
	size_t n_resting;		  /* at this tick, of those that are read by themselves */
	uint64_t looked_ns;		  /* at whose turn it is */
	struct thread *batch[REST_BATCH]; /* of those, who are read at once */
	uint8_t *rest_bytes;		  /* what is read of them */
	size_t room_rest_bytes;
	int32_t *glances; /* and of those who stood: whether they wait for the GIL */
	size_t room_glances;
	struct memory_range *ranges;
	size_t room_ranges;
	struct memory_range *own; /* of a look at one thread */
	size_t room_own;
	struct state_words words_of_tick; /* kept during an attempt that reads newer ones */

	uint64_t tick;
	bool resident;	     /* this tick is made by the hand, on held_cpu */
	int held_cpu;	     /* where it last held a thread; -1: nowhere */
	uint64_t held_tick;  /* when */
	uint64_t away_until; /* tick: it could not */
	unsigned stride;     /* while resident: every how many deadlines a tick is made */
	unsigned stride_ticks, stride_late, stride_stay, stride_left;
	double budget_ns; /* what stops may still take */
	uint64_t budget_filled_ns, refused_ns;
	uint64_t codes_replaced; /* at the last look */
	uint64_t churn_until_ns; /* so long they are checked at each gather */
	struct handling_known handling;
	uint64_t opcodes_ns;		 /* when all frames' instructions were read anew */
	bool ask_kernel;		 /* at this tick */
	uint64_t gap[LOST_REASON_COUNT]; /* counted, not yet told */
	uint64_t gap_ns;

	uint64_t tables_ns;	    /* when those of walk began */
	size_t tables_used;	    /* their bytes some time after that */
	struct tables *read_tables; /* the other thread's */
	_Atomic(struct tables *) handed;

	_Alignas(64) _Atomic uint64_t head; /* written by us */
	_Alignas(64) _Atomic uint64_t tail; /* written by the other thread */
	struct sample *ring;
};

/* Sleeps to a deadline, or waits awake for one that is nearer than a sleep takes. */
void sampler_wait(uint64_t deadline, uint64_t interval);

/* The counts have one writer, so a plain load and store is enough. */
static inline void count(_Atomic uint64_t *c, uint64_t n)
{
	atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

static inline void set(_Atomic uint64_t *c, uint64_t n)
{
	atomic_store_explicit(c, n, memory_order_relaxed);
}

/* Into the ring; false when it is full. */
bool sampler_push(struct sampler *s, const struct sample *sample);
void sampler_lose(struct sampler *s, enum lost_reason reason, uint64_t n, uint64_t time_ns);

/* A gather of several threads: when it began, how long it took, and what the walk must know. */
struct gathered {
	uint64_t time_ns, number, end_ns, stamp;
	uint32_t took_ns;
};
/* Of n ranges, of which the last are the interpreters' words. 0 or -errno. */
int sampler_gather_many(struct sampler *s, struct memory_range *ranges, size_t n,
			struct gathered *ret);
/* A gathered read, made again when it was interrupted; when it began, and how long it took. */
int sampler_gather(struct sampler *s, struct memory_range *ranges, size_t n, uint64_t *ret_time_ns,
		   uint32_t *ret_gather_ns);
/* The stamp that code objects are checked against, by the words as they were gathered. */
uint64_t sampler_stamp(struct sampler *s, uint64_t now);

/* Whether the hand could make the ticks itself, where it holds a thread. */
bool sampler_can_reside(const struct sampler *s);
/* What it stays for, ns of the budget. */
static inline double sampler_span(const struct sampler *s)
{
	return s->options.stop_budget * 20e6;
}

/* Whether the budget has something left to hold the thread with; whether ptrace may be tried. */
bool sampler_may_hold(const struct sampler *s, const struct thread *th);
bool sampler_may_trace(const struct sampler *s, uint64_t now);
void sampler_count_stop(struct sampler *s, uint64_t cost_ns);
/* Does work(arg) while th is kept from running, within the budget: by the hand where there is one,
 * and then it may run on another CPU (*ret_sure: it does not). false: it was not done. */
bool sampler_hold(struct sampler *s, struct thread *th, void (*work)(void *arg), void *arg,
		  bool *ret_sure);

/* The attempt at th of this tick, after the common gather if it was part of it. */
void sampler_attempt(struct sampler *s, struct thread *th, const struct gathered *g);
/* Instead, for one that cannot have run since its last sample. waits: whether it waits for the GIL,
 * bits of its state; 0 its words do not tell. */
void sampler_repeat(struct sampler *s, struct thread *th, const struct gathered *g, uint16_t waits);

/* Whether a thread's attempt comes after the tick's gather, with those of the others that rest. */
static inline bool waits_for_rest(const struct thread *th)
{
	return th->rested && !th->watch;
}
/* For threads that rest, a look at whose turn it is: before each tick's gather, and between ticks
 * at sampler_next_look(), CLOCK_MONOTONIC. 0 or -errno, as of a tick. */
int sampler_look_at_turns(struct sampler *s);
uint64_t sampler_next_look(const struct sampler *s, uint64_t now);
/* The attempts at all threads that rest, after those at the others, whose gather that was. 0, or
 * -errno, as of a tick. */
int sampler_attempt_resting(struct sampler *s, const struct gathered *tick);

/* Before a tick's gather: which task runs in each thread is watched. 0, or -errno when the target
 * as a whole cannot be read, or memory is short. */
int sampler_follow_tasks(struct sampler *s, uint64_t now);
/* The tasks that wait, after the threads. 0 or -errno, as of a tick. */
int sampler_look_at_waits(struct sampler *s, uint64_t now);
/* All tasks, once. 0, or -errno: then nothing is told of them, or not all. */
int sampler_take_tasks(struct sampler *s);

#endif
