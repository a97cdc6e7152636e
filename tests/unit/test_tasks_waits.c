#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "remote/clock.h"
#include "remote/tasks-waits-parts.h"

#define PAGES 990u /* so many that what this test itself takes is next to nothing */

/* How many of n readings that took so long for each page, give or take, are in time. */
static unsigned in_time(struct latency *page, unsigned n, uint64_t page_ns)
{
	unsigned found = 0;

	for (unsigned i = 0; i < n; i++)
		found += waits_in_time(page, clock_now_ns() - page_ns * (PAGES + 10), PAGES);
	return found;
}

static void a_reading_is_as_fast_as_the_machine(void **state)
{
	struct latency page = {.ns = 500};

	assert_in_range(in_time(&page, 100, 300), 95, 100);
	/* What takes ten times as long now and then was interrupted. */
	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(in_time(&page, 1, 3000), 0);
		(void)in_time(&page, 9, 300);
	}
	/* Where all do, as with a sanitizer, that is how long one takes. */
	(void)in_time(&page, 400, 3000);
	assert_in_range(in_time(&page, 100, 3000), 95, 100);
	assert_int_equal(in_time(&page, 10, 30000), 0);
	/* Not where most are interrupted: those prove nothing however many they are. */
	(void)in_time(&page, 400, 30000);
	assert_int_equal(in_time(&page, 10, 30000), 0);
	/* And it is soon known when the machine is faster again. */
	(void)in_time(&page, 200, 300);
	assert_int_equal(in_time(&page, 1, 3000), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_reading_is_as_fast_as_the_machine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
