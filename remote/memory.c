#include "remote/memory.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

/* The kernel takes so many ranges in one call (IOV_MAX, uapi's UIO_MAXIOV). */
#define BATCH_MAX 1024

/* One call transfers at most MAX_RW_COUNT, a page less than 2 GiB; one read stays far below, so
 * that a short result always means an unreadable page. */
#define READ_MAX  ((size_t)1 << 30)
#define BATCH_LEN ((uint64_t)1 << 30)

struct memory_backend {
	/* Reads from count ranges what can be read before the first unreadable byte: bytes, or
	 * -errno when that is nothing. */
	ssize_t (*read)(struct memory *m, size_t count);
};

struct memory {
	const struct memory_backend *backend;
	pid_t pid;
	const uint8_t *image;
	size_t image_len;
	uint64_t image_base;
	uint64_t calls;
	uint64_t bytes;
	/* One batch, kept here so that sampling allocates nothing. */
	struct iovec local[BATCH_MAX];
	struct iovec remote[BATCH_MAX];
	struct memory_range *range[BATCH_MAX];
};

static ssize_t live_read(struct memory *m, size_t count)
{
	ssize_t n = process_vm_readv(m->pid, m->local, count, m->remote, count, 0);

	return n < 0 ? -errno : n;
}

static ssize_t image_read(struct memory *m, size_t count)
{
	ssize_t sum = 0;

	for (size_t i = 0; i < count; i++) {
		uint64_t at = (uintptr_t)m->remote[i].iov_base - m->image_base;
		size_t len = m->remote[i].iov_len;

		if (len == 0)
			continue;
		if (at >= m->image_len || len > m->image_len - at)
			return sum ? sum : -EFAULT;
		memcpy(m->local[i].iov_base, m->image + at, len);
		sum += (ssize_t)len;
	}
	return sum;
}

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

void memory_free(struct memory *m)
{
	free(m);
}

static bool wraps(uint64_t addr, uint64_t len)
{
	return len > UINT64_MAX - addr;
}

static void set_range(struct memory *m, size_t i, uint64_t addr, void *buf, size_t len)
{
	m->local[i].iov_base = buf;
	m->local[i].iov_len = len;
	m->remote[i].iov_base = (void *)(uintptr_t)addr;
	m->remote[i].iov_len = len;
}

static ssize_t batch_read(struct memory *m, size_t count)
{
	ssize_t n = m->backend->read(m, count);

	m->calls++;
	if (n > 0)
		m->bytes += (uint64_t)n;
	return n;
}

int memory_read(struct memory *m, uint64_t addr, void *buf, size_t len)
{
	ssize_t n;

	if (len == 0)
		return 0;
	if (len > READ_MAX || wraps(addr, len))
		return -EFAULT;
	set_range(m, 0, addr, buf, len);
	n = batch_read(m, 1);
	if (n < 0)
		return (int)n;
	return (size_t)n == len ? 0 : -EFAULT;
}

/* Takes as many ranges as one call can carry, from *next on: their number. Ranges that cannot
 * be meant are marked and left out. */
static size_t fill_batch(struct memory *m, struct memory_range *ranges, size_t n, size_t *next)
{
	size_t count = 0;
	uint64_t len = 0;

	for (; *next < n && count < BATCH_MAX; (*next)++) {
		struct memory_range *r = &ranges[*next];

		r->failed = 0;
		if (r->len == 0)
			continue;
		if (wraps(r->addr, r->len) || r->len > READ_MAX) {
			r->failed = 1;
			continue;
		}
		if (len + r->len > BATCH_LEN)
			break;
		len += r->len;
		m->range[count] = r;
		set_range(m, count, r->addr, r->buf, r->len);
		count++;
	}
	return count;
}

int memory_gather(struct memory *m, struct memory_range *ranges, size_t n)
{
	size_t next = 0;

	while (next < n) {
		size_t count = fill_batch(m, ranges, n, &next);

		while (count > 0) {
			ssize_t got = batch_read(m, count);
			size_t done = 0;

			if (got < 0 && got != -EFAULT)
				return (int)got;
			if (got < 0)
				got = 0;
			while (done < count && (size_t)got >= m->range[done]->len) {
				got -= (ssize_t)m->range[done]->len;
				done++;
			}
			if (done == count)
				break;
			/* A page of this range is unreadable: go on behind it with what was not
			 * read yet. */
			m->range[done]->failed = 1;
			done++;
			count -= done;
			memmove(m->range, m->range + done, count * sizeof(m->range[0]));
			memmove(m->local, m->local + done, count * sizeof(m->local[0]));
			memmove(m->remote, m->remote + done, count * sizeof(m->remote[0]));
		}
	}
	return 0;
}

void memory_counts(const struct memory *m, uint64_t *ret_calls, uint64_t *ret_bytes)
{
	*ret_calls = m->calls;
	*ret_bytes = m->bytes;
}
