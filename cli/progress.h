/* One line on the terminal that says how long work goes; nothing where stderr is no terminal. */
#ifndef PYPROF_CLI_PROGRESS_H
#define PYPROF_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

/* Shows the line; at most a few times a second, other calls are free. */
void progress_show(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Wipes it, if there is one. */
void progress_wipe(void);
/* Whether showing makes sense: ms until the next one, or -1. For poll(). */
int progress_timeout(void);

#endif
