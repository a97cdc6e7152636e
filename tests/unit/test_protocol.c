/* The words between client and session, and a session that hears wrong ones. */
#include "daemon/protocol.h"
#include "formats/stream-select.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "formats/stream.h"

static struct protocol_request request(void)
{
	struct protocol_request r;

	protocol_request_init(&r, PROTOCOL_RECORD, 1);
	return r;
}

static int check(const struct protocol_request *r)
{
	const char *why = NULL;
	int e = protocol_request_check(r, &why);

	assert_true((e == 0) == (why == NULL));
	return e;
}

static void a_plain_request_is_known(void **state)
{
	struct protocol_request r = request();

	assert_int_equal(check(&r), 0);
	r.flags = PROTOCOL_ALL_THREADS | PROTOCOL_BLOCKING | PROTOCOL_WAIT;
	r.codec = STREAM_ZSTD;
	r.interval_ns = PROTOCOL_MAX_INTERVAL_NS;
	r.duration_ns = PROTOCOL_MAX_DURATION_NS;
	r.chunk_ns = PROTOCOL_MIN_CHUNK_NS;
	r.stop_budget_ppm = 1000000;
	assert_int_equal(check(&r), 0);
	r.command = PROTOCOL_DUMP;
	r.flags = PROTOCOL_FLAGS_ALL;
	assert_int_equal(check(&r), 0);
}

static void another_version_is_told_apart_from_nonsense(void **state)
{
	struct protocol_request r = request();

	r.version++;
	assert_int_equal(check(&r), -EPROTONOSUPPORT);
	r.magic++;
	assert_int_equal(check(&r), -EINVAL);
}

#define REFUSED(change)                                                                            \
	do {                                                                                       \
		struct protocol_request r = request();                                             \
		change;                                                                            \
		assert_int_equal(check(&r), -EINVAL);                                              \
	} while (0)

static void what_is_out_of_range_is_refused(void **state)
{
	REFUSED(r.command = 0);
	REFUSED(r.command = PROTOCOL_COMMAND_END);
	REFUSED(r.flags = PROTOCOL_FLAGS_ALL + 1);
	REFUSED((r.command = PROTOCOL_PROBE, r.flags = PROTOCOL_TASKS_RUNNING));
	REFUSED(r.flags = 1u << 31);
	REFUSED(r.pid = 0);
	REFUSED(r.pid = -1);
	REFUSED(r.codec = 2);
	REFUSED(r.interval_ns = PROTOCOL_MAX_INTERVAL_NS + 1);
	REFUSED(r.duration_ns = PROTOCOL_MAX_DURATION_NS + 1);
	REFUSED(r.chunk_ns = 1);
	REFUSED(r.chunk_ns = PROTOCOL_MAX_CHUNK_NS + 1);
	REFUSED(r.stop_budget_ppm = 1000001);
	REFUSED(r.reserved[0] = 1);
	REFUSED(r.reserved[3] = 1);
	REFUSED(r.parent = -1);
	REFUSED(r.discovery = PROTOCOL_DISCOVERY_END);
	REFUSED(r.mode = MODE_COUNT);
	REFUSED(memset(r.thread, 'x', sizeof(r.thread)));
	REFUSED(memset(r.function, 'x', sizeof(r.function)));
	REFUSED(memset(r.source, 'x', sizeof(r.source)));
}

static void a_replys_text_cannot_reach_a_terminal_raw(void **state)
{
	struct protocol_reply r = {.magic = PROTOCOL_MAGIC, .version = PROTOCOL_VERSION};

	memset(r.text, 'x', sizeof(r.text));
	memcpy(r.text, "a\033[2Jb\rc\n", 9);
	assert_int_equal(protocol_reply_check(&r), 0);
	assert_memory_equal(r.text, "a?[2Jb?c?", 9);
	assert_int_equal(strlen(r.text), sizeof(r.text) - 1);
}

static void nothing_is_kept_behind_the_end_of_a_text(void **state)
{
	struct protocol_reply r = {.magic = PROTOCOL_MAGIC, .version = PROTOCOL_VERSION};

	memcpy(r.text, "ab\0secret", 9);
	assert_int_equal(protocol_reply_check(&r), 0);
	for (size_t i = 2; i < sizeof(r.text); i++)
		assert_int_equal(r.text[i], 0);
}

static void a_reply_with_an_unknown_status_is_refused(void **state)
{
	struct protocol_reply r = {.magic = PROTOCOL_MAGIC, .version = PROTOCOL_VERSION};

	r.status = STATUS_RUN_FAILED + 1;
	assert_int_equal(protocol_reply_check(&r), -EINVAL);
	r.status = 0;
	r.waiting = 2;
	assert_int_equal(protocol_reply_check(&r), -EINVAL);
	r.waiting = 0;
	r.version = 99;
	assert_int_equal(protocol_reply_check(&r), -EPROTONOSUPPORT);
	r.magic = 0;
	assert_int_equal(protocol_reply_check(&r), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_plain_request_is_known),
		cmocka_unit_test(another_version_is_told_apart_from_nonsense),
		cmocka_unit_test(what_is_out_of_range_is_refused),
		cmocka_unit_test(a_replys_text_cannot_reach_a_terminal_raw),
		cmocka_unit_test(nothing_is_kept_behind_the_end_of_a_text),
		cmocka_unit_test(a_reply_with_an_unknown_status_is_refused),
	};

	return cmocka_run_group_tests_name("protocol", tests, NULL, NULL);
}
