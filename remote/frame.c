#include "remote/frame.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "remote/sampler.h"
#include "remote/state.h"
#include "remote/thread.h"
#include "remote/window.h"

#define NEAR_BITS	9 /* log2 of the slots that remember where a frame stood in the walk */
#define CODE_LATE_NS	100000u
#define TWICE_FRAMES	8 /* of the frames elsewhere, counted from the leaf, are copied twice */
#define OPCODES_AT_ONCE 64
#define PRUNE_EVERY	16 /* walks */
#define REST_AFTER	8  /* walks that are the same: a tight loop often is so twice */
#define CFRAME_BYTES	16 /* of a _PyCFrame */

/* A frame of the last walk. */
struct known {
	uint64_t addr;
	uint64_t code, previous, ip; /* the raw words */
	uint64_t serial;	     /* of the code object's reading */
	uint32_t stack;		     /* the stack up to and with it */
	uint64_t generator;	     /* address of the innermost frame of one up to it; 0 none */
	bool in_chunk, hidden;
	bool calls; /* it may be a caller */
	const uint8_t *a, *b;
};

/* A frame of the walk under way. */
struct fresh {
	uint64_t addr, code, previous, ip;
	uint64_t serial; /* of the code object's reading */
	const uint8_t *a, *b;
	bool in_chunk, hidden, generator; /* generator: owned by one */
	bool entry;			  /* 3.11: called by C code */
	bool caller;			  /* as such it must stand where others are called */
	uint32_t op;
};

struct walker {
	const struct layout *layout;
	uint64_t ident, interp;
	bool still;    /* the kernel says that the thread sleeps */
	bool resting;  /* its words and its stack stood still lately */
	bool doubtful; /* of the last walk only that the thread was held says that it is true */
	struct windows windows;
	struct known *known; /* base first */
	size_t n_known, room_known;
	bool has_walk;
	uint64_t codes_stamp; /* by which the code objects of known were checked last */
	struct rest {
		unsigned same; /* so many proven walks in a row had these words and this stack */
		uint8_t *words;
		uint8_t cframe[CFRAME_BYTES];
	} * rest;
	struct fresh *fresh; /* leaf first */
	size_t room_fresh;
	uint16_t near[1 << NEAR_BITS]; /* index in known by address; a hint */
	/* What walker_prefix() told: so many of known, and fresh[0] if above. */
	struct prefix {
		size_t n;
		bool above;
		uint32_t stack;
	} prefix;
};

static uint64_t word_at(const uint8_t *p, int32_t offset)
{
	uint64_t w;

	memcpy(&w, p + offset, 8);
	return w;
}

static uint64_t ip_at(const struct layout *l, const uint8_t *p)
{
	int32_t i;

	if (l->frame_style == FRAME_STYLE_INTERPRETER)
		return word_at(p, l->frame.instr_ptr);
	memcpy(&i, p + l->frame.instr_ptr, 4);
	return (uint64_t)(int64_t)i;
}

int walker_new(struct walker **ret, const struct target *target, uint64_t tstate, uint64_t ident,
	       uint64_t interp)
{
	struct walker *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	w->layout = &target->layout;
	w->ident = ident;
	w->interp = interp;
	if (windows_init(&w->windows, w->layout, tstate) < 0) {
		walker_free(w);
		return -ENOMEM;
	}
	*ret = w;
	return 0;
}

void walker_free(struct walker *w)
{
	if (!w)
		return;
	windows_done(&w->windows);
	free(w->known);
	free(w->fresh);
	free(w->rest);
	free(w);
}

void walker_set_beside(struct walker *w, const struct memory_range *ranges, size_t n)
{
	w->windows.beside = ranges;
	w->windows.n_beside = n;
}

void walker_set_still(struct walker *w, bool still)
{
	w->still = still;
}

/* To 3.10 a frame names its generator itself. */
static void links_of_frames(const struct walker *w, struct generators *ret)
{
	const struct layout *l = w->layout;

	ret->links = true;
	for (size_t i = w->n_known; i-- > 0;) {
		const struct known *k = &w->known[i];
		uint64_t generator = word_at(w->windows.once ? k->a : k->b, l->frame.generator);

		if (!generator)
			continue;
		ret->more = ret->n == HANDLING_MAX;
		if (ret->more)
			return;
		ret->frames[ret->n++] = generator + (uint64_t)l->gen.exc_state;
	}
}

void walker_generators(const struct walker *w, struct generators *ret)
{
	uint64_t generator = 0;

	ret->n = 0;
	ret->more = ret->links = false;
	if (w->layout->frame.generator != ABSENT) {
		links_of_frames(w, ret);
		return;
	}
	for (size_t i = w->n_known; i-- > 0 && w->known[i].generator;) {
		if (w->known[i].generator == generator)
			continue;
		ret->more = ret->n == HANDLING_MAX;
		if (ret->more)
			return;
		ret->frames[ret->n++] = generator = w->known[i].generator;
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

const uint8_t *walker_words(const struct walker *w)
{
	return w->windows.words;
}

void walker_forget(struct walker *w)
{
	w->n_known = 0;
	w->has_walk = false;
	w->resting = false;
}

static int grow_array(void **array, size_t *room, size_t need, size_t size)
{
	size_t more = *room ? *room * 2 : 8;
	void *p;

	if (need <= *room)
		return 0;
	if (more < need)
		more = need;
	p = realloc(*array, more * size);
	if (!p)
		return -ENOMEM;
	*array = p;
	*room = more;
	return 0;
}

static size_t hash_addr(uint64_t addr)
{
	return (size_t)((addr >> 3) * 0x9e3779b97f4a7c15ull >> 24);
}

/* After windows moved: the frames of the last walk are looked for anew; one that is not copied
 * any more ends what is known. */
static void relocate_known(struct walker *w)
{
	if (!w->windows.moved)
		return;
	w->windows.moved = false;
	for (size_t i = 0; i < w->n_known; i++) {
		struct known *k = &w->known[i];
		struct copied c;

		if (!windows_find(&w->windows, k->addr, (uint32_t)w->layout->frame.size, &c)) {
			w->n_known = i;
			break;
		}
		k->a = c.a;
		k->b = c.b;
		k->in_chunk = c.in_chunk;
	}
}

/* Tells the windows which frames the stack uses, and of which one copy is enough. */
static void prune(struct walker *w)
{
	for (size_t i = 0; i < w->n_known; i++) {
		const struct known *k = &w->known[i];

		if (!k->in_chunk)
			windows_mark(&w->windows, k->addr,
				     !k->hidden && w->n_known - i <= TWICE_FRAMES);
	}
	windows_prune(&w->windows);
}

size_t walker_range_count(const struct walker *w)
{
	size_t n = windows_range_count(&w->windows);

	return n > WALKER_REST_RANGES ? n : WALKER_REST_RANGES;
}

size_t walker_ranges(struct walker *w, struct memory_range *out, bool twice)
{
	return windows_ranges(&w->windows, out, twice);
}

/* ---- the walk ---- */

static bool words_are_ours(const struct walker *w)
{
	const struct layout *l = w->layout;

	return word_at(w->windows.words, l->tstate.interp) == w->interp &&
	       word_at(w->windows.words, l->tstate.thread_id) == w->ident;
}

/* The leaf's address by the words; 0 none. */
static enum walk_result leaf_address(struct walker *w, uint64_t *ret)
{
	const struct layout *l = w->layout;
	struct copied c;
	uint64_t cframe;

	if (l->tstate.cframe == ABSENT) {
		*ret = word_at(w->windows.words, l->tstate.frame);
		return WALK_OK;
	}
	*ret = 0;
	cframe = word_at(w->windows.words, l->tstate.cframe);
	if (cframe == 0)
		return WALK_OK;
	/* It is copied once, after the words that name it. */
	if (!windows_find(&w->windows, cframe, CFRAME_BYTES, &c))
		return WALK_MISS;
	*ret = word_at(c.a, l->cframe.current_frame);
	return WALK_OK;
}

/* Whether the generator that owns a frame was executing in both copies. If not it ran at most in
 * between, and who called it then may have been another at the same place. */
static bool executes(const struct walker *w, const uint8_t *a, const uint8_t *b)
{
	const uint32_t back = w->windows.state_back;
	const int8_t executing = w->layout->gen.executing;

	if (w->windows.once)
		b = a;
	a -= back;
	b -= back;
	return !back || ((int8_t)*a == executing && (int8_t)*b == executing);
}

/* How many frames of the last walk, from the base, are in both copies as they were then. */
static size_t unchanged(const struct walker *w, size_t n, bool held)
{
	const struct layout *l = w->layout;
	const int32_t code = l->frame.executable, previous = l->frame.previous;

	for (size_t i = 0; i < n; i++) {
		const struct known *k = &w->known[i];
		const uint8_t *a = k->a, *b = w->windows.once ? k->a : k->b;

		if (((word_at(a, code) ^ k->code) | (word_at(b, code) ^ k->code) |
		     (word_at(a, previous) ^ k->previous) | (word_at(b, previous) ^ k->previous) |
		     (ip_at(l, a) ^ k->ip) | (ip_at(l, b) ^ k->ip)) != 0)
			return i;
		if (k->generator == k->addr && !k->in_chunk && !held && !executes(w, a, b))
			return i;
	}
	return n;
}

/* The place of addr in the last walk if it is below limit; else limit. */
static size_t known_index(const struct walker *w, uint64_t addr, size_t limit)
{
	size_t i = w->near[hash_addr(addr) & ((1 << NEAR_BITS) - 1)];

	return i < limit && w->known[i].addr == addr ? i : limit;
}

static bool is_owner(int8_t owner, int8_t kind)
{
	return kind != ABSENT && owner == kind;
}

/* What a frame may do between the copies. */
enum stand {
	STANDS,	  /* nothing: it is a caller */
	EXECUTES, /* get on, as the leaf does */
	MOVES,	  /* that, and begin or cease to be called, as a generator is */
};

/* Takes the frame at addr out of the copies. */
static enum walk_result take_frame(struct walker *w, uint64_t addr, enum stand stand,
				   struct fresh *ret)
{
	const struct layout *l = w->layout;
	struct fresh f = {.addr = addr, .caller = stand == STANDS};
	struct copied c;
	const uint8_t *b;
	uint64_t previous;

	if (addr % 8)
		return WALK_TORN;
	if (!windows_find(&w->windows, addr, (uint32_t)l->frame.size, &c))
		return WALK_MISS;
	f.a = c.a;
	f.b = c.b;
	f.in_chunk = c.in_chunk;
	b = w->windows.once ? f.a : f.b;
	f.code = word_at(f.a, l->frame.executable);
	f.previous = word_at(f.a, l->frame.previous);
	previous = word_at(b, l->frame.previous);
	if (stand == MOVES && !f.previous)
		f.previous = previous;
	else if (stand == MOVES && !previous)
		previous = f.previous;
	f.ip = ip_at(l, b);
	if (f.code != word_at(b, l->frame.executable) || f.previous != previous ||
	    (stand == STANDS && f.ip != ip_at(l, f.a)))
		return WALK_TORN;
	if (l->frame.owner != ABSENT) {
		int8_t owner = (int8_t)b[l->frame.owner];

		f.hidden = is_owner(owner, l->frame.owner_interpreter) ||
			   is_owner(owner, l->frame.owner_cstack);
		f.generator = is_owner(owner, l->frame.owner_generator);
		if (!f.hidden && !f.generator && !is_owner(owner, l->frame.owner_thread) &&
		    !is_owner(owner, l->frame.owner_frame_object))
			return WALK_TORN;
	}
	f.entry = l->frame.is_entry != ABSENT && b[l->frame.is_entry];
	*ret = f;
	return WALK_OK;
}

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
	struct timespec now;

	if (!c->gathered_ns || code_cache_replaced(c->codes) == 0)
		return false;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec - c->gathered_ns >
	       CODE_LATE_NS;
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

static struct code *code_of(const struct walker *w, struct walk_context *c, uint64_t word,
			    int *ret_error)
{
	return code_cache_get(c->codes, word & w->layout->frame.executable_mask, c->gathers,
			      ret_error);
}

/* Whether the code objects of n fresh frames are known to have been what they are when the frames
 * were copied. */
static enum walk_result check_fresh(struct walker *w, struct walk_context *c, size_t n)
{
	struct suspects s = {.n = 0};
	bool unknown = false;
	int error = 0;

	for (size_t i = 0; i < n; i++) {
		struct code *code;

		if (w->fresh[i].hidden)
			continue;
		code = code_of(w, c, w->fresh[i].code, &error);
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
			code_of(w, c, w->fresh[i].code, &error);
	return unknown || s.replaced ? WALK_MISS : WALK_OK;
}

/* The same for the first n frames of the last walk, whose words are unchanged: others may have come
 * to stand at the same addresses. Then nothing is known any more. */
static enum walk_result check_known(struct walker *w, struct walk_context *c, size_t n)
{
	struct suspects s = {.n = 0};
	int error = 0;

	if (w->codes_stamp == c->stamp)
		return WALK_OK;
	for (size_t i = 0; i < n; i++) {
		struct code *code;

		if (w->known[i].hidden)
			continue;
		code = code_of(w, c, w->known[i].code, &error);
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
			code_of(w, c, w->known[i].code, &error);
	walker_forget(w);
	return WALK_MISS;
}

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

static uint32_t special_frame(struct walk_context *c, uint32_t *id, const char *name,
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
	frame = special_frame(c, &c->native_frame, "<native>", FRAME_NATIVE);
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
static enum walk_result check_caller(struct walker *w, struct walk_context *c, struct known *k)
{
	struct code *code;
	int error;

	if (k->calls)
		return WALK_OK;
	code = code_of(w, c, k->code, &error);
	if (!code || !may_call(w, c, code, byte_offset(c, w->layout, code, k->ip, k->a)))
		return WALK_TORN;
	k->calls = true;
	return WALK_OK;
}

/* The instructions that n fresh frames stand at, as they are specialised now: in the copy of the
 * bytecode that each runs. What cannot be read is not known. */
static void fetch_opcodes(struct walker *w, struct walk_context *c, size_t n)
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
static enum walk_result intern_frame(struct walker *w, struct walk_context *c, struct fresh *f,
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

/* Whether the newest chunk was copied as far as the stack reaches: to the leaf in it, or where that
 * stands elsewhere, to the top. What lies beyond is of an earlier gather. */
static bool copied_enough(const struct walker *w, uint64_t leaf)
{
	const struct windows *ws = &w->windows;
	const struct chunk *newest;

	if (!ws->n_chunks)
		return true;
	newest = &ws->chunks[ws->n_chunks - 1];
	if (leaf - newest->addr < newest->size)
		return leaf - newest->addr + (uint64_t)w->layout->frame.size <= newest->len;
	return windows_newest_used(ws) <= newest->len;
}

/* Whether the callers on the datastack are the same in both copies byte for byte, with their
 * values: up to the leaf, or where that stands elsewhere, up to the top. (The leaf's name may be a
 * little newer than the words with the top: layout.tstate.cframe.) */
static bool callers_stood(const struct walker *w, uint64_t leaf)
{
	const struct windows *ws = &w->windows;

	for (size_t i = ws->n_chunks; i > 0; i--) {
		const struct chunk *win = &ws->chunks[i - 1];
		uint32_t to = win->len;

		if (leaf - win->addr < win->len)
			to = (uint32_t)(leaf - win->addr);
		else if (i == ws->n_chunks && windows_newest_used(ws) < to)
			to = windows_newest_used(ws);
		if (to > win->twice_from &&
		    memcmp(win->a + win->twice_from, win->b + win->twice_from,
			   to - win->twice_from) != 0)
			return false;
	}
	return true;
}

/* Makes the walk's result what is known: shared frames of the last walk and n fresh ones. */
static enum walk_result keep_walk(struct walker *w, struct walk_context *c, size_t shared, size_t n,
				  bool truncated, uint32_t *ret_stack)
{
	uint64_t generator = shared ? w->known[shared - 1].generator : 0;
	uint32_t stack = shared ? w->known[shared - 1].stack : 0;
	enum walk_result r;

	if (truncated) {
		uint32_t frame =
			special_frame(c, &c->truncated_frame, "<truncated>", FRAME_TRUNCATED);

		stack = frame ? tables_stack(c->tables, 0, frame) : 0;
		if (!stack)
			return WALK_MEMORY;
	}
	r = check_fresh(w, c, n);
	if (r != WALK_OK)
		return r;
	if (c->opcodes)
		fetch_opcodes(w, c, n);
	if (grow_array((void **)&w->known, &w->room_known, shared + n, sizeof(*w->known)) < 0)
		return WALK_MEMORY;
	w->n_known = shared;
	for (size_t i = n; i > 0; i--) {
		struct fresh *f = &w->fresh[i - 1];
		bool own = f->hidden; /* the interpreter's, by its owner */

		r = intern_frame(w, c, f, stack, &stack);
		if (r != WALK_OK)
			break;
		if (f->generator)
			generator = f->addr;
		w->near[hash_addr(f->addr) & ((1 << NEAR_BITS) - 1)] = (uint16_t)w->n_known;
		w->known[w->n_known++] = (struct known){.addr = f->addr,
							.code = f->code,
							.previous = f->previous,
							.ip = f->ip,
							.serial = f->serial,
							.stack = stack,
							.generator = generator,
							.in_chunk = f->in_chunk,
							.hidden = f->hidden,
							.calls = own || f->caller,
							.a = f->a,
							.b = f->b};
	}
	/* A chain whose base was cut cannot be compared from its base. */
	if (truncated)
		w->n_known = 0;
	if (r != WALK_OK)
		return r;
	w->has_walk = !truncated;
	w->codes_stamp = c->stamp;
	*ret_stack = stack;
	return WALK_OK;
}

/* Whether the newest chunk is the one that the words name. */
static bool newest_chunk_is(const struct walker *w)
{
	const struct windows *ws = &w->windows;

	return !ws->n_chunks || w->layout->tstate.datastack_chunk == ABSENT ||
	       word_at(ws->words, w->layout->tstate.datastack_chunk) ==
		       ws->chunks[ws->n_chunks - 1].addr;
}

static enum walk_result walk(struct walker *w, struct walk_context *c, uint32_t *ret_stack,
			     bool *ret_repeat)
{
	const struct layout *l = w->layout;
	uint64_t addr, end = 0;
	size_t n = 0, same, place, shared = 0;
	bool truncated = false;
	struct fresh *f;
	enum walk_result r;

	if (w->doubtful && !c->held) {
		walker_forget(w);
		w->doubtful = false;
	}
	relocate_known(w);
	w->windows.walks++;
	*ret_repeat = false;
	if (!words_are_ours(w))
		return WALK_CHANGED;
	r = leaf_address(w, &addr);
	if (r != WALK_OK)
		return r;
	if (l->tstate.base_frame != ABSENT)
		end = word_at(w->windows.words, l->tstate.base_frame);
	if (!newest_chunk_is(w) || !copied_enough(w, addr))
		return WALK_MISS;
	if (!w->windows.once && !callers_stood(w, addr))
		return WALK_TORN;
	place = known_index(w, addr, w->n_known);
	same = unchanged(w, place < w->n_known ? place + 1 : w->n_known, c->held);
	while (addr && addr != end) {
		place = known_index(w, addr, same);
		if (place < same) {
			shared = place + 1;
			break;
		}
		if (n == SAMPLER_MAX_DEPTH) {
			truncated = true;
			break;
		}
		if (grow_array((void **)&w->fresh, &w->room_fresh, n + 1, sizeof(*w->fresh)) < 0)
			return WALK_MEMORY;
		f = &w->fresh[n];
		r = take_frame(w, addr, n ? STANDS : EXECUTES, f);
		if (r == WALK_OK && f->generator && !f->in_chunk && !c->held &&
		    !executes(w, f->a, f->b))
			r = WALK_TORN;
		if (r != WALK_OK)
			return r;
		addr = w->fresh[n++].previous;
	}
	r = check_known(w, c, shared);
	if (r == WALK_OK && n && shared)
		r = check_caller(w, c, &w->known[shared - 1]);
	if (r != WALK_OK)
		return r;
	if (n == 0 && w->has_walk && shared == w->n_known) {
		w->codes_stamp = c->stamp;
		*ret_repeat = true;
		*ret_stack = shared ? w->known[shared - 1].stack : 0;
		return WALK_OK;
	}
	return keep_walk(w, c, shared, n, truncated, ret_stack);
}

/* ---- resting ---- */

/* Whether all that can move in the thread's stack lies in one chunk, which copy A has whole. */
static bool may_rest(const struct walker *w)
{
	const struct windows *ws = &w->windows;
	uint32_t used = windows_newest_used(ws);

	if (!w->has_walk || !w->n_known || ws->n_chunks != 1 ||
	    w->layout->tstate.datastack_top == ABSENT || used == 0 || used > ws->chunks[0].len ||
	    ws->chunks[0].failed || !w->known[w->n_known - 1].in_chunk)
		return false;
	/* A frame of the interpreter's own, elsewhere, only leads from one in the chunk to another.
	 */
	for (size_t i = 0; i < w->n_known; i++)
		if (!w->known[i].in_chunk && !w->known[i].hidden)
			return false;
	return true;
}

/* After a proven walk that repeated the one before: remembers how the thread stands. So often the
 * same, and it rests. */
static bool remember_rest(struct walker *w)
{
	size_t size = (size_t)w->layout->tstate.size;

	if (!may_rest(w))
		return false;
	if (!w->rest) {
		w->rest = calloc(1, sizeof(*w->rest) + size);
		if (!w->rest)
			return false;
		w->rest->words = (uint8_t *)(w->rest + 1);
	}
	if (w->rest->same && memcmp(w->rest->words, w->windows.words, size) == 0)
		return ++w->rest->same > REST_AFTER;
	w->rest->same = 1;
	memcpy(w->rest->words, w->windows.words, size);
	return false;
}

bool walker_rests(const struct walker *w)
{
	return w->resting;
}

struct memory_range walker_rest_words(struct walker *w)
{
	return (struct memory_range){.addr = w->windows.tstate,
				     .len = (uint32_t)w->layout->tstate.size,
				     .buf = w->windows.words};
}

size_t walker_rest_ranges(struct walker *w, struct memory_range *out)
{
	const struct layout *l = w->layout;

	const struct chunk *newest = &w->windows.chunks[0];

	out[0] = (struct memory_range){
		.addr = newest->addr, .len = windows_newest_used(&w->windows), .buf = newest->b};
	if (l->tstate.cframe == ABSENT)
		return 1;
	/* In 3.11 and 3.12 the leaf is named there. */
	out[1] = (struct memory_range){.addr = word_at(w->rest->words, l->tstate.cframe),
				       .len = CFRAME_BYTES,
				       .buf = w->rest->cframe};
	return 2;
}

static bool leaf_stays(const struct walker *w, const struct memory_range *ranges)
{
	if (w->layout->tstate.cframe == ABSENT)
		return true;
	return !ranges[1].failed && word_at(w->rest->cframe, w->layout->cframe.current_frame) ==
					    w->known[w->n_known - 1].addr;
}

bool walker_still_rests(struct walker *w, struct walk_context *c, const struct memory_range *words,
			const struct memory_range *ranges, uint32_t *ret_stack)
{
	const struct chunk *newest = &w->windows.chunks[0];

	if (!words->failed && !ranges[0].failed &&
	    memcmp(w->windows.words, w->rest->words, (size_t)w->layout->tstate.size) == 0 &&
	    memcmp(newest->b, newest->a, ranges[0].len) == 0 && leaf_stays(w, ranges) &&
	    check_known(w, c, w->n_known) == WALK_OK) {
		w->codes_stamp = c->stamp;
		*ret_stack = w->known[w->n_known - 1].stack;
		return true;
	}
	w->resting = false;
	w->rest->same = 0;
	return false;
}

enum walk_result walker_walk(struct walker *w, struct walk_context *c, struct memory_range *ranges,
			     uint32_t *ret_stack, bool *ret_repeat)
{
	enum walk_result r;

	if (!windows_take(&w->windows, ranges))
		return WALK_UNREADABLE;
	r = walk(w, c, ret_stack, ret_repeat);
	w->resting = r == WALK_OK && *ret_repeat && !w->windows.once && remember_rest(w);
	if (w->rest && !*ret_repeat)
		w->rest->same = 0;
	if (w->windows.walks % PRUNE_EVERY == 0)
		prune(w);
	return r;
}

/* ---- planning ---- */

static enum walk_result result_of(int r)
{
	return r == -ENOMEM ? WALK_MEMORY : r < 0 ? WALK_TORN : WALK_OK;
}

/* Adds what stands at addr to what is copied, and reads it as it is now. */
static enum walk_result plan_outside(struct walker *w, struct memory *m, uint64_t addr,
				     uint8_t *bytes, uint32_t len, bool twice)
{
	if (addr % 8 || memory_read(m, addr, bytes, len) < 0)
		return WALK_TORN;
	return result_of(windows_add(&w->windows, addr, len, twice));
}

/* The frames outside the chunks, and the _PyCFrame, by following the chain as it is now. */
static enum walk_result plan_chain(struct walker *w, struct memory *m)
{
	const struct layout *l = w->layout;
	const uint8_t *words = w->windows.words;
	uint8_t bytes[FRAME_MAX_HEAD];
	uint64_t addr, end = 0;
	enum walk_result r = WALK_OK;

	if (l->tstate.cframe == ABSENT) {
		addr = word_at(words, l->tstate.frame);
	} else {
		addr = word_at(words, l->tstate.cframe);
		if (addr)
			r = plan_outside(w, m, addr, bytes, CFRAME_BYTES, false);
		if (addr && r == WALK_OK)
			addr = word_at(bytes, l->cframe.current_frame);
	}
	if (l->tstate.base_frame != ABSENT)
		end = word_at(words, l->tstate.base_frame);
	for (size_t n = 0; r == WALK_OK && addr && addr != end && n < SAMPLER_MAX_DEPTH; n++) {
		struct copied c;

		/* What is copied of frames elsewhere may be older than the rest. */
		if (windows_find(&w->windows, addr, (uint32_t)l->frame.size, &c) && c.in_chunk) {
			addr = word_at(c.a, l->frame.previous);
			continue;
		}
		r = plan_outside(w, m, addr, bytes, (uint32_t)l->frame.size, true);
		addr = word_at(bytes, l->frame.previous);
	}
	return r;
}

enum walk_result walker_plan(struct walker *w, struct memory *m)
{
	enum walk_result r;

	w->resting = false;
	if (memory_read(m, w->windows.tstate, w->windows.words, (size_t)w->layout->tstate.size) < 0)
		return WALK_UNREADABLE;
	if (!words_are_ours(w))
		return WALK_CHANGED;
	windows_drop_failed(&w->windows);
	r = result_of(windows_plan_chunks(&w->windows, m));
	return r == WALK_OK ? plan_chain(w, m) : r;
}

/* Whether frame k stands in a part of the datastack that is in use by the words. */
static bool is_live(const struct walker *w, const struct known *k)
{
	const struct chunk *newest = &w->windows.chunks[w->windows.n_chunks - 1];
	uint32_t used = windows_newest_used(&w->windows);

	if (!k->in_chunk)
		return false;
	if (used > newest->len)
		used = newest->len;
	if (k->addr - newest->addr < newest->size)
		return k->addr - newest->addr + (uint64_t)w->layout->frame.size <= used;
	return true;
}

/* How many frames of the last walk, from the base, are proven to be in use: of the same unchanged
 * ones. */
static size_t live(const struct walker *w, size_t same)
{
	size_t n = 0;

	/* On the heap only the chain itself shows that a frame is in use. */
	if (w->layout->frame_style != FRAME_STYLE_INTERPRETER)
		return 0;
	/* Frames lie on the datastack one behind the other, so a frame that did not change, stands
	 * where the frame above an unchanged caller begins, and lies below the top, is alive. A
	 * frame elsewhere is proven by the one that it called. */
	for (size_t i = 0; i < same; i++) {
		if (is_live(w, &w->known[i]))
			n = i + 1;
		else if (w->known[i].in_chunk)
			break;
	}
	return n;
}

/* Follows the chain from the leaf down to one of the same unchanged frames of the last walk: how
 * many those are up to it; 0: it does not get there. *ret_n: the frames above it, leaf first; those
 * moved, but were in use when the leaf was named. */
static size_t climb(struct walker *w, size_t same, size_t *ret_n)
{
	uint64_t addr;

	*ret_n = 0;
	if (leaf_address(w, &addr) != WALK_OK || !copied_enough(w, addr))
		return 0;
	for (size_t n = 0; addr && n < SAMPLER_MAX_DEPTH; n++) {
		size_t place = known_index(w, addr, same);

		*ret_n = n;
		if (place < same)
			return place + 1;
		if (grow_array((void **)&w->fresh, &w->room_fresh, n + 1, sizeof(*w->fresh)) < 0 ||
		    take_frame(w, addr, MOVES, &w->fresh[n]) != WALK_OK)
			return 0;
		w->fresh[n].caller = n > 0;
		addr = w->fresh[n].previous;
	}
	return 0;
}

/* The frame that stands on the first n of the last walk, of above that were followed from the leaf.
 * It was called from there while it was read, and got on: where it stood last is shown. */
static uint32_t moving_above(struct walker *w, struct walk_context *c, size_t n, size_t above)
{
	uint32_t callers = w->known[n - 1].stack, stack = callers;

	if (!above)
		return callers;
	w->fresh[0] = w->fresh[above - 1];
	if (check_caller(w, c, &w->known[n - 1]) != WALK_OK || check_fresh(w, c, 1) != WALK_OK ||
	    intern_frame(w, c, &w->fresh[0], callers, &stack) != WALK_OK)
		return callers;
	return stack;
}

uint32_t walker_prefix(struct walker *w, struct walk_context *c)
{
	size_t same, proven, followed, above = 0;
	uint32_t frame, callers;

	w->prefix = (struct prefix){0};
	relocate_known(w);
	if (w->layout->frame_style == FRAME_STYLE_INTERPRETER &&
	    (!w->windows.n_chunks || !newest_chunk_is(w)))
		return 0;
	same = unchanged(w, w->n_known, c->held);
	proven = live(w, same);
	followed = climb(w, same, &above);
	if (followed < proven)
		above = 0;
	else
		proven = followed;
	if (!proven || !w->known[proven - 1].stack || check_known(w, c, proven) != WALK_OK)
		return 0;
	callers = moving_above(w, c, proven, above);
	w->prefix = (struct prefix){proven, callers != w->known[proven - 1].stack, callers};
	frame = special_frame(c, &c->moving_frame, "<moving>", FRAME_MOVING);
	return frame ? tables_stack(c->tables, callers, frame) : 0;
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
	uint32_t frame = special_frame(c, &c->gc_frame, "<GC>", FRAME_GC), below = stack, with;

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
		const struct code *code = code_of(w, c, w->known[n - 1].code, &error);

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
	code = w->prefix.above ? code_of(w, c, w->fresh[0].code, &error) : NULL;
	return code && code->generator;
}
