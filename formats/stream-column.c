#include "formats/stream-column.h"

#include <string.h>

#define STEP_SAMPLE 63 /* rows looked at for the usual step between times */

static size_t varint_size(uint64_t v)
{
	/* 7 bits a byte; zero takes one. */
	return (70 - __builtin_clzll(v | 1)) / 7;
}

/* The smallest storage of these numbers; its size goes to *ret_size. */
static enum storage choose(const uint64_t *v, size_t n, size_t *ret_size)
{
	size_t varint = 0, runs = 0, size, run = 0, fixed = SIZE_MAX;
	enum storage best = STORAGE_VARINT, width = STORAGE_U32;
	uint64_t all = 0;

	for (size_t i = 0; i < n; i++) {
		varint += varint_size(v[i]);
		all |= v[i];
		run++;
		if (i + 1 == n || v[i + 1] != v[i]) {
			runs += varint_size(run - 1) + varint_size(v[i]);
			run = 0;
		}
	}
	if (all <= UINT8_MAX) {
		fixed = n;
		width = STORAGE_U8;
	} else if (all <= UINT16_MAX) {
		fixed = 2 * n;
		width = STORAGE_U16;
	} else if (all <= UINT32_MAX) {
		fixed = 4 * n;
	}
	size = varint;
	/* Fixed widths decode several times faster: worth a twentieth. */
	if (fixed <= size + size / 20) {
		best = width;
		size = fixed;
	}
	if (runs <= size) {
		best = STORAGE_RUNS;
		size = runs;
	}
	*ret_size = size;
	return best;
}

static void store(struct bytes *b, enum storage storage, const uint64_t *v, size_t n)
{
	size_t run = 0;

	if (!bytes_reserve(b, n * 2 * VARINT_MAX))
		return;
	for (size_t i = 0; i < n; i++) {
		uint8_t *p = b->data + b->len;

		switch (storage) {
		case STORAGE_VARINT:
			bytes_varint(b, v[i]);
			break;
		case STORAGE_U32:
			p[2] = v[i] >> 16;
			p[3] = v[i] >> 24;
			b->len += 2;
			/* fall through */
		case STORAGE_U16:
			p[1] = v[i] >> 8;
			b->len++;
			/* fall through */
		case STORAGE_U8:
			p[0] = v[i];
			b->len++;
			break;
		case STORAGE_RUNS:
			run++;
			if (i + 1 == n || v[i + 1] != v[i]) {
				bytes_varint(b, run - 1);
				bytes_varint(b, v[i]);
				run = 0;
			}
			break;
		}
	}
}

/* The median of the first steps: with it taken off, what stays is jitter. */
static int64_t usual_step(const uint64_t *v, size_t n)
{
	int64_t steps[STEP_SAMPLE] = {0};
	size_t count = 0;

	for (size_t i = 1; i < n && count < STEP_SAMPLE; i++) {
		int64_t step = (int64_t)(v[i] - v[i - 1]);
		size_t at = count++;

		for (; at > 0 && steps[at - 1] > step; at--)
			steps[at] = steps[at - 1];
		steps[at] = step;
	}
	return count ? steps[count / 2] : 0;
}

/* Rows until the first row's value comes again. */
static size_t period(const uint64_t *v, size_t n)
{
	for (size_t i = 1; i < n; i++)
		if (v[i] == v[0] && v[i - 1] != v[0])
			return i;
	return 0;
}

static void transform(enum transform how, const uint64_t *v, size_t n, uint64_t parameter,
		      const struct column_threads *threads, uint64_t *ret)
{
	switch (how) {
	case TRANSFORM_NONE:
		memcpy(ret, v, n * sizeof(*v));
		break;
	case TRANSFORM_DELTA:
		ret[0] = 0;
		for (size_t i = 1; i < n; i++)
			ret[i] = zigzag((int64_t)(v[i] - v[i - 1] - parameter));
		break;
	case TRANSFORM_LAG:
		for (size_t i = 0; i < n; i++)
			ret[i] = i >= parameter && v[i] == v[i - parameter] ? 0 : v[i] + 1;
		break;
	case TRANSFORM_THREAD:
		memset(threads->last, 0, (threads->max + 1) * sizeof(*threads->last));
		for (size_t i = 0; i < n; i++) {
			uint64_t *last = &threads->last[threads->thread[i]];

			ret[i] = v[i] == *last ? 0 : v[i] + 1;
			*last = v[i];
		}
		break;
	}
}

unsigned column_encode(struct bytes *data, enum column id, const uint64_t *values, size_t n,
		       const struct column_threads *threads, uint64_t *scratch)
{
	uint64_t *tried = scratch, *best = scratch + n, parameter = 0;
	enum transform how = TRANSFORM_NONE, other;
	enum storage storage, other_storage;
	size_t size, other_size;

	if (id == COLUMN_TIME) {
		int64_t step = usual_step(values, n);

		transform(TRANSFORM_DELTA, values, n, (uint64_t)step, NULL, best);
		storage = choose(best, n, &size);
		bytes_varint(data, values[0]);
		bytes_zigzag(data, step);
		store(data, storage, best, n);
		return TRANSFORM_DELTA << 4 | storage;
	}
	transform(TRANSFORM_NONE, values, n, 0, NULL, best);
	storage = choose(best, n, &size);
	if (id == COLUMN_THREAD) {
		other = TRANSFORM_LAG;
		parameter = period(values, n);
	} else {
		other = TRANSFORM_THREAD;
		parameter = 1;
	}
	if (parameter && size > 16) {
		transform(other, values, n, parameter, threads, tried);
		other_storage = choose(tried, n, &other_size);
		if (other_size + VARINT_MAX < size) {
			how = other;
			storage = other_storage;
			best = tried;
		}
	}
	if (how == TRANSFORM_LAG)
		bytes_varint(data, parameter);
	store(data, storage, best, n);
	return how << 4 | storage;
}

static bool load_varints(struct cursor *c, uint64_t *v, size_t n)
{
	const uint8_t *p = c->at, *end = c->end;
	size_t i = 0;

	/* Without a look at the end for each byte as long as the longest number fits. */
	while (i < n && end - p >= VARINT_MAX) {
		uint64_t x = *p++;

		if (x >= 0x80) {
			x = (x & 0x7f) | (uint64_t)(*p & 0x7f) << 7;
			if (*p++ >= 0x80) {
				struct cursor one = {p - 2, end, false};

				x = cursor_varint(&one);
				if (one.bad)
					return false;
				p = one.at;
			}
		}
		v[i++] = x;
	}
	c->at = p;
	while (i < n)
		v[i++] = cursor_varint(c);
	return !c->bad;
}

static bool load(struct cursor *c, enum storage storage, uint64_t *v, size_t n)
{
	const uint8_t *p;

	switch (storage) {
	case STORAGE_VARINT:
		return load_varints(c, v, n);
	case STORAGE_U8:
		p = cursor_take(c, n);
		for (size_t i = 0; p && i < n; i++)
			v[i] = p[i];
		return p;
	case STORAGE_U16:
		p = cursor_take(c, 2 * n);
		for (size_t i = 0; p && i < n; i++)
			v[i] = p[2 * i] | (uint64_t)p[2 * i + 1] << 8;
		return p;
	case STORAGE_U32:
		p = cursor_take(c, 4 * n);
		for (size_t i = 0; p && i < n; i++)
			v[i] = p[4 * i] | (uint64_t)p[4 * i + 1] << 8 |
			       (uint64_t)p[4 * i + 2] << 16 | (uint64_t)p[4 * i + 3] << 24;
		return p;
	case STORAGE_RUNS:
		for (size_t i = 0; i < n;) {
			uint64_t run = cursor_varint(c), x = cursor_varint(c);

			if (c->bad || run >= n - i)
				return false;
			for (size_t end = i + run; i <= end; i++)
				v[i] = x;
		}
		return true;
	}
	return false;
}

bool column_decode(struct cursor *c, unsigned encoding, uint64_t *v, size_t n,
		   const struct column_threads *threads)
{
	uint64_t parameter = 0, value = 0;

	switch (encoding >> 4) {
	case TRANSFORM_NONE:
		break;
	case TRANSFORM_DELTA:
		value = cursor_varint(c);
		parameter = (uint64_t)cursor_zigzag(c);
		value -= parameter;
		break;
	case TRANSFORM_LAG:
		parameter = cursor_varint(c);
		if (parameter == 0)
			return false;
		break;
	case TRANSFORM_THREAD:
		if (!threads)
			return false;
		memset(threads->last, 0, (threads->max + 1) * sizeof(*threads->last));
		break;
	default:
		return false;
	}
	if (!load(c, encoding & 15, v, n) || c->bad || c->at != c->end)
		return false;
	switch (encoding >> 4) {
	case TRANSFORM_DELTA:
		for (size_t i = 0; i < n; i++) {
			value += parameter + (uint64_t)unzigzag(v[i]);
			v[i] = value;
		}
		break;
	case TRANSFORM_LAG:
		for (size_t i = 0; i < n; i++) {
			if (v[i])
				v[i]--;
			else
				v[i] = i >= parameter ? v[i - parameter] : 0;
		}
		break;
	case TRANSFORM_THREAD:
		for (size_t i = 0; i < n; i++) {
			uint64_t *last = &threads->last[threads->thread[i]];

			if (v[i])
				*last = v[i] - 1;
			v[i] = *last;
		}
		break;
	}
	return true;
}
