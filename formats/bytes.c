#include "formats/bytes.h"

#include <stdlib.h>
#include <string.h>

void bytes_done(struct bytes *b)
{
	free(b->data);
	*b = (struct bytes){0};
}

bool bytes_reserve(struct bytes *b, size_t n)
{
	size_t need, cap;
	uint8_t *data;

	if (b->failed)
		return false;
	if (b->cap - b->len >= n)
		return true;
	if (__builtin_add_overflow(b->len, n, &need) || need > SIZE_MAX / 2) {
		b->failed = true;
		return false;
	}
	cap = b->cap ? b->cap : 256;
	while (cap < need)
		cap *= 2;
	data = realloc(b->data, cap);
	if (!data) {
		b->failed = true;
		return false;
	}
	b->data = data;
	b->cap = cap;
	return true;
}

void bytes_put(struct bytes *b, const void *data, size_t n)
{
	if (n == 0 || !bytes_reserve(b, n))
		return;
	memcpy(b->data + b->len, data, n);
	b->len += n;
}

void bytes_byte(struct bytes *b, uint8_t byte)
{
	bytes_put(b, &byte, 1);
}

void bytes_varint(struct bytes *b, uint64_t v)
{
	uint8_t *p;

	if (!bytes_reserve(b, VARINT_MAX))
		return;
	p = b->data + b->len;
	for (; v >= 0x80; v >>= 7)
		*p++ = v | 0x80;
	*p++ = v;
	b->len = p - b->data;
}

uint64_t zigzag(int64_t v)
{
	return (uint64_t)v << 1 ^ (v < 0 ? UINT64_MAX : 0);
}

int64_t unzigzag(uint64_t v)
{
	return (int64_t)(v >> 1 ^ (0 - (v & 1)));
}

void bytes_zigzag(struct bytes *b, int64_t v)
{
	bytes_varint(b, zigzag(v));
}

uint64_t cursor_varint(struct cursor *c)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 70 && c->at < c->end; shift += 7) {
		uint8_t byte = *c->at++;

		if (shift == 63 && byte > 1)
			break;
		v |= (uint64_t)(byte & 0x7f) << shift;
		if (byte < 0x80)
			return v;
	}
	c->bad = true;
	c->at = c->end;
	return 0;
}

uint64_t cursor_bounded(struct cursor *c, uint64_t max)
{
	uint64_t v = cursor_varint(c);

	if (v <= max)
		return v;
	c->bad = true;
	c->at = c->end;
	return 0;
}

int64_t cursor_zigzag(struct cursor *c)
{
	return unzigzag(cursor_varint(c));
}

const uint8_t *cursor_take(struct cursor *c, uint64_t n)
{
	const uint8_t *p = c->at;

	if (n > (uint64_t)(c->end - c->at)) {
		c->bad = true;
		c->at = c->end;
		return NULL;
	}
	c->at += n;
	return p;
}
