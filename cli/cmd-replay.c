#include "cli/command.h"
#include "cli/message.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/recording.h"
#include "cli/report.h"

/* The name of the result tells the recorded process; several are merged. */
static pid_t recorded_pid(const struct model *m)
{
	for (uint32_t i = 1; i < m->process_count; i++)
		if (m->processes[i].header.pid != m->processes[0].header.pid)
			return 0;
	return m->process_count ? m->processes[0].header.pid : 0;
}

/* Who is in a profile of several processes. */
static void say_merged(const struct model *m)
{
	struct pid_list pids = {0};
	char text[256];

	if (!m->grouped)
		return;
	for (uint32_t i = 0; i < m->process_count; i++)
		if (m->processes[i].samples)
			pid_list_add(&pids, m->processes[i].header.pid);
	pid_list_print(&pids, text, sizeof(text));
	message("%zu processes in one profile: %s; --pid for some", pids.count, text);
	pid_list_done(&pids);
}

static int replay(const struct options *o)
{
	const struct pid_list *pids = o->pids.count ? &o->pids : NULL;
	struct model_options question;
	struct model *m;
	int status = 0;

	options_question(o, &question);
	if (model_new(&m, &question) < 0) {
		message("out of memory");
		return STATUS_FAILED;
	}
	for (int i = 0; !status && i < o->operand_count; i++)
		status = recording_replay(o->operands[i], pids, m);
	if (!status)
		status = report_check(o, m, false);
	/* Pids of two recordings have nothing in common. */
	if (!status && !o->base && model_group_processes(m) < 0) {
		message("out of memory");
		status = STATUS_FAILED;
	}
	if (!status)
		say_merged(m);
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
		    "  pyprof replay --pid 1240 service.pyprof\n"
		    "  pyprof replay --mode cpu --from 10 --to 20 service.pyprof\n"
		    "  pyprof replay --sort tottime -l 40 service.pyprof\n",
	.groups = GROUP_OUTPUT | GROUP_REPLAY,
	.operands_min = 1,
	.operands_max = 1,
	.failure = STATUS_FAILED,
	.exec = replay,
};
