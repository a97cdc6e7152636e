/* What a reader that someone has taken over can still do: as little as the cage says. */
#include "daemon/cage.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "remote/hand.h"

/* The target of these cages: a child that waits. Another beside it is not the target. */
static pid_t target, other;
static char word[8] = "secret!";

static pid_t start_waiting(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	return pid;
}

/* Runs attempt in a cage: its exit status, or 128 and the signal that ended it. */
static struct hand *hand;

static int in_cage(int (*attempt)(void))
{
	pid_t parent = getpid(), pid = fork();
	int status;

	if (pid == 0) {
		if (cage_drop(parent) < 0 || hand_new(&hand) < 0 ||
		    cage_lock(target, hand_tid(hand)) < 0)
			_exit(99);
		_exit(attempt());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static ssize_t read_word(pid_t pid, char *buf)
{
	struct iovec local = {buf, sizeof(word)}, remote = {word, sizeof(word)};

	return process_vm_readv(pid, &local, 1, &remote, 1, 0);
}

static int read_target(void)
{
	char buf[sizeof(word)];

	return read_word(target, buf) == sizeof(buf) ? 0 : 1;
}

static int read_other(void)
{
	char buf[sizeof(word)];

	return read_word(other, buf) < 0 && errno == EPERM ? 0 : 1;
}

static int write_target(void)
{
	char buf[sizeof(word)] = "changed";
	struct iovec local = {buf, sizeof(word)}, remote = {word, sizeof(word)};

	(void)process_vm_writev(target, &local, 1, &remote, 1, 0);
	return 0;
}

static int run_a_program(void)
{
	char *argv[] = {(char *)"/bin/true", NULL};

	execv(argv[0], argv);
	return 0;
}

#ifndef __SANITIZE_ADDRESS__
static int open_a_file(void)
{
	return open("/proc/self/stat", O_RDONLY) < 0 && errno == EPERM ? 0 : 1;
}
#endif

static int make_a_socket(void)
{
	return socket(AF_INET, SOCK_STREAM, 0) < 0 && errno == EPERM ? 0 : 1;
}

static int make_a_process(void)
{
	return syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL) < 0 && errno == EPERM ? 0 : 1;
}

static int signal_target(void)
{
	return kill(target, 0) < 0 && errno == EPERM ? 0 : 1;
}

static int bind_thread(pid_t tid)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		return -2;
	return sched_setaffinity(tid, sizeof(set), &set);
}

static int bind_the_hand(void)
{
	return bind_thread(hand_tid(hand)) == 0 ? 0 : 1;
}

static int bind_another(void)
{
	return bind_thread(0) == -1 && errno == EPERM && bind_thread(target) == -1 &&
			       errno == EPERM && bind_thread(other) == -1 && errno == EPERM
		       ? 0
		       : 1;
}

static int map_code(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED && errno == EPERM ? 0 : 1;
}

static int poke_by_ptrace(void)
{
	int status;

	if (ptrace(PTRACE_SEIZE, target, NULL, NULL) < 0)
		return 1;
	if (ptrace(PTRACE_INTERRUPT, target, NULL, NULL) < 0)
		return 2;
	if (waitpid(target, &status, __WALL) != target)
		return 3;
	if (syscall(SYS_ptrace, PTRACE_POKEDATA, target, word, 0) == 0 || errno != EPERM)
		return 4;
	if (syscall(SYS_ptrace, PTRACE_PEEKDATA, target, word, word) == 0 || errno != EPERM)
		return 5;
	return ptrace(PTRACE_DETACH, target, NULL, NULL) < 0 ? 6 : 0;
}

static int seize_for_death(void)
{
	return ptrace(PTRACE_SEIZE, target, NULL, PTRACE_O_EXITKILL) < 0 && errno == EPERM ? 0 : 1;
}

static int keep_capabilities(void)
{
	/* Bit 19: CAP_SYS_PTRACE. capget(2), version 3. */
	struct {
		unsigned version;
		int pid;
	} header = {0x20080522, 0};
	unsigned data[6] = {0};

	if (syscall(SYS_capget, &header, data) < 0)
		return 77;
	return (data[0] & ~(1u << 19)) || data[3] ? 1 : 0;
}

/* Before the filter, which lets nobody ask. */
static void only_one_capability_is_left_to_root(void **state)
{
	pid_t parent = getpid(), pid = fork();
	int status;

	if (pid == 0)
		_exit(cage_drop(parent) < 0 ? 99 : keep_capabilities());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void the_target_can_be_read(void **state)
{
	assert_int_equal(in_cage(read_target), 0);
}

static void no_other_process_can_be_read(void **state)
{
	assert_int_equal(in_cage(read_other), 0);
}

static void writing_into_the_target_is_deadly(void **state)
{
	assert_int_equal(in_cage(write_target), 128 + SIGSYS);
}

static void starting_a_program_is_deadly(void **state)
{
	assert_int_equal(in_cage(run_a_program), 128 + SIGSYS);
}

#ifndef __SANITIZE_ADDRESS__
/* The sanitizer opens files itself, so its cage lets them be opened. */
static void nothing_can_be_opened(void **state)
{
	assert_int_equal(in_cage(open_a_file), 0);
}
#endif

static void no_socket_and_no_process_can_be_made(void **state)
{
	assert_int_equal(in_cage(make_a_socket), 0);
	assert_int_equal(in_cage(make_a_process), 0);
}

static void no_signal_can_be_sent(void **state)
{
	assert_int_equal(in_cage(signal_target), 0);
}

static void only_the_hand_is_bound_to_a_cpu(void **state)
{
	assert_int_equal(in_cage(bind_the_hand), 0);
	assert_int_equal(in_cage(bind_another), 0);
}

static void no_code_can_be_mapped(void **state)
{
	assert_int_equal(in_cage(map_code), 0);
}

static void ptrace_stops_but_neither_reads_nor_writes(void **state)
{
	assert_int_equal(in_cage(poke_by_ptrace), 0);
}

static void a_target_cannot_be_bound_to_die_with_its_reader(void **state)
{
	assert_int_equal(in_cage(seize_for_death), 0);
}

static int start(void **state)
{
	target = start_waiting();
	other = start_waiting();
	return target > 0 && other > 0 ? 0 : -1;
}

static int stop(void **state)
{
	kill(target, SIGKILL);
	kill(other, SIGKILL);
	while (wait(NULL) > 0)
		;
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_one_capability_is_left_to_root),
		cmocka_unit_test(the_target_can_be_read),
		cmocka_unit_test(no_other_process_can_be_read),
		cmocka_unit_test(writing_into_the_target_is_deadly),
		cmocka_unit_test(starting_a_program_is_deadly),
#ifndef __SANITIZE_ADDRESS__
		cmocka_unit_test(nothing_can_be_opened),
#endif
		cmocka_unit_test(no_socket_and_no_process_can_be_made),
		cmocka_unit_test(no_signal_can_be_sent),
		cmocka_unit_test(only_the_hand_is_bound_to_a_cpu),
		cmocka_unit_test(no_code_can_be_mapped),
		cmocka_unit_test(ptrace_stops_but_neither_reads_nor_writes),
		cmocka_unit_test(a_target_cannot_be_bound_to_die_with_its_reader),
	};

	return cmocka_run_group_tests_name("cage", tests, start, stop);
}
