/* The files of /proc, opened and parsed. */
#include "remote/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static void the_start_time_is_found_behind_any_name(void **state)
{
	static const char *const names[] = {"python3", "a b", ") R 1 (", "))) Z 1 2 3", "\n"};
	char text[512];
	uint64_t start;
	char c;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(text, sizeof(text),
			 "12 (%s) S 1 2 3 4 -5 6 7 8 9 10 11 12 13 14 15 -16 17 18 1922 20 21\n",
			 names[i]);
		assert_int_equal(proc_parse_stat(text, &c, &start), 0);
		assert_int_equal(c, 'S');
		assert_int_equal(start, 1922);
	}
}

static void a_stat_line_that_is_none_is_refused(void **state)
{
	static const char *const texts[] = {
		"",
		")",
		"1 (a)",
		"1 (a) ",
		"1 (a) S",
		"1 (a) S 1 2 3",
		"1 (a) 5 1 2 3",
		"1 (a) S 1 2 3 4 5 6 7 8 9 10 x 12 13 14 15 16 17 18 19 20",
		"1 (a) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 "
		"99999999999999999999999 20",
	};
	uint64_t start = 7;
	char c = 'q';

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_int_equal(proc_parse_stat(texts[i], &c, &start), -EINVAL);
	assert_int_equal(start, 7);
	assert_int_equal(c, 'q');
}

static void a_text_is_read_whole_or_is_too_big(void **state)
{
	int fd = memfd_create("text", MFD_CLOEXEC);
	char buf[8];

	assert_int_equal(write(fd, "1234567", 7), 7);
	assert_int_equal(proc_read_text(fd, buf, 8), 7);
	assert_string_equal(buf, "1234567");
	assert_int_equal(proc_read_text(fd, buf, 7), -E2BIG);
	assert_int_equal(proc_read_text(fd, buf, 0), -E2BIG);
	assert_int_equal(proc_read_piece(fd, buf, 8), 7);
	assert_int_equal(strlen(buf), 7);
	assert_int_equal(proc_read_piece(fd, buf, 7), -E2BIG);
	assert_int_equal(proc_read_piece(fd, buf, 0), -E2BIG);
	close(fd);
}

static void the_files_of_this_process_open(void **state)
{
	static const enum proc_file files[] = {
		PROC_MAPS,	  PROC_EXE,	  PROC_STATUS,	     PROC_TASKS,
		PROC_TASK_COMM,	  PROC_TASK_STAT, PROC_TASK_SYSCALL, PROC_TASK_SCHEDSTAT,
		PROC_TASK_STATUS,
	};
	struct proc_direct d;

	proc_direct_init(&d, getpid());
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		int fd = d.opener.open(d.opener.arg, files[i], (uint64_t)getpid(), 0);

		/* Kernels may be built without schedstat. */
		if (fd == -ENOENT && files[i] == PROC_TASK_SCHEDSTAT)
			continue;
		assert_true(fd >= 0);
		close(fd);
	}
	assert_int_equal(d.opener.open(d.opener.arg, PROC_FILE_COUNT, 0, 0), -EINVAL);
}

static void a_process_that_is_not_there_has_no_files(void **state)
{
	/* Above the largest pid that Linux gives. */
	assert_int_equal(proc_open_file(1 << 23, PROC_MAPS, 0, 0), -ENOENT);
	assert_int_equal(proc_open_file(1 << 23, PROC_EXE, 0, 0), -ENOENT);
}

/* Where map_files is closed to us the name leads there, as long as it is the same file. */
static void a_mapped_file_is_opened_but_no_other_of_its_name(void **state)
{
	char path[] = "/tmp/test proc\nXXXXXX";
	int fd = mkstemp(path), opened;
	struct stat mapped, st;
	uint64_t at;
	void *map;

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 4096), 0);
	assert_int_equal(fstat(fd, &mapped), 0);
	map = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
	assert_ptr_not_equal(map, MAP_FAILED);
	close(fd);
	at = (uintptr_t)map;
	opened = proc_open_file(getpid(), PROC_MAP_FILE, at, at + 4096);
	assert_true(opened >= 0);
	assert_int_equal(fstat(opened, &st), 0);
	assert_int_equal(st.st_ino, mapped.st_ino);
	close(opened);
	assert_int_equal(unlink(path), 0);
	fd = open(path, O_CREAT | O_EXCL | O_RDWR, 0600);
	assert_true(fd >= 0);
	close(fd);
	opened = proc_open_file(getpid(), PROC_MAP_FILE, at, at + 4096);
	if (opened >= 0) { /* map_files is open to us */
		assert_int_equal(fstat(opened, &st), 0);
		assert_int_equal(st.st_ino, mapped.st_ino);
		close(opened);
	}
	unlink(path);
	munmap(map, 4096);
	assert_true(proc_open_file(getpid(), PROC_MAP_FILE, at, at + 4096) < 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_start_time_is_found_behind_any_name),
		cmocka_unit_test(a_stat_line_that_is_none_is_refused),
		cmocka_unit_test(a_text_is_read_whole_or_is_too_big),
		cmocka_unit_test(the_files_of_this_process_open),
		cmocka_unit_test(a_process_that_is_not_there_has_no_files),
		cmocka_unit_test(a_mapped_file_is_opened_but_no_other_of_its_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
