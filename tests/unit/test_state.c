/* What the words of a thread say of it: exceptions in chains that lead through generators, who
 * collects garbage. */
#include "remote/state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "remote/sampler.h"
#include "tests/unit/synthetic.h"

enum { EXC_INFO = 64, EXC_STATE = 80, SIZE = 96 };
#define AT(offset) (SYNTHETIC_BASE + 0x6000u + (offset))
#define NONE	   AT(0x000)
#define ERROR	   AT(0x040)
#define NONE_TYPE  AT(0x080)
#define ERROR_TYPE AT(0x100)
#define ITEM(i)	   AT(0x200 + 16u * (i))

struct fixture {
	struct synthetic s;
	struct handling h;
	struct handling_known known;
};

static void put_type(struct synthetic *s, uint64_t object, uint64_t type, const char *name)
{
	synthetic_put(s, object + (uint64_t)s->target.layout.object.ob_type, type);
	synthetic_put(s, type + (uint64_t)s->target.layout.type.tp_name, type + 0x40);
	memcpy(s->image + (type + 0x40 - SYNTHETIC_BASE), name, strlen(name) + 1);
}

static void begin(struct fixture *f)
{
	struct layout *l = &f->s.target.layout;

	memset(&f->h, 0, sizeof(f->h));
	memset(&f->known, 0, sizeof(f->known));
	synthetic_init(&f->s);
	l->tstate.exc_info = EXC_INFO;
	l->tstate.exc_state = EXC_STATE;
	l->tstate.current_exception = EXC_INFO - 8;
	l->err_stackitem.value = 0;
	l->err_stackitem.previous = 8;
	l->gen.iframe = 72;
	put_type(&f->s, NONE, NONE_TYPE, "NoneType");
	put_type(&f->s, ERROR, ERROR_TYPE, "ValueError");
	synthetic_put(&f->s, f->s.tstate + EXC_INFO, f->s.tstate + EXC_STATE);
	synthetic_put(&f->s, f->s.tstate + EXC_STATE, 0);
	synthetic_put(&f->s, f->s.tstate + EXC_STATE + 8, 0);
}

/* As the words are now, and what they were when `words` is given. */
static uint16_t ask_stack(struct fixture *f, const uint8_t *words,
			  const struct generators *on_stack, bool followed, bool still)
{
	const uint8_t *now = f->s.image + (f->s.tstate - SYNTHETIC_BASE);

	return state_handling(&f->h, &f->known, &f->s.target.layout, f->s.target.memory,
			      words ? words : now, f->s.tstate, on_stack, followed, still);
}

static uint16_t ask_of(struct fixture *f, const uint8_t *words, uint64_t generator, bool still)
{
	const struct generators on_stack = {.frames = {generator}, .n = generator != 0};

	return ask_stack(f, words, &on_stack, false, still);
}

static uint16_t ask(struct fixture *f, const uint8_t *words, bool still)
{
	return ask_stack(f, words, NULL, false, still);
}

static void put_item(struct fixture *f, unsigned i, uint64_t value, uint64_t previous)
{
	synthetic_put(&f->s, ITEM(i), value);
	synthetic_put(&f->s, ITEM(i) + 8, previous);
}

static void none_and_null_are_no_exception(void **state)
{
	struct fixture f;

	begin(&f);
	assert_int_equal(ask(&f, NULL, false), STATE_EXCEPTION_KNOWN);
	synthetic_put(&f.s, f.s.tstate + EXC_STATE, ERROR);
	assert_int_equal(ask(&f, NULL, false), STATE_EXCEPTION_KNOWN | STATE_HANDLING);
	assert_int_equal(f.known.none, 0);
	synthetic_put(&f.s, f.s.tstate + EXC_STATE, NONE);
	assert_int_equal(ask(&f, NULL, false), STATE_EXCEPTION_KNOWN);
	assert_int_equal(f.known.none, NONE);
	synthetic_put(&f.s, f.s.tstate + EXC_STATE, ERROR);
	assert_int_equal(ask(&f, NULL, false), STATE_EXCEPTION_KNOWN | STATE_HANDLING);
	/* What cannot be read is not known, as long as it could be None. */
	f.known.none = 0;
	synthetic_put(&f.s, f.s.tstate + EXC_STATE, 0x8);
	assert_int_equal(ask(&f, NULL, false), 0);
	synthetic_done(&f.s);
}

static void a_thread_that_stands_still_is_not_asked_again(void **state)
{
	struct fixture f;

	begin(&f);
	assert_int_equal(ask(&f, NULL, true), STATE_EXCEPTION_KNOWN);
	synthetic_put(&f.s, f.s.tstate + EXC_STATE, ERROR);
	assert_int_equal(ask(&f, NULL, true), STATE_EXCEPTION_KNOWN);
	assert_int_equal(ask(&f, NULL, false), STATE_EXCEPTION_KNOWN | STATE_HANDLING);
	synthetic_done(&f.s);
}

static void the_chain_is_followed_through_generators(void **state)
{
	struct fixture f;

	begin(&f);
	for (unsigned i = 0; i < 5; i++)
		put_item(&f, i, i % 2 ? 0 : NONE, i == 4 ? f.s.tstate + EXC_STATE : ITEM(i + 1));
	synthetic_put(&f.s, f.s.tstate + EXC_INFO, ITEM(0));
	for (int times = 0; times < 2; times++)
		assert_int_equal(ask(&f, NULL, false), STATE_EXCEPTION_KNOWN);
	assert_int_equal(f.h.n, 5);
	/* Any link tells, also one that was read before, and that at the base. */
	put_item(&f, 3, ERROR, ITEM(4));
	assert_int_equal(ask(&f, NULL, false), STATE_EXCEPTION_KNOWN | STATE_HANDLING);
	put_item(&f, 3, 0, ITEM(4));
	assert_int_equal(ask(&f, NULL, false), STATE_EXCEPTION_KNOWN);
	synthetic_put(&f.s, f.s.tstate + EXC_STATE, ERROR);
	assert_int_equal(ask(&f, NULL, false), STATE_EXCEPTION_KNOWN | STATE_HANDLING);
	/* Where the base is not known, its link ends the chain by having none before. */
	f.s.target.layout.tstate.exc_state = ABSENT;
	assert_int_equal(ask(&f, NULL, false), STATE_EXCEPTION_KNOWN | STATE_HANDLING);
	synthetic_put(&f.s, f.s.tstate + EXC_STATE, 0);
	assert_int_equal(ask(&f, NULL, false), STATE_EXCEPTION_KNOWN);
	synthetic_done(&f.s);
}

static void a_generator_that_was_left_leads_to_where_the_chain_begins_now(void **state)
{
	uint8_t words[SIZE];
	struct fixture f;

	begin(&f);
	put_item(&f, 0, 0, f.s.tstate + EXC_STATE);
	synthetic_put(&f.s, f.s.tstate + EXC_INFO, ITEM(0));
	memcpy(words, f.s.image + (f.s.tstate - SYNTHETIC_BASE), SIZE);
	put_item(&f, 0, 0, 0);
	synthetic_put(&f.s, f.s.tstate + EXC_INFO, f.s.tstate + EXC_STATE);
	assert_int_equal(ask(&f, words, false), STATE_EXCEPTION_KNOWN);
	/* Entered again just now: not known. */
	synthetic_put(&f.s, f.s.tstate + EXC_INFO, ITEM(0));
	assert_int_equal(ask(&f, words, false), 0);
	synthetic_done(&f.s);
}

static void a_generators_frame_without_its_link_has_it_all_the_same(void **state)
{
	struct fixture f;
	uint64_t frame;

	begin(&f);
	frame = ITEM(0) + 40;
	put_item(&f, 0, ERROR, f.s.tstate + EXC_STATE);
	/* How far before the frame it stands is not known yet, and 64 bytes are too far. */
	assert_int_equal(ask_of(&f, NULL, frame, false), STATE_EXCEPTION_KNOWN);
	synthetic_put(&f.s, f.s.tstate + EXC_INFO, ITEM(0));
	assert_int_equal(ask_of(&f, NULL, frame + 24, false),
			 STATE_EXCEPTION_KNOWN | STATE_HANDLING);
	assert_int_equal(f.known.before, 0);
	assert_int_equal(ask_of(&f, NULL, frame, false), STATE_EXCEPTION_KNOWN | STATE_HANDLING);
	assert_int_equal(f.known.before, 40);
	/* Another link than the last is taken as it is: that of a generator of C code, say. */
	put_item(&f, 1, 0, f.s.tstate + EXC_STATE);
	synthetic_put(&f.s, f.s.tstate + EXC_INFO, ITEM(1));
	assert_int_equal(ask_of(&f, NULL, frame + 400, false), STATE_EXCEPTION_KNOWN);
	synthetic_put(&f.s, f.s.tstate + EXC_INFO, f.s.tstate + EXC_STATE);
	assert_int_equal(ask_of(&f, NULL, frame, false), STATE_EXCEPTION_KNOWN | STATE_HANDLING);
	/* It has left its callers by now, and handles it still. */
	put_item(&f, 0, ERROR, 0);
	assert_int_equal(ask_of(&f, NULL, frame, false), STATE_EXCEPTION_KNOWN | STATE_HANDLING);
	assert_int_equal(ask_of(&f, NULL, 0, false), STATE_EXCEPTION_KNOWN);
	synthetic_done(&f.s);
}

/* Generators of which each has its link 32 bytes from its begin, and its frame at 72. */
#define LINK(i)	 ITEM(8 + 8u * (i))
#define FRAME(i) (LINK(i) + 40)
#define TYPE	 AT(0x180)

static void put_generator(struct fixture *f, unsigned i, uint64_t value, uint64_t previous)
{
	put_type(&f->s, LINK(i) - 32, TYPE, "generator");
	synthetic_put(&f->s, LINK(i), value);
	synthetic_put(&f->s, LINK(i) + 8, previous);
}

/* Generator 0 is called by 1, and so on; 3 is not on the stack. */
static void begin_generators(struct fixture *f, struct generators *on_stack)
{
	begin(f);
	put_generator(f, 0, 0, LINK(1));
	put_generator(f, 1, 0, LINK(2));
	put_generator(f, 2, 0, f->s.tstate + EXC_STATE);
	put_generator(f, 3, ERROR, LINK(0));
	*on_stack = (struct generators){.frames = {FRAME(0), FRAME(1), FRAME(2)}, .n = 3};
	synthetic_put(&f->s, f->s.tstate + EXC_INFO, LINK(0));
	assert_int_equal(ask_stack(f, NULL, on_stack, false, false), STATE_EXCEPTION_KNOWN);
	assert_int_equal(f->known.before, 40);
}

static void a_generator_that_yields_to_another_handles_its_exception_still(void **state)
{
	struct generators on_stack;
	struct fixture f;

	begin_generators(&f, &on_stack);
	synthetic_put(&f.s, LINK(0), ERROR);
	synthetic_put(&f.s, LINK(0) + 8, 0);
	synthetic_put(&f.s, f.s.tstate + EXC_INFO, LINK(1));
	assert_int_equal(ask(&f, NULL, false), STATE_EXCEPTION_KNOWN);
	for (int followed = 0; followed < 2; followed++) {
		state_follow(&f.h, &f.known, &f.s.target.layout, f.s.target.memory,
			     f.s.image + (f.s.tstate - SYNTHETIC_BASE), f.s.tstate);
		assert_int_equal(ask_stack(&f, NULL, &on_stack, followed, false),
				 STATE_EXCEPTION_KNOWN | STATE_HANDLING);
	}
	/* And so does one further out, wherever the links lead meanwhile. */
	synthetic_put(&f.s, LINK(0), 0);
	synthetic_put(&f.s, LINK(1) + 8, 0);
	synthetic_put(&f.s, LINK(2), ERROR);
	assert_int_equal(ask(&f, NULL, false), 0);
	assert_int_equal(ask_stack(&f, NULL, &on_stack, false, false),
			 STATE_EXCEPTION_KNOWN | STATE_HANDLING);
	synthetic_put(&f.s, LINK(2), NONE);
	assert_int_equal(ask_stack(&f, NULL, &on_stack, false, false), STATE_EXCEPTION_KNOWN);
	synthetic_put(&f.s, f.s.tstate + EXC_STATE, ERROR);
	assert_int_equal(ask_stack(&f, NULL, &on_stack, false, false),
			 STATE_EXCEPTION_KNOWN | STATE_HANDLING);
	synthetic_done(&f.s);
}

static void a_generator_that_is_not_on_the_stack_handles_nothing(void **state)
{
	struct generators on_stack, none = {.n = 0};
	struct fixture f;

	begin_generators(&f, &on_stack);
	synthetic_put(&f.s, f.s.tstate + EXC_INFO, LINK(3));
	assert_int_equal(ask(&f, NULL, false), STATE_EXCEPTION_KNOWN | STATE_HANDLING);
	assert_int_equal(ask_stack(&f, NULL, &on_stack, false, false), STATE_EXCEPTION_KNOWN);
	synthetic_put(&f.s, LINK(3) + 8, f.s.tstate + EXC_STATE);
	assert_int_equal(ask_stack(&f, NULL, &none, false, false), STATE_EXCEPTION_KNOWN);
	/* Unless the link is of something that has no frame. */
	f.known.types[0] = 0;
	put_type(&f.s, LINK(3) - 32, ERROR_TYPE, "ValueError");
	assert_int_equal(ask_stack(&f, NULL, &on_stack, false, false),
			 STATE_EXCEPTION_KNOWN | STATE_HANDLING);
	synthetic_done(&f.s);
}

static void what_was_followed_while_the_thread_stood_still_counts(void **state)
{
	struct generators on_stack;
	struct fixture f;

	begin_generators(&f, &on_stack);
	synthetic_put(&f.s, LINK(1), ERROR);
	state_follow(&f.h, &f.known, &f.s.target.layout, f.s.target.memory,
		     f.s.image + (f.s.tstate - SYNTHETIC_BASE), f.s.tstate);
	synthetic_put(&f.s, LINK(1), 0);
	assert_int_equal(ask_stack(&f, NULL, &on_stack, true, false),
			 STATE_EXCEPTION_KNOWN | STATE_HANDLING);
	assert_int_equal(ask_stack(&f, NULL, &on_stack, false, false), STATE_EXCEPTION_KNOWN);
	synthetic_done(&f.s);
}

static void links_that_were_copied_with_their_frames_count(void **state)
{
	uint64_t copies[3][2][8] = {{{0}}};
	uint64_t *first = &copies[0][0][3], *second = &copies[0][1][3]; /* 40 before a frame */
	struct generators on_stack;
	struct fixture f;

	begin_generators(&f, &on_stack);
	on_stack.lead = 64;
	for (size_t i = 0; i < 3; i++)
		for (size_t copy = 0; copy < 2; copy++)
			on_stack.copies[i][copy] = (const uint8_t *)&copies[i][copy][8];
	/* Whatever stands there now. */
	synthetic_put(&f.s, LINK(1), ERROR);
	assert_int_equal(ask_stack(&f, NULL, &on_stack, false, false), STATE_EXCEPTION_KNOWN);
	*first = *second = ERROR;
	assert_int_equal(ask_stack(&f, NULL, &on_stack, false, false),
			 STATE_EXCEPTION_KNOWN | STATE_HANDLING);
	*second = 0;
	assert_int_equal(ask_stack(&f, NULL, &on_stack, false, false), 0);
	*first = 0;
	/* What was not copied is read. */
	on_stack.copies[1][0] = NULL;
	assert_int_equal(ask_stack(&f, NULL, &on_stack, false, false),
			 STATE_EXCEPTION_KNOWN | STATE_HANDLING);
	on_stack.copies[1][0] = on_stack.copies[2][0];
	assert_int_equal(ask_stack(&f, NULL, &on_stack, false, false), STATE_EXCEPTION_KNOWN);
	on_stack.lead = 32; /* so many bytes before them were */
	assert_int_equal(ask_stack(&f, NULL, &on_stack, false, false),
			 STATE_EXCEPTION_KNOWN | STATE_HANDLING);
	synthetic_done(&f.s);
}

static void of_more_generators_than_are_looked_at_nothing_is_known(void **state)
{
	struct generators on_stack;
	struct fixture f;

	begin_generators(&f, &on_stack);
	on_stack.more = true;
	assert_int_equal(ask_stack(&f, NULL, &on_stack, false, false), 0);
	synthetic_put(&f.s, LINK(1), ERROR);
	assert_int_equal(ask_stack(&f, NULL, &on_stack, false, false),
			 STATE_EXCEPTION_KNOWN | STATE_HANDLING);
	synthetic_done(&f.s);
	/* Nor of one that cannot be read. */
	begin_generators(&f, &on_stack);
	on_stack.frames[1] = 0xfff0000000000000ull;
	assert_int_equal(ask_stack(&f, NULL, &on_stack, false, false), 0);
	synthetic_done(&f.s);
}

static void chains_that_do_not_hold_are_not_known_and_end(void **state)
{
	struct fixture f;

	begin(&f);
	synthetic_put(&f.s, f.s.tstate + EXC_INFO, 3);
	assert_int_equal(ask(&f, NULL, false), 0);
	synthetic_put(&f.s, f.s.tstate + EXC_INFO, 0);
	assert_int_equal(ask(&f, NULL, false), 0);
	synthetic_put(&f.s, f.s.tstate + EXC_INFO, 0xfff0000000000000ull);
	assert_int_equal(ask(&f, NULL, false), 0);
	put_item(&f, 0, 0, ITEM(1));
	put_item(&f, 1, 0, ITEM(0));
	synthetic_put(&f.s, f.s.tstate + EXC_INFO, ITEM(0));
	assert_int_equal(ask(&f, NULL, false), 0);
	for (unsigned i = 0; i < 100; i++)
		put_item(&f, i, 0, ITEM(i + 1));
	assert_int_equal(ask(&f, NULL, false), 0);
	assert_true(f.h.n <= HANDLING_MAX);
	synthetic_done(&f.s);
}

static void who_holds_the_gil_while_garbage_is_collected_collects_it(void **state)
{
	struct state_words w = {.gc_at = 0, .gc_frame_at = ABSENT};
	const uint16_t both = STATE_GC | STATE_GIL;
	uint64_t frame = 1;

	assert_true(state_collects(&w, both, &frame));
	assert_int_equal(frame, 0);
	assert_false(state_collects(&w, STATE_GC, &frame));
	assert_false(state_collects(&w, STATE_GIL, &frame));
	/* Where the version tells the frame there has to be one. */
	w.gc_frame_at = 8;
	assert_false(state_collects(&w, both, &frame));
	w.interp.bytes[9] = 1;
	assert_true(state_collects(&w, both, &frame));
	assert_int_equal(frame, 0x100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(none_and_null_are_no_exception),
		cmocka_unit_test(a_thread_that_stands_still_is_not_asked_again),
		cmocka_unit_test(the_chain_is_followed_through_generators),
		cmocka_unit_test(a_generator_that_was_left_leads_to_where_the_chain_begins_now),
		cmocka_unit_test(a_generators_frame_without_its_link_has_it_all_the_same),
		cmocka_unit_test(a_generator_that_yields_to_another_handles_its_exception_still),
		cmocka_unit_test(a_generator_that_is_not_on_the_stack_handles_nothing),
		cmocka_unit_test(what_was_followed_while_the_thread_stood_still_counts),
		cmocka_unit_test(links_that_were_copied_with_their_frames_count),
		cmocka_unit_test(of_more_generators_than_are_looked_at_nothing_is_known),
		cmocka_unit_test(chains_that_do_not_hold_are_not_known_and_end),
		cmocka_unit_test(who_holds_the_gil_while_garbage_is_collected_collects_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
