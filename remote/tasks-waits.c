#include "remote/tasks-waits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "remote/address-map.h"
#include "remote/array.h"
#include "remote/clock.h"
#include "remote/sampler.h"
#include "remote/tasks-waits-parts.h"

#define FIND_NS	    50000000u	/* between two looks for asyncio, which may be imported later */
#define FIND_AGAIN  2		/* looks more once it was found: it may have been half imported */
#define GREEN_NS    100000000u	/* between two looks for greenlets at least */
#define NO_GREEN_NS 1000000000u /* where the module is not imported */
#define GREEN_SHARE 50u		/* and so often as long as one takes */
#define GREEN_CALLS 8192u	/* what one may cost for each list: some 12 ms */
#define TELL_NS	    500000000u	/* a stay is told in pieces of this: a recording may be cut */
#define PAGE_LOOKS  16u		/* after which a page that was not needed is not read any more */
#define LIST_TRIES  3		/* readings of lists that move */
#define READ_TRIES  4		/* readings that are interrupted */
#define READ_PAGES  10u		/* one takes as long as this many pages of it, and for each page */
#define PAGE_NS	    1000u	/* no longer, where the machine is not known to be slower */
#define MOST_NS	    10000u	/* nor than this: most are interrupted then */
#define GONE_LOOKS  2		/* that do not list a task, and it is forgotten */
#define TORN_LOOKS  64u		/* so many where the lists moved all the time */
#define HEAT	    8u		/* of a change; each look without one takes 1 */
#define HOT	    16u		/* it changes often: it is looked at by itself */
#define MAX_HEAT    40u
#define MAX_FRAMES  (2 * SAMPLER_MAX_DEPTH)

int waits_new(struct waits **ret, struct target *target, struct tables *tables,
	      const struct waits_listener *listener)
{
	struct waits *w = calloc(1, sizeof(*w));
	int r = -ENOMEM;

	if (!w)
		return -ENOMEM;
	w->tables = tables;
	w->page.ns = PAGE_NS / 2;
	w->live = target->memory;
	w->listener = *listener;
	w->scratch = malloc(MEMO_BYTES);
	if (w->scratch)
		r = task_reader_new(&w->reader, target, tables);
	if (r == 0)
		r = quick_new(&w->quick, w);
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
	quick_free(w->quick);
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

struct seen *waits_find(const struct waits *w, uint64_t addr)
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

struct seen *waits_add(struct waits *w, const struct task_ref *ref)
{
	struct seen *t = waits_find(w, ref->addr);

	if (!t) {
		t = grow(w) == 0 ? calloc(1, sizeof(*t)) : NULL;
		if (!t)
			return NULL;
		t->addr = ref->addr;
		t->what = TASK_CHANGES;
		w->seen[w->n++] = t;
		*slot_of(w, t->addr) = (uint32_t)w->n;
	}
	t->ref = *ref;
	t->look = w->look;
	t->missing = 0;
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

bool waits_in_time(struct latency *page, uint64_t began_ns, size_t pages)
{
	const uint64_t took = (clock_now_ns() - began_ns) / (READ_PAGES + pages);

	(void)latency_add(page, took);
	return took < PAGE_NS || (took < 2 * page->ns && took < MOST_NS);
}

int waits_renew(struct waits *w)
{
	struct memory *m = task_reader_memory(w->reader);
	int r = -EAGAIN;

	for (int i = 0; i < READ_TRIES && r == -EAGAIN; i++) {
		uint64_t began = clock_now_ns();

		r = memory_renew(m);
		if (r == 0 && !waits_in_time(&w->page, began, memory_kept(m)))
			r = -EAGAIN;
	}
	return r;
}

int waits_follow(struct waits *w, struct seen *t)
{
	struct task_waiting at;
	int what = task_reader_waiting(w->reader, &t->ref, &w->log, &at);

	if (what < 0)
		return what;
	t->moved = true;
	t->what = (enum task_waits)what;
	if (t->what == TASK_CHANGES)
		return 0;
	/* Of one that changes who awaited it is the best there is. */
	free(t->at.awaiters);
	t->at = at;
	t->made = ++w->followed;
	if (memo_keep(&t->memo, &w->log) < 0)
		t->what = TASK_CHANGES;
	return 0;
}

bool waits_holds(struct waits *w, struct seen *t, struct memory *m)
{
	return t->what != TASK_CHANGES && memo_holds_in(&t->memo, m, w->scratch);
}

/* Forgets those that are not there any more. whole: the lists were gone through. A task that is
 * not found once is still judged by its own words. */
static void sweep(struct waits *w, bool whole)
{
	size_t kept = 0, n = w->n;

	for (size_t i = 0; i < n; i++) {
		struct seen *t = w->seen[i];

		if (t->look != w->look)
			t->missing += whole;
		if (t->missing < GONE_LOOKS && w->look - t->look < TORN_LOOKS) {
			w->seen[kept++] = t;
			continue;
		}
		tell(w, t);
		seen_free(t);
	}
	w->n = kept;
	if (kept < n)
		fill_slots(w);
}

bool waits_is_fatal(int r)
{
	return r == -ENOMEM || r == -ESRCH || r == -EPERM;
}

/* Which tasks there are. 0 or -errno. */
static int list(struct waits *w)
{
	bool torn = true;
	int r = 0;

	for (int i = 0; i < LIST_TRIES && torn; i++) {
		struct task_list now = {0};

		if (i)
			r = memory_renew(task_reader_memory(w->reader));
		if (r == 0)
			r = task_reader_list(w->reader, &now);
		if (waits_is_fatal(r))
			return r;
		if (r < 0)
			continue;
		task_list_done(&w->list);
		w->list = now;
		torn = now.more && now.n < TASKS_MAX;
		for (size_t k = 0; k < now.n; k++)
			if (!waits_add(w, &now.tasks[k]))
				return -ENOMEM;
	}
	/* There may be one more. */
	w->lost += torn;
	sweep(w, !torn);
	return 0;
}

/* Whether all that await it, as far as is known, are proven. */
static bool hangs_on_proven(const struct waits *w, const struct seen *t)
{
	for (size_t n = 0; t && t->at.n_awaiters && n < MAX_AWAITERS_UP; n++) {
		t = waits_find(w, t->at.awaiters[0]);
		if (t && !t->proven)
			return false;
	}
	return true;
}

/* One that is awaited by another that is not proven yet is to be proven with it. */
static void leave_hanging(struct waits *w)
{
	for (size_t i = 0; i < w->n; i++)
		if (w->seen[i]->proven && !hangs_on_proven(w, w->seen[i]))
			w->seen[i]->proven = false;
}

static size_t count_left(const struct waits *w)
{
	size_t n = 0;

	for (size_t i = 0; i < w->n; i++)
		n += !w->seen[i]->proven;
	return n;
}

/* Those that stand still are proven by the reading that there was. How many are not. */
static size_t read_all(struct waits *w)
{
	for (size_t i = 0; i < w->n; i++) {
		struct seen *t = w->seen[i];

		t->fresh = t->moved = t->quick = t->loose = false;
		t->unit = 0;
		t->base = 0;
		t->proven = t->heat < HOT && waits_holds(w, t, task_reader_memory(w->reader));
	}
	leave_hanging(w);
	return count_left(w);
}

/* Many have changed: those that do not do so often are followed by what was read, and proven
 * together. Twice: a loop that goes round makes its coroutines at the same addresses again, and
 * could be where it was just when it is read the second time. The third comes after another time
 * than that. */
static int prove_together(struct waits *w)
{
	struct memory *m = task_reader_memory(w->reader);
	int r = 0;

	for (size_t i = 0; i < w->n && r == 0; i++) {
		struct seen *t = w->seen[i];

		if (t->proven || t->heat >= HOT)
			continue;
		t->proven = true;
		if (!waits_holds(w, t, m))
			r = waits_follow(w, t);
		t->fresh = true;
	}
	for (int k = 0; k < 2 && r == 0; k++) {
		r = waits_renew(w);
		for (size_t i = 0; i < w->n && r == 0; i++)
			if (w->seen[i]->fresh && !waits_holds(w, w->seen[i], m))
				w->seen[i]->proven = false;
	}
	leave_hanging(w);
	return r;
}

/* 0, -EAGAIN when it could not be read. */
static int look_at_all(struct waits *w, uint64_t ns)
{
	size_t left;
	int r;

	memory_prune(task_reader_memory(w->reader), PAGE_LOOKS);
	r = waits_renew(w);
	if (r == 0)
		r = list(w);
	if (r < 0)
		return r;
	left = read_all(w);
	if (left > quick_room(w->quick, ns))
		r = prove_together(w);
	if (r == 0 && left)
		r = quick_prove(w->quick, ns);
	return r;
}

/* Which tasks are awaited by none, from the leaf: those have stacks of their own. */
static void mark_children(struct waits *w)
{
	for (size_t i = 0; i < w->n; i++)
		w->seen[i]->child = false;
	for (size_t i = 0; i < w->n; i++)
		for (uint32_t k = 0; k < w->seen[i]->at.n_awaiters; k++) {
			struct seen *t = waits_find(w, w->seen[i]->at.awaiters[k]);

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

/* Those that await leaf, it the first: how many; 0 where they are not known to have waited at one
 * instant. */
static size_t chain_of(const struct waits *w, struct seen *leaf, struct seen **chain)
{
	struct seen *at = leaf;
	size_t n = 0;

	while (n < MAX_AWAITERS_UP) {
		for (size_t i = 0; i < n; i++)
			if (chain[i] == at)
				return n;
		if (at->what != TASK_WAITS || !at->proven || (at->unit && at->unit != leaf->unit))
			return 0;
		chain[n++] = at;
		if (at->at.n_awaiters == 0)
			break;
		at = waits_find(w, at->at.awaiters[0]);
		/* A set that is just made larger has lost some for a moment. */
		if (!at)
			return 0;
	}
	return n;
}

uint32_t waits_compose(struct waits *w, struct seen *leaf)
{
	struct seen *chain[MAX_AWAITERS_UP] = {NULL};
	size_t n = chain_of(w, leaf, chain);
	bool same = leaf->composed != 0;
	uint32_t stack = 0;

	for (size_t i = 0; i < n; i++)
		same &= chain[i]->made <= leaf->composed_in;
	if (n && same)
		return leaf->composed;
	leaf->composed_in = w->followed;
	for (; n > 0; n--) {
		struct seen *at = chain[n - 1];

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
	uint64_t loop = t->unit ? t->loop : t->at.loop;

	*ret_thread = 0;
	for (size_t i = 0; i < w->list.n_loops; i++)
		if (w->list.loops[i].loop == loop) {
			*ret_thread = w->listener.thread(w->listener.arg, w->list.loops[i].tstate);
			return *ret_thread != 0;
		}
	return true;
}

/* The stack that a task was seen on in this look; 0: it was not. */
static uint32_t place_of(struct waits *w, struct seen *t)
{
	const struct seen *awaited = waits_find(w, t->at.awaits);

	/* It awaits a task that was not known yet when it was looked for. */
	if (t->at.awaits && t->quick && (!awaited || !awaited->proven))
		return 0;
	/* That of one that does not stand still is made where it was proven. */
	if (!t->unit)
		t->composed = waits_compose(w, t);
	return t->composed;
}

static void note_stay(struct waits *w, struct seen *t, uint64_t now, uint64_t ns)
{
	uint32_t thread, stack = 0;

	if (t->child || (t->proven && !t->loose && t->what == TASK_RUNS) ||
	    !is_asked(w, t, &thread)) {
		tell(w, t);
		return;
	}
	if (t->proven && (t->loose || t->what == TASK_WAITS))
		stack = place_of(w, t);
	if (!stack) {
		tell(w, t);
		w->lost++;
		return;
	}
	if (t->count && (t->stack != stack || t->thread != thread || now - t->first_ns >= TELL_NS))
		tell(w, t);
	if (t->count == 0)
		t->first_ns = now;
	t->stack = stack;
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

/* Which greenlets there are takes a walk over all objects: from time to time. */
static int refresh_greenlets(struct waits *w, uint64_t now)
{
	uint64_t begin = clock_now_ns(), ns;
	int r;

	if (now < w->green_ns)
		return 0;
	r = task_reader_find_greenlets(w->reader, GREEN_CALLS);
	ns = (clock_now_ns() - begin) * GREEN_SHARE;
	w->green_ns = now + (task_reader_knows_greenlets(w->reader) ? GREEN_NS : NO_GREEN_NS);
	if (w->green_ns < now + ns)
		w->green_ns = now + ns;
	return r;
}

int waits_look(struct waits *w, uint64_t now_ns, uint64_t ns)
{
	int r = refresh(w, now_ns);

	if (r == 0)
		r = refresh_greenlets(w, now_ns);
	if (r == 0 && task_reader_found(w->reader) == TASKS_NO_ASYNCIO)
		return 0;
	w->look++;
	if (r == 0)
		r = look_at_all(w, ns);
	if (waits_is_fatal(r))
		return r;
	if (r < 0) {
		/* Which of them waited is not known. */
		w->lost += w->n ? w->n : 1;
		tell_lost(w, now_ns);
		for (size_t i = 0; i < w->n; i++)
			if (w->seen[i]->moved)
				w->seen[i]->what = TASK_CHANGES;
		return 0;
	}
	mark_children(w);
	w->lost += task_reader_lacks_greenlets(w->reader);
	for (size_t i = 0; i < w->n; i++) {
		struct seen *t = w->seen[i];

		note_stay(w, t, now_ns, ns);
		if (!t->proven || t->moved)
			t->heat = t->heat > MAX_HEAT - HEAT ? MAX_HEAT : t->heat + HEAT;
		else if (t->heat)
			t->heat--;
		/* What was read is not proven. */
		if (!t->proven || t->loose)
			t->what = TASK_CHANGES;
	}
	tell_lost(w, now_ns);
	return 0;
}
