#include "remote/memo.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "remote/array.h"

#define NEAR 256u /* pieces nearer to each other than this are read as one range */

void memo_done(struct memo *m)
{
	free(m->ranges);
	free(m->expected);
	*m = (struct memo){0};
}

void memo_clear(struct memo *m)
{
	m->n_ranges = m->used = 0;
}

static int by_address(const void *a, const void *b)
{
	const struct memory_piece *x = a, *y = b;

	return x->addr < y->addr ? -1 : x->addr > y->addr;
}

static struct memo_range *add_range(struct memo *m)
{
	if (array_reserve(&m->ranges, &m->room_ranges, m->n_ranges + 1, sizeof(*m->ranges)) < 0)
		return NULL;
	return &m->ranges[m->n_ranges++];
}

/* Lays out ranges over the pieces, sorted. */
static int lay_out(struct memo *m, const struct memory_log *log)
{
	struct memo_range *r = NULL;

	for (size_t i = 0; i < log->n; i++) {
		const struct memory_piece *p = &log->pieces[i];

		if (p->len == 0)
			continue;
		if (r && p->addr - r->addr <= (uint64_t)r->len + NEAR) {
			if (p->addr - r->addr + p->len > r->len)
				r->len = (uint32_t)(p->addr - r->addr + p->len);
			continue;
		}
		if (m->n_ranges == MEMO_RANGES)
			return -E2BIG;
		r = add_range(m);
		if (!r)
			return -ENOMEM;
		*r = (struct memo_range){.addr = p->addr, .len = p->len};
	}
	for (size_t i = 0; i < m->n_ranges; i++) {
		m->ranges[i].at = (uint32_t)m->used;
		m->used += m->ranges[i].len;
		if (m->used > MEMO_BYTES)
			return -E2BIG;
	}
	return 0;
}

static int reserve(struct memo *m)
{
	uint8_t *bytes;

	if (m->used <= m->room)
		return 0;
	bytes = malloc(2 * m->used);
	if (!bytes)
		return -ENOMEM;
	free(m->expected);
	m->room = m->used;
	m->expected = bytes;
	m->mask = bytes + m->room;
	return 0;
}

int memo_keep(struct memo *m, struct memory_log *log)
{
	size_t at = 0;
	int r;

	memo_clear(m);
	if (log->n)
		qsort(log->pieces, log->n, sizeof(*log->pieces), by_address);
	r = lay_out(m, log);
	if (r == 0)
		r = reserve(m);
	if (r < 0) {
		memo_clear(m);
		return r;
	}
	if (m->used)
		memset(m->mask, 0, m->used);
	for (size_t i = 0; i < log->n; i++) {
		const struct memory_piece *p = &log->pieces[i];
		uint64_t offset;

		if (p->len == 0)
			continue;
		while (p->addr - m->ranges[at].addr >= m->ranges[at].len)
			at++;
		offset = m->ranges[at].at + (p->addr - m->ranges[at].addr);
		memcpy(m->expected + offset, log->bytes + p->at, p->len);
		memset(m->mask + offset, 0xff, p->len);
	}
	return 0;
}

static bool same(const struct memo *m, size_t at, const uint8_t *bytes, size_t len)
{
	uint8_t differ = 0;

	for (size_t i = 0; i < len; i++)
		differ |= (bytes[i] ^ m->expected[at + i]) & m->mask[at + i];
	return differ == 0;
}

bool memo_holds(const struct memo *m, const uint8_t *bytes)
{
	return same(m, 0, bytes, m->used);
}

bool memo_range_holds_in(const struct memo *m, size_t i, struct memory *memory, uint8_t *scratch)
{
	const struct memo_range *r = &m->ranges[i];

	return memory_read(memory, r->addr, scratch, r->len) == 0 &&
	       same(m, r->at, scratch, r->len);
}

const struct memo_range *memo_range_at(const struct memo *m, uint64_t addr)
{
	for (size_t i = 0; i < m->n_ranges; i++)
		if (addr - m->ranges[i].addr < m->ranges[i].len)
			return &m->ranges[i];
	return NULL;
}

bool memo_holds_at(const struct memo *m, uint32_t at, const uint8_t *bytes, uint32_t len)
{
	return at <= m->used && len <= m->used - at && same(m, at, bytes, len);
}

bool memo_holds_in(const struct memo *m, struct memory *memory, uint8_t *scratch)
{
	for (size_t i = 0; i < m->n_ranges; i++)
		if (!memo_range_holds_in(m, i, memory, scratch))
			return false;
	return true;
}
