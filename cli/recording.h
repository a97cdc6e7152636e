/* The client's side of a session: asks for a recording and takes it, as bytes for a file, as a
 * profile, or both. Lines for people are printed here. */
#ifndef PYPROF_CLI_RECORDING_H
#define PYPROF_CLI_RECORDING_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "daemon/protocol.h"
#include "formats/model.h"

struct options;
struct recording;

/* What is known of a recording without keeping its samples. */
struct recording_facts {
	struct stream_header header;	 /* of the last stream */
	struct stream_statistics totals; /* of all streams */
	char end[32], detail[256];
	uint64_t samples; /* that came */
	uint32_t streams, warnings;
	bool ended; /* the last stream has its summary */
};

/* Starts a session for options: through the daemon where there is one and it is wanted, else
 * embedded. 0 or a status, and a line. */
int recording_open(struct recording **ret, const struct options *o, bool embedded);
void recording_free(struct recording *r);

/* The monitor of an embedded session; 0 of a daemon's. */
pid_t recording_monitor(const struct recording *r);

/* Asks. 0 or a status; no line. */
int recording_ask(struct recording *r, const struct protocol_request *q);
/* Waits for an answer, which may be long with PROTOCOL_WAIT: 0 when the session has the process and
 * another answer follows (*ret_waiting), or the recording does. Else a status; text gets the line.
 */
int recording_answer(struct recording *r, bool *ret_waiting, char text[PROTOCOL_TEXT_SIZE]);

/* Takes the recording to its end; Ctrl-C ends it well. Each of file and model may be NULL.
 * on_statistics is called as they come. 0 or a status, and a line. */
int recording_take(struct recording *r, FILE *file, const char *file_name, struct model *model,
		   bool realtime_stats);
const struct recording_facts *recording_facts(const struct recording *r);

/* Reads a recording from a file into model: the same, for replay. */
int recording_replay(const char *path, struct model *model);

/* From here on SIGINT, SIGTERM and SIGHUP end the recording instead of us; a second one ends us.
 * forward: a child that is also told of SIGTERM and SIGHUP, and gets SIGINT from the terminal by
 * itself; 0 none. */
void recording_catch_signals(pid_t forward);

#endif
