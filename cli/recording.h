/* A recording as its client takes it, as bytes for a file, as a profile, or both: of one session,
 * or of several, whose pieces become one recording. Lines for people are printed here. */
#ifndef PYPROF_CLI_RECORDING_H
#define PYPROF_CLI_RECORDING_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "daemon/protocol.h"
#include "formats/model.h"

struct options;
struct pid_list;
struct recording;
struct recording_process;
struct source;

/* What is known of the recording of a process without keeping its samples. */
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

/* Asks (the first session). 0 or a status; no line. */
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

/* ---- of several processes ---- */

struct recording_sink {
	FILE *file; /* each of these may be NULL */
	const char *file_name;
	struct model *model;		      /* of the main process, or of all */
	const struct model_options *question; /* of models that are made here; borrowed */
	bool apart;			      /* other processes have models of their own */
	bool family;			      /* there may be others */
	bool realtime_stats;
};

/* The first session: it is the caller's from here on. */
struct source *recording_take_source(struct recording *r);
/* 0 or a status, and a line. */
int recording_begin(struct recording *r, const struct recording_sink *sink);
/* A further process; NULL when memory is short. Owned by the recording. */
struct recording_process *recording_add(struct recording *r);
struct recording_process *recording_main(struct recording *r);
struct recording_facts *recording_process_facts(struct recording_process *p);
/* NULL: none. */
const struct model *recording_process_model(const struct recording_process *p);
/* A whole piece of the process's: 0 or a status, and a line. */
int recording_piece(struct recording *r, struct recording_process *p, const void *bytes,
		    size_t size);
/* The process is over, and what is made of its model is made: p is not used any more. Of the first
 * RECORDING_TOLD the facts are kept, of the others their sum. */
#define RECORDING_TOLD 10
void recording_fold(struct recording *r, struct recording_process *p);
/* No more pieces come. 0 or a status, and a line. */
int recording_end(struct recording *r);
/* The sums of all, up to max single ones, and the sums of the rest; streams of the sums are
 * processes. Returns how many single ones. */
size_t recording_tell(const struct recording *r, struct recording_facts *ret_all,
		      struct recording_facts *ret_rest, const struct recording_facts **ret,
		      size_t max);

/* Reads recordings from files ("-": the standard input) into model, one after the other: pyprof's
 * and those of profiling.sampling. A file that is named twice is read once, and that is said. pids:
 * whose samples are wanted, and it is an error if there are none; NULL: all. 0 or a status, and a
 * line. */
int recording_replay(char *const *paths, int count, const struct pid_list *pids,
		     struct model *model);

/* From here on SIGINT, SIGTERM and SIGHUP end the recording instead of us; a second one ends us.
 * forward: a child that is also told of SIGTERM and SIGHUP, and gets SIGINT from the terminal by
 * itself; 0 none. */
void recording_catch_signals(pid_t forward);
/* That child is gone: its signals are ours from here on. */
void recording_target_ended(void);
/* Whether a signal asked for the end. */
bool recording_asked_to_end(void);

#endif
