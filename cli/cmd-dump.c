#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/message.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/recording.h"
#include "cli/refusal.h"
#include "cli/report.h"
#include "formats/format.h"

/* A line further down than this many bytes is not looked for. */
#define MAX_SOURCE_BYTES (32 << 20)

/* Source lines, with the rights of whoever typed the command. The files are the target's: in its
 * root and below its working directory. */
struct source {
	pid_t pid;
	char file[4096];
	FILE *stream;
	int line; /* of the next one read */
	char *text;
	size_t size;
};

static void close_source(struct source *s)
{
	if (s->stream)
		fclose(s->stream);
	s->stream = NULL;
	s->file[0] = '\0';
}

static int open_source(struct source *s, const char *file)
{
	char path[4200];
	struct stat st;
	int fd;

	close_source(s);
	snprintf(path, sizeof(path), "/proc/%d/%s/%s", (int)s->pid, file[0] == '/' ? "root" : "cwd",
		 file);
	/* What the target calls its source may be a pipe or a device. */
	fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 && file[0] == '/')
		fd = open(file, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > MAX_SOURCE_BYTES) {
		close(fd);
		return -EINVAL;
	}
	s->stream = fdopen(fd, "r");
	if (!s->stream) {
		close(fd);
		return -ENOMEM;
	}
	snprintf(s->file, sizeof(s->file), "%s", file);
	s->line = 1;
	return 0;
}

static int source_line(void *arg, const char *file, int line, char *buf, size_t size)
{
	struct source *s = arg;
	ssize_t n = -1;
	int e;

	if (line < 1 || file[0] == '<')
		return -ENOENT;
	if (!s->stream || strcmp(s->file, file) != 0) {
		e = open_source(s, file);
		if (e < 0)
			return e;
	}
	if (line < s->line) {
		rewind(s->stream);
		s->line = 1;
	}
	while (s->line <= line && (n = getline(&s->text, &s->size, s->stream)) >= 0)
		s->line++;
	if (n < 0) {
		close_source(s);
		return -ENOENT;
	}
	while (n > 0 && (s->text[n - 1] == '\n' || s->text[n - 1] == '\r'))
		s->text[--n] = '\0';
	snprintf(buf, size, "%s", s->text);
	return 0;
}

/* Why no thread is shown. */
static int say_nothing(const struct model *m, pid_t pid)
{
	message(m->process_count && m->processes[0].samples
			? "process %d has no thread that is of what was asked for"
			: "process %d has no thread that could be read",
		(int)pid);
	return STATUS_TARGET_ENDED;
}

static int print_dump(const struct options *o, const struct model *m, pid_t pid)
{
	struct source source = {.pid = pid};
	char cwd[4096];
	struct format_options options = {
		.terminal = isatty(STDOUT_FILENO),
		.cwd = getcwd(cwd, sizeof(cwd)),
		.source_line = o->no_source ? NULL : source_line,
		.arg = &source,
	};
	int e;

	options.color = options.terminal && !getenv("NO_COLOR");
	e = (o->json ? &format_dump_json : &format_dump)->write(m, &options, stdout);
	close_source(&source);
	free(source.text);
	if (e == -ENODATA)
		return say_nothing(m, pid);
	if (e < 0 && e != -EIO && e != -ENOSPC && e != -EPIPE) {
		message("cannot print the dump: %s", strerror(-e));
		return STATUS_FAILED;
	}
	e = output_flush_stdout();
	/* JSON is whole all the same, and says who was looked at. */
	return e || m->samples || o->async_aware ? e : say_nothing(m, pid);
}

/* What the tasks shown are not. */
static void explain_tasks(const struct options *o, const struct model *m, pid_t pid,
			  const char *python)
{
	const struct model_process *p =
		m->process_count ? &m->processes[m->process_count - 1] : NULL;
	uint32_t shown = 0;

	if (!p || !p->has_tasks) {
		message("the asyncio tasks of process %d could not be read", (int)pid);
		return;
	}
	for (uint32_t i = 1; i < m->task_count; i++)
		shown += m->tasks[i].seen;
	if (p->tasks.found == STREAM_TASKS_NO_ASYNCIO)
		message("process %d has not imported asyncio", (int)pid);
	else if (p->tasks.found == STREAM_TASKS_NO_GREENLETS)
		message("the greenlets of process %d cannot be read: its module greenlet, with "
			"Python %s, "
			"is none that we know",
			(int)pid, message_text(python));
	else if (p->tasks.found != STREAM_TASKS_FOUND)
		message("where asyncio of Python %s keeps its tasks cannot be read in process %d",
			message_text(python), (int)pid);
	else if (p->tasks.total == 0)
		message("process %d has no task", (int)pid);
	else if (o->async_running && shown < p->tasks.total)
		message("%u of %u tasks run or await one that does; --async-mode all for all%s",
			shown, p->tasks.total, o->all_threads ? "" : ", -a for all threads");
	else if (shown < p->tasks.total)
		message("%u of %u tasks; -a for all", shown, p->tasks.total);
	if (p->tasks.more)
		message("there are more tasks, or more that await them, than can be shown");
}

static int take(struct recording *r, const struct options *o, pid_t pid)
{
	const struct recording_facts *f = recording_facts(r);
	struct model_options question;
	struct model *m;
	int status;

	options_question(o, &question);
	question.one_look = true;
	question.tasks = MODEL_TASKS_NONE; /* they are told beside the samples */
	if (model_new(&m, &question) < 0) {
		message("out of memory");
		return STATUS_FAILED;
	}
	status = recording_take(r, NULL, NULL, m, false);
	if (!status)
		status = report_check(o, m, true);
	if (!status)
		status = print_dump(o, m, pid);
	if (!status && !o->all_threads && f->totals.threads_total > f->totals.threads)
		message("%u of %u threads; -a for all", f->totals.threads, f->totals.threads_total);
	if (!status && o->async_aware)
		explain_tasks(o, m, pid, f->header.python);
	model_free(m);
	return status;
}

static int dump(const struct options *o)
{
	char text[PROTOCOL_TEXT_SIZE];
	struct protocol_request q;
	struct recording *r;
	bool waiting;
	int pid, status;

	if (options_parse_pid(o->operands[0], &pid) < 0) {
		message("dump: \"%s\" is no process id", message_text(o->operands[0]));
		return STATUS_USAGE;
	}
	if (o->async_aware && (o->mode > MODE_WALL || o->selected.thread || o->selected.function ||
			       o->selected.source)) {
		message("dump: --mode, --thread, --function and --source choose threads, and not "
			"among the tasks of --async-aware");
		return STATUS_USAGE;
	}
	recording_catch_signals(0);
	status = recording_open(&r, o, false);
	if (status)
		return status;
	protocol_request_init(&q, PROTOCOL_DUMP, pid);
	q.flags = (o->all_threads ? PROTOCOL_ALL_THREADS : 0) |
		  (o->blocking ? PROTOCOL_BLOCKING : 0) | (o->opcodes ? PROTOCOL_OPCODES : 0);
	if (o->async_aware)
		q.flags |= o->async_running ? PROTOCOL_TASKS_RUNNING : PROTOCOL_TASKS_ALL;
	/* One look: stopping for it is always within reason. */
	q.stop_budget_ppm = 1000000;
	q.interval_ns = 1000000;
	(void)recording_ask(r, &q);
	status = recording_answer(r, &waiting, text);
	if (status)
		status = refusal_print(status, text, pid, "dump");
	else
		status = take(r, o, pid);
	recording_free(r);
	return status;
}

const struct command command_dump = {
	.name = "dump",
	.usage = "[options] PID",
	.about = "Show where a running process stands: its Python stack, most recent call last.",
	.examples = "  pyprof dump 1234\n"
		    "  pyprof dump -a --json 1234\n"
		    "  pyprof dump -a --mode gil --opcodes 1234\n"
		    "  pyprof dump --async-aware 1234\n",
	.groups = GROUP_DUMP | GROUP_SESSION,
	.operands_min = 1,
	.operands_max = 1,
	.failure = STATUS_FAILED,
	.exec = dump,
};
