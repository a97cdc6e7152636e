/* The recording: pyprof(5). What a session writes to its socket, what --binary stores and what
 * replay reads are the same bytes. Writer and reader; neither knows a file, a socket or a process.
 */
#ifndef PYPROF_FORMATS_STREAM_H
#define PYPROF_FORMATS_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum stream_codec { STREAM_NONE = 0, STREAM_ZSTD = 1 };

/* Definitions. Ids count from 1; 0 is "none". */
struct stream_string {
	const char *bytes; /* any bytes; UTF-8 is usual */
	uint32_t len;
};
enum stream_frame_kind {
	STREAM_FRAME_PYTHON,
	STREAM_FRAME_MOVING,
	STREAM_FRAME_TRUNCATED,
	STREAM_FRAME_NATIVE,
	STREAM_FRAME_GC,
	STREAM_FRAME_TASK /* an asyncio task: what stands above it, up to the next, is its own */
};
struct stream_function {
	uint32_t name, file; /* strings */
	int32_t first_line;
	uint8_t kind; /* enum stream_frame_kind */
};
struct stream_frame {
	uint32_t function;
	int32_t line, end_line, column, end_column; /* -1 unknown */
	uint16_t op; /* the opcode at its instruction, specialised as it was, plus 1; 0 unknown */
};
struct stream_stack {
	uint32_t parent, frame; /* parent 0 at the base */
};
struct stream_thread {
	uint64_t tid, ident;
	int64_t interpreter;
	uint32_t name; /* string */
	uint8_t main;
	/* The same for the same thread in all segments of a stream, another for another, also where
	 * a tid is used again. The writer sets it; what its caller has there is ignored. */
	uint32_t serial;
};

/* An asyncio task. */
struct stream_task {
	uint64_t addr, loop; /* id() of the task and of its event loop */
	uint32_t thread;     /* that runs the loop; 0: none, or unknown */
	uint32_t name;	     /* string */
};
enum stream_task_kind { STREAM_TASK_PENDING, STREAM_TASK_RUNNING };
enum stream_task_problem {
	STREAM_TASK_FINE,
	STREAM_TASK_MOVED,	/* it changed while it was looked at: it has no stack */
	STREAM_TASK_UNREADABLE, /* the stack is what could be read */
};
/* Where a task stood. */
struct stream_task_state {
	uint64_t time_ns;
	uint32_t task, stack; /* stack 0: no Python frame */
	uint8_t state;	      /* enum stream_task_kind */
	uint8_t problem;      /* enum stream_task_problem */
	uint32_t n_awaiters;
	const uint32_t *awaiters; /* tasks that await it */
};
/* Behind the tasks of one look. */
enum stream_tasks_found {
	STREAM_TASKS_FOUND,
	STREAM_TASKS_NO_ASYNCIO,
	STREAM_TASKS_UNKNOWN,
	STREAM_TASKS_NO_GREENLETS, /* asyncio's tasks are as they are; greenlets cannot be read */
};
struct stream_tasks {
	uint64_t time_ns;
	uint32_t total; /* tasks there are, told or not */
	uint8_t found;	/* enum stream_tasks_found */
	bool more;	/* there are more, or more awaiters, than were looked at */
};

/* Bits of a sample's state and values of how: as remote/sampler.h, the numbers are the format's. */
enum stream_state {
	STREAM_STATE_GIL_KNOWN = 1 << 0,
	STREAM_STATE_GIL = 1 << 1,
	STREAM_STATE_CPU_KNOWN = 1 << 2,
	STREAM_STATE_CPU = 1 << 3,
	STREAM_STATE_EXCEPTION = 1 << 4,
	STREAM_STATE_GC = 1 << 5,
	STREAM_STATE_MAIN = 1 << 6,
	STREAM_STATE_PROCESS_STOPPED = 1 << 7,
	STREAM_STATE_EXCEPTION_KNOWN = 1 << 8,
	STREAM_STATE_HANDLING = 1 << 9,
	STREAM_STATE_GIL_WAIT_KNOWN = 1 << 10,
	STREAM_STATE_GIL_WAIT = 1 << 11,
	STREAM_STATE_SUSPENDED = 1 << 12,
	STREAM_STATE_GC_KNOWN = 1 << 13,
	STREAM_STATE_CPU_TIME_KNOWN = 1 << 14,
	/* Not of what was asked for while recording: it is there for the time of the next one. */
	STREAM_STATE_UNASKED = 1 << 15,
};
enum stream_how { STREAM_HOW_FREE, STREAM_HOW_STOP, STREAM_HOW_MOVING };
enum stream_lost {
	STREAM_LOST_UNREADABLE,
	STREAM_LOST_EXITED,
	STREAM_LOST_TORN,
	STREAM_LOST_MEMORY,
	STREAM_LOST_BACKPRESSURE,
	STREAM_LOST_COUNT
};

struct stream_sample {
	uint64_t time_ns; /* CLOCK_MONOTONIC of the recording host */
	uint64_t cpu_ns;  /* with STREAM_STATE_CPU_TIME_KNOWN: since the thread's sample before */
	uint32_t thread, stack;
	uint16_t state;
	uint8_t how;
	/* enum stream_sample_task, or that and the number of a stack: frames of kind
	 * STREAM_FRAME_TASK, one for each task from the outermost that awaits to the one that runs,
	 * and above each but the last where it waits. */
	uint32_t task;
	uint32_t below; /* then: the part of stack that is not of the task; 0 none */
};
enum stream_sample_task {
	STREAM_SAMPLE_TASK_UNKNOWN,
	STREAM_SAMPLE_TASK_NONE,
	STREAM_SAMPLE_TASK_STACK = STREAM_SAMPLE_TASK_NONE, /* and a stack, which is 1 at least */
};

/* An asyncio task that waited at one place over some looks, one behind the other; it was awaited by
 * no other, or by those in the stack. */
struct stream_wait {
	uint64_t time_ns; /* of the first look */
	uint64_t ns;	  /* that these looks stand for */
	uint64_t count;	  /* looks */
	uint32_t thread;  /* that runs its loop; 0 none, or unknown */
	/* As of a sample's task, and above it the frames where it waits; 0: so many looks at tasks
	 * could not be proven. */
	uint32_t stack;
};

/* Self-description: the header record, JSON inside (pyprof(5) lists the keys). Strings are owned
 * by the struct's user; "" is unknown. */
struct stream_header {
	char host[256], boot_id[40], command[4096], python[48], object[256], build_id[41];
	char mode[16];	    /* "wall"; another: only samples of that mode are in it, and before each
			     * run of a thread's one with STREAM_STATE_UNASKED */
	char selected[512]; /* "": all; else which samples, for people: "thread main" */
	char collected[256]; /* space separated: "gil gc exception" */
	char not_collected[256];
	char pyprof[32]; /* version of the writer */
	/* How descendants were found: "connector", "children", "scan"; "" when they were not. */
	char subprocesses[16];
	bool free_threaded, all_threads, blocking;
	/* Not of our own recordings: read from a file of profiling.sampling (tach-reader.h). It has
	 * <native> frames only where they were asked for, and no CPU times. */
	bool tachyon;
	int32_t pid;	    /* as the recording host sees it; 0 unknown */
	int32_t parent;	    /* who started it, of a process found as a descendant; else 0 */
	uint64_t stream_id; /* random, one a session */
	double rate_hz;	    /* asked; 0: as fast as it goes */
	double stop_budget;
	uint64_t start_monotonic_ns, start_real_ns; /* one instant on both clocks */
	uint32_t time_unit_ns;	/* of the time column; times are multiples of it */
	uint32_t threads_total; /* thread states at the start */
};

/* Running totals, cumulative; the statistics record (about one a second) and the summary. */
struct stream_statistics {
	uint64_t due, achieved, missed, lost[STREAM_LOST_COUNT];
	uint64_t free, stopped, moving, repeats, ticks;
	uint64_t skipped; /* of the achieved: not written, for they were not asked for */
	uint64_t calls, bytes, stops, stop_ns;
	uint64_t sampler_cpu_ns, elapsed_ns; /* CPU of the session's processes; wall time */
	uint32_t threads, threads_total;
	bool stops_refused;
};
struct stream_summary {
	struct stream_statistics totals;
	char end[32]; /* "duration", "stopped", "target exited", "exec", "refused", "error" */
	char detail[256];
};

/* ---- writer ---- */

/* Where the writer asks what an id stands for, once in each segment that uses it. Returned bytes
 * stay valid until the writer's next call. */
struct stream_definitions {
	void *arg;
	bool (*string)(void *arg, uint32_t id, struct stream_string *ret);
	bool (*function)(void *arg, uint32_t id, struct stream_function *ret);
	bool (*frame)(void *arg, uint32_t id, struct stream_frame *ret);
	bool (*stack)(void *arg, uint32_t id, struct stream_stack *ret);
	bool (*thread)(void *arg, uint32_t id, struct stream_thread *ret);
	bool (*task)(void *arg, uint32_t id, struct stream_task *ret); /* NULL: there are none */
};

/* Gets whole chunks. 0 or -errno; an error is sticky in the writer and returned by every call. */
typedef int stream_sink(void *arg, const void *bytes, size_t len);

struct stream_writer;
struct stream_writer_options {
	enum stream_codec codec;
	uint64_t
		chunk_ns; /* a chunk is closed this long after its first record: 1 s, live 100 ms */
	uint64_t segment_ns;  /* 10 s */
	size_t segment_bytes; /* 4 MB */
};
/* Writes magic and header at once. header is copied; definitions' functions must outlive it. */
int stream_writer_new(struct stream_writer **ret, const struct stream_header *header,
		      const struct stream_definitions *definitions,
		      const struct stream_writer_options *options, stream_sink *sink, void *arg);
void stream_writer_free(struct stream_writer *w);

int stream_writer_sample(struct stream_writer *w, const struct stream_sample *s);
/* count samples were lost for reason, last at time_ns; thread 0: unknown or several. */
int stream_writer_gap(struct stream_writer *w, uint64_t time_ns, uint32_t thread, uint64_t count,
		      enum stream_lost reason);
int stream_writer_task(struct stream_writer *w, const struct stream_task_state *s);
int stream_writer_wait(struct stream_writer *w, const struct stream_wait *s);
int stream_writer_tasks(struct stream_writer *w, const struct stream_tasks *t);
int stream_writer_statistics(struct stream_writer *w, const struct stream_statistics *s);
/* All ids mean something new from here on: starts a new segment. */
int stream_writer_redefine(struct stream_writer *w, const struct stream_definitions *definitions);
/* Closes what is open when it is older than chunk_ns at now_ns (CLOCK_MONOTONIC); call it often. */
int stream_writer_poll(struct stream_writer *w, uint64_t now_ns);
int stream_writer_flush(struct stream_writer *w);
/* Flushes and writes the summary: the recording is whole. */
int stream_writer_finish(struct stream_writer *w, const struct stream_summary *summary);

/* ---- reader ---- */

/* A run of samples of one chunk, as columns; n entries each. Valid during the call. */
struct stream_batch {
	size_t n;
	const uint64_t *time_ns;
	const uint32_t *thread, *stack; /* ids of the segment, checked to be defined */
	const uint16_t *state;
	const uint8_t *how;
	const uint64_t *cpu_ns;
	const uint32_t *task, *below; /* stacks in them are checked as well, or it is unknown */
};

/* Every function may be NULL. stream: index from 0 of the stream in this input. Ids are the
 * segment's; segment() says that all earlier ids of that stream are void. A nonzero return stops
 * the reader, which returns it. Definitions refer only to ids already defined. */
struct stream_handler {
	int (*header)(void *arg, uint32_t stream, const struct stream_header *h);
	int (*segment)(void *arg, uint32_t stream, uint32_t number);
	int (*string)(void *arg, uint32_t stream, uint32_t id, const struct stream_string *s);
	int (*function)(void *arg, uint32_t stream, uint32_t id, const struct stream_function *f);
	int (*frame)(void *arg, uint32_t stream, uint32_t id, const struct stream_frame *f);
	/* The instruction of a frame that was defined; before stacks refer to it. */
	int (*op)(void *arg, uint32_t stream, uint32_t frame, uint16_t op);
	int (*stack)(void *arg, uint32_t stream, uint32_t id, const struct stream_stack *s);
	int (*thread)(void *arg, uint32_t stream, uint32_t id, const struct stream_thread *t);
	int (*task)(void *arg, uint32_t stream, uint32_t id, const struct stream_task *t);
	int (*samples)(void *arg, uint32_t stream, const struct stream_batch *b);
	int (*task_state)(void *arg, uint32_t stream, const struct stream_task_state *s);
	int (*tasks)(void *arg, uint32_t stream, const struct stream_tasks *t);
	int (*wait)(void *arg, uint32_t stream, const struct stream_wait *w);
	int (*gap)(void *arg, uint32_t stream, uint64_t time_ns, uint32_t thread, uint64_t count,
		   enum stream_lost reason);
	int (*statistics)(void *arg, uint32_t stream, const struct stream_statistics *s);
	/* The stream's ids are void after it. */
	int (*summary)(void *arg, uint32_t stream, const struct stream_summary *s);
	/* samples of the stream are in damaged or missing chunks, or refer to definitions that are.
	 */
	int (*damage)(void *arg, uint32_t stream, uint64_t samples);
	/* A sentence for people, without newline: what of the input is damaged or missing. */
	void (*warning)(void *arg, const char *text);
};

struct stream_reader;
int stream_reader_new(struct stream_reader **ret, const struct stream_handler *h, void *arg);
void stream_reader_free(struct stream_reader *r);
/* Takes any number of bytes. 0, -EINVAL not a recording (at the very start), -EPROTONOSUPPORT a
 * later version, -ENOMEM, or a handler's return. Damage inside is warned of and skipped. */
int stream_reader_feed(struct stream_reader *r, const void *bytes, size_t len);
/* How long the piece is that begins at bytes: a prologue or a chunk, header and payload; at most
 * STREAM_PIECE_MAX. 0; -EAGAIN: more bytes have to come, *ret_size in all at least; -EBADMSG: there
 * is no beginning of a piece that this version reads. The payload is not looked at. */
#define STREAM_PIECE_MAX ((1u << 20) + (1u << 16))
int stream_piece(const void *bytes, size_t len, size_t *ret_size);
/* The end of the input: warns of a cut chunk or a missing summary. 0 or -EINVAL (nothing at all).
 */
int stream_reader_finish(struct stream_reader *r);

#endif
