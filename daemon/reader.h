/* The reader of a session: opens the target, samples it and encodes the recording, behind a seccomp
 * filter. It is forked by the monitor and talks with it over two descriptors. */
#ifndef PYPROF_DAEMON_READER_H
#define PYPROF_DAEMON_READER_H

#include <stdint.h>
#include <sys/types.h>

#include "daemon/protocol.h"

/* Messages on the control socket (SOCK_SEQPACKET), reader to monitor. */
enum reader_message_kind {
	READER_OPEN = 1, /* file, a, b: answered by struct monitor_answer, with a descriptor */
	READER_READY,	 /* the target is open: what is in the pipe from here on is a recording */
	READER_FAILED,	 /* status, text: there will be no recording */
	READER_ENDED,	 /* end: the recording is whole */
};

enum reader_end { READER_END_DONE, READER_END_EXEC };

struct reader_message {
	uint32_t kind;
	uint32_t file; /* enum proc_file */
	uint64_t a, b;
	uint32_t status; /* enum pyprof_status */
	uint32_t end;	 /* enum reader_end */
	char text[PROTOCOL_TEXT_SIZE];
};

/* What is written to reader_setup.stop: why the recording shall end. */
#define READER_STOP	 UINT64_C(1)
#define READER_STOP_EXEC (UINT64_C(1) << 32) /* the process executed another program */

struct monitor_answer {
	int32_t status; /* 0, and a descriptor comes with it; or -errno */
};

/* What the reader is given; everything is the reader's own copy (it is forked). */
struct reader_setup {
	struct protocol_request request;
	pid_t pid;	  /* the target, in our pid namespace */
	pid_t monitor;	  /* our parent */
	int control;	  /* SOCK_SEQPACKET */
	int out;	  /* the recording is written here */
	int stop;	  /* eventfd: readable when the recording shall end, READER_STOP */
	int cmdline;	  /* /proc/PID/cmdline, or -1 */
	uint64_t wait_ns; /* how long a process that is no Python yet may take to become one */
	char host[256], boot_id[40];
};

void reader_main(const struct reader_setup *setup) __attribute__((noreturn));

#endif
