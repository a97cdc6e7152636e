/* While it samples what it has seen before, the writer allocates nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/stream_fixture.h"

#ifdef __SANITIZE_ADDRESS__
static size_t allocations; /* the sanitizer has its own; nothing is counted */
#else
/* In place of libc's, which the libraries call too. */
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
static volatile size_t allocations;

void *malloc(size_t n)
{
	allocations++;
	return __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
	allocations++;
	return __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
	allocations++;
	return __libc_realloc(p, n);
}
#endif

static int discard(void *arg, const void *bytes, size_t len)
{
	*(uint64_t *)arg += len;
	return 0;
}

static uint64_t write_some(struct stream_writer *w, uint64_t time, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct stream_sample s = {.time_ns = time += 90000 + i * 7919 % 20000,
					  .thread = i % 3 + 1,
					  .stack = i * 2654435761u % 3000 + 1,
					  .state = i % 7};
		struct stream_statistics st = {.achieved = i, .elapsed_ns = time};

		assert_int_equal(stream_writer_sample(w, &s), 0);
		if (i % 1000 == 0) {
			assert_int_equal(stream_writer_statistics(w, &st), 0);
			assert_int_equal(stream_writer_gap(w, time, 1, 1, STREAM_LOST_TORN), 0);
		}
	}
	return time;
}

static void a_steady_writer_allocates_nothing(void **state)
{
	struct stream_writer_options o = {.codec = STREAM_ZSTD};
	struct stream_header h = {.stream_id = 1, .time_unit_ns = 1000};
	uint64_t total = 0, time = FIXTURE_START;
	struct stream_writer *w;
	size_t before;

	assert_int_equal(stream_writer_new(&w, &h, &fixture_definitions, &o, discard, &total), 0);
	time = write_some(w, time, 300000);
	before = allocations;
#ifndef __SANITIZE_ADDRESS__
	assert_true(before > 0);
#endif
	/* 30 s: segments end and everything is defined again. */
	time = write_some(w, time, 300000);
	assert_int_equal(allocations, before);
	assert_true(total > 100000);
	stream_writer_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_steady_writer_allocates_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
