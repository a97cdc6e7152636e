#include "formats/format.h"

#include <string.h>

const char *const format_sort_names[SORT_COUNT] = {
	[SORT_NSAMPLES] = "nsamples",	[SORT_TOTTIME] = "tottime",
	[SORT_CUMTIME] = "cumtime",	[SORT_SAMPLE_PCT] = "sample-pct",
	[SORT_CUMUL_PCT] = "cumul-pct", [SORT_NSAMPLES_CUMUL] = "nsamples-cumul",
	[SORT_NAME] = "name",
};

const struct format *const format_all[] = {
	&format_collapsed, &format_pstats,     &format_pstats_table,	&format_dump,
	&format_dump_json, &format_gecko,      &format_jsonl,		&format_speedscope,
	&format_pprof,	   &format_callgrind,  &format_chrometrace,	&format_heatmap,
	&format_svg,	   &format_flamegraph, &format_diff_flamegraph, NULL,
};

const struct format *format_find(const char *name)
{
	for (const struct format *const *f = format_all; *f; f++)
		if (strcmp((*f)->name, name) == 0)
			return *f;
	return NULL;
}
