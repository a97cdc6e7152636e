#include "formats/html.h"

#include <stdbool.h>
#include <stdint.h>

#include "formats/escape.h"

static const char *entity(char c)
{
	switch (c) {
	case '&':
		return "&amp;";
	case '<':
		return "&lt;";
	case '>':
		return "&gt;";
	case '"':
		return "&quot;";
	case '\'':
		return "&#39;";
	default:
		return NULL;
	}
}

/* How many bytes from p on are themselves in HTML. */
static size_t plain_run(const char *p, const char *end)
{
	const char *at = p;

	while (at < end && *at >= ' ' && *at < 0x7f && !entity(*at))
		at++;
	return at - p;
}

static void put(FILE *out, const char *text, size_t len, bool code)
{
	const char *end = text + len;

	while (text < end) {
		size_t run = plain_run(text, end);
		const char *name;
		uint32_t point = 0;
		unsigned n;
		char escaped[16];

		fwrite_unlocked(text, 1, run, out);
		text += run;
		if (text == end)
			break;
		name = entity(*text);
		n = utf8_sequence((const uint8_t *)text, end - text, &point);
		n = n ? n : 1;
		if (name) {
			fputs_unlocked(name, out);
		} else if (code && *text == '\t') {
			putc_unlocked('\t', out);
		} else if (point == 0xfffe || point == 0xffff) {
			/* No characters, and XML takes none of them. */
			fprintf(out, code ? "<i>\\u%04x</i>" : "\\u%04x", point);
		} else if (escape_text(escaped, sizeof(escaped), text, n, ESCAPE_TERMINAL) == n) {
			fwrite_unlocked(text, 1, n, out);
		} else {
			fprintf(out, code ? "<i>%s</i>" : "%s", escaped);
		}
		text += n;
	}
}

void html_text(FILE *out, const char *text, size_t len)
{
	put(out, text, len, false);
}

static bool is_inside(char c)
{
	return ((unsigned char)c & 0xc0) == 0x80;
}

void html_clipped(FILE *out, const char *text, size_t len, size_t max)
{
	size_t n = len;

	if (max && len > max) {
		n = max;
		while (n > 0 && is_inside(text[n]))
			n--;
	}
	put(out, text, n, false);
	if (n < len)
		fputs("\xe2\x80\xa6", out);
}

void html_tail(FILE *out, const char *text, size_t len, size_t max)
{
	size_t from = 0;

	if (max && len > max) {
		from = len - max;
		while (from < len && is_inside(text[from]))
			from++;
		fputs("\xe2\x80\xa6", out);
	}
	put(out, text + from, len - from, false);
}

void html_code(FILE *out, const char *text, size_t len)
{
	put(out, text, len, true);
}
