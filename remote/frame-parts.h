/* What the parts of the walker share: frame.c has the walk, frame-codes.c of which code objects its
 * frames are and the ids of those, frame-plan.c where to look for frames, frame-moving.c what is
 * proven of a stack that moved, frame-rest.c threads that rest, frame-last.c what else is asked of
 * the last walk. */
#ifndef PYPROF_REMOTE_FRAME_PARTS_H
#define PYPROF_REMOTE_FRAME_PARTS_H

#include <string.h>

#include "remote/frame.h"
#include "remote/window.h"

#define NEAR_BITS    9	/* log2 of the slots that remember where a frame stood in the walk */
#define CFRAME_BYTES 16 /* of a _PyCFrame */

/* A frame of the last walk. */
struct known {
	uint64_t addr;
	uint64_t code, previous, ip; /* the raw words */
	uint64_t serial;	     /* of the code object's reading */
	uint32_t stack;		     /* the stack up to and with it */
	uint64_t generator;	     /* address of the innermost frame of one up to it; 0 none */
	bool in_chunk, hidden;
	bool calls; /* it may be a caller */
	const uint8_t *a, *b;
};

/* A frame of the walk under way. */
struct fresh {
	uint64_t addr, code, previous, ip;
	uint64_t serial; /* of the code object's reading */
	const uint8_t *a, *b;
	bool in_chunk, hidden, generator; /* generator: owned by one */
	bool entry;			  /* 3.11: called by C code */
	bool caller;			  /* as such it must stand where others are called */
	uint32_t op;
};

/* What some bytes were: two are never taken for one by chance. */
struct digest {
	uint64_t low, high;
};

struct walker {
	const struct layout *layout;
	uint64_t ident, interp;
	bool still;    /* the kernel says that the thread sleeps */
	bool resting;  /* its words and its stack stood still lately */
	bool doubtful; /* of the last walk only that the thread was held says that it is true */
	struct windows windows;
	struct known *known; /* base first */
	size_t n_known, room_known;
	bool has_walk;
	uint64_t codes_stamp; /* by which the code objects of known were checked last */
	struct rest {
		unsigned same; /* so many proven walks in a row had these words and this stack */
		uint64_t since_ns;	    /* since then */
		struct digest words, stack; /* stack: of one that rests */
	} rest;
	struct fresh *fresh; /* leaf first */
	size_t room_fresh;
	uint16_t near[1 << NEAR_BITS]; /* index in known by address; a hint */
	/* What walker_prefix() told: so many of known, and fresh[0] if above. */
	struct prefix {
		size_t n;
		bool above;
		uint32_t stack;
	} prefix;
};

static inline uint64_t word_at(const uint8_t *p, int32_t offset)
{
	uint64_t w;

	memcpy(&w, p + offset, 8);
	return w;
}

static inline uint64_t ip_at(const struct layout *l, const uint8_t *p)
{
	int32_t i;

	if (l->frame_style == FRAME_STYLE_INTERPRETER)
		return word_at(p, l->frame.instr_ptr);
	memcpy(&i, p + l->frame.instr_ptr, 4);
	return (uint64_t)(int64_t)i;
}

/* What a frame may do between the copies. */
enum stand {
	STANDS,	  /* nothing: it is a caller */
	EXECUTES, /* get on, as the leaf does */
	MOVES,	  /* that, and begin or cease to be called, as a generator is */
};

/* ---- frame.c ---- */

/* Of the words: whether they are this thread's; the leaf's address, 0 for none. */
bool walker_words_are_ours(const struct walker *w);
enum walk_result walker_leaf(struct walker *w, uint64_t *ret);

/* After windows moved: the frames of the last walk are looked for anew. */
void walker_relocate(struct walker *w);
/* How many frames of the last walk, of the first n, are in both copies as they were then. */
size_t walker_unchanged(const struct walker *w, size_t n, bool held);
/* The place of addr in the last walk if it is below limit; else limit. */
size_t walker_known_index(const struct walker *w, uint64_t addr, size_t limit);
/* Takes the frame at addr out of the copies. */
enum walk_result walker_take_frame(struct walker *w, uint64_t addr, enum stand stand,
				   struct fresh *ret);
/* Whether the newest chunk was copied as far as the stack reaches; whether it is the one that the
 * words name. */
bool walker_copied_enough(const struct walker *w, uint64_t leaf);
bool walker_newest_chunk_is(const struct walker *w);

/* ---- frame-codes.c ---- */

/* The code object that a frame names; NULL and *ret_error when it is none, or memory is short. */
struct code *walker_code(const struct walker *w, struct walk_context *c, uint64_t word,
			 int *ret_error);
/* Whether the code objects of n fresh frames, of the first n of the last walk, are what they were
 * when the frames were copied. */
enum walk_result walker_check_fresh(struct walker *w, struct walk_context *c, size_t n);
enum walk_result walker_check_known(struct walker *w, struct walk_context *c, size_t n);
/* Whether a frame of the last walk stands where others are called. */
enum walk_result walker_check_caller(struct walker *w, struct walk_context *c, struct known *k);
/* The instructions that n fresh frames stand at. */
void walker_fetch_opcodes(struct walker *w, struct walk_context *c, size_t n);
/* The stack of a fresh frame above parent. */
enum walk_result walker_intern(struct walker *w, struct walk_context *c, struct fresh *f,
			       uint32_t parent, uint32_t *ret);
/* The frame of a name and kind of ours, whose id is kept at id; 0 when memory is short. */
uint32_t walk_special_frame(struct walk_context *c, uint32_t *id, const char *name,
			    enum frame_kind kind);

/* ---- frame-rest.c ---- */

/* After a proven walk that repeated the one before, of a gather made then: whether the thread rests
 * from now on. */
bool walker_remember_rest(struct walker *w, uint64_t gathered_ns);

#endif
