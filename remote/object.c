#include "remote/object.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define MAX_DICT_ENTRIES 65536 /* of the dicts that we look into: modules, threads */
#define MAX_LOG2_KEYS	 24
#define POINTER		 8

/* Of a str's state word, from shift bit on. */
static unsigned state_bits(uint32_t state, int shift, unsigned mask)
{
	return (state >> shift) & mask;
}

static size_t put_utf8(char *buf, uint32_t c)
{
	if (c < 0x80) {
		buf[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		buf[0] = (char)(0xc0 | c >> 6);
		buf[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		buf[0] = (char)(0xe0 | c >> 12);
		buf[1] = (char)(0x80 | (c >> 6 & 0x3f));
		buf[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	buf[0] = (char)(0xf0 | c >> 18);
	buf[1] = (char)(0x80 | (c >> 12 & 0x3f));
	buf[2] = (char)(0x80 | (c >> 6 & 0x3f));
	buf[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

static uint32_t get_unit(const uint8_t *data, size_t i, unsigned kind)
{
	uint16_t u16;
	uint32_t u32;

	switch (kind) {
	case 1:
		return data[i];
	case 2:
		memcpy(&u16, data + 2 * i, 2);
		return u16;
	default:
		memcpy(&u32, data + 4 * i, 4);
		return u32;
	}
}

ssize_t object_read_string(struct memory *m, const struct layout *l, uint64_t addr, char *buf,
			   size_t size)
{
	uint8_t head[64], data[1024];
	uint64_t length, from;
	uint32_t state;
	unsigned kind;
	size_t head_size = (size_t)l->unicode.ascii_data, out = 0, step;
	int r;

	if (addr == 0 || addr % POINTER || head_size > sizeof(head))
		return -EBADMSG;
	r = memory_read(m, addr, head, head_size);
	if (r < 0)
		return r;
	memcpy(&length, head + l->unicode.length, 8);
	memcpy(&state, head + l->unicode.state, 4);
	kind = state_bits(state, l->unicode.kind_shift, 7);
	if (!state_bits(state, l->unicode.compact_shift, 1) ||
	    (kind != 1 && kind != 2 && kind != 4) || length > UINT32_MAX)
		return -EBADMSG;
	if (state_bits(state, l->unicode.ascii_shift, 1)) {
		if (kind != 1)
			return -EBADMSG;
		from = addr + (uint64_t)l->unicode.ascii_data;
		if (length > size)
			length = size;
		r = length ? memory_read(m, from, buf, length) : 0;
		return r < 0 ? r : (ssize_t)length;
	}
	from = addr + (uint64_t)l->unicode.compact_data;
	step = sizeof(data) / kind;
	for (uint64_t done = 0; done < length;) {
		size_t n = length - done < step ? (size_t)(length - done) : step;

		r = memory_read(m, from + done * kind, data, n * kind);
		if (r < 0)
			return r;
		for (size_t i = 0; i < n; i++) {
			uint32_t c = get_unit(data, i, kind);

			if (c > 0x10ffff)
				return -EBADMSG;
			if (out + 4 > size)
				return (ssize_t)out;
			out += put_utf8(buf + out, c);
		}
		done += n;
	}
	return (ssize_t)out;
}

int object_read_bytes_head(struct memory *m, const struct layout *l, uint64_t addr,
			   uint64_t *ret_data, size_t *ret_len)
{
	uint64_t len;
	int r;

	if (addr == 0 || addr % POINTER)
		return -EBADMSG;
	r = MEMORY_READ(m, addr + (uint64_t)l->bytes.ob_size, &len);
	if (r < 0)
		return r;
	if (len > UINT32_MAX)
		return -EBADMSG;
	*ret_data = addr + (uint64_t)l->bytes.ob_sval;
	*ret_len = (size_t)len;
	return 0;
}

int object_read_uint(struct memory *m, const struct layout *l, uint64_t addr, uint64_t *ret)
{
	uint32_t digits[3] = {0};
	uint64_t tag, count, value = 0;
	int r;

	if (addr == 0 || addr % POINTER)
		return -EBADMSG;
	if (l->integer.tag != ABSENT) {
		r = MEMORY_READ(m, addr + (uint64_t)l->integer.tag, &tag);
		if (r < 0)
			return r;
		count = tag >> 3;
		if ((tag & 3) == 1)
			count = 0;
		else if ((tag & 3) != 0)
			return -ERANGE;
	} else {
		r = MEMORY_READ(m, addr + (uint64_t)l->var.ob_size, &count);
		if (r < 0)
			return r;
	}
	if (count > 3)
		return -ERANGE;
	if (count) {
		r = memory_read(m, addr + (uint64_t)l->integer.digits, digits, count * 4);
		if (r < 0)
			return r;
	}
	if (digits[0] >> 30 || digits[1] >> 30 || digits[2] >> 3)
		return -ERANGE;
	for (uint64_t i = count; i > 0; i--)
		value = value << 30 | digits[i - 1];
	*ret = value;
	return 0;
}

/* The table of a dict's keys: where its entries stand and of which shape they are. */
struct keys {
	uint64_t entries; /* address of the first entry */
	uint64_t count;
	uint64_t size; /* of the index; two thirds of it can be used */
	uint32_t entry_size;
	uint32_t key_at; /* offset of the key in an entry; the value stands behind it */
	bool split;	 /* values are elsewhere */
};

#define KEYS_HEAD 64 /* bytes of a table of keys that say its shape, at most */

/* The shape of the table at addr, by its first bytes. */
static int parse_keys(const struct layout *l, uint64_t addr, const uint8_t *head, struct keys *ret)
{
	uint64_t count, table, size;

	memcpy(&count, head + l->dict.keys_nentries, 8);
	if (l->dict.keys_log2_index_bytes == ABSENT) {
		memcpy(&size, head + l->dict.keys_size, 8);
		if (size == 0 || size > 1u << MAX_LOG2_KEYS || (size & (size - 1)))
			return -EBADMSG;
		table = size * (size <= 0x80 ? 1 : size <= 0x8000 ? 2 : 4);
		ret->entry_size = 24;
		ret->key_at = 8;
		ret->split = false;
	} else {
		uint8_t log2_size = head[l->dict.keys_size];
		uint8_t log2_bytes = head[l->dict.keys_log2_index_bytes];
		uint8_t kind = head[l->dict.keys_kind];

		if (log2_size > MAX_LOG2_KEYS || log2_bytes > MAX_LOG2_KEYS + 3 || kind > 2)
			return -EBADMSG;
		size = 1ull << log2_size;
		table = 1ull << log2_bytes;
		ret->entry_size = kind == 0 ? 24 : 16;
		ret->key_at = kind == 0 ? 8 : 0;
		ret->split = kind == 2;
	}
	if (count > size || count > MAX_DICT_ENTRIES)
		return -EBADMSG;
	ret->entries = addr + (uint64_t)l->dict.keys_header + table;
	ret->count = count;
	ret->size = size;
	return 0;
}

static int read_keys(struct memory *m, const struct layout *l, uint64_t addr, struct keys *ret)
{
	uint8_t head[KEYS_HEAD];
	int r;

	if (addr == 0 || addr % POINTER || l->dict.keys_header > KEYS_HEAD)
		return -EBADMSG;
	r = memory_read(m, addr, head, (size_t)l->dict.keys_header);
	return r < 0 ? r : parse_keys(l, addr, head, ret);
}

int object_keys_length(struct memory *m, const struct layout *l, uint64_t keys, size_t *ret)
{
	struct keys k;
	int r = read_keys(m, l, keys, &k);

	if (r == 0)
		*ret = (size_t)(k.entries - keys) + k.size * 2 / 3 * k.entry_size;
	return r;
}

int object_keys_find(const struct layout *l, const uint8_t *bytes, size_t len, uint64_t key,
		     uint64_t *ret)
{
	struct keys k;
	uint64_t pair[2];
	int r;

	if (l->dict.keys_header > KEYS_HEAD || len < (size_t)l->dict.keys_header)
		return -EBADMSG;
	r = parse_keys(l, 0, bytes, &k);
	if (r < 0)
		return r;
	if (k.split || k.entries > len || k.count > (len - k.entries) / k.entry_size)
		return -EBADMSG;
	for (uint64_t i = 0; i < k.count; i++) {
		memcpy(pair, bytes + k.entries + i * k.entry_size + k.key_at, sizeof(pair));
		if (pair[0] == key && pair[1]) {
			*ret = pair[1];
			return 0;
		}
	}
	return -ENOENT;
}

/* Walks a table of keys, a block of entries a read; values: address of the array of values of a
 * split table, or 0. each() gets the pairs of a block together. */
#define BLOCK 64
struct pair {
	uint64_t key, value;
};

static int each_block(struct memory *m, const struct keys *k, uint64_t values,
		      int (*each)(void *arg, const struct pair *pairs, size_t n), void *arg)
{
	uint8_t entries[BLOCK * 24];
	uint64_t array[BLOCK];
	struct pair pairs[BLOCK];

	for (uint64_t from = 0; from < k->count; from += BLOCK) {
		size_t n = k->count - from < BLOCK ? (size_t)(k->count - from) : BLOCK, used = 0;
		int r = memory_read(m, k->entries + from * k->entry_size, entries,
				    n * k->entry_size);

		if (r == 0 && values)
			r = memory_read(m, values + from * POINTER, array, n * POINTER);
		if (r < 0)
			return r;
		for (size_t i = 0; i < n; i++) {
			struct pair *p = &pairs[used];

			memcpy(p, entries + i * k->entry_size + k->key_at, sizeof(*p));
			if (values)
				p->value = array[i];
			used += p->key && p->value;
		}
		r = each(arg, pairs, used);
		if (r)
			return r;
	}
	return 0;
}

/* Where the array of values begins in a PyDictValues: to 3.10 and in 3.11, 3.12 it is the array
 * itself; from 3.13 four bytes of sizes and flags stand before it, padded. */
static uint64_t values_array(const struct layout *l, uint64_t values)
{
	return l->version >= 0x030d0000 ? values + POINTER : values;
}

static int each_dict_block(struct memory *m, const struct layout *l, uint64_t dict,
			   int (*each)(void *arg, const struct pair *pairs, size_t n), void *arg)
{
	struct keys k;
	uint64_t keys, values;
	int r;

	if (dict == 0 || dict % POINTER)
		return -EBADMSG;
	r = MEMORY_READ(m, dict + (uint64_t)l->dict.ma_keys, &keys);
	if (r == 0)
		r = MEMORY_READ(m, dict + (uint64_t)l->dict.ma_values, &values);
	if (r == 0)
		r = read_keys(m, l, keys, &k);
	if (r < 0)
		return r;
	if (k.split && values == 0)
		return -EBADMSG;
	return each_block(m, &k, values ? values_array(l, values) : 0, each, arg);
}

struct each_item {
	int (*each)(void *arg, uint64_t key, uint64_t value);
	void *arg;
};

static int each_item_block(void *arg, const struct pair *pairs, size_t n)
{
	const struct each_item *e = arg;
	int r = 0;

	for (size_t i = 0; i < n && !r; i++)
		r = e->each(e->arg, pairs[i].key, pairs[i].value);
	return r;
}

int object_each_item(struct memory *m, const struct layout *l, uint64_t dict,
		     int (*each)(void *arg, uint64_t key, uint64_t value), void *arg)
{
	struct each_item e = {each, arg};

	return each_dict_block(m, l, dict, each_item_block, &e);
}

/* A key of plain ASCII that is looked for; the keys of a block are read together. */
#define MAX_KEY 64
struct wanted {
	struct memory *memory;
	const struct layout *layout;
	const char *key;
	size_t len;
	uint64_t value;
};

static int match_block(void *arg, const struct pair *pairs, size_t n)
{
	struct wanted *w = arg;
	const struct layout *l = w->layout;
	uint8_t heads[BLOCK][64 + MAX_KEY];
	struct memory_range ranges[BLOCK];
	size_t data = (size_t)l->unicode.ascii_data;
	int r;

	if (w->len > MAX_KEY || data > 64)
		return -EINVAL;
	for (size_t i = 0; i < n; i++)
		ranges[i] = (struct memory_range){
			.addr = pairs[i].key, .len = (uint32_t)(data + w->len), .buf = heads[i]};
	r = n ? memory_gather(w->memory, ranges, n) : 0;
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		uint64_t length;
		uint32_t state;

		if (ranges[i].failed)
			continue;
		memcpy(&length, heads[i] + l->unicode.length, 8);
		memcpy(&state, heads[i] + l->unicode.state, 4);
		if (length != w->len || !state_bits(state, l->unicode.ascii_shift, 1) ||
		    !state_bits(state, l->unicode.compact_shift, 1) ||
		    memcmp(heads[i] + data, w->key, w->len) != 0)
			continue;
		w->value = pairs[i].value;
		return 1;
	}
	return 0;
}

static int found(int r, const struct wanted *w, uint64_t *ret)
{
	if (r < 0)
		return r;
	if (r == 0)
		return -ENOENT;
	*ret = w->value;
	return 0;
}

int object_dict_get(struct memory *m, const struct layout *l, uint64_t dict, const char *key,
		    uint64_t *ret)
{
	struct wanted w = {m, l, key, strlen(key), 0};

	return found(each_dict_block(m, l, dict, match_block, &w), &w, ret);
}

/* Attributes kept without a dict: the type's cached keys name them, values holds them. */
static int get_split(struct memory *m, const struct layout *l, uint64_t type, uint64_t values,
		     const char *name, uint64_t *ret)
{
	struct wanted w = {m, l, name, strlen(name), 0};
	struct keys k;
	uint64_t keys;
	int r;

	if (l->type.ht_cached_keys == ABSENT)
		return -ENOENT;
	r = MEMORY_READ(m, type + (uint64_t)l->type.ht_cached_keys, &keys);
	if (r == 0)
		r = read_keys(m, l, keys, &k);
	if (r < 0)
		return r;
	/* A split table has no values of its own: its entries' second words mean nothing, so
	 * values stands in for them whatever kind it says. */
	return found(each_block(m, &k, values_array(l, values), match_block, &w), &w, ret);
}

#define TYPE_FLAG_INLINE_VALUES (1u << 2) /* Py_TPFLAGS_INLINE_VALUES, 3.13+ */
#define TYPE_FLAG_MANAGED_DICT	(1u << 4) /* Py_TPFLAGS_MANAGED_DICT, 3.11+ */

int object_get_attribute(struct memory *m, const struct layout *l, uint64_t object,
			 const char *name, uint64_t *ret)
{
	uint64_t type, basicsize, flags, word = 0, at;
	int64_t dictoffset;
	uint8_t sizes[4]; /* capacity, size, embedded, valid */
	int r;

	if (object == 0 || object % POINTER)
		return -EBADMSG;
	r = MEMORY_READ(m, object + (uint64_t)l->object.ob_type, &type);
	if (r == 0)
		r = MEMORY_READ(m, type + (uint64_t)l->type.tp_flags, &flags);
	if (r == 0)
		r = MEMORY_READ(m, type + (uint64_t)l->type.tp_basicsize, &basicsize);
	if (r == 0)
		r = MEMORY_READ(m, type + (uint64_t)l->type.tp_dictoffset, &dictoffset);
	if (r < 0)
		return r;
	if (l->version < 0x030b0000 || !(flags & TYPE_FLAG_MANAGED_DICT)) {
		if (dictoffset <= 0 || dictoffset > 1 << 20 || dictoffset % POINTER)
			return -ENOENT;
		at = object + (uint64_t)dictoffset;
	} else if (l->version < 0x030c0000) {
		r = MEMORY_READ(m, object - 4 * POINTER, &word);
		if (r < 0)
			return r;
		if (word)
			return get_split(m, l, type, word, name, ret);
		at = object - 3 * POINTER;
	} else if (l->version < 0x030d0000) {
		r = MEMORY_READ(m, object - 3 * POINTER, &word);
		if (r < 0)
			return r;
		if (word & 1)
			return get_split(m, l, type, word + 1, name, ret);
		at = object - 3 * POINTER;
	} else {
		if (flags & TYPE_FLAG_INLINE_VALUES && basicsize < 1 << 20) {
			r = MEMORY_READ(m, object + basicsize, &sizes);
			if (r < 0)
				return r;
			if (sizes[3])
				return get_split(m, l, type, object + basicsize, name, ret);
		}
		at = object - (l->free_threaded ? 1 : 3) * POINTER;
	}
	r = MEMORY_READ(m, at, &word);
	if (r < 0)
		return r;
	return word ? object_dict_get(m, l, word, name, ret) : -ENOENT;
}
