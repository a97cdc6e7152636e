/* What is asked of the kernel about a thread, and what is not asked again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "remote/kernel.h"
#include "remote/sampler.h"

#define TID	7
#define MS	1000000u
#define SECOND	1000000000u
#define ASLEEP	"202 0x7f00 0x189 0x0 0x0 0x0 0x0 0x7ffe 0x7f01\n"
#define RUNNING "running\n"

/* The files of a thread; fd -1: the kernel has none. */
struct files {
	int syscall_fd, schedstat_fd;
};

static int open_file(void *arg, enum proc_file file, uint64_t a, uint64_t b)
{
	const struct files *f = arg;
	int fd = file == PROC_TASK_SYSCALL     ? f->syscall_fd
		 : file == PROC_TASK_SCHEDSTAT ? f->schedstat_fd
					       : -1;

	assert_int_equal(a, TID);
	assert_int_equal(b, 0);
	return fd < 0 ? -1 : dup(fd);
}

static struct files files;
static const struct proc_opener opener = {.open = open_file, .arg = &files};
static struct kernel_thread thread;

static void write_file(int fd, const char *text)
{
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(pwrite(fd, text, strlen(text), 0), strlen(text));
}

/* What the kernel says from now on. */
static void set(const char *call, uint64_t run, uint64_t wait, uint64_t slices)
{
	char text[100];

	snprintf(text, sizeof(text), "%ju %ju %ju\n", (uintmax_t)run, (uintmax_t)wait,
		 (uintmax_t)slices);
	write_file(files.syscall_fd, call);
	write_file(files.schedstat_fd, text);
}

static void ask(uint64_t now, uint16_t want, uint64_t want_run)
{
	uint64_t run = 0;

	assert_int_equal(kernel_ask(&thread, &opener, TID, 0, now, &run), want);
	assert_int_equal(run, want_run);
}

static int begin(void **state)
{
	(void)state;
	files = (struct files){memfd_create("syscall", 0), memfd_create("schedstat", 0)};
	kernel_init(&thread);
	return 0;
}

static int end(void **state)
{
	(void)state;
	kernel_done(&thread);
	close(files.syscall_fd);
	close(files.schedstat_fd);
	return 0;
}

enum {
	OFF = STATE_CPU_KNOWN | STATE_CPU_TIME_KNOWN,
	ON = OFF | STATE_CPU,
};

/* Looked at for longer than it takes to know whether it gets a CPU soon. */
static uint64_t sleep_for_seconds(void)
{
	uint64_t now = SECOND;

	set(ASLEEP, 500, 10, 3);
	for (int i = 0; i < 25; i++, now += SECOND / 10)
		ask(now, OFF, 500);
	return now;
}

static void who_has_not_run_is_not_asked_where_it_sleeps(void **state)
{
	uint64_t now = sleep_for_seconds();

	(void)state;
	/* It cannot be: what its account says is enough. */
	set(RUNNING, 500, 10, 3);
	ask(now, OFF, 500);
	/* Any of the three, and it is asked. */
	set(RUNNING, 500, 10, 4);
	ask(now += MS, ON, 500);
}

static void who_ran_and_sleeps_again_is_asked(void **state)
{
	uint64_t now = sleep_for_seconds();

	(void)state;
	set(RUNNING, 501, 10, 3);
	ask(now, ON, 501);
	set(ASLEEP, 900, 10, 4);
	ask(now += MS, OFF, 900);
	/* Its account was read behind the state: it may have run in between. */
	set(RUNNING, 900, 10, 4);
	ask(now += MS, ON, 900);
}

static void who_waits_for_a_cpu_is_said_to_run(void **state)
{
	uint64_t now = sleep_for_seconds(), wait = 10;

	(void)state;
	/* It waited long, and that is known once it was given one: from then on it is asked, for as
	 * long as it happens in every second. */
	for (int i = 0; i < 30; i++) {
		set(ASLEEP, 600 + (unsigned)i, wait += 5 * MS, 4 + (unsigned)i);
		ask(now += 100 * MS, OFF, 600 + (unsigned)i);
		ask(now += 100 * MS, OFF, 600 + (unsigned)i);
		write_file(files.syscall_fd, RUNNING);
		ask(now += 100 * MS, ON, 600 + (unsigned)i);
	}
	/* A second and more without, and it is not asked any more. */
	set(ASLEEP, 700, wait, 50);
	for (int i = 0; i < 25; i++)
		ask(now += 100 * MS, OFF, 700);
	write_file(files.syscall_fd, RUNNING);
	ask(now += 100 * MS, OFF, 700);
}

static void a_kernel_that_does_not_count_is_asked_all(void **state)
{
	(void)state;
	set(ASLEEP, 0, 0, 0);
	for (int i = 0; i < 25; i++)
		ask(SECOND + (unsigned)i * 100 * MS, OFF, 0);
	set(RUNNING, 0, 0, 0);
	ask(4ull * SECOND, ON, 0);
}

static void what_is_no_account_is_unknown(void **state)
{
	static const char *const texts[] = {"",	       "1",	"1 2",	    "1 2 \n",
					    "a b c\n", "1 2 3", "1 2 3 4\n"};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		uint64_t run = 1;

		set(RUNNING, 1, 1, 1);
		write_file(files.schedstat_fd, texts[i]);
		assert_int_equal(kernel_ask(&thread, &opener, TID, 0, SECOND, &run),
				 STATE_CPU_KNOWN | STATE_CPU);
	}
}

static void a_thread_without_files_is_unknown(void **state)
{
	const struct files had = files;
	uint64_t run;

	(void)state;
	files = (struct files){-1, -1};
	assert_int_equal(kernel_ask(&thread, &opener, TID, 0, SECOND, &run), 0);
	/* It is not asked for again. */
	files = had;
	set(RUNNING, 1, 1, 1);
	assert_int_equal(kernel_ask(&thread, &opener, TID, 0, SECOND, &run), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(who_has_not_run_is_not_asked_where_it_sleeps, begin,
						end),
		cmocka_unit_test_setup_teardown(who_ran_and_sleeps_again_is_asked, begin, end),
		cmocka_unit_test_setup_teardown(who_waits_for_a_cpu_is_said_to_run, begin, end),
		cmocka_unit_test_setup_teardown(a_kernel_that_does_not_count_is_asked_all, begin,
						end),
		cmocka_unit_test_setup_teardown(what_is_no_account_is_unknown, begin, end),
		cmocka_unit_test_setup_teardown(a_thread_without_files_is_unknown, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
