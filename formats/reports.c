#include "formats/reports.h"

#include <errno.h>
#include <stdlib.h>

struct report report_of(const struct stream_statistics *s)
{
	struct report report = {s->elapsed_ns, s->due, s->achieved, s->missed, 0};

	for (int i = 0; i < STREAM_LOST_COUNT; i++)
		report.lost += s->lost[i];
	return report;
}

int reports_add(struct reports *r, const struct stream_statistics *s)
{
	if (!r->items) {
		r->items = calloc(REPORTS_MAX, sizeof(*r->items));
		if (!r->items)
			return -ENOMEM;
		r->step = 1;
	}
	if (++r->seen % r->step)
		return 0;
	if (r->count == REPORTS_MAX) {
		for (uint32_t i = 0; i < REPORTS_MAX / 2; i++)
			r->items[i] = r->items[2 * i + 1];
		r->count = REPORTS_MAX / 2;
		r->step *= 2;
		if (r->seen % r->step)
			return 0;
	}
	r->items[r->count++] = report_of(s);
	return 0;
}

void reports_done(struct reports *r)
{
	free(r->items);
	*r = (struct reports){0};
}
