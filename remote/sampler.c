#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "remote/array.h"
#include "remote/clock.h"
#include "remote/sampler-parts.h"

#define RING_SIZE 65536 /* samples: a second at full rate with 8 threads at 8 kHz; 2 MB */
/* Then the ids begin anew: what a program never uses again must not stay for ever. Not before they
 * are twice as large as they were when all that it uses all the time was among them: at most as
 * much is told again as was new. */
#define TABLES_BYTES	 (4u << 20)
#define TABLES_NS	 10000000000u /* so long that takes */
#define MAX_TABLES_BYTES (256u << 20)
#define RESIDE_TICKS	 2	     /* it goes when it held nobody for so many ... */
#define BUDGET_SPAN_NS	 1000000000u /* over which the budget of stops is balanced */
#define STRIDE_TICKS	 256	     /* so many are looked at before the stride is another: */
#define STRIDE_LATE	 10	     /* longer, where more than a tenth was late */
#define STRIDE_STAY	 15 /* it is tried with a shorter one after so many times, or sooner */
#define STRIDE_MAX	 8
#define OPCODES_NS                                                                                 \
	50000000u /* so old an instruction of a frame that stays may be: then it may have          \
		   * been specialised */
#define SPIN_NS                                                                                    \
	45000u /* deadlines nearer than this are waited for awake: a sleep ends up to 25 us late   \
		*/

/* Sleeps to a deadline, or waits awake for one that is nearer than a sleep takes. */
void sampler_wait(uint64_t deadline, uint64_t interval)
{
	struct timespec t = {(time_t)(deadline / 1000000000u), (long)(deadline % 1000000000u)};

	if (interval > SPIN_NS) {
		while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
			;
		return;
	}
	while (clock_now_ns() < deadline)
		__builtin_ia32_pause();
}
/* ---- the ring ---- */

bool sampler_push(struct sampler *s, const struct sample *sample)
{
	uint64_t head = atomic_load_explicit(&s->head, memory_order_relaxed);

	if (head - atomic_load_explicit(&s->tail, memory_order_acquire) == RING_SIZE)
		return false;
	s->ring[head % RING_SIZE] = *sample;
	atomic_store_explicit(&s->head, head + 1, memory_order_release);
	return true;
}

size_t sampler_pop(struct sampler *s, struct sample *ret, size_t max)
{
	uint64_t tail = atomic_load_explicit(&s->tail, memory_order_relaxed);
	uint64_t head = atomic_load_explicit(&s->head, memory_order_acquire);
	size_t n = 0;

	while (n < max && tail != head) {
		const struct sample *from = &s->ring[tail % RING_SIZE];

		/* New tables end a batch, so that the old ones serve all that came before, and
		 * begin the next. */
		if (from->kind == SAMPLE_TABLES) {
			if (n)
				break;
			tables_free(s->read_tables);
			s->read_tables = atomic_load_explicit(&s->handed, memory_order_relaxed);
			atomic_store_explicit(&s->handed, NULL, memory_order_release);
			ret[n++] = *from;
			tail++;
			break;
		}
		ret[n++] = *from;
		tail++;
	}
	atomic_store_explicit(&s->tail, tail, memory_order_release);
	return n;
}

const struct tables *sampler_tables(const struct sampler *s)
{
	return s->read_tables;
}

const struct sampler_counts *sampler_counts(const struct sampler *s)
{
	return &s->counts;
}

void sampler_lose(struct sampler *s, enum lost_reason reason, uint64_t n, uint64_t time_ns)
{
	count(&s->counts.lost[reason], n);
	s->gap[reason] += n;
	s->gap_ns = time_ns;
}

static void tell_gaps(struct sampler *s)
{
	for (int r = 0; r < LOST_REASON_COUNT; r++) {
		struct sample g = {.time_ns = s->gap_ns, .how = (uint8_t)r, .kind = SAMPLE_GAP};

		if (!s->gap[r])
			continue;
		g.stack = s->gap[r] > UINT32_MAX ? UINT32_MAX : (uint32_t)s->gap[r];
		if (!sampler_push(s, &g))
			return;
		s->gap[r] -= g.stack;
	}
}

/* ---- a tick ---- */

static void fill_budget(struct sampler *s, uint64_t now)
{
	double most = s->options.stop_budget * BUDGET_SPAN_NS;

	s->budget_ns += (double)(now - s->budget_filled_ns) * s->options.stop_budget;
	if (s->budget_ns > most)
		s->budget_ns = most;
	s->budget_filled_ns = now;
}

/* The stamp that code objects are checked against. From 3.14 the sum of the interpreters' counts of
 * freed code objects. Before that nothing tells that one was freed: while code objects are seen to
 * be replaced, and at first, until it would have been seen, each is checked at every gather that it
 * is in; else by steps of time. */
#define CODE_CHECK_NS 10000000u
#define CODE_FIRST_NS 200000000u
#define CODE_CHURN_NS 1000000000u
static uint64_t time_stamp(struct sampler *s, uint64_t now)
{
	uint64_t replaced = code_cache_replaced(s->walk.codes);

	if (s->churn_until_ns == 0)
		s->churn_until_ns = now + CODE_FIRST_NS;
	if (replaced != s->codes_replaced) {
		s->codes_replaced = replaced;
		s->churn_until_ns = now + CODE_CHURN_NS;
	}
	return now < s->churn_until_ns ? s->walk.gathers | 1ull << 63 : now / CODE_CHECK_NS;
}

uint64_t sampler_stamp(struct sampler *s, uint64_t now)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < s->who.n_interps; i++) {
		const struct interpreter *in = &s->who.interps[i];
		uint64_t generation;

		if (!in->seen)
			continue;
		if (!state_words_generation(&in->words, &generation))
			return time_stamp(s, now);
		sum += generation;
	}
	return sum;
}

/* Whether a tick leaves room for asking the kernel of each thread. */
static bool may_ask_kernel(const struct sampler *s)
{
	const struct sampler_options *o = &s->options;

	return o->cpu_time || o->max_ticks == 1 ||
	       (o->interval_ns &&
		(double)s->who.n_threads * 1e9 / (double)o->interval_ns <= SAMPLER_CPU_TIME_RATE);
}

/* Frames that stay are not looked at again, but their instruction may have been specialised. */
static void refresh_opcodes(struct sampler *s, uint64_t now)
{
	if (!s->options.opcodes || now - s->opcodes_ns < OPCODES_NS)
		return;
	s->opcodes_ns = now;
	for (size_t i = 0; i < s->who.n_threads; i++) {
		walker_forget(s->who.threads[i]->walker);
		s->who.threads[i]->rests = false;
	}
}

/* What is read of each thread in the tick's gather, if anything. How many ranges that is at most.
 */
static size_t plan_threads(struct sampler *s, uint64_t now)
{
	size_t need = 0, bytes = 0;

	s->n_resting = 0;
	for (size_t i = 0; i < s->who.n_threads; i++) {
		struct thread *th = s->who.threads[i];

		/* A thread that is to be sampled by a stop is not read twice. */
		th->gathered = th->planned && !((s->options.blocking || th->stop_until > s->tick) &&
						sampler_may_hold(s, th) &&
						(s->options.hand || sampler_may_trace(s, now)));
		th->rested = th->gathered && th->rests;
		th->stood = false;
		if (waits_for_rest(th)) {
			s->n_resting++;
			continue;
		}
		need += walker_range_count(th->walker) + (th->watch ? TASK_RANGES : 0);
		bytes += th->rested ? walker_rest_bytes(th->walker) : 0;
	}
	if (array_reserve(&s->rest_bytes, &s->room_rest_bytes, bytes, 1) < 0)
		return SIZE_MAX;
	return need;
}

/* Ranges of a thread by itself, from n on: how many there are then. What tells of its task is read
 * beside its words, before it and behind it. *bytes: where to, of one that rests. */
static size_t add_thread(struct sampler *s, struct thread *th, size_t n, uint8_t **bytes)
{
	const struct memory_range *beside = NULL;
	size_t besides = th->watch ? task_watch_beside(th->watch, &beside) : 0;

	if (th->watch)
		n += task_watch_before(th->watch, s->ranges + n);
	walker_set_beside(th->walker, beside, besides);
	if (th->rested) {
		th->words_range = n;
		s->ranges[n++] = walker_rest_words(th->walker, *bytes);
		for (size_t i = 0; i < besides; i++)
			s->ranges[n++] = beside[i];
		th->first_range = n;
		n += walker_rest_ranges(th->walker, *bytes, s->ranges + n);
		*bytes += walker_rest_bytes(th->walker);
	} else {
		th->first_range = n;
		n += walker_ranges(th->walker, s->ranges + n, true);
	}
	if (th->watch)
		n += task_watch_behind(th->watch, s->ranges + n);
	return n;
}

int sampler_gather_many(struct sampler *s, struct memory_range *ranges, size_t n,
			struct gathered *ret)
{
	struct gathered g = {.number = ++s->walk.gathers};
	int r = 0;

	if (n)
		r = sampler_gather(s, ranges, n, &g.time_ns, &g.took_ns);
	else
		g.time_ns = clock_now_ns();
	if (r < 0)
		return r;
	g.end_ns = s->walk.gathered_ns;
	g.stamp = sampler_stamp(s, g.time_ns);
	*ret = g;
	return 0;
}

/* 0, or -errno when the target as a whole cannot be read. */
static int tick(struct sampler *s, uint64_t now)
{
	size_t n = 0, need;
	uint64_t calls, bytes;
	struct gathered g;
	uint8_t *rest_bytes;
	int r;

	r = roster_refresh(&s->who, now);
	if (r < 0)
		return r;
	s->tick++;
	s->ask_kernel = may_ask_kernel(s);
	refresh_opcodes(s, now);
	r = sampler_follow_tasks(s, now);
	if (r < 0)
		return r;
	fill_budget(s, now);
	stop_reap(&s->stops);
	need = plan_threads(s, now);
	if (need == SIZE_MAX ||
	    array_reserve(&s->ranges, &s->room_ranges,
			  need + s->who.n_interps * STATE_WORD_RANGES + 1, sizeof(*s->ranges)) < 0)
		return -ENOMEM;
	r = sampler_look_at_turns(s);
	if (r < 0)
		return r;
	rest_bytes = s->rest_bytes;
	for (size_t i = 0; i < s->who.n_threads; i++) {
		struct thread *th = s->who.threads[i];

		if (th->gathered && !waits_for_rest(th))
			n = add_thread(s, th, n, &rest_bytes);
	}
	/* Last, so that what they count had happened by then. Where all threads are read by stops,
	 * each with its own interpreter's words, who enters another is seen by these only. */
	for (size_t i = 0; (n || s->who.n_interps > 1) && i < s->who.n_interps; i++)
		if (s->who.interps[i].seen)
			n += state_words_ranges(&s->who.interps[i].words, s->ranges + n);
	r = sampler_gather_many(s, s->ranges, n, &g);
	if (r < 0)
		return r;
	for (size_t i = 0; i < s->who.n_threads; i++)
		if (s->who.threads[i]->gathered && s->who.threads[i]->watch)
			task_watch_confirm(s->who.threads[i]->watch, g.end_ns, false);
	for (size_t i = 0; i < s->who.n_threads; i++)
		if (!waits_for_rest(s->who.threads[i]))
			sampler_attempt(s, s->who.threads[i], &g);
	r = sampler_attempt_resting(s, &g);
	if (r == 0)
		r = sampler_look_at_waits(s, g.time_ns);
	if (r < 0)
		return r;
	tell_gaps(s);
	memory_counts(s->target->memory, &calls, &bytes);
	set(&s->counts.calls, calls);
	set(&s->counts.bytes, bytes);
	set(&s->counts.threads, s->who.n_threads);
	set(&s->counts.threads_total, s->who.total);
	count(&s->counts.ticks, 1);
	count(&s->counts.due, s->who.n_threads);
	return 0;
}

static bool are_large(struct sampler *s, uint64_t now)
{
	const size_t bytes = tables_bytes(s->walk.tables), most = s->options.tables_bytes;

	if (most || bytes > MAX_TABLES_BYTES)
		return bytes > (most ? most : MAX_TABLES_BYTES);
	if (now - s->tables_ns < TABLES_NS)
		s->tables_used = bytes;
	return bytes > TABLES_BYTES && bytes > 2 * s->tables_used;
}

/* New tables once the old ones are too large: all ids begin anew. */
static int renew_tables(struct sampler *s, uint64_t now)
{
	struct sample mark = {.kind = SAMPLE_TABLES};
	struct tables *t;
	int r;

	if (!are_large(s, now) || atomic_load_explicit(&s->handed, memory_order_acquire))
		return 0;
	if (s->waits)
		waits_flush(s->waits);
	r = tables_new(&t);
	if (r < 0)
		return r;
	atomic_store_explicit(&s->handed, t, memory_order_release);
	if (!sampler_push(s, &mark)) {
		atomic_store_explicit(&s->handed, NULL, memory_order_relaxed);
		tables_free(t);
		return 0;
	}
	s->walk.tables = t;
	s->tables_ns = now;
	s->walk.moving_frame = s->walk.truncated_frame = 0;
	s->walk.native_frame = s->walk.gc_frame = 0;
	code_cache_forget(s->walk.codes, t);
	if (s->watcher)
		task_watcher_forget(s->watcher, t);
	if (s->waits)
		waits_forget(s->waits, t);
	roster_restart(&s->who, t);
	return 0;
}

/* ---- the loop ---- */

/* Whether the runtime is still what it was when the target was opened. */
static bool runtime_is_there(const struct sampler *s)
{
	struct interpreter_info one;

	return interpreter_list(s->target, &one, 1) >= 0;
}

static enum sampler_end end_of(struct sampler *s, int error)
{
	switch (error) {
	case -ESRCH:
		return SAMPLER_EXITED;
	case -ENOMEM:
		return SAMPLER_MEMORY;
	case -EPERM:
		return SAMPLER_REFUSED;
	default:
		return runtime_is_there(s) ? SAMPLER_REFUSED : SAMPLER_EXECED;
	}
}

struct loop {
	struct sampler *s;
	const _Atomic bool *stop;
	uint64_t deadline, now;
	uint64_t ends;	 /* no deadline is due from here on; UINT64_MAX for ever */
	uint64_t cpu_ns; /* of the hand, at its last tick of this stay; 0 there was none */
	bool over;
	enum sampler_end end;
};

static void end_loop(struct loop *l, enum sampler_end end)
{
	l->end = end;
	l->over = true;
}

static void count_missed(struct sampler *s, uint64_t n)
{
	count(&s->counts.missed_ticks, n);
	count(&s->counts.missed, n * s->who.n_threads);
	count(&s->counts.due, n * s->who.n_threads);
}

/* The deadlines from one on that are before a time. */
static uint64_t deadlines_before(const struct loop *l, uint64_t first, uint64_t time)
{
	return time > first ? (time - first - 1) / l->s->options.interval_ns + 1 : 0;
}

/* Where ticks of the resident hand are often too long for the interval, all deadlines but every
 * second, third ... are left out: what comes after a long tick would be missed otherwise, and so
 * the stacks that take long to read be told too seldom. */
static void adapt_stride(struct sampler *s, bool late)
{
	s->stride_late += late;
	if (++s->stride_ticks < STRIDE_TICKS)
		return;
	if (s->stride_late * STRIDE_LATE > STRIDE_TICKS && s->stride < STRIDE_MAX) {
		s->stride++;
		s->stride_stay =
			s->stride_stay < STRIDE_STAY ? 2 * s->stride_stay + 1 : STRIDE_STAY;
		s->stride_left = s->stride_stay;
	} else if (s->stride > 1 && s->stride_left-- == 0) {
		s->stride--;
		s->stride_left = s->stride_stay;
	}
	s->stride_ticks = s->stride_late = 0;
}

/* The next deadline that is not over for more than an interval. A resident hand leaves the CPU to
 * the target for as long as its last tick kept it, at least. */
static void next_deadline(struct loop *l, uint64_t began)
{
	struct sampler *s = l->s;
	const uint64_t interval = s->options.interval_ns, first = l->deadline + interval;
	const uint64_t over = s->resident ? l->now + (l->now - began) : l->now - interval;
	uint64_t late;

	l->deadline = first + (s->resident ? s->stride - 1 : 0) * interval;
	late = deadlines_before(l, l->deadline, over + 1);
	l->deadline += late * interval;
	if (s->resident)
		adapt_stride(s, late);
	if (l->deadline > first)
		count_missed(s, deadlines_before(l, first,
						 l->deadline < l->ends ? l->deadline : l->ends));
}

/* What a tick of the resident hand cost who runs there: the look, and twice what the hand used its
 * CPU for besides, since as much as it takes to set its timer and to leave, the timer's interrupt
 * takes before. (In a virtual machine that is ten microseconds and more.) */
static uint64_t resident_cost(struct loop *l, uint64_t look_ns)
{
	const uint64_t before = l->cpu_ns;
	uint64_t beside = 0;

	l->cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	if (before && l->cpu_ns > before + look_ns)
		beside = l->cpu_ns - before - look_ns;
	return look_ns + (beside ? 2 * beside : hand_entry_ns());
}

/* A wait, and a tick when it is due. */
static void step(struct loop *l)
{
	struct sampler *s = l->s;
	const uint64_t interval = s->options.interval_ns;
	uint64_t began;
	int r;

	if (interval && l->now < l->deadline) {
		/* A long interval must not keep a stop waiting. */
		uint64_t nap = l->now + 50000000u, look = sampler_next_look(s, l->now);

		nap = look < nap ? look : nap;
		sampler_wait(l->deadline < nap ? l->deadline : nap, interval);
		l->now = clock_now_ns();
		/* What cannot be read now cannot be at the deadline. */
		if (l->now >= look && l->now < l->deadline)
			sampler_look_at_turns(s);
		set(&s->counts.now_ns, l->now);
	}
	if (l->now >= l->ends) {
		/* One that was slept through to the end, as all that were slept through before. */
		if (interval && l->deadline < l->ends)
			count_missed(s, deadlines_before(l, l->deadline, l->ends));
		end_loop(l, SAMPLER_DURATION);
		return;
	}
	if (interval && l->now < l->deadline)
		return;
	began = l->now;
	r = tick(s, began);
	if (r == 0)
		r = renew_tables(s, began);
	l->now = clock_now_ns();
	set(&s->counts.now_ns, l->now);
	if (r < 0) {
		end_loop(l, end_of(s, r));
	} else if (s->options.max_ticks && s->tick >= s->options.max_ticks) {
		end_loop(l, SAMPLER_DURATION);
	} else if (interval) {
		if (s->resident)
			sampler_count_stop(s, resident_cost(l, l->now - began));
		next_deadline(l, began);
	}
}

bool sampler_can_reside(const struct sampler *s)
{
	/* Only the thread that seized another can let it go; and a look at tasks that wait is
	 * longer than what it needs a thread to be held for. */
	return s->options.hand && s->options.interval_ns > SPIN_NS &&
	       hand_is_prompt(s->options.hand) && s->tick >= s->away_until && !s->stops.n_pending &&
	       !s->waits;
}

/* Whether ticks are to be made by the hand, where it last held a thread: while it would be sent
 * there at each of them, and has something of the budget to stay for. */
static bool may_reside(const struct sampler *s)
{
	if (!sampler_can_reside(s) || s->held_cpu < 0)
		return false;
	if (!s->options.blocking && s->options.stop_budget < 1 &&
	    s->budget_ns < (s->resident ? 0 : sampler_span(s)))
		return false;
	return s->options.blocking || s->held_tick + RESIDE_TICKS > s->tick;
}

static void reside(void *arg)
{
	struct loop *l = arg;

	l->s->resident = true;
	l->cpu_ns = 0;
	while (!l->over && may_reside(l->s) && !atomic_load_explicit(l->stop, memory_order_relaxed))
		step(l);
	l->s->resident = false;
}

enum sampler_end sampler_run(struct sampler *s, const _Atomic bool *stop)
{
	const uint64_t start = clock_now_ns();
	struct loop l = {.s = s,
			 .stop = stop,
			 .deadline = start,
			 .now = start,
			 .ends = s->options.duration_ns ? start + s->options.duration_ns
							: UINT64_MAX,
			 .end = SAMPLER_STOPPED};
	uint64_t cost;

	s->budget_filled_ns = s->tables_ns = start;
	s->budget_ns = s->options.stop_budget * BUDGET_SPAN_NS / 8;
	set(&s->counts.start_ns, start);
	while (!l.over && !atomic_load_explicit(stop, memory_order_relaxed))
		if (!may_reside(s) || !hand_work(s->options.hand, s->held_cpu, reside, &l, &cost))
			step(&l);
	if (s->options.tasks && s->options.max_ticks && l.end == SAMPLER_DURATION) {
		int r = sampler_take_tasks(s);

		if (r < 0 && r != -EAGAIN)
			l.end = end_of(s, r);
	}
	set(&s->counts.now_ns, clock_now_ns());
	if (s->waits)
		waits_flush(s->waits);
	tell_gaps(s);
	stop_done(&s->stops, BUDGET_SPAN_NS);
	return l.end;
}

int sampler_new(struct sampler **ret, struct target *target, const struct sampler_options *options)
{
	struct sampler *s = aligned_alloc(64, (sizeof(*s) + 63) & ~(size_t)63);
	int r;

	if (!s)
		return -ENOMEM;
	memset(s, 0, sizeof(*s));
	s->target = target;
	s->options = *options;
	s->held_cpu = -1;
	s->stride = 1;
	s->walk.target = target;
	s->walk.opcodes = options->opcodes;
	r = tables_new(&s->walk.tables);
	if (r == 0)
		r = code_cache_new(&s->walk.codes, target->memory, &target->layout, s->walk.tables);
	s->read_tables = s->walk.tables;
	s->ring = malloc(RING_SIZE * sizeof(*s->ring));
	if (r == 0)
		r = roster_init(&s->who, target, s->walk.tables, options->all_threads);
	s->who.patient = options->max_ticks == 0;
	if (r == 0 && !s->ring)
		r = -ENOMEM;
	if (target->layout.tstate.size > THREAD_MAX_STATE ||
	    target->layout.frame.size > FRAME_MAX_HEAD)
		r = -ENOTSUP;
	if (r < 0) {
		sampler_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

void sampler_free(struct sampler *s)
{
	struct tables *handed;

	if (!s)
		return;
	roster_done(&s->who);
	task_watcher_free(s->watcher);
	waits_free(s->waits);
	handed = atomic_load(&s->handed);
	tables_free(handed);
	tables_free(s->read_tables);
	code_cache_free(s->walk.codes);
	free(s->ordered);
	free(s->rest_bytes);
	free(s->glances);
	free(s->ranges);
	free(s->own);
	free(s->ring);
	free(s);
}
