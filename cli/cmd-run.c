#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/family.h"
#include "cli/message.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/record.h"
#include "cli/recording.h"
#include "cli/report.h"

/* A target that does not end on SIGTERM when its time is over. */
#define TERM_PATIENCE_MS 3000

/* The target while it is not yet itself: a fork of ours that waits for a word to go. */
struct start {
	pid_t pid;
	int fd; /* our end; the other closes at its exec, or brings its errno */
};

/* What to execute; NULL-terminated, to be freed. */
static char **build_argv(const struct options *o)
{
	char **argv = calloc((size_t)o->operand_count + 3, sizeof(*argv));
	size_t n = 0;

	if (!argv)
		return NULL;
	if (!o->any_command || o->module) {
		argv[n++] = (char *)(o->python ? o->python : "python3");
		if (o->module)
			argv[n++] = (char *)"-m";
	}
	memcpy(argv + n, o->operands, (size_t)o->operand_count * sizeof(*argv));
	return argv;
}

static void __attribute__((noreturn)) become_target(int fd, pid_t tracer, char **argv)
{
	char word;
	int e;

	/* Where Yama lets only ancestors read, it makes an exception for who is named. It lasts
	 * over the exec. EINVAL: there is no Yama. */
	(void)prctl(PR_SET_PTRACER, (unsigned long)tracer, 0, 0, 0);
	signal(SIGPIPE, SIG_DFL);
	if (write(fd, "r", 1) != 1 || read(fd, &word, 1) != 1)
		_exit(STATUS_RUN_FAILED);
	execvp(argv[0], argv);
	e = errno;
	(void)!write(fd, &e, sizeof(e));
	_exit(STATUS_RUN_FAILED);
}

static int start_target(struct start *s, pid_t tracer, char **argv)
{
	int sv[2];
	char word;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
		return -errno;
	s->pid = fork();
	if (s->pid == 0) {
		close(sv[0]);
		become_target(sv[1], tracer, argv);
	}
	close(sv[1]);
	s->fd = sv[0];
	if (s->pid < 0) {
		close(s->fd);
		return -errno;
	}
	while (read(s->fd, &word, 1) < 0 && errno == EINTR)
		;
	return 0;
}

/* Lets it go: 0 once it is the other program, or the errno that keeps it from that. */
static int release_target(struct start *s)
{
	int e = 0;
	ssize_t n;

	if (send(s->fd, "g", 1, MSG_NOSIGNAL) != 1)
		e = errno;
	do
		n = read(s->fd, &e, sizeof(e));
	while (n < 0 && errno == EINTR);
	close(s->fd);
	s->fd = -1;
	return -e;
}

static int wait_target(pid_t pid)
{
	int status = 0;

	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* The time is over: the target ends, by force in the end. */
static void end_target(pid_t pid)
{
	const struct timespec pause = {0, 10 * 1000 * 1000};
	siginfo_t info;

	kill(pid, SIGTERM);
	kill(pid, SIGCONT);
	for (int ms = 0; ms < TERM_PATIENCE_MS; ms += 10) {
		info.si_pid = 0;
		if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid)
			return;
		nanosleep(&pause, NULL);
	}
	kill(pid, SIGKILL);
}

/* The recording of the started target, to its end. What is left to write is in *ret_model.
 * 0; a status and a line: the target goes on without us. */
static int record(struct recording *r, const struct options *o, struct output *out,
		  struct model **ret_model)
{
	char text[PROTOCOL_TEXT_SIZE];
	bool waiting;
	int status;

	status = recording_answer(r, &waiting, text);
	if (status) {
		message("%s", message_text(text));
		return status;
	}
	return record_take(r, o, out, ret_model);
}

/* The session holds the target before it goes. 0 or a status with a line. */
static int prepare(struct recording *r, const struct protocol_request *q)
{
	char text[PROTOCOL_TEXT_SIZE];
	bool waiting = false;
	int status;

	(void)recording_ask(r, q);
	status = recording_answer(r, &waiting, text);
	if (status || !waiting) {
		message("%s", status ? message_text(text) : "the session does not wait");
		return STATUS_RUN_FAILED;
	}
	return 0;
}

/* The target is started and its recording taken. Returns the exit status. */
static int run_target(struct recording *r, const struct options *o, struct start *s,
		      struct output *out, const char *program)
{
	struct model *m = NULL;
	bool ended = false;
	int e, failed, status, report = 0;

	e = release_target(s);
	if (e < 0) {
		message("cannot run %s: %s", message_text(program), strerror(-e));
		output_discard(out);
		wait_target(s->pid);
		return STATUS_RUN_FAILED;
	}
	failed = record(r, o, out, &m);
	if (!failed && o->duration_ns && strcmp(recording_facts(r)->end, "duration") == 0) {
		ended = true;
		end_target(s->pid);
	}
	status = wait_target(s->pid);
	if (!failed)
		report = record_finish(r, o, out, m, s->pid);
	else
		output_discard(out);
	model_free(m);
	if (ended) {
		message("the time is over: the target was ended");
		return report ? STATUS_RUN_FAILED : STATUS_OK;
	}
	/* A target that failed is what there is to tell; else what we could not do. */
	return status == 0 && (failed || report) ? STATUS_RUN_FAILED : status;
}

/* The target as its descendants are recorded along with it: it may end long before they do. */
struct waited {
	pid_t pid;
	int status;
	bool done, ended; /* ended: by us */
};

static void wait_for_target(void *arg)
{
	struct waited *w = arg;

	if (!w->done)
		w->status = wait_target(w->pid);
	w->done = true;
	recording_target_ended();
}

static void end_in_time(void *arg, bool time_is_over)
{
	struct waited *w = arg;

	if (time_is_over && !w->done) {
		w->ended = true;
		end_target(w->pid);
	}
	wait_for_target(w);
}

static int run_family(struct recording *r, const struct options *o, struct start *s,
		      struct output *out, struct family *f, const struct protocol_request *q,
		      const char *program)
{
	struct waited w = {.pid = s->pid};
	const struct record_hooks hooks = {&w, wait_for_target, end_in_time};
	int e = release_target(s), status;

	if (e < 0) {
		message("cannot run %s: %s", message_text(program), strerror(-e));
		output_discard(out);
		wait_target(s->pid);
		return STATUS_RUN_FAILED;
	}
	status = record_family(r, o, out, f, q, &hooks);
	wait_for_target(&w);
	if (w.ended) {
		message("the time is over: the target was ended");
		return status ? STATUS_RUN_FAILED : STATUS_OK;
	}
	return w.status == 0 && status ? STATUS_RUN_FAILED : w.status;
}

static int check_script(const struct options *o)
{
	if (o->any_command || o->module || access(o->operands[0], R_OK) == 0)
		return 0;
	message("cannot run %s: %s%s", message_text(o->operands[0]), strerror(errno),
		strpbrk(o->operands[0], "./") ? "" : "; a command that is no script follows --");
	return STATUS_RUN_FAILED;
}

static int run(const struct options *o)
{
	struct protocol_request q;
	struct start s = {.fd = -1};
	struct recording *r = NULL;
	struct family *f = NULL;
	struct output *out = NULL;
	char **argv;
	int status, e;

	status = check_script(o);
	if (status)
		return status;
	argv = build_argv(o);
	if (!argv)
		return STATUS_RUN_FAILED;
	status = recording_open(&r, o, true);
	if (status)
		goto out;
	e = start_target(&s, recording_monitor(r), argv);
	if (e < 0) {
		message("cannot start a process: %s", strerror(-e));
		status = STATUS_RUN_FAILED;
		goto out;
	}
	recording_catch_signals(s.pid);
	status = report_open(&out, o, s.pid);
	if (!status && o->subprocesses)
		status = family_open(&f, o, r, s.pid, true);
	if (!status) {
		record_request(&q, o, s.pid);
		q.flags |= PROTOCOL_WAIT;
		q.discovery = f ? family_way(f) : PROTOCOL_NO_CHILDREN;
		status = prepare(r, &q);
	}
	if (status) {
		/* It was never let go: it ends when its socket does. */
		output_discard(out);
		close(s.fd);
		wait_target(s.pid);
		goto out;
	}
	if (f)
		status = run_family(r, o, &s, out, f, &q, argv[0]);
	else
		status = run_target(r, o, &s, out, argv[0]);
	family_free(f);
	recording_free(r);
	free(argv);
	return status;
out:
	family_free(f);
	recording_free(r);
	free(argv);
	return status ? STATUS_RUN_FAILED : 0;
}

const struct command command_run = {
	.name = "run",
	.usage = "[options] SCRIPT [ARG...] | -m MODULE [ARG...] | -- COMMAND [ARG...]",
	.about = "Run a script, a module or any command that becomes a Python, and sample it.\n"
		 "The exit status is the target's own.",
	.examples = "  pyprof run script.py --its-option\n"
		    "  pyprof run --subprocesses --collapsed pool.py\n"
		    "  pyprof run -a -m http.server 8000\n"
		    "  pyprof run --collapsed -o stacks.txt -- /opt/app/bin/python -X dev app.py\n",
	.groups = GROUP_RECORD | GROUP_RUN | GROUP_OUTPUT | GROUP_BINARY,
	.operands_min = 1,
	.operands_max = -1,
	.failure = STATUS_RUN_FAILED,
	.exec = run,
};
