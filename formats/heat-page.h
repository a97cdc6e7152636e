/* Pages of the heatmap: what the index and the pages of files share, and the latter. Internal to
 * formats/. */
#ifndef PYPROF_FORMATS_HEAT_PAGE_H
#define PYPROF_FORMATS_HEAT_PAGE_H

#include <stdio.h>

#include "formats/format.h"
#include "formats/heat.h"

#define HEATMAP_MARK	    "<meta name=\"generator\" content=\"pyprof heatmap\">"
#define HEATMAP_MAX_PAGES   2000
#define HEATMAP_MAX_SOURCES (256u << 20) /* bytes of source in all pages together */
#define HEATMAP_TOP	    25

/* A line that the index shows. */
struct heatmap_top {
	uint32_t line; /* number */
	char code[160];
};

struct heatmap {
	const struct model *m;
	const struct format_options *options;
	struct heat heat;
	uint32_t *page; /* by file: its number; 0: it has none */
	uint32_t pages;
	int64_t start_real_ns;		     /* of the first recording; 0: not known */
	size_t source_bytes;		     /* shown so far */
	struct heatmap_top top[HEATMAP_TOP]; /* most samples first */
	unsigned n_top;
};

/* One file's page. 0, -ENOMEM. */
int heat_page_write(struct heatmap *w, uint32_t file, FILE *out);

/* From the doctype to the body's begin. title: of the target; kind: a word, the body's class. */
void heat_page_head(FILE *out, const struct heatmap *w, const struct model_string *title,
		    const char *kind);
/* The buttons, behind a heading. */
void heat_page_tools(FILE *out, bool lines);

/* What the colours mean. */
void heat_page_legend(FILE *out);

/* "12.3%" of all samples; "<0.1%" where it is less but not none. */
void heat_page_share(FILE *out, uint64_t part, uint64_t whole);
/* How hot a share of all samples is: 0 none, 1 to HEATMAP_LEVELS. */
#define HEATMAP_LEVELS 7
unsigned heat_page_level(uint64_t part, uint64_t whole);
/* "1.23 s", "12 ms" */
void heat_page_time(FILE *out, uint64_t ns);
/* A link to a line (0: to its file), with the name of the function and the file's. */
void heat_page_link(FILE *out, const struct heatmap *w, uint32_t file, int32_t line, uint32_t name);
/* Number of samples and time, for the script to show in either unit; as share it is text. */
void heat_page_value(FILE *out, const struct heatmap *w, const char *element, const char *class,
		     uint64_t samples, uint64_t ns);
/* The name of a file behind its last slash. */
struct model_string heat_page_base(const struct model_string *path);

#endif
