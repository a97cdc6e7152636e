/* The times of samples as formats show them: from the start of the whole input, also where it has
 * recordings of several machines. Internal to formats/. */
#ifndef PYPROF_FORMATS_MOMENTS_H
#define PYPROF_FORMATS_MOMENTS_H

#include "formats/model.h"

struct moments {
	uint64_t *shift;    /* of each process, ns; modulo 2^64 */
	uint64_t base;	    /* of the shifted times: where the first sample begins */
	uint64_t start_ns;  /* the same, since 1970; 0 when not known */
	uint64_t length_ns; /* to the last sample, or the end of a wait of a task */
};

/* 0, -ENOMEM, or what model_waits() returns; then too moments_done() is called. */
int moments_init(struct moments *w, const struct model *m);
void moments_done(struct moments *w);

/* ns since the base of a sample's time, and of the moment where what it stands for begins. */
static inline uint64_t moments_at(const struct moments *w, uint32_t process, uint64_t time_ns)
{
	uint64_t at = time_ns + w->shift[process] - w->base;

	return (int64_t)at < 0 ? 0 : at;
}

static inline uint64_t moments_begin(const struct moments *w, uint32_t process,
				     const struct model_sample *s)
{
	return moments_at(w, process, s->time_ns - (s->ns < s->time_ns ? s->ns : s->time_ns));
}

#endif
