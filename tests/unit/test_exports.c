/* The formats of other tools, to the byte, of the profile of stream_formats.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/stream_formats.h"

static void assert_contains(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("there is no \"%s\" in:\n%s", part, text);
}

static void callgrind_counts_each_function_once_a_sample(void **state)
{
	struct model *m = formats_model();
	char *text = formats_text(&format_callgrind, m, &(struct format_options){0});

	assert_contains(text, "events: Samples Time\nsummary: 9 90000000\n");
	/* Samples of a thread go to what it calls. */
	assert_contains(text, "fn=(6) thread Main (pid 77, tid 100)\ncfi=(4) /app/a.py\n"
			      "cfn=(1) main\ncalls=7 9\n0 7 70000000\n");
	/* C.work calls itself: that has no cost of its own. */
	assert_contains(text, "cfn=(2) C.work\ncalls=6 2\n10 6 60000000\n");
	assert_null(strstr(text, "cfn=(2)\ncalls=2"));
	assert_contains(text, "fn=(2)\n2 0 0\n3 6 60000000\n");
	assert_contains(text, "cfn=(3) <moving>\ncalls=1 0\n10 1 10000000\n");
	assert_contains(text, "x;y.py\ncfn=(4) na\\nme\\xff\n");
	free(text);
	model_free(m);
}

static void speedscope_has_a_profile_a_thread(void **state)
{
	struct model *m = formats_model();
	char *text = formats_text(&format_speedscope, m, &(struct format_options){0});

	assert_contains(text,
			"{\"name\":\"main\",\"file\":\"/app/a.py\",\"line\":10},\n"
			"{\"name\":\"C.work\",\"file\":\"/lib/b.py\",\"line\":3},\n"
			"{\"name\":\"<moving>\"},\n"
			"{\"name\":\"na\\u000ame\xef\xbf\xbd\",\"file\":\"x;y.py\",\"line\":1}]}");
	/* Stacks that differ in columns only are one. */
	assert_contains(text,
			"\"name\":\"Main (pid 77, tid 100), equal stacks together\","
			"\"unit\":\"nanoseconds\",\"samples\":[[0],\n[0,1],\n[0,1,1],\n[0,2]],"
			"\"weights\":[10000000,30000000,20000000,10000000],"
			"\"startValue\":0,\"endValue\":70000000}");
	assert_contains(text, "thread (pid 77, tid 101)");
	free(text);
	model_free(m);
}

static void jsonl_counts_lines(void **state)
{
	struct model *m = formats_model();
	char *text = formats_text(&format_jsonl, m, &(struct format_options){0});
	const char *meta = "{\"type\":\"meta\",\"v\":0,\"run_id\":\"";

	assert_memory_equal(text, meta, strlen(meta));
	assert_int_equal(strspn(text + strlen(meta), "0123456789abcdef"), 32);
	assert_contains(text, "\",\"sample_interval_usec\":10000,\"mode\":\"wall\"}\n");
	assert_contains(text, "{\"frame_id\":0,\"path_str_id\":1,\"func_str_id\":0,\"line\":10,"
			      "\"end_line\":10,\"col\":0,\"end_col\":4}");
	assert_contains(text, "\"value\":\"~\"}");
	/* Without a place in a file: no columns. */
	assert_contains(text, "\"func_str_id\":4,\"line\":0}");
	assert_contains(text, "\"samples_total\":9,\"entries\":[{\"frame_id\":0,\"self\":1,"
			      "\"cumulative\":8},");
	assert_contains(text, "\"samples_total\":9}\n");
	free(text);
	model_free(m);
}

static void pprof_is_gzip(void **state)
{
	struct model *m = formats_model();
	char *bytes = NULL;
	size_t n = formats_bytes(&format_pprof, m, &(struct format_options){0}, &bytes);

	/* What is in it is tested with other readers. */
	assert_true(n > 100);
	assert_memory_equal(bytes, "\x1f\x8b\x08", 3);
	free(bytes);
	model_free(m);
}

static void chrometrace_keeps_slices_open(void **state)
{
	struct model *m = formats_timeline();
	char *text = formats_text(&format_chrometrace, m, &(struct format_options){0});

	assert_contains(text, "{\"ph\":\"M\",\"pid\":77,\"tid\":100,\"name\":\"thread_name\","
			      "\"args\":{\"name\":\"Main\"}}");
	/* main is one slice over all of its samples, C.work over two of them. */
	assert_contains(text,
			"{\"ph\":\"B\",\"pid\":77,\"tid\":100,\"ts\":0.001,\"cat\":\"python\","
			"\"name\":\"main (/app/a.py:9)\"},\n"
			"{\"ph\":\"B\",\"pid\":77,\"tid\":100,\"ts\":0.001,\"cat\":\"python\","
			"\"name\":\"C.work (/lib/b.py:2)\"},\n");
	assert_contains(text, "{\"ph\":\"E\",\"pid\":77,\"tid\":100,\"ts\":70000.001,"
			      "\"cat\":\"python\",\"name\":\"main (/app/a.py:9)\"}");
	free(text);
	model_free(m);
}

static void gecko_sorts_samples_by_thread(void **state)
{
	struct model *m = formats_timeline();
	char *text = formats_text(&format_gecko, m, &(struct format_options){0});

	assert_contains(text, "\"preprocessedProfileVersion\":57");
	assert_contains(text, "{\"name\":\"Main\",\"isMainThread\":true");
	assert_contains(text, "\"pid\":\"77\",\"tid\":100");
	assert_contains(text, "\"timeDeltas\":[10.000001,10,10,10,10,10,10],\n\"length\":7}");
	assert_contains(text, "\"name\":\"Thread-101\",\"isMainThread\":false");
	assert_contains(text, "\"timeDeltas\":[80.000001,10],\n\"length\":2}");
	free(text);
	model_free(m);
}

static void gecko_has_the_first_thread_for_others(void **state)
{
	struct model *m = formats_timeline();
	char *without = formats_text(&format_gecko, m, &(struct format_options){0});
	char *text = formats_text(&format_gecko, m, &(struct format_options){.devtools = true});
	size_t same = strlen(without) - strlen("}\n");

	assert_memory_equal(text, without, same);
	assert_ptr_equal(strstr(text, ",\n\"systemHost\":{\"name\":\"Firefox\"},\n\"profile\":{"),
			 text + same);
	assert_contains(text + same,
			"\"threads\":[{\"name\":\"GeckoMain\",\"pid\":77,\"tid\":100,");
	/* A row for each change, and the end of the last. */
	assert_contains(text + same, ",0],[");
	assert_contains(text + same, ",60],[null,70]]}");
	assert_contains(text + same, "\"main (/app/a.py:9)\"");
	assert_contains(text + same, "\"C.work (/lib/b.py:2)\"");
	free(without);
	free(text);
	model_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(callgrind_counts_each_function_once_a_sample),
		cmocka_unit_test(speedscope_has_a_profile_a_thread),
		cmocka_unit_test(jsonl_counts_lines),
		cmocka_unit_test(pprof_is_gzip),
		cmocka_unit_test(chrometrace_keeps_slices_open),
		cmocka_unit_test(gecko_sorts_samples_by_thread),
		cmocka_unit_test(gecko_has_the_first_thread_for_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
