/* A small profile with known answers, and what a format writes as text. */
#ifndef PYPROF_TESTS_STREAM_FORMATS_H
#define PYPROF_TESTS_STREAM_FORMATS_H

#include "formats/format.h"

/* Nine samples, 10 ms apart in each thread, rate 100 Hz. main (a.py:10) calls C.work (b.py:3),
 * which calls itself; one leaf is <moving>; thread 101 also runs a function with a strange name. */
struct model *formats_model(void);
/* The same, of its samples that are of this mode. */
struct model *formats_of_mode(enum mode mode);
/* The same with its samples one by one. */
struct model *formats_timeline(void);
/* What is written, NUL-terminated; the caller frees it. */
char *formats_text(const struct format *f, const struct model *m, const struct format_options *o);
size_t formats_bytes(const struct format *f, const struct model *m, const struct format_options *o,
		     char **ret);

#endif
