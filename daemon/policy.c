#include "daemon/policy.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/procstatus.h"

int policy_look(const char *proc, pid_t pid, struct policy_process *ret)
{
	struct policy_process p = {.permitted = 0};
	struct procstatus s;
	char path[PATH_MAX];
	struct stat st;
	int r;

	r = procstatus_read(proc, pid, &s);
	if (r < 0)
		return r;
	/* Not of the directory: its owner does not tell. */
	snprintf(path, sizeof(path), "%s/%d/status", proc, (int)pid);
	if (stat(path, &st) < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	memcpy(p.uid, s.uid, sizeof(p.uid));
	memcpy(p.gid, s.gid, sizeof(p.gid));
	p.permitted = s.permitted;
	p.owner_uid = st.st_uid;
	p.owner_gid = st.st_gid;
	p.zombie = s.state == 'Z' || s.state == 'X';
	(void)procstatus_link(proc, pid, "ns/user", p.user_namespace, sizeof(p.user_namespace));
	*ret = p;
	return 0;
}

bool policy_allows(uid_t uid, gid_t gid, const char *user_namespace,
		   const struct policy_process *process, const char **ret_why)
{
	/* The kernel gives the uid as our own user namespace has it: no other's root is 0 here,
	 * except one of a namespace that maps it to our root. */
	if (uid == 0)
		return true;
	for (int i = 0; i < 3; i++) {
		if (process->uid[i] != uid) {
			*ret_why = "runs as another user";
			return false;
		}
		if (process->gid[i] != gid) {
			*ret_why = "runs as another group";
			return false;
		}
	}
	if (process->permitted) {
		*ret_why = "has capabilities that you lack";
		return false;
	}
	/* What is left of a process has neither memory nor namespaces, and root's files. */
	if (process->zombie)
		return true;
	if (!user_namespace[0] || strcmp(process->user_namespace, user_namespace) != 0) {
		*ret_why = "is in another user namespace";
		return false;
	}
	if (process->owner_uid != process->uid[1] || process->owner_gid != process->gid[1]) {
		*ret_why = "is not dumpable";
		return false;
	}
	return true;
}
