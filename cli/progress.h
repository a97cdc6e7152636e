/* One line on the terminal that says how far work is; nothing where stderr is no terminal, and none
 * for work that is over at once. What is wider than the terminal is cut, so the number comes first.
 */
#ifndef PYPROF_CLI_PROGRESS_H
#define PYPROF_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

/* Shows the line; at most a few times a second, other calls are free. */
void progress_show(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same at once, for what takes its time and does not tell how far it is. */
void progress_stage(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Wipes it, if there is one. */
void progress_wipe(void);
/* The same for a handler of signals, before it ends us. */
void progress_end(void);
/* Whether showing makes sense: ms until the next one, or -1. For poll(). */
int progress_timeout(void);

#endif
