/* Why a process may not be read, in one line, and what to type instead. */
#ifndef PYPROF_DAEMON_PERMISSION_H
#define PYPROF_DAEMON_PERMISSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The kernel's causes, ptrace(2) "Ptrace access mode checking", in the order they are looked for.
 */
enum permission_cause {
	PERMISSION_HIDDEN,	   /* hidepid: the process exists, but not in our /proc */
	PERMISSION_SECCOMP,	   /* a filter of ours refuses the calls (containers) */
	PERMISSION_USER_NAMESPACE, /* the target is in one where we have no capability */
	PERMISSION_OTHER_USER,
	PERMISSION_CAPABILITIES,    /* it has capabilities that we lack */
	PERMISSION_UNDUMPABLE,	    /* prctl(PR_SET_DUMPABLE), or a set-user-ID start */
	PERMISSION_YAMA_CHILDREN,   /* kernel.yama.ptrace_scope 1 */
	PERMISSION_YAMA_DESCENDANT, /* that, of what a target started: permission_of_descendant() */
	PERMISSION_YAMA_ADMIN,	    /* 2 */
	PERMISSION_YAMA_NONE,	    /* 3: nobody may, until the next boot */
	PERMISSION_SECURITY_MODULE, /* nothing of the above: Landlock, AppArmor, SELinux */
	PERMISSION_CAUSE_COUNT
};

/* Who asks. */
struct permission_caller {
	uid_t uid, euid;
	gid_t gid;
	uint64_t permitted, effective; /* capabilities, bit numbers of linux/capability.h */
	bool filtered;		       /* Seccomp: 2 in /proc/self/status */
	char user_namespace[64];       /* what /proc/self/ns/user links to; "" unknown */
};

/* Our own process, from proc ("/proc"). Never fails: what cannot be read is unknown. */
void permission_self(const char *proc, struct permission_caller *ret);

/* Looks below proc, a procfs root, why caller may not read pid. */
enum permission_cause permission_find(const char *proc, pid_t pid,
				      const struct permission_caller *caller);

/* The cause where the process descends from a target that named us to Yama, PR_SET_PTRACER of
 * prctl(2): that holds for one process and is not inherited. */
enum permission_cause permission_of_descendant(enum permission_cause cause);

/* The line for a cause, to buf. pid as the client calls it. */
void permission_explain(enum permission_cause cause, pid_t pid,
			const struct permission_caller *caller, char *buf, size_t size);

#endif
