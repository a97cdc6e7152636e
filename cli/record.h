/* What attach and run share: a request, and a recording taken to where it goes. */
#ifndef PYPROF_CLI_RECORD_H
#define PYPROF_CLI_RECORD_H

#include <sys/types.h>

#include "daemon/protocol.h"

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

#endif
