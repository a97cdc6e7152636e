/* A file that results are written to, or the standard output.
 *
 * A regular file appears whole or not at all: it is written beside its place and renamed. One that
 * grows is written in its place, so that what there is survives us. Under sudo files belong to the
 * user who typed it, and symbolic links are not followed. Errors are told by message().
 *
 * A folder is made the same way: under another name beside its place, and renamed when it is whole.
 */
#ifndef PYPROF_CLI_OUTPUT_H
#define PYPROF_CLI_OUTPUT_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

struct format;
struct format_folder;
struct output;

/* Prepares to write to path ("-": standard output); name is appended where it is a directory.
 * 0; STATUS_FAILED and a line. Owned by the caller: output_commit() or output_discard(). */
int output_open(struct output **ret, const char *path, const char *name, bool grows);

/* The same for a format that is a folder: path is the folder, which is only replaced when it is
 * empty or holds what the format made before, and nothing else. */
int output_open_folder(struct output **ret, const char *path, const struct format *format);
/* Where its files go; owned by the output. NULL of a file. */
const struct format_folder *output_folder(struct output *o);

/* To be called when the first bytes come: what a file that grows had before goes now, not before
 * the new is known to come. 0; STATUS_FAILED and a line. */
int output_begin(struct output *o);

/* Where to write. Buffered; owned by the output. */
FILE *output_file(struct output *o);
/* What to call it. */
const char *output_name(const struct output *o);
bool output_is_stdout(const struct output *o);
/* Whether there can be others beside it: false of the standard output, a device or a pipe. */
bool output_is_regular(const struct output *o);

/* Everything was written: puts the file in its place, and says that what (NULL: nothing is said) is
 * there. 0; STATUS_FAILED and a line. Frees o. */
int output_commit(struct output *o, const char *what);
/* There is nothing to keep. Frees o; takes NULL. */
void output_discard(struct output *o);

/* A file without a name, to write and read back, in $TMPDIR or /var/tmp; the caller's. NULL and
 * errno. */
FILE *output_scratch(void);

/* Under sudo: whose results are. */
bool output_sudo_ids(uid_t *ret_uid, gid_t *ret_gid);

/* Handlers of the signals that end a program: what is half written goes, and then we, by the
 * signal. Recordings that grow stay. Those that are ignored stay so. */
void output_catch_signals(void);
/* What they do, for other handlers of signals. */
void output_end_by(int sig);

/* Flushes the standard output and says when that fails: 0 or STATUS_FAILED. */
int output_flush_stdout(void);

#endif
