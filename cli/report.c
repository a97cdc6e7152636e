#include "cli/report.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/message.h"
#include "cli/options.h"
#include "cli/output.h"
#include "formats/format.h"

/* What the original calls its files. */
static void default_name(const struct options *o, pid_t pid, char *buf, size_t size)
{
	static const char *const names[][2] = {
		[OUTPUT_PSTATS] = {"pstats", "pstats"},
		[OUTPUT_COLLAPSED] = {"collapsed", "txt"},
		[OUTPUT_BINARY] = {"binary", "pyprof"},
	};

	if (pid)
		snprintf(buf, size, "%s_%d.%s", names[o->output][0], (int)pid, names[o->output][1]);
	else
		snprintf(buf, size, "%s_merged.%s", names[o->output][0], names[o->output][1]);
}

int report_open(struct output **ret, const struct options *o, pid_t pid)
{
	char name[64];

	*ret = NULL;
	default_name(o, pid, name, sizeof(name));
	if (o->outfile)
		return output_open(ret, o->outfile, name, o->output == OUTPUT_BINARY);
	if (o->output == OUTPUT_PSTATS || !pid)
		return 0;
	return output_open(ret, name, name, o->output == OUTPUT_BINARY);
}

static const struct format *choose_format(const struct options *o, bool to_file)
{
	if (o->output == OUTPUT_COLLAPSED)
		return &format_collapsed;
	return to_file ? &format_pstats : &format_pstats_table;
}

/* What a version of Python does not tell, and what a recording was made without. */
static void say_limits(const struct options *o, const struct model *m, bool recorded_now)
{
	for (uint32_t i = 0; i < m->process_count; i++) {
		const struct stream_header *h = &m->processes[i].header;

		if (o->native && strstr(h->not_collected, "native"))
			message("Python %s does not tell where C code calls Python: <native> is "
				"only shown at the leaf",
				message_text(h->python));
		if (h->selected[0] && !recorded_now)
			message("recorded with %s: there are no other samples",
				message_text(h->selected));
	}
}

int report_check(const struct options *o, const struct model *m, bool recorded_now)
{
	char text[256];
	int e = model_check(m, text, sizeof(text));

	if (e < 0)
		message("%s", text);
	if (e < 0 && e != -EAGAIN)
		return STATUS_FAILED;
	say_limits(o, m, recorded_now);
	return 0;
}

static bool has_samples(const struct model *m)
{
	for (uint32_t i = 0; i < m->process_count; i++)
		if (m->processes[i].samples)
			return true;
	return false;
}

int report_write(const struct options *o, const struct model *m, struct output *out, pid_t pid)
{
	const struct format *format;
	struct format_options options = {
		.sort = o->sort, .limit = o->limit, .no_summary = o->no_summary};
	const char *what;
	int e;

	if (!out && (o->outfile || o->output != OUTPUT_PSTATS)) {
		e = report_open(&out, o, pid);
		if (e)
			return e;
	}
	/* -o - is the file, on the standard output; the table is what a terminal gets. */
	format = choose_format(o, out && !(output_is_stdout(out) && isatty(STDOUT_FILENO)));
	if (!out || output_is_stdout(out)) {
		options.terminal = isatty(STDOUT_FILENO);
		options.color = options.terminal && !getenv("NO_COLOR");
	}
	if (o->opcodes && !format->opcodes)
		message("%s has no place for opcodes: they are left out", format->name);
	e = format->write(m, &options, out ? output_file(out) : stdout);
	if (e == -ENODATA) {
		if (has_samples(m))
			message("no sample is of what was asked for: nothing to write");
		else if (pid > 0)
			message("process %d ended before there was anything to show", pid);
		else
			message("there are no samples: nothing to write");
		output_discard(out);
		return STATUS_TARGET_ENDED;
	}
	if (e < 0) {
		what = out ? output_name(out) : "the standard output";
		if (e != -EPIPE)
			message("cannot write %s: %s", message_text(what), strerror(-e));
		output_discard(out);
		return STATUS_FAILED;
	}
	if (!out)
		return output_flush_stdout();
	return output_commit(out, format->name);
}

static void print_lost(const struct stream_statistics *t, char *buf, size_t size)
{
	static const char *const names[] = {
		[STREAM_LOST_UNREADABLE] = "unreadable",
		[STREAM_LOST_EXITED] = "thread ended",
		[STREAM_LOST_TORN] = "torn",
		[STREAM_LOST_MEMORY] = "out of memory",
		[STREAM_LOST_BACKPRESSURE] = "not taken in time",
	};
	const char *separator = " (";
	uint64_t sum = 0;
	int n;

	for (size_t i = 0; i < STREAM_LOST_COUNT; i++)
		sum += t->lost[i];
	n = snprintf(buf, size, "%llu", (unsigned long long)sum);
	for (size_t i = 0; i < STREAM_LOST_COUNT; i++) {
		if (!t->lost[i])
			continue;
		n += snprintf(buf + n, size - (size_t)n, "%s%llu %s", separator,
			      (unsigned long long)t->lost[i], names[i]);
		separator = ", ";
	}
	if (sum)
		snprintf(buf + n, size - (size_t)n, ")");
}

static double share(uint64_t part, uint64_t whole)
{
	return whole ? (double)part * 100 / (double)whole : 0;
}

static void report_end(const struct recording_facts *f)
{
	if (strcmp(f->end, "exec") == 0)
		message("the process became another program, which is no Python that can be read: "
			"the recording ends there");
	else if (strcmp(f->end, "refused") == 0)
		message("reading process %d was refused from some moment on: the recording ends "
			"there",
			f->header.pid);
	else if (strcmp(f->end, "error") == 0)
		message("the recording ended early: %s",
			f->detail[0] ? message_text(f->detail) : "unknown error");
}

void report_counts(const struct options *o, const struct recording_facts *f)
{
	const struct stream_statistics *t = &f->totals;
	char lost[256];

	print_lost(t, lost, sizeof(lost));
	message("%.2f s: due %llu, achieved %llu (%.1f/s), missed %llu, lost %s",
		(double)t->elapsed_ns / 1e9, (unsigned long long)t->due,
		(unsigned long long)t->achieved,
		t->elapsed_ns ? (double)t->achieved * 1e9 / (double)t->elapsed_ns : 0,
		(unsigned long long)t->missed, lost);
	message("taken free %.1f %%, by a stop %.1f %%, with a <moving> leaf %.1f %%; stopped for "
		"%.2f %% of the time; the sampler used %.1f %% of a CPU",
		share(t->free, t->achieved), share(t->stopped, t->achieved),
		share(t->moving, t->achieved), share(t->stop_ns, t->elapsed_ns),
		share(t->sampler_cpu_ns, t->elapsed_ns));
	if (t->achieved)
		message("a sample took %.2f reads of %.0f bytes; %.1f %% repeated the one before",
			(double)t->calls / (double)t->achieved,
			(double)t->bytes / (double)t->achieved, share(t->repeats, t->achieved));
	if (t->stops_refused)
		message("stopping the target was refused: what could not be proven is <moving>");
	if (!o->all_threads && t->threads_total > t->threads)
		message("%u of %u threads; -a for all", t->threads, t->threads_total);
	report_end(f);
}
