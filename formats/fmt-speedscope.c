/* speedscope's own format (https://www.speedscope.app/file-format-schema.json): one "sampled"
 * profile a thread, in nanoseconds, where equal stacks are one. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "formats/bytes.h"
#include "formats/format.h"
#include "formats/locations.h"
#include "formats/places.h"
#include "formats/sink.h"

struct speedscope {
	const struct model *m;
	struct sink *out;
	struct locations locations;
	struct places places;
	struct table counts; /* of struct place_count, by thread */
	uint32_t *path;	     /* the places of one stack */
	uint32_t *number;    /* of each location, plus 1; 0: not used */
	struct bytes name;
};

static void put_string(struct speedscope *s, uint32_t string)
{
	sink_json(s->out, s->m->strings[string].bytes, s->m->strings[string].len);
}

static void put_frames(struct speedscope *s)
{
	uint32_t n = 0;

	sink_text(s->out, "\"shared\":{\"frames\":[");
	for (uint32_t i = 1; i < s->locations.table.count; i++) {
		const struct location *l = locations_get(&s->locations, i);

		if (!s->number[i])
			continue;
		s->number[i] = ++n;
		sink_text(s->out, n > 1 ? ",\n{\"name\":" : "\n{\"name\":");
		put_string(s, l->name);
		if (l->file) {
			sink_text(s->out, ",\"file\":");
			put_string(s, l->file);
		}
		if (l->line > 0) {
			sink_text(s->out, ",\"line\":");
			sink_signed(s->out, l->line);
		}
		sink_byte(s->out, '}');
	}
	sink_text(s->out, "]}");
}

/* "NAME (pid 12, tid 34), equal stacks together" */
static void put_profile_name(struct speedscope *s, uint32_t thread)
{
	const struct model_thread *t = &s->m->threads[thread];
	const struct model_string *name = &s->m->strings[t->name];
	char ids[96];
	int n = snprintf(ids, sizeof(ids), " (pid %d, tid %" PRIu64 "), equal stacks together",
			 (int)s->m->processes[t->process].header.pid, t->tid);

	s->name.len = 0;
	if (name->len)
		bytes_put(&s->name, name->bytes, name->len);
	else
		bytes_put(&s->name, t->main ? "MainThread" : "thread", t->main ? 10 : 6);
	bytes_put(&s->name, ids, (size_t)n);
	if (s->name.failed)
		s->out->error = -ENOMEM;
	else
		sink_json(s->out, (const char *)s->name.data, s->name.len);
}

static void put_stack(struct speedscope *s, uint32_t place)
{
	uint32_t n = 0;

	for (uint32_t at = place; at; at = places_get(&s->places, at)->parent)
		s->path[n++] = places_get(&s->places, at)->group;
	sink_byte(s->out, '[');
	while (n > 0) {
		sink_unsigned(s->out, s->number[s->path[--n]] - 1);
		if (n)
			sink_byte(s->out, ',');
	}
	sink_byte(s->out, ']');
}

static void put_profile(struct speedscope *s, const struct place_count *from,
			const struct place_count *end)
{
	uint64_t sum = 0;

	sink_text(s->out, "{\"type\":\"sampled\",\"name\":");
	put_profile_name(s, from->thread);
	sink_text(s->out, ",\"unit\":\"nanoseconds\",\"samples\":[");
	for (const struct place_count *c = from; c < end; c++) {
		if (c > from)
			sink_text(s->out, ",\n");
		put_stack(s, c->place);
		sum += c->ns;
	}
	sink_text(s->out, "],\"weights\":[");
	for (const struct place_count *c = from; c < end; c++) {
		if (c > from)
			sink_byte(s->out, ',');
		sink_unsigned(s->out, c->ns);
	}
	sink_text(s->out, "],\"startValue\":0,\"endValue\":");
	sink_unsigned(s->out, sum);
	sink_byte(s->out, '}');
}

static void put_profiles(struct speedscope *s)
{
	const struct place_count *c = (const struct place_count *)(const void *)s->counts.items + 1;
	const struct place_count *end = c + s->counts.count - 1;

	sink_text(s->out, ",\n\"profiles\":[");
	for (const struct place_count *from = c; from < end; from = c) {
		while (c < end && c->thread == from->thread)
			c++;
		if (from != (const struct place_count *)(const void *)s->counts.items + 1)
			sink_text(s->out, ",\n");
		put_profile(s, from, c);
	}
	sink_byte(s->out, ']');
}

/* Only locations that samples of the profile are on are frames. */
static void find_used(struct speedscope *s)
{
	const struct place_count *c = (const struct place_count *)(const void *)s->counts.items;

	for (uint32_t i = 1; i < s->counts.count; i++)
		for (uint32_t at = c[i].place; at; at = places_get(&s->places, at)->parent)
			s->number[places_get(&s->places, at)->group] = 1;
}

static void put_all(struct speedscope *s)
{
	const struct stream_header *h = &s->m->processes[0].header;

	sink_text(s->out, "{\"$schema\":\"https://www.speedscope.app/file-format-schema.json\",\n");
	put_frames(s);
	put_profiles(s);
	sink_text(s->out, ",\n\"name\":");
	sink_json(s->out, h->command, strlen(h->command));
	sink_text(s->out, ",\"activeProfileIndex\":0,\"exporter\":\"pyprof\"}\n");
}

static int speedscope_write(const struct model *m, const struct format_options *options, FILE *out)
{
	struct speedscope s = {.m = m};
	int r;

	if (m->samples == 0)
		return -ENODATA;
	r = locations_init(&s.locations, m);
	if (r < 0)
		return r;
	r = places_init(&s.places, m, s.locations.by_frame, m->grouped);
	if (r == 0)
		r = places_count(&s.places, m, &s.counts);
	if (r == 0) {
		s.path = calloc(s.places.table.count, sizeof(*s.path));
		s.number = calloc(s.locations.table.count, sizeof(*s.number));
		s.out = s.path && s.number ? sink_new(out) : NULL;
		if (s.out) {
			find_used(&s);
			put_all(&s);
		}
		r = sink_finish(s.out, 0);
	}
	free(s.path);
	free(s.number);
	bytes_done(&s.name);
	table_done(&s.counts);
	places_done(&s.places);
	locations_done(&s.locations);
	return r;
}

const struct format format_speedscope = {
	.name = "speedscope",
	.extension = "json",
	.write = speedscope_write,
};
