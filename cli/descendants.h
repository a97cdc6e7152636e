/* Who descends from a process: told as it happens, without a stop and without ptrace.
 *
 * The best of three ways is taken: the kernel's process events over a netlink socket (root's from
 * Linux 2.6.15 on, everyone's from 6.6 on, not inside a container); /proc/PID/task/TID/children of
 * all that are followed, read every few milliseconds; or the parents of all processes. The last two
 * can miss a process whose parent ended within those milliseconds, unless it becomes our child
 * (PR_SET_CHILD_SUBREAPER). */
#ifndef PYPROF_CLI_DESCENDANTS_H
#define PYPROF_CLI_DESCENDANTS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "daemon/protocol.h"

enum descendants_kind {
	DESCENDANTS_FORK, /* pid is new, and followed from here on */
	DESCENDANTS_EXEC, /* it is another program now */
	DESCENDANTS_EXIT, /* it has ended, and is followed no more */
	DESCENDANTS_LOST, /* the kernel dropped events: what could be found again was */
};

struct descendants_event {
	enum descendants_kind kind;
	pid_t pid, parent; /* parent: of a new one */
	uint64_t start;	   /* of a new one: when it started, in the kernel's clock ticks; 0 gone */
};

struct descendants;

/* proc: a procfs root, "/proc". adopter: a process whose children are followed too, as far as it
 * did not start them itself (it tells which by descendants_ignore()); 0 none. connector: whether to
 * try the kernel's events. 0 or -errno. */
int descendants_open(struct descendants **ret, const char *proc, pid_t adopter, bool connector);
void descendants_free(struct descendants *d);

enum protocol_discovery descendants_way(const struct descendants *d);

/* Follows pid, and what descends from it already: handler hears of those. 0 or -errno. */
typedef void descendants_handler(void *arg, const struct descendants_event *e);
int descendants_follow(struct descendants *d, pid_t pid, descendants_handler *handler, void *arg);
/* One that is not to be followed, nor what descends from it; or that is no more. */
void descendants_ignore(struct descendants *d, pid_t pid, bool ignore);

/* Readable when there are events; -1: they are looked for. */
int descendants_fd(const struct descendants *d);
/* When descendants_read() shall be called at the latest, CLOCK_MONOTONIC ns. */
uint64_t descendants_due(const struct descendants *d);
/* Tells what happened since. */
void descendants_read(struct descendants *d, descendants_handler *handler, void *arg);

/* When pid started, in clock ticks since the boot: a pid used again has another. 0: it is gone, or
 * only its remains are left. */
uint64_t descendants_start(const char *proc, pid_t pid);

#endif
