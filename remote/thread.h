/* Interpreters and thread states: who there is, and what is said of each. */
#ifndef PYPROF_REMOTE_THREAD_H
#define PYPROF_REMOTE_THREAD_H

#include <stdbool.h>
#include <stdint.h>

#include "remote/target.h"

#define THREAD_MAX_STATE	1024 /* bytes of a thread state that are read */
#define THREAD_MAX_INTERPRETERS 256

struct interpreter_info {
	uint64_t addr;
	int64_t id;
	uint64_t threads_head; /* the newest thread state */
	uint64_t threads_main; /* 0 unknown */
	uint64_t gil;	       /* address of its GIL's state; 0 unknown */
};

/* All interpreters, oldest last: how many, or -errno. None once the runtime is finalised. */
int interpreter_list(const struct target *t, struct interpreter_info *ret, size_t max);

struct thread_info {
	uint64_t addr; /* of the thread state */
	uint64_t next;
	uint64_t ident;	    /* pthread_t */
	uint64_t native_id; /* kernel thread id in the target's pid namespace; 0 unknown */
};

/* The thread states of an interpreter, newest first: how many, or -errno. A list that changes while
 * it is read gives -EAGAIN. */
int thread_list(const struct target *t, const struct interpreter_info *interp,
		struct thread_info *ret, size_t max);

/* Kernel thread ids, in our pid namespace and in the target's, of all its tasks. */
struct task {
	uint32_t tid, ns_tid;
};
/* *ret is malloc()ed and the caller's. How many, or -errno. */
int task_list(const struct target *t, struct task **ret);

/* To 3.10 a thread state holds only a pthread_t: the kernel's id stands in the C library's thread
 * descriptor there. Finds its offset in it, by looking for the ids of tasks: or -ENOENT. */
int thread_find_tid_offset(const struct target *t, const struct thread_info *threads, size_t n,
			   const struct task *tasks, size_t n_tasks);

/* What threading has named, in one interpreter: read at once, since there may be thousands. */
struct thread_names {
	uint64_t active;      /* address of threading._active; 0 not found */
	uint64_t searched_ns; /* when it was last looked for, and how long not from then on */
	uint64_t pause_ns;
	struct named {
		uint64_t ident, thread; /* of the Thread object */
	} * named;			/* sorted by ident */
	size_t n_named;
};

/* Reads which thread objects there are. started: a thread has been, so that threading may be there
 * by now. Nothing is an error: a thread without a name has none. */
void thread_names_read(struct thread_names *names, const struct target *t,
		       const struct interpreter_info *interp, uint64_t now_ns, bool started);
void thread_names_done(struct thread_names *names);

/* The name that threading has for ident, else the kernel's (comm), as UTF-8 into buf: its length;
 * 0 when neither can be read. *ret_from_threading says which. */
size_t thread_name(const struct target *t, const struct thread_names *names, uint64_t ident,
		   uint32_t tid, char *buf, size_t size, bool *ret_from_threading);

#endif
