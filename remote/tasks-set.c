#include "remote/tasks-parts.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "remote/array.h"
#include "remote/object.h"
#include "remote/thread.h"

#define MAIN_GREENLET "main greenlet" /* that a thread begins with */

int look_add_task(struct look *k, const struct asyncio *a, uint64_t addr)
{
	struct tasks *out = k->out;
	size_t room = k->room; /* both are as large */

	if (addr == 0 || addr % POINTER || address_map_find(&k->by_addr, addr))
		return 0;
	if (out->n == TASKS_MAX || look_spent(k)) {
		out->more = true;
		return -E2BIG;
	}
	if (array_reserve(&out->info, &room, out->n + 1, sizeof(*out->info)) < 0 ||
	    array_reserve(&k->work, &k->room, out->n + 1, sizeof(*k->work)) < 0)
		return look_note(k, -ENOMEM);
	if (address_map_add(&k->by_addr, addr, (uint32_t)out->n) < 0)
		return look_note(k, -ENOMEM);
	out->info[out->n] = (struct task_info){.addr = addr};
	k->work[out->n++] = (struct work){.asyncio = a};
	return 0;
}

static int add_member(struct look *k, void *arg, uint64_t object)
{
	return look_add_task(k, arg, object);
}

static int add_weak_member(struct look *k, void *arg, uint64_t ref)
{
	uint64_t object;

	if (look_word(k, ref, k->l->inner.first, &object) < 0)
		return 0;
	/* A task that has ended left its reference empty: None. */
	if (look_kind(k, object) == KIND_NONE)
		return 0;
	return look_add_task(k, arg, object);
}

/* A link of a list that moves is not what the one back says. */
struct list_end {
	uint64_t next; /* that was not gone to; 0: the walk came to its end */
};

/* Goes through the accelerator's list of tasks at head, by one of its two links. */
static struct list_end walk_list(struct look *k, const struct asyncio *a, uint64_t head,
				 int32_t along, int32_t against)
{
	uint64_t node = head, next = 0, back;

	for (uint32_t i = 0; i <= TASKS_MAX && !k->error; i++) {
		if (look_word(k, node, along, &next) < 0)
			return (struct list_end){node == head ? 0 : node};
		if (next == head || next == 0)
			return (struct list_end){0};
		if (look_word(k, next, against, &back) < 0 || back != node ||
		    look_add_task(k, a, next - (uint64_t)k->l->task.node) < 0)
			break;
		node = next;
	}
	return (struct list_end){next};
}

/* Whether a node is one of those that were added from..to, or the head. */
static bool is_between(struct look *k, uint64_t head, uint64_t node, size_t from, size_t to)
{
	const struct address_entry *e =
		address_map_find(&k->by_addr, node - (uint64_t)k->l->task.node);

	return node == head || (e && e->value >= from && e->value < to);
}

/* Both ways where it moves: what lies between two torn links is not found. With one alone, each
 * walk ends at what the other one found. */
static void add_list(struct look *k, const struct asyncio *a, uint64_t head)
{
	const struct layout *l = k->l;
	size_t n = k->out->n, middle;
	struct list_end forth, back;

	if (!a->c_task)
		return;
	forth = walk_list(k, a, head, l->llist.next, l->llist.prev);
	if (!forth.next || k->error)
		return;
	middle = k->out->n;
	back = walk_list(k, a, head, l->llist.prev, l->llist.next);
	if (back.next && !(is_between(k, head, forth.next, middle, k->out->n) &&
			   is_between(k, head, back.next, n, middle)))
		k->out->more = true;
}

uint64_t look_running_loop(struct look *k, uint64_t tstate)
{
	const struct layout *l = k->l;
	uint64_t dict, loop = 0;

	if (l->tstate.asyncio_loop != ABSENT) {
		if (look_word(k, tstate, l->tstate.asyncio_loop, &loop) < 0)
			return 0;
	} else if (l->tstate.dict != ABSENT) {
		if (look_word(k, tstate, l->tstate.dict, &dict) < 0 || dict == 0 ||
		    look_note(k, object_dict_get(k->m, l, dict, "__asyncio_running_event_loop__",
						 &loop)) < 0)
			return 0;
		if (look_kind(k, loop) == KIND_LOOP_HOLDER &&
		    look_word(k, loop, l->inner.first, &loop) < 0)
			return 0;
	}
	return loop && look_kind(k, loop) != KIND_NONE ? loop : 0;
}

static int add_thread(struct look *k, const struct asyncio *a, uint64_t tstate)
{
	uint64_t loop = look_running_loop(k, tstate);

	if (k->l->tstate.asyncio_tasks != ABSENT)
		add_list(k, a, tstate + (uint64_t)k->l->tstate.asyncio_tasks);
	if (loop && k->n_threads < MAX_THREADS) {
		k->threads[k->n_threads++] = (struct running){tstate, loop, a};
		k->out->loop_threads[k->out->n_loop_threads++] = tstate;
	}
	return k->error;
}

static int add_interpreter(struct look *k, const struct asyncio *a)
{
	struct interpreter_info info = {.addr = a->interp};
	struct thread_info *list = calloc(MAX_THREADS, sizeof(*list));
	int n = -ENOMEM;

	if (list && look_word(k, a->interp, k->l->interp.threads_head, &info.threads_head) == 0)
		n = look_note(k, thread_list(&k->r->view, &info, list, MAX_THREADS));
	for (int i = 0; i < n && !k->error; i++)
		add_thread(k, a, list[i].addr);
	free(list);
	if (n < 0)
		return n;
	if (k->l->interp.asyncio_tasks != ABSENT)
		add_list(k, a, a->interp + (uint64_t)k->l->interp.asyncio_tasks);
	look_each_member(k, a->scheduled, add_weak_member, (void *)(uintptr_t)a);
	look_each_member(k, a->eager, add_member, (void *)(uintptr_t)a);
	return k->error;
}

int look_add_greenlet(struct look *k, const struct green *g, uint64_t addr)
{
	size_t n = k->out->n;
	int r = look_add_task(k, NULL, addr);

	if (k->out->n > n)
		k->work[n].green = g;
	return r;
}

static bool is_loop_thread(const struct tasks *out, uint64_t tstate)
{
	for (size_t i = 0; i < out->n_loop_threads; i++)
		if (out->loop_threads[i] == tstate)
			return true;
	return false;
}

/* A greenlet has the first of its thread for its loop. */
static int add_greenlets(struct look *k, const struct green *g)
{
	struct tasks *out = k->out;

	for (size_t i = 0; i < g->all.n; i++)
		if (greenlet_lives(k->m, g->all.addrs[i]) &&
		    look_add_greenlet(k, g, g->all.addrs[i]) < 0)
			break;
	for (size_t i = 0; i < g->all.n_threads && k->n_threads < MAX_THREADS; i++) {
		const struct greenlet_thread *t = &g->all.threads[i];

		k->threads[k->n_threads++] = (struct running){t->tstate, t->main, NULL};
		if (!is_loop_thread(out, t->tstate))
			out->loop_threads[out->n_loop_threads++] = t->tstate;
	}
	return k->error;
}

int look_add_all(struct look *k)
{
	struct task_reader *r = k->r;
	int e = 0;

	for (size_t i = 0; i < r->n_asyncio && e == 0; i++)
		e = add_interpreter(k, &r->asyncio[i]);
	for (size_t i = 0; i < r->n_green && e == 0; i++)
		e = add_greenlets(k, &r->green[i]);
	return e;
}

/* ---- what each task is ---- */

static uint32_t read_name(struct look *k, uint64_t name)
{
	char buf[NAME_LEN];
	uint64_t number;
	ssize_t n = -1;

	switch (look_kind(k, name)) {
	case KIND_INT:
		/* From 3.12 a name that nobody gave is made when somebody asks for it. */
		if (object_read_uint(k->m, k->l, name, &number) == 0)
			n = snprintf(buf, sizeof(buf), "Task-%" PRIu64, number);
		break;
	case KIND_STR:
		n = look_note(k, (int)object_read_string(k->m, k->l, name, buf, sizeof(buf)));
		break;
	default:
		break;
	}
	return n < 0 ? 0 : tables_string(k->r->tables, buf, (uint32_t)n);
}

static bool is_text(struct look *k, uint64_t string, const char *text)
{
	char buf[32];
	ssize_t n = look_kind(k, string) == KIND_STR
			    ? object_read_string(k->m, k->l, string, buf, sizeof(buf))
			    : -1;

	return n == (ssize_t)strlen(text) && memcmp(buf, text, (size_t)n) == 0;
}

/* What greenlets of a type are called: as the type, whatever its module. */
static uint32_t name_by_type(struct look *k, uint64_t object)
{
	char name[NAME_LEN];
	const char *dot;
	uint64_t type, text;
	size_t n = 0;

	if (look_type(k, object, &type) < 0 || look_word(k, type, k->l->type.tp_name, &text) < 0)
		return 0;
	while (n < sizeof(name) - 1 && look_bytes(k, text + n, &name[n], 1) == 0 && name[n])
		n++;
	name[n] = '\0';
	dot = strrchr(name, '.');
	return tables_string(k->r->tables, dot ? dot + 1 : name,
			     (uint32_t)strlen(dot ? dot + 1 : name));
}

static bool read_greenlet(struct look *k, struct task_info *t, struct work *w)
{
	const struct greenlets *all = &w->green->all;
	int r = look_note(k, greenlet_read(k->m, k->l, all, t->addr, &w->greenlet));
	bool known = false;

	if ((r < 0 && r != -EAGAIN) || (r == 0 && w->greenlet.state == GREENLET_ENDED))
		return false;
	t->loop = w->greenlet.main;
	for (size_t i = 0; i < all->n_threads && !known; i++)
		known = all->threads[i].main == t->loop;
	/* A thread may have one and never switch: there is no other beside it. */
	if (r == 0 && w->greenlet.state == GREENLET_RUNNING && !known)
		return false;
	if (r < 0)
		t->problem = TASK_MOVED;
	t->name = r == 0 && t->addr == t->loop
			  ? tables_string(k->r->tables, MAIN_GREENLET, strlen(MAIN_GREENLET))
			  : name_by_type(k, t->addr);
	return true;
}

bool look_read_task(struct look *k, size_t i)
{
	struct task_info *t = &k->out->info[i];
	struct work *w = &k->work[i];
	const struct layout *l = k->l;
	uint64_t type, state_text, name = 0;
	uint32_t state;

	if (w->green)
		return read_greenlet(k, t, w);
	if (look_type(k, t->addr, &type) < 0)
		return false;
	w->c = look_is_a(k, type, w->asyncio->c_task);
	if (w->c) {
		if (l->task.state != ABSENT &&
		    (look_bytes(k, t->addr + (uint64_t)l->task.state, &state, 4) < 0 || state != 0))
			return false;
		if (look_word(k, t->addr, l->task.loop, &t->loop) < 0 ||
		    look_word(k, t->addr, l->task.coro, &w->coro) < 0 ||
		    look_word(k, t->addr, l->task.name, &name) < 0)
			t->problem = TASK_UNREADABLE;
		if (!k->runs)
			look_word_or_0(k, t->addr, l->task.fut_waiter, &w->waiter);
	} else if (look_is_a(k, type, w->asyncio->py_task)) {
		/* The class has it until there is another. */
		state_text = look_attribute(k, t->addr, "_state");
		if (state_text && !is_text(k, state_text, "PENDING"))
			return false;
		t->loop = look_attribute(k, t->addr, "_loop");
		w->coro = look_attribute(k, t->addr, "_coro");
		w->waiter = k->runs ? 0 : look_attribute(k, t->addr, "_fut_waiter");
		name = look_attribute(k, t->addr, "_name");
	} else {
		return false;
	}
	/* One that is just made has no coroutine yet, one that is just ending none any more. */
	if (t->problem == TASK_FINE && (w->coro == 0 || look_kind(k, w->coro) == KIND_NONE))
		t->problem = TASK_MOVED;
	if (w->waiter && look_kind(k, w->waiter) == KIND_NONE)
		w->waiter = 0;
	t->name = read_name(k, name);
	return true;
}

int look_read_tasks(struct look *k)
{
	struct tasks *out = k->out;
	size_t kept = 0;

	for (size_t i = 0; i < out->n && !k->error; i++) {
		if (look_spent(k)) {
			out->more = true;
			break;
		}
		if (!look_read_task(k, i))
			continue;
		k->python |= !k->work[i].c && !k->work[i].green;
		out->info[kept] = out->info[i];
		k->work[kept++] = k->work[i];
	}
	out->n = kept;
	address_map_done(&k->by_addr);
	for (size_t i = 0; i < out->n && !k->error; i++) {
		struct task_info *t = &out->info[i];
		struct work *w = &k->work[i];
		struct address_entry *same = address_map_find(&k->by_waiter, w->waiter);
		int r = address_map_add(&k->by_addr, t->addr, (uint32_t)i);

		w->frame = look_coroutine_frame(k, w->coro);
		if (r == 0 && w->frame)
			r = address_map_add(&k->by_frame, w->frame, (uint32_t)i);
		w->next_same = same ? same->value + 1 : 0;
		if (same)
			same->value = (uint32_t)i;
		else if (r == 0 && w->waiter)
			r = address_map_add(&k->by_waiter, w->waiter, (uint32_t)i);
		/* The thread in whose list it is may only have made it. */
		for (size_t n = 0; n < k->n_threads && !t->tstate; n++)
			if (k->threads[n].loop == t->loop)
				t->tstate = k->threads[n].tstate;
		look_note(k, r);
	}
	return k->error;
}
