#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>
#include <cmocka.h>

#include "tests/unit/stream_formats.h"

static int source(void *arg, const char *file, int line, char *buf, size_t size)
{
	if (strcmp(file, "/app/a.py") != 0)
		return -ENOENT;
	snprintf(buf, size, "    work(%d)\033\n", line);
	return 0;
}

static void each_thread_has_its_last_stack_and_state(void **state)
{
	struct model *m = formats_model();
	struct format_options o = {.source_line = source, .cwd = "/app"};
	char *text = formats_text(&format_dump, m, &o);

	assert_string_equal(text,
			    "Stack dump for PID 77, thread 100 \"Main\" (leaf not proven; main "
			    "thread, has GIL, on CPU; most recent call last):\n"
			    "  File \"a.py\", line 10, in main\n"
			    "    work(10)\\x1b\n"
			    "  <moving>\n"
			    "\n"
			    "Stack dump, thread 101 (idle; most recent call last):\n"
			    "  File \"x;y.py\", line 1, in na\\nme\\xff\n");
	free(text);
	model_free(m);
}

static void the_running_part_of_a_line_is_highlighted(void **state)
{
	struct model *m = formats_model();
	struct format_options o = {.source_line = source, .color = true};
	char *text = formats_text(&format_dump, m, &o);

	/* Columns 0 to 4 are the indentation: nothing to highlight. */
	assert_non_null(strstr(text, "    \033[37mwork(10)\\x1b\033[0m\n"));
	assert_non_null(strstr(text, "File \033[36m\"/app/a.py\"\033[0m, line \033[33m10\033[0m"));
	free(text);
	model_free(m);
}

static void the_json_is_valid_and_complete(void **state)
{
	struct model *m = formats_model();
	char *text = formats_text(&format_dump_json, m, &(struct format_options){0});
	cJSON *object = cJSON_Parse(text), *threads, *frames;

	assert_non_null(object);
	assert_int_equal(cJSON_GetObjectItem(object, "pid")->valueint, 77);
	assert_string_equal(cJSON_GetObjectItem(object, "python")->valuestring, "3.13.5");
	threads = cJSON_GetObjectItem(object, "threads");
	assert_int_equal(cJSON_GetArraySize(threads), 2);
	frames = cJSON_GetObjectItem(cJSON_GetArrayItem(threads, 0), "frames");
	assert_int_equal(cJSON_GetArraySize(frames), 2);
	assert_string_equal(cJSON_GetObjectItem(cJSON_GetArrayItem(frames, 0), "kind")->valuestring,
			    "moving");
	assert_string_equal(
		cJSON_GetObjectItem(cJSON_GetArrayItem(threads, 0), "ident")->valuestring,
		"18364758544493064720");
	frames = cJSON_GetObjectItem(cJSON_GetArrayItem(threads, 1), "frames");
	assert_string_equal(
		cJSON_GetObjectItem(cJSON_GetArrayItem(frames, 0), "function")->valuestring,
		"na\nme\xef\xbf\xbd");
	assert_true(cJSON_IsNull(cJSON_GetObjectItem(cJSON_GetArrayItem(frames, 0), "column")));
	cJSON_Delete(object);
	free(text);
	model_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_thread_has_its_last_stack_and_state),
		cmocka_unit_test(the_running_part_of_a_line_is_highlighted),
		cmocka_unit_test(the_json_is_valid_and_complete),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
