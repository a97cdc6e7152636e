/* The options of the commands. */
#include "cli/options.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "daemon/protocol.h"

#define MAX_ARGS 20

static int parse(struct options *o, const struct command *c, ...)
{
	static char *argv[MAX_ARGS + 1];
	int argc = 1;
	va_list ap;

	argv[0] = (char *)c->name;
	va_start(ap, c);
	while (argc < MAX_ARGS && (argv[argc] = va_arg(ap, char *)))
		argc++;
	va_end(ap);
	argv[argc] = NULL;
	return options_parse(o, c, argc, argv);
}

static void the_defaults_are_the_documented_ones(void **state)
{
	struct options o;

	assert_int_equal(parse(&o, &command_attach, "42", NULL), 0);
	assert_int_equal(o.interval_ns, 1000000);
	assert_int_equal(o.duration_ns, 0);
	assert_false(o.all_threads);
	assert_false(o.blocking);
	assert_true(o.stop_budget > 0.0049 && o.stop_budget < 0.0051);
	assert_ptr_equal(o.format, &format_pstats);
	assert_int_equal(o.codec, STREAM_ZSTD);
	assert_int_equal(o.sort, SORT_NSAMPLES);
	assert_string_equal(o.operands[0], "42");
}

static void descendants_are_asked_for_by_the_originals_word(void **state)
{
	struct options o;

	assert_int_equal(parse(&o, &command_attach, "42", NULL), 0);
	assert_false(o.subprocesses);
	assert_int_equal(parse(&o, &command_attach, "--subprocesses", "42", NULL), 0);
	assert_true(o.subprocesses);
	assert_int_equal(parse(&o, &command_run, "--subprocesses", "x.py", NULL), 0);
	assert_true(o.subprocesses);
	assert_int_equal(parse(&o, &command_replay, "--subprocesses", "f", NULL), STATUS_USAGE);
	assert_int_equal(parse(&o, &command_replay, "--pid", "12,13", "f", NULL), 0);
	assert_int_equal(o.pids.count, 2);
	pid_list_done(&o.pids);
	assert_int_equal(parse(&o, &command_attach, "--pid", "12", "42", NULL), STATUS_USAGE);
}

static void rates_have_suffixes(void **state)
{
	static const struct {
		const char *text;
		double hz;
	} good[] = {{"1", 1},	      {"100", 100},  {"10khz", 10000}, {"10k", 10000},
		    {"2.5KHz", 2500}, {"1mhz", 1e6}, {"0.5hz", 0.5},   {"500hz", 500}};
	static const char *const bad[] = {"",	 "0",	 "-1",	 "khz", "1 khz", "nan",
					  "inf", "1e9k", "0x10", "1gz", "1hzz",	 "+5"};
	double hz;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(options_parse_rate(good[i].text, &hz), 0);
		assert_true(hz == good[i].hz);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_true(options_parse_rate(bad[i], &hz) < 0);
}

static void durations_have_units(void **state)
{
	static const struct {
		const char *text;
		uint64_t ns;
	} good[] = {{"1", 1000000000},	  {"0.5", 500000000},	 {"30s", 30000000000},
		    {"5m", 300000000000}, {"1h", 3600000000000}, {"250ms", 250000000}};
	static const char *const bad[] = {"", "0", "-1", "5d", "s", "nan", "1e300", "1 s"};
	uint64_t ns;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(options_parse_duration(good[i].text, &ns), 0);
		assert_int_equal(ns, good[i].ns);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_true(options_parse_duration(bad[i], &ns) < 0);
}

static void budgets_are_shares(void **state)
{
	double share;

	assert_int_equal(options_parse_share("0%", &share), 0);
	assert_true(share == 0);
	assert_int_equal(options_parse_share("100%", &share), 0);
	assert_true(share == 1);
	assert_int_equal(options_parse_share("2.5", &share), 0);
	assert_true(share == 0.025);
	assert_true(options_parse_share("101%", &share) < 0);
	assert_true(options_parse_share("-1%", &share) < 0);
}

static void options_of_run_end_at_its_target(void **state)
{
	struct options o;

	assert_int_equal(parse(&o, &command_run, "-a", "x.py", "-r", "7", "--help", NULL), 0);
	assert_true(o.all_threads);
	assert_false(o.help);
	assert_false(o.any_command);
	assert_int_equal(o.interval_ns, 1000000);
	assert_int_equal(o.operand_count, 4);
	assert_string_equal(o.operands[1], "-r");
}

static void behind_two_dashes_run_takes_any_command(void **state)
{
	struct options o;

	assert_int_equal(parse(&o, &command_run, "-d", "1", "--", "bash", "-c", "true", NULL), 0);
	assert_true(o.any_command);
	assert_string_equal(o.operands[0], "bash");
	assert_int_equal(o.operand_count, 3);
}

static void a_module_takes_its_arguments(void **state)
{
	struct options o;

	assert_int_equal(parse(&o, &command_run, "-m", "http.server", "-b", "::1", NULL), 0);
	assert_true(o.module);
	assert_string_equal(o.operands[0], "http.server");
	assert_int_equal(o.operand_count, 3);
}

static void the_extension_picks_the_format(void **state)
{
	struct options o;

	assert_int_equal(parse(&o, &command_attach, "-o", "x.pyprof", "1", NULL), 0);
	assert_null(o.format);
	assert_int_equal(parse(&o, &command_attach, "-o", "x.txt", "1", NULL), 0);
	assert_ptr_equal(o.format, &format_collapsed);
	assert_int_equal(parse(&o, &command_attach, "-o", "x.pstats", "1", NULL), 0);
	assert_ptr_equal(o.format, &format_pstats);
	assert_int_equal(parse(&o, &command_attach, "--pstats", "-o", "x.txt", "1", NULL), 0);
	assert_ptr_equal(o.format, &format_pstats);
	assert_int_equal(parse(&o, &command_replay, "-o", "x.pyprof", "in", NULL), 0);
	assert_ptr_equal(o.format, &format_pstats);
	assert_int_equal(parse(&o, &command_replay, "-o", "x.pb.gz", "in", NULL), 0);
	assert_ptr_equal(o.format, &format_pprof);
	assert_int_equal(parse(&o, &command_replay, "-o", "x.jsonl", "in", NULL), 0);
	assert_ptr_equal(o.format, &format_jsonl);
	assert_int_equal(parse(&o, &command_replay, "-o", "x.callgrind", "in", NULL), 0);
	assert_ptr_equal(o.format, &format_callgrind);
}

static void what_is_not_known_is_a_usage_error(void **state)
{
	struct options o;

	assert_int_equal(parse(&o, &command_attach, "--nonsense", "1", NULL), STATUS_USAGE);
	assert_int_equal(parse(&o, &command_attach, "-Z", "1", NULL), STATUS_USAGE);
	/* Cut short where that is clear, but no other command's option. */
	assert_int_equal(parse(&o, &command_attach, "--jsonl", "1", NULL), 0);
	assert_int_equal(parse(&o, &command_attach, "--speed", "1", NULL), 0);
	assert_ptr_equal(o.format, &format_speedscope);
	assert_int_equal(parse(&o, &command_attach, "--json", "1", NULL), STATUS_USAGE);
	assert_int_equal(parse(&o, &command_replay, "--json", "f", NULL), STATUS_USAGE);
	assert_int_equal(parse(&o, &command_dump, "--json", "1", NULL), 0);
	assert_int_equal(parse(&o, &command_attach, "--async-aware", "1", NULL), 0);
	assert_int_equal(parse(&o, &command_dump, "--async-aware", "1", NULL), 0);
	assert_int_equal(parse(&o, &command_attach, "-r", NULL), STATUS_USAGE);
	assert_int_equal(parse(&o, &command_attach, "-r", "fast", "1", NULL), STATUS_USAGE);
	assert_int_equal(parse(&o, &command_attach, "--blocking=1", "1", NULL), STATUS_USAGE);
	assert_int_equal(parse(&o, &command_attach, "--sort", "size", "1", NULL), STATUS_USAGE);
	assert_int_equal(parse(&o, &command_attach, "--mode", "tea", "1", NULL), STATUS_USAGE);
	assert_int_equal(parse(&o, &command_attach, "-l", "0", "1", NULL), STATUS_USAGE);
	assert_int_equal(parse(&o, &command_attach, NULL), STATUS_USAGE);
	assert_int_equal(parse(&o, &command_attach, "1", "2", NULL), STATUS_USAGE);
	assert_int_equal(parse(&o, &command_dump, "-r", "5", "1", NULL), STATUS_USAGE);
	assert_int_equal(parse(&o, &command_replay, "--binary", "x", NULL), STATUS_USAGE);
	assert_int_equal(parse(&o, &command_attach, "--pstats", "--collapsed", "1", NULL),
			 STATUS_USAGE);
}

static void help_needs_no_operand(void **state)
{
	struct options o;

	assert_int_equal(parse(&o, &command_attach, "-h", NULL), 0);
	assert_true(o.help);
}

static void pids_are_decimal(void **state)
{
	int pid;

	assert_int_equal(options_parse_pid("1234", &pid), 0);
	assert_int_equal(pid, 1234);
	assert_true(options_parse_pid("0", &pid) < 0);
	assert_true(options_parse_pid("-5", &pid) < 0);
	assert_true(options_parse_pid("12x", &pid) < 0);
	assert_true(options_parse_pid("", &pid) < 0);
	assert_true(options_parse_pid("99999999999", &pid) < 0);
}

/* The lines for people are not for the log of the tests. */
static int be_quiet(void **state)
{
	return freopen("/dev/null", "w", stderr) ? 0 : -1;
}

static void questions_are_parsed(void **state)
{
	char long_pattern[PROTOCOL_PATTERN_SIZE + 1];
	struct options o;

	assert_int_equal(parse(&o, &command_replay, "--mode", "gil", "--function", "f*", "--source",
			       "json.*", "--from", "0", "--to", "1.5", "--native", "--no-gc",
			       "--opcodes", "x", NULL),
			 0);
	assert_int_equal(o.mode, MODE_GIL);
	assert_string_equal(o.selected.function, "f*");
	assert_string_equal(o.selected.source, "json.*");
	assert_null(o.selected.thread);
	assert_int_equal(o.to_ns, 1500000000);
	assert_true(o.native && o.no_gc && o.opcodes && !o.all_threads);
	assert_int_equal(parse(&o, &command_attach, "--thread", "worker-*", "1", NULL), 0);
	assert_true(o.all_threads);
	assert_int_equal(parse(&o, &command_attach, "1", NULL), 0);
	assert_int_equal(o.mode, MODE_RECORDED);
	assert_int_equal(parse(&o, &command_attach, "--mode", "all", "1", NULL), STATUS_USAGE);
	assert_int_equal(parse(&o, &command_attach, "--from", "1", "1", NULL), STATUS_USAGE);
	assert_int_equal(parse(&o, &command_replay, "--from", "2", "--to", "1", "x", NULL),
			 STATUS_USAGE);
	memset(long_pattern, 'x', sizeof(long_pattern) - 1);
	long_pattern[sizeof(long_pattern) - 1] = '\0';
	assert_int_equal(parse(&o, &command_dump, "--thread", long_pattern, "1", NULL),
			 STATUS_USAGE);
	assert_int_equal(parse(&o, &command_dump, "--thread", "", "1", NULL), STATUS_USAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(questions_are_parsed),
		cmocka_unit_test(the_defaults_are_the_documented_ones),
		cmocka_unit_test(descendants_are_asked_for_by_the_originals_word),
		cmocka_unit_test(rates_have_suffixes),
		cmocka_unit_test(durations_have_units),
		cmocka_unit_test(budgets_are_shares),
		cmocka_unit_test(options_of_run_end_at_its_target),
		cmocka_unit_test(behind_two_dashes_run_takes_any_command),
		cmocka_unit_test(a_module_takes_its_arguments),
		cmocka_unit_test(the_extension_picks_the_format),
		cmocka_unit_test(what_is_not_known_is_a_usage_error),
		cmocka_unit_test(help_needs_no_operand),
		cmocka_unit_test(pids_are_decimal),
	};

	/* Sees failures by the exit status and the XML, not by stderr. */
	return cmocka_run_group_tests_name("options", tests, be_quiet, NULL);
}
