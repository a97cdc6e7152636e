#include "remote/sampler.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "remote/hand.h"
#include "remote/kernel.h"
#include "remote/roster.h"
#include "remote/stop.h"
#include "remote/tasks-sample.h"
#include "remote/tasks-take.h"
#include "remote/tasks-waits.h"

#define RING_SIZE	 65536 /* samples: a second at full rate with 8 threads at 8 kHz; 2 MB */
#define MAX_TABLES_BYTES (256u << 20) /* then the ids begin anew */
#define STOP_TIMEOUT_NS	 50000000u /* a runnable thread gets a CPU sooner; else it sleeps by now */
#define STOP_TRIES	 3
#define STOP_AGAIN_NS	 20000u /* between tries, so that the thread gets on */
#define REST_GROUP	 16
#define GATHER_TRIES	 3
#define GATHER_NS	 20000u /* a gather takes no longer, and for each range: */
#define GATHER_RANGE_NS	 2000u
#define HAND_ASLEEP_NS	 200000u  /* with deadlines nearer than this the hand is waited for awake */
#define RESIDE_NS	 200000u  /* and with nearer ones than this the hand makes no ticks */
#define RESIDE_TICKS	 2	  /* it goes when it held nobody for so many ... */
#define RESIDE_SPAN_NS	 5000000u /* ... and comes with what the budget gives in this time */
#define AWAY_TICKS	 256	  /* it stays away when it could not hold a thread */
#define CPU_STALE_NS	 4000000u /* a thread may be on another CPU by now */
#define REFUSED_RETRY_NS 1000000000u /* a debugger may have let go */
#define BUDGET_SPAN_NS	 1000000000u /* over which the budget of stops is balanced */
#define WAIT_GAP_NS	 100000000u  /* or ten intervals: what is further back was not seen */
#define FAIL_SCALE	 65536u
#define FAIL_SHIFT	 6		   /* a failure weighs 1/64 */
#define FAIL_LIMIT	 (FAIL_SCALE / 33) /* 3 %: more, and the thread is sampled by stops ... */
#define FAIL_TICKS	 256		   /* ... for so many ticks */
#define OPCODES_NS                                                                                 \
	50000000u /* so old an instruction of a frame that stays may be: then it may have          \
		   * been specialised */
#define SPIN_NS                                                                                    \
	45000u /* deadlines nearer than this are waited for awake: a sleep ends up to 25 us late   \
		*/

struct sampler {
	struct target *target;
	struct sampler_options options;
	struct sampler_counts counts;
	struct walk_context walk;
	struct stops stops;

	struct task_watcher *watcher; /* NULL: of tasks nothing is asked, or not with each sample */
	struct waits *waits;	      /* NULL: those that wait are not asked for */
	uint64_t waits_ns;	      /* when they were last looked at */

	struct roster who;
	struct thread **ordered; /* those of who, by address */
	size_t n_ordered;
	uint64_t ordered_ns; /* the scan that it is of */
	struct memory_range *ranges;
	size_t room_ranges;
	struct memory_range *own; /* of a look at one thread */
	size_t room_own;
	struct state_words words_of_tick; /* kept during an attempt that reads newer ones */

	uint64_t tick;
	bool resident;	     /* this tick is made by the hand, on held_cpu */
	int held_cpu;	     /* where it last held a thread; -1: nowhere */
	uint64_t held_tick;  /* when */
	uint64_t away_until; /* tick: it could not */
	double budget_ns;    /* what stops may still take */
	uint64_t budget_filled_ns, refused_ns;
	uint64_t codes_replaced, churn_ns; /* churn_ns: when one was last seen to be */
	struct handling_known handling;
	uint64_t opcodes_ns;		 /* when all frames' instructions were read anew */
	bool ask_kernel;		 /* at this tick */
	uint64_t gap[LOST_REASON_COUNT]; /* counted, not yet told */
	uint64_t gap_ns;

	struct tables *read_tables; /* the other thread's */
	_Atomic(struct tables *) handed;

	_Alignas(64) _Atomic uint64_t head; /* written by us */
	_Alignas(64) _Atomic uint64_t tail; /* written by the other thread */
	struct sample *ring;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Sleeps to a deadline, or waits awake for one that is nearer than a sleep takes. */
static void wait_until(uint64_t deadline, uint64_t interval)
{
	struct timespec t = {(time_t)(deadline / 1000000000u), (long)(deadline % 1000000000u)};

	if (interval > SPIN_NS) {
		while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
			;
		return;
	}
	while (now_ns() < deadline)
		__builtin_ia32_pause();
}

/* The counts have one writer, so a plain load and store is enough. */
static void count(_Atomic uint64_t *c, uint64_t n)
{
	atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

static void set(_Atomic uint64_t *c, uint64_t n)
{
	atomic_store_explicit(c, n, memory_order_relaxed);
}

/* ---- the ring ---- */

static bool push(struct sampler *s, const struct sample *sample)
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

static void lose(struct sampler *s, enum lost_reason reason, uint64_t n, uint64_t time_ns)
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
		if (!push(s, &g))
			return;
		s->gap[r] -= g.stack;
	}
}

/* ---- one thread ---- */

/* Whether the budget has something left to hold the thread with. */
static bool may_hold(const struct sampler *s, const struct thread *th)
{
	if (!th->tid)
		return false;
	return s->options.blocking || s->options.stop_budget >= 1 ||
	       (s->options.stop_budget > 0 && s->budget_ns > 0);
}

static bool may_trace(const struct sampler *s, uint64_t now)
{
	return !s->refused_ns || now - s->refused_ns >= REFUSED_RETRY_NS;
}

static void fill_budget(struct sampler *s, uint64_t now)
{
	double most = s->options.stop_budget * BUDGET_SPAN_NS;

	s->budget_ns += (double)(now - s->budget_filled_ns) * s->options.stop_budget;
	if (s->budget_ns > most)
		s->budget_ns = most;
	s->budget_filled_ns = now;
}

/* Reads a /proc file of the thread through a descriptor that is kept. Length or -errno. */
static ssize_t read_task(struct sampler *s, int *fd, enum proc_file file, uint32_t tid, char *buf,
			 size_t size)
{
	const struct proc_opener *o = s->target->opener;

	if (*fd == -1)
		*fd = o->open(o->arg, file, tid, 0);
	return *fd < 0 ? *fd : proc_read_text(*fd, buf, size);
}

/* Whether the thread can change its stack. The kernel shows the number of the system call of one
 * that sleeps in it, "running", or -1 for one that waits without a call: for a page, or to go on
 * after a stop of ours. Unknown counts as running. */
static bool is_running(struct sampler *s, struct thread *th)
{
	char text[512], state;
	uint64_t start;

	if (!th->tid)
		return true;
	if (read_task(s, &th->syscall_fd, PROC_TASK_SYSCALL, th->tid, text, sizeof(text)) > 0)
		return text[0] < '0' || text[0] > '9';
	if (read_task(s, &th->stat_fd, PROC_TASK_STAT, th->tid, text, sizeof(text)) > 0 &&
	    proc_parse_stat(text, &state, &start) == 0)
		return state == 'R';
	return true;
}

static int reserve(struct memory_range **ranges, size_t *room, size_t n)
{
	struct memory_range *more;

	if (n <= *room)
		return 0;
	more = realloc(*ranges, n * 2 * sizeof(*more));
	if (!more)
		return -ENOMEM;
	*ranges = more;
	*room = n * 2;
	return 0;
}

struct attempt {
	struct sample sample;
	enum walk_result result;
	bool repeat;
	bool looked;  /* on its own: the interpreter's words are newer than the tick's */
	bool by_hand; /* what is read is read from the CPU that the thread runs on */
	bool asked;   /* the kernel */
	bool run_known;
	uint64_t run_ns; /* CPU time of the thread, where known */
	bool held;	 /* the thread could not move while it was read */
	bool plain;	 /* the stack is proven, but not which task runs */
	bool chased;	 /* whether an exception is handled is known, in handling */
	uint16_t handling;
};

static bool failed(const struct attempt *a)
{
	return a->result == WALK_TORN || a->result == WALK_MISS;
}

/* A gather. One that took far too long was interrupted, and much can have happened between its
 * copies, the same thing twice among it; when we lose the CPU has nothing to do with what the
 * target does, so it is made again. */
static int gather(struct sampler *s, struct memory_range *ranges, size_t n, uint64_t *ret_time_ns,
		  uint32_t *ret_gather_ns)
{
	uint64_t took = 0;
	int r = 0;

	for (int i = 0; i < GATHER_TRIES; i++) {
		*ret_time_ns = now_ns();
		r = memory_gather(s->target->memory, ranges, n);
		s->walk.gathered_ns = now_ns();
		took = s->walk.gathered_ns - *ret_time_ns;
		if (r < 0 || took < GATHER_NS + n * GATHER_RANGE_NS)
			break;
	}
	*ret_gather_ns = (uint32_t)took;
	return r;
}

static void count_stop(struct sampler *s, uint64_t cost_ns)
{
	s->budget_ns -= (double)cost_ns;
	count(&s->counts.stops, 1);
	count(&s->counts.stop_ns, cost_ns);
}

/* Where the thread runs, by the kernel: asked now and then, and when it was seen not to be there.
 */
static int cpu_of(struct sampler *s, struct thread *th, uint64_t now)
{
	char text[512];

	if (th->cpu >= 0 && now - th->cpu_ns < CPU_STALE_NS)
		return th->cpu;
	th->cpu_ns = now;
	th->cpu = -1;
	if (read_task(s, &th->stat_fd, PROC_TASK_STAT, th->tid, text, sizeof(text)) > 0)
		th->cpu = proc_parse_stat_cpu(text);
	return th->cpu;
}

/* The chain of exceptions that are handled, once an attempt: while the thread stands still if it is
 * held. */
static void chase_exceptions(struct sampler *s, struct thread *th, struct attempt *a,
			     uint64_t generator, bool still)
{
	if (a->chased)
		return;
	a->chased = true;
	a->handling =
		state_handling(&th->handling, &s->handling, &s->target->layout, s->target->memory,
			       walker_words(th->walker), th->addr, generator, still);
}

/* What the hand does, or we do ourselves: no more of it than must be done while the thread is held.
 */
struct reading {
	struct sampler *s;
	struct thread *th;
	struct attempt *a;
	size_t n; /* ranges of a gather, from TASK_WATCH_RANGES on; 0: plans */
	int r;
};

/* What tells of its task goes before and behind what is read of the thread. */
static int gather_own(struct reading *g)
{
	struct sampler *s = g->s;
	struct task_watch *watch = g->th->watch;
	struct memory_range *ranges = s->own + TASK_WATCH_RANGES;
	size_t n = 0;

	if (watch) {
		task_watch_find(watch, s->watcher, g->a->held);
		n = task_watch_range_count(watch);
		task_watch_ranges(watch, ranges - n, ranges + g->n);
	}
	return gather(s, ranges - n, g->n + 2 * n, &g->a->sample.time_ns, &g->a->sample.gather_ns);
}

static void read_it(void *arg)
{
	struct reading *g = arg;

	if (!g->n) {
		g->a->result = walker_plan(g->th->walker, g->s->target->memory);
		return;
	}
	g->r = gather_own(g);
	g->a->chased = false;
	if (g->r >= 0 && g->a->by_hand)
		chase_exceptions(g->s, g->th, g->a, 0, false);
}

static void read_there(struct reading *g)
{
	struct sampler *s = g->s;
	uint64_t cost;

	if (!g->a->by_hand) {
		read_it(g);
	} else if (hand_work(s->options.hand, cpu_of(s, g->th, now_ns()), read_it, g,
			     s->options.interval_ns >= HAND_ASLEEP_NS, &cost)) {
		if (!s->resident)
			count_stop(s, cost);
	} else {
		g->a->by_hand = false;
		read_it(g);
	}
}

static uint64_t stamp_now(struct sampler *s, uint64_t now);

/* After a walk that held: which task it is of. */
static void judge_task(struct sampler *s, struct thread *th, struct attempt *a)
{
	a->plain = false;
	if (!th->watch || a->result != WALK_OK)
		return;
	a->result = task_watch_judge(th->watch, th->walker, &s->walk, a->held, &a->sample.task,
				     &a->sample.below);
	a->plain = a->result != WALK_OK;
}

/* One gathered read of th alone, and the walk. The interpreter's words come last, so that what they
 * count had happened by then. */
static void look(struct sampler *s, struct thread *th, bool twice, struct attempt *a)
{
	struct state_words *words = &s->who.interps[th->interp].words;
	struct reading g = {s, th, a, 0, 0};
	struct memory_range *ranges;

	if (!a->looked)
		s->words_of_tick = *words;
	a->looked = true;
	a->repeat = false;
	a->plain = false;
	if (reserve(&s->own, &s->room_own,
		    walker_range_count(th->walker) + STATE_WORD_RANGES + 2 * TASK_WATCH_RANGES) <
	    0) {
		a->result = WALK_MEMORY;
		return;
	}
	ranges = s->own + TASK_WATCH_RANGES;
	g.n = walker_ranges(th->walker, ranges, twice);
	g.n += state_words_ranges(words, ranges + g.n);
	s->walk.gather = ++s->walk.gathers;
	read_there(&g);
	if (g.r < 0) {
		a->result = WALK_UNREADABLE;
		return;
	}
	s->walk.stamp = stamp_now(s, a->sample.time_ns);
	a->result = walker_walk(th->walker, &s->walk, ranges, &a->sample.stack, &a->repeat);
	judge_task(s, th, a);
}

/* A thread whose frames are not where they were expected: finds out where they are, then proves it
 * by a gathered read; of both copies when it may move. */
static void look_anew(struct sampler *s, struct thread *th, bool twice, struct attempt *a)
{
	struct reading plan = {s, th, a, 0, 0};

	read_there(&plan);
	if (a->result != WALK_OK)
		return;
	th->planned = true;
	look(s, th, twice, a);
	/* Code objects, and a task, that were not known before are now. */
	if (a->result == WALK_MISS)
		look(s, th, twice, a);
}

/* From the CPU that it runs on. Both copies are made: it may have been moved to another. */
static void look_by_hand(struct sampler *s, struct thread *th, struct attempt *a)
{
	a->by_hand = a->held = true;
	a->result = WALK_MISS;
	if (th->planned)
		look(s, th, true, a);
	if (a->result == WALK_MISS)
		look_anew(s, th, true, a);
	if (failed(a)) {
		th->cpu = -1;
	} else if (a->by_hand) {
		a->sample.how = HOW_STOP;
		s->held_cpu = th->cpu;
		s->held_tick = s->tick;
	}
	a->by_hand = a->held = false;
}

/* It was on another CPU than we thought, or held between two instructions that belong together. */
static void look_again(struct sampler *s, struct thread *th, struct attempt *a)
{
	for (int i = 1; i < STOP_TRIES && failed(a); i++) {
		/* By a sleep: while we are awake it does not get on. */
		if (i > 1)
			wait_until(now_ns() + STOP_AGAIN_NS, UINT64_MAX);
		look_by_hand(s, th, a);
	}
	if (failed(a))
		s->away_until = s->tick + AWAY_TICKS;
}

/* By ptrace. false: the thread could not be stopped. */
static bool look_stopped(struct sampler *s, struct thread *th, struct attempt *a)
{
	struct stop stop;
	int r = stop_thread(&s->stops, (pid_t)th->tid, STOP_TIMEOUT_NS, &stop);

	if (r < 0) {
		if (r == -EPERM) {
			s->refused_ns = now_ns();
			atomic_store_explicit(&s->counts.stops_refused, true, memory_order_relaxed);
		}
		if (r == -ETIMEDOUT)
			s->budget_ns -= STOP_TIMEOUT_NS;
		return false;
	}
	a->result = WALK_MISS;
	a->held = true;
	if (th->planned)
		look(s, th, false, a);
	if (failed(a))
		look_anew(s, th, false, a);
	a->held = false;
	a->chased = false;
	if (a->result == WALK_OK)
		chase_exceptions(s, th, a, 0, false);
	count_stop(s, stop_resume(&s->stops, &stop));
	a->sample.how = HOW_STOP;
	return true;
}

/* For a look of its own (dump): whether the process is stopped. */
static uint16_t stopped_state(struct sampler *s, struct thread *th)
{
	char text[512], state;
	uint64_t start;

	if (!th->tid ||
	    read_task(s, &th->stat_fd, PROC_TASK_STAT, th->tid, text, sizeof(text)) <= 0 ||
	    proc_parse_stat(text, &state, &start) < 0)
		return 0;
	return state == 'T' ? STATE_PROCESS_STOPPED : 0;
}

/* What the kernel says, once an attempt, and before a stop of ours: that changes it. */
static void ask_kernel(struct sampler *s, struct thread *th, struct attempt *a)
{
	const struct kernel_files files = {&th->syscall_fd, &th->schedstat_fd, &th->stat_fd};

	if (!s->ask_kernel || a->asked)
		return;
	a->asked = true;
	a->sample.state |= kernel_ask(s->target->opener, &files, th->tid,
				      s->who.interps[th->interp].words.gil_cond, &a->run_ns);
	a->run_known = a->sample.state & STATE_CPU_TIME_KNOWN;
	if (a->run_known && th->run_known && a->run_ns >= th->run_ns)
		a->sample.cpu_ns = a->run_ns - th->run_ns;
	else
		a->sample.state &= (uint16_t)~STATE_CPU_TIME_KNOWN;
}

/* What there is to say of a thread besides its stack. */
static void add_state(struct sampler *s, struct thread *th, struct attempt *a)
{
	const struct layout *l = &s->target->layout;
	const struct state_words *words = &s->who.interps[th->interp].words;
	const uint8_t *own = walker_words(th->walker);
	uint16_t state = state_of(l, words, own, th->addr, th->main);
	uint64_t frame;

	ask_kernel(s, th, a);
	/* The words are the sample's instant, the kernel was asked a little later or before. */
	if (state & STATE_GIL_WAIT_KNOWN)
		a->sample.state &= (uint16_t) ~(STATE_GIL_WAIT_KNOWN | STATE_GIL_WAIT);
	else if (state & STATE_GIL)
		a->sample.state &= (uint16_t)~STATE_GIL_WAIT;
	a->sample.state |= state;
	chase_exceptions(s, th, a, a->sample.how == HOW_MOVING ? 0 : walker_generator(th->walker),
			 th->rested && walker_rests(th->walker));
	a->sample.state |= a->handling;
	if (a->sample.how != HOW_MOVING && state_collects(words, a->sample.state, &frame))
		a->sample.stack = walker_with_gc(th->walker, &s->walk, frame, a->sample.stack);
}

static void publish(struct sampler *s, struct thread *th, struct attempt *a, uint64_t now)
{
	a->sample.thread = th->id;
	a->sample.kind = SAMPLE_STACK;
	add_state(s, th, a);
	if (!push(s, &a->sample)) {
		lose(s, LOST_BACKPRESSURE, 1, now);
		return;
	}
	/* What is lost goes to the next sample that is not. */
	if (a->run_known) {
		th->run_ns = a->run_ns;
		th->run_known = true;
	}
	count(&s->counts.achieved, 1);
	if (a->sample.how == HOW_FREE)
		count(&s->counts.free, 1);
	else if (a->sample.how == HOW_STOP)
		count(&s->counts.stopped, 1);
	else
		count(&s->counts.moving, 1);
	if (a->repeat)
		count(&s->counts.repeats, 1);
}

/* What a failed attempt ends as: a proven prefix, or a loss. */
static void settle_failed(struct sampler *s, struct thread *th, struct attempt *a, uint64_t now)
{
	enum lost_reason reason;

	if (a->plain) {
		publish(s, th, a, now);
		return;
	}
	a->sample.task = SAMPLE_TASK_UNKNOWN;
	a->sample.stack = 0;
	if (a->result == WALK_TORN || a->result == WALK_MISS)
		a->sample.stack = walker_prefix(th->walker, &s->walk);
	if (a->sample.stack) {
		a->sample.how = HOW_MOVING;
		a->repeat = false;
		publish(s, th, a, now);
		return;
	}
	switch (a->result) {
	case WALK_CHANGED:
		reason = LOST_EXITED;
		break;
	case WALK_MEMORY:
		reason = LOST_MEMORY;
		break;
	case WALK_UNREADABLE:
		reason = LOST_UNREADABLE;
		break;
	default:
		reason = LOST_TORN;
	}
	if (a->result == WALK_CHANGED || a->result == WALK_UNREADABLE)
		s->who.rescan = true;
	lose(s, reason, 1, now);
}

/* The attempt at th of this tick, after the common gather if it was part of it. */
static void attempt(struct sampler *s, struct thread *th, uint64_t time_ns, uint32_t gather_ns)
{
	struct attempt a = {.sample = {.time_ns = time_ns, .gather_ns = gather_ns},
			    .result = WALK_MISS};

	bool free = th->gathered || !th->planned;

	if (th->gathered) {
		if (!th->rested)
			a.result = walker_walk(th->walker, &s->walk, s->ranges + th->first_range,
					       &a.sample.stack, &a.repeat);
		else if (walker_still_rests(th->walker, &s->walk, s->ranges + th->words_range,
					    s->ranges + th->first_range, &a.sample.stack)) {
			a.repeat = true;
			a.result = WALK_OK;
		} else {
			look(s, th, true, &a);
		}
		if (!a.looked)
			judge_task(s, th, &a);
		/* A thread that starts or ends changes the links of its neighbours. */
		if (s->options.all_threads && !roster_same_links(&s->who, th))
			s->who.rescan = true;
	}
	/* Not to have known where a frame stands says nothing of whether it moves. */
	if (free && a.result == WALK_MISS && a.plain) {
		bool repeat = a.repeat;

		look(s, th, true, &a);
		a.repeat &= repeat;
	}
	if (free && a.result == WALK_MISS && !a.plain)
		look_anew(s, th, true, &a);
	if (free) {
		th->fail_rate -= th->fail_rate >> FAIL_SHIFT;
		if (a.result != WALK_OK)
			th->fail_rate += FAIL_SCALE >> FAIL_SHIFT;
		if (th->fail_rate > FAIL_LIMIT)
			th->stop_until = s->tick + FAIL_TICKS;
	}
	if (failed(&a) && s->options.hand && may_hold(s, th))
		look_by_hand(s, th, &a);
	if (failed(&a) && s->resident)
		look_again(s, th, &a);
	if (failed(&a) && !s->resident) {
		/* To stop a sleeping thread could break the call that it sleeps in, and its stack
		 * stands still anyway. */
		bool still = !is_running(s, th);

		ask_kernel(s, th, &a);
		walker_set_still(th->walker, still);
		a.held = still;
		if (still)
			look_anew(s, th, true, &a);
		a.held = false;
		walker_set_still(th->walker, false);
		/* A stop can come between two instructions that belong together. */
		for (int i = 0;
		     i < STOP_TRIES && failed(&a) && may_hold(s, th) && may_trace(s, now_ns());
		     i++) {
			if (i)
				wait_until(now_ns() + STOP_AGAIN_NS, 0);
			if (!look_stopped(s, th, &a))
				break;
		}
	}
	if (s->options.max_ticks == 1)
		a.sample.state |= stopped_state(s, th);
	if (a.result == WALK_OK)
		publish(s, th, &a, time_ns);
	else
		settle_failed(s, th, &a, time_ns);
	/* The other threads were copied when these were. */
	if (a.looked)
		s->who.interps[th->interp].words = s->words_of_tick;
}

/* ---- a tick ---- */

/* The stamp that code objects are checked against. From 3.14 the sum of the interpreters' counts of
 * freed code objects. Before that nothing tells that one was freed: while code objects are seen to
 * be replaced, and in the first second, each is checked at every gather that it is in; else by
 * steps of time. */
#define CODE_CHECK_NS 10000000u
#define CODE_CHURN_NS 1000000000u
static uint64_t time_stamp(struct sampler *s, uint64_t now)
{
	uint64_t replaced = code_cache_replaced(s->walk.codes);

	if (replaced != s->codes_replaced || s->churn_ns == 0) {
		s->codes_replaced = replaced;
		s->churn_ns = now;
	}
	return now - s->churn_ns < CODE_CHURN_NS ? s->walk.gathers | 1ull << 63
						 : now / CODE_CHECK_NS;
}

static uint64_t stamp_now(struct sampler *s, uint64_t now)
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
	for (size_t i = 0; i < s->who.n_threads; i++)
		walker_forget(s->who.threads[i]->walker);
}

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

/* Ranges of a thread by itself, from n on: how many there are then. What tells of its task is read
 * before and behind it. */
static size_t add_thread(struct sampler *s, struct thread *th, size_t n)
{
	struct memory_range *before = s->ranges + n;
	size_t watched = th->watch ? task_watch_range_count(th->watch) : 0;

	n += watched;
	if (th->rested) {
		th->words_range = n;
		s->ranges[n++] = walker_rest_words(th->walker);
	}
	th->first_range = n;
	n += th->rested ? walker_rest_ranges(th->walker, s->ranges + n)
			: walker_ranges(th->walker, s->ranges + n, true);
	if (watched)
		task_watch_ranges(th->watch, before, s->ranges + n);
	return n + watched;
}

/* Ranges of the threads that rest, from n on: how many there are then. Words that lie near each
 * other are read as one; what else proves a thread's rest is read soon after its words. */
static size_t add_resting(struct sampler *s, size_t n)
{
	for (size_t from = 0, to; from < s->n_ordered; from = to) {
		unsigned group = 0;

		for (to = from; to < s->n_ordered && group < REST_GROUP; to++) {
			struct thread *th = s->ordered[to];

			if (!th->rested || th->watch)
				continue;
			group++;
			th->words_range = n;
			s->ranges[n++] = walker_rest_words(th->walker);
		}
		for (size_t i = from; i < to; i++) {
			struct thread *th = s->ordered[i];

			if (!th->rested || th->watch)
				continue;
			th->first_range = n;
			n += walker_rest_ranges(th->walker, s->ranges + n);
		}
	}
	return n;
}

/* 0, or -errno when the target as a whole cannot be read, or memory is short. */
static int follow_tasks(struct sampler *s, uint64_t now)
{
	int r = 0;

	if (!s->options.tasks || s->options.max_ticks)
		return 0;
	if (!s->watcher)
		r = task_watcher_new(&s->watcher, s->target, s->walk.tables);
	else
		r = task_watcher_refresh(s->watcher, now);
	if (r < 0)
		return r == -ENOMEM || r == -ESRCH || r == -EPERM ? r : 0;
	for (size_t i = 0; i < s->who.n_threads; i++) {
		struct thread *th = s->who.threads[i];

		if (!th->watch)
			th->watch = task_watch_new(s->who.interps[th->interp].info.addr, th->addr);
		if (!th->watch)
			return -ENOMEM;
		task_watch_find(th->watch, s->watcher, false);
	}
	return 0;
}

static const struct thread *thread_at(const struct sampler *s, uint64_t addr)
{
	for (size_t i = 0; i < s->who.n_threads; i++)
		if (s->who.threads[i]->addr == addr)
			return s->who.threads[i];
	return NULL;
}

static uint32_t thread_of_waits(void *arg, uint64_t tstate)
{
	const struct thread *th = thread_at(arg, tstate);

	return th ? th->id : 0;
}

static bool on_stay(void *arg, uint64_t time_ns, uint64_t ns, uint64_t count, uint32_t thread,
		    uint32_t stack)
{
	struct sampler *s = arg;
	const struct sample sample = {.time_ns = time_ns ? time_ns : s->waits_ns,
				      .cpu_ns = ns,
				      .thread = thread,
				      .stack = stack,
				      .task = count > UINT32_MAX ? UINT32_MAX : (uint32_t)count,
				      .kind = SAMPLE_WAIT};

	return push(s, &sample);
}

/* The tasks that wait, after the threads. 0 or -errno, as of a tick. */
static int look_at_waits(struct sampler *s, uint64_t now)
{
	const struct waits_listener listener = {s, thread_of_waits, on_stay};
	uint64_t ns = s->waits_ns ? now - s->waits_ns : s->options.interval_ns;
	uint64_t most = 10 * s->options.interval_ns;
	int r = 0;

	if (s->options.tasks != SAMPLER_TASKS_ALL || s->options.max_ticks)
		return 0;
	if (!s->waits)
		r = waits_new(&s->waits, s->target, s->walk.tables, &listener);
	if (most < WAIT_GAP_NS)
		most = WAIT_GAP_NS;
	if (r == 0) {
		s->waits_ns = now;
		r = waits_look(s->waits, now, ns < most ? ns : most);
	}
	return r == -ENOMEM || r == -ESRCH || r == -EPERM ? r : 0;
}

/* 0, or -errno when the target as a whole cannot be read. */
static int tick(struct sampler *s, uint64_t now)
{
	size_t n = 0, need;
	uint64_t calls, bytes, number, gathered, stamp;
	uint32_t gather_ns = 0;
	int r;

	r = roster_refresh(&s->who, now);
	if (r < 0)
		return r;
	s->tick++;
	s->ask_kernel = may_ask_kernel(s);
	refresh_opcodes(s, now);
	r = follow_tasks(s, now);
	if (r < 0)
		return r;
	fill_budget(s, now);
	stop_reap(&s->stops);
	need = s->who.n_interps * STATE_WORD_RANGES + 1;
	for (size_t i = 0; i < s->who.n_threads; i++)
		need += walker_range_count(s->who.threads[i]->walker) +
			(s->watcher ? 2 * TASK_WATCH_RANGES : 0);
	if (reserve(&s->ranges, &s->room_ranges, need) < 0 || order_threads(s) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < s->who.n_threads; i++) {
		struct thread *th = s->who.threads[i];

		/* A thread that is to be sampled by a stop is not read twice. */
		th->gathered =
			th->planned && !((s->options.blocking || th->stop_until > s->tick) &&
					 may_hold(s, th) && (s->options.hand || may_trace(s, now)));
		th->rested = th->gathered && walker_rests(th->walker);
		if (th->gathered && (!th->rested || th->watch))
			n = add_thread(s, th, n);
	}
	n = add_resting(s, n);
	/* Last, so that what they count had happened by then. */
	for (size_t i = 0; n && i < s->who.n_interps; i++)
		if (s->who.interps[i].seen)
			n += state_words_ranges(&s->who.interps[i].words, s->ranges + n);
	number = ++s->walk.gathers;
	r = n ? gather(s, s->ranges, n, &now, &gather_ns) : 0;
	if (r < 0)
		return r;
	gathered = s->walk.gathered_ns;
	stamp = stamp_now(s, now);
	for (size_t i = 0; i < s->who.n_threads; i++) {
		struct thread *th = s->who.threads[i];

		/* A look at a thread before may have made newer ones. */
		s->walk.gather = number;
		s->walk.gathered_ns = gathered;
		s->walk.stamp = stamp;
		attempt(s, th, now, gather_ns);
	}
	r = look_at_waits(s, now);
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

/* New tables once the old ones are too large: all ids begin anew. */
static int renew_tables(struct sampler *s)
{
	struct sample mark = {.kind = SAMPLE_TABLES};
	struct tables *t;
	int r;

	if (tables_bytes(s->walk.tables) < MAX_TABLES_BYTES ||
	    atomic_load_explicit(&s->handed, memory_order_acquire))
		return 0;
	if (s->waits)
		waits_flush(s->waits);
	r = tables_new(&t);
	if (r < 0)
		return r;
	atomic_store_explicit(&s->handed, t, memory_order_release);
	if (!push(s, &mark)) {
		atomic_store_explicit(&s->handed, NULL, memory_order_relaxed);
		tables_free(t);
		return 0;
	}
	s->walk.tables = t;
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

/* ---- asyncio's tasks ---- */

/* Which tasks are told: in shown[i] the id of task i, else 0. Those of threads that are not sampled
 * are not; of running ones also whoever awaits them. */
static int choose_tasks(struct sampler *s, const struct tasks *t, uint32_t *shown)
{
	bool all = s->options.tasks == SAMPLER_TASKS_ALL;
	uint32_t *queue = calloc(t->n + 1, sizeof(*queue));
	size_t n = 0;

	if (!queue)
		return -ENOMEM;
	for (size_t i = 0; i < t->n; i++)
		if ((all || t->info[i].state == TASK_RUNNING) &&
		    (!t->info[i].tstate || thread_at(s, t->info[i].tstate))) {
			shown[i] = 1;
			queue[n++] = (uint32_t)i;
		}
	for (size_t at = 0; at < n; at++) {
		const struct task_info *task = &t->info[queue[at]];

		for (uint32_t k = 0; k < task->n_awaiters; k++) {
			uint32_t awaiter = t->awaiters[task->first_awaiter + k];

			if (shown[awaiter])
				continue;
			shown[awaiter] = 1;
			queue[n++] = awaiter;
		}
	}
	free(queue);
	for (size_t i = 0; i < t->n; i++) {
		const struct thread *th = thread_at(s, t->info[i].tstate);
		const struct table_task task = {.addr = t->info[i].addr,
						.loop = t->info[i].loop,
						.name = t->info[i].name,
						.thread = th ? th->id : 0};

		if (shown[i])
			shown[i] = tables_task(s->walk.tables, &task);
	}
	return 0;
}

static int tell_task(struct sampler *s, const struct tasks *t, size_t i, const uint32_t *shown,
		     uint64_t now)
{
	const struct task_info *task = &t->info[i];
	struct sample sample = {.time_ns = now,
				.thread = shown[i],
				.stack = task->stack,
				.state = (uint16_t)task->state,
				.how = (uint8_t)task->problem,
				.kind = SAMPLE_TASK};

	for (uint32_t k = task->n_awaiters; k > 0; k--) {
		uint32_t awaiter = shown[t->awaiters[task->first_awaiter + k - 1]];

		if (!awaiter)
			continue;
		sample.gather_ns = tables_awaiter(s->walk.tables, sample.gather_ns, awaiter);
		if (!sample.gather_ns)
			return -ENOMEM;
	}
	/* The ring holds more than there may be tasks. */
	return push(s, &sample) ? 0 : -ENOBUFS;
}

static int tell_tasks(struct sampler *s, const struct tasks *t, uint64_t now)
{
	struct sample end = {.time_ns = now,
			     .stack = (uint32_t)t->n,
			     .state = (uint16_t)t->found,
			     .how = t->more,
			     .kind = SAMPLE_TASKS};
	uint32_t *shown = calloc(t->n + 1, sizeof(*shown));
	int r = shown ? choose_tasks(s, t, shown) : -ENOMEM;

	for (size_t i = 0; i < t->n && r == 0; i++)
		if (shown[i])
			r = tell_task(s, t, i, shown, now);
	free(shown);
	if (r == 0 && !push(s, &end))
		r = -ENOBUFS;
	return r;
}

/* 0, or -errno: then nothing is told of tasks, or not all. */
static int take_tasks(struct sampler *s)
{
	struct take take = {.stops = &s->stops,
			    .may_stop = s->options.blocking || s->options.stop_budget > 0};
	struct task_reader *reader = NULL;
	struct tasks tasks = {0};
	uint64_t now = now_ns();
	int r = task_reader_new(&reader, s->target, s->walk.tables);

	if (r == 0)
		r = tasks_take(reader, s->target, &take, &tasks);
	if (r == 0)
		r = tell_tasks(s, &tasks, now);
	count(&s->counts.stops, take.stopped);
	count(&s->counts.stop_ns, take.stopped_ns);
	if (take.refused)
		atomic_store_explicit(&s->counts.stops_refused, true, memory_order_relaxed);
	tasks_done(&tasks);
	task_reader_free(reader);
	return r;
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
	uint64_t start, deadline, now;
	bool over;
	enum sampler_end end;
};

static void end_loop(struct loop *l, enum sampler_end end)
{
	l->end = end;
	l->over = true;
}

static bool time_is_over(const struct loop *l)
{
	uint64_t duration = l->s->options.duration_ns;

	return duration && l->now - l->start >= duration;
}

/* The next deadline that is not over already. */
static void next_deadline(struct loop *l)
{
	struct sampler *s = l->s;
	uint64_t interval = s->options.interval_ns, missed;

	l->deadline += interval;
	if (l->now < l->deadline + interval)
		return;
	missed = (l->now - l->deadline) / interval;
	count(&s->counts.missed_ticks, missed);
	count(&s->counts.missed, missed * s->who.n_threads);
	count(&s->counts.due, missed * s->who.n_threads);
	l->deadline += missed * interval;
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
		uint64_t nap = l->now + 50000000u;

		wait_until(l->deadline < nap ? l->deadline : nap, interval);
		l->now = now_ns();
		set(&s->counts.now_ns, l->now);
	}
	if (time_is_over(l)) {
		end_loop(l, SAMPLER_DURATION);
		return;
	}
	if (interval && l->now < l->deadline)
		return;
	began = l->now;
	r = tick(s, began);
	if (r == 0)
		r = renew_tables(s);
	l->now = now_ns();
	set(&s->counts.now_ns, l->now);
	if (r < 0) {
		end_loop(l, end_of(s, r));
	} else if (s->options.max_ticks && s->tick >= s->options.max_ticks) {
		end_loop(l, SAMPLER_DURATION);
	} else if (interval) {
		if (s->resident)
			count_stop(s, l->now - began + hand_entry_ns(s->options.hand));
		next_deadline(l);
	}
}

/* Whether ticks are to be made by the hand, where it last held a thread: while it would be sent
 * there at each of them, and has something of the budget to stay for. */
static bool may_reside(const struct sampler *s)
{
	if (!s->options.hand || s->options.interval_ns < RESIDE_NS ||
	    !hand_is_prompt(s->options.hand) || s->tick < s->away_until || s->held_cpu < 0)
		return false;
	/* Only the thread that seized another can let it go. */
	if (s->stops.n_pending)
		return false;
	if (!s->options.blocking && s->options.stop_budget < 1 &&
	    s->budget_ns < (s->resident ? 0 : s->options.stop_budget * RESIDE_SPAN_NS))
		return false;
	return s->options.blocking || s->held_tick + RESIDE_TICKS > s->tick;
}

static void reside(void *arg)
{
	struct loop *l = arg;

	l->s->resident = true;
	while (!l->over && may_reside(l->s) && !atomic_load_explicit(l->stop, memory_order_relaxed))
		step(l);
	l->s->resident = false;
}

enum sampler_end sampler_run(struct sampler *s, const _Atomic bool *stop)
{
	const uint64_t start = now_ns();
	struct loop l = {s, stop, start, start, start, false, SAMPLER_STOPPED};
	uint64_t cost;

	s->budget_filled_ns = start;
	s->budget_ns = s->options.stop_budget * BUDGET_SPAN_NS / 8;
	set(&s->counts.start_ns, start);
	while (!l.over && !atomic_load_explicit(stop, memory_order_relaxed))
		if (!may_reside(s) ||
		    !hand_work(s->options.hand, s->held_cpu, reside, &l, true, &cost))
			step(&l);
	if (s->options.tasks && s->options.max_ticks && l.end == SAMPLER_DURATION) {
		int r = take_tasks(s);

		if (r < 0 && r != -EAGAIN)
			l.end = end_of(s, r);
	}
	set(&s->counts.now_ns, now_ns());
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
	free(s->ranges);
	free(s->own);
	free(s->ring);
	free(s);
}
