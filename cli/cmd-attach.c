#include <stdlib.h>

#include "cli/command.h"
#include "cli/family.h"
#include "cli/message.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/record.h"
#include "cli/recording.h"
#include "cli/refusal.h"
#include "cli/report.h"

static int take(struct recording *r, const struct options *o, struct output *out, pid_t pid)
{
	struct model *m;
	int status;

	status = record_take(r, o, out, &m);
	if (status) {
		/* Of a file that grows, what there is may be of use. */
		if (!o->format)
			output_commit(out, NULL);
		else
			output_discard(out);
		return status;
	}
	status = record_finish(r, o, out, m, pid);
	model_free(m);
	return status;
}

/* The same of the process and all that descends from it. */
static int take_family(struct recording *r, const struct options *o, struct output *out, pid_t pid)
{
	struct protocol_request q;
	struct family *f;
	int status = family_open(&f, o, r, pid, false);

	if (status) {
		output_discard(out);
		return status;
	}
	record_request(&q, o, pid);
	q.discovery = family_way(f);
	(void)recording_ask(r, &q);
	status = record_family(r, o, out, f, &q, NULL);
	family_free(f);
	return status;
}

static int attach(const struct options *o)
{
	char text[PROTOCOL_TEXT_SIZE];
	struct protocol_request q;
	struct recording *r;
	struct output *out;
	bool waiting;
	int pid, status;

	if (options_parse_pid(o->operands[0], &pid) < 0) {
		message("attach: \"%s\" is no process id", message_text(o->operands[0]));
		return STATUS_USAGE;
	}
	recording_catch_signals(0);
	status = report_open(&out, o, pid);
	if (status)
		return status;
	status = recording_open(&r, o, false);
	if (status) {
		output_discard(out);
		return status;
	}
	if (o->subprocesses) {
		status = take_family(r, o, out, pid);
		recording_free(r);
		return status;
	}
	record_request(&q, o, pid);
	/* A session that is gone says so in its answer, or does not answer. */
	(void)recording_ask(r, &q);
	status = recording_answer(r, &waiting, text);
	if (status) {
		output_discard(out);
		status = refusal_print(status, text, pid, "attach");
	} else {
		status = take(r, o, out, pid);
	}
	recording_free(r);
	return status;
}

const struct command command_attach = {
	.name = "attach",
	.usage = "[options] PID",
	.about = "Sample a running process.",
	.examples = "  pyprof attach -d 10 1234\n"
		    "  pyprof attach -a --collapsed -o stacks.txt 1234\n"
		    "  pyprof attach --subprocesses -d 10 1234\n"
		    "  pyprof attach --binary -o service.pyprof 1234\n",
	.groups = GROUP_RECORD | GROUP_OUTPUT | GROUP_BINARY | GROUP_SESSION,
	.operands_min = 1,
	.operands_max = 1,
	.failure = STATUS_FAILED,
	.exec = attach,
};
