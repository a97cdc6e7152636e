#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>
#include <cmocka.h>

#include "tests/unit/stream_fixture.h"
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

/* The tasks of a process, by fixture_definitions, each awaited by the tasks in a row of edges (0:
 * none); n is how many there are. */
static struct model *tasks_model(uint32_t n, const uint32_t (*edges)[2])
{
	struct stream_header h = {.stream_id = 1, .time_unit_ns = 1, .pid = 77};
	struct stream_writer_options o = {.codec = STREAM_NONE};
	struct stream_summary end = {.end = "duration"};
	struct stream_writer *w;
	struct bytes b = {0};
	struct model *m;

	assert_int_equal(stream_writer_new(&w, &h, &fixture_definitions, &o, fixture_sink, &b), 0);
	for (uint32_t i = 1; i <= n; i++) {
		uint32_t chain[2] = {i - 1, 0};
		const uint32_t *awaiters = edges ? edges[i - 1] : chain;
		struct stream_task_state s = {.time_ns = 7,
					      .task = i,
					      .stack = i == 1 ? 3 : 0,
					      .state = i == 1 ? STREAM_TASK_RUNNING
							      : STREAM_TASK_PENDING,
					      .problem = i == 2 ? STREAM_TASK_MOVED : 0,
					      .n_awaiters = !!awaiters[0] + !!awaiters[1],
					      .awaiters = awaiters};

		assert_int_equal(stream_writer_task(w, &s), 0);
	}
	assert_int_equal(stream_writer_tasks(w, &(struct stream_tasks){.time_ns = 7, .total = n}),
			 0);
	assert_int_equal(stream_writer_finish(w, &end), 0);
	stream_writer_free(w);
	m = fixture_model(b.data, b.len, NULL);
	bytes_done(&b);
	return m;
}

static void tasks_stand_below_those_that_await_them(void **state)
{
	/* 1 and 2 are awaited by 3, 1 also by 4. */
	static const uint32_t edges[][2] = {{3, 4}, {3, 0}, {0, 0}, {0, 0}};
	struct model *m = tasks_model(4, edges);
	char *text = formats_text(&format_dump, m, &(struct format_options){0});

	assert_string_equal(
		text,
		"Stack dump for PID 77, thread 101 \"worker\" (task 139637976727553, running; "
		"most recent call last):\n"
		"  File \"<task>\", in f3\n"
		"    No Python frames\n"
		"  File \"<task>\", in f1 (2 parents)\n"
		"  File \"/src/mod1.py\", line 2, in f1\n"
		"  File \"/src/mod2.py\", line 4, in f2\n"
		"\n"
		"Stack dump, thread 102 \"worker\" (task 139637976727554, waiting; most recent "
		"call last):\n"
		"  File \"<task>\", in f3\n"
		"    No Python frames\n"
		"  File \"<task>\", in f2\n"
		"    It moved while it was looked at\n"
		"\n"
		"Stack dump, thread 101 \"worker\" (task 139637976727556, waiting; most recent "
		"call last):\n"
		"  File \"<task>\", in f4\n"
		"    No Python frames\n"
		"\n"
		"Tasks, each above those that it awaits:\n"
		"f3\n"
		"├── f1 (running) (2 parents)\n"
		"└── f2\n"
		"f4\n"
		"└── f1 (running) (2 parents)\n");
	free(text);
	model_free(m);
}

static void tasks_that_await_each_other_end(void **state)
{
	static const uint32_t edges[][2] = {{2, 0}, {3, 1}, {1, 3}};
	struct model *m = tasks_model(3, edges);
	char *text = formats_text(&format_dump, m, &(struct format_options){0});

	assert_non_null(strstr(text, "  More tasks await these\n"));
	assert_non_null(strstr(text, "each above those that it awaits:\n"
				     "f1 (running)\n"
				     "├── f2 (2 parents)\n"
				     "│   └── f1 (running) ...\n"
				     "└── f3 (2 parents)\n"
				     "    ├── f2 (2 parents) ...\n"
				     "    └── f3 (2 parents) ...\n"));
	free(text);
	model_free(m);
}

static void a_chain_of_any_length_is_cut(void **state)
{
	enum { TASKS = 20000 };
	struct model *m = tasks_model(TASKS, NULL);
	size_t len, lines = 0;
	char *text;

	len = formats_bytes(&format_dump, m, &(struct format_options){0}, &text);
	assert_true(len < 400 * TASKS);
	for (const char *p = strstr(text, "Tasks, each"); p; p = strchr(p + 1, '\n'))
		lines++;
	/* Each once, and once more where a tree goes on. */
	assert_in_range(lines, TASKS, TASKS + TASKS / 32);
	free(text);
	model_free(m);
}

static void the_json_has_all_awaiters(void **state)
{
	static const uint32_t edges[][2] = {{3, 4}, {3, 0}, {0, 0}, {0, 0}};
	struct model *m = tasks_model(4, edges);
	char *text = formats_text(&format_dump_json, m, &(struct format_options){0});
	cJSON *object = cJSON_Parse(text), *tasks, *task;

	assert_non_null(object);
	assert_int_equal(cJSON_GetObjectItem(object, "tasks_total")->valueint, 4);
	assert_true(cJSON_IsNull(cJSON_GetObjectItem(object, "tasks_problem")));
	tasks = cJSON_GetObjectItem(object, "tasks");
	assert_int_equal(cJSON_GetArraySize(tasks), 4);
	cJSON_ArrayForEach(task, tasks)
	{
		const char *name = cJSON_GetObjectItem(task, "name")->valuestring;
		bool first = strcmp(name, "f1") == 0;
		cJSON *awaiters = cJSON_GetObjectItem(task, "awaited_by");

		assert_string_equal(cJSON_GetObjectItem(task, "state")->valuestring,
				    first ? "running" : "waiting");
		assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(task, "frames")),
				 first ? 2 : 0);
		if (!first)
			continue;
		assert_int_equal(cJSON_GetArraySize(awaiters), 2);
		assert_string_equal(cJSON_GetArrayItem(awaiters, 0)->valuestring,
				    "139637976727555");
		assert_string_equal(cJSON_GetArrayItem(awaiters, 1)->valuestring,
				    "139637976727556");
	}
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
		cmocka_unit_test(tasks_stand_below_those_that_await_them),
		cmocka_unit_test(tasks_that_await_each_other_end),
		cmocka_unit_test(a_chain_of_any_length_is_cut),
		cmocka_unit_test(the_json_has_all_awaiters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
