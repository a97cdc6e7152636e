/* Which samples of a session are written, where only some are asked for: those of a mode, of some
 * threads, with some function or module on the stack. */
#ifndef PYPROF_DAEMON_SIEVE_H
#define PYPROF_DAEMON_SIEVE_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/protocol.h"
#include "remote/sampler.h"
#include "remote/tables.h"

struct sieve;

/* For what the request asks. 0 or -ENOMEM. *ret is NULL when it asks for everything. */
int sieve_new(struct sieve **ret, const struct protocol_request *q);
void sieve_free(struct sieve *v);

/* Whether s is to be written. A sample's weight is the time since its thread's sample before, so
 * the one before a run of samples that are written is written too: *ret_before is that one, to be
 * written first, or NULL; valid until the next call. Where memory is short everything is written.
 */
bool sieve_takes(struct sieve *v, const struct tables *t, const struct sample *s,
		 const struct sample **ret_before);

/* The same of a SAMPLE_WAIT, which has no mode but that of the clock. */
bool sieve_takes_wait(struct sieve *v, const struct tables *t, const struct sample *s);

/* All ids mean something new. */
void sieve_forget(struct sieve *v);

#endif
