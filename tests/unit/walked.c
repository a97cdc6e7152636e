#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/walked.h"

void walked_begin(struct walked *f)
{
	synthetic_init(&f->s);
	memset(&f->c, 0, sizeof(f->c));
	f->c.target = &f->s.target;
	assert_int_equal(tables_new(&f->c.tables), 0);
	assert_int_equal(
		code_cache_new(&f->c.codes, f->s.target.memory, &f->s.target.layout, f->c.tables),
		0);
	assert_int_equal(walker_new(&f->w, &f->s.target, f->s.tstate, 77, f->s.interp), 0);
}

void walked_end(struct walked *f)
{
	walker_free(f->w);
	code_cache_free(f->c.codes);
	tables_free(f->c.tables);
	synthetic_done(&f->s);
}

const char *walked_names(const struct walked *f, uint32_t stack)
{
	static char text[4096];
	const struct table_string *found[128];
	size_t n = 0;

	text[0] = 0;
	for (; stack && n < 128; n++) {
		const struct table_stack *st = tables_get_stack(f->c.tables, stack);
		const struct table_frame *fr = tables_get_frame(f->c.tables, st->frame);
		const struct table_function *fn = tables_get_function(f->c.tables, fr->function);

		found[n] = tables_get_string(f->c.tables, fn->name);
		stack = st->parent;
	}
	while (n-- > 0)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%.*s",
			 *text ? " " : "", (int)found[n]->len, found[n]->bytes);
	return text;
}

void walked_first_half(struct walked *f)
{
	struct memory_range once[128];

	f->middle = walker_ranges(f->w, once, false);
	f->n = walker_ranges(f->w, f->ranges, true);
	f->c.gather = ++f->c.gathers;
	assert_int_equal(memory_gather(f->s.target.memory, f->ranges, f->middle), 0);
}

enum walk_result walked_second_half(struct walked *f, uint32_t *ret_stack, bool *ret_repeat)
{
	assert_int_equal(memory_gather(f->s.target.memory, f->ranges + f->middle, f->n - f->middle),
			 0);
	return walker_walk(f->w, &f->c, f->ranges, ret_stack, ret_repeat);
}

void walked_plan(struct walked *f)
{
	uint32_t stack;
	bool repeat;

	assert_int_equal(walker_plan(f->w, f->s.target.memory), WALK_OK);
	walked_first_half(f);
	walked_second_half(f, &stack, &repeat);
}

void walked_call_three(struct walked *f)
{
	synthetic_push(&f->s, 0, 0);
	synthetic_push(&f->s, 1, 3);
	synthetic_push(&f->s, 2, 4);
}
