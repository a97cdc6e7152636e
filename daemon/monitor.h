/* The monitor of a session: keeps the privileges, opens files for the reader, decides what of the
 * reader's bytes may go to the client, and parses nothing that a target or a client wrote except
 * one request of fixed size. */
#ifndef PYPROF_DAEMON_MONITOR_H
#define PYPROF_DAEMON_MONITOR_H

#include <stdbool.h>

/* Serves the one request of client, a connected stream socket. for_peer: we have more rights than
 * the client may have; the policy decides, for the credentials the kernel gives for the socket.
 * Returns the exit status of the process. */
int monitor_main(int client, bool for_peer);

#endif
