#include "cli/options.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "cli/message.h"
#include "cli/output.h"
#include "daemon/protocol.h"
#include "formats/model.h"

#define LENGTH(a) (sizeof(a) / sizeof((a)[0]))
#define MAX_ROWS  64

/* ---- values ---- */

struct unit {
	const char *name;
	double factor;
};

static int parse_number(const char *text, const struct unit *units, double *ret)
{
	char *end;
	double value;

	/* strtod() takes signs, "inf", "nan" and hexadecimal too. */
	if (!isdigit((unsigned char)text[0]) && text[0] != '.')
		return -EINVAL;
	if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X'))
		return -EINVAL;
	value = strtod(text, &end);
	if (end == text)
		return -EINVAL;
	for (; units->name; units++) {
		if (strcasecmp(end, units->name) == 0) {
			*ret = value * units->factor;
			return isfinite(*ret) ? 0 : -ERANGE;
		}
	}
	return -EINVAL;
}

int options_parse_rate(const char *text, double *ret_hz)
{
	static const struct unit units[] = {
		{"", 1}, {"hz", 1}, {"k", 1e3}, {"khz", 1e3}, {"m", 1e6}, {"mhz", 1e6}, {NULL, 0},
	};
	double hz;
	int r = parse_number(text, units, &hz);

	if (r < 0)
		return r;
	if (hz <= 1e9 / (double)PROTOCOL_MAX_INTERVAL_NS || hz > 1e9)
		return -ERANGE;
	*ret_hz = hz;
	return 0;
}

int options_parse_duration(const char *text, uint64_t *ret_ns)
{
	static const struct unit units[] = {
		{"", 1}, {"s", 1}, {"ms", 1e-3}, {"m", 60}, {"h", 3600}, {NULL, 0},
	};
	double s;
	int r = parse_number(text, units, &s);

	if (r < 0)
		return r;
	if (s * 1e9 < 1 || s * 1e9 > (double)PROTOCOL_MAX_DURATION_NS)
		return -ERANGE;
	*ret_ns = (uint64_t)(s * 1e9);
	return 0;
}

int options_parse_share(const char *text, double *ret)
{
	static const struct unit units[] = {{"", 0.01}, {"%", 0.01}, {NULL, 0}};
	double share;
	int r = parse_number(text, units, &share);

	if (r < 0)
		return r;
	if (share > 1)
		return -ERANGE;
	*ret = share;
	return 0;
}

static int parse_int(const char *text, long min, long max, int *ret)
{
	char *end;
	long value;

	if (!isdigit((unsigned char)text[0]))
		return -EINVAL;
	errno = 0;
	value = strtol(text, &end, 10);
	if (*end || errno || value < min || value > max)
		return -EINVAL;
	*ret = (int)value;
	return 0;
}

int options_parse_pid(const char *text, int *ret)
{
	return parse_int(text, 1, INT_MAX, ret);
}

/* ---- setters: 0 or -errno, and a static phrase that says what would do ---- */

static int set_help(struct options *o, const char *v, const char **why)
{
	o->help = true;
	return 0;
}

static int set_rate(struct options *o, const char *v, const char **why)
{
	int r = options_parse_rate(v, &o->rate_hz);

	*why = r == -ERANGE ? "a rate is more than one an hour, and at most 1000mhz"
			    : "a rate is a number with hz, khz or mhz, as 10khz";
	if (r == 0)
		o->interval_ns = (uint64_t)(1e9 / o->rate_hz);
	return r;
}

static int set_duration(struct options *o, const char *v, const char **why)
{
	int r = options_parse_duration(v, &o->duration_ns);

	*why = r == -ERANGE ? "a duration is more than 0, and at most a century"
			    : "a duration is a number of seconds, or one with ms, s, m or h, as 5m";
	return r;
}

static int set_all_threads(struct options *o, const char *v, const char **why)
{
	o->all_threads = true;
	return 0;
}

static int set_mode(struct options *o, const char *v, const char **why)
{
	*why = "the modes are: wall, cpu, gil, exception";
	o->mode = mode_find(v);
	return o->mode == MODE_COUNT ? -EINVAL : 0;
}

static int set_pattern(const char **pattern, const char *v, const char **why)
{
	*why = "a pattern has 1 to 127 characters, * ? and [...] among them";
	*pattern = v;
	return v[0] && strlen(v) < PROTOCOL_PATTERN_SIZE ? 0 : -EINVAL;
}

static int set_thread(struct options *o, const char *v, const char **why)
{
	/* It need not be the main one. */
	o->all_threads = true;
	return set_pattern(&o->selected.thread, v, why);
}

static int set_function(struct options *o, const char *v, const char **why)
{
	return set_pattern(&o->selected.function, v, why);
}

static int set_source(struct options *o, const char *v, const char **why)
{
	return set_pattern(&o->selected.source, v, why);
}

static int set_native(struct options *o, const char *v, const char **why)
{
	o->native = true;
	return 0;
}

static int set_no_gc(struct options *o, const char *v, const char **why)
{
	o->no_gc = true;
	return 0;
}

static int set_opcodes(struct options *o, const char *v, const char **why)
{
	o->opcodes = true;
	return 0;
}

static int set_from(struct options *o, const char *v, const char **why)
{
	*why = "a time is a number of seconds since the first sample, or one with ms, s, m or h";
	if (strcmp(v, "0") == 0)
		return 0;
	return options_parse_duration(v, &o->from_ns);
}

static int set_to(struct options *o, const char *v, const char **why)
{
	*why = "a time is a number of seconds since the first sample, or one with ms, s, m or h";
	return options_parse_duration(v, &o->to_ns);
}

static int set_stop_budget(struct options *o, const char *v, const char **why)
{
	*why = "a budget is a share of the target's time from 0% to 100%";
	return options_parse_share(v, &o->stop_budget);
}

static int set_blocking(struct options *o, const char *v, const char **why)
{
	o->blocking = true;
	return 0;
}

static int set_realtime_stats(struct options *o, const char *v, const char **why)
{
	o->realtime_stats = true;
	return 0;
}

static int set_subprocesses(struct options *o, const char *v, const char **why)
{
	o->subprocesses = true;
	return 0;
}

static int set_pid(struct options *o, const char *v, const char **why)
{
	*why = "process ids, separated by commas, as 1234,1240";
	return pid_list_parse(&o->pids, v);
}

static int set_fold(struct options *o, const char *v, const char **why)
{
	*why = "what can be folded: process, thread, or both with a comma";
	for (;;) {
		size_t len = strcspn(v, ",");

		if (len == 7 && memcmp(v, "process", len) == 0)
			o->fold_processes = true;
		else if (len == 6 && memcmp(v, "thread", len) == 0)
			o->fold_threads = true;
		else
			return -EINVAL;
		if (!v[len])
			return 0;
		v += len + 1;
	}
}

static int set_module(struct options *o, const char *v, const char **why)
{
	o->module = true;
	return 0;
}

static int set_python(struct options *o, const char *v, const char **why)
{
	*why = "an interpreter: its path, or its name on PATH";
	o->python = v;
	return v[0] ? 0 : -EINVAL;
}

static int set_json(struct options *o, const char *v, const char **why)
{
	o->json = true;
	return 0;
}

static int set_no_source(struct options *o, const char *v, const char **why)
{
	o->no_source = true;
	return 0;
}

static int set_async_aware(struct options *o, const char *v, const char **why)
{
	o->async_aware = true;
	return 0;
}

static int set_async_mode(struct options *o, const char *v, const char **why)
{
	*why = "the modes are: running, all";
	o->async_mode_given = true;
	o->async_running = strcmp(v, "running") == 0;
	return o->async_running || strcmp(v, "all") == 0 ? 0 : -EINVAL;
}

/* format NULL: the recording itself. */
static int set_format(struct options *o, const struct format *format, const char **why)
{
	*why = "only one output format can be chosen";
	if (o->format_given && o->format != format)
		return -EINVAL;
	o->format = format;
	o->format_given = true;
	return 0;
}

static int set_diff_flamegraph(struct options *o, const char *v, const char **why)
{
	int r = set_format(o, &format_diff_flamegraph, why);

	if (r == 0 && (!v[0] || strcmp(v, "-") == 0)) {
		*why = "the recording to compare with, as --binary writes it";
		return -EINVAL;
	}
	o->base = v;
	return r;
}

static int set_compression(struct options *o, const char *v, const char **why)
{
	*why = "the choices are: auto, zstd, none";
	o->codec_given = true;
	if (strcmp(v, "auto") == 0 || strcmp(v, "zstd") == 0)
		o->codec = STREAM_ZSTD;
	else if (strcmp(v, "none") == 0)
		o->codec = STREAM_NONE;
	else
		return -EINVAL;
	return 0;
}

static int set_outfile(struct options *o, const char *v, const char **why)
{
	*why = "a file name, or - for the standard output";
	o->outfile = v;
	return v[0] ? 0 : -EINVAL;
}

static int set_sort(struct options *o, const char *v, const char **why)
{
	*why = "the choices are: nsamples, tottime, cumtime, sample-pct, cumul-pct, "
	       "nsamples-cumul, name";
	for (int i = 0; i < SORT_COUNT; i++) {
		if (strcmp(v, format_sort_names[i]) == 0) {
			o->sort = (enum format_sort)i;
			o->sort_given = true;
			return 0;
		}
	}
	return -EINVAL;
}

static int set_limit(struct options *o, const char *v, const char **why)
{
	*why = "a limit is a number of rows from 1 on";
	return parse_int(v, 1, INT_MAX, &o->limit);
}

static int set_no_summary(struct options *o, const char *v, const char **why)
{
	o->no_summary = true;
	return 0;
}

static int set_devtools(struct options *o, const char *v, const char **why)
{
	o->devtools = true;
	return 0;
}

static int set_browser(struct options *o, const char *v, const char **why)
{
	o->browser = true;
	return 0;
}

static int set_no_daemon(struct options *o, const char *v, const char **why)
{
	o->no_daemon = true;
	return 0;
}

static int set_socket(struct options *o, const char *v, const char **why)
{
	*why = "the path of pyprofd's socket";
	o->socket = v;
	return v[0] ? 0 : -EINVAL;
}

/* ---- the table ---- */

#define GROUP_ASK (GROUP_OUTPUT | GROUP_DUMP)

struct row {
	unsigned groups;	    /* enum option_group: commands that have any of them take it */
	char letter;		    /* or 0 */
	const char *name, *metavar; /* metavar NULL: no value */
	/* NULL: it chooses the format of that name */
	int (*set)(struct options *o, const char *value, const char **ret_why);
	const char *help;
};

static const struct row rows[] = {
	{GROUP_ANY, 'h', "help", NULL, set_help, "show this help and exit"},
	{GROUP_RUN, 'm', "module", NULL, set_module, "run the target as a module, as python -m"},
	{GROUP_RUN, 0, "python", "PROGRAM", set_python,
	 "interpreter to run it with (default: python3 on PATH)"},
	{GROUP_RECORD, 'r', "sampling-rate", "RATE", set_rate,
	 "sampling rate, as 10000, 10khz, 10k (default: 1khz)"},
	{GROUP_RECORD, 'd', "duration", "SECONDS", set_duration,
	 "how long to sample, as 10, 0.5, 30s, 5m (default: to the end of the target)"},
	{GROUP_RECORD | GROUP_DUMP, 'a', "all-threads", NULL, set_all_threads,
	 "all threads instead of just the main thread"},
	{GROUP_ASK, 0, "mode", "MODE", set_mode,
	 "which samples: wall (all), cpu (on a CPU, by CPU time), gil (holding the GIL) or "
	 "exception "
	 "(one is raised or handled) (default: wall)"},
	{GROUP_ASK, 0, "thread", "THREAD", set_thread,
	 "only this thread: its id, or a pattern of its name"},
	{GROUP_ASK, 0, "function", "PATTERN", set_function,
	 "only stacks with a function of that name"},
	{GROUP_ASK, 0, "source", "PATTERN", set_source,
	 "only stacks with a function of that module, as json.*, or of that file, as server.py or "
	 "*/app/*"},
	{GROUP_ASK, 0, "native", NULL, set_native, "<native> frames where Python called C code"},
	{GROUP_ASK, 0, "no-gc", NULL, set_no_gc, "no <GC> frames where garbage is collected"},
	{GROUP_ASK, 0, "opcodes", NULL, set_opcodes, "the bytecode instruction of each frame"},
	{GROUP_REPLAY, 0, "from", "SECONDS", set_from,
	 "only what was sampled so long after the first sample, as 10, 1.5, 2m"},
	{GROUP_REPLAY, 0, "to", "SECONDS", set_to, "and before that"},
	{GROUP_RECORD, 0, "stop-budget", "PERCENT", set_stop_budget,
	 "share of the target's time that brief stops may take; 0% never stops it (default: 0.5%)"},
	{GROUP_RECORD | GROUP_DUMP, 0, "blocking", NULL, set_blocking,
	 "take every sample while the thread stands still"},
	{GROUP_RECORD, 0, "realtime-stats", NULL, set_realtime_stats,
	 "print the sampling rate each second"},
	{GROUP_RECORD, 0, "subprocesses", NULL, set_subprocesses,
	 "also the processes that descend from the target: one file for each, or one recording"},
	{GROUP_REPLAY, 0, "pid", "PID[,PID...]", set_pid,
	 "only these processes of the recording (default: all, each below a frame pid:PID where "
	 "there are several)"},
	{GROUP_REPLAY, 0, "fold", "WHAT[,WHAT]", set_fold,
	 "no difference between: process, thread (default: they are kept apart)"},
	{GROUP_OUTPUT, 0, "pstats", NULL, NULL,
	 "a table of functions, or with -o a file for Python's pstats (default)"},
	{GROUP_OUTPUT, 0, "collapsed", NULL, NULL, "collapsed stacks, for flame graph tools"},
	{GROUP_OUTPUT, 0, "flamegraph", NULL, NULL, "a flame graph: one page for a browser"},
	{GROUP_OUTPUT, 0, "diff-flamegraph", "BASELINE", set_diff_flamegraph,
	 "a flame graph of what changed since a recording"},
	{GROUP_OUTPUT, 0, "heatmap", NULL, NULL,
	 "a folder of pages: the source, coloured by samples, line by line"},
	{GROUP_OUTPUT, 0, "svg", NULL, NULL,
	 "a flame graph as one picture, for tickets and papers"},
	{GROUP_OUTPUT, 0, "gecko", NULL, NULL,
	 "samples and states over time, for the Firefox Profiler"},
	{GROUP_OUTPUT, 0, "devtools", NULL, set_devtools,
	 "of --gecko: also what Firefox' older DevTools wrote of the main thread, for other "
	 "readers such as speedscope"},
	{GROUP_OUTPUT, 0, "jsonl", NULL, NULL, "counts of frames, a JSON object a line"},
	{GROUP_OUTPUT, 0, "speedscope", NULL, NULL, "stacks of each thread, for speedscope"},
	{GROUP_OUTPUT, 0, "pprof", NULL, NULL, "profile.proto, for pprof and what reads it"},
	{GROUP_OUTPUT, 0, "callgrind", NULL, NULL, "for KCachegrind and callgrind_annotate"},
	{GROUP_OUTPUT, 0, "chrometrace", NULL, NULL,
	 "stacks over time, for Perfetto and chrome://tracing"},
	{GROUP_BINARY, 0, "binary", NULL, NULL, "the recording itself, for replay"},
	{GROUP_BINARY, 0, "compression", "TYPE", set_compression,
	 "of --binary: auto, zstd or none (default: auto)"},
	{GROUP_OUTPUT, 'o', "output", "OUTFILE", set_outfile,
	 "where to write; - is the standard output; the extension picks the format if no option "
	 "does (default: standard output for the table, else a name made of format and pid)"},
	{GROUP_OUTPUT, 0, "sort", "KEY", set_sort,
	 "order of the table: nsamples, tottime, cumtime, sample-pct, cumul-pct, nsamples-cumul, "
	 "name (default: nsamples)"},
	{GROUP_OUTPUT, 'l', "limit", "ROWS", set_limit, "rows of the table (default: 15)"},
	{GROUP_OUTPUT, 0, "no-summary", NULL, set_no_summary, "leave out the table's summary"},
	{GROUP_OUTPUT, 0, "browser", NULL, set_browser,
	 "open what was written, if it is for one, in a browser"},
	{GROUP_DUMP, 0, "json", NULL, set_json, "JSON instead of text"},
	{GROUP_DUMP, 0, "no-source", NULL, set_no_source, "leave out the source lines"},
	{GROUP_DUMP, 0, "async-aware", NULL, set_async_aware,
	 "tasks of asyncio, and greenlets: the stack of each, and who awaits it"},
	{GROUP_DUMP, 0, "async-mode", "MODE", set_async_mode,
	 "of --async-aware: running (the tasks that run, and who awaits them) or all (default: "
	 "all)"},
	{GROUP_OUTPUT, 0, "async-aware", NULL, set_async_aware,
	 "asyncio's tasks: the stack of the task that runs, on those that await it"},
	{GROUP_OUTPUT, 0, "async-mode", "MODE", set_async_mode,
	 "of --async-aware: running, or all, with the tasks that wait (default: running)"},
	{GROUP_SESSION, 0, "no-daemon", NULL, set_no_daemon,
	 "read with our own rights, even where pyprofd runs"},
	{GROUP_SESSION, 0, "socket", "PATH", set_socket,
	 "socket of pyprofd (default: /run/pyprofd.sock, if it is there)"},
};

static const struct row *find_row(unsigned groups, int value)
{
	for (size_t i = 0; i < LENGTH(rows); i++)
		if ((rows[i].groups & groups) && value == 256 + (int)i)
			return &rows[i];
	for (size_t i = 0; i < LENGTH(rows); i++)
		if ((rows[i].groups & groups) && rows[i].letter && value == rows[i].letter)
			return &rows[i];
	return NULL;
}

static int check_operands(const struct options *o)
{
	const struct command *c = o->command;

	if (o->operand_count < c->operands_min) {
		message("%s: what to work on is missing: pyprof %s %s", c->name, c->name, c->usage);
		return STATUS_USAGE;
	}
	if (c->operands_max >= 0 && o->operand_count > c->operands_max) {
		message("%s: too many arguments, from \"%s\" on: pyprof %s %s", c->name,
			message_text(o->operands[c->operands_max]), c->name, c->usage);
		return STATUS_USAGE;
	}
	return 0;
}

static bool is_word_of(const char *words, const char *word)
{
	size_t len = strlen(word);

	for (const char *at = words; len && at && (at = strstr(at, word)); at++)
		if ((at == words || at[-1] == ' ') && (at[len] == ' ' || at[len] == '\0'))
			return true;
	return false;
}

static void infer_format(struct options *o)
{
	const char *dot = o->outfile ? strrchr(o->outfile, '.') : NULL;

	if (o->format_given || !dot)
		return;
	if ((o->command->groups & GROUP_BINARY) && is_word_of("pyprof bin", dot + 1))
		o->format = NULL;
	for (const struct format *const *f = format_all; *f; f++)
		if (is_word_of((*f)->extensions, dot + 1))
			o->format = *f;
}

/* Whether a row of other commands is not to be taken for one of this command cut short: --json is
 * no --jsonl. */
static bool begins_another(unsigned groups, size_t other)
{
	size_t len = strlen(rows[other].name);

	for (size_t i = 0; i < LENGTH(rows); i++)
		if ((rows[i].groups & groups) && strlen(rows[i].name) > len &&
		    strncmp(rows[i].name, rows[other].name, len) == 0)
			return true;
	return false;
}

/* Whether a long option was cut so short that it can be several. */
static bool begins_several(unsigned groups, const char *word)
{
	size_t len, n = 0;

	word += strspn(word, "-");
	len = strcspn(word, "=");
	for (size_t i = 0; i < LENGTH(rows); i++)
		n += (rows[i].groups & groups) && strncmp(rows[i].name, word, len) == 0;
	return n > 1;
}

/* What each option allows, and all together do not: why, or NULL. */
static const char *contradiction(const struct options *o)
{
	bool table = o->format == &format_pstats;
	bool standard = o->outfile && strcmp(o->outfile, "-") == 0;

	if (o->to_ns && o->from_ns >= o->to_ns)
		return "--from is not before --to";
	if (o->async_mode_given && !o->async_aware)
		return "--async-mode is a mode of --async-aware";
	if (o->no_daemon && o->socket)
		return "--socket is of a daemon, and --no-daemon uses none";
	if (!table && (o->sort_given || o->limit || o->no_summary))
		return "--sort, --limit and --no-summary are of the table: --pstats";
	if (o->format && o->codec_given)
		return "--compression is of --binary";
	if (standard && o->format && o->format->write_folder)
		return "heatmap is a folder, which cannot go to the standard output: -o FOLDER";
	if (standard && isatty(STDOUT_FILENO) && (!o->format || o->format == &format_pprof))
		return "that is nothing for a terminal: -o FILE, or a pipe";
	return NULL;
}

static int check_combination(const struct options *o)
{
	const char *why = contradiction(o);

	if (why)
		message("%s: %s", o->command->name, why);
	return why ? STATUS_USAGE : 0;
}

int options_parse(struct options *ret, const struct command *command, int argc, char **argv)
{
	struct option longs[MAX_ROWS] = {{0}};
	char shorts[2 * MAX_ROWS + 3] = "";
	unsigned groups = command->groups | GROUP_ANY;
	struct options o = {.command = command,
			    .rate_hz = 1000,
			    .interval_ns = 1000000,
			    .stop_budget = 0.005,
			    .format = &format_pstats,
			    .codec = STREAM_ZSTD};
	size_t n_longs = 0, n_shorts = 0;
	int value;

	/* What follows the first operand of run belongs to the target. */
	if (groups & GROUP_RUN)
		shorts[n_shorts++] = '+';
	shorts[n_shorts++] = ':';
	for (size_t i = 0; i < LENGTH(rows); i++) {
		if (!(rows[i].groups & groups) && !begins_another(groups, i))
			continue;
		longs[n_longs++] = (struct option){
			rows[i].name, rows[i].metavar ? required_argument : no_argument, NULL,
			256 + (int)i};
		if (!(rows[i].groups & groups) || !rows[i].letter)
			continue;
		shorts[n_shorts++] = rows[i].letter;
		if (rows[i].metavar)
			shorts[n_shorts++] = ':';
	}
	optind = 0;
	while ((value = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
		const struct row *row = find_row(groups, value);
		const char *why = "";

		if (value == ':') {
			message("%s: option %s needs a value; see: pyprof %s -h", command->name,
				message_text(argv[optind - 1]), command->name);
			return STATUS_USAGE;
		}
		if (!row) {
			if (value >= 256)
				message("%s: unknown option --%s; see: pyprof %s -h", command->name,
					rows[value - 256].name, command->name);
			else if (optopt && optopt < 256)
				message("%s: unknown option -%c; see: pyprof %s -h", command->name,
					isprint(optopt) ? optopt : '?', command->name);
			else if (optopt)
				message("%s: option %s takes no value; see: pyprof %s -h",
					command->name, message_text(argv[optind - 1]),
					command->name);
			else
				message("%s: %s option %s; see: pyprof %s -h", command->name,
					begins_several(groups, argv[optind - 1]) ? "ambiguous"
										 : "unknown",
					message_text(argv[optind - 1]), command->name);
			return STATUS_USAGE;
		}
		if ((row->set ? row->set(&o, optarg, &why)
			      : set_format(&o, format_find(row->name), &why)) < 0) {
			message("%s: --%s%s%s: %s", command->name, row->name, optarg ? " " : "",
				optarg ? message_text(optarg[0] ? optarg : "\"\"") : "", why);
			return STATUS_USAGE;
		}
	}
	o.any_command = optind > 0 && strcmp(argv[optind - 1], "--") == 0;
	o.operands = argv + optind;
	o.operand_count = argc - optind;
	infer_format(&o);
	if (o.devtools && o.format != &format_gecko) {
		message("%s: --devtools is a part of --gecko", command->name);
		return STATUS_USAGE;
	}
	*ret = o;
	return o.help ? 0 : check_combination(&o) ? STATUS_USAGE : check_operands(&o);
}

/* ---- help ---- */

/* Words of text in lines of width 80, from column 26 on. */
static void print_wrapped(const char *text)
{
	int column = 26;

	while (*text) {
		int len = (int)strcspn(text, " ");

		if (column > 26 && column + len + 1 > 80) {
			printf("\n%26s", "");
			column = 26;
		}
		column += printf("%s%.*s", column > 26 ? " " : "", len, text);
		text += len;
		text += strspn(text, " ");
	}
	putchar('\n');
}

void options_help(const struct command *command)
{
	unsigned groups = command->groups | GROUP_ANY;

	printf("usage: pyprof %s %s\n\n%s\n\noptions:\n", command->name, command->usage,
	       command->about);
	for (size_t i = 0; i < LENGTH(rows); i++) {
		char flag[64];
		int n;

		if (!(rows[i].groups & groups))
			continue;
		if (rows[i].letter)
			n = snprintf(flag, sizeof(flag), "  -%c, --%s", rows[i].letter,
				     rows[i].name);
		else
			n = snprintf(flag, sizeof(flag), "  --%s", rows[i].name);
		if (rows[i].metavar)
			n += snprintf(flag + n, sizeof(flag) - (size_t)n, " %s", rows[i].metavar);
		if (n > 24)
			printf("%s\n%26s", flag, "");
		else
			printf("%-26s", flag);
		print_wrapped(rows[i].help);
	}
	printf("\nexamples:\n%s", command->examples);
}

void options_question(const struct options *o, struct model_options *ret)
{
	*ret = (struct model_options){
		.mode = o->mode,
		.native = o->native,
		.no_gc = o->no_gc,
		.opcodes = o->opcodes,
		.tasks = !o->async_aware			    ? MODEL_TASKS_NONE
			 : o->async_mode_given && !o->async_running ? MODEL_TASKS_ALL
								    : MODEL_TASKS_RUNNING,
		.selected = o->selected,
		.from_ns = o->from_ns,
		.to_ns = o->to_ns,
		.timeline = o->format && o->format->timeline ? output_scratch : NULL,
	};
}
