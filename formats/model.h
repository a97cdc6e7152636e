/* The profile: what every format reads. A model is fed by a stream_reader (model_handler) and
 * holds what its samples add up to; memory is proportional to distinct stacks, not to samples.
 *
 * Indices count from 1 in strings, functions, frames, nodes, threads and tasks: entry 0 is "none"
 * and there in each array, zeroed. They mean the same over all segments and streams, except that
 * threads belong to one process. Everything is owned by the model and moves when it grows:
 * nothing is kept across a feed. */
#ifndef PYPROF_FORMATS_MODEL_H
#define PYPROF_FORMATS_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "formats/reports.h"
#include "formats/stream-select.h"
#include "formats/stream.h"

struct model_string {
	const char *bytes; /* as the target had them, NUL-terminated; never printed unescaped */
	uint32_t len;
};

struct model_function {
	uint32_t name, file; /* strings; file 0: none, as of <moving> */
	int32_t first_line;
	uint32_t kind; /* enum stream_frame_kind */
};

struct model_frame {
	uint32_t function;
	int32_t line, end_line, column, end_column; /* -1 unknown */
	uint32_t op; /* with model_options.opcodes: opcode_number(); 0 not known */
};

/* A place in the tree of stacks: the frame, called by its parent. Node 0 is the stack without a
 * frame. A parent's index is lower than its children's. */
struct model_node {
	uint32_t parent, frame;
	uint32_t depth; /* frames from the base; 1 at the base, 0 for node 0 */
};

#define MODEL_STATES 16 /* bits of enum stream_state */

struct model_thread {
	uint32_t process, serial;
	uint64_t tid, ident;
	int64_t interpreter;
	uint32_t name;	 /* string */
	bool main, seen; /* seen: has a sample */
	bool unselected; /* model_options.selected does not name it */
	uint64_t samples, ns;
	uint64_t states[MODEL_STATES]; /* samples with bit i of enum stream_state */
	uint64_t exceptions[2]; /* samples with an exception, raised or handled; that tell of it */
	uint64_t how[3];	/* samples by enum stream_how */
	/* The last sample, and the time of the first: CLOCK_MONOTONIC of the recording host. */
	uint64_t first_ns, last_ns;
	uint32_t last_node;
	uint16_t last_state;
	uint8_t last_how;
};

/* An asyncio task, where it was last seen. */
struct model_task {
	uint32_t process, pad;
	uint64_t addr, loop; /* id() of the task, of its loop */
	uint32_t thread;     /* 0: none runs the loop */
	uint32_t name;	     /* string */
	bool seen;	     /* else it is only named as an awaiter */
	uint64_t time_ns;
	uint32_t node;
	uint8_t state, problem; /* enum stream_task_kind, stream_task_problem */
	uint32_t first_awaiter, n_awaiters;
};

/* One stream: the samples of one process by one session. */
struct model_process {
	struct stream_header header; /* mostly empty when the input has lost it: stream_id only */
	struct stream_statistics statistics; /* the latest; of the summary where there is one */
	struct stream_summary summary;
	struct reports reports; /* the statistics before the latest */
	bool has_statistics, has_summary;
	uint64_t samples;	 /* read, before the filter */
	uint64_t unknown;	 /* of these, how many do not tell whether the mode asked
				  * for takes them; they are not in the profile */
	uint64_t unknown_native; /* and whether they are in C code, with native asked for */
	/* With model_options.tasks: samples that do not tell whether a task runs, and those
	 * of none; neither is in the profile. */
	uint64_t unknown_task, no_task;
	bool any_task;			  /* a sample tells something of tasks */
	uint64_t waits, lost_waits;	  /* looks at tasks that wait; those that told nothing */
	uint64_t damaged;		  /* samples that the input has lost */
	uint64_t gaps[STREAM_LOST_COUNT]; /* samples lost while recording, by the gap records */
	uint64_t first_ns, last_ns;	  /* of its samples; 0 when there is none */
	struct stream_tasks tasks;	  /* the last look at them */
	bool has_tasks, has_opcodes;
	uint32_t source; /* the input that it came from: model_source() */
	uint32_t label;	 /* string: what tells it from the others; after model_group_processes() */
};

/* How often this thread was seen on exactly this stack, and for how long. In MODE_CPU ns is CPU
 * time as the kernel counts it, and count how often the sampling interval fits into it: what a
 * thread used between two samples on a CPU goes to the stacks seen on a CPU, what it used while
 * none was seen there to the next that is. Else a sample's weight is the time since its thread's
 * sample before. It is at most ten times the interval asked for or MODEL_GAP_NS, whichever is more:
 * what lies further back was not looked at. The first sample of a thread weighs one interval, or
 * nothing when no rate was asked for. */
struct model_count {
	uint32_t thread, node;
	uint64_t count, ns;
};
#define MODEL_GAP_NS 100000000

/* One sample of the profile: only those that are counted in it. */
struct model_sample {
	uint64_t time_ns; /* CLOCK_MONOTONIC of the recording host */
	uint64_t ns;	  /* the time since the thread's sample before, in every mode */
	uint64_t cpu_ns;  /* the CPU time since then, with STREAM_STATE_CPU_TIME_KNOWN */
	uint32_t thread, node;
	uint16_t state; /* bits of enum stream_state */
	uint8_t how;	/* enum stream_how */
	uint8_t pad[5];
};

/* A task that waited at one place over some looks, one behind the other: its part of the times that
 * were asked for. The node is as of MODEL_TASKS_ALL; the thread runs its loop, or is one that
 * stands for none. */
struct model_wait {
	uint64_t time_ns;   /* CLOCK_MONOTONIC of the recording host: of the first look */
	uint64_t ns, count; /* as in the counts */
	uint32_t thread, node;
};

#define MODEL_MAX_WARNINGS 64

/* What of asyncio's tasks the stacks show. */
enum model_tasks {
	MODEL_TASKS_NONE,
	/* Samples of threads that run a task, and no others: the frames of the task, below them a
	 * frame of kind STREAM_FRAME_TASK with its name, below that the frames where the task waits
	 * that awaits it, and so on. */
	MODEL_TASKS_RUNNING,
	/* And the tasks that wait and are awaited by none that is not in their stack; their looks
	 * count as samples of the threads that run their loops. */
	MODEL_TASKS_ALL,
};

struct model_options {
	uint16_t states;     /* only samples with all these bits of enum stream_state; 0: all */
	uint16_t not_states; /* only samples with none of these */
	bool main_only;
	enum mode mode; /* MODE_RECORDED: that of each stream's header */
	bool one_look;	/* of a dump: MODE_CPU counts samples that are on a CPU */
	bool native;	/* keep <native> frames, and put them where a thread is in C code */
	bool no_gc;	/* drop <GC> frames */
	bool opcodes;	/* frames that differ in their instruction differ */
	enum model_tasks tasks;
	struct selection selected; /* strings are borrowed while the model is fed */
	/* Only samples from..to after the first one of their stream, ns; to_ns 0: no end. */
	uint64_t from_ns, to_ns;
	/* Not NULL: samples are also kept one by one, for model_samples(), in the file that this
	 * opens for reading and writing; NULL and errno when it cannot. The model closes it. */
	FILE *(*timeline)(void);
};

/* Whether a thread in a state has an exception, as mode exception asks: one that is being raised,
 * or handled. A state that has one tells of it, and else with STREAM_STATE_EXCEPTION_KNOWN. */
static inline bool model_has_exception(uint16_t state)
{
	return state & (STREAM_STATE_EXCEPTION | STREAM_STATE_HANDLING);
}

static inline bool model_tells_exception(uint16_t state)
{
	return model_has_exception(state) || (state & STREAM_STATE_EXCEPTION_KNOWN);
}

struct model_private;

struct model {
	const struct model_string *strings;
	const struct model_function *functions;
	const struct model_frame *frames;
	const struct model_node *nodes;
	const struct model_thread *threads;
	uint32_t string_count, function_count, frame_count, node_count, thread_count; /* with 0 */
	const struct model_process *processes; /* from 0, in the order of the input */
	uint32_t process_count;
	/* The frame at the base of each stack is a process's: model_group_processes(). */
	bool grouped;
	bool threads_folded; /* there is one thread for each process, or for all of them */
	const struct model_count *counts; /* in no order; a pair occurs once */
	uint32_t count_count;
	const struct model_task *tasks;
	uint32_t task_count;	     /* with 0 */
	const uint32_t *awaiters;    /* tasks */
	uint64_t samples, ns;	     /* sums of counts */
	enum mode mode;		     /* asked for, or that of the first stream */
	bool opcodes;		     /* asked for */
	uint64_t from_ns, to_ns;     /* asked for: as in the options */
	const char *const *warnings; /* the reader's sentences */
	uint32_t warning_count;
	struct model_private *p;
};

/* options NULL: everything. 0, -ENOMEM. */
int model_new(struct model **ret, const struct model_options *options);
void model_free(struct model *m);

/* What is fed from here on comes from the input of that name: for sentences, where there are
 * several, and for processes whose pid is not known. 0, -ENOMEM. */
int model_source(struct model *m, const char *name);

/* Whether what was read could answer the question of the options: 0. -ENODATA when it could not:
 * buf is then a sentence that names what is missing, and the input, where there are several;
 * -EAGAIN when a part of it could not, and the sentence says how much. Of two sentences it is the
 * first. */
int model_check(const struct model *m, char *buf, size_t size);

/* When everything was read: where there are samples of several processes, the stacks of each are
 * put on a frame of its own, which is one for all streams of that process. It is named "pid:N",
 * with "@HOST" where there are several hosts, and the begin of the boot's id where a host has
 * several; "file:NAME" where the pid is not known. Of one process nothing changes. The model takes
 * nothing more afterwards. 0, -ENOMEM. */
int model_group_processes(struct model *m);
/* Whether there are samples of several processes. */
bool model_has_several_processes(const struct model *m);

/* When everything was read: the threads of each process, or all there are, become one, without a
 * tid. The model takes nothing more afterwards. 0, -ENOMEM. */
int model_fold_threads(struct model *m, bool all_processes);

/* The interval asked for, ns, an hour at most; 0 when none was. */
uint64_t model_interval(const struct stream_header *h);

/* The samples one by one, with model_options.timeline: those of each thread in the order of time
 * (unless it was folded), threads mixed as they came. 0, what take returned when not 0, or -errno
 * when the file they are kept in failed, now or earlier. May be called any number of times. */
int model_samples(const struct model *m, int (*take)(void *arg, const struct model_sample *s),
		  void *arg);

/* Tasks that waited, one wait after the other as they ended, with MODEL_TASKS_ALL and
 * model_options.timeline. Else as model_samples(). */
int model_waits(const struct model *m, int (*take)(void *arg, const struct model_wait *w),
		void *arg);

/* For stream_reader_new(), with the struct model as its argument. Its functions return 0 or
 * -ENOMEM; a table over 2^31 entries is -ENOMEM too. */
extern const struct stream_handler model_handler;

#endif
