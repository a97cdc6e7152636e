/* Which samples a question names: threads, functions, modules by patterns. For the model, and for
 * who writes a recording of no more than that. */
#ifndef PYPROF_FORMATS_STREAM_SELECT_H
#define PYPROF_FORMATS_STREAM_SELECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The modes: enum mode, as the words of --mode. */
enum mode {
	MODE_RECORDED,	/* that of the recording; no word */
	MODE_WALL,	/* every sample */
	MODE_CPU,	/* CPU time */
	MODE_GIL,	/* the thread holds the GIL; free-threaded: is attached */
	MODE_EXCEPTION, /* an exception is being raised or handled */
	MODE_COUNT
};
extern const char *const mode_names[MODE_COUNT];
/* By its word; MODE_COUNT: there is none of that name. */
enum mode mode_find(const char *name);

/* Whether a sample of this state (enum stream_state) and CPU time is of the mode: 1 yes, 0 no, -1
 * the state does not tell. Of MODE_CPU every sample that used the CPU since the one before is. */
int mode_takes(enum mode mode, uint16_t state, uint64_t cpu_ns);

/* Patterns with *, ? and [...] that are matched whole; NULL or "": any. */
struct selection {
	const char *thread;   /* a tid or ident in decimal, else a pattern of the name */
	const char *function; /* pattern of the qualified name, or of its last part */
	const char *source; /* pattern of the dotted name, as json.decoder; with a slash, or .py at
			     * its end, of the file's path or what follows one of its slashes */
};
bool selection_is_empty(const struct selection *s);
bool selection_takes_thread(const struct selection *s, const char *name, uint64_t tid,
			    uint64_t ident);
/* Whether a stack that this function is on is taken: by function and module. "" is no name. */
bool selection_takes_function(const struct selection *s, const char *name, const char *file);

/* "*" any text, "?" one byte, "[a-z]" and "[!a-z]"; everything else is itself. */
bool pattern_matches(const char *pattern, const char *text);

#endif
