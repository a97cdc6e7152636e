/* Who may look at what through a daemon. */
#include "daemon/policy.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "daemon/procstatus.h"

#define NAMESPACE "user:[4026531837]"

static struct policy_process own_process(void)
{
	struct policy_process p = {
		.uid = {1000, 1000, 1000},
		.gid = {100, 100, 100},
		.owner_uid = 1000,
		.owner_gid = 100,
		.user_namespace = NAMESPACE,
	};

	return p;
}

static bool allows(const struct policy_process *p)
{
	const char *why = NULL;
	bool r = policy_allows(1000, 100, NAMESPACE, p, &why);

	assert_true(r == (why == NULL));
	return r;
}

static void a_user_may_see_its_own_process(void **state)
{
	struct policy_process p = own_process();

	assert_true(allows(&p));
}

static void each_of_the_ids_must_be_the_peers(void **state)
{
	for (int i = 0; i < 3; i++) {
		struct policy_process p = own_process();

		p.uid[i] = 0;
		assert_false(allows(&p));
		p = own_process();
		p.gid[i] = 0;
		assert_false(allows(&p));
	}
}

static void one_capability_is_one_too_many(void **state)
{
	for (int cap = 0; cap < 41; cap++) {
		struct policy_process p = own_process();

		p.permitted = 1ull << cap;
		assert_false(allows(&p));
	}
}

static void an_undumpable_process_is_not_shown(void **state)
{
	struct policy_process p = own_process();

	p.owner_uid = 0;
	assert_false(allows(&p));
	p = own_process();
	p.owner_gid = 0;
	assert_false(allows(&p));
}

static void another_user_namespace_is_not_looked_into(void **state)
{
	struct policy_process p = own_process();
	const char *why;

	strcpy(p.user_namespace, "user:[4026532208]");
	assert_false(allows(&p));
	p.user_namespace[0] = '\0';
	assert_false(allows(&p));
	assert_false(policy_allows(1000, 100, "", &p, &why));
}

static void the_remains_of_an_own_process_are_shown(void **state)
{
	struct policy_process p = own_process();

	p.zombie = true;
	p.owner_uid = p.owner_gid = 0;
	p.user_namespace[0] = '\0';
	assert_true(allows(&p));
	p.uid[1] = 0;
	assert_false(allows(&p));
}

static void root_may_see_all(void **state)
{
	struct policy_process p = own_process();
	const char *why;

	p.permitted = ~0ull;
	assert_true(policy_allows(0, 0, NAMESPACE, &p, &why));
}

static void we_are_found_in_proc(void **state)
{
	struct policy_process p;

	assert_int_equal(policy_look("/proc", getpid(), &p), 0);
	assert_int_equal(p.uid[1], geteuid());
	assert_int_equal(p.gid[1], getegid());
	assert_false(p.zombie);
	assert_int_equal(strncmp(p.user_namespace, "user:[", 6), 0);
}

static void who_is_not_there_is_not_found(void **state)
{
	struct policy_process p;

	assert_int_equal(policy_look("/proc", 0x7ffffff0, &p), -ESRCH);
}

static void a_status_without_its_fields_is_refused(void **state)
{
	static const char *const texts[] = {
		"",
		"State:\tR\n",
		"State:\tR\nUid:\t1\t2\nGid:\t1\t2\t3\nCapPrm:\t0\nCapEff:\t0\n",
		"State:\tR\nUid:\tx\nGid:\t1\t2\t3\nCapPrm:\t0\nCapEff:\t0\n",
		"Name:\tUid:\t0\t0\t0\n",
	};
	struct procstatus s;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_int_equal(procstatus_parse(texts[i], &s), -EINVAL);
}

static void a_name_cannot_pose_as_a_field(void **state)
{
	/* The kernel escapes newlines in names, so fields only count at the start of a line. */
	static const char text[] = "Name:\tUid:\t0\t0\t0\nState:\tS (sleeping)\n"
				   "Uid:\t7\t8\t9\t9\nGid:\t4\t5\t6\t6\n"
				   "CapPrm:\t00000000000000ff\nCapEff:\t0000000000000001\n"
				   "Seccomp:\t2\n";
	struct procstatus s;

	assert_int_equal(procstatus_parse(text, &s), 0);
	assert_int_equal(s.uid[0], 7);
	assert_int_equal(s.uid[2], 9);
	assert_int_equal(s.gid[1], 5);
	assert_int_equal(s.permitted, 0xff);
	assert_int_equal(s.effective, 1);
	assert_int_equal(s.seccomp, 2);
	assert_int_equal(s.state, 'S');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_user_may_see_its_own_process),
		cmocka_unit_test(each_of_the_ids_must_be_the_peers),
		cmocka_unit_test(one_capability_is_one_too_many),
		cmocka_unit_test(an_undumpable_process_is_not_shown),
		cmocka_unit_test(another_user_namespace_is_not_looked_into),
		cmocka_unit_test(the_remains_of_an_own_process_are_shown),
		cmocka_unit_test(root_may_see_all),
		cmocka_unit_test(we_are_found_in_proc),
		cmocka_unit_test(who_is_not_there_is_not_found),
		cmocka_unit_test(a_status_without_its_fields_is_refused),
		cmocka_unit_test(a_name_cannot_pose_as_a_field),
	};

	return cmocka_run_group_tests_name("policy", tests, NULL, NULL);
}
