#include "remote/state.h"

#include <errno.h>
#include <string.h>

#include "remote/sampler.h"

/* The bit of a thread's status that says whether it may run Python code; ABSENT where it is said
 * elsewhere. */
static int status_bit(const struct layout *l)
{
	if (l->tstate.status == ABSENT)
		return ABSENT;
	return l->free_threaded ? l->tstate.status_active_bit : l->tstate.status_holds_gil_bit;
}

/* One range for the fields of a struct at base; a field that is ABSENT, or too far from those
 * before it, is not read. */
static void plan_words(struct words *w, uint64_t base, const int32_t *fields, int32_t **ret_at,
		       size_t n)
{
	int32_t first = ABSENT, low = 0, high = 0;

	w->len = 0;
	for (size_t i = 0; i < n; i++) {
		*ret_at[i] = ABSENT;
		if (fields[i] == ABSENT)
			continue;
		if (first == ABSENT)
			first = low = high = fields[i];
		if ((fields[i] > high ? fields[i] : high) - (fields[i] < low ? fields[i] : low) >
		    STATE_WORDS_MAX - 8)
			continue;
		low = fields[i] < low ? fields[i] : low;
		high = fields[i] > high ? fields[i] : high;
		*ret_at[i] = fields[i];
	}
	if (first == ABSENT)
		return;
	w->addr = base + (uint64_t)low;
	w->len = (uint32_t)(high - low) + 8;
	for (size_t i = 0; i < n; i++)
		if (*ret_at[i] != ABSENT)
			*ret_at[i] -= low;
}

static void plan_gil(struct state_words *w, const struct target *t,
		     const struct interpreter_info *info)
{
	const struct layout *l = &t->layout;
	int32_t *at[] = {&w->holder_at, &w->locked_at};
	uint64_t base = info->gil ? info->gil : t->runtime;
	/* To 3.11 a thread that changes to another interpreter's state keeps the GIL, and who holds
	 * it is told by the current state, which is none for an instant. */
	const int32_t fields[] = {info->gil ? l->gil.last_holder : l->runtime.tstate_current,
				  info->gil ? l->gil.locked : l->runtime.gil_locked};
	int32_t cond = info->gil ? l->gil.cond : l->runtime.gil_cond;

	w->gil_cond = cond == ABSENT || l->free_threaded ? 0 : base + (uint64_t)cond;
	/* Where a thread says itself whether it holds the GIL, its words are enough. */
	plan_words(&w->gil, base, fields, at,
		   l->free_threaded || l->tstate.holds_gil != ABSENT || status_bit(l) != ABSENT
			   ? 0
			   : 2);
}

void state_words_plan(struct state_words *w, const struct target *t,
		      const struct interpreter_info *info)
{
	const struct layout *l = &t->layout;
	int32_t *at[] = {&w->gc_at, &w->generation_at, &w->gc_frame_at, &w->head_at};
	const int32_t of_runtime[] = {l->runtime.gc_collecting, ABSENT, ABSENT, ABSENT};
	const int32_t of_interp[] = {l->interp.gc_collecting, l->interp.code_object_generation,
				     l->interp.gc_frame, l->interp.threads_head};

	w->holder_at = w->locked_at = ABSENT;
	if (l->interp.gc_collecting == ABSENT)
		plan_words(&w->interp, t->runtime, of_runtime, at, 4);
	else
		plan_words(&w->interp, info->addr, of_interp, at, 4);
	plan_gil(w, t, info);
}

static size_t add_words(struct words *w, struct memory_range *out)
{
	*out = (struct memory_range){.addr = w->addr, .len = w->len, .buf = w->bytes};
	return w->len != 0;
}

size_t state_words_ranges(struct state_words *w, struct memory_range *out)
{
	bool ascending = w->interp.addr < w->gil.addr; /* ranges that are near are read as one */
	size_t n = add_words(ascending ? &w->interp : &w->gil, out);

	return n + add_words(ascending ? &w->gil : &w->interp, out + n);
}

bool state_words_generation(const struct state_words *w, uint64_t *ret)
{
	if (w->generation_at == ABSENT)
		return false;
	memcpy(ret, w->interp.bytes + w->generation_at, 8);
	return true;
}

bool state_words_threads_head(const struct state_words *w, uint64_t *ret)
{
	if (w->head_at == ABSENT)
		return false;
	memcpy(ret, w->interp.bytes + w->head_at, 8);
	return *ret != 0;
}

uint16_t state_of_collector(const struct state_words *w)
{
	int32_t i;

	if (w->gc_at == ABSENT)
		return 0;
	memcpy(&i, w->interp.bytes + w->gc_at, 4);
	return STATE_GC_KNOWN | (i ? STATE_GC : 0);
}

uint16_t state_of_request(int32_t requested)
{
	return STATE_GIL_WAIT_KNOWN | (requested ? STATE_GIL_WAIT : 0);
}

uint16_t state_of(const struct layout *l, const struct state_words *w, const uint8_t *thread_words,
		  uint64_t addr, bool main)
{
	uint16_t state = main ? STATE_MAIN : 0;
	uint64_t word, holder;
	int32_t i, locked;
	uint32_t bits;

	if (l->free_threaded && l->tstate.state != ABSENT) {
		memcpy(&i, thread_words + l->tstate.state, 4);
		state |=
			STATE_GIL_KNOWN | (i == 1 ? STATE_GIL : 0) | (i == 2 ? STATE_SUSPENDED : 0);
	} else if (status_bit(l) != ABSENT) {
		memcpy(&bits, thread_words + l->tstate.status, 4);
		state |= STATE_GIL_KNOWN | (bits >> status_bit(l) & 1 ? STATE_GIL : 0);
	} else if (l->tstate.holds_gil != ABSENT) {
		memcpy(&i, thread_words + l->tstate.holds_gil, 4);
		state |= STATE_GIL_KNOWN | (i ? STATE_GIL : 0);
	} else if (w->holder_at != ABSENT && w->locked_at != ABSENT) {
		memcpy(&holder, w->gil.bytes + w->holder_at, 8);
		memcpy(&locked, w->gil.bytes + w->locked_at, 4);
		state |= STATE_GIL_KNOWN | (locked && holder == addr ? STATE_GIL : 0);
	}
	if (l->tstate.gil_requested != ABSENT && !l->free_threaded) {
		memcpy(&i, thread_words + l->tstate.gil_requested, 4);
		state |= state_of_request(i);
	}
	if (l->tstate.current_exception != ABSENT) {
		memcpy(&word, thread_words + l->tstate.current_exception, 8);
		state |= word ? STATE_EXCEPTION : 0;
	}
	return state | state_of_collector(w);
}

bool state_collects(const struct state_words *w, uint16_t state, uint64_t *ret_frame)
{
	*ret_frame = 0;
	if (!(state & STATE_GC) || !(state & STATE_GIL))
		return false;
	if (w->gc_frame_at != ABSENT) {
		memcpy(ret_frame, w->interp.bytes + w->gc_frame_at, 8);
		/* It is just beginning, or over. */
		return *ret_frame != 0;
	}
	return true;
}

/* ---- exceptions being handled ---- */

enum answer { NO, YES, UNKNOWN };

static uint64_t word_at(const uint8_t *p, int32_t offset)
{
	uint64_t w;

	memcpy(&w, p + offset, 8);
	return w;
}

/* Whether a link's value is an exception: not NULL and not None, which stands there in some
 * versions once something was handled. None is told by the name of its type, and known from then
 * on.
 */
static enum answer is_exception(uint64_t *none, const struct layout *l, struct memory *m,
				uint64_t value)
{
	static const char none_type[] = "NoneType";
	char text[sizeof(none_type)];
	uint64_t type, name;

	if (value == 0 || value == *none)
		return NO;
	if (*none)
		return YES;
	if (value % 8 || MEMORY_READ(m, value + (uint64_t)l->object.ob_type, &type) < 0 ||
	    MEMORY_READ(m, type + (uint64_t)l->type.tp_name, &name) < 0)
		return UNKNOWN;
	/* A name that is shorter may end where nothing is mapped. */
	if (MEMORY_READ(m, name, &text) < 0 || memcmp(text, none_type, sizeof(none_type)) != 0)
		return YES;
	*none = value;
	return NO;
}

/* The links that were seen last, at once, and where the chain begins now. */
static int read_links(struct handling *h, const struct layout *l, struct memory *m, uint64_t addr,
		      uint64_t *ret_first, uint8_t (*ret_items)[HANDLING_ITEM], bool *ret_read)
{
	struct memory_range ranges[HANDLING_MAX + 1];
	uint32_t len = (uint32_t)l->err_stackitem.previous + 8;
	int r;

	for (size_t i = 0; i < h->n; i++)
		ranges[i] =
			(struct memory_range){.addr = h->addrs[i], .len = len, .buf = ret_items[i]};
	ranges[h->n] = (struct memory_range){
		.addr = addr + (uint64_t)l->tstate.exc_info, .len = 8, .buf = ret_first};
	r = memory_gather(m, ranges, h->n + 1);
	if (r < 0 || ranges[h->n].failed)
		return r < 0 ? r : -EFAULT;
	for (size_t i = 0; i < h->n; i++)
		ret_read[i] = !ranges[i].failed;
	return 0;
}

/* Follows the chain through links outside the thread state. */
static enum answer follow(struct handling *h, uint64_t *none, const struct layout *l,
			  struct memory *m, const uint8_t *words, uint64_t addr, uint64_t item)
{
	uint64_t now = 0;
	uint64_t base = l->tstate.exc_state == ABSENT ? 0 : addr + (uint64_t)l->tstate.exc_state;
	uint8_t items[HANDLING_MAX][HANDLING_ITEM];
	bool read[HANDLING_MAX] = {false};

	if (h->n == 0 || h->addrs[0] != item) {
		h->addrs[0] = item;
		h->n = 1;
	}
	if (read_links(h, l, m, addr, &now, items, read) < 0)
		return UNKNOWN;
	for (size_t i = 0; i < HANDLING_MAX; i++) {
		enum answer answer;
		uint64_t previous;

		if (item == base)
			return is_exception(none, l, m, word_at(words, l->tstate.exc_state));
		if (item == 0 || item % 8)
			return UNKNOWN;
		if (i >= h->n || h->addrs[i] != item) {
			h->addrs[i] = item;
			h->n = i + 1;
			read[i] = memory_read(m, item, items[i],
					      (size_t)l->err_stackitem.previous + 8) == 0;
		}
		if (!read[i])
			return UNKNOWN;
		answer = is_exception(none, l, m, word_at(items[i], l->err_stackitem.value));
		if (answer != NO)
			return answer;
		previous = word_at(items[i], l->err_stackitem.previous);
		/* The last link, where only that tells it; else a generator that was left since:
		 * its caller's link is where the chain begins now. */
		if (previous == 0 && base == 0)
			return NO;
		if (previous == 0 && now != item)
			previous = now;
		item = previous;
	}
	return UNKNOWN;
}

/* What the chain says that begins at exc_info. */
static enum answer of_chain(struct handling *h, struct handling_known *known,
			    const struct layout *l, struct memory *m, const uint8_t *words,
			    uint64_t addr)
{
	uint64_t item = word_at(words, l->tstate.exc_info);

	if (l->tstate.exc_state != ABSENT && item == addr + (uint64_t)l->tstate.exc_state)
		return is_exception(&known->none, l, m, word_at(words, l->tstate.exc_state));
	return follow(h, &known->none, l, m, words, addr, item);
}

/* ---- links by the generators on the stack ---- */

/* In a generator its link stands less than this before its frame, and no other's does. */
#define LINK_BEFORE 64

static bool is_generator_type(struct handling_known *known, const struct layout *l,
			      struct memory *m, uint64_t type)
{
	static const char *const names[GENERATOR_TYPES] = {"generator", "coroutine",
							   "async_generator"};
	char text[16];
	uint64_t name;

	for (size_t i = 0; i < GENERATOR_TYPES; i++)
		if (type && known->types[i] == type)
			return true;
	if (type % 8 || MEMORY_READ(m, type + (uint64_t)l->type.tp_name, &name) < 0 ||
	    MEMORY_READ(m, name, &text) < 0)
		return false;
	for (size_t i = 0; i < GENERATOR_TYPES; i++)
		if (memcmp(text, names[i], strlen(names[i]) + 1) == 0) {
			known->types[i] = type;
			return true;
		}
	return false;
}

/* Whether the link is of a generator whose frame is Python's: other compilers have links of their
 * own. */
static bool is_of_generator(struct handling_known *known, const struct layout *l, struct memory *m,
			    uint64_t item, bool links)
{
	uint64_t object = links ? item - (uint64_t)l->gen.exc_state
				: item + known->before - (uint64_t)l->gen.iframe;
	uint64_t type;

	return MEMORY_READ(m, object + (uint64_t)l->object.ob_type, &type) == 0 &&
	       is_generator_type(known, l, m, type);
}

static bool is_on_stack(const struct handling_known *known, uint64_t item,
			const struct generators *on_stack)
{
	for (size_t i = 0; i < on_stack->n; i++)
		if (on_stack->frames[i] == item + known->before)
			return true;
	return false;
}

/* What the link of a generator on the stack says, by both copies of what is before its frame, or to
 * 3.10 of itself. false: it was not copied. */
static bool of_copies(struct handling_known *known, const struct layout *l, struct memory *m,
		      const struct generators *on_stack, size_t i, enum answer *ret)
{
	const uint32_t before = on_stack->links ? 0 : known->before;
	const uint8_t *const *copies = on_stack->copies[i];
	uint64_t a, b;

	if (!copies[0] || before > on_stack->lead)
		return false;
	a = word_at(copies[0] - before, l->err_stackitem.value);
	b = word_at(copies[1] - before, l->err_stackitem.value);
	*ret = a == b ? is_exception(&known->none, l, m, a) : UNKNOWN;
	return true;
}

static enum answer worse(enum answer a, enum answer b)
{
	return a == YES || b == NO ? a : b;
}

/* The links of all generators on the stack, and the last one. Those that were not copied are read
 * now.
 */
static enum answer of_stack(struct handling_known *known, const struct layout *l, struct memory *m,
			    const uint8_t *words, const struct generators *on_stack)
{
	enum answer all = is_exception(&known->none, l, m, word_at(words, l->tstate.exc_state)),
		    one;
	struct memory_range ranges[HANDLING_MAX];
	uint64_t values[HANDLING_MAX];
	size_t n = 0;

	for (size_t i = 0; i < on_stack->n; i++) {
		if (of_copies(known, l, m, on_stack, i, &one)) {
			all = worse(all, one);
			continue;
		}
		ranges[n] = (struct memory_range){.addr = on_stack->frames[i] - known->before +
							  (uint64_t)l->err_stackitem.value,
						  .len = 8,
						  .buf = &values[n]};
		n++;
	}
	if (on_stack->more)
		all = worse(all, UNKNOWN);
	if (all == YES || !n)
		return all;
	if (memory_gather(m, ranges, n) < 0)
		return UNKNOWN;
	for (size_t i = 0; i < n; i++)
		all = worse(all, ranges[i].failed ? UNKNOWN
						  : is_exception(&known->none, l, m, values[i]));
	return all;
}

/* Whether the stack says it better than the chain. A generator's link enters the chain before its
 * frame is on the stack, and leaves it before that or, to 3.11, behind it; one that throws into
 * another has no link at all. followed: the chain was, while the thread stood still. */
static bool ask_stack(struct handling_known *known, const struct layout *l, struct memory *m,
		      uint64_t item, uint64_t base, const struct generators *on_stack,
		      bool followed)
{
	if (!on_stack || !base || (l->gen.iframe == ABSENT && !on_stack->links))
		return false;
	if (!on_stack->links && on_stack->n && on_stack->frames[0] - item < LINK_BEFORE)
		known->before = (uint32_t)(on_stack->frames[0] - item);
	if (!known->before && !on_stack->links)
		return false;
	if (item == base ? on_stack->n == 0
			 : on_stack->n && item + known->before == on_stack->frames[0])
		return !followed;
	return item == base || is_on_stack(known, item, on_stack) ||
	       is_of_generator(known, l, m, item, on_stack->links);
}

static bool tells_handling(const struct layout *l)
{
	return l->tstate.exc_info != ABSENT && l->tstate.current_exception != ABSENT &&
	       l->err_stackitem.previous + 8 <= HANDLING_ITEM;
}

static uint16_t bits_of(enum answer answer)
{
	return answer == UNKNOWN ? 0 : STATE_EXCEPTION_KNOWN | (answer == YES ? STATE_HANDLING : 0);
}

void state_follow(struct handling *h, struct handling_known *known, const struct layout *l,
		  struct memory *m, const uint8_t *thread_words, uint64_t addr)
{
	h->chain = tells_handling(l) ? bits_of(of_chain(h, known, l, m, thread_words, addr)) : 0;
}

uint16_t state_handling(struct handling *h, struct handling_known *known, const struct layout *l,
			struct memory *m, const uint8_t *thread_words, uint64_t addr,
			const struct generators *on_stack, bool followed, bool still)
{
	uint64_t base = l->tstate.exc_state == ABSENT ? 0 : addr + (uint64_t)l->tstate.exc_state;

	if (!tells_handling(l))
		return 0;
	if (still && h->state)
		return h->state;
	if (ask_stack(known, l, m, word_at(thread_words, l->tstate.exc_info), base, on_stack,
		      followed))
		h->state = bits_of(of_stack(known, l, m, thread_words, on_stack));
	else
		h->state =
			followed ? h->chain : bits_of(of_chain(h, known, l, m, thread_words, addr));
	return h->state;
}
