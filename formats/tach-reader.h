/* Recordings of CPython's own sampler, python -m profiling.sampling --binary (3.15 on, "Tachyon"):
 * told to the same handler as our own are, so that everything that reads those reads these.
 *
 * A file is a header, the samples as differences between stacks, the tables of strings and frames
 * that these refer to, and a footer: the tables are at its end, so it cannot be read as it comes.
 * Source of the format: CPython, Modules/_remote_debugging/binary_io*.{h,c}. */
#ifndef PYPROF_FORMATS_TACH_READER_H
#define PYPROF_FORMATS_TACH_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "formats/stream.h"

#define TACH_MAGIC_LEN 4
/* Whether a file that begins with these TACH_MAGIC_LEN bytes is one. */
bool tach_begins(const void *bytes);

struct tach_input {
	void *arg;
	uint64_t size; /* of the file, bytes */
	/* n bytes from at on, into buf: how many there were, fewer than n only where the file ends;
	 * or -errno. */
	ssize_t (*read)(void *arg, uint64_t at, void *buf, size_t n);
};

/* What the recorder said of itself. */
struct tach_facts {
	char python[16]; /* version */
	uint64_t samples;
	double failed; /* share of its attempts, of 1; below 0: it does not say */
};

/* Reads one file as the stream 0. What is damaged is warned of and left out, as stream_reader does;
 * of samples there is no more behind the first that is damaged. 0; -EINVAL not such a file or not
 * even its header, -EPROTONOSUPPORT another version of the format, -ENODATA cut before the tables,
 * so that nothing in it has a name; -ENOMEM, -errno of reading, or a handler's return. */
int tach_read(const struct tach_input *in, const struct stream_handler *h, void *arg,
	      struct tach_facts *ret_facts);

#endif
