/* Who descends from a process: on a made-up /proc, and of real children. */
#include "cli/descendants.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "cli/pids.h"

#define MAX_EVENTS 64

struct heard {
	struct descendants_event events[MAX_EVENTS];
	size_t n;
};

static char root[64];

static void hear(void *arg, const struct descendants_event *e)
{
	struct heard *h = arg;

	assert_true(h->n < MAX_EVENTS);
	h->events[h->n++] = *e;
}

static const struct descendants_event *find(const struct heard *h, enum descendants_kind kind,
					    pid_t pid)
{
	for (size_t i = 0; i < h->n; i++)
		if (h->events[i].kind == kind && h->events[i].pid == pid)
			return &h->events[i];
	return NULL;
}

static void sleep_ms(long ms)
{
	const struct timespec t = {ms / 1000, ms % 1000 * 1000000};

	nanosleep(&t, NULL);
}

/* ---- a made-up /proc ---- */

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

/* children NULL: the kernel has no such file. */
static void put_process(int pid, int parent, char state, unsigned start, const char *children)
{
	char path[256], text[256];

	snprintf(path, sizeof(path), "%s/%d", root, pid);
	mkdir(path, 0755);
	snprintf(text, sizeof(text), "%d (a) b) %c %d 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 %u 0 0\n",
		 pid, state, parent, start);
	snprintf(path, sizeof(path), "%s/%d/stat", root, pid);
	write_file(path, text);
	snprintf(path, sizeof(path), "%s/%d/task", root, pid);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/%d/task/%d", root, pid, pid);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/%d/task/%d/stat", root, pid, pid);
	write_file(path, text);
	snprintf(path, sizeof(path), "%s/%d/task/%d/children", root, pid, pid);
	if (children)
		write_file(path, children);
	else
		unlink(path);
}

static void remove_process(int pid)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -r %s/%d", root, pid);
	assert_int_equal(system(command), 0);
}

static int make_root(void **state)
{
	strcpy(root, "/tmp/pyprof-descendants-XXXXXX");
	return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -r %s", root);
	return system(command);
}

/* Once more, when it is due. */
static void look(struct descendants *d, struct heard *h)
{
	h->n = 0;
	sleep_ms(5);
	descendants_read(d, hear, h);
}

static void check_tree(bool scan)
{
	const char *none = scan ? NULL : "";
	struct heard h = {.n = 0};
	struct descendants *d;

	put_process(100, 1, 'S', 5, scan ? NULL : "200 201 ");
	put_process(200, 100, 'S', 6, scan ? NULL : "150 ");
	put_process(201, 100, 'Z', 7, none);
	put_process(150, 200, 'R', 8, none);
	put_process(300, 1, 'S', 5, none);
	assert_int_equal(descendants_open(&d, root, 0, false), 0);
	assert_int_equal(descendants_follow(d, 100, hear, &h), 0);
	assert_int_equal(descendants_way(d), scan ? PROTOCOL_SCAN : PROTOCOL_CHILDREN);
	assert_int_equal(descendants_fd(d), -1);
	/* Those who are there already, grandchildren too; what remains of one is no process, if it
	 * is told at all. */
	assert_non_null(find(&h, DESCENDANTS_FORK, 200));
	assert_int_equal(find(&h, DESCENDANTS_FORK, 200)->parent, 100);
	assert_int_equal(find(&h, DESCENDANTS_FORK, 200)->start, 6);
	assert_int_equal(find(&h, DESCENDANTS_FORK, 150)->parent, 200);
	assert_null(find(&h, DESCENDANTS_FORK, 300));
	look(d, &h);
	assert_null(find(&h, DESCENDANTS_FORK, 200));
	/* A new one of one whose own parent has ended. */
	remove_process(200);
	put_process(150, 1, 'R', 8, scan ? NULL : "400 ");
	put_process(400, 150, 'R', 9, none);
	look(d, &h);
	assert_non_null(find(&h, DESCENDANTS_EXIT, 200));
	assert_int_equal(find(&h, DESCENDANTS_FORK, 400)->parent, 150);
	/* The number is used again, by a child: another process. */
	remove_process(400);
	put_process(400, 150, 'R', 12, none);
	look(d, &h);
	assert_non_null(find(&h, DESCENDANTS_EXIT, 400));
	assert_int_equal(find(&h, DESCENDANTS_FORK, 400)->start, 12);
	descendants_free(d);
}

static void the_children_that_the_kernel_lists_are_followed(void **state)
{
	check_tree(false);
}

static void without_such_lists_all_parents_are_looked_at(void **state)
{
	check_tree(true);
}

static void nothing_there_is_nobody(void **state)
{
	struct heard h = {.n = 0};
	struct descendants *d;

	assert_int_equal(descendants_open(&d, root, 0, false), 0);
	assert_int_equal(descendants_follow(d, 12345, hear, &h), 0);
	look(d, &h);
	assert_int_equal(h.n, 1);
	assert_int_equal(h.events[0].kind, DESCENDANTS_EXIT);
	assert_int_equal(descendants_start(root, 12345), 0);
	descendants_free(d);
}

/* ---- real children ---- */

static bool saw(struct descendants *d, struct heard *h, enum descendants_kind kind, pid_t pid)
{
	for (int i = 0; i < 400; i++) {
		descendants_read(d, hear, h);
		if (find(h, kind, pid))
			return true;
		sleep_ms(5);
	}
	return false;
}

/* A child that waits for a byte, forks a grandchild and ends; the grandchild waits for another and
 * becomes "true". Its pid comes through the pipe. */
static void check_real(bool connector)
{
	int to[2], from[2], status;
	struct heard h = {.n = 0};
	struct descendants *d;
	pid_t child, grandchild;
	char byte;

	assert_int_equal(pipe(to), 0);
	assert_int_equal(pipe(from), 0);
	child = fork();
	if (child == 0) {
		(void)!read(to[0], &byte, 1);
		grandchild = fork();
		if (grandchild == 0) {
			(void)!read(to[0], &byte, 1);
			execlp("true", "true", NULL);
			_exit(1);
		}
		(void)!write(from[1], &grandchild, sizeof(grandchild));
		if (!connector)
			(void)!read(to[0], &byte, 1);
		_exit(0);
	}
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	assert_int_equal(descendants_open(&d, "/proc", 0, connector), 0);
	if (connector && descendants_fd(d) < 0) {
		descendants_free(d);
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
		print_message("the kernel's process events are not to be had: no root, or a "
			      "container\n");
		skip();
	}
	assert_int_equal(descendants_follow(d, child, hear, &h), 0);
	assert_int_equal(write(to[1], "x", 1), 1);
	assert_int_equal(read(from[0], &grandchild, sizeof(grandchild)), sizeof(grandchild));
	if (connector) {
		/* The events are there after the parent is gone. */
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(saw(d, &h, DESCENDANTS_FORK, grandchild));
		assert_true(saw(d, &h, DESCENDANTS_EXIT, child));
	} else {
		assert_true(saw(d, &h, DESCENDANTS_FORK, grandchild));
		assert_int_equal(write(to[1], "x", 1), 1);
	}
	assert_int_equal(find(&h, DESCENDANTS_FORK, grandchild)->parent, child);
	assert_true(find(&h, DESCENDANTS_FORK, grandchild)->start > 0);
	assert_int_equal(write(to[1], "xx", 2), 2);
	if (connector)
		assert_true(saw(d, &h, DESCENDANTS_EXEC, grandchild));
	assert_true(saw(d, &h, DESCENDANTS_EXIT, grandchild));
	while (waitpid(-1, &status, 0) > 0)
		;
	descendants_free(d);
	for (int i = 0; i < 2; i++) {
		close(to[i]);
		close(from[i]);
	}
}

static void the_kernels_events_tell_of_who_was_started_by_one_that_ended(void **state)
{
	check_real(true);
}

static void looking_tells_of_real_children_too(void **state)
{
	check_real(false);
}

/* ---- lists of pids ---- */

static void a_list_of_pids_is_numbers_and_commas(void **state)
{
	static const char *const bad[] = {"",	  ",",	 "1,",		",1",
					  "1,,2", "x",	 "0",		"-1",
					  "1 2",  "1.5", "99999999999", "99999999999999999999999"};
	struct pid_list l = {0};
	char text[128];

	assert_int_equal(pid_list_parse(&l, "12,7,12"), 0);
	assert_int_equal(l.count, 2);
	assert_true(pid_list_has(&l, 12));
	assert_true(pid_list_has(&l, 7));
	assert_false(pid_list_has(&l, 1));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(pid_list_parse(&l, bad[i]), -EINVAL);
	assert_int_equal(l.count, 2);
	pid_list_print(&l, text, sizeof(text));
	assert_string_equal(text, "12, 7");
	for (int i = 100; i < 120; i++)
		pid_list_add(&l, i);
	pid_list_print(&l, text, sizeof(text));
	assert_string_equal(text, "12, 7, 100, 101, 102, 103, 104, 105, 106, 107 and 12 more");
	pid_list_print(&l, text, 8);
	assert_int_equal(strlen(text), 7);
	pid_list_done(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_children_that_the_kernel_lists_are_followed,
						make_root, remove_root),
		cmocka_unit_test_setup_teardown(without_such_lists_all_parents_are_looked_at,
						make_root, remove_root),
		cmocka_unit_test_setup_teardown(nothing_there_is_nobody, make_root, remove_root),
		cmocka_unit_test(the_kernels_events_tell_of_who_was_started_by_one_that_ended),
		cmocka_unit_test(looking_tells_of_real_children_too),
		cmocka_unit_test(a_list_of_pids_is_numbers_and_commas),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
