#include "formats/escape.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

unsigned utf8_sequence(const uint8_t *p, size_t len, uint32_t *ret_point)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	unsigned n;
	uint32_t point;

	if (len == 0)
		return 0;
	if (p[0] < 0x80) {
		*ret_point = p[0];
		return 1;
	}
	if (p[0] >= 0xf0 && p[0] <= 0xf4)
		n = 4;
	else if (p[0] >= 0xe0)
		n = 3;
	else
		n = 2;
	if (p[0] < 0xc2 || p[0] > 0xf4 || n > len)
		return 0;
	point = p[0] & (0x7f >> n);
	for (unsigned i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		point = point << 6 | (p[i] & 0x3f);
	}
	if (point < least[n] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))
		return 0;
	*ret_point = point;
	return n;
}

/* What moves, hides or reorders text: the C1 controls, Unicode's bidi and invisible format
 * characters, its line and paragraph separators, tags, interlinear and language marks. */
static bool unfit(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == 0xad || c == 0x61c ||
	       (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
	       (c >= 0x2060 && c <= 0x206f) || c == 0xfeff || (c >= 0xfff9 && c <= 0xfffb) ||
	       (c >= 0xe0000 && c <= 0xe007f);
}

/* The replacement of one character or wrong byte in out; its length, 0 to keep it. */
static size_t replace(char out[16], const uint8_t *p, unsigned sequence, uint32_t c,
		      enum escape how)
{
	switch (how) {
	case ESCAPE_UTF8:
		return sequence ? 0 : (size_t)sprintf(out, "\xef\xbf\xbd");
	case ESCAPE_COLLAPSED:
		return p[0] < 0x20 || p[0] == 0x7f || p[0] == ';' ? (size_t)sprintf(out, "_") : 0;
	case ESCAPE_TERMINAL:
		break;
	}
	if (!sequence)
		return sprintf(out, "\\x%02x", p[0]);
	if (!unfit(c))
		return 0;
	if (c == '\n' || c == '\t' || c == '\r')
		return sprintf(out, "\\%c", c == '\n' ? 'n' : c == '\t' ? 't' : 'r');
	return sprintf(out, c > 0xffff ? "\\U%08x" : c > 0xff ? "\\u%04x" : "\\x%02x", c);
}

size_t escape_text(char *buf, size_t size, const char *text, size_t len, enum escape how)
{
	const uint8_t *p = (const uint8_t *)text, *end = p + len;
	size_t total = 0, at = 0;
	bool full = size == 0;

	while (p < end) {
		uint32_t c = 0;
		unsigned sequence = utf8_sequence(p, end - p, &c);
		char out[16];
		size_t n = replace(out, p, sequence, c, how);
		const void *from = n ? (const void *)out : p;

		if (n == 0)
			n = sequence ? sequence : 1;
		if (!full && n < size - at) {
			memcpy(buf + at, from, n);
			at += n;
		} else {
			full = true;
		}
		total += n;
		p += sequence ? sequence : 1;
	}
	if (size)
		buf[at] = '\0';
	return total;
}
