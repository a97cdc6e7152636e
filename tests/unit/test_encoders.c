#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "formats/protobuf.h"
#include "formats/sink.h"
#include "formats/spool.h"

/* What fill writes to a sink, NUL-terminated. */
static char *text_of(void (*fill)(struct sink *s))
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	struct sink *s = sink_new(f);

	assert_non_null(s);
	fill(s);
	assert_int_equal(sink_finish(s, 0), 0);
	fclose(f);
	return text;
}

static void put_numbers(struct sink *s)
{
	sink_unsigned(s, 0);
	sink_byte(s, ' ');
	sink_unsigned(s, UINT64_MAX);
	sink_byte(s, ' ');
	sink_signed(s, INT64_MIN);
	sink_byte(s, ' ');
	sink_decimal(s, 1234567, 6);
	sink_byte(s, ' ');
	sink_decimal(s, 1000000, 6);
	sink_byte(s, ' ');
	sink_decimal(s, 1000, 6);
	sink_byte(s, ' ');
	sink_decimal(s, UINT64_MAX, 3);
	sink_byte(s, ' ');
	sink_decimal(s, 50, 9);
}

static void numbers_are_short(void **state)
{
	char *text = text_of(put_numbers);

	assert_string_equal(text, "0 18446744073709551615 -9223372036854775808 1.234567 1 0.001 "
				  "18446744073709551.615 0.00000005");
	free(text);
}

static void put_strings(struct sink *s)
{
	static const char hostile[] = "a\"b\\c\n\t\x1b\x7f</script>\xff\xed\xa0\x80\xe2\x82\xac\0z";

	sink_json(s, hostile, sizeof(hostile) - 1);
	sink_json(s, "", 0);
	sink_json(s, NULL, 0);
}

static void strings_are_json(void **state)
{
	char *text = text_of(put_strings);

	assert_string_equal(text,
			    "\"a\\\"b\\\\c\\u000a\\u0009\\u001b\\u007f</script>\xef\xbf\xbd"
			    "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xe2\x82\xac\\u0000z\"\"\"\"\"");
	free(text);
}

static void put_much(struct sink *s)
{
	char block[1000];

	memset(block, 'x', sizeof(block));
	for (int i = 0; i < 200; i++) {
		sink_put(s, block, sizeof(block));
		sink_unsigned(s, (uint64_t)i);
		sink_byte(s, '\n');
	}
}

static void what_is_gathered_arrives_whole(void **state)
{
	char *text = text_of(put_much), *at = text;

	for (int i = 0; i < 200; i++) {
		assert_int_equal(strspn(at, "x"), 1000);
		assert_int_equal(strtol(at + 1000, &at, 10), i);
		assert_int_equal(*at++, '\n');
	}
	assert_int_equal(*at, '\0');
	free(text);
}

static void the_first_error_of_writing_is_kept(void **state)
{
	FILE *f = fopen("/dev/full", "w");
	struct sink *s = sink_new(f);

	setvbuf(f, NULL, _IONBF, 0);
	put_much(s);
	assert_int_equal(s->error, -ENOSPC);
	assert_int_equal(sink_finish(s, 0), -ENOSPC);
	s = sink_new(f);
	assert_int_equal(sink_finish(s, -ENODATA), -ENODATA);
	assert_int_equal(sink_finish(NULL, 0), -ENOMEM);
	fclose(f);
}

static void messages_are_as_the_encoding_has_them(void **state)
{
	static const uint64_t values[] = {3, 270, 86942};
	/* The examples of the encoding's description. */
	static const uint8_t expected[] = {0x08, 0x96, 0x01, 0x12, 0x07, 't',  'e',  's',
					   't',	 'i',  'n',  'g',  0x32, 0x06, 0x03, 0x8e,
					   0x02, 0x9e, 0xa7, 0x05, 0x38, 0x01, 0x42, 0x00};
	struct bytes b = {0};

	protobuf_varint(&b, 1, 150);
	protobuf_varint(&b, 5, 0);
	protobuf_bytes(&b, 2, "testing", 7);
	protobuf_packed(&b, 6, values, 3);
	protobuf_packed(&b, 6, values, 0);
	protobuf_bool(&b, 7, true);
	protobuf_bool(&b, 7, false);
	protobuf_bytes(&b, 8, NULL, 0);
	assert_int_equal(b.len, sizeof(expected));
	assert_memory_equal(b.data, expected, sizeof(expected));
	bytes_done(&b);
}

struct record {
	uint64_t list, number;
	uint32_t pad;
};

struct seen {
	uint64_t list, next;
};

static int see(void *arg, const void *records, size_t n)
{
	struct seen *seen = arg;
	const struct record *r = records;

	for (size_t i = 0; i < n; i++) {
		assert_int_equal(r[i].list, seen->list);
		assert_int_equal(r[i].number, seen->next++);
	}
	return 0;
}

static int stop(void *arg, const void *records, size_t n)
{
	return 7;
}

#define LISTS 5

static void fill_spool(struct spool *s, uint64_t n)
{
	uint64_t count[LISTS] = {0};

	/* The higher a list the longer it is; the first one stays empty. */
	for (uint64_t i = 0; i < n; i++)
		for (uint32_t list = 1; list < LISTS; list++) {
			struct record r = {list, count[list], 0};

			if (i % (LISTS - list) || (list == 1 && i > 20))
				continue;
			assert_int_equal(spool_add(s, list, &r), 0);
			count[list]++;
		}
	for (uint32_t list = 0; list < LISTS; list++) {
		struct seen seen = {.list = list};

		assert_int_equal(spool_count(s, list), count[list]);
		/* As often as one likes. */
		for (int again = 0; again < 2; again++) {
			seen.next = 0;
			assert_int_equal(spool_each(s, list, see, &seen), 0);
			assert_int_equal(seen.next, count[list]);
		}
	}
}

static void lists_come_back_in_their_order(void **state)
{
	struct spool *s;

	assert_int_equal(spool_new(&s, sizeof(struct record), LISTS, NULL), 0);
	fill_spool(s, 50000);
	assert_int_equal(spool_each(s, LISTS - 1, stop, NULL), 7);
	spool_clear(s);
	fill_spool(s, 3000);
	spool_free(s);
	spool_free(NULL);
}

static FILE *no_file(void)
{
	errno = EACCES;
	return NULL;
}

static FILE *full_file(void)
{
	return fopen("/dev/full", "r+");
}

static void a_file_that_fails_is_an_error(void **state)
{
	struct record r = {0};
	struct spool *s;
	int e = 0;

	assert_int_equal(spool_new(&s, sizeof(r), 1, no_file), -EACCES);
	assert_int_equal(spool_new(&s, sizeof(r), 1, full_file), 0);
	for (int i = 0; i < 10000 && e == 0; i++)
		e = spool_add(s, 0, &r);
	assert_int_equal(e, -ENOSPC);
	spool_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_are_short),
		cmocka_unit_test(strings_are_json),
		cmocka_unit_test(what_is_gathered_arrives_whole),
		cmocka_unit_test(the_first_error_of_writing_is_kept),
		cmocka_unit_test(messages_are_as_the_encoding_has_them),
		cmocka_unit_test(lists_come_back_in_their_order),
		cmocka_unit_test(a_file_that_fails_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
