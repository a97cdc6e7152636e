#include <errno.h>
#include <string.h>
#include <time.h>

#include "remote/clock.h"
#include "remote/frame-parts.h"
#include "remote/sampler.h"

#define CODE_LATE_NS	100000u
#define OPCODES_AT_ONCE 64

/* Code objects that the stamp says may have been replaced, to be checked together. */
struct suspects {
	struct code *codes[CODE_CHECK_MAX];
	size_t n;
	bool replaced; /* some were, and are dropped, or could not be checked */
};

/* Whether we were kept from checking for so long that a code object may have been replaced by
 * another, and that again by one like the first; in a target where none was replaced yet, none is
 * twice. */
static bool is_late(const struct walk_context *c)
{
	return c->gathered_ns && code_cache_replaced(c->codes) != 0 &&
	       clock_now_ns() - c->gathered_ns > CODE_LATE_NS;
}

static void check_suspects(struct walk_context *c, struct suspects *s)
{
	if (s->n && (code_cache_check(c->codes, s->codes, s->n, c->stamp) != 0 || is_late(c)))
		s->replaced = true;
	s->n = 0;
}

static void suspect(struct walk_context *c, struct suspects *s, struct code *code)
{
	if (code->checked && code->stamp == c->stamp)
		return;
	for (size_t i = 0; i < s->n; i++)
		if (s->codes[i] == code)
			return;
	s->codes[s->n++] = code;
	if (s->n == CODE_CHECK_MAX)
		check_suspects(c, s);
}

struct code *walker_code(const struct walker *w, struct walk_context *c, uint64_t word,
			 int *ret_error)
{
	return code_cache_get(c->codes, word & w->layout->frame.executable_mask, c->gathers,
			      ret_error);
}

/* Whether the code objects of n fresh frames are known to have been what they are when the frames
 * were copied. */
enum walk_result walker_check_fresh(struct walker *w, struct walk_context *c, size_t n)
{
	struct suspects s = {.n = 0};
	bool unknown = false;
	int error = 0;

	for (size_t i = 0; i < n; i++) {
		struct code *code;

		if (w->fresh[i].hidden)
			continue;
		code = walker_code(w, c, w->fresh[i].code, &error);
		if (!code)
			return error == -ENOMEM ? WALK_MEMORY : WALK_TORN;
		unknown |= code->since >= c->gather;
		suspect(c, &s, code);
	}
	check_suspects(c, &s);
	/* Those that were replaced are read now, and like others that were not known before count
	 * from the next gather on. */
	for (size_t i = 0; s.replaced && i < n; i++)
		if (!w->fresh[i].hidden)
			walker_code(w, c, w->fresh[i].code, &error);
	return unknown || s.replaced ? WALK_MISS : WALK_OK;
}

/* The same for the first n frames of the last walk, whose words are unchanged: others may have come
 * to stand at the same addresses. Then nothing is known any more. */
enum walk_result walker_check_known(struct walker *w, struct walk_context *c, size_t n)
{
	struct suspects s = {.n = 0};
	int error = 0;

	if (w->codes_stamp == c->stamp)
		return WALK_OK;
	for (size_t i = 0; i < n; i++) {
		struct code *code;

		if (w->known[i].hidden)
			continue;
		code = walker_code(w, c, w->known[i].code, &error);
		if (code && code->serial == w->known[i].serial)
			suspect(c, &s, code);
		else
			s.replaced = true;
	}
	check_suspects(c, &s);
	if (!s.replaced)
		return WALK_OK;
	for (size_t i = 0; i < n; i++)
		if (!w->known[i].hidden)
			walker_code(w, c, w->known[i].code, &error);
	walker_forget(w);
	return WALK_MISS;
}

/* ---- ids ---- */

/* The address of instruction 0 of the copy of the bytecode that a frame runs. */
static uint64_t bytecode_start(struct walk_context *c, const struct layout *l,
			       const struct code *code, const uint8_t *frame)
{
	int32_t index;
	uint64_t start;

	if (!code->tlbc || l->frame.tlbc_index == ABSENT)
		return code->start;
	memcpy(&index, frame + l->frame.tlbc_index, 4);
	/* _PyCodeArray: a size, then a pointer for each thread-local index; 0 is the code itself.
	 */
	if (index <= 0 || index > SAMPLER_MAX_THREADS ||
	    MEMORY_READ(c->target->memory, code->tlbc + 8 + (uint64_t)index * 8, &start) < 0)
		return code->start;
	return start;
}

uint32_t walk_special_frame(struct walk_context *c, uint32_t *id, const char *name,
			    enum frame_kind kind)
{
	struct table_function fn = {.kind = kind};
	struct table_frame f = {.line = -1, .end_line = -1, .column = -1, .end_column = -1};

	if (*id)
		return *id;
	fn.name = tables_string(c->tables, name, (uint32_t)strlen(name));
	f.function = fn.name ? tables_function(c->tables, &fn) : 0;
	*id = f.function ? tables_frame(c->tables, &f) : 0;
	return *id;
}

/* The stack of callers with a <native> frame: C code that they called, which calls Python. The
 * outermost C code, which starts a thread, is not shown. */
static uint32_t native_above(struct walk_context *c, uint32_t callers)
{
	const struct table_stack *top = tables_get_stack(c->tables, callers);
	uint32_t frame, stack;

	if (!top)
		return 0;
	frame = walk_special_frame(c, &c->native_frame, "<native>", FRAME_NATIVE);
	if (!frame || top->frame == frame)
		return callers;
	stack = tables_stack(c->tables, callers, frame);
	return stack ? stack : callers;
}

/* Where a frame stands in its code, in bytes. */
static int64_t byte_offset(struct walk_context *c, const struct layout *l, const struct code *code,
			   uint64_t ip, const uint8_t *frame)
{
	if (l->frame_style == FRAME_STYLE_OBJECT)
		return (int64_t)ip * l->frame.lasti_unit;
	return (int64_t)(ip - bytecode_start(c, l, code, frame)) - l->frame.instr_back;
}

/* Whether a caller may stand at ip. Frames that were left stand where they returned, in both copies
 * for as long as nothing else comes to stand there, and so are no callers; in truth only hooks and
 * destructors are called from there. A thread that is held has no such frames. */
static bool may_call(struct walker *w, struct walk_context *c, struct code *code, int64_t ip)
{
	if (code_calls(c->codes, code, ip))
		return true;
	w->doubtful = c->held;
	return c->held;
}

/* The same of a frame of the last walk, which may have been the leaf then. */
enum walk_result walker_check_caller(struct walker *w, struct walk_context *c, struct known *k)
{
	struct code *code;
	int error;

	if (k->calls)
		return WALK_OK;
	code = walker_code(w, c, k->code, &error);
	if (!code || !may_call(w, c, code, byte_offset(c, w->layout, code, k->ip, k->a)))
		return WALK_TORN;
	k->calls = true;
	return WALK_OK;
}

/* The instructions that n fresh frames stand at, as they are specialised now: in the copy of the
 * bytecode that each runs. What cannot be read is not known. */
void walker_fetch_opcodes(struct walker *w, struct walk_context *c, size_t n)
{
	const struct layout *l = w->layout;
	struct memory_range ranges[OPCODES_AT_ONCE];
	uint8_t bytes[OPCODES_AT_ONCE] = {0};
	size_t from[OPCODES_AT_ONCE], count = 0;

	for (size_t i = 0; i < n; i++) {
		struct fresh *f = &w->fresh[i];
		struct code *code = NULL;
		int64_t ip, at;
		int error;

		if (!f->hidden)
			code = code_cache_get(c->codes, f->code & l->frame.executable_mask,
					      c->gathers, &error);
		ip = code ? byte_offset(c, l, code, f->ip, f->a) : -1;
		at = code ? code_instruction(c->codes, code, ip) : -1;
		if (at >= 0) {
			uint64_t start = l->frame_style == FRAME_STYLE_OBJECT
						 ? code->start
						 : bytecode_start(c, l, code, f->a);

			from[count] = i;
			ranges[count] = (struct memory_range){
				.addr = start + (uint64_t)at, .len = 1, .buf = &bytes[count]};
			count++;
		}
		if (count == OPCODES_AT_ONCE || (i + 1 == n && count)) {
			if (memory_gather(c->target->memory, ranges, count) < 0)
				return;
			for (size_t k = 0; k < count; k++)
				if (!ranges[k].failed)
					w->fresh[from[k]].op = bytes[k] + 1u;
			count = 0;
		}
	}
}

/* The stack of a fresh frame above parent. */
enum walk_result walker_intern(struct walker *w, struct walk_context *c, struct fresh *f,
			       uint32_t parent, uint32_t *ret)
{
	const struct layout *l = w->layout;
	struct code *code;
	uint32_t frame;
	int64_t ip;
	int error = 0;

	if (f->hidden) {
		*ret = native_above(c, parent);
		return WALK_OK;
	}
	code = code_cache_get(c->codes, f->code & l->frame.executable_mask, c->gathers, &error);
	if (!code)
		return error == -ENOMEM ? WALK_MEMORY : WALK_TORN;
	f->serial = code->serial;
	/* A generator that yields loses its caller an instant before it stops being the leaf. */
	if (f->previous == 0 && code->generator && !w->still)
		return WALK_TORN;
	ip = byte_offset(c, l, code, f->ip, f->a);
	if (f->caller && !may_call(w, c, code, ip))
		return WALK_TORN;
	if (l->frame_style == FRAME_STYLE_INTERPRETER) {
		/* A function's frame exists before its first line does; and a class that is called
		 * has a frame of the interpreter's own below its __init__ that never reaches one.
		 */
		if (ip < (int64_t)code->first_traceable && !f->generator) {
			f->hidden = true;
			*ret = parent;
			return WALK_OK;
		}
	}
	if (ip < -4 || ip >= (int64_t)code->length)
		return WALK_TORN;
	if (f->entry)
		parent = native_above(c, parent);
	frame = code_frame_op(c->codes, code, ip, f->op);
	*ret = frame ? tables_stack(c->tables, parent, frame) : 0;
	return *ret ? WALK_OK : WALK_MEMORY;
}
