#include "formats/protobuf.h"

enum wire_type { WIRE_VARINT = 0, WIRE_LENGTH = 2 };

static void put_tag(struct bytes *b, uint32_t field, enum wire_type type)
{
	bytes_varint(b, (uint64_t)field << 3 | type);
}

void protobuf_varint(struct bytes *b, uint32_t field, uint64_t v)
{
	if (v == 0)
		return;
	put_tag(b, field, WIRE_VARINT);
	bytes_varint(b, v);
}

void protobuf_bool(struct bytes *b, uint32_t field, bool v)
{
	protobuf_varint(b, field, v);
}

void protobuf_bytes(struct bytes *b, uint32_t field, const void *data, size_t len)
{
	put_tag(b, field, WIRE_LENGTH);
	bytes_varint(b, len);
	bytes_put(b, data, len);
}

static size_t varint_size(uint64_t v)
{
	size_t n = 1;

	for (; v >= 0x80; v >>= 7)
		n++;
	return n;
}

void protobuf_packed(struct bytes *b, uint32_t field, const uint64_t *values, size_t n)
{
	size_t len = 0;

	if (n == 0)
		return;
	for (size_t i = 0; i < n; i++)
		len += varint_size(values[i]);
	put_tag(b, field, WIRE_LENGTH);
	bytes_varint(b, len);
	for (size_t i = 0; i < n; i++)
		bytes_varint(b, values[i]);
}
