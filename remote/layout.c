#include "remote/layout.h"

#include <errno.h>
#include <string.h>

#include "remote/layouts/layouts.h"
#include "remote/memory.h"

#define COOKIE	   "xdebugpy"
#define COOKIE_LEN 8

/* No struct of CPython comes near: PyInterpreterState, the largest, is some 400 KiB. */
#define OFFSET_MAX (16 << 20)

static const struct layout *const rows[] = {
	&layout_cpython_3_8,  &layout_cpython_3_9,  &layout_cpython_3_10,
	&layout_cpython_3_11, &layout_cpython_3_12,
};

static const struct layout_table *const tables[] = {
	&layout_table_3_13,  &layout_table_3_13t, &layout_table_3_14,
	&layout_table_3_14t, &layout_table_3_15,  &layout_table_3_15t,
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static bool same_minor(uint32_t a, uint32_t b)
{
	return a >> 16 == b >> 16;
}

const struct layout *layout_rows(uint32_t version, bool free_threaded)
{
	for (size_t i = 0; i < COUNT(rows); i++) {
		if (same_minor(rows[i]->version, version) &&
		    rows[i]->free_threaded == free_threaded)
			return rows[i];
	}
	return NULL;
}

static const struct layout_table *find_table(uint32_t version, bool free_threaded)
{
	for (size_t i = 0; i < COUNT(tables); i++) {
		if (same_minor(tables[i]->version, version) &&
		    tables[i]->free_threaded == free_threaded)
			return tables[i];
	}
	return NULL;
}

/* The first byte behind the fields at these offsets, each at most 8 bytes long. */
static int32_t extent(const int32_t *offsets, size_t n)
{
	int32_t end = 0;

	for (size_t i = 0; i < n; i++) {
		if (offsets[i] != ABSENT && offsets[i] + 8 > end)
			end = offsets[i] + 8;
	}
	return end;
}

static void set_sizes(struct layout *l)
{
	const int32_t tstate[] = {
		l->tstate.prev,
		l->tstate.next,
		l->tstate.interp,
		l->tstate.frame,
		l->tstate.cframe,
		l->tstate.base_frame,
		l->tstate.thread_id,
		l->tstate.native_thread_id,
		l->tstate.datastack_chunk,
		l->tstate.datastack_top,
		l->tstate.datastack_limit,
		l->tstate.status,
		l->tstate.state,
		l->tstate.holds_gil,
		l->tstate.gil_requested,
		l->tstate.current_exception,
		l->tstate.exc_info,
		l->tstate.exc_state,
	};
	const int32_t frame[] = {
		l->frame.previous, l->frame.executable,	  l->frame.instr_ptr,
		l->frame.owner,	   l->frame.stackpointer, l->frame.tlbc_index,
	};
	const int32_t code[] = {
		l->code.filename,    l->code.name,	 l->code.qualname, l->code.linetable,
		l->code.firstlineno, l->code.argcount,	 l->code.flags,	   l->code.firsttraceable,
		l->code.tlbc,	     l->code.co_version,
	};
	int32_t end;

	l->tstate.size = extent(tstate, COUNT(tstate));
	end = extent(frame, COUNT(frame));
	/* The last field of the header is one byte; the locals begin behind it. */
	l->frame.size = end > l->frame.localsplus ? l->frame.localsplus : end;
	l->code.size = extent(code, COUNT(code));
}

int layout_from_debug_offsets(struct layout *ret, const void *table, size_t len,
			      uint32_t *ret_version)
{
	const uint8_t *bytes = table;
	const struct layout_table *t;
	uint64_t version, free_threaded;
	struct layout l;

	if (len < 3 * sizeof(uint64_t) || memcmp(bytes, COOKIE, COOKIE_LEN) != 0)
		return -ENODATA;
	memcpy(&version, bytes + 8, sizeof(version));
	memcpy(&free_threaded, bytes + 16, sizeof(free_threaded));
	*ret_version = (uint32_t)version;
	if (version > UINT32_MAX || free_threaded > 1)
		return -ENOTSUP;
	t = find_table((uint32_t)version, free_threaded == 1);
	if (!t || len < t->len)
		return -ENOTSUP;
	l = *t->base;
	l.version = (uint32_t)version;
	for (size_t i = 0; i < t->words_count; i++) {
		const struct layout_word *w = &t->words[i];
		int32_t *field = (int32_t *)((uint8_t *)&l + w->field);
		int64_t value = 0;
		uint64_t word;

		memcpy(&word, bytes + w->index * sizeof(word), sizeof(word));
		if (word > OFFSET_MAX)
			return -ENOTSUP;
		switch (w->use) {
		case LAYOUT_WORD_SET:
			value = (int64_t)word + w->add;
			break;
		case LAYOUT_WORD_SET_UNLESS_0:
			if (word == 0)
				continue;
			value = (int64_t)word + w->add;
			break;
		case LAYOUT_WORD_ADD:
			value = *field + (int64_t)word + w->add;
			break;
		case LAYOUT_WORD_SUB:
			value = *field - ((int64_t)word + w->add);
			break;
		}
		if (value < 0 || value > OFFSET_MAX)
			return -ENOTSUP;
		*field = (int32_t)value;
	}
	set_sizes(&l);
	if (l.tstate.size > LAYOUT_STRUCT_MAX || l.frame.size <= 0 ||
	    l.frame.size > LAYOUT_STRUCT_MAX || l.code.size > LAYOUT_STRUCT_MAX ||
	    l.frame.localsplus > LAYOUT_STRUCT_MAX)
		return -ENOTSUP;
	*ret = l;
	return 0;
}

int layout_add_asyncio(struct layout *l, const void *table, size_t len)
{
	/* The words of struct _Py_AsyncioModuleDebugOffsets, in its order; NULL: of no use here. */
	int32_t *const fields[LAYOUT_ASYNCIO_BYTES / sizeof(uint64_t)] = {
		NULL, /* asyncio_task_object.size */
		&l->task.name,
		&l->task.awaited_by,
		NULL, /* task_is_task */
		&l->task.awaited_by_is_set,
		&l->task.coro,
		&l->task.node,
		NULL, /* asyncio_interpreter_state.size */
		&l->interp.asyncio_tasks,
		NULL, /* asyncio_thread_state.size */
		&l->tstate.asyncio_loop,
		&l->tstate.asyncio_task,
		&l->tstate.asyncio_tasks,
	};
	uint64_t words[COUNT(fields)];

	if (len < sizeof(words))
		return -ENOTSUP;
	memcpy(words, table, sizeof(words));
	for (size_t i = 0; i < COUNT(fields); i++)
		if (words[i] == 0 || words[i] > OFFSET_MAX)
			return -ENOTSUP;
	for (size_t i = 0; i < COUNT(fields); i++)
		if (fields[i])
			*fields[i] = (int32_t)words[i];
	return 0;
}
