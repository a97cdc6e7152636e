#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/message.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/processes.h"
#include "cli/recording.h"

struct listing {
	const struct options *options;
	bool headed;
};

/* Rows come as they are found. more: a line behind it, or NULL. 0 or a status, and a line. */
static int print_row(struct listing *l, const struct process *p, const char *version,
		     const char *threads, const char *state, const char *more)
{
	if (!l->headed)
		printf("%7s %-10s %7s  %-9s %s\n", "PID", "PYTHON", "THREADS", "READABLE",
		       "COMMAND");
	l->headed = true;
	printf("%7d %-10s %7s  %-9s %s\n", (int)p->pid, version, threads, state,
	       message_text(p->command[0] ? p->command : p->name));
	if (more)
		printf("%7s %s\n", "", message_text(more));
	return output_flush_stdout();
}

static int probe(struct listing *l, const struct process *p, struct recording *r)
{
	const struct recording_facts *f = recording_facts(r);
	char text[PROTOCOL_TEXT_SIZE], threads[16] = "-", version[64];
	struct protocol_request q;
	bool waiting;
	int status;

	protocol_request_init(&q, PROTOCOL_PROBE, p->pid);
	q.interval_ns = 1000000;
	(void)recording_ask(r, &q);
	status = recording_answer(r, &waiting, text);
	/* What only looked like a Python, or is gone by now, is not listed. */
	if (status == STATUS_TARGET_ENDED || status == STATUS_NO_PROCESS)
		return 0;
	if (status == STATUS_NOT_PYTHON && strstr(text, "is not a Python"))
		return 0;
	if (status)
		return print_row(l, p, "-", "-", "no", text);
	if (recording_take(r, NULL, NULL, NULL, false))
		return 0;
	if (f->totals.threads_total)
		snprintf(threads, sizeof(threads), "%u", f->totals.threads_total);
	snprintf(version, sizeof(version), "%s%s", f->header.python,
		 f->header.free_threaded ? "t" : "");
	return print_row(l, p, message_text(version), threads, "yes", NULL);
}

static int visit(void *arg, const struct process *p)
{
	struct listing *l = arg;
	struct recording *r;
	int status;

	if (!p->python)
		return 0;
	status = recording_open(&r, l->options, false);
	if (status)
		return status;
	status = probe(l, p, r);
	recording_free(r);
	return status;
}

static int ps(const struct options *o)
{
	struct listing l = {.options = o};
	int r;

	recording_catch_signals(0);
	r = processes_each(visit, &l);
	if (r < 0) {
		message("cannot list processes: %s", strerror(-r));
		return STATUS_FAILED;
	}
	if (r)
		return r;
	if (!l.headed)
		message("no Python process is to be seen");
	return 0;
}

const struct command command_ps = {
	.name = "ps",
	.usage = "[options]",
	.about = "List the Python processes, and whether they can be read.",
	.examples = "  pyprof ps\n"
		    "  sudo pyprof ps\n",
	.groups = GROUP_SESSION,
	.operands_min = 0,
	.operands_max = 0,
	.failure = STATUS_FAILED,
	.exec = ps,
};
