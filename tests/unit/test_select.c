/* Patterns, selections and modes. */
#include "formats/stream-select.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "formats/stream.h"

static void patterns_match_whole_texts(void **state)
{
	static const struct {
		const char *pattern, *text;
		bool matches;
	} cases[] = {
		{"", "", true},		  {"", "a", false},	   {"a", "", false},
		{"abc", "abc", true},	  {"abc", "abcd", false},  {"abcd", "abc", false},
		{"*", "", true},	  {"*", "anything", true}, {"a*c", "ac", true},
		{"a*c", "abbc", true},	  {"a*c", "abcb", false},  {"*a*b*", "xaybz", true},
		{"*ab", "aab", true},	  {"*aab", "aaab", true},  {"a**b", "ab", true},
		{"?", "a", true},	  {"?", "", false},	   {"a?c", "abc", true},
		{"[abc]", "b", true},	  {"[abc]", "d", false},   {"[a-c]x", "bx", true},
		{"[!a-c]", "d", true},	  {"[!a-c]", "b", false},  {"[]]", "]", true},
		{"[a-]", "-", true},	  {"[abc", "[abc", true},  {"[", "[", true},
		{"*[", "a[", true},	  {"[[]x", "[x", true},	   {"[!]", "[!]", true},
		{"*.run", "A.run", true}, {"*.run", "run", false}, {"\\*", "\\x", true},
	};
	char text[4096], pattern[128];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (pattern_matches(cases[i].pattern, cases[i].text) != cases[i].matches)
			fail_msg("%s and %s", cases[i].pattern, cases[i].text);
	/* What would take others an age. */
	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	for (size_t i = 0; i + 2 < sizeof(pattern); i += 2)
		memcpy(pattern + i, "*a", 2);
	memcpy(pattern + sizeof(pattern) - 2, "b", 2);
	assert_false(pattern_matches(pattern, text));
}

static void a_thread_is_named_by_id_or_pattern(void **state)
{
	struct selection s = {0};

	assert_true(selection_is_empty(&s));
	assert_true(selection_takes_thread(&s, "any", 1, 2));
	s.thread = "17";
	assert_true(selection_takes_thread(&s, "x", 17, 2));
	assert_true(selection_takes_thread(&s, "x", 1, 17));
	assert_false(selection_takes_thread(&s, "17", 1, 2));
	s.thread = "worker-*";
	assert_true(selection_takes_thread(&s, "worker-3", 1, 2));
	assert_false(selection_takes_thread(&s, "MainThread", 1, 2));
	assert_false(selection_is_empty(&s));
}

static void a_function_is_named_whole_or_by_its_last_part(void **state)
{
	struct selection s = {.function = "handle"};

	assert_true(selection_takes_function(&s, "handle", "/a.py"));
	assert_true(selection_takes_function(&s, "Server.handle", "/a.py"));
	assert_false(selection_takes_function(&s, "Server.handled", "/a.py"));
	s.function = "Server.*";
	assert_true(selection_takes_function(&s, "Server.handle", "/a.py"));
	assert_false(selection_takes_function(&s, "handle", "/a.py"));
}

static void a_source_is_a_module_or_a_file(void **state)
{
	static const char file[] = "/usr/lib/python3.11/json/decoder.py";
	static const char package[] = "/usr/lib/python3.11/json/__init__.py";
	struct selection s = {.source = "json.decoder"};
	char deep[8192];

	assert_true(selection_takes_function(&s, "f", file));
	assert_false(selection_takes_function(&s, "f", package));
	s.source = "decoder";
	assert_true(selection_takes_function(&s, "f", file));
	s.source = "json";
	assert_true(selection_takes_function(&s, "f", package));
	assert_false(selection_takes_function(&s, "f", file));
	s.source = "json.*";
	assert_true(selection_takes_function(&s, "f", file));
	s.source = "son.decoder";
	assert_false(selection_takes_function(&s, "f", file));
	s.source = "*/json/*";
	assert_true(selection_takes_function(&s, "f", file));
	s.source = file;
	assert_true(selection_takes_function(&s, "f", file));
	assert_false(selection_takes_function(&s, "f", ""));
	/* As it is shown somewhere: with the last parts of the path only. */
	s.source = "decoder.py";
	assert_true(selection_takes_function(&s, "f", file));
	s.source = "json/decoder.py";
	assert_true(selection_takes_function(&s, "f", file));
	s.source = "son/decoder.py";
	assert_false(selection_takes_function(&s, "f", file));
	s.source = "coder.py";
	assert_false(selection_takes_function(&s, "f", file));
	s.source = "*";
	assert_false(selection_takes_function(&s, "<GC>", ""));
	/* Both have to be of the same function. */
	s.source = "json.decoder";
	s.function = "g";
	assert_false(selection_takes_function(&s, "f", file));
	memset(deep, 'x', sizeof(deep));
	strcpy(deep + sizeof(deep) - 9, "/last.py");
	s.function = NULL;
	s.source = "last";
	assert_true(selection_takes_function(&s, "f", deep));
}

static void modes_take_what_the_state_says_and_no_more(void **state)
{
	const uint16_t gil = STREAM_STATE_GIL_KNOWN, cpu = STREAM_STATE_CPU_KNOWN;

	assert_int_equal(mode_takes(MODE_WALL, 0, 0), 1);
	assert_int_equal(mode_takes(MODE_GIL, 0, 0), -1);
	assert_int_equal(mode_takes(MODE_GIL, gil, 0), 0);
	assert_int_equal(mode_takes(MODE_GIL, gil | STREAM_STATE_GIL, 0), 1);
	assert_int_equal(mode_takes(MODE_CPU, gil, 0), -1);
	assert_int_equal(mode_takes(MODE_CPU, cpu, 0), 0);
	assert_int_equal(mode_takes(MODE_CPU, cpu, 5), 1);
	assert_int_equal(mode_takes(MODE_CPU, cpu | STREAM_STATE_CPU, 0), 1);
	assert_int_equal(mode_takes(MODE_EXCEPTION, 0, 0), -1);
	assert_int_equal(mode_takes(MODE_EXCEPTION, STREAM_STATE_EXCEPTION, 0), 1);
	assert_int_equal(mode_takes(MODE_EXCEPTION, STREAM_STATE_EXCEPTION_KNOWN, 0), 0);
	assert_int_equal(
		mode_takes(MODE_EXCEPTION, STREAM_STATE_EXCEPTION_KNOWN | STREAM_STATE_HANDLING, 0),
		1);
	assert_int_equal(mode_find("gil"), MODE_GIL);
	assert_int_equal(mode_find(""), MODE_COUNT);
	assert_int_equal(mode_find("all"), MODE_COUNT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(patterns_match_whole_texts),
		cmocka_unit_test(a_thread_is_named_by_id_or_pattern),
		cmocka_unit_test(a_function_is_named_whole_or_by_its_last_part),
		cmocka_unit_test(a_source_is_a_module_or_a_file),
		cmocka_unit_test(modes_take_what_the_state_says_and_no_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
