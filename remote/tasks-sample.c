#include "remote/tasks-sample.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "remote/clock.h"
#include "remote/object.h"
#include "remote/tasks-sample-parts.h"

#define KEYS	     32u  /* tables of a dict that grows and shrinks all the while */
#define KEYS_NEAR    256u /* nearer to each other than this they are read together */
#define KEYS_SPANS   TASK_WATCH_SPANS
#define KEYS_BYTES   8192u	    /* all of them: one can be of some hundred loops */
#define DICT_BYTES   128u	    /* of a dict itself */
#define RECENT	     16u	    /* tasks that are read as well ... */
#define INSTANT	     8u		    /* of these, at the instant itself */
#define RECENT_LOOKS 256u	    /* ... for so many gathers */
#define STRANGERS    64u	    /* ... and as long as not so many others ran */
#define KEYS_LOOKS   64u	    /* and so are tables */
#define SAME	     2u		    /* gathers that find the same task, and it is expected again */
#define OWN_BYTES    512u	    /* of one */
#define UNREAD	     (~UINT64_C(0)) /* what a word is not */
#define GREEN_SURE   3u /* walks for greenlets that find none: one can miss what moves meanwhile */
/* To confirm an answer takes no longer, and for each range. */
#define LATE_NS	      100000u
#define LATE_RANGE_NS 1000u

/* What a gather brought of the thread's task. */
enum seen {
	SEEN_NOTHING, /* where the thread says what runs is not known, or is elsewhere by now */
	SEEN_NONE,
	SEEN_NEW,    /* a task of which no answer is known that holds */
	SEEN_HIDDEN, /* one, but the table that says which was not read */
	SEEN_BEYOND, /* one of which there is none */
	SEEN_TASK,
};

struct task_watch {
	struct task_watcher *w;
	uint64_t interp, tstate;
	/* Where it says what runs. */
	struct task_place place;
	struct memo memo;
	uint8_t *behind; /* as its bytes were read; room of them */
	size_t room;
	bool known;	      /* there is such a place */
	bool beyond;	      /* it is over a bound: there would be none at any try */
	bool current;	      /* by ranges that are not known to have changed */
	uint64_t born, walks; /* walks for greenlets that there had been at first, and lately */
	/* What it says: the words, and the dict of current tasks with the tables that it had. */
	uint64_t word, green;
	uint64_t switches[2]; /* the thread's count, as it was read before and behind */
	uint8_t dict[DICT_BYTES];
	struct keys_table {
		uint64_t addr;
		uint64_t looked; /* when the dict had it last, by the count below */
		uint32_t len;
	} keys[KEYS]; /* by address */
	size_t n_keys;
	/* What was read of them by the last gather. */
	struct keys_span {
		uint64_t addr;
		uint32_t len, at; /* in keys_bytes */
	} spans[KEYS_SPANS];
	size_t n_spans;
	uint8_t *keys_bytes; /* KEYS_BYTES; NULL: there is no table yet */
	uint64_t dict_looks; /* gathers that found something in the dict */
	uint64_t hidden;     /* by that count, the last that did not find its table; 0 none did */
	uint64_t eager;	     /* how many tasks were beginning at once */
	struct memory_range beside[TASK_WATCH_BESIDE];
	size_t n_beside;
	/* Tasks that ran lately, as they were before the gather, or if they are doubted at its
	 * instant; len 0: not read. */
	struct recent {
		uint64_t task;
		uint64_t looked; /* when it ran last, by the count of gathers */
		uint32_t len;
		uint32_t at; /* in the memo */
		uint8_t bytes[OWN_BYTES];
	} * recent; /* RECENT; NULL: none ran yet */
	size_t next_recent;
	unsigned strangers; /* that ran since one of them did */
	uint64_t looks;
	/* What the task that ran lately depends on, as it was read behind; expected 0: it was not.
	 */
	uint64_t expected, last;
	unsigned same; /* gathers in a row that found that one */
	uint8_t *bytes_expected;
	size_t room_expected;
	/* By the last gather. */
	enum seen seen;
	uint64_t task, first; /* first: of the thread's greenlets, where the task is one */
	struct task_chain chain;
	/* What is to be found before the next; later: with the next tick. */
	uint64_t missing, missing_first, missing_keys;
	uint64_t later, later_first;
};

struct task_watch *task_watch_new(struct task_watcher *w, uint64_t interp, uint64_t tstate)
{
	struct task_watch *t = calloc(1, sizeof(*t));

	if (t) {
		task_watcher_expect(w);
		t->w = w;
		t->born = w->walks;
		t->interp = interp;
		t->tstate = tstate;
	}
	return t;
}

void task_watch_free(struct task_watch *t)
{
	if (!t)
		return;
	memo_done(&t->memo);
	free(t->keys_bytes);
	free(t->behind);
	free(t->bytes_expected);
	free(t->recent);
	free(t);
}

/* ---- what is found by following pointers ---- */

/* Room for need bytes, which hold anything. */
static bool reserve(uint8_t **bytes, size_t *room, size_t need)
{
	uint8_t *more;

	if (need <= *room)
		return true;
	more = malloc(2 * need);
	if (!more)
		return false;
	free(*bytes);
	*bytes = more;
	*room = 2 * need;
	return true;
}

static void find_place(struct task_watch *t)
{
	struct task_watcher *w = t->w;
	int r;

	t->current = true;
	t->walks = w->walks;
	t->place = (struct task_place){0};
	r = task_reader_place(w->reader, t->interp, t->tstate, &w->log, &t->place);
	if (r == 0)
		r = memo_keep(&t->memo, &w->log);
	t->known = r == 0 && reserve(&t->behind, &t->room, t->memo.used);
	t->beyond = r == -ENOTSUP || r == -E2BIG;
	w->lacks |= !t->place.switches;
	t->place.unsure |= !t->place.switches && task_reader_knows_greenlets(w->reader) &&
			   w->walks - t->born < GREEN_SURE;
	if (!t->known)
		memo_clear(&t->memo);
}

static struct keys_table *keys_at(struct task_watch *t, uint64_t addr)
{
	size_t i = 0;

	while (i < t->n_keys && t->keys[i].addr < addr)
		i++;
	return &t->keys[i];
}

static void drop_oldest_keys(struct task_watch *t)
{
	struct keys_table *oldest = &t->keys[0];

	for (size_t i = 1; i < t->n_keys; i++)
		if (t->keys[i].looked < oldest->looked)
			oldest = &t->keys[i];
	t->n_keys--;
	memmove(oldest, oldest + 1, (size_t)(&t->keys[t->n_keys] - oldest) * sizeof(*oldest));
}

/* A dict that is filled and emptied all the while gets another table every few times, often one of
 * those that it had: two or three where what is freed last is used first, some dozens that lie side
 * by side without a GIL. */
static void find_keys(struct task_watch *t)
{
	struct keys_table *k = keys_at(t, t->missing_keys);
	size_t len;

	if (!t->keys_bytes)
		t->keys_bytes = malloc(KEYS_BYTES);
	if (!t->keys_bytes ||
	    object_keys_length(t->w->memory, t->w->layout, t->missing_keys, &len) < 0 ||
	    len > KEYS_BYTES)
		return;
	if (k == &t->keys[t->n_keys] || k->addr != t->missing_keys) {
		if (t->n_keys == KEYS)
			drop_oldest_keys(t);
		k = keys_at(t, t->missing_keys);
		memmove(k + 1, k, (size_t)(&t->keys[t->n_keys++] - k) * sizeof(*k));
	}
	*k = (struct keys_table){t->missing_keys, t->dict_looks, (uint32_t)len};
}

/* Notes that a task ran: it is read before the next gathers. NULL when memory is short. */
static struct recent *note_recent(struct task_watch *t, uint64_t task)
{
	struct recent *own = NULL;

	if (!t->recent)
		t->recent = calloc(RECENT, sizeof(*t->recent));
	if (!t->recent)
		return NULL;
	for (size_t i = 0; i < RECENT && !own; i++)
		if (t->recent[i].task == task)
			own = &t->recent[i];
	t->strangers = own ? 0 : t->strangers + 1;
	if (!own) {
		own = &t->recent[t->next_recent++ % RECENT];
		own->task = task;
		own->len = 0;
	}
	own->looked = t->looks;
	return own;
}

static void find_answer(struct task_watch *t)
{
	struct task_watcher *w = t->w;
	struct task_chain chain = {0};
	int r = task_reader_chain(w->reader, t->interp, t->missing_first, t->missing, &w->log,
				  &chain);

	note_recent(t, t->missing);
	if (r == 0)
		r = task_answers_put(w->answers, t->missing, &chain, &w->log);
	else if (r == -ENOTSUP)
		task_answers_put(w->answers, t->missing, &chain, NULL);
}

/* ---- with a gather ---- */

static void add_beside(struct task_watch *t, uint64_t addr, void *buf, size_t len)
{
	t->beside[t->n_beside++] =
		(struct memory_range){.addr = addr, .len = (uint32_t)len, .buf = buf};
}

static size_t dict_length(const struct layout *l)
{
	int32_t end = l->dict.ma_used;

	if (l->dict.ma_keys > end)
		end = l->dict.ma_keys;
	if (l->dict.ma_values > end)
		end = l->dict.ma_values;
	return (size_t)end + 8;
}

static uint64_t dict_word(const struct task_watch *t, int32_t offset)
{
	uint64_t word;

	memcpy(&word, t->dict + offset, sizeof(word));
	return word;
}

/* Where the words of a task that ran lately stand, and go: its answer; NULL they are not read. */
static const struct task_answer *plan_own(struct task_watch *t, struct recent *own,
					  struct memory_range *ret)
{
	/* Which is read of each task. */
	const uint64_t at = own->task + (uint64_t)t->w->layout->object.ob_type;
	const struct task_answer *a = NULL;
	const struct memo_range *r = NULL;
	uint32_t skipped;

	if (own->task && t->looks - own->looked <= RECENT_LOOKS && t->strangers <= STRANGERS)
		a = task_answers_get(t->w->answers, own->task);
	if (a)
		r = memo_range_at(&a->memo, at);
	if (!r)
		return NULL;
	skipped = (uint32_t)(at - r->addr);
	*ret = (struct memory_range){.addr = at, .len = r->len - skipped, .buf = own->bytes};
	if (ret->len > sizeof(own->bytes))
		ret->len = sizeof(own->bytes);
	own->at = r->at + skipped;
	own->bytes[0] = (uint8_t)~a->memo.expected[own->at];
	return a;
}

/* At the instant itself, *n up to INSTANT of them: those whose answers are doubted, or the others.
 */
static void add_recent(struct task_watch *t, bool doubted, size_t *n)
{
	struct memory_range range;

	for (size_t i = 0; i < RECENT && *n < INSTANT; i++) {
		const struct task_answer *a = plan_own(t, &t->recent[i], &range);

		if (!a || (a->doubt != 0) != doubted)
			continue;
		t->recent[i].len = range.len;
		t->beside[t->n_beside++] = range;
		(*n)++;
	}
}

/* The tables that the dict had lately, and what lies between. What cannot be read is none. */
static void add_keys(struct task_watch *t)
{
	struct keys_span *s = NULL;
	uint32_t used = 0;

	t->n_spans = 0;
	for (size_t i = 0; i < t->n_keys; i++) {
		const struct keys_table *k = &t->keys[i];
		uint64_t end = s ? s->addr + s->len : 0, more = k->len;

		if (t->dict_looks - k->looked > KEYS_LOOKS)
			continue;
		if (s && k->addr <= end + KEYS_NEAR)
			more = k->addr + k->len > end ? k->addr + k->len - end : 0;
		else
			s = NULL;
		if (used + more > KEYS_BYTES || (!s && t->n_spans == KEYS_SPANS))
			break;
		if (!s) {
			s = &t->spans[t->n_spans++];
			*s = (struct keys_span){.addr = k->addr, .at = used};
		}
		s->len += (uint32_t)more;
		used += (uint32_t)more;
	}
	if (used)
		memset(t->keys_bytes, 0xff, used);
	for (size_t i = 0; i < t->n_spans; i++)
		add_beside(t, t->spans[i].addr, t->keys_bytes + t->spans[i].at, t->spans[i].len);
}

size_t task_watch_beside(struct task_watch *t, const struct memory_range **ret)
{
	const struct layout *l = t->w->layout;

	t->n_beside = t->n_spans = 0;
	t->word = t->green = t->eager = UNREAD;
	memset(t->dict, 0xff, sizeof(t->dict));
	if (t->place.word)
		add_beside(t, t->place.word, &t->word, sizeof(t->word));
	if (t->place.green)
		add_beside(t, t->place.green, &t->green, sizeof(t->green));
	if (t->place.dict && dict_length(l) <= sizeof(t->dict)) {
		add_beside(t, t->place.dict, t->dict, dict_length(l));
		add_keys(t);
	}
	if (t->place.eager && t->hidden && t->dict_looks - t->hidden <= KEYS_LOOKS)
		add_beside(t, t->place.eager, &t->eager, sizeof(t->eager));
	t->looks++;
	for (size_t i = 0; i < RECENT && t->recent; i++)
		t->recent[i].len = 0;
	if (t->recent) {
		size_t n = 0;

		add_recent(t, true, &n);
		add_recent(t, false, &n);
	}
	*ret = t->beside;
	return t->n_beside;
}

/* The ranges of a memo. What cannot be read differs: each range begins with a piece. */
static void put_ranges(const struct memo *m, uint8_t *bytes, struct memory_range *out)
{
	for (size_t i = 0; i < m->n_ranges; i++) {
		const struct memo_range *r = &m->ranges[i];

		out[i] =
			(struct memory_range){.addr = r->addr, .len = r->len, .buf = bytes + r->at};
		bytes[r->at] = (uint8_t)~m->expected[r->at];
	}
}

size_t task_watch_before(struct task_watch *t, struct memory_range *out)
{
	size_t n = 0;

	for (size_t i = 0; i < RECENT && t->recent; i++) {
		struct recent *own = &t->recent[i];

		if (!own->len && plan_own(t, own, &out[n]))
			own->len = out[n++].len;
	}
	t->switches[0] = 0;
	if (t->place.switches)
		out[n++] = (struct memory_range){
			.addr = t->place.switches, .len = 8, .buf = &t->switches[0]};
	return n;
}

/* While the same task runs all the time what it depends on is read with the rest. */
static size_t expect(struct task_watch *t, struct memory_range *out, size_t room)
{
	const struct task_answer *a =
		t->same >= SAME ? task_answers_get(t->w->answers, t->last) : NULL;

	t->expected = 0;
	if (!a || a->beyond || a->memo.n_ranges > room ||
	    !reserve(&t->bytes_expected, &t->room_expected, a->memo.used))
		return 0;
	t->expected = t->last;
	put_ranges(&a->memo, t->bytes_expected, out);
	return a->memo.n_ranges;
}

size_t task_watch_behind(struct task_watch *t, struct memory_range *out)
{
	size_t n = t->memo.n_ranges;

	t->seen = SEEN_NOTHING;
	put_ranges(&t->memo, t->behind, out);
	n += expect(t, out + n, MEMO_RANGES - n);
	t->switches[1] = 1;
	if (t->place.switches)
		out[n++] = (struct memory_range){
			.addr = t->place.switches, .len = 8, .buf = &t->switches[1]};
	return n;
}

/* Between two readings that say that the same greenlet runs others may have run. */
static bool has_switched(const struct task_watch *t)
{
	return t->place.switches && t->switches[0] != t->switches[1];
}

/* The task in the dict of current ones, by the table that it has. False: that is not known, or was
 * not read. */
static bool running_by_dict(struct task_watch *t)
{
	const struct layout *l = t->w->layout;
	uint64_t used = dict_word(t, l->dict.ma_used), addr = dict_word(t, l->dict.ma_keys);
	int r;

	if (used == 0)
		return true;
	t->dict_looks++;
	if (used == UNREAD || addr == UNREAD || dict_word(t, l->dict.ma_values))
		return false;
	for (size_t i = 0; i < t->n_spans; i++) {
		const struct keys_span *s = &t->spans[i];
		struct keys_table *k = keys_at(t, addr);
		uint64_t from = addr - s->addr;

		if (addr < s->addr || from >= s->len)
			continue;
		if (k < &t->keys[t->n_keys] && k->addr == addr)
			k->looked = t->dict_looks;
		else
			t->missing_keys = addr;
		r = object_keys_find(l, t->keys_bytes + s->at + from, s->len - from, t->place.loop,
				     &t->task);
		return r == 0 || r == -ENOENT;
	}
	t->missing_keys = addr;
	t->hidden = t->dict_looks;
	return false;
}

/* Which task runs, by the words as they were read. */
static bool running(struct task_watch *t)
{
	t->task = t->first = 0;
	if (t->place.green) {
		if (t->green == UNREAD || !t->green || t->green % 8)
			return false;
		t->first = t->green == t->place.first ? 0 : t->place.first;
		t->task = t->first ? t->green : 0;
	}
	if (t->task || !t->place.loop)
		return true;
	if (t->place.word) {
		if (t->word == UNREAD)
			return false;
		t->task = t->word;
	}
	return t->task || !t->place.dict || running_by_dict(t);
}

/* The task that runs by now, of one that was missing when it ran: which of them is to be found, and
 * which for the next time. */
static void look_now(struct task_watch *t)
{
	struct memory_range ranges[TASK_WATCH_BESIDE];
	const struct memory_range *beside;
	uint64_t missing = t->missing, first = t->missing_first;
	size_t n = task_watch_beside(t, &beside);

	memcpy(ranges, beside, n * sizeof(*ranges));
	if (memory_gather(t->w->memory, ranges, n) < 0 || !running(t) || t->task == missing)
		return;
	t->later = missing;
	t->later_first = first;
	t->missing = task_answers_get(t->w->answers, t->task) ? 0 : t->task;
	t->missing_first = t->first;
}

/* Where there is no asyncio yet the place depends on nothing, and is found anew. */
static void find_lost_place(struct task_watch *t)
{
	if (!t->current || !t->memo.n_ranges || t->walks != t->w->walks)
		find_place(t);
	if (t->missing_keys)
		find_keys(t);
	t->missing_keys = 0;
}

void task_watch_find(struct task_watch *t)
{
	find_lost_place(t);
	if (t->missing)
		look_now(t);
	if (t->missing)
		find_answer(t);
	t->missing = 0;
}

void task_watch_begin(struct task_watch *t)
{
	find_lost_place(t);
	if (!t->missing && t->later) {
		t->missing = t->later;
		t->missing_first = t->later_first;
	}
	if (t->missing)
		find_answer(t);
	t->missing = t->later = 0;
}

/* Whether a task's words were what they are before the gather too, as far as that is known. */
static bool held_before(struct task_watch *t, const struct task_answer *a)
{
	const struct recent *own = note_recent(t, a->task);

	if (!own)
		return false;
	return own->len ? memo_holds_at(&a->memo, own->at, own->bytes, own->len) : !a->doubt;
}

/* Whether what an answer depends on is what it was, by now. */
static bool holds(struct task_watch *t, const struct task_answer *a)
{
	struct task_watcher *w = t->w;

	if (t->expected == a->task)
		return memo_holds(&a->memo, t->bytes_expected);
	put_ranges(&a->memo, w->bytes, w->ranges);
	return memory_gather(w->memory, w->ranges, a->memo.n_ranges) == 0 &&
	       memo_holds(&a->memo, w->bytes);
}

/* Whether we were kept from confirming an answer for so long that more than once may have changed
 * what it depends on. */
static bool is_late(const struct task_answer *a, uint64_t gathered_ns)
{
	return clock_now_ns() > gathered_ns + LATE_NS + a->memo.n_ranges * LATE_RANGE_NS;
}

/* Whether what is known of the task that runs still holds. */
static enum seen confirm(struct task_watch *t, uint64_t gathered_ns, bool still)
{
	bool before;
	struct task_watcher *w = t->w;
	struct task_answer *a = task_answers_get(w->answers, t->task);

	t->same = t->task == t->last ? t->same + 1 : 0;
	t->last = t->task;
	t->missing = t->task;
	t->missing_first = t->first;
	if (!a || a->chain.greenlet != (t->first != 0))
		return SEEN_NEW;
	if (a->beyond) {
		if (a->wait == 0)
			return SEEN_NEW;
		a->wait--;
		t->missing = 0;
		return SEEN_BEYOND;
	}
	if (!holds(t, a))
		return SEEN_NEW;
	t->missing = 0;
	before = held_before(t, a);
	if (!still && (!before || is_late(a, gathered_ns)))
		return SEEN_NEW;
	if (a->doubt)
		a->doubt--;
	t->chain = a->chain;
	return t->chain.task ? SEEN_TASK : SEEN_NONE;
}

void task_watch_confirm(struct task_watch *t, uint64_t gathered_ns, bool still)
{
	t->seen = SEEN_NOTHING;
	t->task = 0;
	if (!t->known)
		return;
	if (!t->current || !memo_holds(&t->memo, t->behind) || has_switched(t)) {
		t->current = false;
		return;
	}
	t->missing_keys = 0;
	if (running(t))
		t->seen = t->task ? confirm(t, gathered_ns, still) : SEEN_NONE;
	else if (t->missing_keys)
		t->seen = SEEN_HIDDEN;
}

/* A dict whose tables never stand where one stood lately, as without a GIL, hides most of what runs
 * from a gather. A second look would rather find the tasks that last; but the coroutine of the one
 * that ran is on the stack, and none other's inside of it while no task begins at once. */
static void reveal(struct task_watch *t, const struct walker *walker, struct walk_context *c,
		   bool prefix)
{
	const struct task_answer *a = NULL;
	uint64_t frame = 0;

	if (t->seen != SEEN_HIDDEN || t->eager != 0)
		return;
	while (!a && (frame = walker_generator(walker, prefix, frame)) != 0)
		a = task_answers_of_frame(t->w->answers, frame);
	if (!a || walker_nests(walker, c, prefix, frame))
		return;
	t->task = a->task;
	t->first = 0;
	t->seen = confirm(t, c->gathered_ns, false);
	if (t->seen == SEEN_TASK)
		t->missing_keys = 0;
}

static bool is_unknown(enum seen seen)
{
	return seen == SEEN_NOTHING || seen == SEEN_NEW || seen == SEEN_HIDDEN;
}

bool task_watch_lacks(const struct task_watch *t)
{
	return !t->beyond && is_unknown(t->seen);
}

void task_watch_drop(struct task_watch *t)
{
	t->seen = SEEN_NOTHING;
	t->task = 0;
}

enum walk_result task_watch_judge(struct task_watch *t, const struct walker *walker,
				  struct walk_context *c, bool still, uint32_t *ret_task,
				  uint32_t *ret_below)
{
	const struct task_chain *chain = &t->chain;

	*ret_task = SAMPLE_TASK_UNKNOWN;
	*ret_below = 0;
	if (t->current && t->beyond)
		return WALK_OK;
	reveal(t, walker, c, false);
	if (is_unknown(t->seen))
		return WALK_MISS;
	if (t->seen == SEEN_BEYOND || (t->seen == SEEN_TASK && !chain->greenlet && !chain->frame))
		return WALK_OK;
	if (t->seen == SEEN_TASK &&
	    (chain->greenlet || walker_has(walker, c, chain->frame, ret_below))) {
		*ret_task = chain->stack + SAMPLE_TASK_STACK;
		return WALK_OK;
	}
	/* Between two tasks; but one that ran just then would have a coroutine on the stack. */
	if (t->place.loop && !still && walker_has_coroutine(walker, c))
		return WALK_TORN;
	if (!t->place.unsure)
		*ret_task = SAMPLE_TASK_NONE;
	return WALK_OK;
}

void task_watch_judge_moving(struct task_watch *t, const struct walker *walker,
			     struct walk_context *c, uint32_t *ret_task, uint32_t *ret_below)
{
	const struct task_chain *chain = &t->chain;
	bool coroutine = walker_prefix_has_coroutine(walker, c);

	*ret_task = SAMPLE_TASK_UNKNOWN;
	*ret_below = 0;
	reveal(t, walker, c, true);
	if (t->seen == SEEN_NONE && t->place.loop && !coroutine && !t->place.unsure)
		*ret_task = SAMPLE_TASK_NONE;
	if (t->seen != SEEN_TASK)
		return;
	/* Without one it stands, if it stands anywhere, above what is proven. */
	if (chain->greenlet ||
	    (chain->frame && (!coroutine || walker_prefix_has(walker, c, chain->frame, ret_below))))
		*ret_task = chain->stack + SAMPLE_TASK_STACK;
	if (*ret_task && !chain->greenlet && !coroutine)
		*ret_below = walker_prefix_callers(walker);
}
