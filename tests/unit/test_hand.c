#include "remote/hand.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

struct seen {
	int cpu;
	pid_t tid;
	unsigned times;
	unsigned nap_us;
};

static void see(void *arg)
{
	struct seen *s = arg;

	s->cpu = sched_getcpu();
	s->tid = (pid_t)syscall(SYS_gettid);
	s->times++;
	usleep(s->nap_us);
}

static void the_hand_works_where_it_is_sent(void **state)
{
	struct hand *h;
	struct seen s = {.cpu = -1};
	unsigned times = 0;
	cpu_set_t set;

	assert_int_equal(sched_getaffinity(0, sizeof(set), &set), 0);
	hand_prepare();
	assert_int_equal(hand_new(&h), 0);
	assert_int_equal(sched_getscheduler(0), SCHED_OTHER);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		for (int i = 0; CPU_ISSET(cpu, &set) && i < 2; i++) {
			uint64_t cost = 0;

			/* Waited for awake, and asleep. */
			s.nap_us = 1000u * (unsigned)i;
			assert_true(hand_work(h, cpu, see, &s, &cost));
			assert_int_equal(s.cpu, cpu);
			assert_int_equal(s.tid, hand_tid(h));
			assert_int_equal(s.times, ++times);
			assert_true(cost > 1000u * s.nap_us && cost < 1000000000);
		}
	}
	assert_true(times >= 2);
	hand_free(h);
}

static void a_cpu_that_is_not_ours_is_refused(void **state)
{
	struct hand *h;
	struct seen s = {.cpu = -1};
	uint64_t cost;

	assert_int_equal(hand_new(&h), 0);
	assert_false(hand_work(h, -1, see, &s, &cost));
	assert_false(hand_work(h, CPU_SETSIZE - 1, see, &s, &cost));
	assert_false(hand_work(h, CPU_SETSIZE, see, &s, &cost));
	assert_int_equal(s.times, 0);
	hand_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_hand_works_where_it_is_sent),
		cmocka_unit_test(a_cpu_that_is_not_ours_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
