/* One session as its client has it: a socket, the session's answers, and the pieces of its
 * recording. Nothing is printed here. */
#ifndef PYPROF_CLI_SOURCE_H
#define PYPROF_CLI_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "daemon/protocol.h"

struct options;
struct source;

/* Starts a session for options: through the daemon where there is one and it is wanted, else
 * embedded. 0; a status, and text gets the line. */
int source_open(struct source **ret, const struct options *o, bool embedded,
		char text[PROTOCOL_TEXT_SIZE]);
/* The session sees the end of its client and leaves. Returns its monitor, to be reaped by the
 * caller: 0 of a daemon's. Takes NULL. */
pid_t source_close(struct source *s);

int source_fd(const struct source *s);
/* The monitor of an embedded session; 0 of a daemon's. */
pid_t source_monitor(const struct source *s);

/* Asks. False: the session is gone, or says so in its answer. */
bool source_ask(struct source *s, const struct protocol_request *q);
/* Asks for a good end of the recording. May be said again. */
void source_stop(struct source *s);

enum source_word {
	SOURCE_NOTHING, /* now; wait until the descriptor is readable */
	SOURCE_WAITING, /* it has the process, and another answer follows */
	SOURCE_READY,	/* pieces follow */
	SOURCE_REFUSED, /* source_status(), source_text() */
	SOURCE_PIECE,	/* a prologue or a whole chunk */
	SOURCE_END,	/* nothing follows */
	SOURCE_STRANGE, /* what came is neither an answer nor a recording: text says which */
};

/* What it says next, without waiting. A piece stays valid until the next call. */
enum source_word source_hear(struct source *s, const void **ret_piece, size_t *ret_size);
/* Of the last refusal. */
int source_status(const struct source *s);
const char *source_text(const struct source *s);

#endif
