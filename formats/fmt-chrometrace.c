/* The Trace Event Format (JSON object form), as Perfetto and chrome://tracing read it: each
 * function of a stack is a slice of its thread's track, from the first sample that it is on to the
 * last, for as long as its callers stay too. A sample stands for the time since the thread's sample
 * before, as in the model; where nothing was looked at, nothing is shown. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "formats/bytes.h"
#include "formats/format.h"
#include "formats/moments.h"
#include "formats/places.h"
#include "formats/sink.h"
#include "formats/tracks.h"

#define TID_STEP (1u << 22) /* above any tid (Linux: PID_MAX_LIMIT) */

/* Shown as asynchronous slices beside the stacks. */
static const struct {
	const char *name;
	uint16_t any; /* bits of enum stream_state */
} states[] = {
	{"garbage collection", STREAM_STATE_GC},
	{"exception", STREAM_STATE_EXCEPTION | STREAM_STATE_HANDLING},
	{"waiting for the GIL", STREAM_STATE_GIL_WAIT},
};
#define STATES (sizeof(states) / sizeof(states[0]))

struct track {
	uint32_t place;	  /* whose slices are open */
	uint32_t open;	  /* states that are, a bit each */
	uint64_t end;	  /* of what was seen last, ns since the base */
	uint64_t changed; /* when slices ended or began last */
	uint64_t tid;	  /* what tells the tracks of a process apart */
};

struct identity {
	uint64_t pid, tid;
	uint64_t threads; /* that have both */
};

struct chrometrace {
	const struct model *m;
	struct sink *out;
	struct places places; /* by function */
	struct moments moments;
	struct track *tracks; /* by thread */
	uint32_t *track_of;   /* of each thread: another's, when it is the same */
	struct bytes text;    /* what events say of each function */
	size_t *text_at;      /* by function; one more */
	uint32_t *path;
	bool any; /* an event was written */
};

static int64_t pid_of(const struct chrometrace *c, uint32_t thread)
{
	return c->m->processes[c->m->threads[thread].process].header.pid;
}

/* {"ph":"B","pid":1,"tid":2 */
static void begin_event(struct chrometrace *c, const char *phase, uint32_t thread)
{
	sink_text(c->out, c->any ? ",\n{\"ph\":\"" : "\n{\"ph\":\"");
	c->any = true;
	sink_text(c->out, phase);
	sink_text(c->out, "\",\"pid\":");
	sink_signed(c->out, pid_of(c, thread));
	sink_text(c->out, ",\"tid\":");
	sink_unsigned(c->out, c->tracks[thread].tid);
}

/* In microseconds. */
static void put_time(struct chrometrace *c, uint64_t ns)
{
	sink_text(c->out, ",\"ts\":");
	sink_decimal(c->out, ns, 3);
}

/* ---- names ---- */

static void put_metadata(struct chrometrace *c, uint32_t thread, const char *what, const char *text,
			 size_t len)
{
	begin_event(c, "M", thread);
	sink_text(c->out, ",\"name\":\"");
	sink_text(c->out, what);
	sink_text(c->out, "\",\"args\":{\"name\":");
	sink_json(c->out, text, len);
	sink_text(c->out, "}}");
}

static int name_tracks(struct chrometrace *c)
{
	const struct model *m = c->m;
	struct table seen;
	int r = table_init(&seen, sizeof(struct identity), offsetof(struct identity, threads));

	for (uint32_t i = 1; i < m->thread_count && r == 0; i++) {
		const struct model_thread *t = &m->threads[i];
		struct identity key = {(uint64_t)pid_of(c, i), t->tid, 0}, *who;
		const struct model_string *name = &m->strings[t->name];
		const char *command = m->processes[t->process].header.command;
		uint32_t at;

		if (!t->seen || c->track_of[i] != i)
			continue;
		at = table_intern(&seen, &key);
		if (at == 0) {
			r = -ENOMEM;
			break;
		}
		who = (struct identity *)(void *)seen.items + at;
		c->tracks[i].tid = t->tid + TID_STEP * who->threads++;
		if (t->main && who->threads == 1)
			put_metadata(c, i, "process_name", command, strlen(command));
		if (name->len)
			put_metadata(c, i, "thread_name", name->bytes, name->len);
		else if (t->main)
			put_metadata(c, i, "thread_name", "MainThread", 10);
		begin_event(c, "M", i);
		sink_text(c->out, ",\"name\":\"thread_sort_index\",\"args\":{\"sort_index\":");
		sink_unsigned(c->out, t->main ? 0 : i);
		sink_text(c->out, "}}");
	}
	table_done(&seen);
	return r;
}

static const char *category(uint32_t kind)
{
	switch (kind) {
	case STREAM_FRAME_PYTHON:
		return "python";
	case STREAM_FRAME_NATIVE:
		return "native";
	case STREAM_FRAME_GC:
		return "gc";
	case STREAM_FRAME_TASK:
		return "task";
	default:
		return "other";
	}
}

/* "name (file:line)" and the rest of an event: once for each function. Whoever reads an end has
 * to find its beginning by this alone, so arguments have no place beside it. */
static int make_text(struct chrometrace *c)
{
	const struct model *m = c->m;
	struct bytes name = {0};
	char *text = NULL, line[24];
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	struct sink *s = f ? sink_new(f) : NULL;
	int r;

	c->text_at = calloc((size_t)m->function_count + 1, sizeof(*c->text_at));
	for (uint32_t i = 1; s && c->text_at && i < m->function_count; i++) {
		const struct model_function *function = &m->functions[i];
		const struct model_string *file = &m->strings[function->file];

		name.len = 0;
		bytes_put(&name, m->strings[function->name].bytes, m->strings[function->name].len);
		if (function->file) {
			bytes_put(&name, " (", 2);
			bytes_put(&name, file->bytes, file->len);
			if (function->first_line > 0)
				bytes_put(&name, line,
					  (size_t)snprintf(line, sizeof(line), ":%" PRId32,
							   function->first_line));
			bytes_byte(&name, ')');
		}
		sink_text(s, ",\"cat\":\"");
		sink_text(s, category(function->kind));
		sink_text(s, "\",\"name\":");
		sink_json(s, (const char *)name.data, name.len);
		sink_byte(s, '}');
		sink_drain(s);
		if (fflush(f) != 0 || name.failed)
			s->error = -ENOMEM;
		c->text_at[i + 1] = len;
	}
	r = sink_finish(s, c->text_at ? 0 : -ENOMEM);
	if (f && fclose(f) != 0)
		r = -ENOMEM;
	bytes_done(&name);
	c->text = (struct bytes){.data = (uint8_t *)text, .len = len};
	return r;
}

/* ---- slices ---- */

static void put_slice(struct chrometrace *c, const char *phase, uint32_t thread, uint32_t place,
		      uint64_t at)
{
	uint32_t function = places_get(&c->places, place)->group;

	begin_event(c, phase, thread);
	put_time(c, at);
	sink_put(c->out, c->text.data + c->text_at[function],
		 c->text_at[function + 1] - c->text_at[function]);
}

/* From the slices that are open to those of place, at one moment. What ends does so a nanosecond
 * before others begin: readers that have a queue of each, and a function in both at one time, take
 * it for a call without a duration. */
static void change_place(struct chrometrace *c, uint32_t thread, uint32_t place, uint64_t at)
{
	struct track *track = &c->tracks[thread];
	uint32_t from = track->place, to = place, n = 0;
	uint64_t end = place && at > track->changed ? at - 1 : at;

	if (from == to)
		return;
	while (from != to) {
		const struct place *a = places_get(&c->places, from);
		const struct place *b = places_get(&c->places, to);

		if (a->depth >= b->depth) {
			put_slice(c, "E", thread, from, end);
			from = a->parent;
		}
		if (b->depth >= a->depth) {
			c->path[n++] = to;
			to = b->parent;
		}
	}
	while (n > 0)
		put_slice(c, "B", thread, c->path[--n], at);
	track->place = place;
	track->changed = at;
}

static void put_state(struct chrometrace *c, uint32_t thread, unsigned i, const char *phase,
		      uint64_t at)
{
	begin_event(c, phase, thread);
	put_time(c, at);
	sink_text(c->out, ",\"cat\":\"state\",\"id\":");
	sink_unsigned(c->out, (uint64_t)thread * STATES + i);
	sink_text(c->out, ",\"name\":\"");
	sink_text(c->out, states[i].name);
	sink_text(c->out, "\"}");
}

static void change_state(struct chrometrace *c, uint32_t thread, uint32_t open, uint64_t at)
{
	uint32_t changed = open ^ c->tracks[thread].open;

	for (unsigned i = 0; changed && i < STATES; i++)
		if (changed >> i & 1)
			put_state(c, thread, i, open >> i & 1 ? "b" : "e", at);
	c->tracks[thread].open = open;
}

static int take_sample(void *arg, const struct model_sample *s)
{
	struct chrometrace *c = arg;
	uint32_t thread = c->track_of[s->thread], process = c->m->threads[thread].process, open = 0;
	struct track *track = &c->tracks[thread];
	uint64_t begin = moments_begin(&c->moments, process, s);

	for (unsigned i = 0; i < STATES; i++)
		open |= (uint32_t)((s->state & states[i].any) != 0) << i;
	if (begin > track->end) {
		change_place(c, thread, 0, track->end);
		change_state(c, thread, 0, track->end);
	} else {
		begin = track->end;
	}
	change_place(c, thread, c->places.by_node[s->node], begin);
	change_state(c, thread, open, begin);
	track->end = moments_at(&c->moments, process, s->time_ns);
	return c->out->error;
}

static int put_all(struct chrometrace *c)
{
	const struct stream_header *h = &c->m->processes[0].header;
	int r;

	sink_text(c->out, "{\"displayTimeUnit\":\"ns\",\"otherData\":{\"recorder\":\"pyprof\","
			  "\"command\":");
	sink_json(c->out, h->command, strlen(h->command));
	sink_text(c->out, ",\"python\":");
	sink_json(c->out, h->python, strlen(h->python));
	sink_text(c->out, "},\"traceEvents\":[");
	r = name_tracks(c);
	if (r == 0)
		r = model_samples(c->m, take_sample, c);
	for (uint32_t i = 1; i < c->m->thread_count && r == 0; i++) {
		change_place(c, i, 0, c->tracks[i].end);
		change_state(c, i, 0, c->tracks[i].end);
	}
	sink_text(c->out, "\n]}\n");
	return r;
}

static int stop_at_first(void *arg, const struct model_sample *s)
{
	return 1;
}

/* Tasks that wait are counted, but are not where a thread was at a time. */
static int check_samples(const struct model *m)
{
	int r = model_samples(m, stop_at_first, NULL);

	return r == 1 ? 0 : r < 0 ? r : -ENODATA;
}

static int prepare(struct chrometrace *c)
{
	const struct model *m = c->m;
	uint32_t *groups = calloc(m->frame_count, sizeof(*groups));
	uint32_t deepest = 0;
	int r = groups ? 0 : -ENOMEM;

	for (uint32_t i = 1; r == 0 && i < m->frame_count; i++)
		groups[i] = m->frames[i].function;
	if (r == 0)
		r = places_init(&c->places, m, groups, m->grouped);
	free(groups);
	if (r == 0)
		r = moments_init(&c->moments, m);
	if (r == 0)
		r = tracks_find(&c->track_of, m);
	if (r == 0)
		r = make_text(c);
	if (r < 0)
		return r;
	for (uint32_t i = 1; i < c->places.table.count; i++)
		if (places_get(&c->places, i)->depth > deepest)
			deepest = places_get(&c->places, i)->depth;
	c->path = calloc((size_t)deepest + 1, sizeof(*c->path));
	c->tracks = calloc(m->thread_count, sizeof(*c->tracks));
	return c->path && c->tracks ? 0 : -ENOMEM;
}

static int chrometrace_write(const struct model *m, const struct format_options *options, FILE *out)
{
	struct chrometrace c = {.m = m};
	int r;

	if (m->samples == 0)
		return -ENODATA;
	r = check_samples(m);
	if (r == 0)
		r = prepare(&c);
	if (r == 0) {
		c.out = sink_new(out);
		r = sink_finish(c.out, c.out ? put_all(&c) : 0);
	}
	free(c.path);
	free(c.tracks);
	free(c.track_of);
	free(c.text_at);
	free(c.text.data);
	moments_done(&c.moments);
	places_done(&c.places);
	return r;
}

const struct format format_chrometrace = {
	.name = "chrometrace",
	.extension = "json",
	.timeline = true,
	.tracks = true,
	.write = chrometrace_write,
};
