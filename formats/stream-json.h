/* The self-describing records as JSON. Internal to formats/. */
#ifndef PYPROF_FORMATS_STREAM_JSON_H
#define PYPROF_FORMATS_STREAM_JSON_H

#include <stddef.h>

#include "formats/bytes.h"
#include "formats/stream.h"

/* Append to b. 0, -ENOMEM. json_statistics allocates nothing once b has room. */
int json_header(struct bytes *b, const struct stream_header *h);
int json_statistics(struct bytes *b, const struct stream_statistics *s);
int json_summary(struct bytes *b, const struct stream_summary *s);

/* 0, -EBADMSG when the text is no such object. Unknown keys are ignored, missing ones are zero. */
int json_parse_header(struct stream_header *ret, const void *text, size_t len);
int json_parse_statistics(struct stream_statistics *ret, const void *text, size_t len);
int json_parse_summary(struct stream_summary *ret, const void *text, size_t len);

#endif
