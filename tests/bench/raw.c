/* The limit of reading: the ranges that the sampler gathers, read again and again and not looked
 * at.
 *
 * usage: raw PID SECONDS [HZ]           the ranges of one sample of the main thread
 *        raw --words PID SECONDS [HZ]   the words of every thread, a range each
 *        raw --stacks PID SECONDS [HZ]  and its datastack, another
 *
 * Without HZ (or 0) as fast as it goes. Prints "reads N ranges N bytes N cpu_ns N wall_ns N".
 *
 * What the sampler reads is taken from the sampler: its calls of process_vm_readv come through
 * here, and the last one with several ranges is what is read in the loop. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "remote/sampler.h"
#include "remote/thread.h"

#define BUFFER (8u << 20)
#define TICKS  20000 /* of the sampler, most of them after its plan of what to read has settled */

#define KINDS 64

#define STACK_MAX (1u << 20)

/* Calls of one shape, and the last of them. */
static struct kind {
	uint64_t count;
	size_t n_local, n_remote, bytes;
	struct iovec local[IOV_MAX], remote[IOV_MAX];
} kinds[KINDS];

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static ssize_t read_ranges(pid_t pid, const struct iovec *to, size_t n_to, const struct iovec *from,
			   size_t n_from)
{
	return syscall(SYS_process_vm_readv, pid, to, n_to, from, n_from, 0ul);
}

/* The library's calls end here instead of in libc. */
ssize_t process_vm_readv(pid_t pid, const struct iovec *to, unsigned long n_to,
			 const struct iovec *from, unsigned long n_from, unsigned long flags)
{
	size_t bytes = 0;

	for (size_t i = 0; i < n_from; i++)
		bytes += from[i].iov_len;
	/* Single ranges are no gathers: a walk that missed reads frame by frame. */
	for (size_t i = 0; i < KINDS && n_from > 1 && n_from <= IOV_MAX && n_to <= IOV_MAX; i++) {
		struct kind *k = &kinds[i];

		if (k->count && (k->n_remote != n_from || k->bytes != bytes))
			continue;
		k->count++;
		k->n_local = n_to;
		k->n_remote = n_from;
		k->bytes = bytes;
		memcpy(k->local, to, n_to * sizeof(*to));
		memcpy(k->remote, from, n_from * sizeof(*from));
		break;
	}
	return read_ranges(pid, to, n_to, from, n_from);
}

static int fail(const char *what)
{
	fprintf(stderr, "raw: %s\n", what);
	return 1;
}

/* What a thread uses of its datastack, or as much as can be of its newest chunk. */
static struct iovec stack(const struct target *t, uint64_t tstate)
{
	const struct layout *l = &t->layout;
	uint64_t chunk, top;

	if (l->tstate.datastack_top == ABSENT ||
	    MEMORY_READ(t->memory, tstate + (uint64_t)l->tstate.datastack_chunk, &chunk) < 0 ||
	    MEMORY_READ(t->memory, tstate + (uint64_t)l->tstate.datastack_top, &top) < 0 ||
	    top <= chunk || top - chunk > STACK_MAX)
		return (struct iovec){(void *)tstate, 0};
	return (struct iovec){(void *)chunk, top - chunk};
}

/* One range for the words of each thread, and with stacks another for those, in as many calls as
 * IOV_MAX makes of them. */
static struct iovec *words(const struct target *t, bool stacks, size_t *ret_n)
{
	struct interpreter_info in[THREAD_MAX_INTERPRETERS];
	struct thread_info *list = calloc(SAMPLER_MAX_THREADS, sizeof(*list));
	struct iovec *all = calloc(2 * SAMPLER_MAX_THREADS, sizeof(*all));
	int n_in = interpreter_list(t, in, THREAD_MAX_INTERPRETERS), n;

	*ret_n = 0;
	if (!list || !all || n_in <= 0)
		return NULL;
	n = thread_list(t, &in[n_in - 1], list, SAMPLER_MAX_THREADS);
	for (int i = 0; i < n; i++) {
		all[(*ret_n)++] =
			(struct iovec){(void *)list[i].addr, (size_t)t->layout.tstate.size};
		if (stacks)
			all[(*ret_n)++] = stack(t, list[i].addr);
	}
	free(list);
	return all;
}

static void read_all(pid_t pid, const struct iovec *all, size_t n, uint8_t *buffer)
{
	for (size_t from = 0; from < n; from += IOV_MAX) {
		size_t k = n - from < IOV_MAX ? n - from : IOV_MAX;
		struct iovec to = {buffer, 0};

		for (size_t i = 0; i < k; i++)
			to.iov_len += all[from + i].iov_len;
		read_ranges(pid, &to, 1, all + from, k);
	}
}

int main(int argc, char **argv)
{
	bool stacks = argc > 1 && strcmp(argv[1], "--stacks") == 0;
	bool only_words = stacks || (argc > 1 && strcmp(argv[1], "--words") == 0);
	static _Atomic bool never;
	struct sampler_options o = {.max_ticks = TICKS, .stop_budget = 0};
	struct proc_direct direct;
	struct target *t;
	struct sampler *s;
	const struct kind *most = kinds;
	struct iovec *all = NULL;
	uint8_t *buffer = malloc(BUFFER);
	uint64_t start, cpu, end, deadline, interval = 0, reads = 0, bytes = 0;
	char detail[256];
	size_t n;
	pid_t pid;

	argv += only_words;
	argc -= only_words;
	if (argc < 3 || !buffer)
		return fail("usage: raw [--words | --stacks] PID SECONDS [HZ]");
	pid = atoi(argv[1]);
	if (argc > 3 && atof(argv[3]) > 0)
		interval = (uint64_t)(1e9 / atof(argv[3]));
	proc_direct_init(&direct, pid);
	if (target_open(&t, pid, &direct.opener, detail, sizeof(detail)))
		return fail(detail);
	if (only_words) {
		all = words(t, stacks, &n);
	} else {
		if (sampler_new(&s, t, &o) < 0)
			return fail("out of memory");
		sampler_run(s, &never);
		for (size_t i = 0; i < KINDS; i++)
			if (kinds[i].count > most->count)
				most = &kinds[i];
		all = kinds[most - kinds].remote;
		n = most->n_remote;
	}
	if (!n)
		return fail("nothing was gathered");
	for (size_t i = 0; i < n; i++)
		bytes += all[i].iov_len;
	if (bytes > BUFFER)
		return fail("more than expected");
	start = deadline = clock_ns(CLOCK_MONOTONIC);
	cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	end = start + (uint64_t)(atof(argv[2]) * 1e9);
	while (deadline < end) {
		if (interval) {
			struct timespec at;

			deadline += interval;
			at.tv_sec = (time_t)(deadline / 1000000000u);
			at.tv_nsec = (long)(deadline % 1000000000u);
			while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
				;
		} else {
			deadline = clock_ns(CLOCK_MONOTONIC);
		}
		if (only_words)
			read_all(pid, all, n, buffer);
		else
			read_ranges(pid, most->local, most->n_local, most->remote, n);
		reads++;
	}
	cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	printf("reads %" PRIu64 " ranges %zu bytes %" PRIu64 " cpu_ns %" PRIu64 " wall_ns %" PRIu64
	       "\n",
	       reads, n, bytes, cpu, clock_ns(CLOCK_MONOTONIC) - start);
	return 0;
}
