#include "remote/sampler.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "remote/frame.h"
#include "remote/stop.h"
#include "remote/thread.h"

#define RING_SIZE	 65536 /* samples: a second at full rate with 8 threads at 8 kHz; 2.5 MB */
#define MAX_TABLES_BYTES (256u << 20) /* then the ids begin anew */
#define RESCAN_NS	 50000000u   /* new interpreters, and threads where the links do not tell */
#define RELIST_NS	 1000000000u /* a thread that we do not follow may have gone */
#define NAME_RETRY_NS	 100000000u  /* threading registers a thread after its state exists */
#define NAME_RETRIES	 5
#define STOP_TIMEOUT_NS	 50000000u /* a runnable thread gets a CPU sooner; else it sleeps by now */
#define STOP_TRIES	 3
#define STOP_AGAIN_NS	 20000u /* between tries, so that the thread gets on */
#define GATHER_TRIES	 3
#define GATHER_NS	 20000u /* a gather takes no longer, and for each range: */
#define GATHER_RANGE_NS	 2000u
#define REFUSED_RETRY_NS 1000000000u /* a debugger may have let go */
#define BUDGET_SPAN_NS	 1000000000u /* over which the budget of stops is balanced */
#define FAIL_SCALE	 65536u
#define FAIL_SHIFT	 6		   /* a failure weighs 1/64 */
#define FAIL_LIMIT	 (FAIL_SCALE / 33) /* 3 %: more, and the thread is sampled by stops ... */
#define FAIL_TICKS	 256		   /* ... for so many ticks */
#define SPIN_NS                                                                                    \
	45000u /* deadlines nearer than this are waited for awake: a sleep ends up to 25 us late   \
		*/
#define WORDS_MAX 1024 /* words nearer to each other than this are read as one range */

struct thread {
	uint64_t addr, ident;
	uint32_t tid;	 /* in our pid namespace; 0 unknown */
	uint32_t id;	 /* in the tables */
	size_t interp;	 /* index */
	bool main, seen; /* seen: by the scan under way */
	bool named;	 /* by threading */
	unsigned name_tries;
	struct walker *walker;
	bool planned; /* where its frames stand is known */
	int syscall_fd, stat_fd;
	uint32_t fail_rate;
	uint64_t stop_until; /* tick */
	size_t first_range;
	bool gathered, rested; /* rested: by the ranges of a resting thread only */
	uint64_t prev, next;   /* its links, as scanned */
};

/* One interpreter, and its words that are read with each gather. */
struct interpreter {
	struct interpreter_info info;
	struct thread_names names;
	uint64_t names_ns;    /* the scan that read them */
	uint64_t listed_head; /* the newest thread when its threads were last listed */
	int listed;	      /* how many there were */
	bool seen;
	/* Words that every gather reads, as one range where they stand near each other. */
	struct words {
		uint64_t addr;
		uint32_t len; /* 0: none */
		uint8_t bytes[WORDS_MAX];
	} state, gil;
	int32_t gc_at, generation_at; /* in state.bytes; ABSENT */
	int32_t holder_at, locked_at; /* in gil.bytes; ABSENT */
};

struct sampler {
	struct target *target;
	struct sampler_options options;
	struct sampler_counts counts;
	struct walk_context walk;
	struct stops stops;

	struct interpreter *interps;
	size_t n_interps;
	struct thread **threads;
	size_t n_threads, room_threads;
	struct memory_range *ranges;
	size_t room_ranges;
	struct memory_range *own; /* of a look at one thread */
	size_t room_own;
	struct thread_info *list; /* of a scan */
	struct task *tasks;
	int n_tasks;
	uint64_t pid_ns_tid; /* the main task's id in its own namespace */
	int tid_offset;	     /* in the C library's thread descriptor; <= 0 unknown */
	bool rescan;
	uint64_t scanned_ns, listed_ns, names_due_ns;
	struct thread **by_addr; /* open addressing, made by a scan */
	size_t n_by_addr;

	uint64_t tick;
	double budget_ns; /* what stops may still take */
	uint64_t budget_filled_ns, refused_ns;
	uint64_t codes_replaced, churn_ns; /* churn_ns: when one was last seen to be */
	uint64_t gap[LOST_REASON_COUNT];   /* counted, not yet told */
	uint64_t gap_ns;

	struct tables *new_tables; /* handed over with SAMPLE_TABLES */
	bool switching;
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

/* ---- who there is ---- */

static void thread_free(struct thread *th)
{
	if (!th)
		return;
	walker_free(th->walker);
	if (th->syscall_fd >= 0)
		close(th->syscall_fd);
	if (th->stat_fd >= 0)
		close(th->stat_fd);
	free(th);
}

static size_t addr_slot(const struct sampler *s, uint64_t addr)
{
	return (size_t)((addr >> 4) * 0x9e3779b97f4a7c15ull >> 20) & (s->n_by_addr - 1);
}

/* For a scan: the threads by the address of their state. */
static int index_threads(struct sampler *s)
{
	size_t need = 64;

	while (need < s->n_threads * 2)
		need *= 2;
	if (need > s->n_by_addr) {
		struct thread **more = realloc(s->by_addr, need * sizeof(*more));

		if (!more)
			return -ENOMEM;
		s->by_addr = more;
		s->n_by_addr = need;
	}
	memset(s->by_addr, 0, s->n_by_addr * sizeof(*s->by_addr));
	for (size_t i = 0; i < s->n_threads; i++) {
		size_t k = addr_slot(s, s->threads[i]->addr);

		while (s->by_addr[k])
			k = (k + 1) & (s->n_by_addr - 1);
		s->by_addr[k] = s->threads[i];
	}
	return 0;
}

static struct thread *find_thread(const struct sampler *s, uint64_t addr)
{
	size_t k = addr_slot(s, addr);

	while (s->by_addr[k] && s->by_addr[k]->addr != addr)
		k = (k + 1) & (s->n_by_addr - 1);
	return s->by_addr[k];
}

static uint32_t our_tid(const struct sampler *s, uint64_t ns_tid)
{
	for (int i = 0; i < s->n_tasks; i++)
		if (s->tasks[i].ns_tid == ns_tid)
			return s->tasks[i].tid;
	return 0;
}

/* The kernel id of a thread, in the target's namespace; 0 unknown. */
static uint64_t kernel_tid(struct sampler *s, const struct thread_info *info)
{
	uint32_t tid;

	if (info->native_id)
		return info->native_id;
	if (s->tid_offset <= 0 || info->ident == 0 ||
	    MEMORY_READ(s->target->memory, info->ident + (uint64_t)s->tid_offset, &tid) < 0)
		return 0;
	return tid;
}

/* Puts a thread in the tables, under its name as far as it is known. */
static int name_thread(struct sampler *s, struct thread *th, uint64_t ns_tid, uint64_t now)
{
	struct interpreter *in = &s->interps[th->interp];
	struct table_thread t = {
		.tid = ns_tid, .ident = th->ident, .interpreter = in->info.id, .main = th->main};
	char name[1024];
	size_t n;

	/* Once a scan is enough for all of its threads. */
	if (in->names_ns != now) {
		thread_names_read(&in->names, s->target, &in->info, now);
		in->names_ns = now;
	}
	n = thread_name(s->target, &in->names, th->ident, th->tid, name, sizeof(name), &th->named);
	if (!th->named && th->name_tries++ < NAME_RETRIES)
		s->names_due_ns = now + NAME_RETRY_NS;
	if (th->id && !th->named)
		return 0;
	t.name = n ? tables_string(s->walk.tables, name, (uint32_t)n) : 0;
	th->id = tables_thread(s->walk.tables, &t);
	return th->id ? 0 : -ENOMEM;
}

static struct thread *thread_new(struct sampler *s, size_t interp, const struct thread_info *info,
				 bool main)
{
	struct thread *th = calloc(1, sizeof(*th));

	if (!th)
		return NULL;
	th->addr = info->addr;
	th->ident = info->ident;
	th->interp = interp;
	th->main = main;
	th->syscall_fd = th->stat_fd = -1;
	if (walker_new(&th->walker, s->target, info->addr, info->ident,
		       s->interps[interp].info.addr) < 0) {
		free(th);
		return NULL;
	}
	return th;
}

static int add_thread(struct sampler *s, struct thread *th)
{
	if (s->n_threads == s->room_threads) {
		size_t room = s->room_threads ? s->room_threads * 2 : 16;
		struct thread **more = realloc(s->threads, room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		s->threads = more;
		s->room_threads = room;
	}
	s->threads[s->n_threads++] = th;
	return 0;
}

static bool is_main(const struct sampler *s, const struct interpreter_info *in,
		    const struct thread_info *list, int n, int i, uint64_t ns_tid)
{
	if (in->threads_main)
		return list[i].addr == in->threads_main;
	if (in->id != 0)
		return i == n - 1;
	/* The kernel's main thread, if it is one of these (an embedding program's may not be), else
	 * the oldest. */
	if (ns_tid)
		return ns_tid == s->pid_ns_tid;
	return i == n - 1;
}

static void refresh_tasks(struct sampler *s)
{
	struct task *tasks;
	int n = task_list(s->target, &tasks);

	if (n < 0)
		return;
	free(s->tasks);
	s->tasks = tasks;
	s->n_tasks = n;
	s->pid_ns_tid = (uint64_t)s->target->pid;
	for (int i = 0; i < n; i++)
		if (tasks[i].tid == (uint32_t)s->target->pid)
			s->pid_ns_tid = tasks[i].ns_tid;
}

static void link_thread(struct thread *th, const struct thread_info *list, int i)
{
	th->prev = i ? list[i - 1].addr : 0;
	th->next = list[i].next;
}

/* Brings one interpreter's threads up to date. How many it has, or -errno. */
static int scan_threads(struct sampler *s, size_t interp, uint64_t now)
{
	struct interpreter *in = &s->interps[interp];
	struct thread_info *list = s->list;
	bool fresh_tasks = false, any_main = false;
	int n, r = 0;

	n = thread_list(s->target, &in->info, list, SAMPLER_MAX_THREADS);
	if (n > 0 && s->target->layout.tstate.native_thread_id == ABSENT && s->tid_offset <= 0) {
		refresh_tasks(s);
		fresh_tasks = true;
		s->tid_offset = thread_find_tid_offset(s->target, list, (size_t)n, s->tasks,
						       (size_t)s->n_tasks);
	}
	for (int i = 0; i < n && r == 0; i++) {
		uint64_t ns_tid = kernel_tid(s, &list[i]);
		struct thread *th = find_thread(s, list[i].addr);
		bool main = is_main(s, &in->info, list, n, i, ns_tid);

		any_main |= main;
		if (i == n - 1 && !any_main)
			main = true;
		if (th && th->ident != list[i].ident)
			continue; /* its state was used again: dropped as unseen, added next time */
		if (!s->options.all_threads && !(main && in->info.id == 0))
			continue;
		if (th) {
			th->seen = true;
			link_thread(th, list, i);
			if (!th->named && th->name_tries < NAME_RETRIES)
				r = name_thread(s, th, ns_tid, now);
			continue;
		}
		/* A thread that is just starting has no identity yet. */
		if (list[i].ident == 0)
			continue;
		th = thread_new(s, interp, &list[i], main);
		if (!th) {
			r = -ENOMEM;
			break;
		}
		th->tid = our_tid(s, ns_tid);
		if (!th->tid && ns_tid && !fresh_tasks) {
			refresh_tasks(s);
			fresh_tasks = true;
			th->tid = our_tid(s, ns_tid);
		}
		th->seen = true;
		link_thread(th, list, i);
		r = name_thread(s, th, ns_tid, now);
		if (r == 0)
			r = add_thread(s, th);
		if (r < 0)
			thread_free(th);
	}
	return n < 0 ? n : r < 0 ? r : n;
}

/* The bit of a thread's status that says whether it may run Python code; ABSENT where it is said
 * elsewhere. */
static int status_bit(const struct layout *l)
{
	if (l->tstate.status == ABSENT)
		return ABSENT;
	return l->free_threaded ? l->tstate.status_active_bit : l->tstate.status_holds_gil_bit;
}

/* One range for two fields of a struct at base; a field that is ABSENT, or too far from the first,
 * is not read. */
static void plan_words(struct words *w, uint64_t base, int32_t first, int32_t second, uint32_t size,
		       int32_t *ret_first, int32_t *ret_second)
{
	int32_t low = first, high = first;

	*ret_first = *ret_second = ABSENT;
	w->len = 0;
	if (second != ABSENT && first != ABSENT && abs(second - first) > WORDS_MAX - 8)
		second = ABSENT;
	if (first == ABSENT || (second != ABSENT && second < first))
		low = second;
	if (first == ABSENT || second > first)
		high = second;
	if (low == ABSENT)
		return;
	w->addr = base + (uint64_t)low;
	w->len = (uint32_t)(high - low) + size;
	if (first != ABSENT)
		*ret_first = first - low;
	if (second != ABSENT)
		*ret_second = second - low;
}

/* The words of an interpreter that every gather reads. */
static void plan_interpreter(struct sampler *s, struct interpreter *in)
{
	const struct layout *l = &s->target->layout;

	if (l->interp.gc_collecting == ABSENT)
		plan_words(&in->state, s->target->runtime, l->runtime.gc_collecting, ABSENT, 8,
			   &in->gc_at, &in->generation_at);
	else
		plan_words(&in->state, in->info.addr, l->interp.gc_collecting,
			   l->interp.code_object_generation, 8, &in->gc_at, &in->generation_at);
	/* Where a thread says itself whether it holds the GIL, its words are enough. */
	if (l->free_threaded || l->tstate.holds_gil != ABSENT || status_bit(l) != ABSENT)
		plan_words(&in->gil, 0, ABSENT, ABSENT, 0, &in->holder_at, &in->locked_at);
	else if (in->info.gil)
		plan_words(&in->gil, in->info.gil, l->gil.last_holder, l->gil.locked, 8,
			   &in->holder_at, &in->locked_at);
	else
		plan_words(&in->gil, s->target->runtime, l->runtime.gil_last_holder,
			   l->runtime.gil_locked, 8, &in->holder_at, &in->locked_at);
}

static void keep_threads(struct sampler *s, size_t interp)
{
	for (size_t i = 0; i < s->n_threads; i++)
		if (s->threads[i]->interp == interp)
			s->threads[i]->seen = true;
}

/* Brings interpreters and threads up to date. all: lists even those whose newest thread is the
 * same. */
static int scan(struct sampler *s, uint64_t now, bool all)
{
	struct interpreter_info found[THREAD_MAX_INTERPRETERS];
	int n = interpreter_list(s->target, found, THREAD_MAX_INTERPRETERS), total = 0, r = 0;
	size_t kept = 0;

	if (n >= 0 && index_threads(s) < 0)
		n = -ENOMEM;
	if (n < 0)
		return n;
	for (size_t i = 0; i < s->n_threads; i++)
		s->threads[i]->seen = false;
	for (size_t i = 0; i < s->n_interps; i++)
		s->interps[i].seen = false;
	for (int i = 0; i < n; i++) {
		size_t k = 0;

		while (k < s->n_interps && (s->interps[k].info.addr != found[i].addr ||
					    s->interps[k].info.id != found[i].id))
			k++;
		if (k == THREAD_MAX_INTERPRETERS)
			continue;
		if (k == s->n_interps) {
			thread_names_done(&s->interps[k].names);
			memset(&s->interps[k], 0, sizeof(s->interps[k]));
			s->n_interps++;
		}
		s->interps[k].info = found[i];
		s->interps[k].seen = true;
		plan_interpreter(s, &s->interps[k]);
		if (!all && found[i].threads_head == s->interps[k].listed_head) {
			keep_threads(s, k);
			total += s->interps[k].listed;
			continue;
		}
		s->interps[k].listed_head = found[i].threads_head;
		r = scan_threads(s, k, now);
		s->interps[k].listed = r > 0 ? r : 0;
		if (r == -EAGAIN || r == -EFAULT) {
			/* The list moved: what is known of it stays, and it is read again. */
			keep_threads(s, k);
			s->rescan = true;
			continue;
		}
		if (r < 0)
			return r;
		total += r;
	}
	for (size_t i = 0; i < s->n_threads; i++) {
		if (s->threads[i]->seen)
			s->threads[kept++] = s->threads[i];
		else
			thread_free(s->threads[i]);
	}
	s->n_threads = kept;
	/* Interpreters keep their places, threads refer to them; the last ones go when unused. */
	while (s->n_interps && !s->interps[s->n_interps - 1].seen)
		s->n_interps--;
	set(&s->counts.threads_total, (uint64_t)total);
	s->scanned_ns = now;
	return 0;
}

/* ---- one thread ---- */

static bool can_stop(struct sampler *s, const struct thread *th, uint64_t now)
{
	if (!th->tid || (s->refused_ns && now - s->refused_ns < REFUSED_RETRY_NS))
		return false;
	if (s->options.blocking || s->options.stop_budget >= 1)
		return true;
	if (s->options.stop_budget <= 0)
		return false;
	return s->budget_ns > 0;
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
};

/* One gathered read of th alone, and the walk. */
static void look(struct sampler *s, struct thread *th, bool twice, struct attempt *a)
{
	size_t n;

	a->repeat = false;
	if (reserve(&s->own, &s->room_own, walker_range_count(th->walker)) < 0) {
		a->result = WALK_MEMORY;
		return;
	}
	n = walker_ranges(th->walker, s->own, twice);
	if (memory_gather(s->target->memory, s->own, n) < 0)
		a->result = WALK_UNREADABLE;
	else
		a->result = walker_walk(th->walker, &s->walk, s->own, &a->sample.stack, &a->repeat);
}

/* A thread that cannot move: one read if the plan is right, more if not. */
static void look_still(struct sampler *s, struct thread *th, struct attempt *a)
{
	a->result = WALK_MISS;
	if (th->planned)
		look(s, th, false, a);
	if (a->result != WALK_MISS && a->result != WALK_TORN)
		return;
	a->repeat = false;
	a->result = walker_explore(th->walker, &s->walk, &a->sample.stack);
	th->planned |= a->result == WALK_OK;
}

/* A thread whose frames are not where they were expected, and may move: finds out where they are,
 * then proves it by a gathered read of both copies. */
static void look_anew(struct sampler *s, struct thread *th, struct attempt *a)
{
	a->sample.time_ns = now_ns();
	a->result = walker_plan(th->walker, s->target->memory);
	if (a->result == WALK_OK) {
		th->planned = true;
		look(s, th, true, a);
	}
	a->sample.gather_ns = (uint32_t)(now_ns() - a->sample.time_ns);
}

/* By a brief stop. false: the thread could not be stopped. */
static bool look_stopped(struct sampler *s, struct thread *th, struct attempt *a)
{
	struct stop stop;
	uint64_t held;
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
	a->sample.time_ns = now_ns();
	look_still(s, th, a);
	a->sample.gather_ns = (uint32_t)(now_ns() - a->sample.time_ns);
	held = stop_resume(&s->stops, &stop);
	s->budget_ns -= (double)held;
	count(&s->counts.stops, 1);
	count(&s->counts.stop_ns, held);
	a->sample.how = HOW_STOP;
	return true;
}

static uint16_t state_of(struct sampler *s, const struct thread *th)
{
	const struct layout *l = &s->target->layout;
	const struct interpreter *in = &s->interps[th->interp];
	const uint8_t *words = walker_words(th->walker);
	uint16_t state = th->main ? STATE_MAIN : 0;
	uint64_t word, holder;
	int32_t i, locked;
	uint32_t bits;

	if (l->free_threaded && l->tstate.state != ABSENT) {
		memcpy(&i, words + l->tstate.state, 4);
		state |= STATE_GIL_KNOWN | (i == 1 ? STATE_GIL : 0);
	} else if (status_bit(l) != ABSENT) {
		memcpy(&bits, words + l->tstate.status, 4);
		state |= STATE_GIL_KNOWN | (bits >> status_bit(l) & 1 ? STATE_GIL : 0);
	} else if (l->tstate.holds_gil != ABSENT) {
		memcpy(&i, words + l->tstate.holds_gil, 4);
		state |= STATE_GIL_KNOWN | (i ? STATE_GIL : 0);
	} else if (in->holder_at != ABSENT && in->locked_at != ABSENT) {
		memcpy(&holder, in->gil.bytes + in->holder_at, 8);
		memcpy(&locked, in->gil.bytes + in->locked_at, 4);
		state |= STATE_GIL_KNOWN | (locked && holder == th->addr ? STATE_GIL : 0);
	}
	if (l->tstate.current_exception != ABSENT) {
		memcpy(&word, words + l->tstate.current_exception, 8);
		state |= word ? STATE_EXCEPTION : 0;
	}
	if (in->gc_at != ABSENT) {
		memcpy(&i, in->state.bytes + in->gc_at, 4);
		state |= i ? STATE_GC : 0;
	}
	return state;
}

/* For a look of its own (dump): what the kernel says of the thread. */
static uint16_t kernel_state(struct sampler *s, struct thread *th)
{
	char text[512], state;
	uint64_t start;

	if (!th->tid ||
	    read_task(s, &th->stat_fd, PROC_TASK_STAT, th->tid, text, sizeof(text)) <= 0 ||
	    proc_parse_stat(text, &state, &start) < 0)
		return 0;
	return STATE_CPU_KNOWN | (state == 'R' ? STATE_CPU : 0) |
	       (state == 'T' ? STATE_PROCESS_STOPPED : 0);
}

static void publish(struct sampler *s, struct thread *th, struct attempt *a, uint64_t now)
{
	a->sample.thread = th->id;
	a->sample.state |= state_of(s, th);
	a->sample.kind = SAMPLE_STACK;
	if (!push(s, &a->sample)) {
		lose(s, LOST_BACKPRESSURE, 1, now);
		return;
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
		s->rescan = true;
	lose(s, reason, 1, now);
}

static bool failed(const struct attempt *a)
{
	return a->result == WALK_TORN || a->result == WALK_MISS;
}

static bool same_links(const struct sampler *s, const struct thread *th)
{
	const struct layout *l = &s->target->layout;
	const uint8_t *words = walker_words(th->walker);

	return memcmp(words + l->tstate.prev, &th->prev, 8) == 0 &&
	       memcmp(words + l->tstate.next, &th->next, 8) == 0;
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
		else if (walker_still_rests(th->walker, s->ranges + th->first_range,
					    &a.sample.stack)) {
			a.repeat = true;
			a.result = WALK_OK;
		} else {
			a.sample.time_ns = now_ns();
			look(s, th, true, &a);
			a.sample.gather_ns = (uint32_t)(now_ns() - a.sample.time_ns);
		}
		/* A thread that starts or ends changes the links of its neighbours. */
		if (s->options.all_threads && !same_links(s, th))
			s->rescan = true;
	}
	/* Not to have known where a frame stands says nothing of whether it moves. */
	if (free && a.result == WALK_MISS)
		look_anew(s, th, &a);
	if (free) {
		th->fail_rate -= th->fail_rate >> FAIL_SHIFT;
		if (a.result != WALK_OK)
			th->fail_rate += FAIL_SCALE >> FAIL_SHIFT;
		if (th->fail_rate > FAIL_LIMIT)
			th->stop_until = s->tick + FAIL_TICKS;
	}
	if (failed(&a)) {
		/* To stop a sleeping thread could break the call that it sleeps in, and its stack
		 * stands still anyway. */
		bool still = !is_running(s, th);

		walker_set_still(th->walker, still);
		if (still)
			look_anew(s, th, &a);
		walker_set_still(th->walker, false);
		/* A stop can come between two instructions that belong together. */
		for (int i = 0; i < STOP_TRIES && failed(&a) && can_stop(s, th, now_ns()); i++) {
			if (i)
				wait_until(now_ns() + STOP_AGAIN_NS, 0);
			if (!look_stopped(s, th, &a))
				break;
		}
	}
	if (s->options.max_ticks == 1)
		a.sample.state |= kernel_state(s, th);
	if (a.result == WALK_OK)
		publish(s, th, &a, time_ns);
	else
		settle_failed(s, th, &a, time_ns);
}

/* ---- a tick ---- */

static size_t add_words(struct words *w, struct memory_range *out)
{
	*out = (struct memory_range){.addr = w->addr, .len = w->len, .buf = w->bytes};
	return w->len != 0;
}

/* The stamp that code objects are checked against. From 3.14 the sum of the interpreters' counts of
 * freed code objects. Before that nothing tells that one was freed: while code objects are seen to
 * be replaced, and in the first second, each is checked at every tick that it is new in; else by
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
	return now - s->churn_ns < CODE_CHURN_NS ? s->tick | 1ull << 63 : now / CODE_CHECK_NS;
}

static uint64_t stamp_now(struct sampler *s, uint64_t now)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < s->n_interps; i++) {
		const struct interpreter *in = &s->interps[i];
		uint64_t generation;

		if (!in->seen)
			continue;
		if (in->generation_at == ABSENT)
			return time_stamp(s, now);
		memcpy(&generation, in->state.bytes + in->generation_at, 8);
		sum += generation;
	}
	return sum;
}

/* The gather of a tick. One that took far too long was interrupted, and much can have happened
 * between its copies, the same thing twice among it; when we lose the CPU has nothing to do with
 * what the target does, so it is made again. */
static int gather(struct sampler *s, size_t n, uint64_t *time_ns, uint64_t *after)
{
	int r = 0;

	for (int i = 0; i < GATHER_TRIES; i++) {
		if (i)
			*time_ns = now_ns();
		r = memory_gather(s->target->memory, s->ranges, n);
		*after = now_ns();
		if (r < 0 || *after - *time_ns < GATHER_NS + n * GATHER_RANGE_NS)
			break;
	}
	return r;
}

/* 0, or -errno when the target as a whole cannot be read. */
static int tick(struct sampler *s, uint64_t now)
{
	size_t n = 0, need;
	uint64_t calls, bytes, after = now;
	int r;

	if (s->rescan || now - s->scanned_ns > RESCAN_NS) {
		bool all = s->rescan || now - s->listed_ns > RELIST_NS ||
			   (s->names_due_ns && now > s->names_due_ns);

		s->rescan = false;
		if (all) {
			s->listed_ns = now;
			s->names_due_ns = 0;
		}
		r = scan(s, now, all);
		if (r < 0)
			return r;
	}
	s->tick++;
	fill_budget(s, now);
	stop_reap(&s->stops);
	need = s->n_interps * 2 + 1;
	for (size_t i = 0; i < s->n_threads; i++)
		need += walker_range_count(s->threads[i]->walker);
	if (reserve(&s->ranges, &s->room_ranges, need) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < s->n_interps; i++)
		if (s->interps[i].seen) {
			n += add_words(&s->interps[i].state, s->ranges + n);
			n += add_words(&s->interps[i].gil, s->ranges + n);
		}
	for (size_t i = 0; i < s->n_threads; i++) {
		struct thread *th = s->threads[i];

		th->first_range = n;
		/* A thread that is to be sampled by a stop is not read twice. */
		th->gathered = th->planned && !((s->options.blocking || th->stop_until > s->tick) &&
						can_stop(s, th, now));
		if (th->gathered) {
			th->rested = walker_rests(th->walker);
			n += th->rested ? walker_rest_ranges(th->walker, s->ranges + n)
					: walker_ranges(th->walker, s->ranges + n, true);
		}
	}
	r = n ? gather(s, n, &now, &after) : 0;
	if (r < 0)
		return r;
	s->walk.stamp = stamp_now(s, now);
	for (size_t i = 0; i < s->n_threads; i++) {
		struct thread *th = s->threads[i];

		attempt(s, th, now, (uint32_t)(after - now));
	}
	tell_gaps(s);
	memory_counts(s->target->memory, &calls, &bytes);
	set(&s->counts.calls, calls);
	set(&s->counts.bytes, bytes);
	set(&s->counts.threads, s->n_threads);
	count(&s->counts.ticks, 1);
	count(&s->counts.due, s->n_threads);
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
	code_cache_forget(s->walk.codes, t);
	for (size_t i = 0; i < s->n_threads; i++)
		thread_free(s->threads[i]);
	s->n_threads = 0;
	s->rescan = true;
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

enum sampler_end sampler_run(struct sampler *s, const _Atomic bool *stop)
{
	const uint64_t interval = s->options.interval_ns, start = now_ns();
	uint64_t deadline = start, now = start;
	enum sampler_end end = SAMPLER_STOPPED;

	s->budget_filled_ns = start;
	s->budget_ns = s->options.stop_budget * BUDGET_SPAN_NS / 2;
	set(&s->counts.start_ns, start);
	while (!atomic_load_explicit(stop, memory_order_relaxed)) {
		int r;

		if (interval && now < deadline) {
			/* A long interval must not keep a stop waiting. */
			uint64_t nap = now + 50000000u;

			wait_until(deadline < nap ? deadline : nap, interval);
			now = now_ns();
			set(&s->counts.now_ns, now);
			if (s->options.duration_ns && now - start >= s->options.duration_ns) {
				end = SAMPLER_DURATION;
				break;
			}
			if (now < deadline)
				continue;
		}
		if (s->options.duration_ns && now - start >= s->options.duration_ns) {
			end = SAMPLER_DURATION;
			break;
		}
		r = tick(s, now);
		if (r == 0)
			r = renew_tables(s);
		if (r < 0) {
			end = end_of(s, r);
			break;
		}
		if (s->options.max_ticks && s->tick >= s->options.max_ticks) {
			end = SAMPLER_DURATION;
			break;
		}
		now = now_ns();
		set(&s->counts.now_ns, now);
		if (!interval)
			continue;
		deadline += interval;
		if (now >= deadline + interval) {
			uint64_t missed = (now - deadline) / interval;

			count(&s->counts.missed_ticks, missed);
			count(&s->counts.missed, missed * s->n_threads);
			count(&s->counts.due, missed * s->n_threads);
			deadline += missed * interval;
		}
	}
	set(&s->counts.now_ns, now_ns());
	tell_gaps(s);
	stop_done(&s->stops, BUDGET_SPAN_NS);
	return end;
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
	s->walk.target = target;
	s->rescan = true;
	s->tid_offset = -1;
	r = tables_new(&s->walk.tables);
	if (r == 0)
		r = code_cache_new(&s->walk.codes, target->memory, &target->layout, s->walk.tables);
	s->read_tables = s->walk.tables;
	s->ring = malloc(RING_SIZE * sizeof(*s->ring));
	s->interps = calloc(THREAD_MAX_INTERPRETERS + 1, sizeof(*s->interps));
	s->list = calloc(SAMPLER_MAX_THREADS, sizeof(*s->list));
	if (r == 0 && (!s->ring || !s->interps || !s->list))
		r = -ENOMEM;
	if (target->layout.tstate.size > THREAD_MAX_STATE)
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
	for (size_t i = 0; i < s->n_threads; i++)
		thread_free(s->threads[i]);
	handed = atomic_load(&s->handed);
	tables_free(handed);
	tables_free(s->read_tables);
	code_cache_free(s->walk.codes);
	for (size_t i = 0; s->interps && i < THREAD_MAX_INTERPRETERS; i++)
		thread_names_done(&s->interps[i].names);
	free(s->by_addr);
	free(s->threads);
	free(s->interps);
	free(s->ranges);
	free(s->own);
	free(s->list);
	free(s->tasks);
	free(s->ring);
	free(s);
}
