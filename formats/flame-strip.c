/* The samples over time: what each thread did, in narrow bins, and which places it was seen at, in
 * bins as wide as it takes to keep that small. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "formats/flame.h"

#define MAX_BINS 2048
#define MIN_BINS 8
/* Bins of all threads; with more there is no strip. */
#define MAX_ROWS (192u << 10)
/* Places seen in a bin, of all bins. */
#define MIN_SEEN (24u << 10)
#define MAX_SEEN (512u << 10)

/* What a thread does, the most telling first where several are true. The page has these numbers. */
enum doing {
	DOING_UNKNOWN,
	DOING_OFF_CPU,	   /* without the GIL, and it does not wait for it */
	DOING_ON_CPU,	   /* on a CPU without the GIL: C code */
	DOING_WITHOUT_GIL, /* one of these two */
	DOING_WAITING,	   /* for the GIL */
	DOING_PYTHON,	   /* holds the GIL, or is attached */
	DOING_GC,
	DOING_COUNT
};

/* The samples of a thread in a bin. */
struct row {
	uint32_t doing[DOING_COUNT];
	uint32_t states[MODEL_STATES], exceptions[2], how[3]; /* as struct model_thread has them */
};

struct seen {
	uint32_t bin, thread, place;
	uint32_t count;
	uint64_t ns;
};

/* Where the last sample at a place went. */
struct recent {
	uint64_t when; /* thread and bin, plus 1; 0: nowhere */
	uint32_t seen;
};

struct flame_strip {
	const struct flame *flame;
	const struct model *m;
	int64_t from, *clocks; /* by thread */
	uint64_t span, width;
	uint32_t bins, shift; /* a bin of places is 1 << shift bins of rows */
	struct row *rows;     /* by thread, bin */
	struct table seen;
	uint32_t max_seen;
	struct recent *recent;	     /* by place */
	uint64_t bin_from, bin_size; /* of the bin that the sample before was in */
	uint32_t bin;
};

static enum doing doing_of(uint16_t state)
{
	if ((state & STREAM_STATE_GC_KNOWN) && (state & STREAM_STATE_GC))
		return DOING_GC;
	if ((state & STREAM_STATE_GIL_WAIT_KNOWN) && (state & STREAM_STATE_GIL_WAIT))
		return DOING_WAITING;
	if ((state & STREAM_STATE_GIL_KNOWN) && (state & STREAM_STATE_GIL))
		return DOING_PYTHON;
	if (state & STREAM_STATE_CPU_KNOWN)
		return state & STREAM_STATE_CPU ? DOING_ON_CPU : DOING_OFF_CPU;
	return state & STREAM_STATE_GIL_KNOWN ? DOING_WITHOUT_GIL : DOING_UNKNOWN;
}

/* Bins of twice the width. */
static int widen(struct flame_strip *s)
{
	struct table old = s->seen;
	const struct seen *from = (const void *)old.items;
	int r = table_init(&s->seen, sizeof(struct seen), offsetof(struct seen, count));

	s->shift++;
	memset(s->recent, 0, s->flame->places.count * sizeof(*s->recent));
	for (uint32_t i = 1; i < old.count && r == 0; i++) {
		struct seen key = from[i], *to;
		uint32_t k;

		key.bin >>= 1;
		k = table_intern(&s->seen, &key);
		to = (struct seen *)(void *)s->seen.items + k;
		if (k == 0) {
			r = -ENOMEM;
			break;
		}
		to->count += from[i].count;
		to->ns += from[i].ns;
	}
	table_done(&old);
	return r;
}

static uint32_t bin_of(struct flame_strip *s, const struct model_sample *sample)
{
	uint64_t at = sample->time_ns + (uint64_t)s->clocks[sample->thread] - (uint64_t)s->from;

	if (at - s->bin_from >= s->bin_size) {
		s->bin = (uint32_t)(at / s->width);
		if (s->bin >= s->bins)
			s->bin = s->bins - 1;
		s->bin_from = s->bin * s->width;
		s->bin_size = s->width;
	}
	return s->bin;
}

static void count_sample(struct row *row, const struct model_sample *sample)
{
	row->doing[doing_of(sample->state)]++;
	row->how[sample->how <= STREAM_HOW_MOVING ? sample->how : STREAM_HOW_MOVING]++;
	row->exceptions[0] += model_has_exception(sample->state);
	row->exceptions[1] += model_tells_exception(sample->state);
	for (uint32_t bits = sample->state; bits; bits &= bits - 1)
		row->states[__builtin_ctz(bits)]++;
}

/* What was seen of a thread at a place in a bin. 0, -ENOMEM. */
static int add_seen(struct flame_strip *s, uint32_t thread, uint32_t place, uint32_t bin,
		    uint64_t count, uint64_t ns)
{
	uint64_t when = ((uint64_t)thread << 32 | bin >> s->shift) + 1;
	struct recent *recent = &s->recent[place];
	struct seen key = {.bin = bin >> s->shift, .thread = thread, .place = place}, *to;

	if (recent->when != when) {
		recent->seen = table_intern(&s->seen, &key);
		recent->when = when;
		if (recent->seen == 0)
			return -ENOMEM;
	}
	to = (struct seen *)(void *)s->seen.items + recent->seen;
	to->count += (uint32_t)count;
	to->ns += ns;
	if (s->seen.count > s->max_seen && (s->bins - 1) >> s->shift)
		return widen(s);
	return 0;
}

static int take(void *arg, const struct model_sample *sample)
{
	struct flame_strip *s = arg;
	uint32_t thread = sample->thread - 1, place = s->flame->sides[0].place[sample->node];
	uint32_t bin = bin_of(s, sample);

	count_sample(&s->rows[(size_t)thread * s->bins + bin], sample);
	return place ? add_seen(s, thread, place, bin, 1,
				s->m->mode == MODE_CPU ? sample->cpu_ns : sample->ns)
		     : 0;
}

static uint64_t part_of(uint64_t n, uint64_t part, uint64_t whole)
{
	return part >= whole ? n : (uint64_t)((unsigned __int128)n * part / whole);
}

/* Each bin has its part of the time that a task waited. */
static int take_wait(void *arg, const struct model_wait *w)
{
	struct flame_strip *s = arg;
	uint32_t place = s->flame->sides[0].place[w->node];
	uint64_t at = w->time_ns + (uint64_t)s->clocks[w->thread] - (uint64_t)s->from;
	uint64_t begin = (int64_t)at < 0 ? 0 : at > s->span ? s->span : at;
	uint64_t end = w->ns < s->span - begin ? begin + w->ns : s->span, count = 0, ns = 0;

	if (place == 0)
		return 0;
	for (uint64_t now = begin;;) {
		uint32_t bin = (uint32_t)(now / s->width);
		uint64_t next = (((uint64_t)bin >> s->shift) + 1) << s->shift, so_far, so_long;
		int r;

		now = next * s->width < end ? next * s->width : end;
		so_far = part_of(w->count, now - begin, end - begin);
		so_long = part_of(w->ns, now - begin, end - begin);
		r = add_seen(s, w->thread - 1, place, bin, so_far - count, so_long - ns);
		if (r < 0 || now >= end)
			return r;
		count = so_far;
		ns = so_long;
	}
}

static int by_bin(const void *a, const void *b, void *arg)
{
	const struct flame *f = arg;
	const struct seen *i = a, *k = b;

	if (i->bin != k->bin)
		return i->bin < k->bin ? -1 : 1;
	if (i->thread != k->thread)
		return i->thread < k->thread ? -1 : 1;
	return f->rank[i->place] < f->rank[k->place] ? -1 : f->rank[i->place] > f->rank[k->place];
}

static int prepare(struct flame_strip *s)
{
	const struct model *m = s->m;
	uint32_t threads = m->thread_count - 1;
	int64_t to;

	flame_span(m, &s->from, &to);
	s->span = (uint64_t)to - (uint64_t)s->from;
	s->bins = MAX_BINS;
	while (s->bins > MIN_BINS && (size_t)s->bins * threads > MAX_ROWS)
		s->bins /= 2;
	if ((size_t)s->bins * threads > MAX_ROWS)
		return -E2BIG;
	s->width = s->span / s->bins + 1;
	s->max_seen = s->flame->counts.count < MAX_SEEN / 4 ? s->flame->counts.count * 4 : MAX_SEEN;
	if (s->max_seen < MIN_SEEN)
		s->max_seen = MIN_SEEN;
	s->rows = calloc((size_t)threads * s->bins, sizeof(*s->rows));
	s->clocks = calloc(m->thread_count, sizeof(*s->clocks));
	s->recent = calloc(s->flame->places.count, sizeof(*s->recent));
	if (!s->rows || !s->clocks || !s->recent)
		return -ENOMEM;
	for (uint32_t i = 1; i < m->thread_count; i++)
		s->clocks[i] = flame_clock(m, m->threads[i].process);
	return table_init(&s->seen, sizeof(struct seen), offsetof(struct seen, count));
}

int flame_strip_new(struct flame_strip **ret, const struct flame *f, int *ret_error)
{
	struct flame_strip *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->flame = f;
	s->m = f->sides[0].m;
	r = prepare(s);
	if (r == 0)
		r = model_samples(s->m, take, s);
	if (r == 0)
		r = model_waits(s->m, take_wait, s);
	if (r < 0 || s->seen.count <= 1) {
		flame_strip_free(s);
		*ret = NULL;
		*ret_error = r;
		return r == -ENOMEM ? r : 0;
	}
	qsort_r(s->seen.items + sizeof(struct seen), s->seen.count - 1, sizeof(struct seen), by_bin,
		(void *)f);
	*ret = s;
	*ret_error = 0;
	return 0;
}

void flame_strip_free(struct flame_strip *s)
{
	if (!s)
		return;
	table_done(&s->seen);
	free(s->rows);
	free(s->clocks);
	free(s->recent);
	free(s);
}

static void put_seen(const struct flame_strip *s, struct page *p, uint64_t interval_ns)
{
	const struct seen *seen = (const void *)s->seen.items;
	uint32_t count = s->seen.count, n = 0, i = 1;

	for (uint32_t bin = 0; bin <= (s->bins - 1) >> s->shift; bin++, n = 0) {
		for (; i < count && seen[i].bin == bin; i++)
			n++;
		page_varint(p, n);
	}
	for (i = 1; i < count; i++)
		page_varint(p, seen[i].thread);
	for (i = 1; i < count; i++) {
		bool same = i > 1 && seen[i].bin == seen[i - 1].bin &&
			    seen[i].thread == seen[i - 1].thread;

		page_varint(p, s->flame->rank[seen[i].place] -
				       (same ? s->flame->rank[seen[i - 1].place] : 0));
	}
	for (i = 1; i < count; i++)
		page_varint(p, seen[i].count);
	for (i = 1; i < count; i++)
		page_zigzag(p, (int64_t)(seen[i].ns / 1000 - seen[i].count * (interval_ns / 1000)));
}

/* Of one number of a thread's rows, what ranges are made of. at: where the number is in a row. */
static void put_sums(const struct flame_strip *s, struct page *p, const struct row *rows, size_t at)
{
	uint64_t sum = 0;

	for (uint32_t bin = 0; bin < s->bins; bin++) {
		sum += *(const uint32_t *)(const void *)((const char *)&rows[bin] + at);
		if (bin == s->bins - 1 || ((bin + 1) & ((1u << s->shift) - 1)) == 0) {
			page_varint(p, sum);
			sum = 0;
		}
	}
}

void flame_put_strip(const struct flame_strip *s, struct page *p, uint64_t interval_ns)
{
	uint32_t threads = s ? s->m->thread_count - 1 : 0;

	page_varint(p, s ? s->bins : 0);
	if (!s)
		return;
	page_varint(p, s->width);
	page_varint(p, s->shift);
	for (uint32_t thread = 0; thread < threads; thread++) {
		const struct row *rows = s->rows + (size_t)thread * s->bins;

		for (uint32_t what = 0; what < DOING_COUNT; what++)
			for (uint32_t bin = 0; bin < s->bins; bin++)
				page_varint(p, rows[bin].doing[what]);
		for (uint32_t bit = 0; bit < MODEL_STATES; bit++)
			put_sums(s, p, rows, offsetof(struct row, states[bit]));
		for (uint32_t i = 0; i < 2; i++)
			put_sums(s, p, rows, offsetof(struct row, exceptions[i]));
		for (uint32_t how = 0; how < 3; how++)
			put_sums(s, p, rows, offsetof(struct row, how[how]));
	}
	put_seen(s, p, interval_ns);
}
