#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "remote/array.h"
#include "remote/clock.h"
#include "remote/kernel.h"
#include "remote/sampler-parts.h"

#define STOP_TIMEOUT_NS	 50000000u /* a runnable thread gets a CPU sooner; else it sleeps by now */
#define STOP_TRIES	 3
#define STOP_AGAIN_NS	 20000u /* between tries, so that the thread gets on */
#define GATHER_TRIES	 3
#define GATHER_NS	 10000u /* a gather takes no longer, and for each range: */
#define GATHER_RANGE_NS	 1000u
#define AWAY_TICKS	 256	  /* it stays away when it could not hold a thread */
#define CPU_STALE_NS	 4000000u /* a thread may be on another CPU by now */
#define TASK_FINDS	 2
#define REFUSED_RETRY_NS 1000000000u /* a debugger may have let go */
#define LINKS_NS	 60000u	     /* links are followed no later behind the gather */
#define FAIL_SCALE	 (1u << 24)
#define FAIL_SHIFT	 8		   /* a failure weighs 1/256 */
#define FAIL_LIMIT	 (FAIL_SCALE / 33) /* 3 %: more, and the thread is sampled by stops ... */
#define FAIL_TICKS	 256		   /* ... for so many ticks */

/* Whether the budget has something left to hold the thread with. Where the hand can reside it is
 * sent, or ptrace used, only to begin with that: an interrupt travels for a while, and if the
 * thread leaves the kernel in that time it is held there. */
bool sampler_may_hold(const struct sampler *s, const struct thread *th)
{
	if (!th->tid)
		return false;
	if (s->options.blocking || s->options.stop_budget >= 1)
		return true;
	if (s->options.stop_budget <= 0 || s->budget_ns <= 0)
		return false;
	return s->resident || !sampler_can_reside(s) || s->budget_ns >= 2 * sampler_span(s);
}

bool sampler_may_trace(const struct sampler *s, uint64_t now)
{
	return !s->refused_ns || now - s->refused_ns >= REFUSED_RETRY_NS;
}

/* Reads a /proc file of the thread through a descriptor that is kept. Length or -errno. */
static ssize_t read_task(struct sampler *s, int *fd, enum proc_file file, uint32_t tid, char *buf,
			 size_t size)
{
	const struct proc_opener *o = s->target->opener;

	if (*fd == -1)
		*fd = o->open(o->arg, file, tid, 0);
	return *fd < 0 ? *fd : proc_read_piece(*fd, buf, size);
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

struct attempt {
	struct sample sample;
	enum walk_result result;
	bool repeat;
	bool looked;  /* on its own: the interpreter's words are newer than the tick's */
	bool by_hand; /* what is read is read from the CPU that the thread runs on ... */
	bool there;   /* ... where the hand is already */
	bool asked;   /* the kernel */
	bool run_known;
	uint64_t run_ns; /* CPU time of the thread, where known */
	bool held;	 /* the thread could not move while it was read */
	bool plain;	 /* the stack is proven, but not which task runs */
	bool chased;	 /* the chain of exceptions was followed meanwhile */
};

static bool failed(const struct attempt *a)
{
	return a->result == WALK_TORN || a->result == WALK_MISS;
}

/* A gather. One that took far too long was interrupted, and much can have happened between its
 * copies, the same thing twice among it; when we lose the CPU has nothing to do with what the
 * target does, so it is made again. */
int sampler_gather(struct sampler *s, struct memory_range *ranges, size_t n, uint64_t *ret_time_ns,
		   uint32_t *ret_gather_ns)
{
	uint64_t took = 0;
	int r = 0;

	for (int i = 0; i < GATHER_TRIES; i++) {
		*ret_time_ns = clock_now_ns();
		r = memory_gather(s->target->memory, ranges, n);
		s->walk.gathered_ns = clock_now_ns();
		took = s->walk.gathered_ns - *ret_time_ns;
		if (r < 0 || took < GATHER_NS + n * GATHER_RANGE_NS)
			break;
	}
	*ret_gather_ns = (uint32_t)took;
	return r;
}

void sampler_count_stop(struct sampler *s, uint64_t cost_ns)
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

/* Where we lost the CPU since the gather, others may be where its links were. */
static bool is_late(const struct sampler *s)
{
	return clock_now_ns() - s->walk.gathered_ns > LINKS_NS;
}

/* The chain of exceptions that are handled, while the thread stands still: as far as it can be
 * known that it does. */
static void chase_exceptions(struct sampler *s, struct thread *th, struct attempt *a)
{
	a->chased = true;
	state_follow(&th->handling, &s->handling, &s->target->layout, s->target->memory,
		     walker_words(th->walker), th->addr);
	if (a->by_hand && is_late(s))
		th->handling.chain = 0;
}

static uint16_t handling(struct sampler *s, struct thread *th, const struct attempt *a)
{
	bool known = a->sample.how != HOW_MOVING;
	struct generators on_stack;
	uint64_t before, calls, bytes;
	uint16_t state;

	if (known)
		walker_generators(th->walker, &on_stack);
	memory_counts(s->target->memory, &before, &bytes);
	state = state_handling(&th->handling, &s->handling, &s->target->layout, s->target->memory,
			       walker_words(th->walker), th->addr, known ? &on_stack : NULL,
			       a->chased, th->rested && walker_rests(th->walker));
	memory_counts(s->target->memory, &calls, &bytes);
	return calls != before && is_late(s) ? 0 : state;
}

/* What the hand does, or we do ourselves: no more of it than must be done while the thread is held.
 */
struct reading {
	struct sampler *s;
	struct thread *th;
	struct attempt *a;
	bool twice;		     /* both copies */
	struct memory_range *walked; /* of a gather, what walker_walk() takes; NULL: plans */
	int r;
};

/* What tells of its task goes before and behind what is read of the thread, and beside its words.
 */
static void gather_own(struct reading *g)
{
	struct sampler *s = g->s;
	struct thread *th = g->th;
	const struct memory_range *beside = NULL;
	size_t n = 0, besides = th->watch ? task_watch_beside(th->watch, &beside) : 0;

	if (th->watch)
		n += task_watch_before(th->watch, s->own);
	walker_set_beside(th->walker, beside, besides);
	g->walked = s->own + n;
	n += walker_ranges(th->walker, g->walked, g->twice);
	n += state_words_ranges(&s->who.interps[th->interp].words, s->own + n);
	if (th->watch)
		n += task_watch_behind(th->watch, s->own + n);
	s->walk.gather = ++s->walk.gathers;
	g->r = sampler_gather(s, s->own, n, &g->a->sample.time_ns, &g->a->sample.gather_ns);
	if (g->r >= 0 && th->watch)
		task_watch_confirm(th->watch, s->walk.gathered_ns, g->a->held && !g->a->by_hand);
}

static void read_it(void *arg)
{
	struct reading *g = arg;
	struct task_watch *watch = g->th->watch;

	if (!g->walked) {
		/* What is planned must not grow old while a task is looked for. */
		if (watch && !g->a->held)
			task_watch_find(watch);
		if (watch)
			task_watch_drop(watch);
		g->a->result = walker_plan(g->th->walker, g->s->target->memory);
		return;
	}
	if (watch)
		task_watch_find(watch);
	gather_own(g);
	/* While it is held whatever is not known can be found: where it says which task runs, and
	 * that task. */
	for (int i = 0;
	     i < TASK_FINDS && g->a->held && g->r >= 0 && watch && task_watch_lacks(watch); i++) {
		task_watch_find(watch);
		gather_own(g);
	}
	g->a->chased = false;
	if (g->r >= 0 && g->a->by_hand)
		chase_exceptions(g->s, g->th, g->a);
}

/* Does work(arg) while the thread is held. false: it was let go meanwhile. */
static bool by_hand(struct sampler *s, struct thread *th, void (*work)(void *arg), void *arg,
		    struct attempt *a)
{
	uint64_t cost;
	enum hand_kept kept =
		hand_hold(s->options.hand, cpu_of(s, th, clock_now_ns()), work, arg, &cost);

	if (kept == HAND_NOT_THERE) {
		a->by_hand = a->held = false;
		work(arg);
	} else if (!s->resident) {
		sampler_count_stop(s, cost);
	}
	if (kept != HAND_LEFT)
		return true;
	/* Its links may have been followed while it ran. */
	th->handling.chain = 0;
	return false;
}

static bool read_there(struct reading *g)
{
	if (g->a->by_hand && !g->a->there)
		return by_hand(g->s, g->th, read_it, g, g->a);
	read_it(g);
	return true;
}

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
	struct reading g = {s, th, a, twice, NULL, 0};

	if (!a->looked)
		s->words_of_tick = s->who.interps[th->interp].words;
	a->looked = true;
	a->repeat = false;
	a->plain = false;
	if (array_reserve(&s->own, &s->room_own,
			  walker_range_count(th->walker) + STATE_WORD_RANGES + TASK_RANGES,
			  sizeof(*s->own)) < 0) {
		a->result = WALK_MEMORY;
		return;
	}
	g.walked = s->own;
	if (!read_there(&g)) {
		a->result = WALK_TORN;
		return;
	}
	if (g.r < 0) {
		a->result = WALK_UNREADABLE;
		return;
	}
	s->walk.stamp = sampler_stamp(s, a->sample.time_ns);
	s->walk.held = a->held;
	a->result = walker_walk(th->walker, &s->walk, g.walked, &a->sample.stack, &a->repeat);
	s->walk.held = false;
	judge_task(s, th, a);
}

/* A thread whose frames are not where they were expected: finds out where they are, then proves it
 * by a gathered read; of both copies when it may move. */
static void look_anew(struct sampler *s, struct thread *th, bool twice, struct attempt *a)
{
	struct reading plan = {s, th, a, twice, NULL, 0};

	read_there(&plan);
	if (a->result != WALK_OK)
		return;
	th->planned = true;
	look(s, th, twice, a);
	/* Code objects, and a task, that were not known before are now. */
	if (a->result == WALK_MISS)
		look(s, th, twice, a);
}

struct hold {
	struct sampler *s;
	struct thread *th;
	struct attempt *a;
};

static void look_held(struct hold *h)
{
	if (h->th->planned)
		look(h->s, h->th, true, h->a);
	if (h->a->result == WALK_MISS)
		look_anew(h->s, h->th, true, h->a);
}

/* All by the hand, that is. */
static void look_there(void *arg)
{
	struct hold *h = arg;

	h->a->there = true;
	look_held(h);
	h->a->there = false;
}

/* From the CPU that it runs on. Both copies are made: it may have been moved to another. Where a
 * task is to be told all of it is one hold: if it went on before what is new was proven, that would
 * rather be done of the tasks that last. */
static void look_by_hand(struct sampler *s, struct thread *th, struct attempt *a)
{
	struct hold hold = {s, th, a};

	a->by_hand = a->held = true;
	a->result = WALK_MISS;
	if (!th->watch) {
		look_held(&hold);
	} else if (!by_hand(s, th, look_there, &hold, a) && a->result == WALK_OK) {
		a->result = WALK_TORN;
		walker_forget(th->walker);
	}
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
			sampler_wait(clock_now_ns() + STOP_AGAIN_NS, UINT64_MAX);
		look_by_hand(s, th, a);
	}
	/* Where the stack is proven the hand was where it belongs. */
	if (failed(a) && !a->plain)
		s->away_until = s->tick + AWAY_TICKS;
}

/* By ptrace. false: the thread could not be stopped. */
static bool look_stopped(struct sampler *s, struct thread *th, struct attempt *a)
{
	struct stop stop;
	int r = stop_thread(&s->stops, (pid_t)th->tid, STOP_TIMEOUT_NS, &stop);

	if (r < 0) {
		if (r == -EPERM) {
			s->refused_ns = clock_now_ns();
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
		chase_exceptions(s, th, a);
	sampler_count_stop(s, stop_resume(&s->stops, &stop));
	a->sample.how = HOW_STOP;
	return true;
}

bool sampler_hold(struct sampler *s, struct thread *th, void (*work)(void *arg), void *arg,
		  bool *ret_sure)
{
	struct stop stop;
	uint64_t cost;

	*ret_sure = false;
	if (!sampler_may_hold(s, th))
		return false;
	if (s->options.hand) {
		if (hand_hold(s->options.hand, cpu_of(s, th, clock_now_ns()), work, arg, &cost) ==
		    HAND_NOT_THERE)
			return false;
		if (!s->resident)
			sampler_count_stop(s, cost);
		return true;
	}
	/* What sleeps stands still anyway. */
	if (!sampler_may_trace(s, clock_now_ns()) || !is_running(s, th) ||
	    stop_thread(&s->stops, (pid_t)th->tid, STOP_TIMEOUT_NS, &stop) < 0)
		return false;
	*ret_sure = true;
	work(arg);
	sampler_count_stop(s, stop_resume(&s->stops, &stop));
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

/* What the kernel said is of another state of the same kernel thread. */
static void deny_kernel(struct attempt *a)
{
	a->sample.state &= (uint16_t) ~(STATE_CPU | STATE_GIL_WAIT);
	a->sample.cpu_ns = 0;
	a->run_known = false;
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
	if (!roster_is_used(&s->who, th, a->sample.time_ns))
		deny_kernel(a);
	/* The words are the sample's instant, the kernel was asked a little later or before. */
	if (state & STATE_GIL_WAIT_KNOWN)
		a->sample.state &= (uint16_t) ~(STATE_GIL_WAIT_KNOWN | STATE_GIL_WAIT);
	else if (state & STATE_GIL)
		a->sample.state &= (uint16_t)~STATE_GIL_WAIT;
	a->sample.state |= state;
	a->sample.state |= handling(s, th, a);
	if (a->sample.how != HOW_MOVING && state_collects(words, a->sample.state, &frame))
		a->sample.stack = walker_with_gc(th->walker, &s->walk, frame, a->sample.stack);
}

static void tell(struct sampler *s, struct thread *th, struct attempt *a, uint64_t now)
{
	th->last = a->sample;
	if (!sampler_push(s, &a->sample)) {
		sampler_lose(s, LOST_BACKPRESSURE, 1, now);
		return;
	}
	/* What is lost goes to the next sample that is not. */
	for (struct thread *t = th; a->run_known; t = t->twin) {
		t->run_ns = a->run_ns;
		t->run_known = true;
		if (t->twin == th)
			break;
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

static void publish(struct sampler *s, struct thread *th, struct attempt *a, uint64_t now)
{
	a->sample.thread = th->id;
	a->sample.kind = SAMPLE_STACK;
	add_state(s, th, a);
	tell(s, th, a, now);
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
		if (th->watch)
			task_watch_judge_moving(th->watch, th->walker, &s->walk, &a->sample.task,
						&a->sample.below);
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
	sampler_lose(s, reason, 1, now);
}

/* What sleeps stands still: to stop it could break the call that it sleeps in, and would keep
 * another thread from its CPU. */
static void look_asleep(struct sampler *s, struct thread *th, struct attempt *a)
{
	if (is_running(s, th))
		return;
	ask_kernel(s, th, a);
	walker_set_still(th->walker, true);
	a->held = true;
	look_anew(s, th, true, a);
	a->held = false;
	walker_set_still(th->walker, false);
}

/* By its words as last read: whether it holds the GIL, or may run Python code. */
static bool is_attached(const struct sampler *s, const struct thread *th)
{
	return state_of(&s->target->layout, &s->who.interps[th->interp].words,
			walker_words(th->walker), th->addr, th->main) &
	       STATE_GIL;
}

/* After reads that failed while the thread ran on. Whether it sleeps is asked at once, but for one
 * that runs Python code: of that only before it would be stopped. */
static void look_firmly(struct sampler *s, struct thread *th, struct attempt *a)
{
	const bool may_hold = sampler_may_hold(s, th), runs = is_attached(s, th);

	if (!runs)
		look_asleep(s, th, a);
	if (failed(a) && may_hold && s->options.hand)
		look_by_hand(s, th, a);
	if (failed(a) && s->resident)
		look_again(s, th, a);
	if (!failed(a) || s->resident || !may_hold)
		return;
	if (runs)
		look_asleep(s, th, a);
	ask_kernel(s, th, a);
	/* A stop can come between two instructions that belong together. */
	for (int i = 0; i < STOP_TRIES && failed(a) && sampler_may_hold(s, th) &&
			sampler_may_trace(s, clock_now_ns());
	     i++) {
		if (i)
			sampler_wait(clock_now_ns() + STOP_AGAIN_NS, 0);
		if (!look_stopped(s, th, a))
			break;
	}
}

/* What of a state is the thread's own doing. */
#define STATE_OWN                                                                                  \
	(STATE_MAIN | STATE_GIL_KNOWN | STATE_EXCEPTION | STATE_EXCEPTION_KNOWN | STATE_HANDLING)

void sampler_repeat(struct sampler *s, struct thread *th, const struct gathered *g, uint16_t waits)
{
	struct attempt a = {.sample = th->last, .repeat = true};

	a.sample.time_ns = g->time_ns;
	a.sample.gather_ns = g->took_ns;
	a.sample.cpu_ns = 0;
	a.sample.how = HOW_FREE;
	a.sample.state = 0;
	ask_kernel(s, th, &a);
	if (waits)
		a.sample.state &= (uint16_t) ~(STATE_GIL_WAIT_KNOWN | STATE_GIL_WAIT);
	a.sample.state |= (th->last.state & STATE_OWN) | waits |
			  state_of_collector(&s->who.interps[th->interp].words);
	th->stood_stamp = g->stamp;
	th->proven_tick = s->tick;
	tell(s, th, &a, g->time_ns);
}

/* The attempt at th of this tick, after the common gather if it was part of it. */
void sampler_attempt(struct sampler *s, struct thread *th, const struct gathered *g)
{
	const uint64_t time_ns = g->time_ns;
	struct attempt a = {.sample = {.time_ns = time_ns, .gather_ns = g->took_ns},
			    .result = WALK_MISS};

	bool free = th->gathered || !th->planned;

	/* A look at a thread before may have made newer ones. */
	s->walk.gather = g->number;
	s->walk.gathered_ns = g->end_ns;
	s->walk.stamp = g->stamp;
	if (th->stood_stamp)
		walker_stood(th->walker, th->stood_stamp);
	th->stood_stamp = 0;
	if (th->gathered) {
		if (!th->rested) {
			a.result = walker_walk(th->walker, &s->walk, s->ranges + th->first_range,
					       &a.sample.stack, &a.repeat);
		} else if (walker_still_rests(th->walker, &s->walk, s->ranges + th->words_range,
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
		/* Then it is at the limit: whether it stays there the next ones will tell. */
		if (th->fail_rate > FAIL_LIMIT) {
			th->fail_rate = FAIL_LIMIT;
			th->stop_until = s->tick + FAIL_TICKS;
		}
	}
	if (failed(&a))
		look_firmly(s, th, &a);
	if (s->options.max_ticks == 1)
		a.sample.state |= stopped_state(s, th);
	if (a.result == WALK_OK)
		th->proven_tick = s->tick;
	if (a.result == WALK_OK)
		publish(s, th, &a, time_ns);
	else
		settle_failed(s, th, &a, time_ns);
	th->rests = walker_rests(th->walker);
	/* The other threads were copied when these were. */
	if (a.looked)
		s->who.interps[th->interp].words = s->words_of_tick;
}
