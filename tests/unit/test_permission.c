/* Why a process may not be read, on recorded /proc trees: a machine that tests need not have the
 * cause. The trees' files are copied, since whose they are says whether the process is dumpable. */
#include "daemon/permission.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <linux/capability.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#define TREES	       "tests/unit/proc-trees"
#define PID	       4242
#define SAME_NAMESPACE "user:[4026531837]"

static char root[] = "/tmp/pyprof-permission-XXXXXX";

/* A copy of a file, in which the recorded user 1000 is ours. */
static void copy_file(const char *from, const char *to, unsigned our)
{
	char line[512];
	FILE *in = fopen(from, "re"), *out = fopen(to, "we");

	assert_non_null(in);
	assert_non_null(out);
	while (fgets(line, sizeof(line), in)) {
		unsigned a, b, c;

		if (sscanf(line, "Uid:\t%u\t%u\t%u", &a, &b, &c) == 3 ||
		    sscanf(line, "Gid:\t%u\t%u\t%u", &a, &b, &c) == 3)
			fprintf(out, "%.4s\t%u\t%u\t%u\t%u\n", line, a == 1000 ? our : a,
				b == 1000 ? our : b, c == 1000 ? our : c, c == 1000 ? our : c);
		else
			fputs(line, out);
	}
	fclose(in);
	assert_int_equal(fclose(out), 0);
}

static void copy_tree(const char *from, const char *to, unsigned our)
{
	DIR *dir = opendir(from);
	struct dirent *e;

	assert_non_null(dir);
	assert_true(mkdir(to, 0755) == 0 || errno == EEXIST);
	while ((e = readdir(dir))) {
		char source[PATH_MAX], copy[PATH_MAX], link[256];
		struct stat st;
		ssize_t n;

		if (e->d_name[0] == '.')
			continue;
		snprintf(source, sizeof(source), "%s/%s", from, e->d_name);
		snprintf(copy, sizeof(copy), "%s/%s", to, e->d_name);
		assert_int_equal(lstat(source, &st), 0);
		if (S_ISDIR(st.st_mode)) {
			copy_tree(source, copy, our);
		} else if (S_ISLNK(st.st_mode)) {
			n = readlink(source, link, sizeof(link) - 1);
			assert_true(n > 0);
			link[n] = '\0';
			assert_int_equal(symlink(link, copy), 0);
		} else {
			copy_file(source, copy, our);
		}
	}
	closedir(dir);
}

/* Who the caller is in these trees: the owner of their files; another one where the files shall
 * not be the process's own. */
static unsigned us(bool dumpable)
{
	return (unsigned)geteuid() + (dumpable ? 0 : 1);
}

static struct permission_caller plain_caller(bool dumpable)
{
	struct permission_caller c = {
		.uid = us(dumpable),
		.gid = us(dumpable),
		.euid = 1000,
		.user_namespace = SAME_NAMESPACE,
	};

	return c;
}

static enum permission_cause find_in(const char *tree, const struct permission_caller *c)
{
	char from[PATH_MAX], to[PATH_MAX];
	static int count;

	snprintf(from, sizeof(from), "%s/%s", TREES, tree);
	snprintf(to, sizeof(to), "%s/%d", root, count++);
	copy_tree(from, to, (unsigned)c->uid);
	return permission_find(to, PID, c);
}

struct row {
	const char *tree;
	enum permission_cause cause;
	bool dumpable;
	const char *says;
};

static const struct row rows[] = {
	{"yama-1", PERMISSION_YAMA_CHILDREN, true, "ptrace_scope is 1"},
	{"yama-2", PERMISSION_YAMA_ADMIN, true, "ptrace_scope is 2"},
	{"yama-3", PERMISSION_YAMA_NONE, true, "ptrace_scope is 3"},
	{"other-user", PERMISSION_OTHER_USER, true, "another user"},
	{"set-user-id", PERMISSION_OTHER_USER, true, "another user"},
	{"capabilities", PERMISSION_CAPABILITIES, true, "capabilities"},
	{"user-namespace", PERMISSION_USER_NAMESPACE, true, "user namespace"},
	{"undumpable", PERMISSION_UNDUMPABLE, false, "undumpable"},
	{"hidden", PERMISSION_HIDDEN, true, "hidepid"},
	{"plain", PERMISSION_SECURITY_MODULE, true, "Landlock"},
	{"yama-0", PERMISSION_SECURITY_MODULE, true, "Landlock"},
};

static void each_cause_is_found_and_named(void **state)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct permission_caller c = plain_caller(rows[i].dumpable);
		char line[512];

		assert_int_equal(find_in(rows[i].tree, &c), rows[i].cause);
		permission_explain(rows[i].cause, PID, &c, line, sizeof(line));
		assert_non_null(strstr(line, rows[i].says));
		assert_non_null(strstr(line, "4242"));
		assert_null(strchr(line, '\n'));
	}
}

static void a_descendant_of_what_named_us_is_another_cause_than_a_stranger(void **state)
{
	struct permission_caller c = plain_caller(true);
	enum permission_cause cause = find_in("yama-1", &c);
	char line[512];

	assert_int_equal(permission_of_descendant(cause), PERMISSION_YAMA_DESCENDANT);
	assert_int_equal(permission_of_descendant(PERMISSION_YAMA_ADMIN), PERMISSION_YAMA_ADMIN);
	permission_explain(PERMISSION_YAMA_DESCENDANT, PID, &c, line, sizeof(line));
	assert_non_null(strstr(line, "ptrace_scope is 1"));
	assert_non_null(strstr(line, "type: sudo pyprof run --subprocesses"));
}

static void a_filtered_caller_is_told_of_seccomp(void **state)
{
	struct permission_caller c = plain_caller(true);
	char line[512];

	c.filtered = true;
	assert_int_equal(find_in("plain", &c), PERMISSION_SECCOMP);
	permission_explain(PERMISSION_SECCOMP, PID, &c, line, sizeof(line));
	assert_non_null(strstr(line, "seccomp"));
}

static void yama_3_holds_for_root_too(void **state)
{
	struct permission_caller c = plain_caller(true);

	c.effective = c.permitted = ~0ull;
	c.euid = 0;
	assert_int_equal(find_in("yama-3", &c), PERMISSION_YAMA_NONE);
}

static void root_with_every_capability_is_told_of_security_modules(void **state)
{
	struct permission_caller c = plain_caller(true);

	c.effective = c.permitted = ~0ull;
	c.euid = 0;
	assert_int_equal(find_in("other-user", &c), PERMISSION_SECURITY_MODULE);
}

static void root_without_the_capability_is_not_told_to_use_sudo(void **state)
{
	struct permission_caller c = plain_caller(true);
	char line[512];

	c.euid = 0;
	for (int i = 0; i < PERMISSION_CAUSE_COUNT; i++) {
		if (i == PERMISSION_HIDDEN)
			continue;
		permission_explain((enum permission_cause)i, PID, &c, line, sizeof(line));
		assert_null(strstr(line, "sudo"));
	}
}

static void a_capability_that_we_have_too_is_no_cause(void **state)
{
	struct permission_caller c = plain_caller(true);

	c.permitted = 1ull << CAP_NET_BIND_SERVICE;
	assert_int_equal(find_in("capabilities", &c), PERMISSION_YAMA_CHILDREN);
}

static int make_root(void **state)
{
	return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf '%s'", root);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_cause_is_found_and_named),
		cmocka_unit_test(a_descendant_of_what_named_us_is_another_cause_than_a_stranger),
		cmocka_unit_test(a_filtered_caller_is_told_of_seccomp),
		cmocka_unit_test(yama_3_holds_for_root_too),
		cmocka_unit_test(root_with_every_capability_is_told_of_security_modules),
		cmocka_unit_test(root_without_the_capability_is_not_told_to_use_sudo),
		cmocka_unit_test(a_capability_that_we_have_too_is_no_cause),
	};

	return cmocka_run_group_tests_name("permission", tests, make_root, remove_root);
}
