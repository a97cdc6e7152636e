#include "remote/frame-parts.h"
#include "remote/sampler.h"
#include "remote/state.h"

/* To 3.10 a frame names its generator itself. Links are copied from the next gather on. */
static void links_of_frames(struct walker *w, struct generators *ret)
{
	const struct layout *l = w->layout;
	const uint32_t len = (uint32_t)l->err_stackitem.value + 8;

	ret->links = true;
	for (size_t i = w->n_known; i-- > 0;) {
		const struct known *k = &w->known[i];
		uint64_t generator = word_at(w->windows.once ? k->a : k->b, l->frame.generator);
		struct copied c;

		if (!generator)
			continue;
		ret->more = ret->n == HANDLING_MAX;
		if (ret->more)
			return;
		generator += (uint64_t)l->gen.exc_state;
		ret->copies[ret->n][0] = NULL;
		if (windows_find(&w->windows, generator, len, &c)) {
			ret->copies[ret->n][0] = c.a;
			ret->copies[ret->n][1] = w->windows.once ? c.a : c.b;
		} else if (generator % 8 == 0) {
			(void)windows_add(&w->windows, generator, len, true);
		}
		ret->frames[ret->n++] = generator;
	}
}

void walker_generators(struct walker *w, struct generators *ret)
{
	uint64_t generator = 0;

	ret->n = ret->lead = 0;
	ret->more = ret->links = false;
	if (w->layout->frame.generator != ABSENT) {
		links_of_frames(w, ret);
		return;
	}
	ret->lead = w->windows.lead;
	for (size_t i = w->n_known; i-- > 0 && w->known[i].generator;) {
		const struct known *k = &w->known[i];

		if (k->generator != generator) {
			ret->more = ret->n == HANDLING_MAX;
			if (ret->more)
				return;
			ret->copies[ret->n][0] = NULL;
			ret->frames[ret->n++] = generator = k->generator;
		}
		if (k->addr == generator && !k->in_chunk) {
			ret->copies[ret->n - 1][0] = k->a;
			ret->copies[ret->n - 1][1] = w->windows.once ? k->a : k->b;
		}
	}
}

uint64_t walker_c_stack(const struct walker *w)
{
	if (w->layout->tstate.cframe != ABSENT)
		return word_at(w->windows.words, w->layout->tstate.cframe);
	for (size_t i = w->n_known; i-- > 0;)
		if (w->known[i].hidden && !w->known[i].in_chunk)
			return w->known[i].addr;
	return 0;
}

bool walker_has_frames(const struct walker *w)
{
	return w->n_known != 0;
}

/* The frames of stack that stand above below, put on onto. A <native> that GC calls from is GC. */
static uint32_t put_above(struct walk_context *c, uint32_t stack, uint32_t below, uint32_t onto)
{
	uint32_t path[2 * SAMPLER_MAX_DEPTH];
	size_t n = 0;

	for (; stack && stack != below;
	     path[n++] = stack, stack = tables_get_stack(c->tables, stack)->parent)
		if (n == sizeof(path) / sizeof(path[0]))
			return 0;
	if (stack != below)
		return 0;
	for (bool first = true; n && onto; first = false) {
		uint32_t frame = tables_get_stack(c->tables, path[--n])->frame;

		if (!first || frame != c->native_frame)
			onto = tables_stack(c->tables, onto, frame);
	}
	return onto;
}

uint32_t walker_with_gc(struct walker *w, struct walk_context *c, uint64_t at, uint32_t stack)
{
	uint32_t frame = walk_special_frame(c, &c->gc_frame, "<GC>", FRAME_GC), below = stack, with;

	if (at) {
		size_t i = w->n_known;

		while (i > 0 && w->known[i - 1].addr != at)
			i--;
		if (i == 0)
			return stack;
		below = w->known[i - 1].stack;
	}
	with = frame && below ? tables_stack(c->tables, below, frame) : 0;
	with = with ? put_above(c, stack, below, with) : 0;
	return with ? with : stack;
}

/* The stack below frame i of the last walk: false where there is no saying where it would stand,
 * since it is not shown. */
static bool callers_of(const struct walker *w, const struct walk_context *c, size_t i,
		       uint32_t *ret_callers)
{
	const struct table_stack *s =
		w->known[i].hidden ? NULL : tables_get_stack(c->tables, w->known[i].stack);

	if (s)
		*ret_callers = s->parent;
	return s != NULL;
}

/* Frame addr among the first n of the last walk: its place + 1; 0 it is not. */
static size_t place_of(const struct walker *w, size_t n, uint64_t addr)
{
	while (n > 0 && w->known[n - 1].addr != addr)
		n--;
	return n;
}

/* Whether one of the first n frames of the last walk is of a generator or coroutine. */
static bool coroutine_among(const struct walker *w, struct walk_context *c, size_t n)
{
	int error;

	if (w->layout->frame.owner != ABSENT)
		return n && w->known[n - 1].generator;
	for (; n > 0; n--) {
		const struct code *code = walker_code(w, c, w->known[n - 1].code, &error);

		if (code && code->generator)
			return true;
	}
	return false;
}

bool walker_has(const struct walker *w, const struct walk_context *c, uint64_t addr,
		uint32_t *ret_callers)
{
	size_t place = place_of(w, w->n_known, addr);

	return place && callers_of(w, c, place - 1, ret_callers);
}

bool walker_has_coroutine(const struct walker *w, struct walk_context *c)
{
	return coroutine_among(w, c, w->n_known);
}

uint32_t walker_prefix_callers(const struct walker *w)
{
	return w->prefix.stack;
}

bool walker_prefix_has(const struct walker *w, struct walk_context *c, uint64_t addr,
		       uint32_t *ret_callers)
{
	size_t place = place_of(w, w->prefix.n, addr);

	if (w->prefix.above && w->fresh[0].addr == addr) {
		*ret_callers = w->known[w->prefix.n - 1].stack;
		return true;
	}
	return place && callers_of(w, c, place - 1, ret_callers);
}

bool walker_prefix_has_coroutine(const struct walker *w, struct walk_context *c)
{
	const struct code *code;
	int error;

	if (coroutine_among(w, c, w->prefix.n))
		return true;
	code = w->prefix.above ? walker_code(w, c, w->fresh[0].code, &error) : NULL;
	return code && code->generator;
}

uint64_t walker_generator(const struct walker *w, bool prefix, uint64_t inside)
{
	const struct fresh *above = prefix && w->prefix.above ? &w->fresh[0] : NULL;
	size_t n = prefix ? w->prefix.n : w->n_known;

	if (above && above->generator && !inside)
		return above->addr;
	if (inside && !(above && above->addr == inside)) {
		n = place_of(w, n, inside);
		n -= n > 0;
	}
	return n ? w->known[n - 1].generator : 0;
}

bool walker_nests(const struct walker *w, struct walk_context *c, bool prefix, uint64_t addr)
{
	size_t n = prefix ? w->prefix.n : w->n_known, place = place_of(w, n, addr);
	bool awaited = true;
	int error;

	for (size_t i = place; place && i < n; i++) {
		const struct known *k = &w->known[i];
		const struct code *code;

		if (k->hidden)
			continue;
		if (k->generator != k->addr) {
			awaited = false;
			continue;
		}
		code = awaited ? NULL : walker_code(w, c, k->code, &error);
		if (!awaited && (!code || code->coroutine))
			return true;
		awaited = true;
	}
	return false;
}
