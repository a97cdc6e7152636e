#include "formats/sink.h"

#include <errno.h>
#include <stdlib.h>

#include "formats/escape.h"

struct sink *sink_new(FILE *out)
{
	struct sink *s = malloc(sizeof(*s));

	if (!s)
		return NULL;
	s->out = out;
	s->error = 0;
	s->len = 0;
	return s;
}

static void write_out(struct sink *s, const void *bytes, size_t len)
{
	errno = 0;
	if (!s->error && fwrite(bytes, 1, len, s->out) != len)
		s->error = errno ? -errno : -EIO;
}

void sink_drain(struct sink *s)
{
	write_out(s, s->data, s->len);
	s->len = 0;
}

int sink_finish(struct sink *s, int r)
{
	if (!s)
		return -ENOMEM;
	sink_drain(s);
	if (r == 0)
		r = s->error;
	free(s);
	return r;
}

void sink_put(struct sink *s, const void *bytes, size_t len)
{
	if (len > SINK_SIZE - s->len)
		sink_drain(s);
	if (len > SINK_SIZE) {
		write_out(s, bytes, len);
		return;
	}
	memcpy(s->data + s->len, bytes, len);
	s->len += len;
}

static char *room(struct sink *s)
{
	if (SINK_SIZE - s->len < SINK_ITEM)
		sink_drain(s);
	return s->data + s->len;
}

/* The digits of v, at least one, at p; where they end. */
static char *put_digits(char *p, uint64_t v)
{
	char digits[20], *at = digits + sizeof(digits);

	do
		*--at = (char)('0' + v % 10);
	while (v /= 10);
	memcpy(p, at, (size_t)(digits + sizeof(digits) - at));
	return p + (digits + sizeof(digits) - at);
}

void sink_unsigned(struct sink *s, uint64_t v)
{
	char *p = room(s);

	s->len += (size_t)(put_digits(p, v) - p);
}

void sink_signed(struct sink *s, int64_t v)
{
	if (v < 0)
		sink_byte(s, '-');
	sink_unsigned(s, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
}

void sink_decimal(struct sink *s, uint64_t v, unsigned digits)
{
	static const uint64_t powers[] = {1,	  10,	   100,	     1000,	10000,
					  100000, 1000000, 10000000, 100000000, 1000000000};
	uint64_t rest = v % powers[digits];
	char *p = room(s), *end = put_digits(p, v / powers[digits]);

	if (rest) {
		*end++ = '.';
		for (char *at = end + digits; at > end; rest /= 10)
			*--at = (char)('0' + rest % 10);
		for (end += digits; end[-1] == '0';)
			end--;
	}
	s->len += (size_t)(end - p);
}

void sink_json(struct sink *s, const char *text, size_t len)
{
	const uint8_t *p = (const uint8_t *)text;

	sink_byte(s, '"');
	while (len > 0) {
		uint32_t c = 0;
		unsigned n = utf8_sequence(p, len, &c);

		if (n == 0) {
			sink_put(s, "\xef\xbf\xbd", 3);
			n = 1;
		} else if (c == '"' || c == '\\') {
			sink_byte(s, '\\');
			sink_byte(s, (char)c);
		} else if (c < 0x20 || c == 0x7f) {
			sink_put(s, "\\u00", 4);
			sink_byte(s, "0123456789abcdef"[c >> 4]);
			sink_byte(s, "0123456789abcdef"[c & 15]);
		} else {
			sink_put(s, p, n);
		}
		p += n;
		len -= n;
	}
	sink_byte(s, '"');
}
