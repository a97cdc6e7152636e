#include "daemon/peer.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* Of nested pid namespaces: MAX_PID_NS_LEVEL of the kernel, and the first. */
#define MAX_LEVELS 33

static ssize_t read_link(pid_t pid, const char *name, char *buf, size_t size)
{
	char path[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	n = readlink(path, buf, size - 1);
	buf[n < 0 ? 0 : n] = '\0';
	return n;
}

static uint64_t namespace_inode(pid_t pid)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/ns/pid", (int)pid);
	return stat(path, &st) < 0 ? 0 : (uint64_t)st.st_ino;
}

int peer_get(int fd, struct peer *ret)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);
	char own[64];

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return -errno;
	memset(ret, 0, sizeof(*ret));
	ret->pid = cred.pid;
	ret->uid = cred.uid;
	ret->gid = cred.gid;
	if (cred.pid > 0) {
		read_link(cred.pid, "ns/user", ret->user_namespace, sizeof(ret->user_namespace));
		ret->pid_namespace = namespace_inode(cred.pid);
	}
	ret->same_user_namespace = read_link(getpid(), "ns/user", own, sizeof(own)) > 0 &&
				   strcmp(own, ret->user_namespace) == 0;
	return 0;
}

/* The pids of a process, outermost of what we see first. Returns how many. */
static size_t read_nspid(pid_t pid, pid_t ret[MAX_LEVELS])
{
	char path[64], line[512];
	size_t n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f)) {
		char *p = line + 6, *end;

		if (strncmp(line, "NSpid:", 6) != 0)
			continue;
		while (n < MAX_LEVELS) {
			long value = strtol(p, &end, 10);

			if (end == p)
				break;
			ret[n++] = (pid_t)value;
			p = end;
		}
		break;
	}
	fclose(f);
	return n;
}

/* Whether the pid namespace of pid is that of inode, or one levels below it. */
static bool is_below(pid_t pid, uint64_t inode, size_t levels)
{
	char path[64];
	struct stat st;
	bool found = false;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/ns/pid", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	for (size_t i = 0; fd >= 0 && i < levels; i++) {
		int parent = ioctl(fd, NS_GET_PARENT);

		close(fd);
		fd = parent;
	}
	if (fd >= 0) {
		found = fstat(fd, &st) == 0 && (uint64_t)st.st_ino == inode;
		close(fd);
	}
	return found;
}

int peer_find_pid(const struct peer *peer, pid_t pid, pid_t *ret)
{
	pid_t own[MAX_LEVELS], other[MAX_LEVELS];
	size_t level;
	struct dirent *e;
	DIR *dir;
	int r = -ESRCH;

	if (!peer->pid_namespace)
		return -ESRCH;
	if (peer->pid_namespace == namespace_inode(getpid())) {
		*ret = pid;
		return 0;
	}
	level = read_nspid(peer->pid, own);
	if (level == 0)
		return -ESRCH;
	dir = opendir("/proc");
	if (!dir)
		return -errno;
	while (r < 0 && (e = readdir(dir))) {
		pid_t candidate;
		size_t n;

		if (!isdigit((unsigned char)e->d_name[0]))
			continue;
		candidate = (pid_t)atoi(e->d_name);
		n = read_nspid(candidate, other);
		if (n < level || other[level - 1] != pid ||
		    !is_below(candidate, peer->pid_namespace, n - level))
			continue;
		*ret = candidate;
		r = 0;
	}
	closedir(dir);
	return r;
}
