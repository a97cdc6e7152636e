/* What a flame graph page carries: the stacks of one profile, or of two that are compared, with
 * what was counted on them. Internal to formats/. */
#ifndef PYPROF_FORMATS_FLAME_H
#define PYPROF_FORMATS_FLAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "formats/bytes.h"
#include "formats/format.h"
#include "formats/model.h"
#include "formats/page.h"
#include "formats/table.h"

#define FLAME_TEXT 2000 /* bytes of a name that are shown; what is longer ends in an ellipsis */

struct flame_function {
	uint32_t name, file; /* texts; 0: none */
	int32_t first_line;
	uint32_t kind; /* enum stream_frame_kind */
};

/* A line of a function, and with opcodes an instruction there. */
struct flame_cell {
	uint32_t function;
	int32_t line; /* 0: none */
	uint32_t op;  /* text of its name; 0: none */
};

/* A place in the tree of stacks. A parent's index is lower than its children's. */
struct flame_place {
	uint32_t parent, cell;
};

/* How often a thread was seen there. thread: of the profile from 0 on, then of the base. */
struct flame_count {
	uint32_t thread, place;
	uint64_t count, ns;
};

/* One of the profiles. */
struct flame_side {
	const struct model *m;
	uint32_t first_thread; /* the number of its thread 1 */
	uint32_t *place;       /* by node */
};

struct flame {
	struct flame_side sides[2]; /* the profile; its base, m NULL: none */
	unsigned side_count;
	struct table texts; /* by their digest; item: where it is in text */
	struct bytes text;
	struct table functions, cells, places, counts;
	uint32_t thread_count;
	uint32_t *order; /* places, parents before children and behind them all below; from 1 on */
	uint32_t *rank;	 /* the place's number in that order */
};

struct flame_text {
	uint64_t low, high;
	size_t at;
	uint32_t len;
};

/* base: NULL, or what it is compared with. 0; -ENOMEM; -ENODATA: there is nothing in m. */
int flame_init(struct flame *f, const struct model *m, const struct model *base);
void flame_done(struct flame *f);
/* The number of a text, escaped for people; 0 for none, or when memory is short (-ENOMEM is then
 * what flame_init() returns). */
uint32_t flame_add_text(struct flame *f, const char *bytes, size_t len);
const struct flame_text *flame_text_of(const struct flame *f, uint32_t text);

/* The pieces of the page. */
void flame_put_tree(const struct flame *f, struct page *p);
void flame_put_counts(const struct flame *f, struct page *p, uint64_t interval_ns);
/* Lines of the source files; 0, -ENOMEM. */
int flame_put_sources(struct flame *f, const struct format_options *o, struct page *p);
struct flame_strip;
/* 0; -ENOMEM. What of the samples' file fails is told by *ret_error and leaves no strip (*ret
 * NULL); so do too many threads, -E2BIG. */
int flame_strip_new(struct flame_strip **ret, const struct flame *f, int *ret_error);
void flame_strip_free(struct flame_strip *s);
void flame_put_strip(const struct flame_strip *s, struct page *p, uint64_t interval_ns);
/* A JSON object of what is known besides; the caller frees it. NULL: memory is short. */
char *flame_facts(const struct flame *f, int strip_error);
/* The time between two samples of a thread that was asked for, ns; 0: none. */
uint64_t flame_interval(const struct model *m);
/* To add to times of this process, so that all are on one clock, ns. */
int64_t flame_clock(const struct model *m, uint32_t process);
/* The first and the last moment that samples are of, on that clock. */
void flame_span(const struct model *m, int64_t *ret_from, int64_t *ret_to);

#endif
