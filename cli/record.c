#include "cli/record.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>

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
	q->mode = o->mode;
	put_pattern(q->thread, o->selected.thread);
	put_pattern(q->function, o->selected.function);
	put_pattern(q->source, o->selected.source);
	/* Between two programs of one machine compression only costs. */
	q->codec = o->output == OUTPUT_BINARY ? o->codec : STREAM_NONE;
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
	if (o->output == OUTPUT_BINARY) {
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
	if (!f->ended && !recording_monitor(r) && kill(pid, 0) < 0 && errno == ESRCH) {
		message("process %d ended, and the daemon withholds its last moment", (int)pid);
	} else if (!f->ended) {
		message("the session ended before the recording did: what it had sent is kept");
		if (!status)
			status = STATUS_FAILED;
	}
	return status;
}
