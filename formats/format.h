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

/* A source file as a format gets it: UTF-8, whatever it was in. */
struct format_source {
	char *text; /* malloc()ed; the format frees it */
	size_t len;
	int64_t mtime_ns; /* real time of its last change */
};

/* Zeroed is the default of each. */
struct format_options {
	bool terminal; /* out is a terminal: text of the target is escaped (dump always is) */
	bool color;    /* ANSI colours */
	enum format_sort sort;
	int limit;	 /* rows of the pstats table; 0: 15, below 0: all */
	bool no_summary; /* of the pstats table */
	bool devtools;	 /* gecko: and its first thread in the form of Firefox' older DevTools */
	const char *cwd; /* dump: files below are shown relative to it; NULL: as they are */
	/* Line number line of file, without its newline, into buf (size bytes with the NUL).
	 * Returns 0, or -errno when it is not to be had. NULL: no source is shown. */
	int (*source_line)(void *arg, const char *file, int line, char *buf, size_t size);
	void *arg;
	/* Opens a file to write and read back; NULL and errno. NULL: tmpfile(3). */
	FILE *(*scratch)(void);
	const struct model *base; /* what diff_flamegraph compares with */
	/* The whole of file; NULL: no source is shown. 0; -errno when it is not to be had, -EFBIG
	 * when there is too much of it, -EILSEQ when it is no text. */
	int (*source_file)(void *arg, const char *file, struct format_source *ret);
};

/* Where a format that is a folder puts its files, whose names are its own. */
struct format_folder {
	void *arg;
	/* A new file: 0 or -errno. One at a time is open. */
	int (*open)(void *arg, const char *name, FILE **ret);
	/* Flushes and closes it: 0, or -errno of anything that went wrong with it. */
	int (*close)(void *arg, FILE *file);
};

struct format {
	const char *name;	/* as the option: "collapsed" for --collapsed */
	const char *extension;	/* of a default name, without the dot; NULL: for a terminal, or a
				 * folder */
	const char *extensions; /* of -o: words, any of which picks this format; NULL: none */
	bool binary;		/* not for a terminal */
	bool opcodes;		/* shows the instructions of frames */
	bool timeline;		/* reads model_samples() */
	bool over_time;		/* shows each thread over time: threads cannot be folded */
	/* 0, -ENOMEM, -ENODATA when there are no samples (nothing is written then), or -errno of
	 * the writing. Does not close or flush out. */
	int (*write)(const struct model *m, const struct format_options *options, FILE *out);
	/* Of a format that is a folder, which has no write: the same. */
	int (*write_folder)(const struct model *m, const struct format_options *options,
			    const struct format_folder *to);
	/* What the index.html of such a folder holds in its first 1024 bytes, and whether a file
	 * there can be its own: a folder of nothing else may be replaced. */
	const char *folder_mark;
	bool (*folder_owns)(const char *name);
};

extern const struct format format_collapsed;
extern const struct format format_pstats;	/* the marshal file that pstats.Stats loads */
extern const struct format format_pstats_table; /* the table on a terminal */
extern const struct format format_dump;		/* each thread's last sample, as text */
extern const struct format format_dump_json;
extern const struct format format_gecko; /* the Firefox Profiler's processed profiles */
extern const struct format format_jsonl;
extern const struct format format_speedscope;
extern const struct format format_pprof; /* profile.proto, gzipped */
extern const struct format format_callgrind;
extern const struct format format_chrometrace;	   /* Trace Event Format: slices over time */
extern const struct format format_svg;		   /* a flame graph to look at, without a script */
extern const struct format format_flamegraph;	   /* a page for a browser */
extern const struct format format_diff_flamegraph; /* the same, compared with options' base */
extern const struct format format_heatmap;	   /* a folder: a page a source file */

/* All of them, ended by NULL. */
extern const struct format *const format_all[];
/* By name; NULL when there is none. */
const struct format *format_find(const char *name);

#endif
