#include "remote/layout.h"

#include <errno.h>
#include <string.h>

#include "remote/memory.h"

/* A proof looks at so much and no more; a target has one interpreter and a dozen threads, but may
 * claim anything. */
#define PROOF_INTERPRETERS 64
#define PROOF_THREADS	   16
#define PROOF_FRAMES	   4
#define PROOF_EXCEPTIONS   16
#define COUNT_THREADS_MAX  100000

/* How often a thread that runs meanwhile is looked at again. A wrong layout fits not once. */
#define PROOF_TRIES 64

/* How often the whole is looked at: threads and interpreters come and go. */
#define PROOF_WALK_TRIES 16

/* A field is given up when its proof failed in so many walks: in one it may be a thread that was
 * just ending. */
#define PROOF_WALKS 4

/* A GIL that changes hands a million times a second does it for twelve days. */
#define SWITCHES_MAX (1ull << 40)

/* PID_MAX_LIMIT of the kernel. */
#define TID_MAX (4 << 20)

/* Fields that have a proof of their own. */
enum {
	BAD_DATASTACK = 1 << 0,
	BAD_HOLDS_GIL = 1 << 1,
	BAD_GIL_REQUESTED = 1 << 2,
	BAD_EXC_INFO = 1 << 3,
	BAD_EXCEPTION = 1 << 4,
	BAD_STATE = 1 << 5,
	BAD_BASE_FRAME = 1 << 6,
	BAD_THREADS_MAIN = 1 << 7,
	BAD_EXC_STATE = 1 << 8,
	BAD_SWITCHES = 1 << 9,
};

/* What a proof has learnt so far. */
struct proof {
	struct layout *l;
	struct memory *m;
	uint64_t code_type; /* addresses of types whose names were read; 0 not yet */
	uint64_t str_type;
	size_t threads;
	unsigned int bad; /* BAD_*: fields whose own proof failed */
};

/* Reading errors that end a proof; -EFAULT is only one more sign that something moved. */
static bool is_final(int r)
{
	return r < 0 && r != -EFAULT && r != -ENOTSUP;
}

static int read_word(struct proof *p, uint64_t addr, int32_t offset, uint64_t *ret)
{
	if (offset == ABSENT)
		return -ENOTSUP;
	return memory_read(p->m, addr + (uint64_t)offset, ret, sizeof(*ret));
}

static bool is_pointer(uint64_t value)
{
	return value != 0 && value % 8 == 0;
}

/* Whether object is of the type called name; *known keeps that type's address. */
static int check_type(struct proof *p, uint64_t object, const char *name, uint64_t *known)
{
	uint64_t type, text;
	char found[16];
	int r;

	if (!is_pointer(object))
		return -ENOTSUP;
	r = read_word(p, object, p->l->object.ob_type, &type);
	if (r < 0)
		return r;
	if (type == *known)
		return *known ? 0 : -ENOTSUP;
	if (*known)
		return -ENOTSUP;
	r = read_word(p, type, p->l->type.tp_name, &text);
	if (r < 0)
		return r;
	r = memory_read(p->m, text, found, strlen(name) + 1);
	if (r < 0)
		return r;
	if (memcmp(found, name, strlen(name) + 1) != 0)
		return -ENOTSUP;
	*known = type;
	return 0;
}

static int check_code(struct proof *p, uint64_t code)
{
	const struct layout *l = p->l;
	uint64_t filename, name;
	int r;

	r = check_type(p, code, "code", &p->code_type);
	if (r == 0)
		r = read_word(p, code, l->code.filename, &filename);
	if (r == 0)
		r = read_word(p, code, l->code.name, &name);
	if (r == 0)
		r = check_type(p, filename, "str", &p->str_type);
	if (r == 0)
		r = check_type(p, name, "str", &p->str_type);
	return r;
}

/* An instruction pointer stands within its code object's instructions, or one unit before. */
static int check_instruction(struct proof *p, uint64_t code, uint64_t ip)
{
	const struct layout *l = p->l;
	uint64_t begin = code + (uint64_t)l->code.code;
	uint64_t units;
	int r;

	if (l->frame.tlbc_index != ABSENT)
		return 0;
	r = read_word(p, code, l->var.ob_size, &units);
	if (r < 0)
		return r;
	return ip % 2 == 0 && ip >= begin - 2 && (ip - (begin - 2)) / 2 <= units ? 0 : -ENOTSUP;
}

static bool owner_is(int8_t owner, int8_t value)
{
	return value != ABSENT && owner == value;
}

/* One frame: 0 and the one before it in *ret_previous. */
static int check_frame(struct proof *p, uint64_t frame, uint64_t *ret_previous)
{
	const struct layout *l = p->l;
	uint64_t executable, ip, code;
	int8_t owner = 0;
	int r;

	if (!is_pointer(frame))
		return -ENOTSUP;
	r = read_word(p, frame, l->frame.previous, ret_previous);
	if (r == 0)
		r = read_word(p, frame, l->frame.executable, &executable);
	if (r < 0)
		return r;
	code = executable & l->frame.executable_mask;
	if (l->frame_style == FRAME_STYLE_OBJECT)
		return check_code(p, code);
	r = memory_read(p->m, frame + (uint64_t)l->frame.owner, &owner, sizeof(owner));
	if (r < 0)
		return r;
	/* What a shim has for code differs by version. */
	if (owner_is(owner, l->frame.owner_interpreter) || owner_is(owner, l->frame.owner_cstack))
		return 0;
	if (!owner_is(owner, l->frame.owner_thread) && !owner_is(owner, l->frame.owner_generator) &&
	    !owner_is(owner, l->frame.owner_frame_object))
		return -ENOTSUP;
	r = check_code(p, code);
	if (r == 0)
		r = read_word(p, frame, l->frame.instr_ptr, &ip);
	if (r == 0)
		r = check_instruction(p, code, ip);
	return r;
}

/* The first few frames of a thread: enough to see that the layout fits, few enough to be faster
 * than the thread. */
static int check_frames(struct proof *p, uint64_t tstate)
{
	const struct layout *l = p->l;
	uint64_t frame, base = 0;
	int r;

	if (l->tstate.cframe != ABSENT) {
		r = read_word(p, tstate, l->tstate.cframe, &frame);
		if (r < 0)
			return r;
		/* No frame was ever begun by this thread. */
		if (frame == 0)
			return 0;
		r = read_word(p, frame, l->cframe.current_frame, &frame);
	} else {
		r = read_word(p, tstate, l->tstate.frame, &frame);
	}
	if (r < 0)
		return r;
	if (l->tstate.base_frame != ABSENT) {
		r = read_word(p, tstate, l->tstate.base_frame, &base);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < PROOF_FRAMES && frame != 0 && frame != base; i++) {
		r = check_frame(p, frame, &frame);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The datastack's three words are neighbours and are read as one. */
static int check_datastack(struct proof *p, uint64_t tstate)
{
	const struct layout *l = p->l;
	uint64_t words[3], size;
	int32_t at = l->tstate.datastack_chunk;
	int r;

	if (at == ABSENT || l->tstate.datastack_top != at + 8 ||
	    l->tstate.datastack_limit != at + 16)
		return at == ABSENT ? 0 : -ENOTSUP;
	r = memory_read(p->m, tstate + (uint64_t)at, words, sizeof(words));
	if (r < 0)
		return r;
	/* Nothing was pushed yet, or the thread is ending and only the chunk was let go. */
	if (words[0] == 0)
		return 0;
	if (!is_pointer(words[0]))
		return -ENOTSUP;
	r = read_word(p, words[0], l->chunk.size, &size);
	if (r < 0)
		return r;
	return words[2] - words[0] == size && words[1] % 8 == 0 && words[1] <= words[2] &&
			       words[1] >= words[0] + (uint64_t)l->chunk.data
		       ? 0
		       : -ENOTSUP;
}

/* The chain of exceptions being handled ends at the item inside the thread state. */
static int check_exceptions(struct proof *p, uint64_t tstate)
{
	const struct layout *l = p->l;
	uint64_t item;
	int r;

	if (l->tstate.exc_info == ABSENT)
		return 0;
	r = read_word(p, tstate, l->tstate.exc_info, &item);
	if (r < 0)
		return r;
	for (size_t i = 0; i < PROOF_EXCEPTIONS; i++) {
		uint64_t value, previous;

		if (!is_pointer(item))
			return -ENOTSUP;
		r = read_word(p, item, l->err_stackitem.value, &value);
		if (r == 0)
			r = read_word(p, item, l->err_stackitem.previous, &previous);
		if (r < 0)
			return r;
		if (value % 8 != 0 || previous % 8 != 0)
			return -ENOTSUP;
		if (previous == 0) {
			if (l->tstate.exc_state != ABSENT &&
			    item != tstate + (uint64_t)l->tstate.exc_state)
				p->bad |= BAD_EXC_STATE;
			return item > tstate && item - tstate < LAYOUT_STRUCT_MAX ? 0 : -ENOTSUP;
		}
		item = previous;
	}
	/* Generators nested deeper than this are possible; so many links are no accident. */
	return 0;
}

static int check_int(struct proof *p, uint64_t addr, int32_t offset, int32_t low, int32_t high)
{
	int32_t value;
	int r;

	if (offset == ABSENT)
		return 0;
	r = memory_read(p->m, addr + (uint64_t)offset, &value, sizeof(value));
	if (r < 0)
		return r;
	return value >= low && value <= high ? 0 : -ENOTSUP;
}

static int check_exception(struct proof *p, uint64_t tstate)
{
	uint64_t value;
	int r;

	if (p->l->tstate.current_exception == ABSENT)
		return 0;
	r = read_word(p, tstate, p->l->tstate.current_exception, &value);
	if (r < 0)
		return r;
	return value % 8 == 0 ? 0 : -ENOTSUP;
}

static int check_native_id(struct proof *p, uint64_t tstate)
{
	uint64_t tid;
	int r;

	if (p->l->tstate.native_thread_id == ABSENT)
		return 0;
	r = read_word(p, tstate, p->l->tstate.native_thread_id, &tid);
	if (r < 0)
		return r;
	/* 0 in a thread state that no thread took yet. */
	return tid <= TID_MAX ? 0 : -ENOTSUP;
}

/* Repeats a check of something that moves. */
static int try_often(struct proof *p, uint64_t at, int (*check)(struct proof *p, uint64_t at))
{
	int r = -ENOTSUP;

	for (size_t i = 0; i < PROOF_TRIES && r != 0 && !is_final(r); i++)
		r = check(p, at);
	return r == -EFAULT ? -ENOTSUP : r;
}

/* A field with a proof of its own, that does not fail the whole. */
static int try_optional(struct proof *p, uint64_t at, int (*check)(struct proof *p, uint64_t at),
			unsigned int field)
{
	int r = try_often(p, at, check);

	if (r == -ENOTSUP)
		p->bad |= field;
	return is_final(r) ? r : 0;
}

static int check_holds_gil(struct proof *p, uint64_t tstate)
{
	return check_int(p, tstate, p->l->tstate.holds_gil, 0, 1);
}

static int check_gil_requested(struct proof *p, uint64_t tstate)
{
	return check_int(p, tstate, p->l->tstate.gil_requested, 0, 1);
}

static int check_state(struct proof *p, uint64_t tstate)
{
	return check_int(p, tstate, p->l->tstate.state, 0, 3);
}

/* The frame below all frames belongs to the interpreter and stands in the thread state. */
static int check_base_frame(struct proof *p, uint64_t tstate)
{
	const struct layout *l = p->l;
	uint64_t frame;
	int8_t owner;
	int r;

	if (l->tstate.base_frame == ABSENT)
		return 0;
	r = read_word(p, tstate, l->tstate.base_frame, &frame);
	if (r < 0)
		return r;
	if (!is_pointer(frame))
		return -ENOTSUP;
	r = memory_read(p->m, frame + (uint64_t)l->frame.owner, &owner, sizeof(owner));
	if (r < 0)
		return r;
	return owner_is(owner, l->frame.owner_interpreter) ? 0 : -ENOTSUP;
}

static int check_thread(struct proof *p, uint64_t tstate)
{
	int r = try_often(p, tstate, check_native_id);

	if (r == 0)
		r = try_often(p, tstate, check_frames);
	if (r == 0)
		r = try_optional(p, tstate, check_datastack, BAD_DATASTACK);
	if (r == 0)
		r = try_optional(p, tstate, check_exceptions, BAD_EXC_INFO);
	if (r == 0)
		r = try_optional(p, tstate, check_exception, BAD_EXCEPTION);
	if (r == 0)
		r = try_optional(p, tstate, check_holds_gil, BAD_HOLDS_GIL);
	if (r == 0)
		r = try_optional(p, tstate, check_gil_requested, BAD_GIL_REQUESTED);
	if (r == 0)
		r = try_optional(p, tstate, check_state, BAD_STATE);
	if (r == 0)
		r = try_optional(p, tstate, check_base_frame, BAD_BASE_FRAME);
	return r;
}

/* The threads of one interpreter, linked both ways and back to it. */
static int check_threads(struct proof *p, uint64_t interp)
{
	const struct layout *l = p->l;
	uint64_t tstate, before = 0;
	int r;

	r = read_word(p, interp, l->interp.threads_head, &tstate);
	if (r < 0)
		return r;
	for (; tstate != 0 && p->threads < PROOF_THREADS; p->threads++) {
		uint64_t prev, next, back;

		if (!is_pointer(tstate))
			return -ENOTSUP;
		r = read_word(p, tstate, l->tstate.interp, &back);
		if (r == 0)
			r = read_word(p, tstate, l->tstate.prev, &prev);
		if (r == 0)
			r = read_word(p, tstate, l->tstate.next, &next);
		if (r < 0)
			return r;
		if (back == 0)
			return -EAGAIN;
		if (back != interp || prev != before)
			return -ENOTSUP;
		r = check_thread(p, tstate);
		if (r < 0)
			return r;
		before = tstate;
		tstate = next;
	}
	return 0;
}

/* The main thread's state belongs to the interpreter; 0 once that thread has ended. */
static int check_threads_main(struct proof *p, uint64_t interp)
{
	const struct layout *l = p->l;
	uint64_t tstate, back;
	int r;

	if (l->interp.threads_main == ABSENT)
		return 0;
	r = read_word(p, interp, l->interp.threads_main, &tstate);
	if (r < 0 || tstate == 0)
		return r;
	if (!is_pointer(tstate))
		return -ENOTSUP;
	r = read_word(p, tstate, l->tstate.interp, &back);
	if (r < 0)
		return r;
	return back == interp ? 0 : -ENOTSUP;
}

/* A GIL that a thread holds, or held, was taken at least once. */
static int check_count(struct proof *p, uint64_t at, int32_t last_holder, int32_t switches)
{
	uint64_t holder, count;
	int r;

	if (last_holder == ABSENT || switches == ABSENT)
		return 0;
	r = read_word(p, at, last_holder, &holder);
	if (r == 0)
		r = read_word(p, at, switches, &count);
	if (r < 0)
		return r;
	return (holder != 0 && count == 0) || count > SWITCHES_MAX ? -ENOTSUP : 0;
}

static int check_switches(struct proof *p, uint64_t gil)
{
	return check_count(p, gil, p->l->gil.last_holder, p->l->gil.switches);
}

static int check_runtime_switches(struct proof *p, uint64_t runtime)
{
	return check_count(p, runtime, p->l->runtime.gil_last_holder, p->l->runtime.gil_switches);
}

static int check_gil(struct proof *p, uint64_t interp)
{
	const struct layout *l = p->l;
	uint64_t gil, holder;
	int r;

	if (l->interp.gil == ABSENT)
		return 0;
	r = read_word(p, interp, l->interp.gil, &gil);
	if (r < 0)
		return r;
	if (!is_pointer(gil))
		return gil == 0 ? -EAGAIN : -ENOTSUP;
	r = read_word(p, gil, l->gil.last_holder, &holder);
	if (r < 0)
		return r;
	if (holder % 8 != 0)
		return -ENOTSUP;
	/* -1 until the first thread takes it. */
	r = check_int(p, gil, l->gil.locked, -1, 1);
	return r == 0 ? try_optional(p, gil, check_switches, BAD_SWITCHES) : r;
}

static int check_interpreter(struct proof *p, uint64_t interp, int64_t *ret_id)
{
	const struct layout *l = p->l;
	uint64_t modules, dict_type = 0;
	int64_t id;
	int r;

	if (!is_pointer(interp))
		return -ENOTSUP;
	r = read_word(p, interp, l->interp.id, (uint64_t *)&id);
	if (r < 0)
		return r;
	if (id < 0)
		return -ENOTSUP;
	r = check_int(p, interp, l->interp.gc_collecting, 0, 1);
	if (r == 0)
		r = check_gil(p, interp);
	if (r == 0)
		r = check_threads(p, interp);
	if (r == 0)
		r = try_optional(p, interp, check_threads_main, BAD_THREADS_MAIN);
	if (r == 0)
		r = read_word(p, interp, l->interp.modules, &modules);
	if (r < 0)
		return r;
	if (modules == 0)
		return -EAGAIN;
	r = check_type(p, modules, "dict", &dict_type);
	*ret_id = id;
	return r;
}

static int walk_interpreters(struct proof *p, uint64_t runtime)
{
	const struct layout *l = p->l;
	uint64_t interp;
	int64_t id = -1;
	int r;

	r = read_word(p, runtime, l->runtime.interpreters_head, &interp);
	if (r < 0)
		return r;
	if (interp == 0)
		return -EAGAIN;
	r = check_int(p, runtime, l->runtime.gil_locked, -1, 1);
	if (r == 0)
		r = try_optional(p, runtime, check_runtime_switches, BAD_SWITCHES);
	if (r == 0)
		r = check_int(p, runtime, l->runtime.gc_collecting, 0, 1);
	if (r < 0)
		return r;
	for (size_t i = 0; i < PROOF_INTERPRETERS && interp != 0; i++) {
		uint64_t next;

		r = check_interpreter(p, interp, &id);
		/* A sub-interpreter that is just being made or ended proves nothing. */
		if (r < 0 && (r != -EAGAIN || id == 0))
			return r;
		r = read_word(p, interp, l->interp.next, &next);
		if (r < 0)
			return r;
		interp = next;
	}
	return p->threads > 0 ? 0 : -EAGAIN;
}

static void drop_unproven(struct layout *l, unsigned int bad)
{
	if (bad & BAD_DATASTACK) {
		l->tstate.datastack_top = ABSENT;
		l->tstate.datastack_limit = ABSENT;
	}
	if (bad & BAD_EXC_INFO)
		l->tstate.exc_info = ABSENT;
	if (bad & (BAD_EXC_INFO | BAD_EXC_STATE))
		l->tstate.exc_state = ABSENT;
	if (bad & BAD_EXCEPTION)
		l->tstate.current_exception = ABSENT;
	if (bad & BAD_HOLDS_GIL)
		l->tstate.holds_gil = ABSENT;
	if (bad & BAD_GIL_REQUESTED)
		l->tstate.gil_requested = ABSENT;
	if (bad & BAD_STATE)
		l->tstate.state = ABSENT;
	if (bad & BAD_THREADS_MAIN)
		l->interp.threads_main = ABSENT;
	if (bad & BAD_BASE_FRAME)
		l->tstate.base_frame = ABSENT;
	if (bad & BAD_SWITCHES)
		l->gil.switches = l->runtime.gil_switches = ABSENT;
}

/* Whether the runtime is on its way up or down, when nothing in it need hold yet or any more.
 * While the loader still maps the object these words are any. */
static bool is_between(struct proof *p, uint64_t runtime)
{
	uint64_t finalizing = 0;

	if (check_int(p, runtime, p->l->runtime.initialized, 1, 1) < 0)
		return true;
	return p->l->runtime.finalizing != ABSENT &&
	       (read_word(p, runtime, p->l->runtime.finalizing, &finalizing) < 0 ||
		finalizing != 0);
}

int layout_prove(struct layout *l, struct memory *m, uint64_t runtime)
{
	struct proof last = {.l = l, .m = m};
	unsigned int bad = ~0u;
	size_t walks = 0;
	int r = -ENOTSUP;

	for (size_t i = 0; i < PROOF_WALK_TRIES; i++) {
		struct proof p = {.l = l, .m = m};

		r = walk_interpreters(&p, runtime);
		if (r == 0) {
			bad &= p.bad;
			if (bad == 0 || ++walks == PROOF_WALKS) {
				drop_unproven(l, bad);
				return 0;
			}
		} else if (r != -EFAULT && r != -ENOTSUP) {
			return r;
		}
	}
	if (walks > 0) {
		drop_unproven(l, bad);
		return 0;
	}
	return is_between(&last, runtime) ? -EAGAIN : r;
}

int layout_count_threads(const struct layout *l, struct memory *m, uint64_t runtime)
{
	struct layout copy = *l;
	struct proof p = {.l = &copy, .m = m};
	uint64_t interp;
	int count = 0;
	int r;

	r = read_word(&p, runtime, l->runtime.interpreters_head, &interp);
	for (size_t i = 0; r == 0 && interp != 0 && i < PROOF_INTERPRETERS; i++) {
		uint64_t tstate;

		r = read_word(&p, interp, l->interp.threads_head, &tstate);
		while (r == 0 && tstate != 0 && count < COUNT_THREADS_MAX) {
			count++;
			r = read_word(&p, tstate, l->tstate.next, &tstate);
		}
		if (r == 0)
			r = read_word(&p, interp, l->interp.next, &interp);
	}
	return r < 0 ? r : count;
}
