/* What the parts of a recording share: recording.c has sessions and what they send,
 * recording-replay.c files. */
#ifndef PYPROF_CLI_RECORDING_PARTS_H
#define PYPROF_CLI_RECORDING_PARTS_H

#include "cli/pids.h"
#include "cli/recording.h"
#include "formats/stream.h"

/* One process; of a replay, all of them. */
struct recording_process {
	struct recording_facts facts;
	struct stream_statistics before; /* of its streams before the present one */
	struct stream_statistics last;	 /* for --realtime-stats */
	struct model *model;		 /* NULL: none, or none any more */
	uint32_t *model_streams; /* how many streams the model has: processes may share both */
	uint32_t own_streams;
};

/* A stream of the input. */
struct place {
	struct recording_process *process; /* NULL: it is passed over */
	uint32_t number;		   /* in the model */
};

struct recording {
	struct source *main;
	bool family, apart, realtime_stats, live_end;
	const struct model_options *question; /* of each model of its own */
	FILE *file;
	const char *file_name;
	struct stream_reader *reader;
	struct recording_process **processes; /* the main one is the first */
	size_t process_count, folded;
	struct recording_process *feeding; /* whose pieces come now */
	struct recording_facts rest;	   /* of those that are folded */
	struct place *places;
	uint32_t place_count, place_cap;
	const struct pid_list *pids; /* of a replay: whose streams are wanted; NULL: all */
	struct pid_list present;     /* of a replay: who is there */
	struct model *model;	     /* shared by all; NULL */
	uint32_t model_streams;
	const char *input; /* of a replay of several: the file that is read now; else NULL */
	uint32_t inputs;   /* that were begun: model_source()'s numbers */
	bool copy_told;	   /* of this one */
};

/* With its main process; NULL when memory is short, and a line. */
struct recording *recording_new(void);
/* What a reader tells goes to the recording, which is its argument. */
extern const struct stream_handler recording_handler;
/* Why a reader stopped, as a line: a status. what: what was read. */
int recording_explain(int e, const char *what);

#endif
