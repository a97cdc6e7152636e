/* The process at the other end of a unix socket: who it is, and which pids it means. */
#ifndef PYPROF_DAEMON_PEER_H
#define PYPROF_DAEMON_PEER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct peer {
	pid_t pid; /* in our pid namespace; 0: it lives outside of it */
	uid_t uid;
	gid_t gid;
	char user_namespace[64]; /* what ns/user links to; "" when it cannot be read */
	bool same_user_namespace;
	uint64_t pid_namespace; /* inode of ns/pid; 0 unknown */
};

/* Of the connected socket fd (SO_PEERCRED): 0 or -errno. */
int peer_get(int fd, struct peer *ret);

/* The process that the peer calls pid, in our pid namespace: 0; -ESRCH there is none. */
int peer_find_pid(const struct peer *peer, pid_t pid, pid_t *ret);

#endif
