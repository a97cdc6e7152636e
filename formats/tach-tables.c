#include "formats/tach-parts.h"

#include <errno.h>
#include <string.h>

#include "formats/grow.h"

#define NO_OPCODE 255

/* What a name says about the frame that has it. */
enum { NAME_NATIVE = 1, NAME_GC = 2, NAME_NOWHERE = 4, NAME_INTERNAL = 8 };

static bool put_flag(uint8_t **array, uint32_t *cap, uint32_t i, uint8_t flag)
{
	if (grow(array, cap, (size_t)i + 1, 1) < 0)
		return false;
	(*array)[i] = flag;
	return true;
}

static bool is_text(const uint8_t *bytes, size_t len, const char *text)
{
	return len == strlen(text) && memcmp(bytes, text, len) == 0;
}

/* The sampler's own frames below a program that it started; it does not show them either. */
static bool is_internal(const uint8_t *bytes, size_t len)
{
	static const char suffix[] = "_sync_coordinator.py";
	size_t n = sizeof(suffix) - 1;

	return len >= n && memcmp(bytes + len - n, suffix, n) == 0;
}

static uint8_t name_flags(const uint8_t *bytes, size_t len)
{
	if (is_text(bytes, len, "~"))
		return NAME_NOWHERE;
	if (is_text(bytes, len, "<native>"))
		return NAME_NATIVE;
	if (is_text(bytes, len, "<GC>"))
		return NAME_GC;
	return is_internal(bytes, len) ? NAME_INTERNAL : 0;
}

/* How many of a table's entries there may be: what the footer says, if there is one. */
static uint32_t table_limit(const struct tach_reader *r, uint32_t count)
{
	return r->has_footer && count < MAX_TOTAL_IDS ? count : MAX_TOTAL_IDS;
}

/* 0, or an error. What is behind a string that is no string is not defined. */
static int read_strings(struct tach_reader *r, struct tach_feed *f)
{
	uint32_t limit = table_limit(r, r->string_count);

	while (r->name_count < limit) {
		size_t have = tach_feed_want(f, MAX_STRING + VARINT_MAX);
		struct cursor c = {f->at, f->at + have, false};
		struct stream_string s;
		uint32_t len;

		len = (uint32_t)cursor_bounded(&c, UINT32_MAX);
		if (have == 0 || c.bad)
			return f->error;
		have = (size_t)(c.end - c.at);
		s = (struct stream_string){(const char *)c.at, len < MAX_STRING ? len : MAX_STRING};
		if (s.len > have)
			return f->error;
		if (!put_flag(&r->names, &r->names_cap, r->name_count, name_flags(c.at, s.len)))
			return -ENOMEM;
		if (CALL(r, string, ++r->name_count, &s) != 0)
			return r->error;
		f->at = (uint8_t *)c.at + s.len;
		/* One that is longer than strings may be loses its end. */
		for (uint32_t left = len - s.len; left > 0;) {
			size_t n = tach_feed_want(f, 1);

			if (n == 0)
				return f->error;
			n = n < left ? n : left;
			f->at += n;
			left -= (uint32_t)n;
		}
	}
	return f->error;
}

/* The id of the function; 0 when memory is short or the handler stops. */
static uint32_t tell_function(struct tach_reader *r, uint32_t file, uint32_t name)
{
	struct function_key key = {file + 1, name + 1, STREAM_FRAME_PYTHON};
	struct stream_function function;
	uint32_t before = r->functions.count, id;

	if (r->names[file] & NAME_NOWHERE) {
		key.file = 0;
		if (r->names[name] & NAME_NATIVE)
			key.kind = STREAM_FRAME_NATIVE;
		if (r->names[name] & NAME_GC)
			key.kind = STREAM_FRAME_GC;
	}
	id = table_intern(&r->functions, &key);
	if (id == 0) {
		tach_stop(r, -ENOMEM);
		return 0;
	}
	function = (struct stream_function){key.name, key.file, 0, (uint8_t)key.kind};
	if (r->functions.count > before && CALL(r, function, id, &function) != 0)
		return 0;
	return id;
}

static int32_t position(int64_t v)
{
	return v >= 0 && v <= INT32_MAX ? (int32_t)v : -1;
}

/* One frame: whether there is one. */
static bool read_frame(struct cursor *c, uint32_t *ret_file, uint32_t *ret_name,
		       struct stream_frame *ret)
{
	uint64_t numbers[4];
	int64_t line, column;
	const uint8_t *op;

	*ret_file = (uint32_t)cursor_bounded(c, UINT32_MAX);
	*ret_name = (uint32_t)cursor_bounded(c, UINT32_MAX);
	for (int i = 0; i < 4; i++)
		numbers[i] = cursor_bounded(c, UINT32_MAX);
	op = cursor_take(c, 1);
	if (c->bad)
		return false;
	line = unzigzag(numbers[0]);
	column = unzigzag(numbers[2]);
	ret->line = position(line);
	ret->end_line = line < 0 ? -1 : position(line + unzigzag(numbers[1]));
	ret->column = position(column);
	ret->end_column = column < 0 ? -1 : position(column + unzigzag(numbers[3]));
	ret->op = *op == NO_OPCODE ? 0 : *op + 1;
	return true;
}

static int read_frames(struct tach_reader *r, struct tach_feed *f)
{
	uint32_t limit = table_limit(r, r->frame_count);

	while (r->known_frames < limit) {
		size_t have = tach_feed_want(f, 6 * VARINT_MAX + 1);
		struct cursor c = {f->at, f->at + have, false};
		struct stream_frame frame = {0};
		uint8_t flag = FRAME_LOST;
		uint32_t file, name;

		if (have == 0 || !read_frame(&c, &file, &name, &frame))
			return f->error;
		f->at = (uint8_t *)c.at;
		if (file < r->name_count && name < r->name_count) {
			flag = r->names[file] & NAME_INTERNAL ? FRAME_INTERNAL : FRAME_FINE;
			frame.function = tell_function(r, file, name);
			if (r->error || CALL(r, frame, r->known_frames + 1, &frame) != 0)
				return r->error;
			if (frame.op && CALL(r, op, r->known_frames + 1, frame.op) != 0)
				return r->error;
		}
		if (!put_flag(&r->frames, &r->frames_cap, r->known_frames++, flag))
			return -ENOMEM;
	}
	return f->error;
}

/* Strings lie between the two tables' beginnings, frames behind them. */
int tach_read_tables(struct tach_reader *r, const struct tach_input *in, uint64_t end)
{
	struct tach_feed f;
	int e = tach_feed_init(&f, in, r->strings_at, r->frames_at < end ? r->frames_at : end,
			       false);

	if (e == 0)
		e = read_strings(r, &f);
	tach_feed_done(&f);
	if (e < 0 || r->frames_at > end)
		return e;
	e = tach_feed_init(&f, in, r->frames_at, end, false);
	if (e == 0)
		e = read_frames(r, &f);
	tach_feed_done(&f);
	return e;
}
