/* The options of all commands: one table, one parser, one help text. */
#ifndef PYPROF_CLI_OPTIONS_H
#define PYPROF_CLI_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/command.h"
#include "cli/pids.h"
#include "formats/format.h"
#include "formats/stream-select.h"
#include "formats/stream.h"

enum option_group {
	GROUP_RECORD = 1 << 0, /* attach, run */
	GROUP_RUN = 1 << 1,
	GROUP_DUMP = 1 << 2,
	GROUP_OUTPUT = 1 << 3,	/* attach, run, replay */
	GROUP_BINARY = 1 << 4,	/* attach, run */
	GROUP_SESSION = 1 << 5, /* attach, dump, ps: what may go through a daemon */
	GROUP_ANY = 1 << 6,
	GROUP_REPLAY = 1 << 7,
};

struct options {
	const struct command *command;
	bool help;
	/* recording */
	double rate_hz;
	uint64_t interval_ns;
	uint64_t duration_ns; /* 0: to the end */
	bool all_threads, blocking, realtime_stats, subprocesses;
	double stop_budget; /* 0..1 */
	/* which samples, and what of them */
	enum mode mode;		   /* MODE_RECORDED: not given */
	struct selection selected; /* NULL: not given */
	bool native, no_gc, opcodes;
	/* replay */
	uint64_t from_ns, to_ns; /* to_ns 0: the end */
	bool fold_processes, fold_threads;
	/* run */
	bool module, any_command; /* any_command: the operands came after -- */
	const char *python;
	/* dump */
	bool json, no_source, async_aware, async_mode_given, async_running;
	/* output */
	const struct format *format; /* NULL: --binary. format_pstats stands for its table too */
	bool format_given, codec_given, sort_given;
	const char *base; /* what --diff-flamegraph compares with; NULL: another format */
	enum stream_codec codec;
	const char *outfile; /* NULL: the default */
	enum format_sort sort;
	int limit; /* rows; 0: default */
	bool no_summary, devtools, browser;
	/* replay */
	struct pid_list pids; /* empty: all */
	/* session */
	bool no_daemon;
	const char *socket; /* NULL: the default one, if it is there */
	char **operands;    /* ended by NULL */
	int operand_count;
};

/* Reads the arguments behind the command's name. 0; STATUS_USAGE, and a line was printed. Strings
 * are those of argv. */
int options_parse(struct options *ret, const struct command *command, int argc, char **argv);

/* The help of one command, to stdout. */
void options_help(const struct command *command);

/* "10khz" to hertz, "1.5m" to ns, "2%" to a share: 0 or -EINVAL, -ERANGE. */
int options_parse_rate(const char *text, double *ret_hz);
int options_parse_duration(const char *text, uint64_t *ret_ns);
int options_parse_share(const char *text, double *ret);

struct model_options;

/* The question of these options to a profile. */
void options_question(const struct options *o, struct model_options *ret);

/* A process id in decimal: 0 or -EINVAL. */
int options_parse_pid(const char *text, int *ret);

#endif
