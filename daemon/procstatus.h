/* What the policy and the explainer ask of /proc/PID/status: proc_pid_status(5). */
#ifndef PYPROF_DAEMON_PROCSTATUS_H
#define PYPROF_DAEMON_PROCSTATUS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct procstatus {
	char state;   /* 'R', 'S', 'T', 'Z', ... */
	uid_t uid[3]; /* real, effective, saved */
	gid_t gid[3];
	uint64_t permitted, effective; /* capabilities */
	int seccomp;		       /* 0 none, 1 strict, 2 filter; -1 unknown */
};

/* Of PID below proc, a procfs root: 0; -ESRCH no such process; -EINVAL a field is missing; -errno.
 */
int procstatus_read(const char *proc, pid_t pid, struct procstatus *ret);
/* The same from the text. */
int procstatus_parse(const char *text, struct procstatus *ret);

/* Where a symbolic link of PID below proc points to: 0 or -errno; buf is "" then. */
int procstatus_link(const char *proc, pid_t pid, const char *name, char *buf, size_t size);

#endif
