#include "remote/hand.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "remote/proc.h"

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

struct journey {
	struct hand *h;
	const int *cpus;
	int n;
	struct seen seen[2];
};

static void travel(void *arg)
{
	struct journey *j = arg;

	for (int i = 0; i < j->n; i++) {
		uint64_t cost = 1;

		assert_true(hand_work(j->h, j->cpus[i], see, &j->seen[i], &cost));
		assert_int_equal(cost, 0);
	}
}

static void a_hand_that_works_goes_elsewhere_by_itself(void **state)
{
	struct journey j = {0};
	int cpus[2];
	uint64_t cost;
	cpu_set_t set;

	assert_int_equal(sched_getaffinity(0, sizeof(set), &set), 0);
	for (int cpu = 0; cpu < CPU_SETSIZE && j.n < 2; cpu++)
		if (CPU_ISSET(cpu, &set))
			cpus[j.n++] = cpu;
	j.cpus = cpus;
	hand_prepare();
	assert_int_equal(hand_new(&j.h), 0);
	assert_true(hand_work(j.h, cpus[j.n - 1], travel, &j, &cost));
	assert_true(cost > 0);
	for (int i = 0; i < j.n; i++) {
		assert_int_equal(j.seen[i].times, 1);
		assert_int_equal(j.seen[i].tid, hand_tid(j.h));
		assert_int_equal(j.seen[i].cpu, cpus[i]);
	}
	/* And works for us again. */
	assert_true(hand_work(j.h, cpus[0], see, &j.seen[0], &cost));
	assert_int_equal(j.seen[0].times, 2);
	assert_true(cost > 0);
	hand_free(j.h);
}

/* What /proc says of the hand, during the work. */
struct look {
	struct hand *h;
	struct seen seen;
	char state;
	int cpu;
};

static void look_at_the_hand(void *arg)
{
	struct look *l = arg;
	char path[64], text[512];
	FILE *f;

	see(&l->seen);
	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", (int)hand_tid(l->h));
	f = fopen(path, "r");
	assert_non_null(f);
	assert_non_null(fgets(text, sizeof(text), f));
	fclose(f);
	l->state = strrchr(text, ')')[2];
	l->cpu = proc_parse_stat_cpu(text);
}

/* On another CPU than the caller's the hand only stands; on the caller's own it has to work. */
static void a_hand_holds_a_cpu_while_the_caller_looks(void **state)
{
	struct look l = {0};
	int cpus[2], n = 0;
	unsigned times = 0, kept = 0;
	uint64_t cost;
	cpu_set_t set, one;

	assert_int_equal(sched_getaffinity(0, sizeof(set), &set), 0);
	for (int cpu = 0; cpu < CPU_SETSIZE && n < 2; cpu++)
		if (CPU_ISSET(cpu, &set))
			cpus[n++] = cpu;
	hand_prepare();
	assert_int_equal(hand_new(&l.h), 0);
	CPU_ZERO(&one);
	CPU_SET(cpus[0], &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	for (int i = 0; i < 100 * n; i++) {
		const bool elsewhere = i % n == 1;
		const enum hand_kept how = hand_hold(l.h, cpus[i % n], look_at_the_hand, &l, &cost);

		assert_int_not_equal(how, HAND_NOT_THERE);
		assert_int_equal(l.seen.times, ++times);
		assert_int_equal(l.seen.cpu, cpus[0]);
		assert_int_equal(l.seen.tid == hand_tid(l.h), !elsewhere);
		assert_int_equal(l.cpu, cpus[i % n]);
		/* We may lose our CPU for longer than it holds. */
		if (how == HAND_KEPT)
			assert_int_equal(l.state, 'R');
		kept += how == HAND_KEPT;
		assert_true(cost > 0);
	}
	assert_true(kept > 0);
	if (n > 1) {
		/* Not for ever. */
		l.seen.nap_us = 3000;
		assert_int_equal(hand_hold(l.h, cpus[1], see, &l.seen, &cost), HAND_LEFT);
		assert_true(cost < 2900000);
		l.seen.nap_us = 0;
		kept = 0;
		for (int i = 0; i < 100 && !kept; i++)
			kept += hand_hold(l.h, cpus[1], see, &l.seen, &cost) == HAND_KEPT;
		assert_true(kept > 0);
	}
	assert_int_equal(hand_hold(l.h, -1, see, &l.seen, &cost), HAND_NOT_THERE);
	assert_int_equal(sched_setaffinity(0, sizeof(set), &set), 0);
	hand_free(l.h);
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
		cmocka_unit_test(a_hand_that_works_goes_elsewhere_by_itself),
		cmocka_unit_test(a_hand_holds_a_cpu_while_the_caller_looks),
		cmocka_unit_test(a_cpu_that_is_not_ours_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
