#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "formats/timeline.h"

#define MANY 20000 /* more than one block of the file */

static uint64_t next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

/* Numbers of every length, times that go back, and much that stays as it was. */
static struct model_sample made(uint64_t *seed, const struct model_sample *last)
{
	struct model_sample s = *last;
	uint64_t what = next_random(seed);

	s.time_ns += what & 1 ? 1000 : next_random(seed) >> (what >> 8 & 63);
	s.ns = what & 2 ? s.time_ns - last->time_ns : next_random(seed) >> (what >> 16 & 63);
	s.cpu_ns = what & 4 ? 0 : next_random(seed) >> (what >> 24 & 63);
	if (what & 8)
		s.thread = (uint32_t)next_random(seed) >> (what >> 32 & 31);
	if (what & 16)
		s.node = (uint32_t)next_random(seed);
	if (what & 32)
		s.state = (uint16_t)next_random(seed);
	if (what & 64)
		s.how = (uint8_t)next_random(seed);
	return s;
}

struct expected {
	uint64_t seed, n, stop_at, added;
	struct model_sample last;
};

static int compare(void *arg, const struct model_sample *s)
{
	struct expected *e = arg;
	struct model_sample want = made(&e->seed, &e->last);

	e->last = want;
	want.node += (uint32_t)e->added;
	want.cpu_ns += e->added;
	assert_memory_equal(s, &want, sizeof(want));
	return ++e->n == e->stop_at ? 7 : 0;
}

static int change(void *arg, struct model_sample *s)
{
	uint64_t *left = arg;

	s->node++;
	s->cpu_ns++;
	return --*left ? 0 : -ENOMEM;
}

static void fill(struct timeline *t)
{
	struct model_sample s = {0};
	uint64_t seed = 1;

	for (int i = 0; i < MANY; i++) {
		s = made(&seed, &s);
		timeline_put(t, &s);
	}
}

static void samples_come_back_as_they_were_put(void **state)
{
	struct timeline t = {.open = tmpfile};
	struct expected e = {.seed = 1}, again = {.seed = 1, .stop_at = 3};

	fill(&t);
	assert_int_equal(timeline_each(&t, compare, &e), 0);
	assert_int_equal(e.n, MANY);
	assert_int_equal(timeline_each(&t, compare, &again), 7);
	assert_int_equal(again.n, 3);
	timeline_done(&t);
}

static void changed_samples_take_their_places(void **state)
{
	struct timeline t = {.open = tmpfile};
	struct expected e = {.seed = 1, .added = 2};
	uint64_t left = UINT64_MAX;

	fill(&t);
	assert_int_equal(timeline_change(&t, change, &left), 0);
	assert_int_equal(timeline_change(&t, change, &left), 0);
	assert_int_equal(timeline_each(&t, compare, &e), 0);
	assert_int_equal(e.n, MANY);
	/* What could not be changed whole is not told in part. */
	left = 5;
	assert_int_equal(timeline_change(&t, change, &left), -ENOMEM);
	assert_int_equal(timeline_each(&t, compare, &e), -ENOMEM);
	timeline_done(&t);
}

static FILE *open_full(void)
{
	return fopen("/dev/full", "r+");
}

static FILE *open_nothing(void)
{
	errno = EACCES;
	return NULL;
}

static void errors_of_the_file_are_kept(void **state)
{
	struct timeline full = {.open = open_full}, nothing = {.open = open_nothing}, none = {0};
	struct expected e = {.seed = 1};

	fill(&full);
	assert_int_equal(timeline_each(&full, compare, &e), -ENOSPC);
	timeline_done(&full);
	fill(&nothing);
	assert_int_equal(timeline_each(&nothing, compare, &e), -EACCES);
	timeline_done(&nothing);
	fill(&none);
	assert_int_equal(timeline_each(&none, compare, &e), 0);
	assert_int_equal(e.n, 0);
	timeline_done(&none);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(samples_come_back_as_they_were_put),
		cmocka_unit_test(changed_samples_take_their_places),
		cmocka_unit_test(errors_of_the_file_are_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
