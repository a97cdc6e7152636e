/* Protocol buffers, written: https://protobuf.dev/programming-guides/encoding. A message is put
 * together in a struct bytes, and becomes a field of another. Internal to formats/. */
#ifndef PYPROF_FORMATS_PROTOBUF_H
#define PYPROF_FORMATS_PROTOBUF_H

#include "formats/bytes.h"

/* Field numbers are from 1. A value of 0 is what a reader takes where there is none, so it is left
 * out. */
void protobuf_varint(struct bytes *b, uint32_t field, uint64_t v);
void protobuf_bool(struct bytes *b, uint32_t field, bool v);
/* Strings and messages; put even when empty. */
void protobuf_bytes(struct bytes *b, uint32_t field, const void *data, size_t len);
/* Repeated varints in one field; nothing when n is 0. */
void protobuf_packed(struct bytes *b, uint32_t field, const uint64_t *values, size_t n);

#endif
