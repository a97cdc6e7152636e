/* What a session has seen, by number: strings, functions, frames, stacks, threads,
 * tasks.
 *
 * Append-only. One thread (the sampler's) adds; another may read, at the same time, every entry
 * whose id it was handed through the ring of samples. Ids count from 1; 0 is "none".
 * Entries never move and never change until tables_free(). */
#ifndef PYPROF_REMOTE_TABLES_H
#define PYPROF_REMOTE_TABLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct table_string {
	const char
		*bytes; /* UTF-8 as CPython had it (surrogates as it encodes them), not escaped */
	uint32_t len;
};

enum frame_kind {
	FRAME_PYTHON,
	FRAME_MOVING,	 /* <moving>: the part of the stack above could not be proven */
	FRAME_TRUNCATED, /* <truncated>: deeper than SAMPLER_MAX_DEPTH, stands at the base */
	FRAME_NATIVE,	 /* <native>: C code, which was called by the frame below and called the one
			  * above */
	FRAME_GC,	 /* <GC>: garbage is collected; what stands above it was called by that */
	FRAME_TASK	 /* an asyncio task of this name, whose frames stand above it */
};

struct table_function {
	uint32_t name; /* string: qualified name where the version has one, else the name */
	uint32_t file; /* string; 0 for a frame kind without a file */
	int32_t first_line;
	enum frame_kind kind;
};

struct table_frame {
	uint32_t function;
	/* 1-based lines, 0-based columns in bytes of UTF-8 as co_positions() gives; -1 unknown. */
	int32_t line, end_line, column, end_column;
	uint32_t op; /* the opcode of its instruction plus 1, specialised as it was; 0 not known */
};

struct table_stack {
	uint32_t parent; /* stack: the callers; 0 at the base */
	uint32_t frame;
};

struct table_thread {
	uint64_t tid;	     /* kernel thread id as the target sees it; 0 unknown */
	uint64_t ident;	     /* threading.get_ident(), the pthread_t */
	int64_t interpreter; /* id of its interpreter */
	uint32_t name;	     /* string: threading's name, else comm; 0 unknown */
	bool main;	     /* the main thread of its interpreter */
};

/* An asyncio task. */
struct table_task {
	uint64_t addr;	 /* its id() */
	uint64_t loop;	 /* id() of its event loop */
	uint32_t name;	 /* string; 0 unknown */
	uint32_t thread; /* that runs the loop; 0 none, or unknown */
};

/* One of the tasks that await a task; the others follow as a list. */
struct table_awaiter {
	uint32_t next; /* awaiter; 0: the last */
	uint32_t task;
};

struct tables;

int tables_new(struct tables **ret);
void tables_free(struct tables *t);

/* Each finds the entry or adds it: its id, or 0 when memory is short. */
uint32_t tables_string(struct tables *t, const char *bytes, uint32_t len);
uint32_t tables_function(struct tables *t, const struct table_function *f);
uint32_t tables_frame(struct tables *t, const struct table_frame *f);
uint32_t tables_stack(struct tables *t, uint32_t parent, uint32_t frame);
/* Always adds: a thread that ended and another with its tid are two. */
uint32_t tables_thread(struct tables *t, const struct table_thread *th);
uint32_t tables_task(struct tables *t, const struct table_task *task);
uint32_t tables_awaiter(struct tables *t, uint32_t next, uint32_t task);

/* Any thread. NULL for an id that was never given out. Owned by the tables. */
const struct table_string *tables_get_string(const struct tables *t, uint32_t id);
const struct table_function *tables_get_function(const struct tables *t, uint32_t id);
const struct table_frame *tables_get_frame(const struct tables *t, uint32_t id);
const struct table_stack *tables_get_stack(const struct tables *t, uint32_t id);
const struct table_thread *tables_get_thread(const struct tables *t, uint32_t id);
const struct table_task *tables_get_task(const struct tables *t, uint32_t id);
const struct table_awaiter *tables_get_awaiter(const struct tables *t, uint32_t id);

/* Bytes held, for the bound that a session keeps. */
size_t tables_bytes(const struct tables *t);

#endif
