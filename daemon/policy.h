/* Who may look at what through a daemon: the kernel's own rule, for the peer's credentials. */
#ifndef PYPROF_DAEMON_POLICY_H
#define PYPROF_DAEMON_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* What /proc says of a process. */
struct policy_process {
	uid_t uid[3]; /* real, effective, saved */
	gid_t gid[3];
	uint64_t permitted; /* capabilities */
	/* Of a file in /proc/PID: its effective ids when dumpable, else root's. */
	uid_t owner_uid;
	gid_t owner_gid;
	bool zombie;
	char user_namespace[64]; /* what ns/user links to; "" when it cannot be read */
};

/* From below proc ("/proc"): 0; -ESRCH no such process; -errno. To be called while a pidfd is open
 * that is found alive afterwards: the text then is of that process. */
int policy_look(const char *proc, pid_t pid, struct policy_process *ret);

/* Whether a peer of uid and gid (as our user namespace has them), in user_namespace, may read it.
 * Root may all; another peer is taken to have no capabilities. On refusal *ret_why is a static
 * phrase that ends the sentence "process N ...". */
bool policy_allows(uid_t uid, gid_t gid, const char *user_namespace,
		   const struct policy_process *process, const char **ret_why);

#endif
