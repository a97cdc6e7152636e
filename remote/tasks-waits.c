#include "remote/tasks-waits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "remote/address-map.h"
#include "remote/array.h"
#include "remote/memo.h"
#include "remote/sampler.h"
#include "remote/tasks.h"

#define FIND_NS	    50000000u	/* between two looks for asyncio, which may be imported later */
#define FIND_AGAIN  2		/* looks more once it was found: it may have been half imported */
#define GREEN_NS    100000000u	/* between two looks for greenlets at least */
#define NO_GREEN_NS 1000000000u /* where the module is not imported */
#define GREEN_SHARE 50u		/* and so often as long as one takes */
#define GREEN_CALLS 8192u	/* what one may cost for each list: some 12 ms */
#define TELL_NS	    500000000u	/* a stay is told in pieces of this: a recording may be cut */
#define FORGET	    1024u /* looks after which pages that are not needed any more are given up */
#define MAX_CHAIN   64	  /* tasks above each other in one stack */
#define MAX_FRAMES  (2 * SAMPLER_MAX_DEPTH)

struct seen {
	uint64_t addr;
	uint32_t look; /* that it was last listed in */
	bool fresh;    /* read in this look: to be proven */
	bool child;    /* awaits another task */
	enum task_waits what;
	struct memo memo;
	struct task_waiting at;
	uint32_t composed; /* its stack with those that await it; 0 not made */
	/* What is not told yet: count looks on stack. */
	uint64_t first_ns, ns, count;
	uint32_t stack, thread;
};

struct waits {
	struct task_reader *reader;
	struct tables *tables;
	struct waits_listener listener;
	struct memory_log log;
	struct task_list list;
	uint64_t found_ns, green_ns; /* the next for greenlets */
	unsigned again;
	uint32_t look;
	struct seen **seen;
	size_t n, room;
	uint32_t *slots; /* by address: index + 1 */
	size_t n_slots;
	uint64_t lost; /* not told yet */
	bool stale;    /* who awaits whom is to be found anew: the last look moved */
	uint8_t *scratch;
};

int waits_new(struct waits **ret, struct target *target, struct tables *tables,
	      const struct waits_listener *listener)
{
	struct waits *w = calloc(1, sizeof(*w));
	int r = -ENOMEM;

	if (!w)
		return -ENOMEM;
	w->tables = tables;
	w->listener = *listener;
	w->scratch = malloc(MEMO_BYTES);
	if (w->scratch)
		r = task_reader_new(&w->reader, target, tables);
	if (r < 0) {
		waits_free(w);
		return r;
	}
	*ret = w;
	return 0;
}

static void seen_free(struct seen *t)
{
	memo_done(&t->memo);
	free(t->at.awaiters);
	free(t);
}

static void drop_all(struct waits *w)
{
	for (size_t i = 0; i < w->n; i++)
		seen_free(w->seen[i]);
	w->n = 0;
	if (w->slots)
		memset(w->slots, 0, w->n_slots * sizeof(*w->slots));
}

void waits_free(struct waits *w)
{
	if (!w)
		return;
	drop_all(w);
	task_reader_free(w->reader);
	task_list_done(&w->list);
	memory_log_done(&w->log);
	free(w->seen);
	free(w->slots);
	free(w->scratch);
	free(w);
}

void waits_forget(struct waits *w, struct tables *tables)
{
	drop_all(w);
	w->tables = tables;
	task_reader_forget(w->reader, tables);
}

/* ---- the tasks by address ---- */

static uint32_t *slot_of(const struct waits *w, uint64_t addr)
{
	size_t s = address_hash(addr) & (w->n_slots - 1);

	while (w->slots[s] && w->seen[w->slots[s] - 1]->addr != addr)
		s = (s + 1) & (w->n_slots - 1);
	return &w->slots[s];
}

static struct seen *find(const struct waits *w, uint64_t addr)
{
	uint32_t i = w->n_slots ? *slot_of(w, addr) : 0;

	return i ? w->seen[i - 1] : NULL;
}

static void fill_slots(struct waits *w)
{
	memset(w->slots, 0, w->n_slots * sizeof(*w->slots));
	for (size_t i = 0; i < w->n; i++)
		*slot_of(w, w->seen[i]->addr) = (uint32_t)i + 1;
}

static int grow(struct waits *w)
{
	size_t room = w->room;
	uint32_t *slots;

	if (w->n < w->room)
		return 0;
	if (array_reserve(&w->seen, &room, w->n + 1, sizeof(*w->seen)) < 0)
		return -ENOMEM;
	slots = calloc(room * 2, sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	free(w->slots);
	w->slots = slots;
	w->n_slots = room * 2;
	w->room = room;
	fill_slots(w);
	return 0;
}

static struct seen *add(struct waits *w, uint64_t addr)
{
	struct seen *t = find(w, addr);

	if (t)
		return t;
	t = grow(w) == 0 ? calloc(1, sizeof(*t)) : NULL;
	if (!t)
		return NULL;
	t->addr = addr;
	t->what = TASK_CHANGES;
	w->seen[w->n++] = t;
	*slot_of(w, addr) = (uint32_t)w->n;
	return t;
}

/* ---- telling ---- */

static void tell(struct waits *w, struct seen *t)
{
	if (t->count &&
	    !w->listener.stood(w->listener.arg, t->first_ns, t->ns, t->count, t->thread, t->stack))
		w->lost += t->count;
	t->count = t->ns = 0;
}

static void tell_lost(struct waits *w, uint64_t now)
{
	if (w->lost && w->listener.stood(w->listener.arg, now, 0, w->lost, 0, 0))
		w->lost = 0;
}

void waits_flush(struct waits *w)
{
	for (size_t i = 0; i < w->n; i++)
		tell(w, w->seen[i]);
	tell_lost(w, 0);
}

/* ---- one look ---- */

/* Follows a task whose words are not known to be what they were. */
static int follow(struct waits *w, struct seen *t, const struct task_ref *ref)
{
	struct task_waiting at;
	int what = task_reader_waiting(w->reader, ref, &w->log, &at);

	if (what < 0)
		return what;
	t->fresh = true;
	t->what = (enum task_waits)what;
	if (t->what == TASK_CHANGES)
		return 0;
	/* Of one that changes who awaited it is the best there is. */
	free(t->at.awaiters);
	t->at = at;
	if (memo_keep(&t->memo, &w->log) < 0)
		t->what = TASK_CHANGES;
	return 0;
}

static bool holds(struct waits *w, struct seen *t)
{
	return t->what != TASK_CHANGES &&
	       memo_holds_in(&t->memo, task_reader_memory(w->reader), w->scratch);
}

/* Forgets those that are not listed any more. Whether there were any. */
static bool sweep(struct waits *w)
{
	size_t kept = 0, n = w->n;

	for (size_t i = 0; i < n; i++) {
		struct seen *t = w->seen[i];

		if (t->look == w->look) {
			w->seen[kept++] = t;
			continue;
		}
		tell(w, t);
		seen_free(t);
	}
	w->n = kept;
	if (kept < n)
		fill_slots(w);
	return kept < n;
}

static bool same_list(const struct task_list *a, const struct task_list *b)
{
	return a->n == b->n && a->more == b->more && a->n_loops == b->n_loops &&
	       (a->n == 0 || memcmp(a->tasks, b->tasks, a->n * sizeof(*a->tasks)) == 0) &&
	       (a->n_loops == 0 || memcmp(a->loops, b->loops, a->n_loops * sizeof(*a->loops)) == 0);
}

/* Once more, when something was followed anew. -EAGAIN: there are other tasks now. */
static int read_again(struct waits *w)
{
	struct task_list again = {0};
	int r = memory_renew(task_reader_memory(w->reader));

	if (r == 0)
		r = task_reader_list(w->reader, &again);
	if (r == 0 && !same_list(&w->list, &again))
		r = -EAGAIN;
	task_list_done(&again);
	for (size_t i = 0; i < w->n && r == 0; i++)
		if (w->seen[i]->fresh && !holds(w, w->seen[i]))
			w->seen[i]->what = TASK_CHANGES;
	return r;
}

/* Twice: a loop that goes round makes its coroutines at the same addresses again, and could be
 * where it was just when it is read the second time. The third comes after another time than that.
 */
static int prove(struct waits *w)
{
	int r = read_again(w);

	return r == 0 ? read_again(w) : r;
}

/* 0, -EAGAIN when it moved. *ret_changed: not all is as it was. */
static int read_all(struct waits *w, bool *ret_changed)
{
	bool changed = false;
	int r;

	task_list_done(&w->list);
	r = task_reader_list(w->reader, &w->list);
	if (r == 0 && w->list.more && w->list.n < TASKS_MAX)
		r = -EAGAIN; /* a list that was just changed */
	for (size_t i = 0; i < w->list.n && r == 0; i++) {
		struct seen *t = add(w, w->list.tasks[i].addr);

		if (!t)
			return -ENOMEM;
		t->look = w->look;
		t->fresh = false;
		if (!holds(w, t))
			r = follow(w, t, &w->list.tasks[i]);
		changed |= t->fresh;
	}
	if (r < 0)
		return r;
	changed |= sweep(w);
	*ret_changed = changed;
	return changed ? prove(w) : 0;
}

/* Which tasks are awaited by none, from the leaf: those have stacks of their own. */
static void mark_children(struct waits *w)
{
	for (size_t i = 0; i < w->n; i++) {
		w->seen[i]->child = false;
		w->seen[i]->composed = 0;
	}
	for (size_t i = 0; i < w->n; i++)
		for (uint32_t k = 0; k < w->seen[i]->at.n_awaiters; k++) {
			struct seen *t = find(w, w->seen[i]->at.awaiters[k]);

			if (t)
				t->child = true;
		}
}

/* The frames of stack, put on onto; 0 when memory is short. */
static uint32_t put_on(struct tables *t, uint32_t stack, uint32_t onto)
{
	uint32_t frames[MAX_FRAMES], n = 0;
	const struct table_stack *s;

	for (; n < MAX_FRAMES && (s = tables_get_stack(t, stack)); stack = s->parent)
		frames[n++] = s->frame;
	while (n > 0 && onto)
		onto = tables_stack(t, onto, frames[--n]);
	return onto;
}

/* The stack of a task, those that await it included: the one at the lowest address each time. 0:
 * one of them is not known, or memory is short. */
static uint32_t compose(struct waits *w, struct seen *leaf)
{
	struct seen *chain[MAX_CHAIN], *at = leaf;
	uint32_t stack = 0;
	size_t n = 0;

	while (at && n < MAX_CHAIN) {
		bool again = false;

		for (size_t i = 0; i < n; i++)
			again |= chain[i] == at;
		if (again)
			break;
		if (at->what != TASK_WAITS)
			return 0;
		chain[n++] = at;
		if (at->at.n_awaiters == 0)
			break;
		at = find(w, at->at.awaiters[0]);
		/* A set that is just made larger has lost some for a moment. */
		if (!at)
			return 0;
	}
	for (; n > 0; n--) {
		at = chain[n - 1];
		stack = task_marker(w->tables, stack, at->at.name, at->addr, at->at.n_awaiters);
		if (stack)
			stack = put_on(w->tables, at->at.stack, stack);
		if (!stack)
			return 0;
	}
	return stack;
}

/* Whether the task is of those that are asked for; *ret_thread 0 where no thread runs its loop. */
static bool is_asked(const struct waits *w, const struct seen *t, uint32_t *ret_thread)
{
	*ret_thread = 0;
	for (size_t i = 0; i < w->list.n_loops; i++)
		if (w->list.loops[i].loop == t->at.loop) {
			*ret_thread = w->listener.thread(w->listener.arg, w->list.loops[i].tstate);
			return *ret_thread != 0;
		}
	return true;
}

static void note_stay(struct waits *w, struct seen *t, uint64_t now, uint64_t ns)
{
	uint32_t thread;

	if (t->what == TASK_RUNS || t->child || !is_asked(w, t, &thread)) {
		tell(w, t);
		return;
	}
	if (t->what == TASK_WAITS && !t->composed)
		t->composed = compose(w, t);
	if (t->what != TASK_WAITS || !t->composed) {
		tell(w, t);
		w->lost++;
		return;
	}
	if (t->count &&
	    (t->stack != t->composed || t->thread != thread || now - t->first_ns >= TELL_NS))
		tell(w, t);
	if (t->count == 0)
		t->first_ns = now;
	t->stack = t->composed;
	t->thread = thread;
	t->count++;
	t->ns += ns;
}

static int refresh(struct waits *w, uint64_t now)
{
	int r;

	if (w->again > FIND_AGAIN || now - w->found_ns < FIND_NS)
		return 0;
	w->found_ns = now;
	r = task_reader_find(w->reader);
	if (!task_reader_knows_asyncio(w->reader))
		return r;
	w->again++;
	waits_flush(w);
	drop_all(w);
	return r;
}

static uint64_t clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Which greenlets there are takes a walk over all objects: from time to time. */
static int refresh_greenlets(struct waits *w, uint64_t now)
{
	uint64_t begin = clock_ns(), ns;
	int r;

	if (now < w->green_ns)
		return 0;
	r = task_reader_find_greenlets(w->reader, GREEN_CALLS);
	ns = (clock_ns() - begin) * GREEN_SHARE;
	w->green_ns = now + (task_reader_knows_greenlets(w->reader) ? GREEN_NS : NO_GREEN_NS);
	if (w->green_ns < now + ns)
		w->green_ns = now + ns;
	return r;
}

static bool is_fatal(int r)
{
	return r == -ENOMEM || r == -ESRCH || r == -EPERM;
}

int waits_look(struct waits *w, uint64_t now_ns, uint64_t ns)
{
	bool changed = true;
	int r = refresh(w, now_ns);

	if (r == 0)
		r = refresh_greenlets(w, now_ns);
	if (r == 0 && task_reader_found(w->reader) == TASKS_NO_ASYNCIO)
		return 0;
	w->look++;
	if (r == 0 && w->look % FORGET == 0)
		memory_forget(task_reader_memory(w->reader));
	else if (r == 0)
		r = memory_renew(task_reader_memory(w->reader));
	if (r == 0)
		r = read_all(w, &changed);
	if (is_fatal(r))
		return r;
	if (r < 0) {
		/* Which of them waited is not known. */
		w->lost += w->n ? w->n : 1;
		tell_lost(w, now_ns);
		/* What was read is not proven. */
		for (size_t i = 0; i < w->n; i++)
			if (w->seen[i]->fresh)
				w->seen[i]->what = TASK_CHANGES;
		w->stale = true;
		return 0;
	}
	if (changed || w->stale)
		mark_children(w);
	w->stale = false;
	w->lost += task_reader_lacks_greenlets(w->reader);
	for (size_t i = 0; i < w->n; i++)
		note_stay(w, w->seen[i], now_ns, ns);
	tell_lost(w, now_ns);
	return 0;
}
