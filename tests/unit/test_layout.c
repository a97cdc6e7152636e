/* The rows and tables of remote/layouts against the headers of the interpreters that this machine
 * has, and the reading of debug offsets that are wrong. */
#include "remote/layout.h"

#include <errno.h>
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "remote/memory.h"

#define SCRIPT	   "tests/unit/layout_headers.sh"
#define LINE_MAX_  8192
#define TABLE_MAX_ 4096

struct field {
	const char *name;
	size_t offset;
	size_t size;
};

#define FIELD(group, member)                                                                       \
	{                                                                                          \
#group "." #member, offsetof(struct layout, group.member),                         \
			sizeof(((struct layout *)0)->group.member)                                 \
	}

static const struct field fields[] = {
	FIELD(runtime, interpreters_head),
	FIELD(runtime, tstate_current),
	FIELD(runtime, gil_last_holder),
	FIELD(runtime, gil_locked),
	FIELD(runtime, gil_switches),
	FIELD(runtime, gil_cond),
	FIELD(runtime, gc_collecting),
	FIELD(runtime, initialized),
	FIELD(runtime, finalizing),
	FIELD(interp, id),
	FIELD(interp, next),
	FIELD(interp, threads_head),
	FIELD(interp, threads_main),
	FIELD(interp, gc_collecting),
	FIELD(interp, gil),
	FIELD(interp, modules),
	FIELD(interp, code_object_generation),
	FIELD(interp, gc_frame),
	FIELD(gil, last_holder),
	FIELD(gil, locked),
	FIELD(gil, switches),
	FIELD(gil, cond),
	FIELD(tstate, prev),
	FIELD(tstate, next),
	FIELD(tstate, interp),
	FIELD(tstate, frame),
	FIELD(tstate, cframe),
	FIELD(tstate, base_frame),
	FIELD(tstate, thread_id),
	FIELD(tstate, native_thread_id),
	FIELD(tstate, datastack_chunk),
	FIELD(tstate, datastack_top),
	FIELD(tstate, datastack_limit),
	FIELD(tstate, status),
	FIELD(tstate, state),
	FIELD(tstate, holds_gil),
	FIELD(tstate, gil_requested),
	FIELD(tstate, current_exception),
	FIELD(tstate, exc_info),
	FIELD(tstate, exc_state),
	FIELD(tstate, dict),
	FIELD(tstate, asyncio_loop),
	FIELD(tstate, context_ver),
	FIELD(tstate, status_active_bit),
	FIELD(tstate, status_holds_gil_bit),
	FIELD(err_stackitem, value),
	FIELD(err_stackitem, previous),
	FIELD(cframe, current_frame),
	FIELD(chunk, previous),
	FIELD(chunk, size),
	FIELD(chunk, top),
	FIELD(chunk, data),
	FIELD(frame, previous),
	FIELD(frame, executable),
	FIELD(frame, instr_ptr),
	FIELD(frame, owner),
	FIELD(frame, is_entry),
	FIELD(frame, stackpointer),
	FIELD(frame, valuestack),
	FIELD(frame, localsplus),
	FIELD(frame, tlbc_index),
	FIELD(frame, lasti_unit),
	FIELD(frame, generator),
	FIELD(frame, owner_thread),
	FIELD(frame, owner_generator),
	FIELD(frame, owner_frame_object),
	FIELD(frame, owner_interpreter),
	FIELD(frame, owner_cstack),
	FIELD(code, filename),
	FIELD(code, name),
	FIELD(code, qualname),
	FIELD(code, linetable),
	FIELD(code, firstlineno),
	FIELD(code, argcount),
	FIELD(code, flags),
	FIELD(code, code),
	FIELD(code, firsttraceable),
	FIELD(code, tlbc),
	FIELD(code, co_version),
	FIELD(object, size),
	FIELD(object, ob_type),
	FIELD(var, ob_size),
	FIELD(type, tp_name),
	FIELD(type, tp_basicsize),
	FIELD(type, tp_dictoffset),
	FIELD(type, tp_flags),
	FIELD(type, tp_base),
	FIELD(type, ht_cached_keys),
	FIELD(unicode, state),
	FIELD(unicode, length),
	FIELD(unicode, ascii_data),
	FIELD(unicode, compact_data),
	FIELD(unicode, kind_shift),
	FIELD(unicode, compact_shift),
	FIELD(unicode, ascii_shift),
	FIELD(bytes, ob_size),
	FIELD(bytes, ob_sval),
	FIELD(tuple, ob_size),
	FIELD(tuple, ob_item),
	FIELD(list, ob_size),
	FIELD(list, ob_item),
	FIELD(dict, ma_used),
	FIELD(dict, ma_keys),
	FIELD(dict, ma_values),
	FIELD(dict, keys_header),
	FIELD(dict, keys_size),
	FIELD(dict, keys_log2_index_bytes),
	FIELD(dict, keys_kind),
	FIELD(dict, keys_nentries),
	FIELD(integer, digits),
	FIELD(integer, tag),
	FIELD(gen, iframe),
	FIELD(gen, frame_state),
	FIELD(gen, frame),
	FIELD(gen, exc_state),
	FIELD(gen, created),
	FIELD(gen, suspended),
	FIELD(gen, yield_from),
	FIELD(gen, executing),
	FIELD(set, used),
	FIELD(set, mask),
	FIELD(set, table),
	FIELD(inner, first),
	FIELD(inner, method_self),
	FIELD(inner, function_globals),
	FIELD(inner, frame_object),
	FIELD(gc, generations),
	FIELD(gc, permanent),
	FIELD(gc, generation_size),
	FIELD(inner, function_closure),
};
#define FIELD_COUNT (sizeof(fields) / sizeof(fields[0]))

static long field_value(const struct layout *l, const struct field *f)
{
	const uint8_t *at = (const uint8_t *)l + f->offset;
	int32_t wide;
	int8_t narrow;

	if (f->size == sizeof(narrow)) {
		memcpy(&narrow, at, sizeof(narrow));
		return narrow;
	}
	memcpy(&wide, at, sizeof(wide));
	return wide;
}

/* What the headers of one interpreter say. */
struct headers {
	uint32_t version;
	bool free_threaded;
	long values[FIELD_COUNT];
	bool known[FIELD_COUNT];
	uint8_t table[TABLE_MAX_];
	size_t table_len;
};

static void read_line(struct headers *h, const char *name, const char *value)
{
	if (strcmp(name, "version") == 0) {
		h->version = (uint32_t)strtoul(value, NULL, 10);
	} else if (strcmp(name, "free_threaded") == 0) {
		h->free_threaded = value[0] == '1';
	} else if (strcmp(name, "table") == 0) {
		for (; value[0] && value[1] && h->table_len < TABLE_MAX_; value += 2) {
			unsigned int byte;

			assert_int_equal(sscanf(value, "%2x", &byte), 1);
			h->table[h->table_len++] = (uint8_t)byte;
		}
	} else {
		for (size_t i = 0; i < FIELD_COUNT; i++) {
			if (strcmp(name, fields[i].name) == 0) {
				h->values[i] = strtol(value, NULL, 10);
				h->known[i] = true;
				return;
			}
		}
		fail_msg("%s prints a field that struct layout lacks: %s", SCRIPT, name);
	}
}

/* Compiles against the headers below directory: false when there are none. */
static void read_headers(struct headers *h, const char *directory, const char *flags)
{
	static char line[LINE_MAX_ * 2];
	char name[64], value[LINE_MAX_];
	char command[LINE_MAX_];
	const char *base = strrchr(directory, '/');
	FILE *f;

	/* Debian splits pyconfig.h off, into the directory of the architecture. */
	snprintf(command, sizeof(command),
		 "CPPFLAGS='%s' %s '%s' '%.*s/x86_64-linux-gnu%s' '%.*s/x86_64-linux-gnu' '%.*s'",
		 flags, SCRIPT, directory, (int)(base - directory), directory, base,
		 (int)(base - directory), directory, (int)(base - directory), directory);
	f = popen(command, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%63s %8191s", name, value) == 2)
			read_line(h, name, value);
	}
	assert_int_equal(pclose(f), 0);
	assert_int_not_equal(h->version, 0);
}

/* Fields that no installed header has: dict-common.h of 3.8-3.10 is not installed. */
static bool is_private(const struct headers *h, const char *name)
{
	return h->version < 0x030b0000 && strncmp(name, "dict.keys_", 10) == 0;
}

/* These are read by themselves. */
static bool is_apart(const char *name)
{
	return strcmp(name, "tstate.asyncio_loop") == 0 ||
	       strcmp(name, "tstate.context_ver") == 0 || strcmp(name, "code.code") == 0;
}

static int32_t largest(const struct layout *l, const char *group)
{
	size_t len = strlen(group);
	long end = 0;

	for (size_t i = 0; i < FIELD_COUNT; i++) {
		long value = field_value(l, &fields[i]);

		if (strncmp(fields[i].name, group, len) != 0 || fields[i].size != sizeof(int32_t) ||
		    is_apart(fields[i].name))
			continue;
		if (value > end)
			end = value;
	}
	return (int32_t)end;
}

static void compare(const char *directory, const char *flags)
{
	static struct headers h;
	struct layout l;
	int bad = 0;

	memset(&h, 0, sizeof(h));
	read_headers(&h, directory, flags);
	if (h.table_len) {
		uint32_t version;

		assert_int_equal(layout_from_debug_offsets(&l, h.table, h.table_len, &version), 0);
		assert_int_equal(version, h.version);
	} else {
		const struct layout *rows = layout_rows(h.version, h.free_threaded);

		assert_non_null(rows);
		l = *rows;
	}
	assert_int_equal(l.free_threaded, h.free_threaded);
	for (size_t i = 0; i < FIELD_COUNT; i++) {
		long value = field_value(&l, &fields[i]);

		if (is_private(&h, fields[i].name))
			continue;
		if (!h.known[i])
			print_error("%s: %s is not checked\n", directory, fields[i].name);
		else if (h.values[i] != value)
			print_error("%s: %s is %ld, not %ld\n", directory, fields[i].name,
				    h.values[i], value);
		else
			continue;
		bad++;
	}
	assert_int_equal(bad, 0);
	assert_true(l.tstate.size > largest(&l, "tstate."));
	assert_true(l.code.size > largest(&l, "code."));
	assert_true(l.frame.size > l.frame.instr_ptr);
	assert_true(l.frame.size > l.frame.owner);
	assert_int_equal(l.frame_style,
			 h.version < 0x030b0000 ? FRAME_STYLE_OBJECT : FRAME_STYLE_INTERPRETER);
	assert_int_equal(l.line_style, h.version < 0x030a0000	? LINE_STYLE_LNOTAB
				       : h.version < 0x030b0000 ? LINE_STYLE_LINETABLE
								: LINE_STYLE_LOCATIONS);
}

/* One test: the headers of one version, wherever this machine has them. */
struct version {
	const char *name;    /* of the directory: "python3.13t" */
	const char *headers; /* of which directory, when not its own */
	const char *flags;
};

static size_t compare_all(const char *pattern, const char *flags)
{
	size_t count;
	glob_t g;

	if (glob(pattern, 0, NULL, &g) != 0)
		return 0;
	for (size_t i = 0; i < g.gl_pathc; i++) {
		char *end = strstr(g.gl_pathv[i], "/internal/pycore_pystate.h");

		*end = '\0';
		compare(g.gl_pathv[i], flags);
	}
	count = g.gl_pathc;
	globfree(&g);
	return count;
}

static void rows_agree_with_the_headers(void **state)
{
	const struct version *v = *state;
	const char *name = v->headers ? v->headers : v->name;
	const char *home = getenv("HOME") ? getenv("HOME") : "/root";
	const char *cache = getenv("PYPROF_CACHE");
	const char *xdg = getenv("XDG_CACHE_HOME");
	char base[LINE_MAX_ / 2], pattern[LINE_MAX_];
	size_t found = 0;

	if (cache)
		snprintf(base, sizeof(base), "%s", cache);
	else if (xdg)
		snprintf(base, sizeof(base), "%s/pyprof", xdg);
	else
		snprintf(base, sizeof(base), "%s/.cache/pyprof", home);
#define TAIL "/include/%s/internal/pycore_pystate.h"
	snprintf(pattern, sizeof(pattern), "%s/.pyenv/versions/*" TAIL, home, name);
	found += compare_all(pattern, v->flags);
	snprintf(pattern, sizeof(pattern), "/usr" TAIL, name);
	found += compare_all(pattern, v->flags);
	snprintf(pattern, sizeof(pattern), "%s/pythons/roots/*/usr" TAIL, base, name);
	found += compare_all(pattern, v->flags);
	snprintf(pattern, sizeof(pattern), "%s/pythons/built/*" TAIL, base, name);
	found += compare_all(pattern, v->flags);
	if (found == 0) {
		print_message("no headers of %s on this machine\n", name);
		skip();
	}
}

/* A table of a known version, all words small. */
static void make_table(uint64_t *words, size_t n, uint64_t version)
{
	memcpy(&words[0], "xdebugpy", 8);
	words[1] = version;
	words[2] = 0;
	for (size_t i = 3; i < n; i++)
		words[i] = 8 * (i % 100);
}

static void a_table_without_cookie_is_no_table(void **state)
{
	uint64_t words[128] = {0};
	struct layout l;
	uint32_t version;

	assert_int_equal(layout_from_debug_offsets(&l, words, sizeof(words), &version), -ENODATA);
	make_table(words, 128, 0x030e0af0);
	assert_int_equal(layout_from_debug_offsets(&l, words, 23, &version), -ENODATA);
}

static void a_version_to_come_is_named_and_refused(void **state)
{
	uint64_t words[128];
	struct layout l;
	uint32_t version = 0;

	make_table(words, 128, 0x031000a1);
	assert_int_equal(layout_from_debug_offsets(&l, words, sizeof(words), &version), -ENOTSUP);
	assert_int_equal(version, 0x031000a1);
}

static void a_table_cut_short_is_refused(void **state)
{
	uint64_t words[128];
	struct layout l;
	uint32_t version;

	make_table(words, 128, 0x030d00f0);
	assert_int_equal(layout_from_debug_offsets(&l, words, 72 * 8, &version), -ENOTSUP);
}

static void an_offset_out_of_bounds_is_refused(void **state)
{
	uint64_t words[128];
	struct layout l;
	uint32_t version;

	make_table(words, 128, 0x030f02f0);
	words[5] = UINT64_MAX;
	assert_int_equal(layout_from_debug_offsets(&l, words, sizeof(words), &version), -ENOTSUP);
	make_table(words, 128, 0x030f02f0);
	words[26] = 1 << 20; /* a thread state would have to be that large */
	assert_int_equal(layout_from_debug_offsets(&l, words, sizeof(words), &version), -ENOTSUP);
}

static void the_table_of_asyncio_is_taken_whole_or_not_at_all(void **state)
{
	uint64_t words[LAYOUT_ASYNCIO_BYTES / 8];
	struct layout l = *layout_rows(0x030b07f0, false);

	for (size_t i = 0; i < LAYOUT_ASYNCIO_BYTES / 8; i++)
		words[i] = 100 + i;
	assert_int_equal(layout_add_asyncio(&l, words, sizeof(words) - 1), -ENOTSUP);
	words[12] = 0;
	assert_int_equal(layout_add_asyncio(&l, words, sizeof(words)), -ENOTSUP);
	words[12] = UINT64_MAX;
	assert_int_equal(layout_add_asyncio(&l, words, sizeof(words)), -ENOTSUP);
	assert_int_equal(l.tstate.asyncio_tasks, ABSENT);
	assert_int_equal(l.task.awaited_by, ABSENT);
	words[12] = 112;
	assert_int_equal(layout_add_asyncio(&l, words, sizeof(words)), 0);
	assert_int_equal(l.task.name, 101);
	assert_int_equal(l.task.awaited_by, 102);
	assert_int_equal(l.task.awaited_by_is_set, 104);
	assert_int_equal(l.task.coro, 105);
	assert_int_equal(l.task.node, 106);
	assert_int_equal(l.interp.asyncio_tasks, 108);
	assert_int_equal(l.tstate.asyncio_loop, 110);
	assert_int_equal(l.tstate.asyncio_task, 111);
	assert_int_equal(l.tstate.asyncio_tasks, 112);
}

static void versions_without_rows_have_none(void **state)
{
	assert_null(layout_rows(0x030710f0, false));
	assert_null(layout_rows(0x030d00f0, false));
	assert_null(layout_rows(0x030b07f0, true));
	assert_int_equal(layout_rows(0x030b07f0, false)->version >> 16, 0x030b);
}

static void an_empty_runtime_is_not_ready(void **state)
{
	static uint8_t image[4096];
	struct layout l = *layout_rows(0x030b07f0, false);
	struct memory *m;

	assert_int_equal(memory_new_image(&m, image, sizeof(image), 0x10000), 0);
	assert_int_equal(layout_prove(&l, m, 0x10000), -EAGAIN);
	memory_free(m);
}

static void a_runtime_of_rubbish_is_unproven(void **state)
{
	static uint64_t image[512];
	struct layout l = *layout_rows(0x030b07f0, false);
	struct memory *m;

	/* Every pointer leads back to the start, which is as wrong as can be but readable. */
	for (size_t i = 0; i < 512; i++)
		image[i] = 0x10000;
	memset((uint8_t *)image + l.runtime.gil_locked, 0, 8);
	memset((uint8_t *)image + l.runtime.finalizing, 0, 8);
	((int32_t *)image)[l.runtime.initialized / 4] = 1;
	assert_int_equal(memory_new_image(&m, image, sizeof(image), 0x10000), 0);
	assert_int_equal(layout_prove(&l, m, 0x10000), -ENOTSUP);
	memory_free(m);
}

#define GIL_DISABLED "-DPy_GIL_DISABLED=1"

int main(void)
{
	static const struct version versions[] = {
		{"python3.8", NULL, ""},
		{"python3.9", NULL, ""},
		{"python3.10", NULL, ""},
		{"python3.11", NULL, ""},
		{"python3.12", NULL, ""},
		{"python3.13", NULL, ""},
		{"python3.13t", NULL, ""},
		{"python3.14", NULL, ""},
		{"python3.14t", "python3.14", GIL_DISABLED},
		{"python3.15", NULL, ""},
		{"python3.15t", "python3.15", GIL_DISABLED},
	};
#define VERSION_COUNT (sizeof(versions) / sizeof(versions[0]))
	static const struct CMUnitTest others[] = {
		cmocka_unit_test(a_table_without_cookie_is_no_table),
		cmocka_unit_test(a_version_to_come_is_named_and_refused),
		cmocka_unit_test(a_table_cut_short_is_refused),
		cmocka_unit_test(an_offset_out_of_bounds_is_refused),
		cmocka_unit_test(the_table_of_asyncio_is_taken_whole_or_not_at_all),
		cmocka_unit_test(versions_without_rows_have_none),
		cmocka_unit_test(an_empty_runtime_is_not_ready),
		cmocka_unit_test(a_runtime_of_rubbish_is_unproven),
	};
#define OTHER_COUNT (sizeof(others) / sizeof(others[0]))
	static struct CMUnitTest tests[VERSION_COUNT + OTHER_COUNT];
	static char names[VERSION_COUNT][64];

	for (size_t i = 0; i < VERSION_COUNT; i++) {
		snprintf(names[i], sizeof(names[i]), "rows_agree_with_the_headers_of_%s",
			 versions[i].name);
		tests[i].name = names[i];
		tests[i].test_func = rows_agree_with_the_headers;
		tests[i].initial_state = (void *)&versions[i];
	}
	memcpy(tests + VERSION_COUNT, others, sizeof(others));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
