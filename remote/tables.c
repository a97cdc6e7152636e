#include "remote/tables.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* Entries live in blocks that double in size and never move, so that the other thread can read
 * them while we add; only our own hash index is ever reallocated. */
#define FIRST_BLOCK_BITS 8
#define BLOCK_COUNT	 22 /* 2^30 entries: more than memory holds */

struct column {
	size_t entry_size;
	_Atomic uint32_t count; /* entries; the highest id */
	void *_Atomic blocks[BLOCK_COUNT];
	uint32_t *index; /* ids by hash; 0 empty */
	uint32_t index_size;
};

struct arena_block {
	struct arena_block *next;
	size_t used, size;
	char bytes[];
};

struct tables {
	struct column strings, functions, frames, stacks, threads, tasks, awaiters;
	struct arena_block *arena;
	size_t bytes;
};

static void *column_entry(const struct column *c, uint32_t id)
{
	uint32_t i = id - 1 + (1u << FIRST_BLOCK_BITS);
	unsigned block = 31u - (unsigned)__builtin_clz(i) - FIRST_BLOCK_BITS;
	char *base = atomic_load_explicit(&c->blocks[block], memory_order_acquire);

	return base + (size_t)(i - (1u << (block + FIRST_BLOCK_BITS))) * c->entry_size;
}

static const void *column_get(const struct column *c, uint32_t id)
{
	if (id == 0 || id > atomic_load_explicit(&c->count, memory_order_acquire))
		return NULL;
	return column_entry(c, id);
}

/* Appends an entry: its id, or 0. */
static uint32_t column_add(struct tables *t, struct column *c, const void *entry)
{
	uint32_t count = atomic_load_explicit(&c->count, memory_order_relaxed);
	uint32_t i = count + (1u << FIRST_BLOCK_BITS);
	unsigned block;

	if (i < count)
		return 0;
	block = 31u - (unsigned)__builtin_clz(i) - FIRST_BLOCK_BITS;
	if (block >= BLOCK_COUNT)
		return 0;
	if (!atomic_load_explicit(&c->blocks[block], memory_order_relaxed)) {
		size_t size = c->entry_size << (block + FIRST_BLOCK_BITS);
		void *p = malloc(size);

		if (!p)
			return 0;
		t->bytes += size;
		atomic_store_explicit(&c->blocks[block], p, memory_order_release);
	}
	memcpy(column_entry(c, count + 1), entry, c->entry_size);
	atomic_store_explicit(&c->count, count + 1, memory_order_release);
	return count + 1;
}

static uint64_t mix(uint64_t h)
{
	h ^= h >> 32;
	h *= 0x9fb21c651e98df25ull;
	h ^= h >> 28;
	return h;
}

static uint64_t hash_words(const uint32_t *words, size_t n)
{
	uint64_t h = n;

	for (size_t i = 0; i < n; i++)
		h = mix(h + words[i] + 0x9e3779b97f4a7c15ull);
	return h;
}

static uint64_t hash_bytes(const char *bytes, size_t n)
{
	uint64_t h = n + 0x9e3779b97f4a7c15ull;

	for (; n >= 8; n -= 8, bytes += 8) {
		uint64_t w;

		memcpy(&w, bytes, 8);
		h = mix(h ^ w) * 0x9e3779b97f4a7c15ull;
	}
	for (; n; n--)
		h = mix(h ^ (uint8_t)*bytes++) * 0x9e3779b97f4a7c15ull;
	return mix(h);
}

static uint64_t entry_hash(const struct tables *t, const struct column *c, const void *entry)
{
	if (c == &t->strings) {
		const struct table_string *s = entry;

		return hash_bytes(s->bytes, s->len);
	}
	return hash_words(entry, c->entry_size / sizeof(uint32_t));
}

static bool entry_equal(const struct tables *t, const struct column *c, const void *a,
			const void *b)
{
	if (c == &t->strings) {
		const struct table_string *x = a, *y = b;

		return x->len == y->len && memcmp(x->bytes, y->bytes, x->len) == 0;
	}
	return memcmp(a, b, c->entry_size) == 0;
}

/* Keeps the index at most half full. */
static int column_grow_index(struct tables *t, struct column *c)
{
	uint32_t count = atomic_load_explicit(&c->count, memory_order_relaxed);
	uint32_t size = c->index_size ? c->index_size * 2 : 1024;
	uint32_t *index;

	if (c->index_size && count + 1 <= c->index_size / 2)
		return 0;
	if (size < c->index_size)
		return -ENOMEM;
	index = calloc(size, sizeof(*index));
	if (!index)
		return -ENOMEM;
	for (uint32_t id = 1; id <= count; id++) {
		uint32_t i = (uint32_t)entry_hash(t, c, column_entry(c, id)) & (size - 1);

		while (index[i])
			i = (i + 1) & (size - 1);
		index[i] = id;
	}
	t->bytes += (size - c->index_size) * sizeof(*index);
	free(c->index);
	c->index = index;
	c->index_size = size;
	return 0;
}

/* Finds the entry: its id; or 0 and the free slot of the index where it belongs. */
static uint32_t column_find(const struct tables *t, const struct column *c, const void *entry,
			    uint32_t *ret_slot)
{
	uint32_t i = (uint32_t)entry_hash(t, c, entry) & (c->index_size - 1);

	for (; c->index[i]; i = (i + 1) & (c->index_size - 1))
		if (entry_equal(t, c, column_entry(c, c->index[i]), entry))
			return c->index[i];
	*ret_slot = i;
	return 0;
}

static uint32_t column_intern(struct tables *t, struct column *c, const void *entry)
{
	uint32_t slot, id;

	if (column_grow_index(t, c) < 0)
		return 0;
	id = column_find(t, c, entry, &slot);
	if (id)
		return id;
	id = column_add(t, c, entry);
	if (id)
		c->index[slot] = id;
	return id;
}

static char *arena_copy(struct tables *t, const char *bytes, size_t len)
{
	struct arena_block *b = t->arena;

	if (!b || b->size - b->used < len) {
		size_t size = len > 65536 ? len : 65536;

		b = malloc(sizeof(*b) + size);
		if (!b)
			return NULL;
		b->next = t->arena;
		b->used = 0;
		b->size = size;
		t->arena = b;
		t->bytes += sizeof(*b) + size;
	}
	b->used += len;
	return memcpy(b->bytes + b->used - len, bytes, len);
}

int tables_new(struct tables **ret)
{
	struct tables *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->strings.entry_size = sizeof(struct table_string);
	t->functions.entry_size = sizeof(struct table_function);
	t->frames.entry_size = sizeof(struct table_frame);
	t->stacks.entry_size = sizeof(struct table_stack);
	t->threads.entry_size = sizeof(struct table_thread);
	t->tasks.entry_size = sizeof(struct table_task);
	t->awaiters.entry_size = sizeof(struct table_awaiter);
	t->bytes = sizeof(*t);
	*ret = t;
	return 0;
}

static void column_done(struct column *c)
{
	for (int i = 0; i < BLOCK_COUNT; i++)
		free(c->blocks[i]);
	free(c->index);
}

void tables_free(struct tables *t)
{
	if (!t)
		return;
	column_done(&t->strings);
	column_done(&t->functions);
	column_done(&t->frames);
	column_done(&t->stacks);
	column_done(&t->threads);
	column_done(&t->tasks);
	column_done(&t->awaiters);
	while (t->arena) {
		struct arena_block *next = t->arena->next;

		free(t->arena);
		t->arena = next;
	}
	free(t);
}

uint32_t tables_string(struct tables *t, const char *bytes, uint32_t len)
{
	struct table_string s = {bytes, len};
	uint32_t slot, id;

	if (column_grow_index(t, &t->strings) < 0)
		return 0;
	id = column_find(t, &t->strings, &s, &slot);
	if (id)
		return id;
	s.bytes = arena_copy(t, bytes, len);
	if (!s.bytes)
		return 0;
	id = column_add(t, &t->strings, &s);
	if (id)
		t->strings.index[slot] = id;
	return id;
}

uint32_t tables_function(struct tables *t, const struct table_function *f)
{
	return column_intern(t, &t->functions, f);
}

uint32_t tables_frame(struct tables *t, const struct table_frame *f)
{
	return column_intern(t, &t->frames, f);
}

uint32_t tables_stack(struct tables *t, uint32_t parent, uint32_t frame)
{
	struct table_stack s = {parent, frame};

	return column_intern(t, &t->stacks, &s);
}

uint32_t tables_thread(struct tables *t, const struct table_thread *th)
{
	return column_add(t, &t->threads, th);
}

uint32_t tables_task(struct tables *t, const struct table_task *task)
{
	return column_intern(t, &t->tasks, task);
}

uint32_t tables_awaiter(struct tables *t, uint32_t next, uint32_t task)
{
	struct table_awaiter a = {next, task};

	return column_intern(t, &t->awaiters, &a);
}

const struct table_string *tables_get_string(const struct tables *t, uint32_t id)
{
	return column_get(&t->strings, id);
}

const struct table_function *tables_get_function(const struct tables *t, uint32_t id)
{
	return column_get(&t->functions, id);
}

const struct table_frame *tables_get_frame(const struct tables *t, uint32_t id)
{
	return column_get(&t->frames, id);
}

const struct table_stack *tables_get_stack(const struct tables *t, uint32_t id)
{
	return column_get(&t->stacks, id);
}

const struct table_thread *tables_get_thread(const struct tables *t, uint32_t id)
{
	return column_get(&t->threads, id);
}

const struct table_task *tables_get_task(const struct tables *t, uint32_t id)
{
	return column_get(&t->tasks, id);
}

const struct table_awaiter *tables_get_awaiter(const struct tables *t, uint32_t id)
{
	return column_get(&t->awaiters, id);
}

size_t tables_bytes(const struct tables *t)
{
	return t->bytes;
}
