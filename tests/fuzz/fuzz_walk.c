/* A target whose memory is hostile: a made-up process with any of its words overwritten, walked,
 * listed and named. */
#include <string.h>

#include "remote/frame.h"
#include "remote/object.h"
#include "remote/thread.h"
#include "tests/unit/synthetic.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct synthetic s;
	struct walk_context c = {.target = &s.target};
	struct memory_range ranges[2048];
	struct interpreter_info interps[4];
	struct thread_info threads[16];
	struct walker *w;
	uint32_t stack;
	bool repeat;
	char text[256];

	synthetic_init(&s);
	synthetic_push(&s, 0, 0);
	synthetic_push(&s, 1, 3);
	synthetic_push(&s, 2, 4);
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
		if (walker_range_count(w) <= 2048) {
			size_t n = walker_ranges(w, ranges, true);

			c.gather = ++c.gathers - (data[at] & 1);
			memory_gather(s.target.memory, ranges, n);
			if (walker_walk(w, &c, ranges, &stack, &repeat) != WALK_OK)
				walker_prefix(w, &c);
		}
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
