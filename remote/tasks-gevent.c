/* Who waits for a greenlet of gevent's: it is linked to be switched to when that ends. */
#include "remote/tasks-parts.h"

#include <string.h>

#define GEVENT_TYPES  "gevent." /* how the names of gevent's own types begin */
#define GEVENT_WAITER "Waiter"	/* and those of what waits for several end */
#define MAX_GEVENT    512	/* bytes of either */
#define MAX_BASES     32	/* of a class */

static bool is_greenlet(struct look *k, const struct green *g, uint64_t object)
{
	uint64_t type;

	return object && object % POINTER == 0 && look_type(k, object, &type) == 0 &&
	       look_is_a(k, type, g->all.type);
}

/* Words of an object that may be anything are taken for what they can be. One that is nothing of
 * that leads anywhere: that it cannot be followed does not say that something is missing. */
struct guess {
	struct memory_log *log;
	bool lacks;
};

static struct guess begin_guess(struct look *k)
{
	struct memory_log *log = memory_set_log(k->m, NULL);

	memory_set_log(k->m, log);
	return (struct guess){log, log && log->lacks};
}

static bool end_guess(const struct guess *guess, bool right)
{
	if (guess->log && !right)
		guess->log->lacks = guess->lacks;
	return right;
}

static bool may_be_greenlet(struct look *k, const struct green *g, uint64_t word)
{
	struct guess guess = begin_guess(k);

	return end_guess(&guess, is_greenlet(k, g, word));
}

static bool may_be_list(struct look *k, uint64_t word)
{
	struct guess guess = begin_guess(k);

	return end_guess(&guess, word && word % POINTER == 0 && look_kind(k, word) == KIND_LIST);
}

static bool is_suspended(struct look *k, const struct green *g, uint64_t object)
{
	struct greenlet one;

	return is_greenlet(k, g, object) && greenlet_read(k->m, k->l, &g->all, object, &one) == 0 &&
	       one.state == GREENLET_SUSPENDED;
}

/* The type's name, or as much of it as buf takes. */
static bool read_type_name(struct look *k, uint64_t type, char *buf, size_t size)
{
	uint64_t text;
	size_t n = 0;

	if (look_word(k, type, k->l->type.tp_name, &text) < 0)
		return false;
	while (n < size - 1 && look_bytes(k, text + n, &buf[n], 1) == 0 && buf[n])
		n++;
	buf[n] = '\0';
	return n > 0;
}

/* The bytes of what gevent itself makes of a greenlet, of whatever class; 0 it is none of its. */
static uint64_t gevent_size(struct look *k, const struct green *g, uint64_t object)
{
	uint64_t type, size = 0;
	char name[8];

	if (look_type(k, object, &type) < 0)
		return 0;
	for (int i = 0; i < MAX_BASES && type && type != g->all.type; i++) {
		if (read_type_name(k, type, name, sizeof(name)) &&
		    strcmp(name, GEVENT_TYPES) == 0 &&
		    look_word(k, type, k->l->type.tp_basicsize, &size) == 0)
			return size < MAX_GEVENT ? size : MAX_GEVENT;
		if (look_word(k, type, k->l->type.tp_base, &type) < 0)
			return 0;
	}
	return 0;
}

/* What waits on behalf of a greenlet: one of gevent's objects that are called so. It has the hub,
 * and behind that the greenlet. */
static void follow_waiter(struct look *k, uint32_t task, uint64_t waiter)
{
	const struct green *g = k->work[task].green;
	uint64_t type, size, pair[2];
	char name[64];
	size_t n;

	if (look_type(k, waiter, &type) < 0 || !read_type_name(k, type, name, sizeof(name)) ||
	    look_word(k, type, k->l->type.tp_basicsize, &size) < 0)
		return;
	n = strlen(name);
	if (n < strlen(GEVENT_WAITER) || strncmp(name, GEVENT_TYPES, strlen(GEVENT_TYPES)) != 0 ||
	    strcmp(name + n - strlen(GEVENT_WAITER), GEVENT_WAITER) != 0)
		return;
	for (uint64_t at = (uint64_t)k->l->object.size;
	     at + sizeof(pair) <= size && at < MAX_GEVENT; at += POINTER) {
		if (look_bytes(k, waiter + at, pair, sizeof(pair)) < 0 ||
		    !may_be_greenlet(k, g, pair[0]))
			continue;
		if (is_suspended(k, g, pair[1]))
			look_add_edge(k, task, pair[1]);
		return;
	}
}

/* Called when a greenlet ends: the switch to one that waits for it, or a method of a waiter. */
static void follow_link(struct look *k, uint32_t task, uint64_t callback)
{
	enum kind kind = callback && callback % POINTER == 0 ? look_kind(k, callback) : KIND_OTHER;
	uint64_t object;

	if ((kind != KIND_BUILTIN && kind != KIND_METHOD) ||
	    look_word(k, callback, k->l->inner.method_self, &object) < 0)
		return;
	if (is_suspended(k, k->work[task].green, object))
		look_add_edge(k, task, object);
	else if (kind == KIND_METHOD && object)
		follow_waiter(k, task, object);
}

/* Its links are a list among what gevent adds to a greenlet. */
void look_follow_links(struct look *k, uint32_t task)
{
	const struct green *g = k->work[task].green;
	uint64_t addr = k->out->info[task].addr, at, list, size, items, item;
	uint64_t end = gevent_size(k, g, addr);

	if (!end || look_word(k, g->all.type, k->l->type.tp_basicsize, &at) < 0)
		return;
	for (; at < end && !k->error && !look_spent(k); at += POINTER) {
		if (look_word(k, addr, (int32_t)at, &list) < 0 || !may_be_list(k, list) ||
		    look_word(k, list, k->l->list.ob_size, &size) < 0 ||
		    look_word(k, list, k->l->list.ob_item, &items) < 0)
			continue;
		if (size > MAX_CALLBACKS) {
			size = MAX_CALLBACKS;
			k->out->more = true;
		}
		for (uint64_t i = 0; i < size && !k->error && !look_spent(k); i++)
			if (look_word(k, items, (int32_t)(i * POINTER), &item) == 0)
				follow_link(k, task, item);
	}
}
