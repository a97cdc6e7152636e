#include "formats/page.h"

#include <errno.h>
#include <string.h>

#include "formats/bytes.h"

static void write_out(struct page *p, const void *bytes, size_t n)
{
	if (p->error == 0 && fwrite_unlocked(bytes, 1, n, p->out) != n)
		p->error = errno ? -errno : -EIO;
}

/* Of what is deflated all threes become fours; at the end the rest too. */
static void put_base64(struct page *p, bool end)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char text[4 * sizeof(p->deflated) / 3];
	size_t n = 0, i = 0;

	for (; i + 3 <= p->out_len; i += 3) {
		uint32_t v = (uint32_t)p->deflated[i] << 16 | p->deflated[i + 1] << 8 |
			     p->deflated[i + 2];

		text[n++] = digits[v >> 18];
		text[n++] = digits[v >> 12 & 63];
		text[n++] = digits[v >> 6 & 63];
		text[n++] = digits[v & 63];
	}
	write_out(p, text, n);
	p->out_len -= i;
	memmove(p->deflated, p->deflated + i, p->out_len);
	if (end && p->out_len) {
		uint32_t v = (uint32_t)p->deflated[0] << 16;

		if (p->out_len > 1)
			v |= (uint32_t)p->deflated[1] << 8;
		text[0] = digits[v >> 18];
		text[1] = digits[v >> 12 & 63];
		text[2] = p->out_len > 1 ? digits[v >> 6 & 63] : '=';
		text[3] = '=';
		write_out(p, text, 4);
		p->out_len = 0;
	}
}

static void run_deflate(struct page *p, int flush)
{
	int r;

	p->z.next_in = p->in;
	p->z.avail_in = (uInt)p->in_len;
	do {
		p->z.next_out = p->deflated + p->out_len;
		p->z.avail_out = (uInt)(sizeof(p->deflated) - p->out_len);
		r = deflate(&p->z, flush);
		p->out_len = sizeof(p->deflated) - p->z.avail_out;
		put_base64(p, flush == Z_FINISH && r == Z_STREAM_END);
	} while (r == Z_OK && (p->z.avail_in || p->z.avail_out == 0 || flush == Z_FINISH));
	p->in_len = 0;
	if (r != Z_OK && r != Z_STREAM_END && r != Z_BUF_ERROR && p->error == 0)
		p->error = -ENOMEM;
}

int page_begin(struct page *p, const char *bytes, const char *end, FILE *out)
{
	const char *place = memmem(bytes, (size_t)(end - bytes), PAGE_DATA, strlen(PAGE_DATA));

	if (!place)
		return -EINVAL;
	p->out = out;
	p->error = 0;
	p->in_len = p->out_len = 0;
	p->rest = place + strlen(PAGE_DATA);
	p->rest_len = (size_t)(end - p->rest);
	p->z = (z_stream){0};
	if (deflateInit(&p->z, Z_DEFAULT_COMPRESSION) != Z_OK)
		return -ENOMEM;
	write_out(p, bytes, (size_t)(place - bytes));
	return 0;
}

void page_put(struct page *p, const void *data, size_t n)
{
	const uint8_t *at = data;

	while (n > 0 && p->error == 0) {
		size_t room = sizeof(p->in) - p->in_len, part = n < room ? n : room;

		memcpy(p->in + p->in_len, at, part);
		p->in_len += part;
		at += part;
		n -= part;
		if (p->in_len == sizeof(p->in))
			run_deflate(p, Z_NO_FLUSH);
	}
}

void page_varint(struct page *p, uint64_t v)
{
	uint8_t bytes[VARINT_MAX];
	size_t n = 0;

	for (; v > 127; v >>= 7)
		bytes[n++] = (uint8_t)(v | 128);
	bytes[n++] = (uint8_t)v;
	page_put(p, bytes, n);
}

void page_zigzag(struct page *p, int64_t v)
{
	page_varint(p, zigzag(v));
}

int page_end(struct page *p)
{
	run_deflate(p, Z_FINISH);
	write_out(p, p->rest, p->rest_len);
	deflateEnd(&p->z);
	return p->error;
}
