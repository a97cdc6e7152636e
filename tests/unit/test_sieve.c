/* What of a session is written when only a part is asked for. */
#include "daemon/sieve.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "formats/stream-select.h"

struct fixture {
	struct tables *t;
	struct sieve *v;
	struct protocol_request q;
	uint32_t threads[2], stacks[3]; /* a; a b; c */
};

static uint32_t put_string(struct tables *t, const char *text)
{
	return tables_string(t, text, (uint32_t)strlen(text));
}

static uint32_t put_stack(struct fixture *f, uint32_t parent, const char *name)
{
	struct table_function fn = {.name = put_string(f->t, name),
				    .file = put_string(f->t, "/x/module.py")};
	struct table_frame frame = {.function = tables_function(f->t, &fn)};

	return tables_stack(f->t, parent, tables_frame(f->t, &frame));
}

static void begin(struct fixture *f)
{
	memset(f, 0, sizeof(*f));
	assert_int_equal(tables_new(&f->t), 0);
	for (unsigned i = 0; i < 2; i++) {
		struct table_thread th = {.tid = 10 + i,
					  .name = put_string(f->t, i ? "worker" : "main")};

		f->threads[i] = tables_thread(f->t, &th);
	}
	f->stacks[0] = put_stack(f, 0, "a");
	f->stacks[1] = put_stack(f, f->stacks[0], "b");
	f->stacks[2] = put_stack(f, 0, "c");
	protocol_request_init(&f->q, PROTOCOL_RECORD, 1);
}

static void end(struct fixture *f)
{
	sieve_free(f->v);
	tables_free(f->t);
}

/* "b" before it and it, "y" it alone, "n" neither. */
static char put(struct fixture *f, uint64_t time, unsigned thread, unsigned stack, uint16_t state)
{
	const struct sample s = {.time_ns = time,
				 .thread = f->threads[thread],
				 .stack = f->stacks[stack],
				 .state = state};
	const struct sample *before;

	if (!sieve_takes(f->v, f->t, &s, &before))
		return 'n';
	if (before) {
		assert_int_equal(before->thread, s.thread);
		assert_true(before->time_ns < s.time_ns);
	}
	return before ? 'b' : 'y';
}

static void everything_needs_no_sieve(void **state)
{
	struct fixture f;

	begin(&f);
	assert_int_equal(sieve_new(&f.v, &f.q), 0);
	assert_null(f.v);
	f.q.mode = MODE_WALL;
	assert_int_equal(sieve_new(&f.v, &f.q), 0);
	assert_null(f.v);
	end(&f);
}

static void a_mode_keeps_its_samples_and_the_one_before_a_run(void **state)
{
	const uint16_t with = STATE_GIL_KNOWN | STATE_GIL, without = STATE_GIL_KNOWN;
	struct fixture f;

	begin(&f);
	f.q.mode = MODE_GIL;
	assert_int_equal(sieve_new(&f.v, &f.q), 0);
	assert_int_equal(put(&f, 1, 0, 0, with), 'y');
	assert_int_equal(put(&f, 2, 0, 0, without), 'n');
	assert_int_equal(put(&f, 3, 0, 0, without), 'n');
	assert_int_equal(put(&f, 3, 1, 0, with), 'y');
	assert_int_equal(put(&f, 4, 0, 0, with), 'b');
	assert_int_equal(put(&f, 5, 0, 0, with), 'y');
	/* What does not tell is for the reader to judge. */
	assert_int_equal(put(&f, 6, 0, 0, 0), 'y');
	end(&f);
}

static void a_selection_keeps_threads_and_stacks(void **state)
{
	struct fixture f;

	begin(&f);
	snprintf(f.q.thread, sizeof(f.q.thread), "work*");
	snprintf(f.q.function, sizeof(f.q.function), "a");
	assert_int_equal(sieve_new(&f.v, &f.q), 0);
	assert_int_equal(put(&f, 1, 0, 0, 0), 'n');
	assert_int_equal(put(&f, 1, 1, 1, 0), 'y');
	assert_int_equal(put(&f, 2, 1, 2, 0), 'n');
	assert_int_equal(put(&f, 3, 1, 0, 0), 'b');
	assert_int_equal(put(&f, 4, 0, 1, 0), 'n');
	/* New tables: what was known of ids is not. */
	sieve_forget(f.v);
	f.threads[0] = f.threads[1];
	assert_int_equal(put(&f, 5, 0, 1, 0), 'y');
	end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_needs_no_sieve),
		cmocka_unit_test(a_mode_keeps_its_samples_and_the_one_before_a_run),
		cmocka_unit_test(a_selection_keeps_threads_and_stacks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
