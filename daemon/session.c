#include "daemon/session.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/monitor.h"

#define SESSION_NAME "pyprof-session"
#define SESSION_FD   3

extern char **environ;

static int spawn(int fd, const char *kind, pid_t *ret_pid)
{
	posix_spawn_file_actions_t actions;
	char *argv[] = {(char *)SESSION_NAME, (char *)kind, NULL};
	int r;

	r = posix_spawn_file_actions_init(&actions);
	if (r)
		return -r;
	r = posix_spawn_file_actions_adddup2(&actions, fd, SESSION_FD);
	if (!r)
		r = posix_spawn(ret_pid, "/proc/self/exe", &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	return -r;
}

int session_spawn(int *ret_fd, pid_t *ret_pid)
{
	int sv[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
		return -errno;
	r = spawn(sv[1], "embedded", ret_pid);
	close(sv[1]);
	if (r < 0) {
		close(sv[0]);
		return r;
	}
	*ret_fd = sv[0];
	return 0;
}

int session_spawn_for_peer(int fd, pid_t *ret_pid)
{
	return spawn(fd, "peer", ret_pid);
}

int session_connect(int *ret_fd, const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct ucred peer;
	socklen_t len = sizeof(peer);
	int fd, r;

	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	memcpy(addr.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		goto fail;
	/* Anyone may have made a socket at that path: whom we hand our questions to is root or us.
	 */
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		goto fail;
	if (peer.uid != 0 && peer.uid != geteuid()) {
		errno = EPERM;
		goto fail;
	}
	*ret_fd = fd;
	return 0;
fail:
	r = -errno;
	close(fd);
	return r;
}

bool session_is_wanted(char **argv)
{
	return argv[0] && strcmp(argv[0], SESSION_NAME) == 0 && argv[1] && !argv[2];
}

/* Nothing of the client's or the daemon's is ours, least of all a pipe that someone waits on. */
static void leave_behind(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	/* Ctrl-C at the terminal is for the client, which then asks us to end well. */
	setsid();
	if (null < 0)
		return;
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
#ifndef __SANITIZE_ADDRESS__
	dup2(null, STDERR_FILENO);
#endif
	if (null > SESSION_FD)
		close(null);
}

void session_main(char **argv)
{
	(void)fcntl(SESSION_FD, F_SETFD, FD_CLOEXEC);
	leave_behind();
	_exit(monitor_main(SESSION_FD, strcmp(argv[1], "embedded") != 0));
}
