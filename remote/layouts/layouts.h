/* The row sets, one a CPython version. Only layout.c reads them. */
#ifndef PYPROF_REMOTE_LAYOUTS_LAYOUTS_H
#define PYPROF_REMOTE_LAYOUTS_LAYOUTS_H

#include "remote/layout.h"

extern const struct layout layout_cpython_3_8;
extern const struct layout layout_cpython_3_9;
extern const struct layout layout_cpython_3_10;
extern const struct layout layout_cpython_3_11;
extern const struct layout layout_cpython_3_12;

/* For layout.frame.caches and .idle: opcodes.c, made by make opcodes. */
extern const uint8_t layout_caches_3_11[256];
extern const uint8_t layout_caches_3_12[256];
extern const uint8_t layout_idle_3_8[32];
extern const uint8_t layout_idle_3_9[32];
extern const uint8_t layout_idle_3_10[32];
extern const uint8_t layout_idle_3_11[32];
extern const uint8_t layout_idle_3_12[32];
extern const uint8_t layout_idle_3_13[32];
extern const uint8_t layout_idle_3_14[32];
extern const uint8_t layout_idle_3_15[32];

/* One word of _Py_DebugOffsets and the field of struct layout that is made of it. Several lines
 * for one field add up: an offset within a struct within a struct is a sum, an offset relative to
 * an embedded struct a difference. */
enum layout_word_use {
	LAYOUT_WORD_SET,	  /* field = word + add */
	LAYOUT_WORD_SET_UNLESS_0, /* the same; 0 is ABSENT */
	LAYOUT_WORD_ADD,	  /* field += word + add */
	LAYOUT_WORD_SUB,	  /* field -= word + add */
};

struct layout_word {
	uint16_t index; /* of the u64 in the table; 0 is the cookie */
	uint16_t field; /* offsetof(struct layout, ...) of an int32_t */
	int16_t add;
	enum layout_word_use use;
};

#define LAYOUT_SET(n, member)                                                                      \
	{                                                                                          \
		(n), offsetof(struct layout, member), 0, LAYOUT_WORD_SET                           \
	}
#define LAYOUT_SET_BEHIND(n, bytes, member)                                                        \
	{                                                                                          \
		(n), offsetof(struct layout, member), (bytes), LAYOUT_WORD_SET                     \
	}
#define LAYOUT_SET_UNLESS_0(n, member)                                                             \
	{                                                                                          \
		(n), offsetof(struct layout, member), 0, LAYOUT_WORD_SET_UNLESS_0                  \
	}
#define LAYOUT_ADD(n, member)                                                                      \
	{                                                                                          \
		(n), offsetof(struct layout, member), 0, LAYOUT_WORD_ADD                           \
	}
#define LAYOUT_SUB(n, member)                                                                      \
	{                                                                                          \
		(n), offsetof(struct layout, member), 0, LAYOUT_WORD_SUB                           \
	}

/* A version whose runtime begins with a table. */
struct layout_table {
	uint32_t version; /* 0x030d0000: major and minor */
	bool free_threaded;
	size_t len;		   /* bytes that the table has at least */
	const struct layout *base; /* what the table lacks; ABSENT where the table has it */
	const struct layout_word *words;
	size_t words_count;
};

extern const struct layout_table layout_table_3_13;
extern const struct layout_table layout_table_3_13t;
extern const struct layout_table layout_table_3_14;
extern const struct layout_table layout_table_3_14t;
extern const struct layout_table layout_table_3_15;
extern const struct layout_table layout_table_3_15t;

#endif
