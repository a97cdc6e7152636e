/* A target whose memory is hostile: a made-up process with any of its words overwritten, walked,
 * listed and named, and asked for the exceptions that its generators handle. */
#include <string.h>

#include "remote/frame.h"
#include "remote/object.h"
#include "remote/state.h"
#include "remote/thread.h"
#include "tests/unit/synthetic.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The leaf is a generator's. As from 3.11 on its link is before its frame, or as to 3.10 it is
 * named by the frame. */
static void add_exceptions(struct synthetic *s, bool named)
{
	struct layout *l = &s->target.layout;
	const uint64_t generator = s->generator_frame - (uint64_t)l->gen.iframe;

	l->tstate.exc_info = 64;
	l->tstate.current_exception = 72;
	l->tstate.exc_state = 80;
	l->tstate.size = 96;
	l->err_stackitem.value = 0;
	l->err_stackitem.previous = 8;
	l->frame.generator = named ? 32 : ABSENT;
	l->gen.exc_state = named ? 16 : ABSENT;
	synthetic_put(s, s->generator_frame, s->codes[4]);
	synthetic_put(s, s->generator_frame + 8, s->leaf);
	synthetic_put(s, s->generator_frame + 16, s->codes[4] + 96);
	synthetic_put(s, s->generator_frame + 24, 1);
	synthetic_put(s, s->generator_frame + 32, generator);
	synthetic_put(s, s->tstate + 24, s->generator_frame);
	synthetic_put(s, s->tstate + 64, generator + 16);
	synthetic_put(s, generator + 24, s->tstate + 80);
}

static void look(struct synthetic *s, struct walker *w, struct walk_context *c, uint8_t how)
{
	static struct memory_range ranges[2048];
	struct handling_known known = {0};
	struct handling handling = {0};
	enum walk_result r = WALK_MISS;
	struct generators generators;
	uint32_t stack;
	bool repeat;

	/* A code object is only known from the second on. */
	for (int i = 0; i < 2 && r == WALK_MISS && walker_range_count(w) <= 2048; i++) {
		size_t n = walker_ranges(w, ranges, true);

		c->gather = ++c->gathers - (how & 1);
		memory_gather(s->target.memory, ranges, n);
		r = walker_walk(w, c, ranges, &stack, &repeat);
	}
	if (r != WALK_OK) {
		walker_prefix(w, c);
		return;
	}
	walker_generators(w, &generators);
	state_handling(&handling, &known, &s->target.layout, s->target.memory, walker_words(w),
		       s->tstate, &generators, how & 2, false);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct synthetic s;
	struct walk_context c = {.target = &s.target};
	struct interpreter_info interps[4];
	struct thread_info threads[16];
	struct walker *w;
	char text[256];

	synthetic_init(&s);
	synthetic_push(&s, 0, 0);
	synthetic_push(&s, 1, 3);
	synthetic_push(&s, 2, 4);
	if (size && data[0] & 4)
		add_exceptions(&s, data[0] & 8);
	if (tables_new(&c.tables) < 0 ||
	    code_cache_new(&c.codes, s.target.memory, &s.target.layout, c.tables) < 0 ||
	    walker_new(&w, &s.target, s.tstate, 77, s.interp) < 0)
		return 0;
	/* Ten bytes each: where, and what, before one of four looks. */
	for (size_t at = 0; at + 10 <= size; at += 10) {
		uint64_t word;
		uint16_t where;

		memcpy(&where, data + at, 2);
		memcpy(&word, data + at + 2, 8);
		where = (uint16_t)(where % (SYNTHETIC_SIZE - 8));
		/* Words that point into the image reach further than random ones. */
		if (word >> 62 == 1)
			word = SYNTHETIC_BASE + word % SYNTHETIC_SIZE;
		synthetic_put(&s, SYNTHETIC_BASE + where, word);
		if (at % 40 != 0)
			continue;
		c.stamp++;
		if (walker_plan(w, s.target.memory) != WALK_OK)
			walker_prefix(w, &c);
		look(&s, w, &c, data[at]);
	}
	if (interpreter_list(&s.target, interps, 4) > 0)
		thread_list(&s.target, &interps[0], threads, 16);
	object_read_string(s.target.memory, &s.target.layout, SYNTHETIC_BASE + 0x200, text,
			   sizeof(text));
	walker_free(w);
	code_cache_free(c.codes);
	tables_free(c.tables);
	synthetic_done(&s);
	return 0;
}
