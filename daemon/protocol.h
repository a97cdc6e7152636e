/* The words between a client and a session, over a stream socket.
 *
 * The client sends one struct protocol_request. The session answers with struct protocol_reply;
 * when its status is 0 and it is not a PROTOCOL_WAITING one, the recording follows
 * (formats/stream.h), byte for byte as --binary stores it, up to the end of the stream. After an
 * exec of the target a further stream follows in the same recording. The client ends a recording
 * well by shutdown(SHUT_WR); a client that closes is gone. All fields little-endian, fixed size:
 * the privileged side parses nothing. */
#ifndef PYPROF_DAEMON_PROTOCOL_H
#define PYPROF_DAEMON_PROTOCOL_H

#include <stdint.h>

#define PROTOCOL_MAGIC	      0x31667270u /* "prf1" */
#define PROTOCOL_VERSION      2
#define PROTOCOL_TEXT_SIZE    512
#define PROTOCOL_PATTERN_SIZE 128
/* Bounds of a request: what no one means. */
#define PROTOCOL_MAX_INTERVAL_NS 3600000000000ull	/* an hour between samples */
#define PROTOCOL_MAX_DURATION_NS 3155760000000000000ull /* a century: now + duration fits */
#define PROTOCOL_MIN_CHUNK_NS	 10000000ull
#define PROTOCOL_MAX_CHUNK_NS	 10000000000ull

enum protocol_command {
	PROTOCOL_RECORD = 1, /* sample until the end */
	PROTOCOL_DUMP,	     /* one tick */
	PROTOCOL_PROBE,	     /* header and summary only: can it be read, what is it */
	PROTOCOL_COMMAND_END
};

enum protocol_flags {
	PROTOCOL_ALL_THREADS = 1 << 0,
	PROTOCOL_BLOCKING = 1 << 1,
	PROTOCOL_WAIT = 1 << 2, /* the target is being started: wait until its runtime is there */
	PROTOCOL_TASKS_RUNNING = 1 << 3, /* asyncio's tasks that run, and who awaits them */
	PROTOCOL_TASKS_ALL = 1 << 4,	 /* all of asyncio's tasks */
	PROTOCOL_CPU_TIME = 1 << 5,	 /* ask the kernel for it, whatever the rate */
	PROTOCOL_OPCODES = 1 << 6,
	PROTOCOL_FLAGS_ALL = (1 << 7) - 1
};

/* How a client that follows children finds them. */
enum protocol_discovery {
	PROTOCOL_NO_CHILDREN,
	PROTOCOL_CONNECTOR, /* the kernel's process events: connector(7) of the kernel's
			       documentation */
	PROTOCOL_CHILDREN,  /* /proc/PID/task/TID/children, read again and again */
	PROTOCOL_SCAN,	    /* the parents of all processes, read again and again */
	PROTOCOL_DISCOVERY_END
};

struct protocol_request {
	uint32_t magic, version;
	uint32_t command, flags;
	int32_t pid;		  /* as the client's pid namespace shows it */
	uint32_t codec;		  /* enum stream_codec */
	uint64_t interval_ns;	  /* 0: as fast as it goes */
	uint64_t duration_ns;	  /* 0: until told */
	uint64_t chunk_ns;	  /* 0: 1 s */
	uint32_t stop_budget_ppm; /* share of the target's time, parts per million */
	uint32_t mode;		  /* enum mode of formats/stream-select.h: what to write; 0: all */
	/* Of a descendant of another target; for the header of the recording. */
	int32_t parent;	      /* who started it; 0: it was asked for by itself */
	uint32_t discovery;   /* enum protocol_discovery */
	uint32_t reserved[4]; /* 0 */
	/* struct selection of formats/stream-select.h: which samples to write; "": all. Terminated.
	 */
	char thread[PROTOCOL_PATTERN_SIZE], function[PROTOCOL_PATTERN_SIZE],
		source[PROTOCOL_PATTERN_SIZE];
};

/* The exit statuses of pyprof, as pyprof(1) documents them. */
enum pyprof_status {
	STATUS_OK = 0,
	STATUS_FAILED = 1,
	STATUS_USAGE = 2,
	STATUS_NO_PROCESS = 3,
	STATUS_NOT_PERMITTED = 4,
	STATUS_NOT_PYTHON = 5,
	STATUS_TARGET_ENDED = 6,
	STATUS_RUN_FAILED = 125, /* pyprof's own failure in run */
};

/* Value of protocol_reply.waiting. With PROTOCOL_WAIT the session answers twice: at once, when it
 * holds the process (which may exec from then on), and when the runtime is there. */
enum protocol_waiting { PROTOCOL_READY = 0, PROTOCOL_WAITING = 1 };

struct protocol_reply {
	uint32_t magic, version;
	uint32_t status;	       /* enum pyprof_status */
	uint32_t waiting;	       /* enum protocol_waiting */
	char text[PROTOCOL_TEXT_SIZE]; /* status != 0: the error line, UTF-8, escaped, terminated */
};

/* A request in which everything but pid and command has its plainest value. */
void protocol_request_init(struct protocol_request *r, enum protocol_command command, int32_t pid);

/* Whether a request that came from elsewhere is one we know: 0; -EPROTONOSUPPORT another version;
 * -EINVAL. On failure *ret_why is a static phrase. */
int protocol_request_check(const struct protocol_request *r, const char **ret_why);

/* The same for a reply: terminates its text and replaces what is no printable text by '?'. */
int protocol_reply_check(struct protocol_reply *r);

#endif
