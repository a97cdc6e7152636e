#include "remote/tasks-sample.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "remote/tasks.h"

#define FIND_NS	   50000000u /* between two looks for asyncio, which a program may import later */
#define FIND_AGAIN 2	     /* looks more once it was found: it may have been half imported */
#define NEAR	   256u	     /* pieces nearer to each other than this are read as one range */

struct task_watcher {
	struct task_reader *reader;
	struct memory_log log;
	uint64_t found_ns;
	unsigned again; /* looks that found it */
};

struct task_watch {
	uint64_t interp, tstate;
	bool known;   /* there is an answer */
	bool current; /* by ranges that are not known to have changed */
	struct task_chain chain;
	struct range {
		uint64_t addr;
		uint32_t len, at; /* at: in the four below */
	} ranges[TASK_WATCH_RANGES];
	size_t n_ranges;
	/* expected is what stood there, where mask is not 0. */
	uint8_t *expected, *mask, *before, *behind;
	size_t used, room;
};

int task_watcher_new(struct task_watcher **ret, struct target *target, struct tables *tables)
{
	struct task_watcher *w = calloc(1, sizeof(*w));
	int r = w ? task_reader_new(&w->reader, target, tables) : -ENOMEM;

	if (r < 0) {
		free(w);
		return r;
	}
	*ret = w;
	return 0;
}

void task_watcher_free(struct task_watcher *w)
{
	if (!w)
		return;
	task_reader_free(w->reader);
	memory_log_done(&w->log);
	free(w);
}

int task_watcher_refresh(struct task_watcher *w, uint64_t now_ns)
{
	int r;

	if (w->again > FIND_AGAIN || now_ns - w->found_ns < FIND_NS)
		return 0;
	w->found_ns = now_ns;
	r = task_reader_find(w->reader);
	if (task_reader_found(w->reader) == TASKS_FOUND)
		w->again++;
	/* Whatever else goes wrong: there will be another look. */
	return r == -ENOMEM || r == -ESRCH || r == -EPERM ? r : 0;
}

void task_watcher_forget(struct task_watcher *w, struct tables *tables)
{
	task_reader_forget(w->reader, tables);
}

struct task_watch *task_watch_new(uint64_t interp, uint64_t tstate)
{
	struct task_watch *t = calloc(1, sizeof(*t));

	if (t) {
		t->interp = interp;
		t->tstate = tstate;
	}
	return t;
}

void task_watch_free(struct task_watch *t)
{
	if (!t)
		return;
	free(t->expected);
	free(t);
}

/* ---- what the answer depends on ---- */

static int by_address(const void *a, const void *b)
{
	const struct memory_piece *x = a, *y = b;

	return x->addr < y->addr ? -1 : x->addr > y->addr;
}

/* Lays out ranges over the pieces, sorted. False: there would be too many. */
static bool lay_out(struct task_watch *t, const struct memory_log *log)
{
	struct range *r = NULL;

	t->n_ranges = t->used = 0;
	for (size_t i = 0; i < log->n; i++) {
		const struct memory_piece *p = &log->pieces[i];

		if (p->len == 0)
			continue;
		if (r && p->addr - r->addr <= (uint64_t)r->len + NEAR) {
			if (p->addr - r->addr + p->len > r->len)
				r->len = (uint32_t)(p->addr - r->addr + p->len);
			continue;
		}
		if (t->n_ranges == TASK_WATCH_RANGES)
			return false;
		r = &t->ranges[t->n_ranges++];
		*r = (struct range){.addr = p->addr, .len = p->len};
	}
	for (size_t i = 0; i < t->n_ranges; i++) {
		t->ranges[i].at = (uint32_t)t->used;
		t->used += t->ranges[i].len;
	}
	return true;
}

static bool reserve(struct task_watch *t)
{
	uint8_t *bytes;

	if (t->used <= t->room && t->expected)
		return true;
	bytes = calloc(4, 2 * t->used + 64);
	if (!bytes)
		return false;
	free(t->expected);
	t->room = 2 * t->used + 64;
	t->expected = bytes;
	t->mask = bytes + t->room;
	t->before = bytes + 2 * t->room;
	t->behind = bytes + 3 * t->room;
	return true;
}

static bool keep(struct task_watch *t, struct memory_log *log)
{
	size_t at = 0;

	if (log->n)
		qsort(log->pieces, log->n, sizeof(*log->pieces), by_address);
	if (!lay_out(t, log) || !reserve(t))
		return false;
	memset(t->mask, 0, t->used);
	for (size_t i = 0; i < log->n; i++) {
		const struct memory_piece *p = &log->pieces[i];
		uint64_t offset;

		if (p->len == 0)
			continue;
		while (p->addr - t->ranges[at].addr >= t->ranges[at].len)
			at++;
		offset = t->ranges[at].at + (p->addr - t->ranges[at].addr);
		memcpy(t->expected + offset, log->bytes + p->at, p->len);
		memset(t->mask + offset, 0xff, p->len);
	}
	return true;
}

void task_watch_find(struct task_watch *t, struct task_watcher *w, bool anew)
{
	/* Where there is no asyncio yet the answer depends on nothing, and is found anew. */
	if (t->current && t->n_ranges && !anew)
		return;
	t->current = true;
	t->n_ranges = t->used = 0;
	t->chain = (struct task_chain){0};
	t->known = task_reader_running(w->reader, t->interp, t->tstate, &w->log, &t->chain) == 0 &&
		   keep(t, &w->log);
	if (!t->known)
		t->n_ranges = t->used = 0;
}

/* ---- with a gather ---- */

size_t task_watch_range_count(const struct task_watch *t)
{
	return t->n_ranges;
}

void task_watch_ranges(struct task_watch *t, struct memory_range *before,
		       struct memory_range *behind)
{
	for (size_t i = 0; i < t->n_ranges; i++) {
		const struct range *r = &t->ranges[i];

		before[i] = (struct memory_range){
			.addr = r->addr, .len = r->len, .buf = t->before + r->at};
		behind[i] = (struct memory_range){
			.addr = r->addr, .len = r->len, .buf = t->behind + r->at};
		/* What cannot be read differs: each range begins with a piece. */
		t->before[r->at] = t->behind[r->at] = (uint8_t)~t->expected[r->at];
	}
}

static bool holds(const struct task_watch *t, const uint8_t *bytes)
{
	uint8_t differ = 0;

	for (size_t i = 0; i < t->used; i++)
		differ |= (bytes[i] ^ t->expected[i]) & t->mask[i];
	return differ == 0;
}

enum walk_result task_watch_judge(struct task_watch *t, const struct walker *walker,
				  struct walk_context *c, bool still, uint32_t *ret_task,
				  uint32_t *ret_below)
{
	const struct task_chain *chain = &t->chain;

	*ret_task = SAMPLE_TASK_UNKNOWN;
	*ret_below = 0;
	if (!t->current || !t->known || !holds(t, t->before) || !holds(t, t->behind)) {
		t->current = false;
		return WALK_MISS;
	}
	if (chain->task && !chain->frame)
		return WALK_OK;
	if (chain->task && walker_has(walker, c, chain->frame, ret_below)) {
		*ret_task = chain->stack + SAMPLE_TASK_STACK;
		return WALK_OK;
	}
	/* Between two tasks; but one that ran just then would have a coroutine on the stack. */
	if (chain->loop && !still && walker_has_coroutine(walker, c))
		return WALK_TORN;
	*ret_task = SAMPLE_TASK_NONE;
	return WALK_OK;
}
