/* A page that carries its data: deflated, as base64, in the place that its template leaves for it.
 * Nothing of it is kept. Internal to formats/. */
#ifndef PYPROF_FORMATS_PAGE_H
#define PYPROF_FORMATS_PAGE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <zlib.h>

/* Errors are sticky: everything after the first is dropped, and page_end() returns it. */
struct page {
	FILE *out;
	const char *rest; /* of the template, behind the data */
	size_t rest_len;
	z_stream z;
	int error;
	size_t in_len, out_len; /* out_len: bytes that wait for two more to become base64 */
	uint8_t in[1 << 15], deflated[3 << 13];
};

/* The template, from bytes to end, up to where the data goes, the place of PAGE_DATA in it. 0;
 * -ENOMEM, -EINVAL when the template has no such place. After an error there is no page_end(). */
#define PAGE_DATA "@data@"
int page_begin(struct page *p, const char *bytes, const char *end, FILE *out);
void page_put(struct page *p, const void *data, size_t n);
void page_varint(struct page *p, uint64_t v); /* LEB128 */
void page_zigzag(struct page *p, int64_t v);
/* The end of the data and the rest of the template. 0, or the first error. */
int page_end(struct page *p);

#endif
