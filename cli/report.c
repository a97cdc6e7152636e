#include "cli/report.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/base.h"
#include "cli/browser.h"
#include "cli/listing.h"
#include "cli/message.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "formats/format.h"

/* What the original calls its files; a folder has no extension. */
static void format_name(const struct options *o, const char *format, const char *whose, char *buf,
			size_t size)
{
	const char *extension = o->format ? o->format->extension : "pyprof";

	snprintf(buf, size, "%s_%s%s%s", format, whose, extension ? "." : "",
		 extension ? extension : "");
}

static void default_name(const struct options *o, pid_t pid, char *buf, size_t size)
{
	char whose[16] = "merged";

	if (pid)
		snprintf(whose, sizeof(whose), "%d", (int)pid);
	format_name(o, o->format ? o->format->name : "binary", whose, buf, size);
}

static bool is_folder(const struct options *o)
{
	return o->format && o->format->write_folder;
}

/* Of a profile that is there and has no one pid: the file that it is made of tells which it is. */
static void default_name_without_pid(const struct options *o, const struct model *m, char *buf,
				     size_t size)
{
	const char *path = o->operands[0], *slash = strrchr(path, '/'), *dot;
	char whose[NAME_MAX + 1];

	default_name(o, 0, buf, size);
	if (o->operand_count != 1 || model_has_several_processes(m) || strcmp(path, "-") == 0)
		return;
	path = slash ? slash + 1 : path;
	dot = strrchr(path, '.');
	snprintf(whose, sizeof(whose), "%.*s",
		 (int)(dot && dot > path ? (size_t)(dot - path) : strlen(path)), path);
	format_name(o, o->format->name, whose, buf, size);
}

/* name: what it is called in a directory. */
static int open_at(struct output **ret, const struct options *o, const char *path, const char *name)
{
	return is_folder(o) ? output_open_folder(ret, path, o->format)
			    : output_open(ret, path, name, !o->format);
}

int report_open(struct output **ret, const struct options *o, pid_t pid)
{
	char name[64];
	int e = 0;

	*ret = NULL;
	if (o->base && (o->command->groups & GROUP_RECORD))
		e = base_check(o);
	if (e)
		return e;
	default_name(o, pid, name, sizeof(name));
	if (!o->outfile && (o->format == &format_pstats || !pid))
		return 0;
	return open_at(ret, o, o->outfile ? o->outfile : name, name);
}

/* FILE.EXT to FILE_PID.EXT. name: what its file would be called by itself. */
static void descendant_path(const struct options *o, const char *pid, const char *name, char *buf,
			    size_t size)
{
	const char *base, *dot;
	struct stat st;

	if (!o->outfile || (!is_folder(o) && stat(o->outfile, &st) == 0 && S_ISDIR(st.st_mode))) {
		snprintf(buf, size, "%s%s%s", o->outfile ? o->outfile : "", o->outfile ? "/" : "",
			 name);
		return;
	}
	base = strrchr(o->outfile, '/');
	base = base ? base + 1 : o->outfile;
	dot = strrchr(base, '.');
	/* A dot that the name begins with begins no extension. */
	if (!dot || dot == base + strspn(base, ".") - 1)
		dot = base + strlen(base);
	snprintf(buf, size, "%.*s_%s%s", (int)(dot - o->outfile), o->outfile, pid, dot);
}

static void descendant_name(const struct options *o, const char *pid, char *buf, size_t size)
{
	char name[96];

	format_name(o, o->format != &format_pstats ? o->format->name : "profile", pid, name,
		    sizeof(name));
	descendant_path(o, pid, name, buf, size);
}

const char *report_descendant_pattern(const struct options *o, char *buf, size_t size)
{
	descendant_name(o, "PID", buf, size);
	return buf;
}

int report_open_descendant(struct output **ret, const struct options *o, pid_t pid, unsigned repeat)
{
	char path[PATH_MAX], text[32];

	if (repeat)
		snprintf(text, sizeof(text), "%d-%u", (int)pid, repeat + 1);
	else
		snprintf(text, sizeof(text), "%d", (int)pid);
	descendant_name(o, text, path, sizeof(path));
	return open_at(ret, o, path, path);
}

static const struct format *choose_format(const struct options *o, bool to_file)
{
	return o->format == &format_pstats && !to_file ? &format_pstats_table : o->format;
}

/* Whether a stream before that of process i has the same text there. */
static bool was_told(const struct model *m, uint32_t i, size_t offset)
{
	const char *text = (const char *)&m->processes[i].header + offset;

	for (uint32_t k = 0; k < i; k++)
		if (strcmp((const char *)&m->processes[k].header + offset, text) == 0)
			return true;
	return false;
}

/* What a version of Python does not tell, and what a recording was made without. */
static void say_limits(const struct options *o, const struct model *m, bool recorded_now)
{
	for (uint32_t i = 0; i < m->process_count; i++) {
		const struct stream_header *h = &m->processes[i].header;

		if (o->native && strstr(h->not_collected, "native") &&
		    !was_told(m, i, offsetof(struct stream_header, python)))
			message("Python %s does not tell where C code calls Python: <native> is "
				"only shown at the leaf",
				message_text(h->python));
		if (h->selected[0] && !recorded_now &&
		    !was_told(m, i, offsetof(struct stream_header, selected)))
			message("recorded with %s: there are no other samples",
				message_text(h->selected));
	}
}

/* What a profile of tasks leaves out. */
static void say_tasks(const struct options *o, const struct model *m)
{
	bool waiting = o->async_mode_given && !o->async_running;
	uint64_t samples = 0, none = 0;

	if (!o->async_aware)
		return;
	for (uint32_t i = 0; i < m->process_count; i++) {
		samples += m->processes[i].samples;
		none += m->processes[i].no_task;
	}
	if (none)
		message("%llu of %llu samples are of no task, as of an event loop that waits: they "
			"are left out%s",
			(unsigned long long)none, (unsigned long long)samples,
			m->mode == MODE_WALL && !waiting ? "; --async-mode all shows what waits"
							 : "");
	if (m->mode != MODE_WALL && waiting)
		message("tasks that wait have no part in mode %s: only those that run are shown",
			mode_names[m->mode]);
}

/* pid: whose profile it is, where there are others; else 0. */
static int check_question(const struct model *m, pid_t pid)
{
	char text[512];
	int e = model_check(m, text, sizeof(text));

	if (e < 0 && pid)
		message("process %d: %s", (int)pid, text);
	else if (e < 0)
		message("%s", message_text(text));
	return e < 0 && e != -EAGAIN ? STATUS_FAILED : 0;
}

int report_check(const struct options *o, const struct model *m, bool recorded_now)
{
	int status = check_question(m, 0);

	if (!status) {
		say_limits(o, m, recorded_now);
		say_tasks(o, m);
	}
	return status;
}

/* Whether the options ask for less than all that was recorded. */
static bool asks(const struct options *o)
{
	return o->async_aware || o->mode > MODE_WALL || !selection_is_empty(&o->selected) ||
	       o->from_ns || o->to_ns;
}

static bool has_samples(const struct model *m)
{
	for (uint32_t i = 0; i < m->process_count; i++)
		if (m->processes[i].samples)
			return true;
	return false;
}

/* With the sources that a format may want, as they are to be had from here. */
static int write_format(const struct format *format, const struct model *m,
			const struct format_options *options, struct output *out, pid_t pid)
{
	struct format_options with_source = *options;
	struct listing listing;
	int e;

	listing_init(&listing, pid);
	with_source.source_file = listing_read;
	with_source.arg = &listing;
	if (format->write_folder)
		e = format->write_folder(m, &with_source, output_folder(out));
	else
		e = format->write(m, &with_source, out ? output_file(out) : stdout);
	listing_done(&listing);
	return e;
}

/* Shows what was written, where that was asked for. Nothing fails for it. */
static void show(const struct options *o, const char *place)
{
	char *path;

	if (!o->browser)
		return;
	if (!place) {
		message("the standard output is not for a browser: --browser is left out");
		return;
	}
	if (!is_folder(o) && strcmp(o->format->extension, "html") != 0 &&
	    strcmp(o->format->extension, "svg") != 0) {
		message("%s is not for a browser: --browser is left out", o->format->name);
		return;
	}
	if (asprintf(&path, "%s%s", place, is_folder(o) ? "/index.html" : "") >= 0) {
		browser_open(path);
		free(path);
	}
}

/* Commits out, and shows it when it is the main result. */
static int finish(const struct options *o, struct output *out, const struct format *format,
		  bool main_result)
{
	char *place = NULL;
	int status;

	if (main_result && o->browser && out && !output_is_stdout(out))
		place = strdup(output_name(out));
	status =
		out ? output_commit(out, main_result ? format->name : NULL) : output_flush_stdout();
	if (!status && main_result)
		show(o, place);
	free(place);
	return status;
}

static int write_profile(const struct options *o, const struct model *m, struct output *out,
			 pid_t pid, bool say)
{
	const struct format *format;
	struct format_options options = {.sort = o->sort,
					 .limit = o->limit,
					 .no_summary = o->no_summary,
					 .devtools = o->devtools,
					 .scratch = output_scratch};
	struct model *base = NULL;
	const char *what;
	int e, status = 0;

	if (o->base) {
		status = base_open(&base, o);
		if (!status)
			status = base_compare(o, m, base);
		if (status && !(o->command->groups & GROUP_RECORD)) {
			model_free(base);
			output_discard(out);
			return status;
		}
		/* What was recorded is not lost for it. */
		options.base = status ? NULL : base;
	}

	/* -o - is the file, on the standard output; the table is what a terminal gets. */
	format = choose_format(o, out && !(output_is_stdout(out) && isatty(STDOUT_FILENO)));
	if (!out || output_is_stdout(out)) {
		options.terminal = isatty(STDOUT_FILENO);
		options.color = options.terminal && !getenv("NO_COLOR");
	}
	if (say && o->opcodes && !format->opcodes)
		message("%s has no place for opcodes: they are left out", format->name);
	/* A line that stands on the same terminal as the result would be in it. */
	if (say && !((!out || output_is_stdout(out)) && isatty(STDOUT_FILENO)))
		progress_stage("writing %s to %s", format->name,
			       out ? message_text(output_name(out)) : "the standard output");
	/* What was replayed is not here, and what was run has ended: its pid may be another's. */
	e = write_format(format, m, &options, out,
			 (o->command->groups & (GROUP_REPLAY | GROUP_RUN)) ? 0 : pid);
	progress_wipe();
	model_free(base);
	if (e == -ENODATA) {
		if (asks(o) && has_samples(m))
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
	e = finish(o, out, format, say);
	return e ? e : status;
}

int report_write(const struct options *o, const struct model *m, struct output *out, pid_t pid)
{
	char name[NAME_MAX + 64];
	int e = 0;

	if (!out && (o->outfile || o->format != &format_pstats)) {
		if (o->outfile || pid) {
			e = report_open(&out, o, pid);
		} else {
			default_name_without_pid(o, m, name, sizeof(name));
			e = open_at(&out, o, name, name);
		}
		if (e)
			return e;
	}
	return write_profile(o, m, out, pid, true);
}

int report_write_descendant(const struct options *o, const struct model *m, pid_t pid,
			    unsigned repeat, const char *python)
{
	struct output *out;
	int e = check_question(m, pid);

	if (e)
		return e;
	if (strcmp(m->processes[0].header.python, python) != 0)
		say_limits(o, m, true);
	e = report_open_descendant(&out, o, pid, repeat);
	return e ? e : write_profile(o, m, out, pid, false);
}

static void print_lost(const struct stream_statistics *t, char *buf, size_t size)
{
	static const char *const names[] = {
		[STREAM_LOST_UNREADABLE] = "unreadable",
		[STREAM_LOST_EXITED] = "of threads that ended",
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

static void print_sums(const struct stream_statistics *t, const char *who)
{
	char lost[256];

	print_lost(t, lost, sizeof(lost));
	message("%s%.2f s: due %llu, achieved %llu (%.1f/s), missed %llu, lost %s", who,
		(double)t->elapsed_ns / 1e9, (unsigned long long)t->due,
		(unsigned long long)t->achieved,
		t->elapsed_ns ? (double)t->achieved * 1e9 / (double)t->elapsed_ns : 0,
		(unsigned long long)t->missed, lost);
}

static void print_how(const struct stream_statistics *t)
{
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
}

void report_counts(const struct options *o, const struct recording_facts *f)
{
	const struct stream_statistics *t = &f->totals;

	print_sums(t, "");
	print_how(t);
	if (!o->all_threads && t->threads_total > t->threads)
		message("%u of %u threads; -a for all", t->threads, t->threads_total);
	report_end(f);
}

void report_family(const struct options *o, const struct recording *r)
{
	const struct recording_facts *facts[RECORDING_TOLD];
	struct recording_facts all, rest;
	size_t n = recording_tell(r, &all, &rest, facts, RECORDING_TOLD);
	char who[64];

	for (size_t i = 0; i < n; i++) {
		snprintf(who, sizeof(who), "process %d, %s: ", (int)facts[i]->header.pid,
			 facts[i]->ended ? message_text(facts[i]->end) : "cut");
		print_sums(&facts[i]->totals, who);
	}
	if (rest.streams) {
		snprintf(who, sizeof(who), "%u more: ", rest.streams);
		print_sums(&rest.totals, who);
	}
	snprintf(who, sizeof(who), "%u process%s, together ", all.streams,
		 all.streams == 1 ? "" : "es");
	print_sums(&all.totals, who);
	print_how(&all.totals);
}
