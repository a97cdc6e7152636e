#include "remote/frame.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "remote/sampler.h"
#include "remote/thread.h"

#define MAX_CHUNKS	512	   /* datastack chunks: 8 MB of frames */
#define MAX_CHUNK_BYTES (1u << 20) /* of one chunk; CPython makes 16 KiB ones */
#define SLACK		512	   /* bytes copied beyond the last known top of the datastack */
#define FRAME_MAX_HEAD                                                                             \
	256		      /* a frame without its locals; 3.8's PyFrameObject has 360 B with    \
			       * block stack, of which less than this is read */
#define NEAR_BITS	9     /* log2 of the slots that remember where a frame stood in the walk */
#define TWICE_BYTES	8192u /* of the top of the datastack that are copied twice */
#define REST_BYTES	256u  /* of the top of the datastack that tell that a thread rests */
#define TWICE_STEP	2048u
#define TWICE_FRAMES	8   /* of the frames elsewhere, counted from the leaf */
#define PRUNE_TICKS	128 /* an outside frame not seen for so many walks is read no more */
#define OPCODES_AT_ONCE 64
#define MAX_SPARE	24 /* of such frames, how many are kept while they age */

/* A piece of the target's memory that is copied at each gather. */
struct window {
	uint64_t addr;
	uint32_t len;	     /* bytes to copy now */
	uint32_t room;	     /* bytes that a and b hold each */
	uint32_t size;	     /* of the chunk in the target; of an outside frame: len */
	uint32_t used;	     /* walk number when it was last part of a stack */
	uint32_t twice_from; /* from here on copy B is made too; len: none */
	bool failed;	     /* the last gather could not read it */
	uint8_t *a, *b;
};

/* A frame of the last walk. */
struct known {
	uint64_t addr;
	uint64_t code, previous, ip; /* the raw words */
	uint32_t stack;		     /* the stack up to and with it */
	bool in_chunk, hidden;
	const uint8_t *a, *b;
};

/* A frame of the walk under way. */
struct fresh {
	uint64_t addr, code, previous, ip;
	const uint8_t *a, *b;
	bool in_chunk, hidden, generator; /* generator: owned by one */
	bool entry;			  /* 3.11: called by C code */
	uint32_t op;
};

struct walker {
	const struct layout *layout;
	uint64_t tstate, ident, interp;
	uint8_t *words;
	bool once;	 /* only copy A was made */
	bool still;	 /* the kernel says that the thread sleeps */
	bool unreadable; /* the words could not be read */
	bool resting;	 /* its words and the top of its stack stood still lately */

	struct window *chunks; /* oldest first */
	size_t n_chunks, room_chunks;
	struct window *outside; /* frames elsewhere: on the C stack, in generators, on the heap */
	size_t n_outside, room_outside;
	uint32_t *slots; /* outside frames by address: index + 1 */
	size_t n_slots;
	struct window cframe; /* 3.11, 3.12: the _PyCFrame in use; addr 0: none yet */
	uint64_t top_seen;    /* the highest top of the newest chunk lately, from its start */

	struct known *known; /* base first */
	size_t n_known, room_known;
	bool has_walk;
	struct rest {
		bool known;    /* words and top are those of a proven walk */
		uint64_t addr; /* of the top of the datastack that is watched */
		uint32_t len;
		uint8_t *words;
		uint8_t top[REST_BYTES], now[REST_BYTES];
	} * rest;
	struct fresh *fresh; /* leaf first */
	size_t room_fresh;
	uint16_t near[1 << NEAR_BITS]; /* index in known by address; a hint */
	uint32_t walks;
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
	w->tstate = tstate;
	w->ident = ident;
	w->interp = interp;
	w->words = calloc(1, (size_t)target->layout.tstate.size);
	w->cframe.a = calloc(1, 64);
	w->cframe.len = w->cframe.room = 16;
	if (!w->words || !w->cframe.a) {
		walker_free(w);
		return -ENOMEM;
	}
	*ret = w;
	return 0;
}

static void window_done(struct window *win)
{
	free(win->a);
}

void walker_free(struct walker *w)
{
	if (!w)
		return;
	for (size_t i = 0; i < w->n_chunks; i++)
		window_done(&w->chunks[i]);
	for (size_t i = 0; i < w->n_outside; i++)
		window_done(&w->outside[i]);
	window_done(&w->cframe);
	free(w->chunks);
	free(w->outside);
	free(w->slots);
	free(w->known);
	free(w->fresh);
	free(w->rest);
	free(w->words);
	free(w);
}

void walker_set_still(struct walker *w, bool still)
{
	w->still = still;
}

const uint8_t *walker_words(const struct walker *w)
{
	return w->words;
}

void walker_forget(struct walker *w)
{
	w->n_known = 0;
	w->has_walk = false;
	w->resting = false;
}

/* ---- windows ---- */

/* Room for len bytes in both copies. */
static int window_reserve(struct window *win, uint32_t len)
{
	uint32_t room = (len + 255) & ~255u;
	uint8_t *p;

	if (win->room >= len)
		return 0;
	p = calloc(2, room);
	if (!p)
		return -ENOMEM;
	free(win->a);
	win->a = p;
	win->b = p + room;
	win->room = room;
	return 0;
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

static void index_one(struct walker *w, size_t i)
{
	size_t s = hash_addr(w->outside[i].addr) & (w->n_slots - 1);

	while (w->slots[s])
		s = (s + 1) & (w->n_slots - 1);
	w->slots[s] = (uint32_t)i + 1;
}

static int index_outside(struct walker *w)
{
	size_t need = 16;

	while (need < w->n_outside * 2)
		need *= 2;
	if (need > w->n_slots) {
		uint32_t *slots = realloc(w->slots, need * 2 * sizeof(*slots));

		if (!slots)
			return -ENOMEM;
		w->slots = slots;
		w->n_slots = need * 2;
	}
	memset(w->slots, 0, w->n_slots * sizeof(*w->slots));
	for (size_t i = 0; i < w->n_outside; i++)
		index_one(w, i);
	return 0;
}

/* NULL: not among them. */
static struct window *find_outside(const struct walker *w, uint64_t addr)
{
	size_t s;

	if (!w->n_outside)
		return NULL;
	for (s = hash_addr(addr) & (w->n_slots - 1); w->slots[s]; s = (s + 1) & (w->n_slots - 1))
		if (w->outside[w->slots[s] - 1].addr == addr)
			return &w->outside[w->slots[s] - 1];
	return NULL;
}

static const uint8_t *copy_b(const struct window *win, uint64_t at)
{
	return (at < win->twice_from ? win->a : win->b) + at;
}

/* Where the frame at addr was copied to; *ret_b is copy A where no other is made. */
static bool find_frame(struct walker *w, uint64_t addr, const uint8_t **ret_a,
		       const uint8_t **ret_b, bool *ret_in_chunk)
{
	uint32_t size = (uint32_t)w->layout->frame.size;
	struct window *win;

	for (size_t i = w->n_chunks; i > 0; i--) {
		win = &w->chunks[i - 1];
		if (addr - win->addr < win->len) {
			if (win->failed || win->len - (addr - win->addr) < size)
				return false;
			*ret_a = win->a + (addr - win->addr);
			*ret_b = copy_b(win, addr - win->addr);
			*ret_in_chunk = true;
			return true;
		}
	}
	win = find_outside(w, addr);
	if (!win || win->failed)
		return false;
	win->used = w->walks;
	*ret_a = win->a;
	*ret_b = copy_b(win, 0);
	*ret_in_chunk = false;
	return true;
}

/* After windows moved: the frames of the last walk are looked for anew; one that is not copied
 * any more ends what is known. */
static void relocate_known(struct walker *w)
{
	for (size_t i = 0; i < w->n_known; i++) {
		struct known *k = &w->known[i];

		if (!find_frame(w, k->addr, &k->a, &k->b, &k->in_chunk)) {
			w->n_known = i;
			break;
		}
	}
}

static int add_outside(struct walker *w, uint64_t addr)
{
	struct window win = {.addr = addr,
			     .len = (uint32_t)w->layout->frame.size,
			     .size = (uint32_t)w->layout->frame.size,
			     .used = w->walks};
	int r = grow_array((void **)&w->outside, &w->room_outside, w->n_outside + 1, sizeof(win));

	if (r == 0)
		r = window_reserve(&win, win.len);
	if (r < 0)
		return r;
	w->outside[w->n_outside++] = win;
	if (w->n_outside * 2 > w->n_slots)
		return index_outside(w);
	index_one(w, w->n_outside - 1);
	return 0;
}

/* Gives up the outside frames that no stack has used for a while, and the oldest when there are
 * many more than the stack uses; and says of which frames one copy is enough. */
static void prune_outside(struct walker *w)
{
	size_t kept = 0, in_use = 0;

	for (size_t i = 0; i < w->n_known; i++) {
		const struct known *k = &w->known[i];
		struct window *win = k->in_chunk ? NULL : find_outside(w, k->addr);

		if (!win)
			continue;
		win->used = w->walks;
		win->twice_from = k->hidden || w->n_known - i > TWICE_FRAMES ? win->len : 0;
		in_use++;
	}
	for (size_t i = 0; i < w->n_outside; i++) {
		uint32_t age = w->walks - w->outside[i].used;
		size_t spare = w->n_outside - in_use;

		if (age > PRUNE_TICKS || (spare > MAX_SPARE && age > PRUNE_TICKS / 8))
			window_done(&w->outside[i]);
		else
			w->outside[kept++] = w->outside[i];
	}
	if (kept != w->n_outside) {
		w->n_outside = kept;
		index_outside(w); /* never needs more room here */
	}
	relocate_known(w);
}

/* The used part of the newest chunk by the words; 0 when they do not hold. */
static uint32_t newest_used(const struct walker *w, const struct window *newest)
{
	uint64_t top;

	if (w->layout->tstate.datastack_top == ABSENT)
		return newest->size;
	top = word_at(w->words, w->layout->tstate.datastack_top) - newest->addr;
	return top >= (uint64_t)w->layout->chunk.data && top <= newest->size ? (uint32_t)top : 0;
}

/* Only the top of the datastack is copied twice: frames below one that stood still could not move
 * either. The boundary moves in steps, so that it rarely does. */
static void plan_twice(struct walker *w)
{
	uint32_t left = TWICE_BYTES;
	bool moved = false;

	for (size_t i = w->n_chunks; i > 0; i--) {
		struct window *win = &w->chunks[i - 1];
		uint32_t from = left == 0	  ? win->len
				: win->len > left ? (win->len - left) & ~(TWICE_STEP - 1)
						  : 0;

		/* Too much copied twice does no harm. */
		if (win->twice_from > from || win->twice_from + TWICE_STEP < from || left == 0) {
			moved |= win->twice_from != from;
			win->twice_from = from;
		}
		left = win->len < left ? left - win->len : 0;
	}
	if (moved)
		relocate_known(w);
}

/* How much of the newest chunk to copy next: to the top as it was last, some slack, and as far as
 * it reached lately (which decays). */
static void plan_newest(struct walker *w)
{
	struct window *win = &w->chunks[w->n_chunks - 1];
	uint32_t used = newest_used(w, win), len;

	if (used == 0)
		return;
	if (w->top_seen < used)
		w->top_seen = used;
	else
		w->top_seen -= (w->top_seen - used + 63) / 64;
	len = (uint32_t)w->top_seen + SLACK;
	if (len > win->size)
		len = win->size;
	/* Room may be short when memory is: then less is copied and the rest is a miss. */
	if (len > win->room && window_reserve(win, len > win->size / 2 ? win->size : len) == 0)
		relocate_known(w);
	win->len = len < win->room ? len : win->room;
	plan_twice(w);
}

size_t walker_range_count(const struct walker *w)
{
	return w->n_chunks * 3 + w->n_outside * 2 + WALKER_REST_RANGES;
}

/* One piece of what a gather reads; win is NULL for the words. */
typedef void range_visitor(struct walker *w, struct window *win, uint32_t from, uint32_t to,
			   bool second, struct memory_range *range);

static size_t visit(struct walker *w, struct window *win, uint32_t from, uint32_t to, bool second,
		    range_visitor *f, struct memory_range *range)
{
	if (from >= to)
		return 0;
	f(w, win, from, to, second, range);
	return 1;
}

/* The order of a gather: copy A of all that is copied twice, then what is copied once, the words,
 * copy B. What is copied once lies below frames that are copied twice, and is read in between: if
 * those stood still, so did it. */
static size_t visit_ranges(struct walker *w, range_visitor *f, struct memory_range *ranges)
{
	size_t n = 0;

	for (size_t i = w->n_chunks; i > 0; i--)
		n += visit(w, &w->chunks[i - 1], w->chunks[i - 1].twice_from, w->chunks[i - 1].len,
			   false, f, ranges + n);
	for (size_t i = 0; i < w->n_outside; i++)
		n += visit(w, &w->outside[i], w->outside[i].twice_from, w->outside[i].len, false, f,
			   ranges + n);
	for (size_t i = w->n_chunks; i > 0; i--)
		n += visit(w, &w->chunks[i - 1], 0, w->chunks[i - 1].twice_from, false, f,
			   ranges + n);
	for (size_t i = 0; i < w->n_outside; i++)
		n += visit(w, &w->outside[i], 0, w->outside[i].twice_from, false, f, ranges + n);
	n += visit(w, NULL, 0, (uint32_t)w->layout->tstate.size, false, f, ranges + n);
	if (w->cframe.addr)
		n += visit(w, &w->cframe, 0, w->cframe.len, false, f, ranges + n);
	if (w->once)
		return n;
	for (size_t i = 0; i < w->n_outside; i++)
		n += visit(w, &w->outside[i], w->outside[i].twice_from, w->outside[i].len, true, f,
			   ranges + n);
	for (size_t i = w->n_chunks; i > 0; i--)
		n += visit(w, &w->chunks[i - 1], w->chunks[i - 1].twice_from, w->chunks[i - 1].len,
			   true, f, ranges + n);
	return n;
}

static void set_range(struct walker *w, struct window *win, uint32_t from, uint32_t to, bool second,
		      struct memory_range *range)
{
	if (!win)
		*range = (struct memory_range){.addr = w->tstate, .len = to, .buf = w->words};
	else
		*range = (struct memory_range){.addr = win->addr + from,
					       .len = to - from,
					       .buf = (second ? win->b : win->a) + from};
}

size_t walker_ranges(struct walker *w, struct memory_range *out, bool twice)
{
	if (w->n_chunks)
		plan_newest(w);
	w->once = !twice;
	return visit_ranges(w, set_range, out);
}

static void take_failure(struct walker *w, struct window *win, uint32_t from, uint32_t to,
			 bool second, struct memory_range *range)
{
	if (!win)
		w->unreadable = range->failed;
	else if (range->failed)
		win->failed = true;
}

/* Takes over which ranges failed: false when the words did. */
static bool take_failures(struct walker *w, struct memory_range *ranges)
{
	for (size_t i = 0; i < w->n_chunks; i++)
		w->chunks[i].failed = false;
	for (size_t i = 0; i < w->n_outside; i++)
		w->outside[i].failed = false;
	w->cframe.failed = false;
	visit_ranges(w, take_failure, ranges);
	return !w->unreadable;
}

/* ---- the walk ---- */

static bool words_are_ours(const struct walker *w)
{
	const struct layout *l = w->layout;

	return word_at(w->words, l->tstate.interp) == w->interp &&
	       word_at(w->words, l->tstate.thread_id) == w->ident;
}

/* The leaf's address by the words; 0 none. */
static enum walk_result leaf_address(struct walker *w, uint64_t *ret)
{
	const struct layout *l = w->layout;
	uint64_t cframe;

	if (l->tstate.cframe == ABSENT) {
		*ret = word_at(w->words, l->tstate.frame);
		return WALK_OK;
	}
	cframe = word_at(w->words, l->tstate.cframe);
	if (cframe == 0) {
		*ret = 0;
		return WALK_OK;
	}
	if (cframe != w->cframe.addr || w->cframe.failed) {
		return WALK_MISS;
	}
	*ret = word_at(w->cframe.a, l->cframe.current_frame);
	return WALK_OK;
}

/* How many frames of the last walk, from the base, are in both copies as they were then. */
static size_t unchanged(const struct walker *w, size_t n)
{
	const struct layout *l = w->layout;
	const int32_t code = l->frame.executable, previous = l->frame.previous;

	for (size_t i = 0; i < n; i++) {
		const struct known *k = &w->known[i];
		const uint8_t *a = k->a, *b = w->once ? k->a : k->b;

		if (((word_at(a, code) ^ k->code) | (word_at(b, code) ^ k->code) |
		     (word_at(a, previous) ^ k->previous) | (word_at(b, previous) ^ k->previous) |
		     (ip_at(l, a) ^ k->ip) | (ip_at(l, b) ^ k->ip)) != 0)
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

/* Takes the frame at addr out of the copies. leaf: it may execute meanwhile. */
static enum walk_result take_frame(struct walker *w, uint64_t addr, bool leaf, struct fresh *ret)
{
	const struct layout *l = w->layout;
	struct fresh f = {.addr = addr};
	const uint8_t *b;

	if (addr % 8 || !find_frame(w, addr, &f.a, &f.b, &f.in_chunk)) {
		return addr % 8 ? WALK_TORN : WALK_MISS;
	}
	b = w->once ? f.a : f.b;
	f.code = word_at(f.a, l->frame.executable);
	f.previous = word_at(f.a, l->frame.previous);
	f.ip = ip_at(l, b);
	if (f.code != word_at(b, l->frame.executable) ||
	    f.previous != word_at(b, l->frame.previous) || (!leaf && f.ip != ip_at(l, f.a)))
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

/* The code objects of n fresh frames, those checked that the stamp says may have been replaced. */
static void check_codes(struct walker *w, struct walk_context *c, size_t n)
{
	struct code *old[CODE_CHECK_MAX];
	size_t n_old = 0;
	int error;

	for (size_t i = 0; i < n && n_old < CODE_CHECK_MAX; i++) {
		const struct fresh *f = &w->fresh[i];
		struct code *code;
		size_t k = 0;

		if (f->hidden)
			continue;
		code = code_cache_get(c->codes, f->code & w->layout->frame.executable_mask,
				      c->stamp, &error);
		if (!code || code->stamp == c->stamp)
			continue;
		while (k < n_old && old[k] != code)
			k++;
		if (k == n_old)
			old[n_old++] = code;
	}
	if (n_old)
		code_cache_check(c->codes, old, n_old, c->stamp);
}

/* The address of instruction 0 of the copy of the bytecode that a frame runs. */
static uint64_t bytecode_start(struct walk_context *c, const struct layout *l,
			       const struct code *code, const struct fresh *f)
{
	int32_t index;
	uint64_t start;

	if (!code->tlbc || l->frame.tlbc_index == ABSENT)
		return code->start;
	memcpy(&index, f->a + l->frame.tlbc_index, 4);
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
			   const struct fresh *f)
{
	if (l->frame_style == FRAME_STYLE_OBJECT)
		return (int64_t)f->ip * l->frame.lasti_unit;
	return (int64_t)(f->ip - bytecode_start(c, l, code, f)) - l->frame.instr_back;
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
					      c->stamp, &error);
		ip = code ? byte_offset(c, l, code, f) : -1;
		at = code ? code_instruction(c->codes, code, ip) : -1;
		if (at >= 0) {
			uint64_t start = l->frame_style == FRAME_STYLE_OBJECT
						 ? code->start
						 : bytecode_start(c, l, code, f);

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
	code = code_cache_get(c->codes, f->code & l->frame.executable_mask, c->stamp, &error);
	if (!code)
		return error == -ENOMEM ? WALK_MEMORY : WALK_TORN;
	/* A generator that yields loses its caller an instant before it stops being the leaf. */
	if (f->previous == 0 && code->generator && !w->still)
		return WALK_TORN;
	ip = byte_offset(c, l, code, f);
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

/* Whether the callers on the datastack are the same in both copies byte for byte, with their
 * values: up to the leaf, or where that stands elsewhere, up to the top. */
static bool callers_stood(const struct walker *w, uint64_t leaf)
{
	for (size_t i = w->n_chunks; i > 0; i--) {
		const struct window *win = &w->chunks[i - 1];
		uint32_t to = win->len;

		if (i == w->n_chunks && newest_used(w, win) < to)
			to = newest_used(w, win);
		if (leaf - win->addr < to)
			to = (uint32_t)(leaf - win->addr);
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
	uint32_t stack = shared ? w->known[shared - 1].stack : 0;

	if (truncated) {
		uint32_t frame =
			special_frame(c, &c->truncated_frame, "<truncated>", FRAME_TRUNCATED);

		stack = frame ? tables_stack(c->tables, 0, frame) : 0;
		if (!stack)
			return WALK_MEMORY;
	}
	check_codes(w, c, n);
	if (c->opcodes)
		fetch_opcodes(w, c, n);
	if (grow_array((void **)&w->known, &w->room_known, shared + n, sizeof(*w->known)) < 0)
		return WALK_MEMORY;
	w->n_known = shared;
	for (size_t i = n; i > 0; i--) {
		struct fresh *f = &w->fresh[i - 1];
		enum walk_result r = intern_frame(w, c, f, stack, &stack);

		if (r != WALK_OK)
			return r;
		w->near[hash_addr(f->addr) & ((1 << NEAR_BITS) - 1)] = (uint16_t)w->n_known;
		w->known[w->n_known++] = (struct known){.addr = f->addr,
							.code = f->code,
							.previous = f->previous,
							.ip = f->ip,
							.stack = stack,
							.in_chunk = f->in_chunk,
							.hidden = f->hidden,
							.a = f->a,
							.b = f->b};
	}
	/* A chain whose base was cut cannot be compared from its base. */
	if (truncated)
		w->n_known = 0;
	w->has_walk = !truncated;
	*ret_stack = stack;
	return WALK_OK;
}

static enum walk_result walk(struct walker *w, struct walk_context *c, uint32_t *ret_stack,
			     bool *ret_repeat)
{
	const struct layout *l = w->layout;
	uint64_t addr, end = 0;
	size_t n = 0, same, place, shared = 0;
	bool truncated = false;
	enum walk_result r;

	w->walks++;
	*ret_repeat = false;
	if (!words_are_ours(w))
		return WALK_CHANGED;
	r = leaf_address(w, &addr);
	if (r != WALK_OK)
		return r;
	if (l->tstate.base_frame != ABSENT)
		end = word_at(w->words, l->tstate.base_frame);
	if (w->n_chunks && l->tstate.datastack_chunk != ABSENT) {
		uint64_t newest = word_at(w->words, l->tstate.datastack_chunk);

		if (newest != w->chunks[w->n_chunks - 1].addr) {
			return WALK_MISS;
		}
	}
	if (!w->once && !callers_stood(w, addr))
		return WALK_TORN;
	place = known_index(w, addr, w->n_known);
	same = unchanged(w, place < w->n_known ? place + 1 : w->n_known);
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
		r = take_frame(w, addr, n == 0, &w->fresh[n]);
		if (r != WALK_OK)
			return r;
		addr = w->fresh[n++].previous;
	}
	if (n == 0 && w->has_walk && shared == w->n_known) {
		*ret_repeat = true;
		*ret_stack = shared ? w->known[shared - 1].stack : 0;
		return WALK_OK;
	}
	return keep_walk(w, c, shared, n, truncated, ret_stack);
}

/* ---- resting ---- */

/* The top of the datastack by the words, as copy A has it: where, how long; 0 when it is unknown or
 * the leaf is elsewhere. */
static uint32_t rest_region(const struct walker *w, uint64_t *ret_addr, const uint8_t **ret_copy)
{
	const struct window *newest;
	uint32_t used, from;

	if (!w->has_walk || !w->n_known || !w->n_chunks || !w->known[w->n_known - 1].in_chunk ||
	    w->layout->tstate.datastack_top == ABSENT)
		return 0;
	newest = &w->chunks[w->n_chunks - 1];
	used = newest_used(w, newest);
	if (used == 0 || used > newest->len || newest->failed ||
	    w->known[w->n_known - 1].addr - newest->addr >= used)
		return 0;
	from = used > REST_BYTES ? used - REST_BYTES : 0;
	*ret_addr = newest->addr + from;
	*ret_copy = newest->a + from;
	return used - from;
}

/* After a proven walk that repeated the one before: remembers how the thread stands. A second time
 * the same, and it rests. */
static bool remember_rest(struct walker *w)
{
	size_t size = (size_t)w->layout->tstate.size;
	const uint8_t *copy;
	uint64_t addr;
	uint32_t len = rest_region(w, &addr, &copy);

	if (len == 0)
		return false;
	if (!w->rest) {
		w->rest = calloc(1, sizeof(*w->rest) + size);
		if (!w->rest)
			return false;
		w->rest->words = (uint8_t *)(w->rest + 1);
	}
	if (w->rest->known && w->rest->addr == addr && w->rest->len == len &&
	    memcmp(w->rest->words, w->words, size) == 0 && memcmp(w->rest->top, copy, len) == 0)
		return true;
	w->rest->known = true;
	w->rest->addr = addr;
	w->rest->len = len;
	memcpy(w->rest->words, w->words, size);
	memcpy(w->rest->top, copy, len);
	return false;
}

bool walker_rests(const struct walker *w)
{
	return w->resting;
}

size_t walker_rest_ranges(struct walker *w, struct memory_range *out)
{
	out[0] = (struct memory_range){
		.addr = w->tstate, .len = (uint32_t)w->layout->tstate.size, .buf = w->words};
	out[1] = (struct memory_range){
		.addr = w->rest->addr, .len = w->rest->len, .buf = w->rest->now};
	if (!w->cframe.addr)
		return 2;
	/* In 3.11 and 3.12 the leaf is named there. */
	out[2] = (struct memory_range){
		.addr = w->cframe.addr, .len = w->cframe.len, .buf = w->cframe.a};
	return 3;
}

static bool leaf_stays(const struct walker *w, const struct memory_range *ranges)
{
	if (!w->cframe.addr)
		return true;
	return !ranges[2].failed && word_at(w->cframe.a, w->layout->cframe.current_frame) ==
					    w->known[w->n_known - 1].addr;
}

bool walker_still_rests(struct walker *w, const struct memory_range *ranges, uint32_t *ret_stack)
{
	if (!ranges[0].failed && !ranges[1].failed &&
	    memcmp(w->words, w->rest->words, (size_t)w->layout->tstate.size) == 0 &&
	    memcmp(w->rest->now, w->rest->top, w->rest->len) == 0 && leaf_stays(w, ranges)) {
		*ret_stack = w->known[w->n_known - 1].stack;
		return true;
	}
	w->resting = false;
	w->rest->known = false;
	return false;
}

enum walk_result walker_walk(struct walker *w, struct walk_context *c, struct memory_range *ranges,
			     uint32_t *ret_stack, bool *ret_repeat)
{
	enum walk_result r;

	if (!take_failures(w, ranges))
		return WALK_UNREADABLE;
	r = walk(w, c, ret_stack, ret_repeat);
	w->resting = r == WALK_OK && *ret_repeat && !w->once && remember_rest(w);
	if (w->walks % (PRUNE_TICKS / 8) == 0)
		prune_outside(w);
	return r;
}

/* ---- exploring ---- */

/* Plans the chunks by the words, newest to oldest, keeping the windows that still fit. */
static enum walk_result explore_chunks(struct walker *w, struct memory *m)
{
	const struct layout *l = w->layout;
	struct window found[MAX_CHUNKS];
	size_t n = 0;
	uint64_t addr = word_at(w->words, l->tstate.datastack_chunk);
	enum walk_result result = WALK_OK;

	if (w->n_chunks && w->chunks[w->n_chunks - 1].addr == addr)
		return WALK_OK;
	while (addr && n < MAX_CHUNKS) {
		struct window win = {.addr = addr};
		uint8_t head[64];
		uint64_t size, top;

		if (addr % 8 || l->chunk.data > (int32_t)sizeof(head) ||
		    memory_read(m, addr, head, (size_t)l->chunk.data) < 0) {
			result = WALK_TORN;
			break;
		}
		size = word_at(head, l->chunk.size);
		top = word_at(head, l->chunk.top);
		if (size < (uint64_t)l->chunk.data || size > MAX_CHUNK_BYTES) {
			result = WALK_TORN;
			break;
		}
		win.size = (uint32_t)size;
		win.len = n == 0	   ? newest_used(w, &win)
			  : top > size / 8 ? 0
					   : (uint32_t)(l->chunk.data + (int32_t)(top * 8));
		if (win.len == 0 || win.len > size) {
			result = WALK_TORN;
			break;
		}
		for (size_t i = 0; i < w->n_chunks; i++)
			if (w->chunks[i].addr == addr) {
				win.a = w->chunks[i].a;
				win.b = w->chunks[i].b;
				win.room = w->chunks[i].room;
				w->chunks[i] = (struct window){0};
			}
		if (window_reserve(&win, win.len) < 0) {
			result = WALK_MEMORY;
			break;
		}
		found[n++] = win;
		addr = word_at(head, l->chunk.previous);
	}
	for (size_t i = 0; i < w->n_chunks; i++)
		window_done(&w->chunks[i]);
	w->n_chunks = 0;
	if (result == WALK_OK &&
	    grow_array((void **)&w->chunks, &w->room_chunks, n, sizeof(*w->chunks)) < 0)
		result = WALK_MEMORY;
	if (result != WALK_OK) {
		for (size_t i = 0; i < n; i++)
			window_done(&found[i]);
		w->n_known = 0;
		return result;
	}
	for (size_t i = 0; i < n; i++)
		w->chunks[w->n_chunks++] = found[n - 1 - i];
	w->top_seen = n ? found[0].len : 0;
	relocate_known(w);
	return WALK_OK;
}

static enum walk_result read_outside(struct walker *w, struct memory *m, uint64_t addr)
{
	struct window *win = find_outside(w, addr);

	if (addr % 8)
		return WALK_TORN;
	if (!win) {
		if (add_outside(w, addr) < 0)
			return WALK_MEMORY;
		win = &w->outside[w->n_outside - 1];
	}
	win->failed = memory_read(m, win->addr, win->a, win->len) < 0;
	return win->failed ? WALK_TORN : WALK_OK;
}

/* Chunks, _PyCFrame and frames outside, by following the chain as it is now. */
static enum walk_result plan_chain(struct walker *w, struct memory *m)
{
	const struct layout *l = w->layout;
	uint64_t addr = 0, end = 0;
	enum walk_result r;

	if (l->tstate.cframe != ABSENT) {
		w->cframe.addr = word_at(w->words, l->tstate.cframe);
		w->cframe.failed = !w->cframe.addr ||
				   memory_read(m, w->cframe.addr, w->cframe.a, w->cframe.len) < 0;
	}
	for (size_t i = 0; i < w->n_chunks; i++) {
		struct window *win = &w->chunks[i];

		win->failed = memory_read(m, win->addr, win->a, win->len) < 0;
	}
	if (l->tstate.base_frame != ABSENT)
		end = word_at(w->words, l->tstate.base_frame);
	r = leaf_address(w, &addr);
	for (size_t n = 0; r == WALK_OK && addr && addr != end && n < SAMPLER_MAX_DEPTH; n++) {
		const uint8_t *copy, *unused;
		bool in_chunk;

		/* A frame outside the chunks is read anew: its window may be older than the rest.
		 */
		if (!find_frame(w, addr, &copy, &unused, &in_chunk) || !in_chunk) {
			r = read_outside(w, m, addr);
			if (r != WALK_OK)
				return r;
			if (!find_frame(w, addr, &copy, &unused, &in_chunk))
				return WALK_TORN;
		}
		addr = word_at(copy, l->frame.previous);
	}
	return r == WALK_MISS ? WALK_TORN : r;
}

enum walk_result walker_plan(struct walker *w, struct memory *m)
{
	const struct layout *l = w->layout;
	enum walk_result r;

	w->once = true;
	w->resting = false;
	if (memory_read(m, w->tstate, w->words, (size_t)l->tstate.size) < 0)
		return WALK_UNREADABLE;
	if (!words_are_ours(w))
		return WALK_CHANGED;
	if (l->tstate.datastack_chunk != ABSENT) {
		r = explore_chunks(w, m);
		if (r != WALK_OK)
			return r;
		if (w->n_chunks) {
			struct window *newest = &w->chunks[w->n_chunks - 1];
			uint32_t used = newest_used(w, newest);

			/* The whole of it, even when it grew by more than the slack. */
			if (used > newest->len) {
				if (window_reserve(newest, used) < 0)
					return WALK_MEMORY;
				newest->len = used;
				relocate_known(w);
			}
		}
	}
	return plan_chain(w, m);
}

enum walk_result walker_explore(struct walker *w, struct walk_context *c, uint32_t *ret_stack)
{
	enum walk_result r = walker_plan(w, c->target->memory);
	bool repeat;

	if (r == WALK_OK)
		r = walk(w, c, ret_stack, &repeat);
	return r == WALK_MISS ? WALK_TORN : r;
}

/* Whether frame k stands in a part of the datastack that is in use by the words. */
static bool is_live(const struct walker *w, const struct known *k)
{
	const struct window *newest = &w->chunks[w->n_chunks - 1];
	uint32_t used = newest_used(w, newest);

	if (!k->in_chunk)
		return false;
	if (k->addr - newest->addr < newest->size)
		return k->addr - newest->addr + (uint64_t)w->layout->frame.size <= used;
	return true;
}

uint32_t walker_prefix(struct walker *w, struct walk_context *c)
{
	const struct layout *l = w->layout;
	size_t same = unchanged(w, w->n_known), proven = 0;
	uint32_t frame;

	if (l->frame_style == FRAME_STYLE_INTERPRETER) {
		/* Frames lie on the datastack one behind the other, so a frame that did not change,
		 * stands where the frame above an unchanged caller begins, and lies below the top,
		 * is alive. A frame elsewhere is proven by the one that it called. */
		if (!w->n_chunks ||
		    word_at(w->words, l->tstate.datastack_chunk) != w->chunks[w->n_chunks - 1].addr)
			return 0;
		for (size_t i = 0; i < same; i++) {
			if (is_live(w, &w->known[i]))
				proven = i + 1;
			else if (w->known[i].in_chunk)
				break;
		}
	} else {
		/* On the heap only the chain itself shows that a frame is in use. */
		uint64_t addr = word_at(w->words, l->tstate.frame);
		struct fresh f;

		for (size_t n = 0; addr && n < SAMPLER_MAX_DEPTH && !proven; n++) {
			size_t place = known_index(w, addr, same);

			if (place < same)
				proven = place + 1;
			else if (take_frame(w, addr, true, &f) != WALK_OK)
				break;
			addr = f.previous;
		}
	}
	if (!proven || !w->known[proven - 1].stack)
		return 0;
	frame = special_frame(c, &c->moving_frame, "<moving>", FRAME_MOVING);
	return frame ? tables_stack(c->tables, w->known[proven - 1].stack, frame) : 0;
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
