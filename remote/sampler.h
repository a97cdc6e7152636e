/* The hot loop: samples of a target's threads, verified, at a rate, into a ring.
 *
 * The sampler runs in one thread; another takes samples out of the ring (sampler_pop) and looks
 * ids up in the tables that each sample names. It never waits for that other thread: what finds no
 * room is counted and told as a gap. */
#ifndef PYPROF_REMOTE_SAMPLER_H
#define PYPROF_REMOTE_SAMPLER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "remote/tables.h"
#include "remote/target.h"

#define SAMPLER_MAX_DEPTH 4096 /* frames kept of one stack; the base is cut, and said */
#define SAMPLER_MAX_THREADS                                                                        \
	8192 /* thread states followed; a longer list is a torn or hostile one */

/* asyncio's tasks: with each sample; of a look that has max_ticks, after the last tick. */
enum sampler_tasks {
	SAMPLER_TASKS_NONE,
	SAMPLER_TASKS_RUNNING, /* those that run, and those that await them */
	SAMPLER_TASKS_ALL      /* those that wait as well */
};

struct sampler_options {
	uint64_t
		interval_ns; /* between deadlines; 0 is as fast as it goes (every attempt is due) */
	uint64_t duration_ns; /* 0: until stopped or the target ends */
	uint64_t max_ticks;   /* 0: no bound; 1 is a dump */
	bool all_threads;     /* else each interpreter's main thread of the main interpreter only */
	bool blocking;	      /* every sample by a stop */
	double stop_budget;   /* share of the target's time that stops may take, 0..1 */
	bool cpu_time;	      /* ask the kernel of each thread at each tick, whatever the rate */
	bool opcodes;	      /* frames tell their instruction */
	struct hand *hand;    /* borrowed; NULL: stops are made by ptrace alone */
	size_t tables_bytes;  /* ids begin anew beyond so many; 0: as seldom as memory allows */
	enum sampler_tasks tasks;
};

/* Without sampler_options.cpu_time the kernel is asked all the same up to so many samples of
 * threads a second: two small reads, of 0.7 us each where they come one behind the other (1.5 % of
 * a CPU at most), of several times that between sleeps. */
#define SAMPLER_CPU_TIME_RATE 10000

/* Bits of sample.state. The *_KNOWN ones say that the bit beside was looked at. */
enum sample_state {
	STATE_GIL_KNOWN = 1 << 0,
	STATE_GIL = 1 << 1, /* holds the GIL; free-threaded: is attached */
	STATE_CPU_KNOWN = 1 << 2,
	STATE_CPU = 1 << 3,	  /* running or runnable */
	STATE_EXCEPTION = 1 << 4, /* an exception is being raised */
	STATE_GC = 1 << 5,	  /* its interpreter collects garbage */
	STATE_MAIN = 1 << 6,
	STATE_PROCESS_STOPPED = 1 << 7, /* the process is stopped by a signal (T) */
	STATE_EXCEPTION_KNOWN = 1 << 8, /* of being raised and of being handled */
	STATE_HANDLING = 1 << 9,	/* an exception is being handled: in an except block, or in
					 * a finally block that it passes */
	STATE_GIL_WAIT_KNOWN = 1 << 10,
	STATE_GIL_WAIT = 1 << 11,  /* waits for the GIL */
	STATE_SUSPENDED = 1 << 12, /* free-threaded: detached, by who stops the world */
	STATE_GC_KNOWN = 1 << 13,
	STATE_CPU_TIME_KNOWN = 1 << 14, /* sample.cpu_ns is set */
};

enum sample_how {
	HOW_FREE,   /* verified without a stop */
	HOW_STOP,   /* while the thread was held for a moment */
	HOW_MOVING, /* a proven prefix with a <moving> leaf */
};

enum lost_reason {
	LOST_UNREADABLE,   /* memory could not be read */
	LOST_EXITED,	   /* the thread was gone */
	LOST_TORN,	   /* nothing of the stack could be proven */
	LOST_MEMORY,	   /* ours was short */
	LOST_BACKPRESSURE, /* the ring was full */
	LOST_REASON_COUNT
};

enum sample_kind {
	SAMPLE_STACK,
	SAMPLE_GAP,
	SAMPLE_TABLES,
	SAMPLE_TASK,  /* one task */
	SAMPLE_TASKS, /* behind the tasks of one look */
	SAMPLE_WAIT,  /* a task that waits, over some looks */
};

/* One entry of the ring. */
struct sample {
	uint64_t time_ns;   /* CLOCK_MONOTONIC at the start of its gather */
	uint64_t cpu_ns;    /* CPU time of the thread since its sample before, where known.
			     * SAMPLE_WAIT: the time that its looks stand for */
	uint32_t gather_ns; /* how long the gather took. SAMPLE_TASK: the first of its awaiters */
	uint32_t thread;    /* SAMPLE_TASK: the task */
	/* 0: the thread, or task, has no Python frame. SAMPLE_GAP: how many were lost.
	 * SAMPLE_TASKS: how many tasks there are, also of threads that are not sampled. */
	uint32_t stack;
	/* SAMPLE_STACK: SAMPLE_TASK_UNKNOWN and following of remote/tasks-sample.h, and of a stack
	 * that is a task's the part below it, which is not. SAMPLE_WAIT: task is how many looks. */
	uint32_t task, below;
	uint16_t state; /* SAMPLE_TASK: enum task_state; SAMPLE_TASKS: enum tasks_found */
	uint8_t how;	/* SAMPLE_GAP: enum lost_reason; SAMPLE_TASK: enum task_problem;
			 * SAMPLE_TASKS: whether there are more than were looked at */
	uint8_t kind;	/* SAMPLE_TABLES: from here on ids are those of a new struct tables */
};

/* Read by any thread at any time; each counts since sampler_new. In thread samples:
 * due = achieved + missed + sum(lost). */
struct sampler_counts {
	_Atomic uint64_t due, achieved, missed;
	_Atomic uint64_t lost[LOST_REASON_COUNT];
	_Atomic uint64_t free, stopped, moving; /* of the achieved */
	_Atomic uint64_t repeats; /* of the achieved: the same stack as the one before */
	_Atomic uint64_t ticks;	  /* deadlines attempted */
	_Atomic uint64_t missed_ticks;
	_Atomic uint64_t calls, bytes;	 /* reads of target memory */
	_Atomic uint64_t stops, stop_ns; /* stops made, and the time that they kept threads */
	_Atomic uint64_t threads;	 /* sampled at the last tick */
	_Atomic uint64_t threads_total;	 /* of all that there are */
	_Atomic uint64_t start_ns, now_ns;
	_Atomic bool stops_refused; /* ptrace was not permitted */
};

enum sampler_end {
	SAMPLER_STOPPED,  /* the flag was set */
	SAMPLER_DURATION, /* the duration or max_ticks was reached */
	SAMPLER_EXITED,	  /* the target ended */
	SAMPLER_EXECED,	  /* the runtime is gone from where it was: another program image */
	SAMPLER_REFUSED,  /* reading is not permitted any more */
	SAMPLER_MEMORY,	  /* ours ran out */
};

struct sampler;

/* target is borrowed. 0 or -errno. */
int sampler_new(struct sampler **ret, struct target *target, const struct sampler_options *options);
void sampler_free(struct sampler *s);

/* Samples until one of the ends; *stop is looked at before each deadline. Blocks SIGCHLD while
 * it runs. No thread of the target is left stopped when it returns. */
enum sampler_end sampler_run(struct sampler *s, const _Atomic bool *stop);

/* The other thread: takes up to max samples, in order. Returns how many. Never blocks. */
size_t sampler_pop(struct sampler *s, struct sample *ret, size_t max);

/* The tables of the samples popped last; valid until the next SAMPLE_TABLES has been popped. */
const struct tables *sampler_tables(const struct sampler *s);

const struct sampler_counts *sampler_counts(const struct sampler *s);

#endif
