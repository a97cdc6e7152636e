#include "cli/command.h"
#include "cli/message.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/recording.h"
#include "cli/report.h"

/* The name of the result tells the recorded process; several are merged. */
static pid_t recorded_pid(const struct model *m)
{
	return m->process_count == 1 ? m->processes[0].header.pid : 0;
}

static int replay(const struct options *o)
{
	struct model_options question;
	struct model *m;
	int status = 0;

	options_question(o, &question);
	if (model_new(&m, &question) < 0) {
		message("out of memory");
		return STATUS_FAILED;
	}
	for (int i = 0; !status && i < o->operand_count; i++)
		status = recording_replay(o->operands[i], m);
	if (!status)
		status = report_check(o, m, false);
	if (!status)
		status = report_write(o, m, NULL, recorded_pid(m));
	model_free(m);
	return status;
}

const struct command command_replay = {
	.name = "replay",
	.usage = "[options] FILE",
	.about = "Turn a recording into another format; - is the standard input.",
	.examples = "  pyprof replay service.pyprof\n"
		    "  pyprof replay --collapsed -o stacks.txt service.pyprof\n"
		    "  pyprof replay --mode cpu --from 10 --to 20 service.pyprof\n"
		    "  pyprof replay --sort tottime -l 40 service.pyprof\n",
	.groups = GROUP_OUTPUT | GROUP_REPLAY,
	.operands_min = 1,
	.operands_max = 1,
	.failure = STATUS_FAILED,
	.exec = replay,
};
