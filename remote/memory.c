#include "remote/memory.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "remote/array.h"

/* The kernel takes so many ranges in one call (IOV_MAX, uapi's UIO_MAXIOV). */
#define BATCH_MAX 1024

/* One call transfers at most MAX_RW_COUNT, a page less than 2 GiB; one read stays far below, so
 * that a short result always means an unreadable page. */
#define READ_MAX  ((size_t)1 << 30)
#define BATCH_LEN ((uint64_t)1 << 30)

/* To copy so much that nobody asked for is cheaper than another range. */
#define NEAR 1024u

#define PAGE 4096u

struct page {
	uint64_t addr;
	uint32_t used;	/* the round that it was last read in */
	bool failed;	/* it could not be read */
	bool late;	/* it came since all were read */
	uint8_t *bytes; /* also of those behind the last, from before memory_forget() */
};

/* Pages by address, open addressing; the table of all pages in the order of their coming. */
struct cache {
	struct memory *below;
	uint32_t size; /* of a page: a power of 2 */
	struct page *pages;
	size_t n_pages, room;
	size_t missed;
	uint32_t round;	 /* of memory_prune() */
	uint32_t *slots; /* index + 1 */
	size_t n_slots;
	struct memory_range *ranges; /* of memory_renew(): room of them */
};

struct memory_backend {
	/* Reads of the batch what can be read before the first unreadable byte: bytes, or -errno
	 * when that is nothing. */
	ssize_t (*read)(struct memory *m);
};

struct memory {
	const struct memory_backend *backend;
	pid_t pid;
	const uint8_t *image;
	size_t image_len;
	uint64_t image_base;
	struct cache *cache;
	struct memory_log *log;
	uint64_t calls;
	uint64_t bytes;
	/* One batch, kept here so that sampling allocates nothing: where each piece goes, where it
	 * comes from, and whose it is (NULL: it lies between two ranges). For the kernel pieces
	 * that follow each other are one range of the target. */
	struct iovec local[BATCH_MAX];
	uint64_t from[BATCH_MAX];
	struct memory_range *range[BATCH_MAX];
	size_t n_local;
	struct iovec remote[BATCH_MAX];
	size_t n_remote;
	uint8_t between[NEAR];
};

static ssize_t live_read(struct memory *m)
{
	ssize_t n = process_vm_readv(m->pid, m->local, m->n_local, m->remote, m->n_remote, 0);

	return n < 0 ? -errno : n;
}

static ssize_t image_read(struct memory *m)
{
	ssize_t sum = 0;

	for (size_t i = 0; i < m->n_local; i++) {
		uint64_t at = m->from[i] - m->image_base;
		size_t len = m->local[i].iov_len;

		if (len == 0)
			continue;
		if (at >= m->image_len || len > m->image_len - at)
			return sum ? sum : -EFAULT;
		memcpy(m->local[i].iov_base, m->image + at, len);
		sum += (ssize_t)len;
	}
	return sum;
}

static size_t page_slot(const struct cache *c, uint64_t addr)
{
	size_t s = (size_t)((addr / c->size) * 0x9e3779b97f4a7c15ull >> 24) & (c->n_slots - 1);

	while (c->slots[s] && c->pages[c->slots[s] - 1].addr != addr)
		s = (s + 1) & (c->n_slots - 1);
	return s;
}

static int cache_grow(struct cache *c)
{
	size_t room = c->room;
	uint32_t *slots;

	if (c->n_pages < c->room)
		return 0;
	if (array_reserve(&c->pages, &room, c->n_pages + 1, sizeof(*c->pages)) < 0)
		return -ENOMEM;
	memset(c->pages + c->room, 0, (room - c->room) * sizeof(*c->pages));
	slots = calloc(room * 2, sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	free(c->slots);
	c->slots = slots;
	c->n_slots = room * 2;
	c->room = room;
	for (size_t i = 0; i < c->n_pages; i++)
		c->slots[page_slot(c, c->pages[i].addr)] = (uint32_t)i + 1;
	return 0;
}

static struct page *cache_find(const struct cache *c, uint64_t addr)
{
	size_t s = c->n_slots ? page_slot(c, addr) : 0;

	return c->n_slots && c->slots[s] ? &c->pages[c->slots[s] - 1] : NULL;
}

/* A page that is not there yet, with room for its bytes: 0 or -errno. */
static int cache_add(struct cache *c, uint64_t addr, struct page **ret)
{
	struct page *page;

	if (c->n_pages == MEMORY_CACHE_PAGES)
		return -EFAULT;
	if (cache_grow(c) < 0)
		return -ENOMEM;
	page = &c->pages[c->n_pages];
	if (!page->bytes)
		page->bytes = malloc(c->size);
	if (!page->bytes)
		return -ENOMEM;
	*page = (struct page){.addr = addr, .used = c->round, .failed = true, .bytes = page->bytes};
	*ret = page;
	return 0;
}

static void cache_keep(struct cache *c, const struct page *page)
{
	c->n_pages++;
	c->slots[page_slot(c, page->addr)] = (uint32_t)c->n_pages;
}

/* The page at addr, read when it is not there yet; NULL: unreadable, and *ret_error. */
static const struct page *cache_page(struct cache *c, uint64_t addr, int *ret_error)
{
	struct page *page = cache_find(c, addr);
	int r;

	*ret_error = -EFAULT;
	if (page) {
		page->used = c->round;
		c->missed += page->late;
		return page;
	}
	r = cache_add(c, addr, &page);
	if (r == 0) {
		page->late = true;
		r = memory_read(c->below, addr, page->bytes, c->size);
		page->failed = r < 0;
	} else if (r == -EFAULT) {
		return NULL;
	}
	if (r < 0 && r != -EFAULT) {
		*ret_error = r;
		return NULL;
	}
	c->missed++;
	cache_keep(c, page);
	return page;
}

static ssize_t cached_read(struct memory *m)
{
	ssize_t sum = 0;

	for (size_t i = 0; i < m->n_local; i++) {
		uint64_t at = m->from[i];
		uint8_t *to = m->local[i].iov_base;
		size_t left = m->local[i].iov_len;

		while (left > 0) {
			uint32_t size = m->cache->size, offset = (uint32_t)(at % size);
			size_t n = size - offset < left ? size - offset : left;
			int error;
			const struct page *page = cache_page(m->cache, at - offset, &error);

			if (!page || page->failed)
				return sum ? sum : error;
			memcpy(to, page->bytes + offset, n);
			sum += (ssize_t)n;
			to += n;
			at += n;
			left -= n;
		}
	}
	return sum;
}

static const struct memory_backend cached_backend = {.read = cached_read};
static const struct memory_backend live_backend = {.read = live_read};
static const struct memory_backend image_backend = {.read = image_read};

static int memory_new(struct memory **ret, const struct memory_backend *backend)
{
	struct memory *m = calloc(1, sizeof(*m));

	if (!m)
		return -ENOMEM;
	m->backend = backend;
	*ret = m;
	return 0;
}

int memory_new_live(struct memory **ret, pid_t pid)
{
	struct memory *m;
	int r;

	if (pid <= 0)
		return -ESRCH;
	r = memory_new(&m, &live_backend);
	if (r < 0)
		return r;
	m->pid = pid;
	*ret = m;
	return 0;
}

int memory_new_image(struct memory **ret, const void *image, size_t len, uint64_t base)
{
	struct memory *m;
	int r;

	if (len > UINT64_MAX - base)
		return -EINVAL;
	r = memory_new(&m, &image_backend);
	if (r < 0)
		return r;
	m->image = image;
	m->image_len = len;
	m->image_base = base;
	*ret = m;
	return 0;
}

int memory_new_cached(struct memory **ret, struct memory *below)
{
	return memory_new_blocks(ret, below, PAGE);
}

int memory_new_blocks(struct memory **ret, struct memory *below, uint32_t size)
{
	struct memory *m;
	int r = memory_new(&m, &cached_backend);

	if (r < 0)
		return r;
	m->cache = calloc(1, sizeof(*m->cache));
	if (!m->cache) {
		free(m);
		return -ENOMEM;
	}
	m->cache->below = below;
	m->cache->size = size;
	*ret = m;
	return 0;
}

#define SORTED 128 /* pages that are few enough to be sorted: neighbours are one range then */

/* All pages as ranges. */
static void cache_ranges(const struct cache *c, struct memory_range *ranges)
{
	for (size_t i = 0; i < c->n_pages; i++) {
		const struct memory_range range = {
			.addr = c->pages[i].addr, .len = c->size, .buf = c->pages[i].bytes};
		size_t at = i;

		for (; c->n_pages <= SORTED && at > 0 && ranges[at - 1].addr > range.addr; at--)
			ranges[at] = ranges[at - 1];
		ranges[at] = range;
	}
}

/* Those of b for those of a, backward; but neighbours stay one range. */
static void cache_turn(struct cache *b, const struct memory_range *from, size_t n,
		       struct memory_range *to)
{
	size_t end = n, at = 0;

	while (end > 0) {
		size_t begin = end - 1;

		while (begin > 0 && from[begin - 1].addr + b->size == from[begin].addr)
			begin--;
		for (size_t i = begin; i < end; i++)
			to[at++] = (struct memory_range){.addr = from[i].addr,
							 .len = b->size,
							 .buf = cache_find(b, from[i].addr)->bytes};
		end = begin;
	}
}

static void cache_settle(struct cache *c, const struct memory_range *ranges, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct page *page = cache_find(c, ranges[i].addr);

		page->failed = ranges[i].failed;
		page->late = false;
	}
	c->missed = 0;
}

/* Reads the pages of a, and then, where there is a b, those of b, which are the same, the last
 * first. */
static int cache_renew(struct cache *a, struct cache *b)
{
	struct memory_range *ranges = reallocarray(a->ranges, 2 * a->n_pages + 1, sizeof(*ranges));
	size_t n = a->n_pages;
	int r;

	if (!ranges)
		return -ENOMEM;
	a->ranges = ranges;
	cache_ranges(a, ranges);
	if (b)
		cache_turn(b, ranges, n, ranges + n);
	r = memory_gather(a->below, ranges, b ? 2 * n : n);
	cache_settle(a, ranges, n);
	if (b)
		cache_settle(b, ranges + n, n);
	return r;
}

int memory_renew(struct memory *m)
{
	return cache_renew(m->cache, NULL);
}

/* The pages of b are those of a, in the same order. */
static int cache_copy(struct cache *b, const struct cache *a)
{
	struct page *page;
	int r = 0;

	if (b->n_pages)
		memset(b->slots, 0, b->n_slots * sizeof(*b->slots));
	b->n_pages = b->missed = 0;
	for (size_t i = 0; i < a->n_pages && r == 0; i++) {
		r = cache_add(b, a->pages[i].addr, &page);
		if (r == 0)
			cache_keep(b, page);
	}
	return r;
}

int memory_renew_pair(struct memory *m, struct memory *second)
{
	int r = cache_copy(second->cache, m->cache);

	return r < 0 ? r : cache_renew(m->cache, second->cache);
}

/* Whether some of that is in the last page that there can be: none of it is kept then. */
static bool beyond(const struct cache *c, uint64_t addr, size_t len)
{
	return addr > UINT64_MAX - c->size || len > UINT64_MAX - c->size - addr;
}

size_t memory_missed(const struct memory *m)
{
	return m->cache->missed;
}

size_t memory_kept(const struct memory *m)
{
	return m->cache->n_pages;
}

void memory_forget(struct memory *m)
{
	struct cache *c = m->cache;

	if (c->n_pages)
		memset(c->slots, 0, c->n_slots * sizeof(*c->slots));
	c->n_pages = c->missed = 0;
}

int memory_want(struct memory *m, uint64_t addr, size_t len)
{
	struct cache *c = m->cache;
	uint64_t at = addr - addr % c->size;
	struct page *page;
	int r = 0;

	if (beyond(c, addr, len))
		return 0;
	for (; at < addr + len && r == 0; at += c->size) {
		page = cache_find(c, at);
		if (page) {
			page->used = c->round;
			continue;
		}
		r = cache_add(c, at, &page);
		if (r == 0)
			cache_keep(c, page);
	}
	return r == -ENOMEM ? r : 0;
}

void memory_prune(struct memory *m, uint32_t rounds)
{
	struct cache *c = m->cache;
	size_t kept = 0, n = c->n_pages;

	for (size_t i = 0; i < n; i++) {
		const struct page page = c->pages[i];

		if (c->round - page.used >= rounds)
			continue;
		/* The bytes of those that go are used again. */
		c->pages[i] = c->pages[kept];
		c->pages[kept++] = page;
	}
	c->round++;
	if (kept == n)
		return;
	c->n_pages = kept;
	memset(c->slots, 0, c->n_slots * sizeof(*c->slots));
	for (size_t i = 0; i < kept; i++)
		c->slots[page_slot(c, c->pages[i].addr)] = (uint32_t)i + 1;
}

void memory_free(struct memory *m)
{
	if (m && m->cache) {
		for (size_t i = 0; i < m->cache->room; i++)
			free(m->cache->pages[i].bytes);
		free(m->cache->pages);
		free(m->cache->slots);
		free(m->cache->ranges);
		free(m->cache);
	}
	free(m);
}

static bool wraps(uint64_t addr, uint64_t len)
{
	return len > UINT64_MAX - addr;
}

static ssize_t batch_read(struct memory *m)
{
	ssize_t n = m->backend->read(m);

	m->calls++;
	if (n > 0)
		m->bytes += (uint64_t)n;
	return n;
}

static void add_local(struct memory *m, uint64_t addr, void *buf, size_t len,
		      struct memory_range *range)
{
	m->local[m->n_local] = (struct iovec){buf, len};
	m->from[m->n_local] = addr;
	m->range[m->n_local++] = range;
}

static void add_remote(struct memory *m, uint64_t addr, size_t len)
{
	m->remote[m->n_remote++] = (struct iovec){(void *)(uintptr_t)addr, len};
}

/* ---- what was read ---- */

static bool log_reserve(struct memory_log *log, size_t len)
{
	return array_reserve(&log->pieces, &log->room, log->n + 1, sizeof(*log->pieces)) == 0 &&
	       array_reserve(&log->bytes, &log->size, log->used + len, 1) == 0;
}

static void log_piece(struct memory_log *log, uint64_t addr, const void *bytes, size_t len)
{
	if (len > MEMORY_LOG_BYTES - log->used || !log_reserve(log, len)) {
		log->full = true;
		return;
	}
	log->pieces[log->n++] = (struct memory_piece){
		.addr = addr, .len = (uint32_t)len, .at = (uint32_t)log->used};
	memcpy(log->bytes + log->used, bytes, len);
	log->used += len;
}

void memory_log_clear(struct memory_log *log)
{
	log->n = log->used = 0;
	log->full = log->lacks = false;
}

void memory_log_done(struct memory_log *log)
{
	free(log->pieces);
	free(log->bytes);
	*log = (struct memory_log){0};
}

struct memory_log *memory_set_log(struct memory *m, struct memory_log *log)
{
	struct memory_log *before = m->log;

	m->log = log;
	return before;
}

int memory_read(struct memory *m, uint64_t addr, void *buf, size_t len)
{
	ssize_t n;

	if (len == 0)
		return 0;
	if (len > READ_MAX || wraps(addr, len))
		return -EFAULT;
	m->n_local = m->n_remote = 0;
	add_local(m, addr, buf, len, NULL);
	add_remote(m, addr, len);
	n = batch_read(m);
	if (m->log && (n < 0 || (size_t)n != len))
		m->log->lacks = true;
	if (n < 0)
		return (int)n;
	if ((size_t)n != len)
		return -EFAULT;
	if (m->log)
		log_piece(m->log, addr, buf, len);
	return 0;
}

/* Takes as many ranges as one call can carry, from *next on: their bytes. Ranges that cannot be
 * meant are marked and left out. One that begins at most `near` bytes behind the end of the one
 * before is read with it. */
static uint64_t fill_batch(struct memory *m, struct memory_range *ranges, size_t n, size_t *next,
			   uint32_t near)
{
	uint64_t len = 0, end = 0;

	m->n_local = m->n_remote = 0;
	/* There is room for two pieces: a range, and what lies before it. */
	for (; *next < n && m->n_local + 2 <= BATCH_MAX; (*next)++) {
		struct memory_range *r = &ranges[*next];
		uint64_t gap = r->addr - end;

		r->failed = 0;
		if (r->len == 0)
			continue;
		if (wraps(r->addr, r->len) || r->len > READ_MAX) {
			r->failed = 1;
			continue;
		}
		if (len + NEAR + r->len > BATCH_LEN && m->n_local)
			break;
		if (m->n_remote && r->addr >= end && gap <= near) {
			if (gap)
				add_local(m, end, m->between, gap, NULL);
			m->remote[m->n_remote - 1].iov_len += gap + r->len;
			len += gap;
		} else {
			add_remote(m, r->addr, r->len);
		}
		add_local(m, r->addr, r->buf, r->len, r);
		len += r->len;
		end = r->addr + r->len;
	}
	return len;
}

int memory_gather(struct memory *m, struct memory_range *ranges, size_t n)
{
	uint32_t near = NEAR;
	size_t next = 0;

	while (next < n) {
		uint64_t len = fill_batch(m, ranges, n, &next, near);
		ssize_t got = len ? batch_read(m) : 0;
		size_t done = 0;

		if (got < 0 && got != -EFAULT)
			return (int)got;
		if (got < 0)
			got = 0;
		if ((uint64_t)got == len)
			continue;
		while ((size_t)got >= m->local[done].iov_len)
			got -= (ssize_t)m->local[done++].iov_len;
		/* A page of this piece is unreadable: go on behind it, and with nothing that was
		 * not asked for. */
		near = 0;
		if (m->range[done])
			m->range[done]->failed = 1;
		do
			done++;
		while (done < m->n_local && !m->range[done]);
		next = done < m->n_local ? (size_t)(m->range[done] - ranges) : next;
	}
	return 0;
}

void memory_counts(const struct memory *m, uint64_t *ret_calls, uint64_t *ret_bytes)
{
	*ret_calls = m->calls;
	*ret_bytes = m->bytes;
}
