#include "remote/tasks-parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "remote/code.h"
#include "remote/object.h"
#include "remote/sampler.h"

#define MAX_HEAD 512 /* of a frame without its locals */
#define TAG_MASK 3   /* of a reference on the stack: a tagged int has both bits */

uint64_t look_coroutine_frame(struct look *k, uint64_t coro)
{
	uint64_t frame;

	if (look_kind(k, coro) != KIND_COROUTINE)
		return 0;
	if (k->l->gen.frame == ABSENT)
		return coro + (uint64_t)k->l->gen.iframe;
	return look_word(k, coro, k->l->gen.frame, &frame) < 0 ? 0 : frame;
}

static uint64_t bytecode_start(struct look *k, const struct code *code, const struct frame *f)
{
	uint64_t start;

	/* _PyCodeArray: a size, then a pointer for each thread-local index; 0 is the code itself.
	 */
	if (!code->tlbc || f->tlbc_index <= 0 || f->tlbc_index > SAMPLER_MAX_THREADS ||
	    look_word(k, code->tlbc + POINTER, f->tlbc_index * POINTER, &start) < 0)
		return code->start;
	return start;
}

/* The code object of a frame. The frame keeps it, so that what is noted of the frame is enough. */
static struct code *code_of(struct look *k, const struct frame *f)
{
	struct memory_log *log = memory_set_log(k->m, NULL);
	uint64_t addr = f->code & k->l->frame.executable_mask;
	int error = 0, r = 0;
	struct code *code = code_cache_get(k->r->codes, addr, k->r->stamp, &error);

	/* One that was read for an earlier look may have been replaced by another. */
	if (code && code->since != k->r->stamp && code->stamp != k->r->stamp)
		r = error = code_cache_check(k->r->codes, &code, 1, k->r->stamp);
	if (r > 0)
		code = code_cache_get(k->r->codes, addr, k->r->stamp, &error);
	else if (r < 0)
		code = NULL;
	memory_set_log(k->m, log);
	if (!code)
		look_note(k, error);
	return code;
}

/* The stack of f above parent. 0; -EAGAIN it cannot be a frame; -ENOMEM. */
static int intern_frame(struct look *k, struct frame *f, uint32_t parent, uint32_t *ret)
{
	const struct layout *l = k->l;
	struct table_frame plain = {.end_line = -1, .column = -1, .end_column = -1};
	struct code *code;
	uint32_t frame;
	int64_t ip;

	*ret = parent;
	if (f->hidden)
		return 0;
	code = code_of(k, f);
	if (!code)
		return k->error == -ENOMEM ? -ENOMEM : -EAGAIN;
	if (l->frame_style == FRAME_STYLE_OBJECT) {
		ip = (int64_t)f->ip * l->frame.lasti_unit;
	} else {
		ip = (int64_t)(f->ip - bytecode_start(k, code, f)) - l->frame.instr_back;
		if (ip < (int64_t)code->first_traceable && !f->generator)
			return 0;
	}
	if (ip < -4 || ip >= (int64_t)code->length)
		return -EAGAIN;
	if (f->created && ip < 0) {
		plain.function = code->function;
		plain.line = code->first_line;
		frame = tables_frame(k->r->tables, &plain);
	} else {
		frame = code_frame(k->r->codes, code, ip);
	}
	*ret = frame ? tables_stack(k->r->tables, parent, frame) : 0;
	return *ret ? 0 : look_note(k, -ENOMEM);
}

static bool owner_is(int8_t owner, int8_t value)
{
	return value != ABSENT && owner == value;
}

/* g: the frame is of a greenlet, and may be where that keeps its C stack; or NULL. */
static int read_frame_of(struct look *k, const struct greenlet *g, uint64_t addr, struct frame *ret)
{
	const struct layout *l = k->l;
	uint8_t head[MAX_HEAD];
	int32_t lasti;
	int r;

	if (addr == 0 || addr % POINTER || l->frame.size > MAX_HEAD)
		return -EBADMSG;
	r = g ? greenlet_read_frame(k->m, g, addr, head, (size_t)l->frame.size)
	      : memory_read(k->m, addr, head, (size_t)l->frame.size);
	if (look_note(k, r) < 0)
		return -EFAULT;
	*ret = (struct frame){.addr = addr};
	memcpy(&ret->code, head + l->frame.executable, 8);
	memcpy(&ret->previous, head + l->frame.previous, 8);
	if (l->frame_style == FRAME_STYLE_OBJECT) {
		memcpy(&lasti, head + l->frame.instr_ptr, 4);
		ret->ip = (uint64_t)(int64_t)lasti;
		return 0;
	}
	memcpy(&ret->ip, head + l->frame.instr_ptr, 8);
	if (l->frame.tlbc_index != ABSENT)
		memcpy(&ret->tlbc_index, head + l->frame.tlbc_index, 4);
	ret->generator = owner_is((int8_t)head[l->frame.owner], l->frame.owner_generator);
	ret->hidden = owner_is((int8_t)head[l->frame.owner], l->frame.owner_interpreter) ||
		      owner_is((int8_t)head[l->frame.owner], l->frame.owner_cstack);
	return 0;
}

static int read_frame(struct look *k, uint64_t addr, struct frame *ret)
{
	return read_frame_of(k, NULL, addr, ret);
}

/* The value on a suspended frame's stack that it waits for. -EAGAIN: the frame is just being
 * entered or left. */
static int awaited_by_frame(struct look *k, const struct frame *f, uint64_t *ret)
{
	const struct layout *l = k->l;
	uint64_t top, base, word;
	int32_t depth;
	int r;

	if (l->stack_style == STACK_STYLE_POINTER) {
		r = look_word(k, f->addr, l->frame.stackpointer, &top);
		if (r == 0 && (top == 0 || top % POINTER))
			return -EAGAIN;
	} else {
		r = look_bytes(k, f->addr + (uint64_t)l->frame.stackpointer, &depth, 4);
		base = f->addr + (uint64_t)l->frame.localsplus;
		if (r == 0 && l->stack_style == STACK_STYLE_DEPTH)
			r = look_word(k, f->addr, l->frame.valuestack, &base);
		if (r == 0 && (depth <= 0 || base % POINTER))
			return -EAGAIN;
		top = base + (uint64_t)(uint32_t)depth * POINTER;
	}
	if (r == 0)
		r = look_word(k, top - (uint64_t)l->gen.await_depth * POINTER, 0, &word);
	if (r < 0)
		return r;
	if (l->frame.executable_mask != ~UINT64_C(0) && (word & TAG_MASK) == TAG_MASK)
		return -EAGAIN;
	word &= l->frame.executable_mask;
	/* What is sent to it lies there for a moment. */
	if (word == 0 || look_kind(k, word) == KIND_NONE)
		return -EAGAIN;
	*ret = word;
	return 0;
}

/* To 3.10: whether a frame runs. Its stack has no end then. */
static bool is_entered(struct look *k, uint64_t frame)
{
	uint64_t at = frame + (uint64_t)k->l->frame.stackpointer, top;
	int32_t depth;

	if (k->l->stack_style == STACK_STYLE_DEPTH)
		return look_bytes(k, at, &depth, sizeof(depth)) < 0 || depth < 0;
	return look_bytes(k, at, &top, sizeof(top)) < 0 || top == 0;
}

/* Whether a suspended frame waits for another awaitable, where only its code tells. The frame keeps
 * that, as in code_of(): it is read where code objects are, and what is noted of the frame is
 * enough. */
static int yields_from(struct look *k, const struct frame *f)
{
	const struct layout *l = k->l;
	struct memory *m = k->r->view.memory;
	struct memory_log *log = memory_set_log(m, NULL);
	uint64_t at = f->ip + 2, bytes, data = 0;
	uint8_t unit[2];
	size_t len;
	int r = 0;

	if (l->frame_style == FRAME_STYLE_OBJECT) {
		r = f->code == 0 || f->code % POINTER
			    ? -EBADMSG
			    : MEMORY_READ(m, f->code + (uint64_t)l->code.code, &bytes);
		if (r == 0)
			r = object_read_bytes_head(m, l, bytes, &data, &len);
		at = f->ip * (uint64_t)l->frame.lasti_unit + 2;
		if (r == 0 && at >= len)
			r = -EAGAIN;
		at += data;
	}
	if (r == 0)
		r = memory_read(m, at, unit, sizeof(unit));
	memory_set_log(m, log);
	if (r < 0)
		return look_note(k, r);
	return (unit[0] == l->gen.yield_from_opcodes[0] ||
		unit[0] == l->gen.yield_from_opcodes[1]) &&
	       unit[1] >= l->gen.yield_from_arg;
}

int look_read_suspended(struct look *k, uint64_t coro, struct frame *f, uint64_t *ret_next)
{
	const struct layout *l = k->l;
	uint64_t frame = look_coroutine_frame(k, coro);
	int8_t state = 0;
	int r;

	*ret_next = 0;
	if (frame == 0)
		return -EAGAIN;
	/* First, so that nothing is noted of one that runs but that it does. */
	if (l->gen.frame_state == ABSENT)
		r = is_entered(k, frame) ? -EAGAIN : 0;
	else
		r = look_bytes(k, coro + (uint64_t)l->gen.frame_state, &state, 1);
	if (r == 0 && l->gen.frame_state != ABSENT && state != l->gen.created &&
	    state != l->gen.suspended && state != l->gen.yield_from)
		r = -EAGAIN;
	if (r == 0)
		r = read_frame(k, frame, f);
	if (r < 0)
		return r;
	f->generator = true;
	f->created = l->gen.frame_state == ABSENT ? (int64_t)f->ip < 0 : state == l->gen.created;
	if (f->created)
		return 0;
	r = l->gen.yield_from_opcodes[0] != ABSENT ? yields_from(k, f) : state == l->gen.yield_from;
	return r <= 0 ? r : awaited_by_frame(k, f, ret_next);
}

void look_read_chain(struct look *k, size_t i)
{
	struct task_info *t = &k->out->info[i];
	uint64_t at = k->work[i].coro;
	int r = 0;

	for (size_t n = 0; at && r == 0; n++) {
		struct frame f;

		switch (look_kind(k, at)) {
		case KIND_COROUTINE:
			r = look_read_suspended(k, at, &f, &at);
			if (r == 0)
				r = intern_frame(k, &f, t->stack, &t->stack);
			break;
		case KIND_WRAPPER:
			r = look_word(k, at, k->l->inner.first, &at);
			break;
		default:
			at = 0; /* a future, or something that is not Python's */
		}
		if (n == MAX_CHAIN || look_spent(k))
			r = -E2BIG;
	}
	if (r == -EAGAIN) {
		t->problem = TASK_MOVED;
		t->stack = 0;
	} else if (r < 0) {
		t->problem = TASK_UNREADABLE;
	}
}

/* ---- on the stack of a thread ---- */

/* The newest frame of a thread. */
static int leaf_of(struct look *k, uint64_t tstate, uint64_t *ret)
{
	const struct layout *l = k->l;
	uint64_t cframe;
	int r;

	if (l->tstate.cframe == ABSENT)
		return look_word(k, tstate, l->tstate.frame, ret);
	r = look_word(k, tstate, l->tstate.cframe, &cframe);
	return r < 0 ? r : look_word(k, cframe, l->cframe.current_frame, ret);
}

/* Gives task i the frames from..to of a thread, leaf first. */
static void take_segment(struct look *k, size_t i, size_t from, size_t to)
{
	struct task_info *t = &k->out->info[i];
	int r = 0;

	k->work[i].on_stack = true;
	t->state = TASK_RUNNING;
	t->stack = 0;
	for (size_t n = to + 1; n > from && r == 0; n--)
		r = intern_frame(k, &k->frames[n - 1], t->stack, &t->stack);
	if (r < 0) {
		t->problem = TASK_MOVED;
		t->stack = 0;
	}
}

/* All frames from addr on, of a suspended greenlet or of a thread that runs one. */
static int read_all_frames(struct look *k, const struct greenlet *g, uint64_t addr, uint64_t end,
			   uint32_t *ret)
{
	size_t n = 0;
	int r = 0;

	if (!k->frames)
		k->frames = calloc(MAX_CHAIN, sizeof(*k->frames));
	if (!k->frames)
		return look_note(k, -ENOMEM);
	for (; addr && addr != end && n < MAX_CHAIN && r == 0; n++) {
		r = look_spent(k) ? -E2BIG : read_frame_of(k, g, addr, &k->frames[n]);
		addr = k->frames[n].previous;
	}
	if (r == 0 && addr && addr != end)
		return -E2BIG;
	while (n > 0 && r == 0)
		r = intern_frame(k, &k->frames[--n], *ret, ret);
	return r;
}

void look_read_green_stack(struct look *k, size_t i)
{
	struct task_info *t = &k->out->info[i];
	struct work *w = &k->work[i];
	uint64_t leaf = w->greenlet.frame, end = 0;
	int r = 0;

	if (w->greenlet.state == GREENLET_NEW)
		return;
	if (t->tstate && k->l->tstate.base_frame != ABSENT)
		r = look_word(k, t->tstate, k->l->tstate.base_frame, &end);
	if (w->greenlet.state == GREENLET_SUSPENDED) {
		if (r == 0)
			r = read_all_frames(k, &w->greenlet, leaf, end, &t->stack);
	} else {
		const struct address_entry *other = address_map_find(&k->by_main, t->loop);

		t->state = TASK_RUNNING;
		/* Only one does at a time. */
		if (other) {
			k->out->info[other->value].problem = TASK_MOVED;
			k->out->info[other->value].stack = 0;
			r = -EAGAIN;
		} else if (r == 0) {
			r = address_map_add(&k->by_main, t->loop, (uint32_t)i);
		}
		if (r == 0)
			r = leaf_of(k, t->tstate, &leaf);
		if (r == 0)
			r = read_all_frames(k, NULL, leaf, end, &t->stack);
	}
	look_note(k, r);
	if (r == -EFAULT || r == -EBADMSG || r == -EAGAIN) {
		t->problem = TASK_MOVED;
		t->stack = 0;
	} else if (r < 0) {
		t->problem = TASK_UNREADABLE;
	}
}

void look_read_running(struct look *k, const struct running *thread)
{
	uint64_t addr, end = 0;
	size_t n = 0, from = 0;

	if (leaf_of(k, thread->tstate, &addr) < 0)
		return;
	if (k->l->tstate.base_frame != ABSENT)
		look_word(k, thread->tstate, k->l->tstate.base_frame, &end);
	while (addr && addr != end && n < MAX_CHAIN && !k->error) {
		const struct address_entry *e = address_map_find(&k->by_frame, addr);

		if (read_frame(k, addr, &k->frames[n]) < 0)
			return;
		if (e) {
			take_segment(k, e->value, from, n);
			from = n + 1;
		}
		addr = k->frames[n++].previous;
	}
}
