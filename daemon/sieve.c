#include "daemon/sieve.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/stream-select.h"
#include "remote/tasks-sample.h"

enum { UNASKED, TAKEN, LEFT };

/* What is remembered of a thread. */
struct sieve_thread {
	uint8_t answer; /* to the selection's thread */
	bool held;	/* before is a sample that was not written */
	struct sample before;
};

struct sieve {
	enum mode mode;
	struct selection selected;
	char thread[PROTOCOL_PATTERN_SIZE], function[PROTOCOL_PATTERN_SIZE],
		source[PROTOCOL_PATTERN_SIZE];
	struct sieve_thread *threads;
	uint32_t thread_cap;
	uint8_t *stacks; /* answers to the selection's function and module */
	uint32_t stack_cap;
	struct sample before;
};

int sieve_new(struct sieve **ret, const struct protocol_request *q)
{
	struct sieve *v;

	*ret = NULL;
	if (q->mode <= MODE_WALL && !q->thread[0] && !q->function[0] && !q->source[0])
		return 0;
	v = calloc(1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	v->mode = (enum mode)q->mode;
	snprintf(v->thread, sizeof(v->thread), "%s", q->thread);
	snprintf(v->function, sizeof(v->function), "%s", q->function);
	snprintf(v->source, sizeof(v->source), "%s", q->source);
	v->selected = (struct selection){v->thread, v->function, v->source};
	*ret = v;
	return 0;
}

void sieve_forget(struct sieve *v)
{
	if (!v)
		return;
	if (v->threads)
		memset(v->threads, 0, v->thread_cap * sizeof(*v->threads));
	if (v->stacks)
		memset(v->stacks, 0, v->stack_cap);
}

void sieve_free(struct sieve *v)
{
	if (!v)
		return;
	free(v->threads);
	free(v->stacks);
	free(v);
}

/* Room for entry i, zeroed. */
static bool reserve(void **array, uint32_t *cap, uint32_t i, size_t size)
{
	uint32_t more = *cap ? *cap : 256;
	char *p;

	if (i < *cap)
		return true;
	while (more <= i)
		more *= 2;
	p = reallocarray(*array, more, size);
	if (!p)
		return false;
	memset(p + *cap * size, 0, (more - *cap) * size);
	*array = p;
	*cap = more;
	return true;
}

/* Strings of a target are not terminated, and may be long: the end does not matter then. */
static void copy(char *to, size_t size, const struct tables *t, uint32_t id)
{
	const struct table_string *s = tables_get_string(t, id);

	snprintf(to, size, "%.*s", s ? (int)s->len : 0, s ? s->bytes : "");
}

static bool takes_thread(struct sieve *v, const struct tables *t, uint32_t id)
{
	struct sieve_thread *th = &v->threads[id];
	const struct table_thread *thread = tables_get_thread(t, id);
	char name[1024];

	if (th->answer == UNASKED) {
		copy(name, sizeof(name), t, thread ? thread->name : 0);
		th->answer = !thread || selection_takes_thread(&v->selected, name, thread->tid,
							       thread->ident)
				     ? TAKEN
				     : LEFT;
	}
	return th->answer == TAKEN;
}

static bool takes_frame(const struct sieve *v, const struct tables *t, uint32_t frame)
{
	const struct table_frame *f = tables_get_frame(t, frame);
	const struct table_function *fn = f ? tables_get_function(t, f->function) : NULL;
	char name[4096], file[4096];

	if (!fn)
		return false;
	copy(name, sizeof(name), t, fn->name);
	copy(file, sizeof(file), t, fn->file);
	return selection_takes_function(&v->selected, name, file);
}

/* From the leaf up to where the answer is known, and back down. */
static bool takes_stack(struct sieve *v, const struct tables *t, uint32_t id)
{
	uint32_t path[2 * SAMPLER_MAX_DEPTH];
	uint8_t answer = LEFT;
	size_t n = 0;

	if (!v->function[0] && !v->source[0])
		return true;
	while (id && n < sizeof(path) / sizeof(path[0])) {
		const struct table_stack *s = tables_get_stack(t, id);

		if (!s || !reserve((void **)&v->stacks, &v->stack_cap, id, 1))
			return true;
		if (v->stacks[id] != UNASKED) {
			answer = v->stacks[id];
			break;
		}
		path[n++] = id;
		id = s->parent;
	}
	while (n > 0) {
		id = path[--n];
		if (answer != TAKEN && takes_frame(v, t, tables_get_stack(t, id)->frame))
			answer = TAKEN;
		v->stacks[id] = answer;
	}
	return answer == TAKEN;
}

/* By who awaits the task; who reads the recording looks closer. */
static bool takes_task(struct sieve *v, const struct tables *t, uint32_t task)
{
	return task > SAMPLE_TASK_STACK && takes_stack(v, t, task - SAMPLE_TASK_STACK);
}

bool sieve_takes_wait(struct sieve *v, const struct tables *t, const struct sample *s)
{
	return v->mode <= MODE_WALL &&
	       (!reserve((void **)&v->threads, &v->thread_cap, s->thread, sizeof(*v->threads)) ||
		takes_thread(v, t, s->thread)) &&
	       takes_stack(v, t, s->stack);
}

bool sieve_takes(struct sieve *v, const struct tables *t, const struct sample *s,
		 const struct sample **ret_before)
{
	struct sieve_thread *th;

	*ret_before = NULL;
	if (!reserve((void **)&v->threads, &v->thread_cap, s->thread, sizeof(*v->threads)))
		return true;
	th = &v->threads[s->thread];
	/* Of a thread that is not asked for nothing is needed. What does not tell its mode is kept:
	 * who reads it says so. */
	if (!takes_thread(v, t, s->thread))
		return false;
	if (mode_takes(v->mode, s->state, s->cpu_ns) == 0 ||
	    !(takes_stack(v, t, s->stack) || takes_task(v, t, s->task))) {
		th->held = true;
		th->before = *s;
		return false;
	}
	if (th->held) {
		v->before = th->before;
		*ret_before = &v->before;
		th->held = false;
	}
	return true;
}
