#include <xxhash.h>

#include "remote/frame-parts.h"

/* Walks that are the same, and how long they are so: a tight loop is often caught alike. */
#define REST_AFTER 8
#define REST_NS	   1000000u

static struct digest digest_of(const void *bytes, size_t len)
{
	XXH128_hash_t hash = XXH3_128bits(bytes, len);

	return (struct digest){hash.low64, hash.high64};
}

static bool is_same(struct digest a, struct digest b)
{
	return ((a.low ^ b.low) | (a.high ^ b.high)) == 0;
}

/* Whether all that can move in the thread's stack lies in one chunk, which copy A has whole. */
static bool may_rest(const struct walker *w)
{
	const struct windows *ws = &w->windows;
	uint32_t used = windows_newest_used(ws);

	if (!w->has_walk || !w->n_known || ws->n_chunks != 1 ||
	    w->layout->tstate.datastack_top == ABSENT || used == 0 || used > ws->chunks[0].len ||
	    ws->chunks[0].failed || !w->known[w->n_known - 1].in_chunk)
		return false;
	/* A frame of the interpreter's own, elsewhere, only leads from one in the chunk to another.
	 */
	for (size_t i = 0; i < w->n_known; i++)
		if (!w->known[i].in_chunk && !w->known[i].hidden)
			return false;
	return true;
}

bool walker_remember_rest(struct walker *w, uint64_t gathered_ns)
{
	struct rest *rest = &w->rest;
	struct digest words;

	if (!may_rest(w)) {
		rest->same = 0;
		return false;
	}
	words = digest_of(w->windows.words, (size_t)w->layout->tstate.size);
	if (rest->same && is_same(words, rest->words)) {
		if (++rest->same <= REST_AFTER ||
		    (gathered_ns && gathered_ns - rest->since_ns < REST_NS))
			return false;
		rest->stack = digest_of(w->windows.chunks[0].a, windows_newest_used(&w->windows));
		return true;
	}
	rest->same = 1;
	rest->since_ns = gathered_ns;
	rest->words = words;
	return false;
}

bool walker_rests(const struct walker *w)
{
	return w->resting;
}

struct memory_range walker_rest_words(const struct walker *w, uint8_t *bytes)
{
	return (struct memory_range){
		.addr = w->windows.tstate, .len = (uint32_t)w->layout->tstate.size, .buf = bytes};
}

static size_t aligned(size_t len)
{
	return (len + 7) & ~(size_t)7;
}

size_t walker_rest_bytes(const struct walker *w)
{
	return aligned((size_t)w->layout->tstate.size) + aligned(windows_newest_used(&w->windows)) +
	       CFRAME_BYTES;
}

size_t walker_rest_ranges(const struct walker *w, uint8_t *bytes, struct memory_range *out)
{
	const struct layout *l = w->layout;
	const uint32_t used = windows_newest_used(&w->windows);

	bytes += aligned((size_t)l->tstate.size);
	out[0] =
		(struct memory_range){.addr = w->windows.chunks[0].addr, .len = used, .buf = bytes};
	if (l->tstate.cframe == ABSENT)
		return 1;
	/* In 3.11 and 3.12 the leaf is named there. */
	out[1] = (struct memory_range){.addr = word_at(w->windows.words, l->tstate.cframe),
				       .len = CFRAME_BYTES,
				       .buf = bytes + aligned(used)};
	return 2;
}

static bool leaf_stays(const struct walker *w, const struct memory_range *ranges)
{
	if (w->layout->tstate.cframe == ABSENT)
		return true;
	return !ranges[1].failed && word_at(ranges[1].buf, w->layout->cframe.current_frame) ==
					    w->known[w->n_known - 1].addr;
}

bool walker_still_rests(struct walker *w, struct walk_context *c, const struct memory_range *words,
			const struct memory_range *ranges, uint32_t *ret_stack)
{
	if (!words->failed && !ranges[0].failed &&
	    is_same(digest_of(words->buf, words->len), w->rest.words) &&
	    is_same(digest_of(ranges[0].buf, ranges[0].len), w->rest.stack) &&
	    leaf_stays(w, ranges) && walker_check_known(w, c, w->n_known) == WALK_OK) {
		walker_stood(w, c->stamp);
		*ret_stack = w->known[w->n_known - 1].stack;
		return true;
	}
	w->resting = false;
	w->rest.same = 0;
	return false;
}

void walker_stood(struct walker *w, uint64_t stamp)
{
	/* Code objects of frames that were never left cannot have been replaced. */
	w->codes_stamp = stamp;
}
