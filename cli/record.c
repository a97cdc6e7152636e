#include "cli/record.h"

#include <errno.h>
#include <signal.h>

#include "cli/message.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/recording.h"
#include "cli/report.h"

void record_request(struct protocol_request *q, const struct options *o, pid_t pid)
{
	protocol_request_init(q, PROTOCOL_RECORD, pid);
	q->flags =
		(o->all_threads ? PROTOCOL_ALL_THREADS : 0) | (o->blocking ? PROTOCOL_BLOCKING : 0);
	/* Between two programs of one machine compression only costs. */
	q->codec = o->output == OUTPUT_BINARY ? o->codec : STREAM_NONE;
	q->interval_ns = o->interval_ns;
	q->duration_ns = o->duration_ns;
	q->stop_budget_ppm = (uint32_t)(o->stop_budget * 1e6 + 0.5);
}

int record_take(struct recording *r, const struct options *o, struct output *out,
		struct model **ret_model)
{
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
	if (model_new(&m, NULL) < 0) {
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

	if (f->samples == 0) {
		message(f->ended ? "process %d ended before there was anything to show"
				 : "the session for process %d ended before it sent anything",
			(int)pid);
		output_discard(out);
		return f->ended ? STATUS_TARGET_ENDED : STATUS_FAILED;
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
