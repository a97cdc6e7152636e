#include "remote/greenlets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "remote/array.h"
#include "remote/thread.h"

#define POINTER	       8
#define GC_HEAD	       16 /* bytes before an object: next, previous */
#define GC_FLAGS       UINT64_C(3)
#define SPENT_EVERY    256
#define LISTS	       4  /* three generations, and those never collected */
#define TRIES	       12 /* walks of a list, of which one must come to its end */
#define HEAD_TRIES     256
#define PAST	       64  /* links that are tried again where one was cut */
#define YOUNG_SHARE    16u /* of the calls, for the youngest */
#define PAUSE_NS       500000u
#define CALLS_A_PAUSE  256u
#define OBJECTS_A_CALL 64u   /* that are walked over: as many cost as much as a call */
#define MAX_PAGES      8192u /* kept at a time */
#define MAX_BASES      32
#define MAX_PARENTS    64 /* of a greenlet up to its thread's first */
#define MAX_THREADS    4096
#define LOOKS_EACH     16 /* again, of some microseconds, until a greenlet is as it should be */
#define LOOKS_AGAIN    1024u
#define TYPES	       1024 /* whose kind is remembered */
#define MAIN_STOP      UINT64_MAX
#define MIN_BASICSIZE  16
#define MAX_BASICSIZE  4096

/* A walk over the collector's lists. */
struct walk {
	struct memory *m;
	const struct layout *l;
	struct greenlets *out;
	struct memory *below;
	uint64_t heads[LISTS];
	uint64_t calls0, calls; /* before, and how many more at most */
	uint64_t objects;	/* so far */
	size_t room;
	uint64_t collecting; /* address of the collector's word */
	uint64_t pauses;     /* left */
	uint64_t past[PAST]; /* the last that were walked, as a ring */
	size_t n_past;
	struct walk_type {
		uint64_t type;
		bool greenlet;
	} types[TYPES];
};

static int read_word(struct memory *m, uint64_t addr, int32_t offset, uint64_t *ret)
{
	if (addr == 0 || addr % POINTER || offset == ABSENT)
		return -EBADMSG;
	return memory_read(m, addr + (uint64_t)offset, ret, sizeof(*ret));
}

static bool is_fatal(int r)
{
	return r == -ENOMEM || r == -ESRCH || r == -EPERM;
}

/* Whether a type is base, or a class below it. */
static int is_below(struct memory *m, const struct layout *l, uint64_t type, uint64_t base,
		    bool *ret)
{
	int r = 0;

	*ret = false;
	for (int i = 0; type && i < MAX_BASES && r == 0 && !*ret; i++) {
		*ret = type == base;
		if (!*ret)
			r = read_word(m, type, l->type.tp_base, &type);
	}
	return is_fatal(r) ? r : 0;
}

/* ---- which there are ---- */

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static void sort(struct greenlets *g)
{
	size_t kept = 0;

	if (g->n)
		qsort(g->addrs, g->n, sizeof(*g->addrs), compare);
	for (size_t i = 0; i < g->n; i++)
		if (i == 0 || g->addrs[i] != g->addrs[i - 1])
			g->addrs[kept++] = g->addrs[i];
	g->n = kept;
}

static bool is_spent(struct walk *w)
{
	uint64_t calls, bytes;

	if (w->out->n >= GREENLETS_MAX)
		sort(w->out);
	memory_counts(w->below, &calls, &bytes);
	return w->objects > OBJECTS_A_CALL * w->calls || calls - w->calls0 > w->calls ||
	       w->out->n >= GREENLETS_MAX;
}

static int add(struct walk *w, uint64_t addr)
{
	struct greenlets *g = w->out;

	if (array_reserve(&g->addrs, &w->room, g->n + 1, sizeof(*g->addrs)) < 0)
		return -ENOMEM;
	g->addrs[g->n++] = addr;
	return 0;
}

/* An object of a list, of that type. */
static int see(struct walk *w, uint64_t object, uint64_t type)
{
	struct walk_type *known = &w->types[(type >> 4) % TYPES];
	int r = 0;

	if (known->type != type) {
		w->objects += MAX_BASES;
		r = is_below(w->m, w->l, type, w->out->type, &known->greenlet);
		known->type = r == 0 ? type : 0;
	}
	return r == 0 && known->greenlet ? add(w, object) : r;
}

/* The object behind the one whose words of the list are at: what is read of it goes to head, the
 * words of the list, its references, its type. -EAGAIN: they are not linked. */
static int follow(struct memory *m, uint64_t at, uint64_t *ret_next, uint64_t head[4])
{
	int r = memory_read(m, at, head, GC_HEAD);

	*ret_next = head[0] & ~GC_FLAGS;
	if (r == 0 && *ret_next == 0)
		r = -EAGAIN;
	if (r == 0)
		r = memory_read(m, *ret_next, head, 4 * sizeof(*head));
	if (r == 0 && (head[1] & ~GC_FLAGS) != at)
		r = -EAGAIN;
	return r == -EFAULT ? -EAGAIN : r;
}

/* Follows a link; where it does not hold, as it is now; where it was cut, of the last ones that
 * were walked the first that holds still. -EAGAIN: none does. */
static int step(struct walk *w, uint64_t *at, uint64_t *ret_next, uint64_t head[4])
{
	int r = follow(w->m, *at, ret_next, head);

	if (r == -EAGAIN)
		r = follow(w->below, *at, ret_next, head);
	for (int back = 0; r == -EAGAIN && back < PAST; back++) {
		*at = w->past[--w->n_past % PAST];
		w->past[w->n_past % PAST] = 0;
		if (*at)
			r = follow(w->below, *at, ret_next, head);
	}
	return r;
}

/* The list whose head is at addr; -1 none. */
static int list_of(const struct walk *w, uint64_t addr)
{
	for (int i = 0; i < LISTS; i++)
		if (addr == w->heads[i])
			return i;
	return -1;
}

/* 0 at the end of the list; -EAGAIN where it is not linked as it should be; -E2BIG. */
static int walk_list(struct walk *w, int list)
{
	uint64_t at = w->heads[list], next, head[4], n = 0;
	int r = 0, end;

	memset(w->past, 0, sizeof(w->past));
	while (r == 0) {
		r = step(w, &at, &next, head);
		if (r < 0)
			return r;
		/* What survives goes to the next list meanwhile, which is yet to be walked; what
		 * was freed may be in a younger one. */
		end = list_of(w, next);
		if (end >= 0)
			return end < list ? -EAGAIN : 0;
		w->objects++;
		if (++n % SPENT_EVERY == 0 && is_spent(w))
			return -E2BIG;
		if (memory_kept(w->m) >= MAX_PAGES)
			memory_forget(w->m);
		r = see(w, next + GC_HEAD, head[3]);
		w->past[w->n_past++ % PAST] = at;
		at = next;
	}
	return r;
}

/* While a collection is made its lists are linked one way only, and are not all. */
static void await_collection(struct walk *w)
{
	const struct timespec pause = {0, PAUSE_NS};
	int32_t collecting = 0;

	while (w->pauses > 0 &&
	       memory_read(w->below, w->collecting, &collecting, sizeof(collecting)) == 0 &&
	       collecting) {
		nanosleep(&pause, NULL);
		w->pauses--;
	}
}

static int is_head(struct walk *w, uint64_t addr, bool young, bool *ret)
{
	uint64_t head[2], next = 0, previous = 0;
	int r = memory_read(w->below, addr, head, sizeof(head));

	if (r == 0)
		r = memory_read(w->below, (head[0] & ~GC_FLAGS) + POINTER, &previous,
				sizeof(previous));
	if (r == 0 && !young)
		r = memory_read(w->below, head[1] & ~GC_FLAGS, &next, sizeof(next));
	*ret = r == 0 && (previous & ~GC_FLAGS) == addr && (young || (next & ~GC_FLAGS) == addr);
	return is_fatal(r) ? r : 0;
}

/* Whether the lists begin where first says. The youngest changes all the time. */
static int are_heads(struct walk *w, uint64_t first, bool *ret)
{
	int r = 0;

	*ret = true;
	for (int i = 0; i < LISTS - 1 && r == 0 && *ret; i++) {
		w->heads[i] = first + (uint64_t)(i * w->l->gc.generation_size);
		r = is_head(w, w->heads[i], i == 0, ret);
	}
	return r;
}

/* -EAGAIN: they are where they should be, but just being changed; -ENOTSUP. */
static int find_heads(struct walk *w, const struct target *t, uint64_t interp)
{
	const struct layout *l = w->l;
	uint64_t first;
	bool found = false, known = false;
	int r = 0;

	if (l->gc.generations == ABSENT ||
	    (l->interp.gc_collecting == ABSENT && l->runtime.gc_collecting == ABSENT))
		return -ENOTSUP;
	w->collecting = l->interp.gc_collecting != ABSENT
				? interp + (uint64_t)l->interp.gc_collecting
				: t->runtime + (uint64_t)l->runtime.gc_collecting;
	first = w->collecting - (uint64_t)l->gc.generations;
	w->heads[LISTS - 1] = first + (uint64_t)l->gc.permanent;
	for (int try = 0; try < HEAD_TRIES && r == 0 && !found; try++) {
		await_collection(w);
		if (!known)
			r = is_head(w, w->heads[LISTS - 1], false, &known);
		if (r == 0 && known)
			r = are_heads(w, first - (try % 2 ? LAYOUT_GC_PACKED : 0), &found);
	}
	if (r < 0 || found)
		return r;
	return known ? -EAGAIN : -ENOTSUP;
}

/* All lists, the young before the old. What a walk found that had to be given up is kept: it is as
 * good as any. */
static int walk_lists(struct walk *w)
{
	uint64_t calls = w->calls, bytes;
	int r = 0;

	for (int i = 0; i < LISTS && !is_fatal(r); i++) {
		/* In a list that changes faster than it can be walked no time is lost. */
		w->calls = i ? calls : calls / YOUNG_SHARE;
		w->objects = 0;
		memory_counts(w->below, &w->calls0, &bytes);
		r = 0;
		for (int try = 0; try == 0 || (r == -EAGAIN && try < TRIES); try++) {
			await_collection(w);
			memory_forget(w->m);
			r = walk_list(w, i);
			sort(w->out);
		}
		w->out->more |= r < 0;
	}
	return is_fatal(r) ? r : 0;
}

/* ---- what each is ---- */

/* The words of a greenlet; where they are. 0 or an error. */
static int base_of(struct memory *m, const struct greenlet_layout *gl, uint64_t addr, uint64_t *ret)
{
	if (gl->pimpl == ABSENT) {
		*ret = addr;
		return 0;
	}
	return read_word(m, addr, gl->pimpl, ret);
}

/* To the one whose thread it is, which has no parent. */
static uint64_t main_of(struct memory *m, const struct greenlet_layout *gl, uint64_t addr)
{
	for (int i = 0; addr && i < MAX_PARENTS; i++) {
		uint64_t base, stop;

		if (base_of(m, gl, addr, &base) < 0 ||
		    read_word(m, base, gl->stack + POINTER, &stop) < 0)
			return 0;
		if (stop == MAIN_STOP)
			return addr;
		if (read_word(m, base, gl->parent, &addr) < 0)
			return 0;
	}
	return 0;
}

/* The newest frame of a suspended greenlet: what its frame object says of it must agree. */
static int frame_of(struct memory *m, const struct layout *l, const struct greenlet_layout *gl,
		    uint64_t base, uint64_t top_frame, uint64_t *ret)
{
	uint64_t frame = 0;
	int r;

	*ret = top_frame;
	if (gl->frame == ABSENT)
		return 0;
	r = read_word(m, base, gl->frame, ret);
	if (r == 0)
		r = read_word(m, top_frame, l->inner.frame_object, &frame);
	return r == 0 && frame != *ret ? -EAGAIN : r;
}

static int read_as(struct memory *m, const struct layout *l, const struct greenlet_layout *gl,
		   uint64_t addr, struct greenlet *ret)
{
	struct greenlet g = {.state = GREENLET_RUNNING};
	uint64_t base, self = addr, words[4], top_frame;
	int r = base_of(m, gl, addr, &base);

	if (r == 0 && gl->self != ABSENT)
		r = read_word(m, base, gl->self, &self);
	if (r == 0 && (base == 0 || base % POINTER || self != addr))
		r = -EAGAIN;
	if (r == 0)
		r = memory_read(m, base + (uint64_t)gl->stack, words, sizeof(words));
	if (r == 0)
		r = read_word(m, base, gl->top_frame, &top_frame);
	if (r < 0)
		return r;
	g.stack = words[0];
	g.copy = words[2];
	g.saved = words[3];
	if (top_frame % POINTER || (g.saved != 0) != (g.copy != 0))
		return -EAGAIN;
	if (words[1] == 0) {
		g.state = GREENLET_NEW;
		if (words[0] || g.saved)
			return -EAGAIN;
	} else if (words[0] == 0) {
		g.state = GREENLET_ENDED;
	} else if (words[0] > words[1] || g.saved > words[1] - words[0]) {
		return -EAGAIN;
	}
	if (g.state == GREENLET_RUNNING && top_frame) {
		g.state = GREENLET_SUSPENDED;
		r = frame_of(m, l, gl, base, top_frame, &g.frame);
	}
	if (g.state != GREENLET_ENDED)
		g.main = main_of(m, gl, addr);
	if (r == 0)
		*ret = g;
	return r;
}

bool greenlet_lives(struct memory *m, uint64_t addr)
{
	uint64_t references;

	return read_word(m, addr, 0, &references) == 0 && references;
}

int greenlet_read(struct memory *m, const struct layout *l, const struct greenlets *g,
		  uint64_t addr, struct greenlet *ret)
{
	uint64_t type;
	bool greenlet = false;
	int r = read_word(m, addr, l->object.ob_type, &type);

	if (r == 0)
		r = is_below(m, l, type, g->type, &greenlet);
	if (r < 0)
		return r;
	if (!greenlet || !g->layout) {
		*ret = (struct greenlet){.state = GREENLET_ENDED};
		return 0;
	}
	return read_as(m, l, g->layout, addr, ret);
}

int greenlet_current_at(struct memory *m, const struct greenlets *g, uint64_t main, uint64_t *ret)
{
	const struct greenlet_layout *gl = g->layout;
	uint64_t base, state, first;
	int r;

	if (!gl || gl->thread == ABSENT)
		return -ENOTSUP;
	r = base_of(m, gl, main, &base);
	if (r == 0)
		r = read_word(m, base, gl->thread, &state);
	if (r == 0 && (state == 0 || state % POINTER))
		r = -EAGAIN;
	if (r == 0)
		r = memory_read(m, state, &first, sizeof(first));
	if (r == 0 && first != main)
		r = -EAGAIN;
	if (r == 0)
		*ret = state + sizeof(first);
	return r == -EBADMSG ? -EAGAIN : r;
}

int greenlet_read_frame(struct memory *m, const struct greenlet *g, uint64_t addr, void *buf,
			size_t len)
{
	size_t moved = 0;
	int r = 0;

	if (g->saved && addr >= g->stack && addr - g->stack < g->saved) {
		uint64_t at = addr - g->stack;

		moved = g->saved - at < len ? (size_t)(g->saved - at) : len;
		r = memory_read(m, g->copy + at, buf, moved);
	}
	if (r == 0 && moved < len)
		r = memory_read(m, addr + moved, (uint8_t *)buf + moved, len - moved);
	return r;
}

/* ---- which layout holds, and where they run ---- */

static bool layout_fits(const struct walk *w, const struct greenlet_layout *gl, uint64_t size)
{
	return w->l->version >= gl->from && w->l->version < gl->to && size >= MIN_BASICSIZE &&
	       size <= MAX_BASICSIZE &&
	       (gl->pimpl == ABSENT ? size >= (uint64_t)gl->basicsize
				    : size == (uint64_t)gl->basicsize);
}

/* To 3.10 what a suspended greenlet stands at is a frame object itself. */
static bool is_frame_object(struct memory *m, const struct layout *l, uint64_t object)
{
	static const char name[] = "frame";
	uint64_t type, text;
	char found[sizeof(name)];

	return read_word(m, object, l->object.ob_type, &type) == 0 &&
	       read_word(m, type, l->type.tp_name, &text) == 0 &&
	       memory_read(m, text, found, sizeof(found)) == 0 &&
	       memcmp(found, name, sizeof(name)) == 0;
}

static bool is_as(struct memory *m, const struct layout *l, const struct greenlet_layout *gl,
		  uint64_t addr, struct greenlet *ret)
{
	return read_as(m, l, gl, addr, ret) == 0 &&
	       (gl->frame != ABSENT || ret->state != GREENLET_SUSPENDED ||
		is_frame_object(m, l, ret->frame));
}

/* How many are what a layout says. looks: so often in all those are looked at again, at once, that
 * are not; *first: a thread's first is among them. */
static size_t count_as(struct walk *w, const struct greenlet_layout *gl, size_t looks, bool *first)
{
	size_t n = 0;

	for (size_t i = 0; i < w->out->n; i++) {
		const uint64_t addr = w->out->addrs[i];
		struct greenlet one;
		bool is = is_as(w->m, w->l, gl, addr, &one);

		for (int k = 0; !is && k < LOOKS_EACH && looks; k++, looks--)
			is = is_as(w->below, w->l, gl, addr, &one);
		n += is;
		*first |= is && one.main != 0;
	}
	return n;
}

/* A layout holds when nearly all are what it says they must be. Where they switch all the
 * time most may have changed between two of the pages that were read: those are looked at again.
 * A thread's first is among them: it is made before any other. */
static void choose_layout(struct walk *w)
{
	struct greenlets *g = w->out;
	size_t best = 0;
	uint64_t size;

	g->layout = NULL;
	if (read_word(w->m, g->type, w->l->type.tp_basicsize, &size) < 0)
		return;
	for (size_t i = 0; i < layout_greenlets_count; i++) {
		const struct greenlet_layout *gl = &layout_greenlets[i];
		const size_t enough = g->n - g->n / 4;
		bool first = false;
		size_t good;

		if (!layout_fits(w, gl, size))
			continue;
		good = count_as(w, gl, 0, &first);
		if (good && good < enough)
			good = count_as(w, gl, LOOKS_AGAIN, &first);
		if (first && good > best && good >= enough) {
			best = good;
			g->layout = gl;
		}
	}
	g->unreadable = g->n > 0 && !g->layout;
}

/* Whose C stack an address lies in: a thread's descriptor is at the upper end of it. Above all of
 * them lies that of the first thread, whose state is the oldest. */
static uint64_t thread_of_stack(const struct thread_info *list, int n, uint64_t addr)
{
	const struct thread_info *found = NULL;

	for (int i = 0; i < n; i++)
		if (list[i].ident > addr && (!found || list[i].ident < found->ident))
			found = &list[i];
	return found ? found->addr : n > 0 ? list[n - 1].addr : 0;
}

static uint64_t *thread_of(struct greenlets *g, uint64_t main)
{
	for (size_t i = 0; i < g->n_threads; i++)
		if (g->threads[i].main == main)
			return &g->threads[i].tstate;
	return NULL;
}

/* By those that were begun: their stacks end in the one of their thread. */
static int find_threads(struct walk *w, const struct target *t, uint64_t interp)
{
	struct greenlets *g = w->out;
	const struct greenlet_layout *gl = g->layout;
	struct interpreter_info info = {.addr = interp};
	struct thread_info *list = calloc(MAX_THREADS, sizeof(*list));
	int n = -ENOMEM;

	g->threads = calloc(MAX_THREADS, sizeof(*g->threads));
	if (list && g->threads)
		n = read_word(t->memory, interp, w->l->interp.threads_head, &info.threads_head);
	if (n == 0)
		n = thread_list(t, &info, list, MAX_THREADS);
	for (size_t i = 0; i < g->n && n > 0; i++) {
		uint64_t base, stop, main = main_of(w->m, gl, g->addrs[i]);

		if (!main || main == g->addrs[i] || thread_of(g, main) ||
		    g->n_threads == MAX_THREADS || base_of(w->m, gl, g->addrs[i], &base) < 0 ||
		    read_word(w->m, base, gl->stack + POINTER, &stop) < 0 || stop == 0)
			continue;
		g->threads[g->n_threads++] =
			(struct greenlet_thread){main, thread_of_stack(list, n, stop)};
	}
	free(list);
	return is_fatal(n) ? n : 0;
}

static int find(struct walk *w, const struct target *t, uint64_t interp)
{
	int r = find_heads(w, t, interp);

	if (r == -ENOTSUP) {
		w->out->unreadable = true;
		return 0;
	}
	if (r == -EAGAIN) {
		w->out->more = true;
		return 0;
	}
	if (r == 0)
		r = walk_lists(w);
	if (r == 0) {
		memory_forget(w->m);
		choose_layout(w);
	}
	if (r == 0 && w->out->layout)
		r = find_threads(w, t, interp);
	return r;
}

int greenlets_find(struct greenlets *g, const struct target *t, uint64_t interp, uint64_t type,
		   uint64_t calls)
{
	struct greenlets out = {.type = type};
	struct walk *w = calloc(1, sizeof(*w));
	int r = -ENOMEM;

	if (!w)
		return -ENOMEM;
	w->l = &t->layout;
	w->out = &out;
	w->below = t->memory;
	w->calls = calls;
	w->pauses = calls / CALLS_A_PAUSE;
	if (memory_new_cached(&w->m, t->memory) == 0) {
		r = find(w, t, interp);
		memory_free(w->m);
	}
	free(w);
	if (r < 0) {
		greenlets_done(&out);
		return r;
	}
	greenlets_done(g);
	*g = out;
	return 0;
}

void greenlets_done(struct greenlets *g)
{
	free(g->addrs);
	free(g->threads);
	*g = (struct greenlets){0};
}
