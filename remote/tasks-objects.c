#include "remote/tasks-parts.h"

#include <errno.h>
#include <string.h>

#include "remote/object.h"

#define TYPE_FLAG_HEAP (1u << 9)  /* Py_TPFLAGS_HEAPTYPE */
#define MAX_BASES      32	  /* of a class, up to asyncio's */
#define MAX_SET	       (1u << 22) /* slots of a set: those of TASKS_MAX tasks are 2^18 at most */
#define BUDGET_CALLS   (16u << 20)
#define BUDGET_BYTES   (2ull << 30) /* of one look: some seconds of copying */
#define WEAK_SET_SLOT  16	    /* setentry: the object, its hash */

int look_note(struct look *k, int r)
{
	if (r == -ENOMEM || r == -ESRCH || r == -EPERM)
		k->error = r;
	return r;
}

bool look_spent(const struct look *k)
{
	uint64_t calls, bytes;

	memory_counts(k->m, &calls, &bytes);
	return calls - k->calls0 > BUDGET_CALLS || bytes - k->bytes0 > BUDGET_BYTES;
}

int look_bytes(struct look *k, uint64_t addr, void *buf, size_t len)
{
	return look_note(k, memory_read(k->m, addr, buf, len));
}

int look_word(struct look *k, uint64_t addr, int32_t offset, uint64_t *ret)
{
	if (addr == 0 || addr % POINTER || offset == ABSENT)
		return -EBADMSG;
	return look_bytes(k, addr + (uint64_t)offset, ret, sizeof(*ret));
}

void look_word_or_0(struct look *k, uint64_t addr, int32_t offset, uint64_t *ret)
{
	if (offset == ABSENT || look_word(k, addr, offset, ret) < 0)
		*ret = 0;
}

int look_type(struct look *k, uint64_t object, uint64_t *ret)
{
	return look_word(k, object, k->l->object.ob_type, ret);
}

static enum kind kind_by_name(const char *name, bool heap)
{
	static const struct {
		const char *name;
		enum kind kind;
		bool any; /* in some versions it is a heap type */
	} names[] = {
		{"coroutine", KIND_COROUTINE, false},
		{"generator", KIND_COROUTINE, false},
		{"async_generator", KIND_COROUTINE, false},
		{"async_generator_asend", KIND_WRAPPER, false},
		{"async_generator_athrow", KIND_WRAPPER, false},
		{"coroutine_wrapper", KIND_WRAPPER, false},
		{"anext_awaitable", KIND_WRAPPER, false},
		{"NoneType", KIND_NONE, false},
		{"str", KIND_STR, false},
		{"int", KIND_INT, false},
		{"function", KIND_FUNCTION, false},
		{"method", KIND_METHOD, false},
		{"functools.partial", KIND_PARTIAL, true},
		{"list", KIND_LIST, false},
		{"tuple", KIND_TUPLE, false},
		{"cell", KIND_CELL, false},
		{"set", KIND_SET, false},
		{"_RunningLoopHolder", KIND_LOOP_HOLDER, true},
		{"TaskWakeupMethWrapper", KIND_WAKEUP, false},
		{"builtin_function_or_method", KIND_BUILTIN, false},
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (strcmp(name, names[i].name) == 0)
			return heap && !names[i].any ? KIND_OTHER : names[i].kind;
	return KIND_OTHER;
}

enum kind look_kind(struct look *k, uint64_t object)
{
	uint64_t type, text, flags;
	char name[32] = "";
	size_t slot;
	enum kind kind;

	if (look_type(k, object, &type) < 0 || type == 0)
		return KIND_OTHER;
	slot = address_hash(type) % MAX_TYPES;
	if (k->types[slot].type == type)
		return k->types[slot].kind;
	if (look_word(k, type, k->l->type.tp_name, &text) < 0 ||
	    look_word(k, type, k->l->type.tp_flags, &flags) < 0)
		return KIND_OTHER;
	/* The name may stand at the end of what is readable. */
	for (size_t i = 0; i < sizeof(name) - 1; i++)
		if (look_bytes(k, text + i, &name[i], 1) < 0 || !name[i]) {
			name[i] = '\0';
			break;
		}
	name[sizeof(name) - 1] = '\0';
	kind = kind_by_name(name, flags & TYPE_FLAG_HEAP);
	k->types[slot].type = type;
	k->types[slot].kind = kind;
	return kind;
}

bool look_is_a(struct look *k, uint64_t type, uint64_t base)
{
	for (int i = 0; base && type && i < MAX_BASES; i++) {
		if (type == base)
			return true;
		if (look_word(k, type, k->l->type.tp_base, &type) < 0)
			return false;
	}
	return false;
}

uint64_t look_attribute(struct look *k, uint64_t object, const char *name)
{
	uint64_t value;

	return look_note(k, object_get_attribute(k->m, k->l, object, name, &value)) < 0 ? 0 : value;
}

void look_each_member(struct look *k, uint64_t set,
		      int (*each)(struct look *k, void *arg, uint64_t object), void *arg)
{
	uint64_t mask, table, entries[64][2];

	if (!set || look_kind(k, set) != KIND_SET || look_word(k, set, k->l->set.mask, &mask) < 0 ||
	    look_word(k, set, k->l->set.table, &table) < 0 || mask >= MAX_SET)
		return;
	for (uint64_t at = 0; at <= mask && !k->error; at += 64) {
		size_t n = mask + 1 - at < 64 ? (size_t)(mask + 1 - at) : 64;

		if (look_bytes(k, table + at * WEAK_SET_SLOT, entries, n * WEAK_SET_SLOT) < 0)
			return;
		for (size_t i = 0; i < n; i++)
			/* The hash of a member that was taken out is -1. */
			if (entries[i][0] && entries[i][1] != UINT64_MAX &&
			    each(k, arg, entries[i][0]) < 0)
				return;
	}
}
