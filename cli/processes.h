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

/* Calls visit for each process, in the order of pids, until it returns nonzero, and returns that;
 * 0; -errno. The strings are as the processes set them: unescaped. */
int processes_each(int (*visit)(void *arg, const struct process *p), void *arg);

/* The first Python among the descendants of pid: 0; -ENOENT. */
int processes_find_child(pid_t pid, struct process *ret);

#endif
