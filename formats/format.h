/* What a profile can be written as. formats/ opens nothing: the caller gives the file. */
#ifndef PYPROF_FORMATS_FORMAT_H
#define PYPROF_FORMATS_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "formats/model.h"

/* The words of --sort, in the order of format_sort_names. */
enum format_sort {
	SORT_NSAMPLES,
	SORT_TOTTIME,
	SORT_CUMTIME,
	SORT_SAMPLE_PCT,
	SORT_CUMUL_PCT,
	SORT_NSAMPLES_CUMUL,
	SORT_NAME,
	SORT_COUNT
};
extern const char *const format_sort_names[SORT_COUNT];

/* Zeroed is the default of each. */
struct format_options {
	bool terminal; /* out is a terminal: text of the target is escaped (dump always is) */
	bool color;    /* ANSI colours */
	enum format_sort sort;
	int limit;	 /* rows of the pstats table; 0: 15, below 0: all */
	bool no_summary; /* of the pstats table */
	const char *cwd; /* dump: files below are shown relative to it; NULL: as they are */
	/* Line number line of file, without its newline, into buf (size bytes with the NUL).
	 * Returns 0, or -errno when it is not to be had. NULL: no source is shown. */
	int (*source_line)(void *arg, const char *file, int line, char *buf, size_t size);
	void *arg;
	const struct model *base; /* what diff-flamegraph compares with */
};

struct format {
	const char *name;	/* as the option: "collapsed" for --collapsed */
	const char *extension;	/* of a default name, without the dot; NULL: for a terminal */
	const char *extensions; /* of -o: words, any of which picks this format; NULL: none */
	bool binary;		/* not for a terminal */
	bool opcodes;		/* shows the instructions of frames */
	bool timeline;		/* reads model_samples() */
	/* 0, -ENOMEM, -ENODATA when there are no samples (nothing is written then), or -errno of
	 * the writing. Does not close or flush out. */
	int (*write)(const struct model *m, const struct format_options *options, FILE *out);
};

extern const struct format format_collapsed;
extern const struct format format_pstats;	/* the marshal file that pstats.Stats loads */
extern const struct format format_pstats_table; /* the table on a terminal */
extern const struct format format_dump;		/* each thread's last sample, as text */
extern const struct format format_dump_json;
extern const struct format format_flamegraph;	   /* a page for a browser */
extern const struct format format_diff_flamegraph; /* the same, compared with options' base */

/* All of them, ended by NULL. */
extern const struct format *const format_all[];
/* By name; NULL when there is none. */
const struct format *format_find(const char *name);

#endif
