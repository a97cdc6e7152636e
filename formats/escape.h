/* Bytes that came from a target, made fit for a terminal or for JSON. */
#ifndef PYPROF_FORMATS_ESCAPE_H
#define PYPROF_FORMATS_ESCAPE_H

#include <stddef.h>
#include <stdint.h>

enum escape {
	/* For people: control characters, bidi and other invisible controls, line separators and
	 * what is not UTF-8 become \n, \t, \xNN or \uNNNN. */
	ESCAPE_TERMINAL,
	/* Valid UTF-8: each wrong byte, and each surrogate, becomes U+FFFD. Nothing else changes.
	 */
	ESCAPE_UTF8,
	/* A frame of a collapsed line: as it is, but what would end a frame or a line (';' and
	 * control characters) becomes '_'. */
	ESCAPE_COLLAPSED,
};

/* Writes up to size - 1 bytes and a NUL, never a part of an escape. Returns the length that it
 * would take in full, as snprintf(3). */
size_t escape_text(char *buf, size_t size, const char *text, size_t len, enum escape how);

/* Length of the well-formed UTF-8 sequence (RFC 3629) at p, 0 when there is none; its code point.
 */
unsigned utf8_sequence(const uint8_t *p, size_t len, uint32_t *ret_point);

#endif
