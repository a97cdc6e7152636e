/* Showing a file in the user's browser. */
#ifndef PYPROF_CLI_BROWSER_H
#define PYPROF_CLI_BROWSER_H

/* Starts what $BROWSER says, else what the desktop does, and does not wait for it; under sudo as
 * the user who typed it. Says so in a line when there is none. */
void browser_open(const char *path);

#endif
