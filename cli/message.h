/* Lines for people, on stderr: "pyprof: ...". */
#ifndef PYPROF_CLI_MESSAGE_H
#define PYPROF_CLI_MESSAGE_H

#include <stddef.h>

/* One line; any progress line is wiped first. */
void message(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Text from elsewhere, escaped for a terminal. In one of a few static buffers: it is good for as
 * many calls as one message needs. */
const char *message_text(const char *text);

#endif
