/* What attach and run share: a request, and a recording taken to where it goes. */
#ifndef PYPROF_CLI_RECORD_H
#define PYPROF_CLI_RECORD_H

#include <stdbool.h>
#include <sys/types.h>

#include "daemon/protocol.h"

struct family;
struct options;
struct output;
struct recording;
struct model;

void record_request(struct protocol_request *q, const struct options *o, pid_t pid);

/* Takes the recording. What is not written while it comes is left in *ret_model, which the caller
 * frees (NULL for --binary). out is borrowed. 0; a status and a line. */
int record_take(struct recording *r, const struct options *o, struct output *out,
		struct model **ret_model);
/* Writes what record_take left; takes out. The counts too. 0; a status and a line. */
int record_finish(struct recording *r, const struct options *o, struct output *out,
		  const struct model *m, pid_t pid);

/* What happens meanwhile; each may be NULL. */
struct record_hooks {
	void *arg;
	void (*target_ended)(void *arg);	     /* nothing more comes of the target */
	void (*taken)(void *arg, bool time_is_over); /* before the rest is written */
};

/* All of it, of the target and its descendants; the results of those are written as they end. q:
 * the request that the target's session was asked. Takes out. 0; a status and a line. */
int record_family(struct recording *r, const struct options *o, struct output *out,
		  struct family *f, const struct protocol_request *q,
		  const struct record_hooks *hooks);

#endif
