/* The cage of the reader: what it may still do once it looks at a target. */
#ifndef PYPROF_DAEMON_CAGE_H
#define PYPROF_DAEMON_CAGE_H

#include <sys/types.h>

/* Gives up, for good: all capabilities but CAP_SYS_PTRACE, new privileges by exec, core dumps,
 * being traced by our own user. To be called while there is one thread. The calling process dies
 * with monitor, its parent. 0 or -errno. */
int cage_drop(pid_t monitor);

/* Loads the seccomp filter into all threads: from here on no file is opened, no process started, no
 * socket made, no process written to, and no memory read but that of target. Of affinities that of
 * the thread hand may be changed, if it is not 0. 0 or -errno. */
int cage_lock(pid_t target, pid_t hand);

#endif
