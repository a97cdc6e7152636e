#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "remote/clock.h"
#include "remote/tasks-waits-parts.h"
#include "remote/thread.h"

#define QUICK_MAX  64u	   /* that are proven one by one */
#define LEAST_NS   150000u /* that this may take of our CPU ... */
#define SHARE	   2u	   /* ... or this part of the time that a look stands for */
#define BLOCK	   256u	  /* bytes that are read of what changes: half of the cost is each read's */
#define UNIT_NS	   30000u /* that one proof takes, until it was measured */
#define RESTLESS   36u	  /* of so much heat it is seldom where it was */
#define HELD_PAGES 192u	  /* that are read while a thread is held: some 70 us */
#define HELD_LOOKS 4u	  /* so long pages are kept for that */

#define PROOF_TRIES 3 /* readings that are interrupted */

struct quick {
	struct waits *w;
	struct memory *near, *back; /* the pages of the one that is proven, read forth and back */
	struct memory *held;	    /* those of all that are quick */
	uint32_t units;		    /* of this look */
	struct latency page;	    /* of a reading of near and back */
	struct latency cost;
	size_t turn; /* where the next look begins */
};

int quick_new(struct quick **ret, struct waits *w)
{
	struct quick *q = calloc(1, sizeof(*q));
	int r = q ? 0 : -ENOMEM;

	if (r == 0) {
		q->w = w;
		q->cost.ns = UNIT_NS;
		q->page = w->page;
		r = memory_new_blocks(&q->near, w->live, BLOCK);
	}
	if (r == 0)
		r = memory_new_blocks(&q->back, q->near, BLOCK);
	if (r == 0)
		r = memory_new_cached(&q->held, w->live);
	if (r < 0) {
		quick_free(q);
		return r;
	}
	*ret = q;
	return 0;
}

void quick_free(struct quick *q)
{
	if (!q)
		return;
	memory_free(q->near);
	memory_free(q->back);
	memory_free(q->held);
	free(q);
}

/* ---- one by one ---- */

/* A task and those that await it, up to the first that stands still: base, NULL where there is
 * none. */
struct unit {
	struct seen *chain[MAX_AWAITERS_UP];
	size_t n;
	const struct seen *base;
};

/* By the reading of all. */
static bool stands(const struct seen *t)
{
	return t->proven && !t->quick;
}

static int want_pages(struct memory *m, const struct seen *t)
{
	int r = 0;

	for (size_t i = 0; i < t->memo.n_ranges && r == 0; i++)
		r = memory_want(m, t->memo.ranges[i].addr, t->memo.ranges[i].len);
	return r;
}

/* The pages of a unit, and no others. */
static int want_unit(struct quick *q, const struct unit *u)
{
	int r = 0;

	memory_forget(q->near);
	for (size_t i = 0; i < u->n && r == 0; i++)
		r = want_pages(q->near, u->chain[i]);
	return r;
}

/* The awaiter of t that is shown; NULL: none, or it is not known of which kind it is. */
static struct seen *awaiter_of(struct waits *w, const struct seen *t)
{
	const struct task_ref ref = {t->at.n_awaiters ? t->at.awaiters[0] : 0, t->ref.asyncio};

	return ref.addr ? waits_add(w, &ref) : NULL;
}

/* Where they are by m, which the reader reads. whole: also those that stand still. 0 or -errno. */
static int follow_unit(struct waits *w, struct memory *m, struct seen *t, bool whole,
		       struct unit *ret)
{
	int r = 0;

	*ret = (struct unit){.n = 0};
	while (t && ret->n < MAX_AWAITERS_UP && (whole || !stands(t))) {
		if (!waits_holds(w, t, m)) {
			/* One that stood still does not any more: nothing of it is known. */
			if (stands(t)) {
				ret->n = 0;
				return 0;
			}
			r = waits_follow(w, t);
			t->loose = true;
		}
		if (r < 0)
			return r;
		ret->chain[ret->n++] = t;
		if (t->what != TASK_WAITS || t->at.n_awaiters == 0)
			break;
		t = awaiter_of(w, t);
		for (size_t i = 0; i < ret->n; i++)
			if (ret->chain[i] == t)
				return 0;
	}
	ret->base = !whole && t && stands(t) ? t : NULL;
	return 0;
}

/* Whether all of a unit stands where its memos say, by a reading forth and one back: what is read
 * first is read last, so that there was a moment at which all of it stood so. In a reading that was
 * interrupted a loop may have gone round, and be where it was. */
static bool prove_unit(struct quick *q, const struct unit *u)
{
	bool holds = false;

	for (int i = 0; i < PROOF_TRIES && !holds; i++) {
		uint64_t began = clock_now_ns();

		holds = memory_renew_pair(q->near, q->back) == 0 &&
			waits_in_time(&q->page, began, memory_kept(q->near));
	}
	for (size_t i = 0; i < u->n && holds; i++)
		holds = waits_holds(q->w, u->chain[i], q->near) &&
			waits_holds(q->w, u->chain[i], q->back);
	return holds;
}

/* All of it was seen at one instant. */
static void keep_unit(struct quick *q, const struct unit *u, uint32_t number)
{
	struct seen *leaf = u->chain[0];

	for (size_t i = 0; i < u->n; i++) {
		struct seen *t = u->chain[i];

		/* In a hold that is where it was in the reading of all, too. */
		if (stands(t) && !t->moved)
			continue;
		t->composed = 0;
		t->proven = t->quick = true;
		t->loose = false;
		t->loop = t->at.loop;
		t->base = 0;
		t->unit = number;
	}
	leaf->base = u->base ? u->base->addr : 0;
	leaf->composed = leaf->what == TASK_WAITS ? waits_compose(q->w, leaf) : 0;
}

/* Those that a task was last seen with. */
static void known_unit(struct quick *q, struct seen *t, struct unit *ret)
{
	*ret = (struct unit){.n = 0};
	while (t && ret->n < MAX_AWAITERS_UP && !stands(t)) {
		ret->chain[ret->n++] = t;
		t = t->what == TASK_WAITS && t->at.n_awaiters ? waits_find(q->w, t->at.awaiters[0])
							      : NULL;
	}
	ret->base = t && stands(t) ? t : NULL;
}

/* Whether it can be where it was. */
static bool is_known(const struct unit *u)
{
	for (size_t i = 0; i < u->n; i++)
		if (u->chain[i]->what == TASK_CHANGES)
			return false;
	return true;
}

/* Most are where they were, or are back there; else the same pages are likely to tell where they
 * are. */
static int look_near(struct quick *q, struct seen *t)
{
	bool holds = false, runs = false;
	struct unit u;
	int r;

	known_unit(q, t, &u);
	r = want_unit(q, &u);
	if (r == 0 && (t->heat >= RESTLESS || !is_known(&u)))
		r = memory_renew(q->near);
	else if (r == 0)
		holds = prove_unit(q, &u);
	if (r == 0 && !holds) {
		task_reader_use(q->w->reader, q->near);
		r = follow_unit(q->w, q->near, t, false, &u);
		task_reader_use(q->w->reader, NULL);
		/* One that runs is not asked again: it might wait by then, and be taken for one
		 * that waits more than it does. Nothing is told of it. */
		runs = r == 0 && t->what == TASK_RUNS;
		if (r == 0 && !runs)
			r = want_unit(q, &u);
		holds = r == 0 && (runs || prove_unit(q, &u));
	}
	t->quick = true;
	if (holds)
		keep_unit(q, &u, ++q->units);
	return r;
}

/* ---- while a thread is held ---- */

struct holding {
	struct quick *q;
	uint64_t tstate;
	size_t size; /* of its words */
	uint8_t before[THREAD_MAX_STATE], after[THREAD_MAX_STATE];
	int r;
};

static void read_held(void *arg)
{
	struct holding *h = arg;
	struct memory *live = h->q->w->live;

	h->r = memory_read(live, h->tstate, h->before, h->size);
	if (h->r == 0)
		h->r = memory_renew(h->q->held);
	if (h->r == 0)
		h->r = memory_read(live, h->tstate, h->after, h->size);
}

/* A thread that did anything but go on with the same step of a task has other words: where its
 * stack ends, how deep it is, how often its context was changed, as it is for each step. */
static bool was_held(const struct holding *h, bool sure)
{
	return h->r == 0 && (sure || memcmp(h->before, h->after, h->size) == 0);
}

/* All that are quick, not those alone that are left: one that runs is harder to prove than one that
 * waits, and would be taken for waiting if it was asked again a little later. */
static bool is_quick(const struct seen *t, uint64_t loop)
{
	return (t->quick || !t->proven) && (t->at.loop == loop || !t->at.loop);
}

/* Those of one loop that do not stand still, in the pages that were read while its thread was held:
 * what needs another page is not believed. */
static int look_held(struct quick *q, const struct task_loop *loop, size_t first, uint64_t most_ns)
{
	struct waits *w = q->w;
	struct holding h = {
		.q = q, .tstate = loop->tstate, .size = task_reader_thread_size(w->reader)};
	size_t n = w->n;
	uint64_t until;
	uint32_t number;
	bool sure = false;
	int r = 0;

	if (h.size > THREAD_MAX_STATE || !w->listener.hold ||
	    !w->listener.hold(w->listener.arg, loop->tstate, read_held, &h, &sure))
		return 0;
	if (!was_held(&h, sure))
		return waits_is_fatal(h.r) ? h.r : 0;
	number = ++q->units;
	/* When we were interrupted is no reason to look at less. */
	until = clock_ns(CLOCK_THREAD_CPUTIME_ID) + most_ns;
	task_reader_use(w->reader, q->held);
	for (size_t i = 0; i < n && r == 0; i++) {
		size_t missed = memory_missed(q->held);
		struct seen *t = w->seen[(first + i) % n];
		struct unit u;

		if (!is_quick(t, loop->loop))
			continue;
		if (clock_ns(CLOCK_THREAD_CPUTIME_ID) > until)
			break;
		r = follow_unit(w, q->held, t, true, &u);
		if (r < 0 || u.n == 0 || memory_missed(q->held) != missed)
			continue;
		keep_unit(q, &u, number);
	}
	task_reader_use(w->reader, NULL);
	return r;
}

/* ---- both ---- */

/* Whether one that stood still, and those that await it, do so yet, by the last reading of all. */
static bool stands_yet(struct waits *w, struct seen *t)
{
	for (size_t n = 0; t && n < MAX_AWAITERS_UP; n++) {
		if (t->checked != w->look) {
			t->checked = w->look;
			t->proven &= waits_holds(w, t, task_reader_memory(w->reader));
		}
		if (!t->proven)
			return false;
		t = t->at.n_awaiters ? waits_find(w, t->at.awaiters[0]) : NULL;
	}
	return true;
}

/* Those that were proven one by one, on what stood still before: it must stand so behind it too. */
static void check_bases(struct quick *q)
{
	struct waits *w = q->w;

	for (size_t i = 0; i < w->n; i++) {
		struct seen *t = w->seen[i], *base = waits_find(w, t->base);

		if (t->proven && t->unit && base)
			t->proven = stands_yet(w, base);
		else if (t->proven && !t->unit && t->fresh)
			t->proven = stands_yet(w, t);
	}
}

/* One that awaits a task which was made since all were listed is not where its stack ends. */
static int add_awaited(struct waits *w, const struct seen *t)
{
	const struct task_ref ref = {t->at.awaits, t->ref.asyncio};

	return !ref.addr || t->what != TASK_WAITS || waits_find(w, ref.addr) || waits_add(w, &ref)
		       ? 0
		       : -ENOMEM;
}

/* What may have to be read while a thread is held: the pages of those that do not stand still, and
 * of those that await them. */
static int want_held(struct quick *q)
{
	struct waits *w = q->w;
	int r = 0;

	for (size_t i = 0; i < w->n && r == 0; i++) {
		struct seen *t = w->seen[i];

		if (stands(t))
			continue;
		for (size_t n = 0; t && n < MAX_AWAITERS_UP && r == 0; n++) {
			if (memory_kept(q->held) >= HELD_PAGES)
				return 0;
			r = want_pages(q->held, t);
			t = t->at.n_awaiters ? waits_find(w, t->at.awaiters[0]) : NULL;
		}
	}
	return r;
}

static bool is_any_left(const struct waits *w)
{
	for (size_t i = 0; i < w->n; i++)
		if (!w->seen[i]->proven)
			return true;
	return false;
}

static uint64_t may_take(uint64_t ns)
{
	return ns / SHARE > LEAST_NS ? ns / SHARE : LEAST_NS;
}

size_t quick_room(const struct quick *q, uint64_t ns)
{
	uint64_t n = may_take(ns) / q->cost.ns;

	return n < QUICK_MAX ? (size_t)n : QUICK_MAX;
}

int quick_prove(struct quick *q, uint64_t ns)
{
	struct waits *w = q->w;
	uint64_t now = clock_ns(CLOCK_THREAD_CPUTIME_ID), until = now + may_take(ns), began;
	size_t n = w->n, first = n ? q->turn++ % n : 0, done = 0;
	int r = 0;

	q->units = 0;
	memory_prune(q->held, HELD_LOOKS);
	/* Those that are found on the way come behind the others. */
	for (size_t i = 0; i < w->n && r == 0 && done < QUICK_MAX; i++) {
		struct seen *t = w->seen[i < n ? (first + i) % n : i];

		if (t->proven)
			continue;
		if (now > until)
			break;
		done++;
		r = look_near(q, t);
		if (r == 0)
			r = add_awaited(w, t);
		began = now;
		now = clock_ns(CLOCK_THREAD_CPUTIME_ID);
		latency_add(&q->cost, now - began);
	}
	if (r == 0 && done)
		r = waits_renew(w);
	if (r == 0)
		check_bases(q);
	if (r == 0)
		r = want_held(q);
	for (size_t i = 0; i < w->list.n_loops && r == 0 && is_any_left(w); i++)
		r = look_held(q, &w->list.loops[i], first, may_take(ns));
	return r;
}
