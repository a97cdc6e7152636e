/* A target with all that descends from it: a session for each Python among them, one recording.
 * Lines for people are printed here. */
#ifndef PYPROF_CLI_FAMILY_H
#define PYPROF_CLI_FAMILY_H

#include <stdbool.h>
#include <sys/types.h>

#include "daemon/protocol.h"

/* Sessions at one time, the target's included. */
#define FAMILY_MAX_SESSIONS 100

struct family;
struct options;
struct recording;
struct recording_process;

struct family_hooks {
	void *arg;
	/* The target has ended, and nothing more comes of it; others may go on. May be NULL. */
	void (*target_ended)(void *arg);
	/* Nothing more comes of this process, which is not the target. */
	void (*process_ended)(void *arg, struct recording_process *p);
};

/* Begins to look for what descends from target, which is r's, and says how. started: the target is
 * our child, and has not begun yet. 0 or a status, and a line. */
int family_open(struct family **ret, const struct options *o, const struct recording *r,
		pid_t target, bool started);
void family_free(struct family *f);

/* For the request of the target's session. */
enum protocol_discovery family_way(const struct family *f);

/* Takes the recording to its end; recording_begin() and the target's request q came before.
 * waiting: the session has told that it has the target. The end is that of the duration, of the
 * target and those of its descendants that are recorded, or wanted by a signal. 0 or a status, and
 * a line. */
int family_take(struct family *f, struct recording *r, const struct protocol_request *q,
		const struct family_hooks *hooks);

/* Whether the end was that of the duration. */
bool family_time_is_over(const struct family *f);

#endif
