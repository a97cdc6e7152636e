/* The line for a session's refusal, with what the client knows beside it. */
#ifndef PYPROF_CLI_REFUSAL_H
#define PYPROF_CLI_REFUSAL_H

#include <sys/types.h>

/* Prints text; where pid is no Python but has one among its descendants, names that. Returns
 * status. */
int refusal_print(int status, const char *text, pid_t pid, const char *command);

#endif
