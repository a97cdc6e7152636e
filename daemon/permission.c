#include "daemon/permission.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/policy.h"
#include "daemon/procstatus.h"

static bool has(uint64_t capabilities, int cap)
{
	return capabilities >> cap & 1;
}

void permission_self(const char *proc, struct permission_caller *ret)
{
	struct procstatus s;

	memset(ret, 0, sizeof(*ret));
	ret->uid = getuid();
	ret->euid = geteuid();
	ret->gid = getgid();
	if (procstatus_read(proc, getpid(), &s) == 0) {
		ret->permitted = s.permitted;
		ret->effective = s.effective;
		ret->filtered = s.seccomp == 2;
	}
	(void)procstatus_link(proc, getpid(), "ns/user", ret->user_namespace,
			      sizeof(ret->user_namespace));
}

static int read_yama(const char *proc)
{
	char path[PATH_MAX], c = '0';
	int fd;

	snprintf(path, sizeof(path), "%s/sys/kernel/yama/ptrace_scope", proc);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	if (read(fd, &c, 1) != 1)
		c = '0';
	close(fd);
	return c - '0';
}

static bool same_ids(const struct policy_process *p, const struct permission_caller *c)
{
	for (int i = 0; i < 3; i++)
		if (p->uid[i] != c->uid || p->gid[i] != c->gid)
			return false;
	return true;
}

enum permission_cause permission_find(const char *proc, pid_t pid,
				      const struct permission_caller *caller)
{
	bool may_trace = has(caller->effective, CAP_SYS_PTRACE);
	struct policy_process p;
	int r, yama = read_yama(proc);

	r = policy_look(proc, pid, &p);
	if (r == -ESRCH)
		return PERMISSION_HIDDEN;
	if (r == 0) {
		bool other_namespace = p.user_namespace[0] && caller->user_namespace[0] &&
				       strcmp(p.user_namespace, caller->user_namespace) != 0;

		if (may_trace && other_namespace)
			return PERMISSION_USER_NAMESPACE;
		if (!may_trace && !same_ids(&p, caller))
			return PERMISSION_OTHER_USER;
		if (!may_trace && other_namespace)
			return PERMISSION_USER_NAMESPACE;
		if (!may_trace && (p.permitted & ~caller->permitted))
			return PERMISSION_CAPABILITIES;
		/* Root's files look the same either way. */
		if (!may_trace && (p.owner_uid != p.uid[1] || p.owner_gid != p.gid[1]))
			return PERMISSION_UNDUMPABLE;
	}
	if (yama == 3)
		return PERMISSION_YAMA_NONE;
	if (!may_trace && yama == 2)
		return PERMISSION_YAMA_ADMIN;
	if (!may_trace && yama == 1)
		return PERMISSION_YAMA_CHILDREN;
	if (caller->filtered)
		return PERMISSION_SECCOMP;
	return PERMISSION_SECURITY_MODULE;
}

enum permission_cause permission_of_descendant(enum permission_cause cause)
{
	return cause == PERMISSION_YAMA_CHILDREN ? PERMISSION_YAMA_DESCENDANT : cause;
}

/* What follows "process N cannot be read: ". %d is its pid. */
static const char *const user_lines[PERMISSION_CAUSE_COUNT] = {
	[PERMISSION_HIDDEN] = "/proc is mounted with hidepid and does not show it; "
			      "type: sudo pyprof attach %d",
	[PERMISSION_SECCOMP] = "a seccomp filter on this shell or container refuses it; start the "
			       "container with --cap-add SYS_PTRACE, or attach to %d from the host",
	[PERMISSION_USER_NAMESPACE] = "it is in another user namespace; as root of the host type: "
				      "pyprof attach %d",
	[PERMISSION_OTHER_USER] = "it runs as another user, and you have no CAP_SYS_PTRACE; "
				  "type: sudo pyprof attach %d",
	[PERMISSION_CAPABILITIES] = "it has capabilities that you lack; "
				    "type: sudo pyprof attach %d",
	[PERMISSION_UNDUMPABLE] = "it made itself undumpable, or was started set-user-ID; "
				  "type: sudo pyprof attach %d",
	[PERMISSION_YAMA_CHILDREN] = "kernel.yama.ptrace_scope is 1: only a parent may; type: sudo "
				     "pyprof attach %d (or start it by: pyprof run)",
	[PERMISSION_YAMA_DESCENDANT] = "kernel.yama.ptrace_scope is 1, under which of what run "
				       "starts only the target itself can be read; type: sudo "
				       "pyprof run --subprocesses, or have root start pyprofd",
	[PERMISSION_YAMA_ADMIN] = "kernel.yama.ptrace_scope is 2: only CAP_SYS_PTRACE may; "
				  "type: sudo pyprof attach %d",
	[PERMISSION_YAMA_NONE] = "kernel.yama.ptrace_scope is 3: nobody may read process %d or any "
				 "other until the next boot with another value",
	[PERMISSION_SECURITY_MODULE] = "a security module refuses it (Landlock, AppArmor or "
				       "SELinux): attach to %d from outside of its confinement",
};

/* The same when we are root already, where sudo is no help. */
static const char *const root_lines[PERMISSION_CAUSE_COUNT] = {
	[PERMISSION_OTHER_USER] = "it runs as another user, and this root has no CAP_SYS_PTRACE; "
				  "start the container with --cap-add SYS_PTRACE, or attach to %d "
				  "from the host",
	[PERMISSION_CAPABILITIES] = "it has capabilities that this root lacks; start the container "
				    "with --cap-add SYS_PTRACE, or attach to %d from the host",
	[PERMISSION_UNDUMPABLE] =
		"it is undumpable, and this root has no CAP_SYS_PTRACE; start the "
		"container with --cap-add SYS_PTRACE, or attach to %d from the "
		"host",
	[PERMISSION_YAMA_CHILDREN] = "kernel.yama.ptrace_scope is 1, and this root has no "
				     "CAP_SYS_PTRACE; start the container with --cap-add "
				     "SYS_PTRACE, or attach to %d from the host",
	[PERMISSION_YAMA_DESCENDANT] = "kernel.yama.ptrace_scope is 1, and this root has no "
				       "CAP_SYS_PTRACE, without which only the target itself can "
				       "be read; start the container with --cap-add SYS_PTRACE",
	[PERMISSION_YAMA_ADMIN] = "kernel.yama.ptrace_scope is 2, and this root has no "
				  "CAP_SYS_PTRACE; start the container with --cap-add SYS_PTRACE, "
				  "or attach to %d from the host",
};

void permission_explain(enum permission_cause cause, pid_t pid,
			const struct permission_caller *caller, char *buf, size_t size)
{
	const char *line = caller->euid == 0 ? root_lines[cause] : NULL;
	int n;

	if (!line)
		line = user_lines[cause];
	n = snprintf(buf, size, "process %d cannot be read: ", (int)pid);
	if (n < 0 || (size_t)n >= size)
		return;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(buf + n, size - (size_t)n, line, (int)pid);
#pragma GCC diagnostic pop
}
