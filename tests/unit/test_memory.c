/* Reads of a live process (this one) and of an image. */
#include "remote/memory.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define PAGE 4096

/* Three pages, the middle one unreadable; the others hold their number. */
static uint8_t *make_pages(void)
{
	uint8_t *pages =
		mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(pages, MAP_FAILED);
	memset(pages, 1, PAGE);
	memset(pages + 2 * PAGE, 3, PAGE);
	assert_int_equal(mprotect(pages + PAGE, PAGE, PROT_NONE), 0);
	return pages;
}

static void a_read_is_whole_or_fails(void **state)
{
	uint8_t *pages = make_pages();
	struct memory *m;
	char buf[32];

	assert_int_equal(memory_new_live(&m, getpid()), 0);
	assert_int_equal(memory_read(m, (uintptr_t)pages, buf, sizeof(buf)), 0);
	assert_int_equal(buf[31], 1);
	assert_int_equal(memory_read(m, (uintptr_t)pages + PAGE - 16, buf, sizeof(buf)), -EFAULT);
	assert_int_equal(memory_read(m, (uintptr_t)pages + PAGE, buf, 1), -EFAULT);
	assert_int_equal(memory_read(m, 0, buf, 0), 0);
	memory_free(m);
	munmap(pages, 3 * PAGE);
}

static void an_address_that_wraps_around_is_unreadable(void **state)
{
	struct memory_range range = {.addr = UINT64_MAX - 3, .len = 8};
	static const uint8_t image[16];
	struct memory *m;
	char buf[8];

	range.buf = buf;
	assert_int_equal(memory_new_live(&m, getpid()), 0);
	assert_int_equal(memory_read(m, UINT64_MAX - 3, buf, 8), -EFAULT);
	assert_int_equal(memory_gather(m, &range, 1), 0);
	assert_int_equal(range.failed, 1);
	memory_free(m);
	assert_int_equal(memory_new_image(&m, image, sizeof(image), 0x1000), 0);
	assert_int_equal(memory_read(m, UINT64_MAX - 3, buf, 8), -EFAULT);
	memory_free(m);
	assert_int_equal(memory_new_image(&m, image, sizeof(image), UINT64_MAX - 3), -EINVAL);
}

static void a_gather_goes_on_behind_what_is_unreadable(void **state)
{
	uint8_t *pages = make_pages();
	uintptr_t at = (uintptr_t)pages;
	uint8_t buf[6][16];
	struct memory_range ranges[] = {
		{.addr = at, .len = 16, .buf = buf[0]},
		{.addr = at + PAGE - 8, .len = 16, .buf = buf[1]}, /* half */
		{.addr = at + PAGE, .len = 16, .buf = buf[2]},
		{.addr = at + PAGE, .len = 0, .buf = buf[3]},
		{.addr = at + 2 * PAGE, .len = 16, .buf = buf[4]},
		{.addr = at + 32, .len = 16, .failed = 1, .buf = buf[5]},
	};
	static const uint32_t failed[] = {0, 1, 1, 0, 0, 0};
	uint64_t calls, bytes;
	struct memory *m;

	assert_int_equal(memory_new_live(&m, getpid()), 0);
	assert_int_equal(memory_gather(m, ranges, 6), 0);
	for (int i = 0; i < 6; i++)
		assert_int_equal(ranges[i].failed, failed[i]);
	assert_int_equal(buf[0][15], 1);
	assert_int_equal(buf[4][15], 3);
	assert_int_equal(buf[5][15], 1);
	memory_counts(m, &calls, &bytes);
	assert_int_equal(calls, 3);
	memory_free(m);
	munmap(pages, 3 * PAGE);
}

static void a_gather_takes_more_ranges_than_one_call_can(void **state)
{
	enum { COUNT = 3000 };
	static struct memory_range ranges[COUNT];
	static uint32_t from[COUNT], to[COUNT];
	uint64_t calls, bytes;
	struct memory *m;

	for (uint32_t i = 0; i < COUNT; i++) {
		from[i] = i;
		ranges[i] = (struct memory_range){
			.addr = (uintptr_t)&from[i], .len = sizeof(from[i]), .buf = &to[i]};
	}
	assert_int_equal(memory_new_live(&m, getpid()), 0);
	assert_int_equal(memory_gather(m, ranges, COUNT), 0);
	assert_memory_equal(from, to, sizeof(from));
	memory_counts(m, &calls, &bytes);
	assert_int_equal(calls, 3);
	assert_int_equal(bytes, sizeof(from));
	memory_free(m);
}

/* Ranges near each other are read as one: each is what it is by itself all the same. */
static void ranges_that_are_near_are_read_together(void **state)
{
	enum { COUNT = 40, ROUNDS = 400 };
	uint8_t *pages = make_pages();
	struct memory_range ranges[COUNT];
	uint8_t buf[COUNT][600], own[600];
	unsigned seed = 5, unreadable = 0, fine = 0;
	struct memory *m, *alone;

	for (int i = 0; i < PAGE; i++) {
		pages[i] = (uint8_t)(i * 7);
		pages[2 * PAGE + i] = (uint8_t)(i * 11);
	}
	assert_int_equal(memory_new_live(&m, getpid()), 0);
	assert_int_equal(memory_new_live(&alone, getpid()), 0);
	for (int round = 0; round < ROUNDS; round++) {
		uint64_t at = (uintptr_t)pages;

		for (int i = 0; i < COUNT; i++) {
			uint32_t len = (uint32_t)rand_r(&seed) % 600;

			/* Mostly onwards; now and then from the beginning again. */
			at += (uint32_t)rand_r(&seed) % 1200;
			if (at + len > (uintptr_t)pages + 3 * PAGE)
				at = (uintptr_t)pages + (uint32_t)rand_r(&seed) % PAGE;
			ranges[i] = (struct memory_range){at, len, 7, buf[i]};
			at += len;
		}
		assert_int_equal(memory_gather(m, ranges, COUNT), 0);
		for (int i = 0; i < COUNT; i++) {
			int r = memory_read(alone, ranges[i].addr, own, ranges[i].len);

			assert_int_equal(ranges[i].failed, r != 0);
			if (r == 0)
				assert_memory_equal(buf[i], own, ranges[i].len);
			unreadable += r != 0;
			fine += r == 0;
		}
	}
	assert_true(unreadable > 1000 && fine > 1000);
	memory_free(m);
	memory_free(alone);
	munmap(pages, 3 * PAGE);
}

static void a_process_that_ended_is_gone(void **state)
{
	struct memory_range range = {.addr = 0x1000, .len = 8};
	pid_t pid = fork();
	struct memory *m;
	char buf[8];

	if (pid == 0)
		_exit(0);
	range.buf = buf;
	assert_int_equal(memory_new_live(&m, pid), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(memory_read(m, 0x1000, buf, 8), -ESRCH);
	assert_int_equal(memory_gather(m, &range, 1), -ESRCH);
	memory_free(m);
	assert_int_equal(memory_new_live(&m, 0), -ESRCH);
}

static void an_image_is_read_within_its_bounds(void **state)
{
	static const uint8_t image[] = {1, 2, 3, 4, 5, 6, 7, 8};
	uint8_t buf[3][8];
	struct memory_range ranges[] = {
		{.addr = 0x1000, .len = 4, .buf = buf[0]},
		{.addr = 0x1006, .len = 4, .buf = buf[1]},
		{.addr = 0x1004, .len = 4, .buf = buf[2]},
	};
	struct memory *m;

	assert_int_equal(memory_new_image(&m, image, sizeof(image), 0x1000), 0);
	assert_int_equal(memory_read(m, 0x1000, buf[0], 8), 0);
	assert_memory_equal(buf[0], image, 8);
	assert_int_equal(memory_read(m, 0x1001, buf[0], 8), -EFAULT);
	assert_int_equal(memory_read(m, 0xfff, buf[0], 1), -EFAULT);
	assert_int_equal(memory_gather(m, ranges, 3), 0);
	assert_int_equal(ranges[0].failed, 0);
	assert_int_equal(ranges[1].failed, 1);
	assert_int_equal(ranges[2].failed, 0);
	assert_int_equal(buf[2][3], 8);
	memory_free(m);
}

static void kept_memory_is_of_one_instant_until_it_is_renewed(void **state)
{
	static _Alignas(PAGE) uint8_t bytes[3 * PAGE];
	struct memory *live, *kept;
	uint64_t calls, more, unused;
	uint8_t buf[16];

	memset(bytes, 1, sizeof(bytes));
	assert_int_equal(memory_new_live(&live, getpid()), 0);
	assert_int_equal(memory_new_cached(&kept, live), 0);
	/* Across two pages. */
	assert_int_equal(memory_read(kept, (uintptr_t)bytes + PAGE - 8, buf, 16), 0);
	assert_int_equal(buf[0] + buf[15], 2);
	assert_int_equal(memory_missed(kept), 2);
	memory_counts(live, &calls, &unused);
	memset(bytes, 2, sizeof(bytes));
	for (int i = 0; i < 100; i++)
		assert_int_equal(memory_read(kept, (uintptr_t)bytes + i, buf, 1), 0);
	assert_int_equal(buf[0], 1);
	memory_counts(live, &more, &unused);
	assert_int_equal(more, calls);
	assert_int_equal(memory_renew(kept), 0);
	memory_counts(live, &more, &unused);
	assert_int_equal(more, calls + 1);
	assert_int_equal(memory_missed(kept), 0);
	assert_int_equal(memory_read(kept, (uintptr_t)bytes, buf, 16), 0);
	assert_int_equal(buf[0], 2);
	assert_int_equal(memory_missed(kept), 0);
	assert_int_equal(memory_read(kept, (uintptr_t)bytes + 2 * PAGE, buf, 1), 0);
	assert_int_equal(memory_missed(kept), 1);
	memory_free(kept);
	memory_free(live);
}

static void blocks_are_read_forth_and_back(void **state)
{
	static _Alignas(PAGE) uint8_t bytes[2 * PAGE];
	const uint64_t at = (uintptr_t)bytes;
	struct memory *live, *near, *back;
	uint64_t calls, more, before, after;
	uint8_t buf[512];

	assert_int_equal(memory_new_live(&live, getpid()), 0);
	assert_int_equal(memory_new_blocks(&near, live, 256), 0);
	assert_int_equal(memory_new_blocks(&back, near, 256), 0);
	memset(bytes, 2, sizeof(bytes));
	/* What is wanted is there from the next reading on. */
	assert_int_equal(memory_want(near, at + 250, 10), 0);
	assert_int_equal(memory_want(near, at + 1024, 1), 0);
	assert_int_equal(memory_kept(near), 3);
	assert_int_equal(memory_read(near, at + 250, buf, 1), -EFAULT);
	memory_counts(live, &calls, &before);
	assert_int_equal(memory_renew_pair(near, back), 0);
	memory_counts(live, &more, &after);
	assert_int_equal(more, calls + 1);
	assert_true(after - before >= 2 * 3 * 256);
	assert_int_equal(memory_missed(near), 0);
	assert_int_equal(memory_kept(back), 3);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(memory_read(i ? back : near, at, buf, 512), 0);
		assert_int_equal(buf[0] + buf[255] + buf[256] + buf[511], 8);
		assert_int_equal(memory_read(i ? back : near, at + 1030, buf, 1), 0);
		assert_int_equal(buf[0], 2);
	}
	/* Read by now, but not with the others: each reading of it is counted. */
	for (size_t i = 1; i <= 3; i++) {
		assert_int_equal(memory_read(near, at + 2048, buf, 1), 0);
		assert_int_equal(memory_missed(near), i);
	}
	assert_int_equal(memory_renew(near), 0);
	assert_int_equal(memory_read(near, at + 2048, buf, 1), 0);
	assert_int_equal(memory_missed(near), 0);
	assert_int_equal(memory_want(near, UINT64_MAX - 8, 8), 0);
	memory_free(back);
	memory_free(near);
	memory_free(live);
}

static void pages_that_nobody_reads_are_given_up(void **state)
{
	static _Alignas(PAGE) uint8_t bytes[8 * PAGE];
	const uint64_t at = (uintptr_t)bytes;
	struct memory *live, *kept;
	uint8_t byte;

	for (size_t i = 0; i < 8; i++)
		bytes[i * PAGE] = (uint8_t)i;
	assert_int_equal(memory_new_live(&live, getpid()), 0);
	assert_int_equal(memory_new_cached(&kept, live), 0);
	for (size_t i = 0; i < 8; i++)
		assert_int_equal(memory_read(kept, at + i * PAGE, &byte, 1), 0);
	for (size_t round = 0; round < 3; round++) {
		memory_prune(kept, 2);
		assert_int_equal(memory_kept(kept), round < 2 ? 8 : 2);
		assert_int_equal(memory_renew(kept), 0);
		for (size_t i = 3; i < 5; i++) {
			assert_int_equal(memory_read(kept, at + i * PAGE, &byte, 1), 0);
			assert_int_equal(byte, i);
		}
	}
	for (size_t i = 0; i < 8; i++) {
		assert_int_equal(memory_read(kept, at + i * PAGE, &byte, 1), 0);
		assert_int_equal(byte, i);
	}
	memory_free(kept);
	memory_free(live);
}

static void what_was_read_is_noted(void **state)
{
	static const uint8_t image[] = {1, 2, 3, 4, 5, 6, 7, 8};
	struct memory_log log = {0};
	struct memory *m;
	uint8_t buf[8];

	assert_int_equal(memory_new_image(&m, image, sizeof(image), 0x1000), 0);
	assert_int_equal(memory_read(m, 0x1000, buf, 2), 0);
	assert_null(memory_set_log(m, &log));
	assert_int_equal(memory_read(m, 0x1004, buf, 2), 0);
	assert_int_equal(memory_read(m, 0x1006, buf, 4), -EFAULT);
	assert_int_equal(memory_read(m, 0x1001, buf, 1), 0);
	assert_ptr_equal(memory_set_log(m, NULL), &log);
	assert_int_equal(memory_read(m, 0x1000, buf, 2), 0);
	assert_int_equal(log.n, 2);
	assert_int_equal(log.pieces[0].addr, 0x1004);
	assert_memory_equal(log.bytes + log.pieces[0].at, image + 4, 2);
	assert_int_equal(log.pieces[1].addr, 0x1001);
	assert_memory_equal(log.bytes + log.pieces[1].at, image + 1, 1);
	assert_false(log.full);
	memory_log_clear(&log);
	memory_set_log(m, &log);
	for (unsigned i = 0; i < MEMORY_LOG_BYTES / 8 + 1; i++)
		assert_int_equal(memory_read(m, 0x1000, buf, 8), 0);
	assert_true(log.full);
	assert_int_equal(log.used, MEMORY_LOG_BYTES);
	memory_log_done(&log);
	memory_free(m);
}

static void kept_memory_that_is_given_up_is_read_anew(void **state)
{
	static _Alignas(PAGE) uint8_t bytes[2 * PAGE];
	struct memory *live, *kept;
	uint8_t buf[1];

	assert_int_equal(memory_new_live(&live, getpid()), 0);
	assert_int_equal(memory_new_cached(&kept, live), 0);
	for (uint8_t i = 0; i < 100; i++) {
		memset(bytes, i, sizeof(bytes));
		for (size_t at = 0; at < 2; at++) {
			assert_int_equal(memory_read(kept, (uintptr_t)bytes + at * PAGE, buf, 1),
					 0);
			assert_int_equal(buf[0], i);
		}
		assert_int_equal(memory_kept(kept), 2);
		memory_forget(kept);
		assert_int_equal(memory_kept(kept), 0);
	}
	memory_free(kept);
	memory_free(live);
}

static void kept_memory_keeps_what_is_unreadable(void **state)
{
	uint8_t *pages = make_pages();
	struct memory *live, *kept;
	uint8_t buf[2 * PAGE];

	assert_int_equal(memory_new_live(&live, getpid()), 0);
	assert_int_equal(memory_new_cached(&kept, live), 0);
	assert_int_equal(memory_read(kept, (uintptr_t)pages, buf, PAGE), 0);
	assert_int_equal(memory_read(kept, (uintptr_t)pages + 1, buf, PAGE), -EFAULT);
	assert_int_equal(memory_read(kept, (uintptr_t)pages + PAGE, buf, 1), -EFAULT);
	assert_int_equal(memory_read(kept, UINT64_MAX - 4, buf, 8), -EFAULT);
	assert_int_equal(mprotect(pages + PAGE, PAGE, PROT_READ), 0);
	assert_int_equal(memory_read(kept, (uintptr_t)pages + PAGE, buf, 1), -EFAULT);
	assert_int_equal(memory_renew(kept), 0);
	assert_int_equal(memory_read(kept, (uintptr_t)pages, buf, 2 * PAGE), 0);
	memory_free(kept);
	memory_free(live);
	munmap(pages, 3 * PAGE);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_read_is_whole_or_fails),
		cmocka_unit_test(an_address_that_wraps_around_is_unreadable),
		cmocka_unit_test(a_gather_goes_on_behind_what_is_unreadable),
		cmocka_unit_test(a_gather_takes_more_ranges_than_one_call_can),
		cmocka_unit_test(ranges_that_are_near_are_read_together),
		cmocka_unit_test(a_process_that_ended_is_gone),
		cmocka_unit_test(an_image_is_read_within_its_bounds),
		cmocka_unit_test(kept_memory_is_of_one_instant_until_it_is_renewed),
		cmocka_unit_test(blocks_are_read_forth_and_back),
		cmocka_unit_test(pages_that_nobody_reads_are_given_up),
		cmocka_unit_test(what_was_read_is_noted),
		cmocka_unit_test(kept_memory_that_is_given_up_is_read_anew),
		cmocka_unit_test(kept_memory_keeps_what_is_unreadable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
