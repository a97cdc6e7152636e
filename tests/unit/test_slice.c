#include "remote/slice.h"

#include <errno.h>
#include <linux/sched/types.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { OTHER = 0, FIFO = 1 };

static struct sched_attr attributes(void)
{
	struct sched_attr a = {0};

	syscall(SYS_sched_getattr, 0, &a, sizeof(a), 0);
	return a;
}

/* In a child, as what is asked for a thread stays. Its exit status. */
static int in_child(int (*attempt)(void))
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(attempt());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int shorten_niced(void)
{
	uint64_t before = attributes().sched_runtime;

	if (setpriority(PRIO_PROCESS, 0, 7) < 0)
		return 2;
	if (slice_shorten() < 0)
		return 3;
	if (attributes().sched_policy != OTHER || attributes().sched_nice != 7)
		return 4;
	if (!before) /* the kernel has no slices that can be asked for */
		return 0;
	return attributes().sched_runtime == 100000 ? 0 : 5;
}

/* Who may not take niceness back has the short slice all the same. */
static int shorten_niced_without_rights(void)
{
	if (setresuid(65534, 65534, 65534) < 0)
		return 0;
	return shorten_niced();
}

static int shorten_with_a_priority(void)
{
	struct sched_attr a = {.size = sizeof(a), .sched_policy = FIFO, .sched_priority = 1};

	if (syscall(SYS_sched_setattr, 0, &a, 0) < 0)
		return 0;
	if (slice_shorten() < 0)
		return 2;
	return attributes().sched_policy == FIFO && attributes().sched_priority == 1 ? 0 : 3;
}

static void a_niced_thread_has_the_slice_and_its_niceness(void **state)
{
	assert_int_equal(in_child(shorten_niced), 0);
	assert_int_equal(in_child(shorten_niced_without_rights), 0);
}

static void a_priority_stays(void **state)
{
	assert_int_equal(in_child(shorten_with_a_priority), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_niced_thread_has_the_slice_and_its_niceness),
		cmocka_unit_test(a_priority_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
