#include <string.h>
#include <sys/stat.h>

#include "cli/command.h"
#include "cli/message.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/recording.h"
#include "cli/report.h"

/* The name of the result tells the recorded process; several are merged. */
static pid_t recorded_pid(const struct model *m)
{
	return m->process_count && !model_has_several_processes(m) ? m->processes[0].header.pid : 0;
}

/* Who is in a profile of several processes. */
static void say_merged(const struct model *m)
{
	struct pid_list pids = {0}, sources = {0};
	char text[256];

	if (!m->grouped)
		return;
	for (uint32_t i = 0; i < m->process_count; i++) {
		const struct model_process *p = &m->processes[i];

		if (p->samples && p->header.pid)
			pid_list_add(&pids, p->header.pid);
		if (p->samples)
			pid_list_add(&sources, (pid_t)p->source);
	}
	pid_list_print(&pids, text, sizeof(text));
	if (sources.count > 1)
		message("%zu recordings in one profile, with a frame for each process",
			sources.count);
	else
		message("%zu processes in one profile: %s; --pid for some", pids.count, text);
	pid_list_done(&pids);
	pid_list_done(&sources);
}

/* What a count of samples stands for differs where rates do. */
static void say_rates(const struct model *m)
{
	double lowest = 0, highest = 0;

	for (uint32_t i = 0; i < m->process_count; i++) {
		double rate = m->processes[i].header.rate_hz;

		if (!m->processes[i].samples || rate <= 0)
			continue;
		if (lowest == 0 || rate < lowest)
			lowest = rate;
		if (rate > highest)
			highest = rate;
	}
	if (highest > 1.02 * lowest)
		message("recorded at %.0f to %.0f samples/s: the same time counts more where there "
			"were more",
			lowest, highest);
}

/* Whether the result would take the place of what it is made from, which is told. */
static bool overwrites_input(const struct options *o)
{
	struct stat out, in;

	if (!o->outfile || strcmp(o->outfile, "-") == 0 || stat(o->outfile, &out) < 0 ||
	    !S_ISREG(out.st_mode))
		return false;
	for (int i = 0; i < o->operand_count; i++) {
		if (stat(o->operands[i], &in) < 0 || in.st_dev != out.st_dev ||
		    in.st_ino != out.st_ino)
			continue;
		message("%s is a recording to be read: it is not overwritten",
			message_text(o->outfile));
		return true;
	}
	return false;
}

/* What is kept apart, and what not. */
static int arrange(const struct options *o, struct model *m)
{
	int e = 0;

	if (o->fold_threads && o->format && o->format->over_time)
		message("%s shows each thread over time: they are kept apart", o->format->name);
	else if (o->fold_threads)
		e = model_fold_threads(m, o->fold_processes);
	if (e == 0 && !o->fold_processes)
		e = model_group_processes(m);
	return e;
}

static int replay(const struct options *o)
{
	const struct pid_list *pids = o->pids.count ? &o->pids : NULL;
	struct model_options question;
	struct model *m;
	int status = 0;

	if (overwrites_input(o))
		return STATUS_USAGE;
	output_catch_signals();
	options_question(o, &question);
	if (model_new(&m, &question) < 0) {
		message("out of memory");
		return STATUS_FAILED;
	}
	status = recording_replay(o->operands, o->operand_count, pids, m);
	if (!status)
		status = report_check(o, m, false);
	/* Pids of two recordings have nothing in common. */
	if (!status && !o->base && arrange(o, m) < 0) {
		message("out of memory");
		status = STATUS_FAILED;
	}
	if (!status) {
		say_merged(m);
		say_rates(m);
	}
	if (!status)
		status = report_write(o, m, NULL, recorded_pid(m));
	model_free(m);
	return status;
}

const struct command command_replay = {
	.name = "replay",
	.usage = "[options] FILE...",
	.about = "Turn recordings into another format; several become one profile.\n"
		 "They are pyprof's or those of Python's profiling.sampling; - is the standard\n"
		 "input.",
	.examples = "  pyprof replay service.pyprof\n"
		    "  pyprof replay --collapsed -o stacks.txt service.pyprof\n"
		    "  pyprof replay --pid 1240 service.pyprof\n"
		    "  pyprof replay --mode cpu --from 10 --to 20 service.pyprof\n"
		    "  pyprof replay --sort tottime -l 40 service.pyprof\n"
		    "  pyprof replay --collapsed -o all.txt --fold process,thread *.pyprof\n",
	.groups = GROUP_OUTPUT | GROUP_REPLAY,
	.operands_min = 1,
	.operands_max = -1,
	.failure = STATUS_FAILED,
	.exec = replay,
};
