#include "cli/record.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>

#include "cli/family.h"
#include "cli/message.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/recording.h"
#include "cli/report.h"

static void put_pattern(char to[PROTOCOL_PATTERN_SIZE], const char *pattern)
{
	snprintf(to, PROTOCOL_PATTERN_SIZE, "%s", pattern ? pattern : "");
}

void record_request(struct protocol_request *q, const struct options *o, pid_t pid)
{
	protocol_request_init(q, PROTOCOL_RECORD, pid);
	q->flags =
		(o->all_threads ? PROTOCOL_ALL_THREADS : 0) | (o->blocking ? PROTOCOL_BLOCKING : 0);
	/* Whether a thread is in C code or waits for the GIL is for the kernel to tell. */
	if (o->mode == MODE_CPU || o->native)
		q->flags |= PROTOCOL_CPU_TIME;
	if (o->opcodes)
		q->flags |= PROTOCOL_OPCODES;
	if (o->async_aware)
		q->flags |= o->async_mode_given && !o->async_running ? PROTOCOL_TASKS_ALL
								     : PROTOCOL_TASKS_RUNNING;
	q->mode = o->mode;
	put_pattern(q->thread, o->selected.thread);
	put_pattern(q->function, o->selected.function);
	put_pattern(q->source, o->selected.source);
	/* Between two programs of one machine compression only costs. */
	q->codec = !o->format ? o->codec : STREAM_NONE;
	q->interval_ns = o->interval_ns;
	q->duration_ns = o->duration_ns;
	q->stop_budget_ppm = (uint32_t)(o->stop_budget * 1e6 + 0.5);
}

int record_take(struct recording *r, const struct options *o, struct output *out,
		struct model **ret_model)
{
	struct model_options question;
	struct model *m = NULL;
	int status;

	*ret_model = NULL;
	if (!o->format) {
		status = output_begin(out);
		if (status)
			return status;
		return recording_take(r, output_file(out), output_name(out), NULL,
				      o->realtime_stats);
	}
	options_question(o, &question);
	if (model_new(&m, &question) < 0) {
		message("out of memory");
		return STATUS_FAILED;
	}
	status = recording_take(r, NULL, NULL, m, o->realtime_stats);
	if (status) {
		model_free(m);
		return status;
	}
	*ret_model = m;
	return 0;
}

/* A daemon that can no longer ask who may see an ended process keeps the last of it to itself. */
static const char withheld[] = "process %d ended, and the daemon withholds its last moment";

static bool is_withheld(bool by_daemon, pid_t pid)
{
	return by_daemon && kill(pid, 0) < 0 && errno == ESRCH;
}

int record_finish(struct recording *r, const struct options *o, struct output *out,
		  const struct model *m, pid_t pid)
{
	const struct recording_facts *f = recording_facts(r);
	int status;

	if (f->samples == 0 && f->totals.skipped) {
		message("none of %llu samples is of what was asked for",
			(unsigned long long)f->totals.skipped);
		output_discard(out);
		return STATUS_TARGET_ENDED;
	}
	if (f->samples == 0) {
		message(f->ended ? "process %d ended before there was anything to show"
				 : "the session for process %d ended before it sent anything",
			(int)pid);
		output_discard(out);
		return f->ended ? STATUS_TARGET_ENDED : STATUS_FAILED;
	}
	status = m ? report_check(o, m, true) : 0;
	if (status) {
		output_discard(out);
		return status;
	}
	status = m ? report_write(o, m, out, pid) : output_commit(out, "recording");
	if (!status && (f->ended || f->totals.elapsed_ns))
		report_counts(o, f);
	if (!f->ended && is_withheld(!recording_monitor(r), pid)) {
		message(withheld, (int)pid);
	} else if (!f->ended) {
		message("the session ended before the recording did: what it had sent is kept");
		if (!status)
			status = STATUS_FAILED;
	}
	return status;
}

/* ---- with descendants ---- */

struct descendant_files {
	const struct options *options;
	const struct recording *recording;
	const struct record_hooks *hooks;
	struct pid_list pids; /* a number may be used again, but never a name */
	size_t count;
	bool apart;
	int status;
};

static void on_target_ended(void *arg)
{
	const struct descendant_files *d = arg;

	if (d->hooks && d->hooks->target_ended)
		d->hooks->target_ended(d->hooks->arg);
}

static void on_process_ended(void *arg, struct recording_process *p)
{
	struct descendant_files *d = arg;
	const struct recording_facts *f = recording_process_facts(p);
	pid_t pid = f->header.pid;
	unsigned repeat = 0;
	int status;

	if (!d->apart || recording_process_model(p)->samples == 0)
		return;
	if (pid_list_has(&d->pids, pid))
		repeat = (unsigned)d->count;
	pid_list_add(&d->pids, pid);
	d->count++;
	status = report_write_descendant(d->options, recording_process_model(p), pid, repeat,
					 recording_facts(d->recording)->header.python);
	d->status = d->status ? d->status : status;
}

/* The pieces, to files and models. */
static int take_family(struct recording *r, struct descendant_files *d, struct output *out,
		       struct family *f, const struct protocol_request *q, struct model *m,
		       const struct model_options *question)
{
	const struct family_hooks hooks = {d, on_target_ended, on_process_ended};
	const struct options *o = d->options;
	struct recording_sink sink = {.model = m,
				      .question = question,
				      .apart = d->apart,
				      .family = true,
				      .realtime_stats = o->realtime_stats};
	char pattern[1024];
	int status, end;

	if (!m) {
		status = output_begin(out);
		if (status)
			return status;
		sink.file = output_file(out);
		sink.file_name = output_name(out);
	}
	status = recording_begin(r, &sink);
	if (status)
		return status;
	status = family_take(f, r, q, &hooks);
	end = recording_end(r);
	if (d->count)
		message("%zu more file%s written to %s", d->count, d->count == 1 ? "" : "s",
			message_text(report_descendant_pattern(o, pattern, sizeof(pattern))));
	return status ? status : end;
}

/* What is left to write. Takes out. */
static int finish_family(const struct recording *r, const struct descendant_files *d,
			 struct output *out, struct model *m, bool by_daemon, pid_t pid)
{
	const struct recording_facts *f = recording_facts(r);
	const struct options *o = d->options;
	struct recording_facts all, rest;
	uint64_t samples;
	int status;

	recording_tell(r, &all, &rest, NULL, 0);
	samples = all.samples + all.totals.skipped;
	status = m ? report_check(o, m, true) : 0;
	if (!status && (all.samples == 0 || (m && m->samples == 0 && d->count == 0))) {
		if (samples)
			message("none of %llu samples is of what was asked for",
				(unsigned long long)samples);
		else
			message("neither process %d nor what descends from it had anything to show",
				(int)pid);
		status = STATUS_TARGET_ENDED;
	}
	if (status) {
		output_discard(out);
		return status;
	}
	if (!m) {
		status = output_commit(out, "recording");
	} else if (m->samples == 0) {
		/* Of the target itself; there are files of others. */
		output_discard(out);
	} else if (!d->apart && !o->base && model_group_processes(m) < 0) {
		message("out of memory");
		output_discard(out);
		status = STATUS_FAILED;
	} else {
		status = report_write(o, m, out, pid);
	}
	report_family(o, r);
	if (f->streams && !f->ended && is_withheld(by_daemon, pid)) {
		message(withheld, (int)pid);
	} else if (f->streams && !f->ended) {
		message("the session for process %d ended before its recording did: what it had "
			"sent is kept",
			(int)pid);
		status = status ? status : STATUS_FAILED;
	}
	return status;
}

int record_family(struct recording *r, const struct options *o, struct output *out,
		  struct family *f, const struct protocol_request *q,
		  const struct record_hooks *hooks)
{
	struct descendant_files d = {.options = o, .recording = r, .hooks = hooks};
	bool by_daemon = !recording_monitor(r);
	struct model_options question;
	struct model *m = NULL;
	int status;

	options_question(o, &question);
	if (o->format && model_new(&m, &question) < 0) {
		message("out of memory");
		output_discard(out);
		return STATUS_FAILED;
	}
	/* Where only one thing can be written there is one profile. */
	d.apart = m && (!out || output_is_regular(out));
	status = take_family(r, &d, out, f, q, m, &question);
	if (hooks && hooks->taken)
		hooks->taken(hooks->arg, family_time_is_over(f));
	if (!status)
		status = finish_family(r, &d, out, m, by_daemon, q->pid);
	else if (!m && recording_facts(r)->streams)
		output_commit(out, NULL); /* of a file that grows, what there is may be of use */
	else
		output_discard(out);
	pid_list_done(&d.pids);
	model_free(m);
	return status ? status : d.status;
}
