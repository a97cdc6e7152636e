/* Source files of a target as text, read with the rights of whoever typed the command. */
#ifndef PYPROF_CLI_LISTING_H
#define PYPROF_CLI_LISTING_H

#include <stdbool.h>
#include <sys/types.h>

struct format_source;

struct listing {
	int root, cwd; /* of the process, where it runs: descriptors, or -1 */
	bool foreign;  /* its root is another than ours */
};

/* pid: whose files they are, as long as it runs; 0: those of here. */
void listing_init(struct listing *l, pid_t pid);
void listing_done(struct listing *l);

/* format_options.source_file, with the listing as its argument: the file as UTF-8, decoded as it
 * says itself (PEP 263), what cannot be decoded as U+FFFD. */
int listing_read(void *arg, const char *file, struct format_source *ret);

#endif
