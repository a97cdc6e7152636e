/* The processes of this machine as far as /proc shows them to us: for ps, and for a hint. */
#ifndef PYPROF_CLI_PROCESSES_H
#define PYPROF_CLI_PROCESSES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct process {
	pid_t pid, parent;
	char name[64];	    /* comm */
	char command[1024]; /* the command line, arguments separated by spaces; else comm */
	bool python;	    /* looks like one: to be asked by a session */
};

/* The program that a process executes: the same while these two are, and it does not end. */
struct process_program {
	dev_t device; /* 0: it is not ours to look at */
	ino_t inode;
};

/* Whether pid looks like a Python now, by its program and what it has mapped: 1; 0 it does not;
 * -ESRCH it is gone. */
int processes_look(pid_t pid, struct process_program *ret);

/* Whether the two share their memory, as between vfork(2) and an exec: what is seen in one is of
 * the other. False also where the kernel does not tell. */
bool processes_share_memory(pid_t a, pid_t b);

/* Calls visit for each process, in the order of pids, until it returns nonzero, and returns that;
 * 0; -errno. The strings are as the processes set them: unescaped. */
int processes_each(int (*visit)(void *arg, const struct process *p), void *arg);

/* The first Python among the descendants of pid: 0; -ENOENT. */
int processes_find_child(pid_t pid, struct process *ret);

#endif
