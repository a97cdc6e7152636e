/* A session: a monitor, which holds the privileges and parses nothing, and a reader, which does all
 * the reading behind a seccomp filter. One target a session. */
#ifndef PYPROF_DAEMON_SESSION_H
#define PYPROF_DAEMON_SESSION_H

#include <stdbool.h>
#include <sys/types.h>

#define SESSION_SOCKET_PATH "/run/pyprofd.sock"

/* Starts a session as a child of ours (the embedded default): re-executes this program.
 * *ret_fd is our end of its socket, *ret_pid its monitor, to be reaped by the caller. 0 or -errno.
 */
int session_spawn(int *ret_fd, pid_t *ret_pid);

/* The same for a connection that a daemon accepted: fd stays the caller's, the session has a copy
 * and serves the policy for the peer that the kernel names. */
int session_spawn_for_peer(int fd, pid_t *ret_pid);

/* Connects to the daemon's socket and checks that its peer is root or ourselves.
 * -ENOENT, -ECONNREFUSED: no daemon; -EPERM: the peer is someone else. 0 or -errno. */
int session_connect(int *ret_fd, const char *path);

/* main() of a session process; argv[0] tells it apart. The socket is descriptor 3. */
bool session_is_wanted(char **argv);
void session_main(char **argv) __attribute__((noreturn));

#endif
