#include "remote/roster.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "remote/array.h"
#include "remote/sampler.h"

#define RESCAN_NS 50000000u   /* new interpreters, and threads where the links do not tell */
#define RELIST_NS 1000000000u /* a thread that we do not follow may have gone */
/* threading registers a thread after its state exists: it is looked for again, each time after
 * twice as long. A look takes longer the more threads there are. */
#define NAME_RETRY_NS	     1000000u
#define NAME_RETRY_THREAD_NS 100000u
#define NAME_RETRIES	     8
/* Right after a fork the child's thread states are its parent's threads, until the interpreter has
 * tidied up: who is no task of this process is looked for again, for as long. */
#define STRAY_NS 1000000000u

/* Out of the ring of its kernel thread's states. */
static void leave_twins(struct thread *th)
{
	struct thread *before = th->twin;

	while (before->twin != th)
		before = before->twin;
	before->twin = th->twin;
}

static void thread_free(struct thread *th)
{
	if (!th)
		return;
	leave_twins(th);
	walker_free(th->walker);
	task_watch_free(th->watch);
	if (th->syscall_fd >= 0)
		close(th->syscall_fd);
	if (th->stat_fd >= 0)
		close(th->stat_fd);
	if (th->schedstat_fd >= 0)
		close(th->schedstat_fd);
	free(th);
}

static size_t addr_slot(const struct roster *who, uint64_t addr)
{
	return (size_t)((addr >> 4) * 0x9e3779b97f4a7c15ull >> 20) & (who->n_by_addr - 1);
}

/* An empty index with room for all threads. */
static int clear_index(struct roster *who)
{
	size_t need = 64;

	while (need < who->n_threads * 2)
		need *= 2;
	if (array_reserve(&who->by_addr, &who->n_by_addr, need, sizeof(struct thread *)) < 0)
		return -ENOMEM;
	memset(who->by_addr, 0, who->n_by_addr * sizeof(*who->by_addr));
	return 0;
}

/* For a scan: the threads by the address of their state. */
static int index_threads(struct roster *who)
{
	if (clear_index(who) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < who->n_threads; i++) {
		size_t k = addr_slot(who, who->threads[i]->addr);

		while (who->by_addr[k])
			k = (k + 1) & (who->n_by_addr - 1);
		who->by_addr[k] = who->threads[i];
	}
	return 0;
}

static struct thread *find_thread(const struct roster *who, uint64_t addr)
{
	size_t k = addr_slot(who, addr);

	while (who->by_addr[k] && who->by_addr[k]->addr != addr)
		k = (k + 1) & (who->n_by_addr - 1);
	return who->by_addr[k];
}

/* Puts the states of each kernel thread in a ring; who is new is in none. Older ones come first. */
static int find_twins(struct roster *who)
{
	if (clear_index(who) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < who->n_threads; i++) {
		struct thread *th = who->threads[i], *first;
		size_t k = addr_slot(who, (uint64_t)th->tid << 4);

		while (who->by_addr[k] && who->by_addr[k]->tid != th->tid)
			k = (k + 1) & (who->n_by_addr - 1);
		first = who->by_addr[k];
		if (!first)
			who->by_addr[k] = th;
		if (!first || !th->tid || th->twin != th)
			continue;
		th->twin = first->twin;
		first->twin = th;
		th->run_ns = first->run_ns;
		th->run_known = first->run_known;
	}
	return 0;
}

static uint32_t our_tid(const struct roster *who, uint64_t ns_tid)
{
	for (int i = 0; i < who->n_tasks; i++)
		if (who->tasks[i].ns_tid == ns_tid)
			return who->tasks[i].tid;
	return 0;
}

/* The kernel id of a thread, in the target's namespace; 0 unknown. */
static uint64_t kernel_tid(struct roster *who, const struct thread_info *info)
{
	uint32_t tid;

	if (info->native_id)
		return info->native_id;
	if (who->tid_offset <= 0 || info->ident == 0 ||
	    MEMORY_READ(who->target->memory, info->ident + (uint64_t)who->tid_offset, &tid) < 0)
		return 0;
	return tid;
}

/* When a thread without a name is looked for again. */
static void name_later(const struct roster *who, struct thread *th,
		       const struct thread_names *names, uint64_t now)
{
	uint64_t pause = NAME_RETRY_NS + who->n_threads * (uint64_t)NAME_RETRY_THREAD_NS;

	if (th->named || th->name_tries == NAME_RETRIES)
		th->name_due_ns = 0;
	else if (!names->active)
		th->name_due_ns = names->searched_ns + names->pause_ns;
	else
		th->name_due_ns = now + (pause << th->name_tries++);
}

static bool name_is_due(const struct thread *th, const struct thread_names *names, uint64_t now)
{
	/* Tried it was only where threading was there. */
	return th->name_due_ns &&
	       (now >= th->name_due_ns || (names->active && th->name_tries == 0));
}

static void note_name_due(struct roster *who, const struct thread *th)
{
	if (th->name_due_ns && (!who->names_due_ns || th->name_due_ns < who->names_due_ns))
		who->names_due_ns = th->name_due_ns;
}

/* Puts a thread in the tables, under its name as far as it is known. */
static int name_thread(struct roster *who, struct thread *th, uint64_t ns_tid, uint64_t now)
{
	struct interpreter *in = &who->interps[th->interp];
	struct table_thread t = {
		.tid = ns_tid, .ident = th->ident, .interpreter = in->info.id, .main = th->main};
	char name[1024];
	size_t n = 0;

	/* Once a scan is enough for all of its threads. */
	if (in->names_ns != now) {
		thread_names_read(&in->names, who->target, &in->info, now, !th->id);
		in->names_ns = now;
	}
	if (!th->id || in->names.active)
		n = thread_name(who->target, &in->names, th->ident, th->tid, name, sizeof(name),
				&th->named);
	name_later(who, th, &in->names, now);
	if (th->id && !th->named)
		return 0;
	t.name = n ? tables_string(who->tables, name, (uint32_t)n) : 0;
	th->id = tables_thread(who->tables, &t);
	return th->id ? 0 : -ENOMEM;
}

static struct thread *thread_new(struct roster *who, size_t interp, const struct thread_info *info,
				 bool main)
{
	struct thread *th = calloc(1, sizeof(*th));

	if (!th)
		return NULL;
	th->twin = th;
	th->addr = info->addr;
	th->ident = info->ident;
	th->interp = interp;
	th->main = main;
	th->syscall_fd = th->stat_fd = th->schedstat_fd = th->cpu = -1;
	if (walker_new(&th->walker, who->target, info->addr, info->ident,
		       who->interps[interp].info.addr) < 0) {
		free(th);
		return NULL;
	}
	return th;
}

static int add_thread(struct roster *who, struct thread *th)
{
	if (array_reserve(&who->threads, &who->room_threads, who->n_threads + 1,
			  sizeof(struct thread *)) < 0)
		return -ENOMEM;
	who->threads[who->n_threads++] = th;
	return 0;
}

static bool is_main(const struct roster *who, const struct interpreter_info *in,
		    const struct thread_info *list, int n, int i, uint64_t ns_tid)
{
	if (in->threads_main)
		return list[i].addr == in->threads_main;
	if (in->id != 0)
		return i == n - 1;
	/* The kernel's main thread, if it is one of these (an embedding program's may not be), else
	 * the oldest. */
	if (ns_tid)
		return ns_tid == who->pid_ns_tid;
	return i == n - 1;
}

static void refresh_tasks(struct roster *who)
{
	struct task *tasks;
	int n = task_list(who->target, &tasks);

	if (n < 0)
		return;
	free(who->tasks);
	who->tasks = tasks;
	who->n_tasks = n;
	who->pid_ns_tid = (uint64_t)who->target->pid;
	for (int i = 0; i < n; i++)
		if (tasks[i].tid == (uint32_t)who->target->pid)
			who->pid_ns_tid = tasks[i].ns_tid;
}

static void link_thread(struct thread *th, const struct thread_info *list, int i)
{
	th->prev = i ? list[i - 1].addr : 0;
	th->next = list[i].next;
}

/* A thread that is just starting has no identity yet, or not the kernel's, which is written next:
 * it is looked for again. */
static bool is_starting(const struct roster *who, const struct thread_info *info)
{
	return info->ident == 0 ||
	       (who->target->layout.tstate.native_thread_id != ABSENT && info->native_id == 0);
}

/* Whether an older thread of the list has the same identity: to 3.11 a thread's state is made by
 * the thread that starts it, and carries that one's until it runs. */
static bool is_borrowed(const struct thread_info *list, int n, int i)
{
	for (int k = i + 1; k < n; k++)
		if (list[k].ident == list[i].ident)
			return true;
	return false;
}

/* Whether a thread that is no task is taken for its parent's, or for one that ends; or one with
 * another's identity for one that starts. */
static bool is_stray(struct roster *who, uint64_t now)
{
	if (!who->patient)
		return false;
	who->strays = true;
	if (!who->stray_ns)
		who->stray_ns = now;
	return now - who->stray_ns < STRAY_NS;
}

/* Brings one interpreter's threads up to date. How many it has, or -errno. */
static int scan_threads(struct roster *who, size_t interp, uint64_t now)
{
	struct interpreter *in = &who->interps[interp];
	struct thread_info *list = who->list;
	bool fresh_tasks = false, any_main = false;
	int n, r = 0;

	n = thread_list(who->target, &in->info, list, SAMPLER_MAX_THREADS);
	if (n > 0 && who->target->layout.tstate.native_thread_id == ABSENT &&
	    who->tid_offset <= 0) {
		refresh_tasks(who);
		fresh_tasks = true;
		who->tid_offset = thread_find_tid_offset(who->target, list, (size_t)n, who->tasks,
							 (size_t)who->n_tasks);
	}
	for (int i = 0; i < n && r == 0; i++) {
		uint64_t ns_tid = kernel_tid(who, &list[i]);
		struct thread *th = find_thread(who, list[i].addr);
		bool main = is_main(who, &in->info, list, n, i, ns_tid);

		any_main |= main;
		if (i == n - 1 && !any_main)
			main = true;
		/* Its state was used again by another, who is new; this one is not seen any more.
		 */
		if (th && th->ident != list[i].ident)
			th = NULL;
		if (!who->all_threads && !(main && in->info.id == 0))
			continue;
		if (th) {
			th->seen = true;
			link_thread(th, list, i);
			if (name_is_due(th, &in->names, now))
				r = name_thread(who, th, ns_tid, now);
			note_name_due(who, th);
			continue;
		}
		if (is_starting(who, &list[i])) {
			in->listed_head = 0;
			continue;
		}
		if (is_borrowed(list, n, i) && is_stray(who, now)) {
			in->listed_head = 0;
			who->rescan = true;
			continue;
		}
		th = thread_new(who, interp, &list[i], main);
		if (!th) {
			r = -ENOMEM;
			break;
		}
		th->tid = our_tid(who, ns_tid);
		if (!th->tid && ns_tid && !fresh_tasks) {
			refresh_tasks(who);
			fresh_tasks = true;
			th->tid = our_tid(who, ns_tid);
		}
		if (!th->tid && ns_tid && is_stray(who, now)) {
			thread_free(th);
			in->listed_head = 0;
			who->rescan = true;
			continue;
		}
		th->seen = true;
		link_thread(th, list, i);
		r = name_thread(who, th, ns_tid, now);
		note_name_due(who, th);
		if (r == 0)
			r = add_thread(who, th);
		if (r < 0)
			thread_free(th);
	}
	/* So is the main thread while an interpreter that is just starting does not name it. */
	if (!any_main)
		in->listed_head = 0;
	return n < 0 ? n : r < 0 ? r : n;
}

static void keep_threads(struct roster *who, size_t interp)
{
	for (size_t i = 0; i < who->n_threads; i++)
		if (who->threads[i]->interp == interp)
			who->threads[i]->seen = true;
}

/* Which interpreters have a GIL together. */
static void find_shared_gils(struct roster *who)
{
	for (size_t i = 0; i < who->n_interps; i++) {
		struct interpreter *in = &who->interps[i];

		in->turns.shared = false;
		for (size_t k = 0; k < who->n_interps && !in->turns.shared; k++)
			in->turns.shared = k != i && who->interps[k].seen &&
					   who->interps[k].turns.addr == in->turns.addr;
	}
}

/* Brings interpreters and threads up to date. all: lists even those whose newest thread is the
 * same. */
static int scan(struct roster *who, uint64_t now, bool all)
{
	struct interpreter_info found[THREAD_MAX_INTERPRETERS];
	int n = interpreter_list(who->target, found, THREAD_MAX_INTERPRETERS), total = 0, r = 0;
	size_t kept = 0;

	if (n >= 0 && index_threads(who) < 0)
		n = -ENOMEM;
	if (n < 0)
		return n;
	who->strays = false;
	for (size_t i = 0; i < who->n_threads; i++)
		who->threads[i]->seen = false;
	for (size_t i = 0; i < who->n_interps; i++)
		who->interps[i].seen = false;
	for (int i = 0; i < n; i++) {
		size_t k = 0;

		while (k < who->n_interps && (who->interps[k].info.addr != found[i].addr ||
					      who->interps[k].info.id != found[i].id))
			k++;
		if (k == THREAD_MAX_INTERPRETERS)
			continue;
		if (k == who->n_interps) {
			thread_names_done(&who->interps[k].names);
			memset(&who->interps[k], 0, sizeof(who->interps[k]));
			who->n_interps++;
		}
		who->interps[k].info = found[i];
		who->interps[k].seen = true;
		state_words_plan(&who->interps[k].words, who->target, &found[i]);
		turns_plan(&who->interps[k].turns, who->target, &found[i]);
		if (!all && found[i].threads_head == who->interps[k].listed_head) {
			keep_threads(who, k);
			total += who->interps[k].listed;
			continue;
		}
		who->interps[k].listed_head = found[i].threads_head;
		r = scan_threads(who, k, now);
		who->interps[k].listed = r > 0 ? r : 0;
		if (r == -EAGAIN || r == -EFAULT) {
			/* The list moved: what is known of it stays, and it is read again. */
			keep_threads(who, k);
			who->rescan = true;
			continue;
		}
		if (r < 0)
			return r;
		total += r;
	}
	for (size_t i = 0; i < who->n_threads; i++) {
		if (who->threads[i]->seen)
			who->threads[kept++] = who->threads[i];
		else
			thread_free(who->threads[i]);
	}
	who->n_threads = kept;
	/* Interpreters keep their places, threads refer to them; the last ones go when unused. */
	while (who->n_interps && !who->interps[who->n_interps - 1].seen)
		who->n_interps--;
	find_shared_gils(who);
	r = find_twins(who);
	if (r < 0)
		return r;
	if (!who->strays)
		who->stray_ns = 0;
	who->total = (uint64_t)total;
	who->scanned_ns = now;
	return 0;
}

static bool holds_gil(const struct roster *who, const struct thread *th)
{
	return state_of(&who->target->layout, &who->interps[th->interp].words,
			walker_words(th->walker), th->addr, false) &
	       STATE_GIL;
}

/* Whether a is inside of b: neither holds a GIL. Where the version does not keep anything of its
 * frames on the C stack, the one that held a GIL last. */
static bool is_inner(const struct thread *a, const struct thread *b)
{
	uint64_t a_stack = walker_c_stack(a->walker), b_stack = walker_c_stack(b->walker);

	if (walker_has_frames(a->walker) != walker_has_frames(b->walker))
		return walker_has_frames(a->walker);
	if (a_stack && b_stack)
		return a_stack < b_stack;
	return a->used_ns > b->used_ns;
}

bool roster_is_used(const struct roster *who, struct thread *th, uint64_t now_ns)
{
	bool used = true, holds;

	if (th->twin == th)
		return true;
	holds = holds_gil(who, th);
	for (const struct thread *t = th->twin; t != th && used && !holds; t = t->twin)
		used = !holds_gil(who, t) && !is_inner(t, th);
	if (holds)
		th->used_ns = now_ns;
	return used;
}

bool roster_same_links(const struct roster *who, const struct thread *th)
{
	const struct layout *l = &who->target->layout;
	const uint8_t *words = walker_words(th->walker);

	return memcmp(words + l->tstate.prev, &th->prev, 8) == 0 &&
	       memcmp(words + l->tstate.next, &th->next, 8) == 0;
}

/* Whether the words gathered last name another newest thread than the scan found: one entered an
 * interpreter, or left it, with a new state. */
static bool heads_changed(const struct roster *who)
{
	for (size_t i = 0; who->all_threads && i < who->n_interps; i++) {
		const struct interpreter *in = &who->interps[i];
		uint64_t head;

		if (in->seen && state_words_threads_head(&in->words, &head) &&
		    head != in->info.threads_head)
			return true;
	}
	return false;
}

int roster_refresh(struct roster *who, uint64_t now_ns)
{
	bool names_due = who->names_due_ns && now_ns >= who->names_due_ns, all;

	if (!who->rescan && !names_due && now_ns - who->scanned_ns <= RESCAN_NS &&
	    !heads_changed(who))
		return 0;
	all = who->rescan || now_ns - who->listed_ns > RELIST_NS || names_due;
	who->rescan = false;
	if (all) {
		who->listed_ns = now_ns;
		who->names_due_ns = 0;
	}
	return scan(who, now_ns, all);
}

void roster_restart(struct roster *who, struct tables *tables)
{
	for (size_t i = 0; i < who->n_threads; i++)
		thread_free(who->threads[i]);
	who->n_threads = 0;
	who->tables = tables;
	who->rescan = true;
}

int roster_init(struct roster *who, struct target *target, struct tables *tables, bool all_threads)
{
	memset(who, 0, sizeof(*who));
	who->target = target;
	who->tables = tables;
	who->all_threads = all_threads;
	who->rescan = true;
	who->tid_offset = -1;
	who->interps = calloc(THREAD_MAX_INTERPRETERS + 1, sizeof(*who->interps));
	who->list = calloc(SAMPLER_MAX_THREADS, sizeof(*who->list));
	return who->interps && who->list ? 0 : -ENOMEM;
}

void roster_done(struct roster *who)
{
	for (size_t i = 0; i < who->n_threads; i++)
		thread_free(who->threads[i]);
	for (size_t i = 0; who->interps && i < THREAD_MAX_INTERPRETERS; i++)
		thread_names_done(&who->interps[i].names);
	free(who->threads);
	free(who->interps);
	free(who->list);
	free(who->tasks);
	free(who->by_addr);
}
