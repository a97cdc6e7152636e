/* A profile for the Firefox Profiler while it is written, and the pieces that it is written of.
 * Where nothing is returned, errors are kept by the sink. Internal to formats/. */
#ifndef PYPROF_FORMATS_GECKO_H
#define PYPROF_FORMATS_GECKO_H

#include <stdbool.h>
#include <stdint.h>

#include "formats/format.h"
#include "formats/model.h"
#include "formats/moments.h"
#include "formats/numbering.h"
#include "formats/sink.h"
#include "formats/spool.h"
#include "formats/table.h"

enum gecko_category {
	CATEGORY_OTHER,
	CATEGORY_PYTHON,
	CATEGORY_NATIVE,
	CATEGORY_GC,
	CATEGORY_GIL,
	CATEGORY_CPU,
	CATEGORY_CODE,
	CATEGORY_OPCODES,
	CATEGORY_EXCEPTION,
	CATEGORY_IDLE,
	CATEGORY_TASK,
	CATEGORIES
};

/* A sample of one thread; times since the base, ns. */
struct gecko_sample {
	uint64_t begin, time, cpu_ns;
	uint32_t node;
	uint16_t state;
	bool idle; /* it neither runs nor could */
};

/* A task that waits; times since the base, ns. */
struct gecko_wait {
	uint64_t begin, end;
	uint32_t node;
};

/* Strings behind those of the model, and what each kind is of. */
enum gecko_extra {
	EXTRA_MARKER,	/* gecko_marker_name() */
	EXTRA_BASENAME, /* a string that is a path */
	EXTRA_OPCODE	/* opcode_number() */
};

struct gecko {
	const struct model *m;
	const struct format_options *options;
	struct sink *out;
	struct moments moments;
	uint32_t *tracks; /* of each thread the one that it is shown as */
	/* In lists by track: struct gecko_sample, struct gecko_wait. */
	struct spool *samples, *waits;
	struct spool *intervals; /* one list: the markers of the thread at work */
	struct table extras;
	uint32_t *task_of; /* of each node the one of its task; NULL: there are none */
	uint64_t sorted;   /* samples and waits */
	bool cpu_time;	   /* some of it is known */

	uint32_t thread; /* at work: a track */
	/* What its tables have. An idle leaf is a stack of its own, and a frame, for its category:
	 * those are behind the others. */
	struct numbering stacks, idle_stacks, frames, idle_frames, functions, files;
	bool first; /* of the column or list that is being written */
};

/* ---- text and columns ---- */

/* As a JSON string. */
void gecko_put_text(struct gecko *g, const char *text);
void gecko_put_string(struct gecko *g, uint32_t string);
/* 0, -ENOMEM. */
int gecko_strings_init(struct gecko *g);
/* The number of a string that the model has not, of what. When memory is short it is no number, and
 * the sink has the error. */
uint32_t gecko_extra_string(struct gecko *g, enum gecko_extra kind, uint32_t what);
/* All strings, the model's first: when no more are wanted. */
void gecko_put_strings(struct gecko *g);

void gecko_put_milliseconds(struct gecko *g, uint64_t ns);
/* number + add, or null when number is below 0. */
void gecko_put_known(struct gecko *g, int64_t number, int add);

/* "name":[ behind what there is already in the table. */
void gecko_begin_column(struct gecko *g, const char *name);
void gecko_end_column(struct gecko *g);
/* A comma, unless it is the first. */
static inline void gecko_separate(struct gecko *g)
{
	if (!g->first)
		sink_byte(g->out, ',');
	g->first = false;
}
/* A column that is the same in each of n rows. */
void gecko_put_constant(struct gecko *g, const char *name, const char *value, uint64_t n);
/* The last of a table. */
void gecko_put_length(struct gecko *g, uint64_t n);

/* ---- the tables of the thread at work ---- */

/* Numbers what its samples and waits use: before anything else of it. 0, -errno of the spools. */
int gecko_number_tables(struct gecko *g);
/* The number of a stack; -1: there is none at a root. */
int64_t gecko_stack(const struct gecko *g, uint32_t node, bool idle);
/* Stacks, frames, functions, resources. */
void gecko_put_tables(struct gecko *g);

/* Sorts samples and waits by thread. 0, -ENOMEM, -errno of a file. */
int gecko_sort_samples(struct gecko *g);
/* 0, -errno of a file. */
int gecko_put_samples(struct gecko *g);

/* ---- markers ---- */

/* 0, -ENOMEM, -errno of a file. */
int gecko_markers_init(struct gecko *g);
/* Those of the thread at work. 0, -ENOMEM, -errno of a file. */
int gecko_put_markers(struct gecko *g);
const char *gecko_marker_name(uint32_t marker);
/* What each kind shows of itself. */
void gecko_put_schemas(struct gecko *g);

/* ---- about the whole ---- */

/* "meta":{...} */
void gecko_put_meta(struct gecko *g);

#endif
