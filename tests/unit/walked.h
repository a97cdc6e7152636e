/* A thread of the synthetic target and what walks its stack: a gather in two halves, between which
 * a test may change the target. */
#ifndef PYPROF_TESTS_WALKED_H
#define PYPROF_TESTS_WALKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "remote/frame.h"
#include "tests/unit/synthetic.h"

struct walked {
	struct synthetic s;
	struct walk_context c;
	struct walker *w;
	struct memory_range ranges[256];
	size_t n, middle; /* ranges before middle are copy A and the words */
};

void walked_begin(struct walked *f);
void walked_end(struct walked *f);

/* Names from the base on, separated by blanks; good until the next call. */
const char *walked_names(const struct walked *f, uint32_t stack);

/* The first half of a gather: copy A and the words, as the target is now. */
void walked_first_half(struct walked *f);
/* The second one, and the walk. */
enum walk_result walked_second_half(struct walked *f, uint32_t *ret_stack, bool *ret_repeat);

/* Plans, and gets to know the code objects. */
void walked_plan(struct walked *f);

/* function_0, which called function_1, which called function_2. */
void walked_call_three(struct walked *f);

#endif
