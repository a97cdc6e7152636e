/* What a profile adds up to by lines of source: what the heatmap is written from. Internal to
 * formats/.
 *
 * Everything is counted from the tree of stacks, and once a sample: a line that calls itself has
 * the sample once in its total. Numbers of lines, spots, instructions and files count from 1. */
#ifndef PYPROF_FORMATS_HEAT_H
#define PYPROF_FORMATS_HEAT_H

#include "formats/call-stats.h"
#include "formats/model.h"
#include "formats/table.h"

/* Where a file belongs, as far as its name and the recording tell. */
enum heat_kind {
	HEAT_PROJECT, /* below the directory of a main program, or named relative to it */
	HEAT_SITE,    /* site-packages, dist-packages */
	HEAT_STDLIB,
	HEAT_OTHER,
	HEAT_NO_FILE, /* <moving>, <GC>, <native>: no line of source */
	HEAT_KINDS
};

/* The directories of the main programs of a profile. */
#define HEAT_MAX_ROOTS 64
struct heat_roots {
	struct model_string dirs[HEAT_MAX_ROOTS]; /* with the slash at their end; of the model */
	unsigned n;
};
void heat_roots_find(const struct model *m, struct heat_roots *ret);
/* Of the name of a file, "" for none. */
enum heat_kind heat_kind_of(const struct model_string *file, const struct heat_roots *roots);

struct heat_line {
	uint32_t file;	   /* number; 0: a frame without a file */
	int32_t line;	   /* 0: not known */
	uint32_t name;	   /* of the frame: string, when file is 0 */
	uint32_t function; /* of the model: the one with the most samples on it */
	struct call_stat stat;
};

/* An expression of a line: the frames that stand at the same place. */
struct heat_spot {
	uint32_t line;			      /* number */
	uint32_t function;		      /* of the model */
	int32_t end_line, column, end_column; /* -1 unknown */
	struct call_stat stat;
};

struct heat_op {
	uint32_t line; /* number */
	uint32_t op;   /* as struct model_frame has it; 0: not known */
	struct call_stat stat;
};

struct heat_file {
	uint32_t name; /* string */
	enum heat_kind kind;
	uint32_t lines; /* with samples */
	struct call_stat stat;
};

/* Numbers by a key: those of key k are item[first[k]] up to item[first[k + 1]]. */
struct heat_index {
	uint32_t *first, *item;
};

struct heat {
	const struct model *m;
	struct table lines, spots, ops, files; /* of the structs above; see heat_line() ... */
	struct call_stat *functions;	       /* by function of the model */
	uint32_t *file_of_function;	       /* by function of the model; 0: none */
	struct call_stat kinds[HEAT_KINDS];
	/* Calls from a line, by function called; and by line at which the called function stood. */
	struct table calls, line_calls; /* of struct call_edge */
	struct heat_index by_file;	/* lines, ascending */
	struct heat_index
		functions_of_file;	   /* functions of the model with samples, by first line */
	struct heat_index spots_of_line;   /* by column, wider ones first */
	struct heat_index ops_of_line;	   /* most samples first, as all below */
	struct heat_index callees_of_line; /* calls */
	struct heat_index callers_of_line; /* line_calls */
	struct heat_index callers_of_function; /* calls */
};

/* 0, -ENOMEM. */
int heat_init(struct heat *h, const struct model *m);
void heat_done(struct heat *h);

const struct heat_line *heat_line(const struct heat *h, uint32_t i);
const struct heat_spot *heat_spot(const struct heat *h, uint32_t i);
const struct heat_op *heat_op(const struct heat *h, uint32_t i);
const struct heat_file *heat_file(const struct heat *h, uint32_t i);
const struct call_edge *heat_call(const struct heat *h, uint32_t i);
const struct call_edge *heat_line_call(const struct heat *h, uint32_t i);

#endif
