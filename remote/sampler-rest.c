#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "remote/array.h"
#include "remote/clock.h"
#include "remote/sampler-parts.h"

#define REST_BYTES                                                                                 \
	(96u << 10)		 /* of a batch at most: they are still in the cache when looked at \
				  */
#define REST_GROUP   16		 /* of so many the words are read before the stacks */
#define LOOK_NS	     2500000u	 /* half of CPython's switch interval */
#define LOOK_PAYS    20000.0	 /* samples of threads that rest, in a second */
#define REST_READ_NS 1000000000u /* all stacks are read so often, whatever the turns tell */

static int by_address(const void *a, const void *b)
{
	const struct thread *const *i = a, *const *k = b;

	return ((*i)->addr > (*k)->addr) - ((*i)->addr < (*k)->addr);
}

/* The threads in the order of their words, which changes with a scan only. */
static int order_threads(struct sampler *s)
{
	struct thread **more;

	if (s->ordered_ns == s->who.scanned_ns && s->n_ordered == s->who.n_threads)
		return 0;
	more = reallocarray(s->ordered, s->who.n_threads + 1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	s->ordered = more;
	s->n_ordered = s->who.n_threads;
	s->ordered_ns = s->who.scanned_ns;
	if (s->n_ordered)
		memcpy(more, s->who.threads, s->n_ordered * sizeof(*more));
	qsort(more, s->n_ordered, sizeof(*more), by_address);
	return 0;
}

/* The GILs' holders and counts. 0 or -errno. */
static int read_turns(struct sampler *s)
{
	struct memory_range ranges[THREAD_MAX_INTERPRETERS * TURNS_RANGES];
	size_t n = 0;

	for (size_t i = 0; i < s->who.n_interps; i++)
		n += turns_ranges(&s->who.interps[i].turns, ranges + n);
	return n ? memory_gather(s->target->memory, ranges, n) : 0;
}

int sampler_look_at_turns(struct sampler *s)
{
	int r;

	if (!s->n_resting)
		return 0;
	s->looked_ns = clock_now_ns();
	r = read_turns(s);
	for (size_t i = 0; i < s->who.n_interps && r == 0; i++)
		turns_look(&s->who.interps[i].turns);
	return r;
}

/* With so many threads that looks between ticks are cheaper than to read them. */
static bool pays(const struct sampler *s)
{
	return (double)s->n_resting * 1e9 / (double)s->options.interval_ns >= LOOK_PAYS;
}

uint64_t sampler_next_look(const struct sampler *s, uint64_t now)
{
	bool any = false;

	if (!s->n_resting || s->resident || !pays(s))
		return UINT64_MAX;
	for (size_t i = 0; i < s->who.n_interps; i++)
		any |= turns_known(&s->who.interps[i].turns);
	/* Once it is not known who ran, the next tick reads all. */
	return !any ? UINT64_MAX : s->looked_ns + LOOK_NS < now ? now : s->looked_ns + LOOK_NS;
}

/* Of which interpreters it is known who can have run since the last tick's look. */
static void judge_turns(struct sampler *s, uint64_t now)
{
	for (size_t i = 0; i < s->who.n_interps; i++) {
		struct interpreter *in = &s->who.interps[i];

		in->turns_known =
			now - in->stacks_read_ns < REST_READ_NS && turns_known(&in->turns);
		if (!in->turns_known)
			in->stacks_read_ns = now;
	}
}

/* Whether a thread cannot have run since it was last seen to rest, at the last tick. One that has
 * several states may change them without a turn. */
static bool stood(const struct sampler *s, const struct thread *th)
{
	const struct interpreter *in = &s->who.interps[th->interp];

	return in->turns_known && th->proven_tick + 1 == s->tick && th->twin == th &&
	       !turns_held(&in->turns, th->addr);
}

/* The next threads to be read together, from *at on: how many, and how many bytes that is. */
static size_t next_batch(struct sampler *s, size_t *at, size_t *ret_bytes)
{
	size_t n = 0, bytes = 0;

	for (; *at < s->n_ordered && n < REST_BATCH && bytes < REST_BYTES; (*at)++) {
		struct thread *th = s->ordered[*at];

		if (!waits_for_rest(th) || th->stood)
			continue;
		bytes += walker_rest_bytes(th->walker);
		s->batch[n++] = th;
	}
	*ret_bytes = bytes;
	return n;
}

/* The ranges of a batch: how many. Words that lie near each other are read as one; what else proves
 * a thread's rest is read soon after its words. */
static size_t batch_ranges(struct sampler *s, size_t count)
{
	uint8_t *bytes = s->rest_bytes;
	size_t n = 0;

	for (size_t from = 0; from < count; from += REST_GROUP) {
		const size_t to = from + REST_GROUP < count ? from + REST_GROUP : count;
		uint8_t *group = bytes;

		for (size_t i = from; i < to; i++) {
			struct thread *th = s->batch[i];

			th->words_range = n;
			s->ranges[n++] = walker_rest_words(th->walker, bytes);
			bytes += walker_rest_bytes(th->walker);
		}
		for (size_t i = from; i < to; i++) {
			struct thread *th = s->batch[i];

			th->first_range = n;
			n += walker_rest_ranges(th->walker, group, s->ranges + n);
			group += walker_rest_bytes(th->walker);
		}
	}
	/* Last, so that what they count had happened by then. */
	for (size_t i = 0; i < s->who.n_interps; i++)
		if (s->who.interps[i].seen)
			n += state_words_ranges(&s->who.interps[i].words, s->ranges + n);
	return n;
}

static int attempt_batch(struct sampler *s, size_t count, size_t bytes)
{
	size_t need = count * WALKER_REST_RANGES + s->who.n_interps * STATE_WORD_RANGES;
	struct gathered g;
	int r;

	if (array_reserve(&s->ranges, &s->room_ranges, need, sizeof(*s->ranges)) < 0 ||
	    array_reserve(&s->rest_bytes, &s->room_rest_bytes, bytes, 1) < 0)
		return -ENOMEM;
	r = sampler_gather_many(s, s->ranges, batch_ranges(s, count), &g);
	for (size_t i = 0; i < count && r == 0; i++)
		sampler_attempt(s, s->batch[i], &g);
	return r;
}

/* Whether the words of a thread tell that it waits for the GIL. */
static bool tells_waits(const struct sampler *s)
{
	return s->target->layout.tstate.gil_requested != ABSENT && !s->target->layout.free_threaded;
}

/* By its last sample. One who waited and did not get the GIL since waits still. */
static bool waits(const struct thread *th)
{
	return th->last.state & STATE_GIL_WAIT;
}

/* Whether no more threads wait for a GIL than are known to: those who were read in this tick, and
 * those who stood. They are counted before they are read and behind it: one who waits is not
 * counted for some microseconds after each of CPython's switch intervals, and another would take
 * its place. 0 or -errno.
 */
static int judge_waits(struct sampler *s, const struct gathered *tick)
{
	int r = read_turns(s);

	if (r < 0)
		return r;
	for (size_t i = 0; i < s->who.n_interps; i++) {
		s->who.interps[i].waits_known = turns_still(&s->who.interps[i].turns);
		s->who.interps[i].waiting = 0;
	}
	for (size_t i = 0; i < s->who.n_threads; i++) {
		const struct thread *th = s->who.threads[i];

		if (waits(th) &&
		    (th->last.time_ns >= tick->time_ns || (waits_for_rest(th) && stood(s, th))))
			s->who.interps[th->interp].waiting++;
	}
	for (size_t i = 0; i < s->who.n_interps; i++) {
		struct interpreter *in = &s->who.interps[i];

		in->waits_known = in->waits_known && turns_waiting(&in->turns) <= in->waiting;
	}
	return 0;
}

/* What may have changed all the same in the words of one who stood: whether it waits for the GIL.
 * How many ranges that is. */
static size_t add_glance(struct sampler *s, const struct thread *th, size_t n)
{
	const int32_t at = s->target->layout.tstate.gil_requested;

	if (!tells_waits(s) || s->who.interps[th->interp].waits_known || waits(th))
		return 0;
	s->ranges[n] = (struct memory_range){
		.addr = th->addr + (uint64_t)at, .len = sizeof(*s->glances), .buf = &s->glances[n]};
	return 1;
}

/* Those who stood, whose stacks are what they were: a glance at each is all that is read, if that.
 */
static int attempt_stood(struct sampler *s, const struct gathered *tick)
{
	struct gathered g = *tick;
	uint64_t began_ns;
	uint32_t took_ns;
	size_t n = 0;
	int r;

	if (array_reserve(&s->ranges, &s->room_ranges, s->n_resting, sizeof(*s->ranges)) < 0 ||
	    array_reserve(&s->glances, &s->room_glances, s->n_resting, sizeof(*s->glances)) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < s->n_ordered; i++) {
		struct thread *th = s->ordered[i];

		th->stood = waits_for_rest(th) && stood(s, th);
		th->words_range = n;
		if (th->stood)
			n += add_glance(s, th, n);
		th->glanced = th->words_range != n;
	}
	r = n ? sampler_gather(s, s->ranges, n, &began_ns, &took_ns) : 0;
	if (r < 0)
		return r;
	/* What is known of their stacks is known of the instant of the tick's gather. */
	g.took_ns = (uint32_t)((n ? began_ns + took_ns : clock_now_ns()) - g.time_ns);
	for (size_t i = 0; i < s->n_ordered; i++) {
		struct thread *th = s->ordered[i];
		const size_t at = th->words_range;

		th->stood = th->stood && (!th->glanced || !s->ranges[at].failed);
		if (th->stood)
			sampler_repeat(s, th, &g,
				       th->glanced	? state_of_request(s->glances[at])
				       : tells_waits(s) ? state_of_request(waits(th))
							: 0);
	}
	return 0;
}

int sampler_attempt_resting(struct sampler *s, const struct gathered *tick)
{
	size_t at = 0;
	int r;

	if (!s->n_resting)
		return 0;
	if (order_threads(s) < 0)
		return -ENOMEM;
	judge_turns(s, tick->time_ns);
	r = tells_waits(s) ? judge_waits(s, tick) : 0;
	if (r == 0)
		r = attempt_stood(s, tick);
	while (at < s->n_ordered && r == 0) {
		size_t bytes, n = next_batch(s, &at, &bytes);

		if (n)
			r = attempt_batch(s, n, bytes);
	}
	for (size_t i = 0; i < s->who.n_interps; i++)
		turns_begin(&s->who.interps[i].turns);
	return r;
}
