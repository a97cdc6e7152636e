#include "formats/stream-writer-parts.h"

#include <errno.h>

#include "formats/grow.h"

/* The entry of a caller's id; NULL (and the error set) when memory is short. */
static struct id_entry *entry_of(struct stream_writer *w, enum definition kind, uint32_t id)
{
	struct id_map *m = &w->maps[kind];

	if (id >= m->cap && grow(&m->entries, &m->cap, (size_t)id + 1, sizeof(*m->entries)) < 0) {
		writer_fail(w, -ENOMEM);
		return NULL;
	}
	return &m->entries[id];
}

/* Finds the local id. True: *ret is final. False: the caller defines id, by define(). */
static bool known(struct stream_writer *w, enum definition kind, uint32_t id, uint32_t *ret)
{
	struct id_entry *e;

	*ret = 0;
	if (id == 0)
		return true;
	e = entry_of(w, kind, id);
	if (!e)
		return true;
	if (e->epoch != w->epoch)
		return false;
	*ret = e->local;
	return true;
}

/* Gives id the next local one; its entry's bytes come behind in the returned buffer. */
static struct bytes *define(struct stream_writer *w, enum definition kind, uint32_t id,
			    uint32_t *ret)
{
	struct id_map *m = &w->maps[kind];

	writer_opened(w);
	if (m->defs.len == 0)
		bytes_varint(&m->defs, m->pending);
	m->entries[id] = (struct id_entry){w->epoch, m->next};
	*ret = m->next++;
	return &m->defs;
}

/* An id that the caller does not know is "none", and not asked for again in this segment. */
static uint32_t unknown(struct stream_writer *w, enum definition kind, uint32_t id)
{
	w->maps[kind].entries[id] = (struct id_entry){w->epoch, 0};
	return 0;
}

static uint32_t local_string(struct stream_writer *w, uint32_t id)
{
	struct stream_string s;
	struct bytes *b;
	uint32_t local;

	if (known(w, DEF_STRING, id, &local))
		return local;
	if (!w->definitions.string(w->definitions.arg, id, &s))
		return unknown(w, DEF_STRING, id);
	if (s.len > MAX_STRING) {
		s.len = MAX_STRING;
		while (s.len > MAX_STRING - 4 && ((uint8_t)s.bytes[s.len] & 0xc0) == 0x80)
			s.len--;
	}
	b = define(w, DEF_STRING, id, &local);
	bytes_varint(b, s.len);
	bytes_put(b, s.bytes, s.len);
	return local;
}

static uint32_t local_function(struct stream_writer *w, uint32_t id)
{
	struct stream_function f;
	uint32_t local, name, file;
	struct bytes *b;

	if (known(w, DEF_FUNCTION, id, &local))
		return local;
	if (!w->definitions.function(w->definitions.arg, id, &f))
		return unknown(w, DEF_FUNCTION, id);
	name = local_string(w, f.name);
	file = local_string(w, f.file);
	b = define(w, DEF_FUNCTION, id, &local);
	bytes_varint(b, name);
	bytes_varint(b, file);
	bytes_zigzag(b, f.first_line);
	bytes_varint(b, f.kind);
	return local;
}

/* -1 and below are unknown: 0; else the number + 1. */
static void put_position(struct bytes *b, int32_t v)
{
	bytes_varint(b, v < 0 ? 0 : (uint64_t)v + 1);
}

static uint32_t local_frame(struct stream_writer *w, uint32_t id)
{
	struct stream_frame f;
	uint32_t local, function;
	struct bytes *b;

	if (known(w, DEF_FRAME, id, &local))
		return local;
	if (!w->definitions.frame(w->definitions.arg, id, &f))
		return unknown(w, DEF_FRAME, id);
	function = local_function(w, f.function);
	b = define(w, DEF_FRAME, id, &local);
	bytes_varint(b, function);
	put_position(b, f.line);
	put_position(b, f.end_line);
	put_position(b, f.column);
	put_position(b, f.end_column);
	if (f.op) {
		bytes_varint(&w->ops, local);
		bytes_varint(&w->ops, f.op);
	}
	return local;
}

uint32_t writer_stack(struct stream_writer *w, uint32_t id)
{
	uint32_t local, parent, frame, depth = 0;
	struct stream_stack s;

	if (known(w, DEF_STACK, id, &local))
		return local;
	/* Up to what is defined already; the bound also ends a cycle. */
	for (uint32_t at = id;;) {
		if (!w->definitions.stack(w->definitions.arg, at, &s)) {
			unknown(w, DEF_STACK, at);
			parent = 0;
			break;
		}
		w->path[depth++] = at;
		at = s.parent;
		if (depth == MAX_DEPTH) {
			parent = 0;
			break;
		}
		if (known(w, DEF_STACK, at, &parent))
			break;
	}
	local = parent;
	while (depth > 0 && w->error == 0) {
		struct bytes *b;

		id = w->path[--depth];
		/* A cycle brings an id twice. */
		if (known(w, DEF_STACK, id, &local) ||
		    !w->definitions.stack(w->definitions.arg, id, &s)) {
			parent = local;
			continue;
		}
		frame = local_frame(w, s.frame);
		b = define(w, DEF_STACK, id, &local);
		/* Parents were defined a little earlier: the distance is small. */
		bytes_varint(b, local - parent);
		bytes_varint(b, frame);
		parent = local;
		/* Before the rows that use them; a chunk of definitions alone is a chunk too. */
		if (writer_pending(w) >= CHUNK_TARGET)
			writer_close_chunk(w);
	}
	return local;
}

uint32_t writer_thread(struct stream_writer *w, uint32_t id)
{
	struct stream_thread t;
	uint32_t local, name, serial;
	struct bytes *b;

	if (known(w, DEF_THREAD, id, &local))
		return local;
	if (!w->definitions.thread(w->definitions.arg, id, &t))
		return unknown(w, DEF_THREAD, id);
	name = local_string(w, t.name);
	serial = w->thread_base + id;
	if (serial > w->thread_serial)
		w->thread_serial = serial;
	b = define(w, DEF_THREAD, id, &local);
	bytes_varint(b, serial);
	bytes_varint(b, t.tid);
	bytes_varint(b, t.ident);
	bytes_zigzag(b, t.interpreter);
	bytes_varint(b, name);
	bytes_varint(b, t.main != 0);
	return local;
}

uint32_t writer_task(struct stream_writer *w, uint32_t id)
{
	struct stream_task t;
	uint32_t local, thread, name;
	struct bytes *b;

	if (known(w, DEF_TASK, id, &local))
		return local;
	if (!w->definitions.task || !w->definitions.task(w->definitions.arg, id, &t))
		return unknown(w, DEF_TASK, id);
	thread = writer_thread(w, t.thread);
	name = local_string(w, t.name);
	b = define(w, DEF_TASK, id, &local);
	bytes_varint(b, t.addr);
	bytes_varint(b, t.loop);
	bytes_varint(b, thread);
	bytes_varint(b, name);
	return local;
}
