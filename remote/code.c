#include "remote/code.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "remote/object.h"

#define MAX_CODE_BYTES	(16u << 20) /* instructions of one code object */
#define MAX_LINES_BYTES (32u << 20) /* its line table */
#define MAX_HEAD	512	    /* a code object's fixed part; 3.15's is 216 */
#define UNIT		2	    /* bytes of an instruction unit since 3.6 */

#define CO_GENERATOR	      0x20
#define CO_COROUTINE	      0x80
#define CO_ITERABLE_COROUTINE 0x100 /* a generator that types.coroutine() made one */
#define CO_ASYNC_GENERATOR    0x200

struct code_cache {
	struct memory *memory;
	const struct layout *layout;
	struct tables *tables;
	uint64_t code_type;  /* address of PyCode_Type, once seen; 0 */
	struct code **slots; /* open addressing by address */
	size_t size, count;
	uint64_t replaced, serial;
};

int code_cache_new(struct code_cache **ret, struct memory *m, const struct layout *l,
		   struct tables *tables)
{
	struct code_cache *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->size = 256;
	c->slots = calloc(c->size, sizeof(*c->slots));
	if (!c->slots) {
		free(c);
		return -ENOMEM;
	}
	c->memory = m;
	c->layout = l;
	c->tables = tables;
	*ret = c;
	return 0;
}

static void code_free(struct code *code)
{
	if (!code)
		return;
	free(code->lines);
	free(code->frames);
	free(code->back);
	free(code->calls);
	free(code);
}

void code_cache_forget(struct code_cache *c, struct tables *tables)
{
	for (size_t i = 0; i < c->size; i++) {
		code_free(c->slots[i]);
		c->slots[i] = NULL;
	}
	c->count = 0;
	c->tables = tables;
}

void code_cache_free(struct code_cache *c)
{
	if (!c)
		return;
	code_cache_forget(c, NULL);
	free(c->slots);
	free(c);
}

static size_t slot_of(const struct code_cache *c, uint64_t addr)
{
	return (size_t)((addr >> 4) * 0x9e3779b97f4a7c15ull >> 20) & (c->size - 1);
}

static size_t find_slot(const struct code_cache *c, uint64_t addr)
{
	size_t i = slot_of(c, addr);

	while (c->slots[i] && c->slots[i]->addr != addr)
		i = (i + 1) & (c->size - 1);
	return i;
}

/* Takes an entry out of the table and closes the gap behind it. */
static void drop_slot(struct code_cache *c, size_t i)
{
	size_t j = i;

	code_free(c->slots[i]);
	c->slots[i] = NULL;
	c->count--;
	for (;;) {
		size_t home;

		j = (j + 1) & (c->size - 1);
		if (!c->slots[j])
			return;
		home = slot_of(c, c->slots[j]->addr);
		if (((j - home) & (c->size - 1)) >= ((j - i) & (c->size - 1))) {
			c->slots[i] = c->slots[j];
			c->slots[j] = NULL;
			i = j;
		}
	}
}

static int grow(struct code_cache *c)
{
	struct code **old = c->slots, **slots;
	size_t old_size = c->size;

	if (c->count * 2 < c->size)
		return 0;
	slots = calloc(c->size * 2, sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	c->slots = slots;
	c->size *= 2;
	for (size_t i = 0; i < old_size; i++)
		if (old[i])
			c->slots[find_slot(c, old[i]->addr)] = old[i];
	free(old);
	return 0;
}

static uint64_t word_at(const uint8_t *head, int32_t offset)
{
	uint64_t w;

	if (offset == ABSENT)
		return 0;
	memcpy(&w, head + offset, 8);
	return w;
}

static int32_t int_at(const uint8_t *head, int32_t offset)
{
	int32_t i;

	if (offset == ABSENT)
		return 0;
	memcpy(&i, head + offset, 4);
	return i;
}

/* What tells one code object from another that stands at the same address later: the pointers and
 * numbers that two code objects hardly share, read as one range. */
static void identity_of(const struct layout *l, const uint8_t *head, uint64_t *ret)
{
	ret[0] = word_at(head, l->code.filename);
	ret[1] = word_at(head, l->code.qualname != ABSENT ? l->code.qualname : l->code.name);
	ret[2] = word_at(head, l->code.linetable);
	ret[3] = (uint32_t)int_at(head, l->code.firstlineno);
	ret[4] =
		word_at(head, l->frame_style == FRAME_STYLE_OBJECT ? l->code.code : l->var.ob_size);
	ret[5] = (uint32_t)int_at(head, l->code.co_version);
}

/* Whether ob_type is the type of code objects; learnt once by its name. */
static bool is_code_type(struct code_cache *c, uint64_t type)
{
	const struct layout *l = c->layout;
	uint64_t name;
	char text[5];

	if (c->code_type)
		return type == c->code_type;
	if (type == 0 || type % 8 ||
	    MEMORY_READ(c->memory, type + (uint64_t)l->type.tp_name, &name) < 0 ||
	    MEMORY_READ(c->memory, name, &text) < 0 || memcmp(text, "code", 5) != 0)
		return false;
	c->code_type = type;
	return true;
}

static int read_function(struct code_cache *c, const struct layout *l, const uint8_t *head,
			 uint32_t *ret)
{
	struct table_function f = {.kind = FRAME_PYTHON};
	static const char unknown[] = "<unreadable>";
	char buf[OBJECT_MAX_STRING];
	ssize_t n;

	n = object_read_string(
		c->memory, l,
		word_at(head, l->code.qualname != ABSENT ? l->code.qualname : l->code.name), buf,
		sizeof(buf));
	if (n == -ESRCH || n == -EPERM)
		return (int)n;
	f.name = n < 0 ? tables_string(c->tables, unknown, sizeof(unknown) - 1)
		       : tables_string(c->tables, buf, (uint32_t)n);
	n = object_read_string(c->memory, l, word_at(head, l->code.filename), buf, sizeof(buf));
	if (n == -ESRCH || n == -EPERM)
		return (int)n;
	f.file = n < 0 ? tables_string(c->tables, unknown, sizeof(unknown) - 1)
		       : tables_string(c->tables, buf, (uint32_t)n);
	f.first_line = int_at(head, l->code.firstlineno);
	*ret = f.name && f.file ? tables_function(c->tables, &f) : 0;
	return *ret ? 0 : -ENOMEM;
}

static int read_code(struct code_cache *c, struct code *code)
{
	const struct layout *l = c->layout;
	uint8_t head[MAX_HEAD];
	uint64_t data, size;
	size_t len;
	int r;

	if (code->addr == 0 || code->addr % 8 || l->code.size > MAX_HEAD)
		return -EBADMSG;
	r = memory_read(c->memory, code->addr, head, (size_t)l->code.size);
	if (r < 0)
		return r;
	if (!is_code_type(c, word_at(head, l->object.ob_type)))
		return -EBADMSG;
	identity_of(l, head, code->identity);
	code->first_line = int_at(head, l->code.firstlineno);
	code->generator =
		int_at(head, l->code.flags) & (CO_GENERATOR | CO_COROUTINE | CO_ASYNC_GENERATOR);
	code->coroutine = int_at(head, l->code.flags) & (CO_COROUTINE | CO_ITERABLE_COROUTINE);
	code->tlbc = word_at(head, l->code.tlbc);
	if (l->frame_style == FRAME_STYLE_OBJECT) {
		r = object_read_bytes_head(c->memory, l, word_at(head, l->code.code), &data, &len);
		if (r < 0)
			return r;
		size = len;
		code->start = data;
	} else {
		size = word_at(head, l->var.ob_size) * UNIT;
		code->start = code->addr + (uint64_t)l->code.code;
		code->first_traceable = (uint32_t)int_at(head, l->code.firsttraceable) * UNIT;
	}
	if (size == 0 || size > MAX_CODE_BYTES)
		return -EBADMSG;
	code->length = (uint32_t)size;
	r = object_read_bytes_head(c->memory, l, word_at(head, l->code.linetable), &data, &len);
	if (r < 0)
		return r;
	if (len > MAX_LINES_BYTES)
		return -EBADMSG;
	code->lines = malloc(len ? len : 1);
	code->frames = calloc(code->length / UNIT + 1, sizeof(*code->frames));
	if (!code->lines || !code->frames)
		return -ENOMEM;
	code->lines_len = (uint32_t)len;
	r = len ? memory_read(c->memory, data, code->lines, len) : 0;
	if (r < 0)
		return r;
	return read_function(c, l, head, &code->function);
}

struct code *code_cache_get(struct code_cache *c, uint64_t addr, uint64_t since, int *ret_error)
{
	size_t i = find_slot(c, addr);
	struct code *code = c->slots[i];
	int r;

	if (code)
		return code;
	code = calloc(1, sizeof(*code));
	if (!code || grow(c) < 0) {
		free(code);
		*ret_error = -ENOMEM;
		return NULL;
	}
	code->addr = addr;
	code->since = since;
	code->serial = ++c->serial;
	r = read_code(c, code);
	if (r < 0) {
		code_free(code);
		*ret_error = r;
		return NULL;
	}
	c->slots[find_slot(c, addr)] = code;
	c->count++;
	return code;
}

int code_cache_check(struct code_cache *c, struct code *const *codes, size_t n, uint64_t stamp)
{
	static const size_t span_max = MAX_HEAD;
	uint8_t heads[CODE_CHECK_MAX][MAX_HEAD];
	struct memory_range ranges[CODE_CHECK_MAX];
	int dropped = 0, r;

	if (n > CODE_CHECK_MAX)
		n = CODE_CHECK_MAX;
	if (n == 0 || (size_t)c->layout->code.size > span_max)
		return 0;
	for (size_t i = 0; i < n; i++)
		ranges[i] = (struct memory_range){.addr = codes[i]->addr,
						  .len = (uint32_t)c->layout->code.size,
						  .buf = heads[i]};
	r = memory_gather(c->memory, ranges, n);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		uint64_t identity[CODE_IDENTITY_WORDS];

		if (!ranges[i].failed &&
		    word_at(heads[i], c->layout->object.ob_type) == c->code_type) {
			identity_of(c->layout, heads[i], identity);
			if (memcmp(identity, codes[i]->identity, sizeof(identity)) == 0) {
				codes[i]->checked = true;
				codes[i]->stamp = stamp;
				continue;
			}
		}
		drop_slot(c, find_slot(c, codes[i]->addr));
		dropped++;
	}
	c->replaced += (uint64_t)dropped;
	return dropped;
}

uint64_t code_cache_replaced(const struct code_cache *c)
{
	return c->replaced;
}

uint32_t code_frame(struct code_cache *c, struct code *code, int64_t ip)
{
	struct table_frame f = {.function = code->function};
	struct code_position p;
	uint32_t at = ip < 0 ? 0 : (uint32_t)ip, *known;

	if (at >= code->length)
		at = code->length - 1;
	known = &code->frames[at / UNIT];
	if (*known)
		return *known;
	code_position(c->layout->line_style, code->lines, code->lines_len, code->first_line, at,
		      &p);
	f.line = p.line;
	f.end_line = p.end_line;
	f.column = p.column;
	f.end_column = p.end_column;
	*known = tables_frame(c->tables, &f);
	return *known;
}

uint32_t code_frame_op(struct code_cache *c, struct code *code, int64_t ip, uint32_t op)
{
	uint32_t plain = code_frame(c, code, ip);
	const struct table_frame *known = tables_get_frame(c->tables, plain);
	struct table_frame f;

	if (!op || !known)
		return plain;
	f = *known;
	f.op = op;
	return tables_frame(c->tables, &f);
}

/* Instructions keep their lengths when they are specialised, so their places are found once. */
static void find_instructions(const uint8_t *caches, const uint8_t *bytes, uint8_t *back,
			      uint32_t units)
{
	uint32_t at = 0;

	while (at < units) {
		uint8_t n = caches[bytes[at * UNIT]];

		/* What it stands for is elsewhere, and from here on nothing is sure. */
		if (n == LAYOUT_CACHE_UNKNOWN) {
			memset(back + at, CODE_BACK_UNKNOWN, units - at);
			return;
		}
		for (uint32_t i = 0; i <= n && at < units; i++)
			back[at++] = (uint8_t)i;
	}
}

int64_t code_instruction(struct code_cache *c, struct code *code, int64_t ip)
{
	uint32_t units = code->length / UNIT;

	if (ip < 0 || ip >= (int64_t)code->length)
		return -1;
	if (!c->layout->frame.caches)
		return ip;
	if (!code->back) {
		uint8_t *bytes = malloc(code->length), *back = calloc(1, units + 1);

		if (bytes && back &&
		    memory_read(c->memory, code->start, bytes, code->length) == 0) {
			find_instructions(c->layout->frame.caches, bytes, back, units);
			code->back = back;
			back = NULL;
		}
		free(bytes);
		free(back);
		if (!code->back)
			return -1;
	}
	if (code->back[ip / UNIT] == CODE_BACK_UNKNOWN)
		return -1;
	return ip - (int64_t)code->back[ip / UNIT] * UNIT;
}

static bool read_calls(struct code_cache *c, struct code *code, int64_t ip)
{
	int64_t at = code_instruction(c, code, ip);
	uint8_t opcode;

	return at < 0 || MEMORY_READ(c->memory, code->start + (uint64_t)at, &opcode) < 0 ||
	       !(c->layout->frame.idle[opcode / 8] >> opcode % 8 & 1);
}

bool code_calls(struct code_cache *c, struct code *code, int64_t ip)
{
	uint8_t *known;

	if (ip < 0)
		return false;
	if (!c->layout->frame.idle || ip >= (int64_t)code->length)
		return true;
	if (!code->calls)
		code->calls = calloc(1, code->length / UNIT + 1);
	if (!code->calls)
		return true;
	known = &code->calls[ip / UNIT];
	if (!*known)
		*known = read_calls(c, code, ip) + 1;
	return *known - 1;
}

/* A cursor over a line table; reading past the end gives zeros and sets ended. */
struct cursor {
	const uint8_t *at, *end;
	bool ended;
};

static uint8_t next_byte(struct cursor *c)
{
	if (c->at == c->end) {
		c->ended = true;
		return 0;
	}
	return *c->at++;
}

/* PEP 657: six bits a byte, bit 6 says that more follow. */
static uint32_t next_varint(struct cursor *c)
{
	uint32_t value = 0;

	for (unsigned shift = 0; shift < 32; shift += 6) {
		uint8_t b = next_byte(c);

		value |= (uint32_t)(b & 63) << shift;
		if (!(b & 64))
			break;
	}
	return value;
}

static int32_t next_signed_varint(struct cursor *c)
{
	uint32_t v = next_varint(c);

	return v & 1 ? -(int32_t)(v >> 1) : (int32_t)(v >> 1);
}

enum { /* PEP 657: the kinds of an entry, after the ten short ones */
       ENTRY_ONE_LINE_0 = 10,
       ENTRY_ONE_LINE_2 = 12,
       ENTRY_NO_COLUMNS = 13,
       ENTRY_LONG = 14,
       ENTRY_NONE = 15,
};

/* Lines and columns may be nonsense in a hostile table; they wrap rather than overflow. */
static int32_t add_line(int32_t line, int32_t delta)
{
	return (int32_t)((uint32_t)line + (uint32_t)delta);
}

static void locations_position(struct cursor c, int32_t line, uint32_t ip,
			       struct code_position *ret)
{
	uint32_t start = 0;

	while (!c.ended && c.at < c.end) {
		struct code_position p = {-1, -1, -1, -1};
		uint8_t first = next_byte(&c), second;
		unsigned kind = first >> 3 & 15;
		uint32_t end = start + ((first & 7u) + 1) * UNIT;

		switch (kind) {
		case ENTRY_NONE:
			break;
		case ENTRY_LONG:
			line = add_line(line, next_signed_varint(&c));
			p.line = line;
			p.end_line = add_line(line, (int32_t)next_varint(&c));
			p.column = add_line((int32_t)next_varint(&c), -1);
			p.end_column = add_line((int32_t)next_varint(&c), -1);
			break;
		case ENTRY_NO_COLUMNS:
			line = add_line(line, next_signed_varint(&c));
			p.line = p.end_line = line;
			break;
		default:
			if (kind >= ENTRY_ONE_LINE_0 && kind <= ENTRY_ONE_LINE_2) {
				line = add_line(line, (int32_t)kind - ENTRY_ONE_LINE_0);
				p.column = next_byte(&c);
				p.end_column = next_byte(&c);
			} else {
				second = next_byte(&c);
				p.column = (int32_t)(kind << 3 | (second >> 4 & 7));
				p.end_column = p.column + (second & 15);
			}
			p.line = p.end_line = line;
		}
		if (ip < end) {
			if (!c.ended)
				*ret = p;
			return;
		}
		start = end;
	}
}

static void linetable_position(struct cursor c, int32_t line, uint32_t ip,
			       struct code_position *ret)
{
	uint32_t end = 0;

	while (c.at + 1 < c.end) {
		uint8_t length = next_byte(&c);
		int8_t delta = (int8_t)next_byte(&c);

		if (delta != INT8_MIN)
			line = add_line(line, delta);
		end += length;
		if (ip < end) {
			ret->line = ret->end_line = delta == INT8_MIN ? -1 : line;
			return;
		}
	}
}

static void lnotab_position(struct cursor c, int32_t line, uint32_t ip, struct code_position *ret)
{
	uint32_t addr = 0;

	while (c.at + 1 < c.end) {
		uint8_t length = next_byte(&c);
		int8_t delta = (int8_t)next_byte(&c);

		addr += length;
		if (addr > ip)
			break;
		line = add_line(line, delta);
	}
	ret->line = ret->end_line = line;
}

void code_position(enum line_style style, const uint8_t *lines, size_t len, int32_t first_line,
		   uint32_t ip, struct code_position *ret)
{
	struct cursor c = {lines, lines + len, false};

	*ret = (struct code_position){-1, -1, -1, -1};
	switch (style) {
	case LINE_STYLE_LOCATIONS:
		locations_position(c, first_line, ip, ret);
		break;
	case LINE_STYLE_LINETABLE:
		linetable_position(c, first_line, ip, ret);
		break;
	case LINE_STYLE_LNOTAB:
		lnotab_position(c, first_line, ip, ret);
		break;
	}
}
