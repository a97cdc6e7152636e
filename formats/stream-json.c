#include "formats/stream-json.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/escape.h"

/* JSON readers keep 53 bits of a number, so what may need more is a string of decimal digits. */
enum kind { TEXT, BOOL, INT, REAL, U32, DIGITS, COUNT };

struct field {
	const char *key;
	enum kind kind;
	size_t offset, size;
};

#define H(name, kind)                                                                              \
	{                                                                                          \
#name, kind, offsetof(struct stream_header, name),                                 \
			sizeof(((struct stream_header *)0)->name)                                  \
	}
static const struct field header_fields[] = {
	H(host, TEXT),
	H(boot_id, TEXT),
	H(command, TEXT),
	H(python, TEXT),
	H(object, TEXT),
	H(build_id, TEXT),
	H(mode, TEXT),
	H(selected, TEXT),
	H(collected, TEXT),
	H(not_collected, TEXT),
	H(pyprof, TEXT),
	H(subprocesses, TEXT),
	H(free_threaded, BOOL),
	H(all_threads, BOOL),
	H(blocking, BOOL),
	H(pid, INT),
	H(parent, INT),
	H(stream_id, DIGITS),
	H(rate_hz, REAL),
	H(stop_budget, REAL),
	H(start_monotonic_ns, DIGITS),
	H(start_real_ns, DIGITS),
	H(time_unit_ns, U32),
	H(threads_total, U32),
	{0},
};

#define S(name, kind)                                                                              \
	{                                                                                          \
#name, kind, offsetof(struct stream_statistics, name),                             \
			sizeof(((struct stream_statistics *)0)->name)                              \
	}
#define LOST(name, reason)                                                                         \
	{                                                                                          \
		"lost_" name, COUNT,                                                               \
			offsetof(struct stream_statistics, lost) + (reason) * sizeof(uint64_t),    \
			sizeof(uint64_t)                                                           \
	}
static const struct field statistics_fields[] = {
	S(due, COUNT),
	S(achieved, COUNT),
	S(missed, COUNT),
	LOST("unreadable", STREAM_LOST_UNREADABLE),
	LOST("exited", STREAM_LOST_EXITED),
	LOST("torn", STREAM_LOST_TORN),
	LOST("memory", STREAM_LOST_MEMORY),
	LOST("backpressure", STREAM_LOST_BACKPRESSURE),
	S(free, COUNT),
	S(stopped, COUNT),
	S(moving, COUNT),
	S(repeats, COUNT),
	S(ticks, COUNT),
	S(skipped, COUNT),
	S(calls, COUNT),
	S(bytes, COUNT),
	S(stops, COUNT),
	S(stop_ns, COUNT),
	S(sampler_cpu_ns, COUNT),
	S(elapsed_ns, COUNT),
	S(threads, U32),
	S(threads_total, U32),
	S(stops_refused, BOOL),
	{0},
};

static bool add(cJSON *object, const struct field *f, const char *base)
{
	const void *p = base + f->offset;
	char text[4096 * 3 + 1]; /* a wrong byte becomes the three of U+FFFD */

	switch (f->kind) {
	case TEXT:
		escape_text(text, sizeof(text), p, strnlen(p, f->size), ESCAPE_UTF8);
		return cJSON_AddStringToObject(object, f->key, text);
	case BOOL:
		return cJSON_AddBoolToObject(object, f->key, *(const bool *)p);
	case INT:
		return cJSON_AddNumberToObject(object, f->key, *(const int32_t *)p);
	case U32:
		return cJSON_AddNumberToObject(object, f->key, *(const uint32_t *)p);
	case REAL:
		return cJSON_AddNumberToObject(object, f->key, *(const double *)p);
	case DIGITS:
		snprintf(text, sizeof(text), "%" PRIu64, *(const uint64_t *)p);
		return cJSON_AddStringToObject(object, f->key, text);
	case COUNT:
		return cJSON_AddNumberToObject(object, f->key, *(const uint64_t *)p);
	}
	return false;
}

static int print(struct bytes *b, const cJSON *object)
{
	char *text = cJSON_PrintUnformatted(object);

	if (text)
		bytes_put(b, text, strlen(text));
	free(text);
	return text && !b->failed ? 0 : -ENOMEM;
}

static int json_object(struct bytes *b, const struct field *fields, const void *base)
{
	cJSON *object = cJSON_CreateObject();
	int r = object ? 0 : -ENOMEM;

	for (const struct field *f = fields; r == 0 && f->key; f++)
		if (!add(object, f, base))
			r = -ENOMEM;
	if (r == 0)
		r = print(b, object);
	cJSON_Delete(object);
	return r;
}

int json_header(struct bytes *b, const struct stream_header *h)
{
	return json_object(b, header_fields, h);
}

int json_statistics(struct bytes *b, const struct stream_statistics *s)
{
	char text[64];
	const char *comma = "";

	/* Not by the library: this one is written while sampling, and must not allocate. */
	bytes_byte(b, '{');
	for (const struct field *f = statistics_fields; f->key; f++) {
		const void *p = (const char *)s + f->offset;
		uint64_t v = f->kind == BOOL  ? *(const bool *)p
			     : f->kind == U32 ? *(const uint32_t *)p
					      : *(const uint64_t *)p;
		int n;

		if (v == 0)
			continue;
		if (f->kind == BOOL)
			n = snprintf(text, sizeof(text), "%s\"%s\":true", comma, f->key);
		else
			n = snprintf(text, sizeof(text), "%s\"%s\":%" PRIu64, comma, f->key, v);
		bytes_put(b, text, n);
		comma = ",";
	}
	bytes_byte(b, '}');
	return b->failed ? -ENOMEM : 0;
}

int json_summary(struct bytes *b, const struct stream_summary *s)
{
	char text[sizeof(s->detail) * 3 + 1];
	cJSON *object = cJSON_CreateObject(), *totals = NULL;
	struct bytes inner = {0};
	int r = -ENOMEM;

	if (!object || json_statistics(&inner, &s->totals) < 0)
		goto out;
	totals = cJSON_ParseWithLength((const char *)inner.data, inner.len);
	if (!totals || !cJSON_AddItemToObject(object, "totals", totals))
		goto out;
	totals = NULL;
	escape_text(text, sizeof(text), s->end, strnlen(s->end, sizeof(s->end)), ESCAPE_UTF8);
	if (!cJSON_AddStringToObject(object, "end", text))
		goto out;
	escape_text(text, sizeof(text), s->detail, strnlen(s->detail, sizeof(s->detail)),
		    ESCAPE_UTF8);
	if (!cJSON_AddStringToObject(object, "detail", text))
		goto out;
	r = print(b, object);
out:
	cJSON_Delete(totals);
	cJSON_Delete(object);
	bytes_done(&inner);
	return r;
}

static uint64_t to_u64(double v, uint64_t max)
{
	if (!(v > 0))
		return 0;
	return v >= (double)max ? max : (uint64_t)v;
}

static void take_text(char *to, size_t size, const cJSON *item)
{
	if (cJSON_IsString(item))
		snprintf(to, size, "%s", item->valuestring);
}

static void take(char *base, const struct field *f, const cJSON *item)
{
	void *p = base + f->offset;
	double v = cJSON_IsNumber(item) ? item->valuedouble : 0;

	switch (f->kind) {
	case TEXT:
		take_text(p, f->size, item);
		break;
	case BOOL:
		*(bool *)p = cJSON_IsTrue(item);
		break;
	case INT:
		*(int32_t *)p = v < 0 ? 0 : (int32_t)to_u64(v, INT32_MAX);
		break;
	case U32:
		*(uint32_t *)p = (uint32_t)to_u64(v, UINT32_MAX);
		break;
	case REAL:
		*(double *)p = isfinite(v) ? v : 0;
		break;
	case DIGITS:
		*(uint64_t *)p = cJSON_IsString(item) ? strtoull(item->valuestring, NULL, 10) : 0;
		break;
	case COUNT:
		*(uint64_t *)p = to_u64(v, UINT64_MAX);
		break;
	}
}

static void take_all(void *base, const struct field *fields, const cJSON *object)
{
	for (const struct field *f = fields; f->key; f++)
		take(base, f, cJSON_GetObjectItemCaseSensitive(object, f->key));
}

static cJSON *parse(const void *text, size_t len)
{
	cJSON *object = cJSON_ParseWithLength(text, len);

	if (object && !cJSON_IsObject(object)) {
		cJSON_Delete(object);
		return NULL;
	}
	return object;
}

int json_parse_header(struct stream_header *ret, const void *text, size_t len)
{
	cJSON *object = parse(text, len);

	if (!object)
		return -EBADMSG;
	*ret = (struct stream_header){0};
	take_all(ret, header_fields, object);
	cJSON_Delete(object);
	return 0;
}

int json_parse_statistics(struct stream_statistics *ret, const void *text, size_t len)
{
	cJSON *object = parse(text, len);

	if (!object)
		return -EBADMSG;
	*ret = (struct stream_statistics){0};
	take_all(ret, statistics_fields, object);
	cJSON_Delete(object);
	return 0;
}

int json_parse_summary(struct stream_summary *ret, const void *text, size_t len)
{
	cJSON *object = parse(text, len), *totals;

	if (!object)
		return -EBADMSG;
	*ret = (struct stream_summary){0};
	totals = cJSON_GetObjectItemCaseSensitive(object, "totals");
	take_all(&ret->totals, statistics_fields, totals);
	take_text(ret->end, sizeof(ret->end), cJSON_GetObjectItemCaseSensitive(object, "end"));
	take_text(ret->detail, sizeof(ret->detail),
		  cJSON_GetObjectItemCaseSensitive(object, "detail"));
	cJSON_Delete(object);
	return 0;
}
