/* Opening processes: interpreters that this machine has, others, and ones that may not be read. */
#include "remote/target.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define DETAIL_SIZE 128

/* Starts argv and returns once it has written a byte, or ended. */
static pid_t start(const char *const *argv)
{
	int out[2];
	pid_t pid;
	char c;

	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(out[1], STDOUT_FILENO);
		execv(argv[0], (char *const *)argv);
		_exit(127);
	}
	assert_true(pid > 0);
	close(out[1]);
	if (read(out[0], &c, 1) < 0)
		fail();
	close(out[0]);
	return pid;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static enum target_problem open_target(struct target **ret, pid_t pid, char *detail)
{
	static struct proc_direct direct;

	proc_direct_init(&direct, pid);
	return target_open(ret, pid, &direct.opener, detail, DETAIL_SIZE);
}

/* Opens an interpreter whose version is known from its path. */
static void open_python(const char *path, const char *version)
{
	static const char script[] = "import sys, time\n"
				     "sys.stdout.write('x')\n"
				     "sys.stdout.flush()\n"
				     "time.sleep(60)\n";
	const char *const argv[] = {path, "-c", script, NULL};
	unsigned int major, minor, supported;
	char detail[DETAIL_SIZE], expected[64];
	enum target_problem problem;
	struct target *t = NULL;
	pid_t pid;

	assert_int_equal(sscanf(version, "%u.%u", &major, &minor), 2);
	supported = major == 3 && minor >= 8 && minor <= 15;
	pid = start(argv);
	problem = open_target(&t, pid, detail);
	end(pid);
	if (supported) {
		assert_int_equal(problem, TARGET_OK);
		assert_string_equal(detail, "");
		assert_string_equal(t->version, version);
		assert_int_equal(t->pid, pid);
		assert_int_equal(t->layout.version >> 16, major << 8 | minor);
		assert_int_not_equal(t->runtime, 0);
		assert_int_equal(t->object[0], '/');
		target_free(t);
	} else {
		snprintf(expected, sizeof(expected), "Python %s", version);
		assert_int_equal(problem, TARGET_UNSUPPORTED);
		assert_string_equal(detail, expected);
		assert_null(t);
	}
}

static void interpreters_of_pyenv_are_opened_or_named(void **state)
{
	char pattern[512];
	glob_t g;

	snprintf(pattern, sizeof(pattern), "%s/.pyenv/versions/*/bin/python",
		 getenv("HOME") ? getenv("HOME") : "/root");
	if (glob(pattern, 0, NULL, &g) != 0) {
		print_message("no interpreters of pyenv\n");
		skip();
	}
	for (size_t i = 0; i < g.gl_pathc; i++) {
		const char *version = strstr(g.gl_pathv[i], "/versions/") + strlen("/versions/");
		char name[64];

		snprintf(name, sizeof(name), "%.*s", (int)strcspn(version, "/"), version);
		/* Only names that are versions: there are also virtual environments. */
		if (strspn(name, "0123456789.") == strlen(name))
			open_python(g.gl_pathv[i], name);
	}
	globfree(&g);
}

static void a_process_without_python_is_named_so(void **state)
{
	const char *const argv[] = {"/bin/sh", "-c", "echo; while :; do sleep 60; done", NULL};
	char detail[DETAIL_SIZE];
	struct target *t = NULL;
	pid_t pid = start(argv);

	assert_int_equal(open_target(&t, pid, detail), TARGET_NOT_PYTHON);
	assert_string_not_equal(detail, "");
	assert_null(t);
	end(pid);
}

static void a_process_that_ended_is_gone(void **state)
{
	const char *const argv[] = {"/bin/true", NULL};
	char detail[DETAIL_SIZE];
	struct target *t = NULL;
	pid_t pid = start(argv);
	siginfo_t info;

	/* A zombie first. */
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	assert_int_equal(open_target(&t, pid, detail), TARGET_GONE);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(open_target(&t, pid, detail), TARGET_GONE);
	assert_int_equal(open_target(&t, 1 << 23, detail), TARGET_GONE);
	assert_int_equal(open_target(&t, 0, detail), TARGET_GONE);
}

/* An opener that gives one text for maps and an error for all else. */
struct fake {
	const char *maps;
	int exe; /* a descriptor, 0 for none */
	int error;
	int opened;
};

static int fake_open(void *arg, enum proc_file file, uint64_t a, uint64_t b)
{
	struct fake *f = arg;
	int fd;

	f->opened++;
	if (file == PROC_EXE && f->exe)
		return fcntl(f->exe, F_DUPFD_CLOEXEC, 0);
	if (file != PROC_MAPS || !f->maps)
		return f->error;
	fd = memfd_create("maps", MFD_CLOEXEC);
	if (write(fd, f->maps, strlen(f->maps)) < 0)
		fail();
	return fd;
}

static enum target_problem open_fake(struct fake *f, char *detail, size_t size)
{
	struct proc_opener opener = {.open = fake_open, .arg = f};
	struct target *t = NULL;
	enum target_problem problem = target_open(&t, getpid(), &opener, detail, size);

	target_free(t);
	return problem;
}

static void a_process_we_may_not_read_is_refused(void **state)
{
	struct fake none = {.error = -EACCES};
	struct fake files = {
		.maps = "1000-2000 r-xp 00000000 08:01 77 /usr/bin/python3.99\n",
		.error = -EPERM,
	};
	char detail[DETAIL_SIZE];

	assert_int_equal(open_fake(&none, detail, sizeof(detail)), TARGET_REFUSED);
	assert_int_equal(open_fake(&files, detail, sizeof(detail)), TARGET_REFUSED);
}

static void a_32_bit_program_is_unsupported(void **state)
{
	Elf32_Ehdr h = {
		.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB, EV_CURRENT},
		.e_type = ET_EXEC,
		.e_machine = EM_386,
	};
	char detail[DETAIL_SIZE], maps[256];
	struct fake f = {.maps = maps, .error = -ENOENT};
	uint8_t padding[64] = {0};
	struct stat st;

	f.exe = memfd_create("exe", MFD_CLOEXEC);
	assert_int_equal(write(f.exe, &h, sizeof(h)), sizeof(h));
	assert_int_equal(write(f.exe, padding, sizeof(padding)), sizeof(padding));
	assert_int_equal(fstat(f.exe, &st), 0);
	snprintf(maps, sizeof(maps), "1000-2000 r-xp 00000000 00:01 %lu /usr/bin/python3\n",
		 (unsigned long)st.st_ino);
	assert_int_equal(open_fake(&f, detail, sizeof(detail)), TARGET_UNSUPPORTED);
	assert_string_not_equal(detail, "");
	close(f.exe);
}

static void the_detail_fits_its_buffer(void **state)
{
	struct fake none = {.error = -EACCES};
	char detail[5] = "xxxx";

	assert_int_equal(open_fake(&none, detail, 4), TARGET_REFUSED);
	assert_int_equal(strlen(detail), 3);
	assert_int_equal(open_fake(&none, NULL, 0), TARGET_REFUSED);
}

static void maps_that_are_wrong_are_survived(void **state)
{
	static const char *const texts[] = {
		"\n",
		"x\n\n-\n1-2\n1-2 \n1-2 r\n",
		"2000-1000 r-xp 00000000 08:01 77 /python\n",
		"ffffffffffffffffff-1 r-xp 0 0:0 1 /python\n",
		"fffffffffffff000-ffffffffffffffff rwxp fffffffffffffff0 ff:ff "
		"18446744073709551615 /python\n",
		"1000-2000 rwxp 00000000 08:01 77 /python\n1000-2000 rwxp 0 0:0 0\n",
		"1000-2000 rwxp 00000000 08:01 77",
		"1000-2000 rwxp 00000000 08:01 77\n",
		"0-ffffffffffffffff rwxp 00000000 08:01 77 /python\n",
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct fake f = {.maps = texts[i], .error = -ENOENT};
		char detail[DETAIL_SIZE];

		assert_int_not_equal(open_fake(&f, detail, sizeof(detail)), TARGET_OK);
		assert_true(f.opened > 0);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(interpreters_of_pyenv_are_opened_or_named),
		cmocka_unit_test(a_process_without_python_is_named_so),
		cmocka_unit_test(a_process_that_ended_is_gone),
		cmocka_unit_test(a_process_we_may_not_read_is_refused),
		cmocka_unit_test(a_32_bit_program_is_unsupported),
		cmocka_unit_test(the_detail_fits_its_buffer),
		cmocka_unit_test(maps_that_are_wrong_are_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
