/* profile.proto of https://github.com/google/pprof, gzipped. Its fields are written as they are
 * made: a message may have them in any order. String numbers are those of the model, and behind
 * them those of the words below. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "formats/escape.h"
#include "formats/format.h"
#include "formats/protobuf.h"
#include "formats/table.h"

enum profile_field {
	PROFILE_SAMPLE_TYPE = 1,
	PROFILE_SAMPLE,
	PROFILE_MAPPING,
	PROFILE_LOCATION,
	PROFILE_FUNCTION,
	PROFILE_STRING,
	PROFILE_TIME = 9,
	PROFILE_DURATION,
	PROFILE_PERIOD_TYPE,
	PROFILE_PERIOD,
	PROFILE_COMMENT,
	PROFILE_DEFAULT_TYPE,
};
enum value_type_field { TYPE_TYPE = 1, TYPE_UNIT };
enum sample_field { SAMPLE_LOCATIONS = 1, SAMPLE_VALUES, SAMPLE_LABEL };
enum label_field { LABEL_KEY = 1, LABEL_STRING, LABEL_NUMBER };
enum mapping_field {
	MAPPING_ID = 1,
	MAPPING_FILE = 5,
	MAPPING_BUILD_ID,
	MAPPING_HAS_FUNCTIONS,
	MAPPING_HAS_FILES,
	MAPPING_HAS_LINES
};
enum location_field { LOCATION_ID = 1, LOCATION_MAPPING, LOCATION_LINE = 4 };
enum line_field { LINE_FUNCTION = 1, LINE_LINE, LINE_COLUMN };
enum function_field { FUNCTION_ID = 1, FUNCTION_NAME, FUNCTION_FILE = 4, FUNCTION_START_LINE };

enum word {
	WORD_SAMPLES,
	WORD_COUNT,
	WORD_WALL,
	WORD_CPU,
	WORD_GIL,
	WORD_NANOSECONDS,
	WORD_THREAD,
	WORD_THREAD_ID,
	WORD_PROCESS,
	WORD_MAIN,
	WORDS
};
static const char *const words[WORDS] = {
	[WORD_SAMPLES] = "samples", [WORD_COUNT] = "count",
	[WORD_WALL] = "wall",	    [WORD_CPU] = "cpu",
	[WORD_GIL] = "gil",	    [WORD_NANOSECONDS] = "nanoseconds",
	[WORD_THREAD] = "thread",   [WORD_THREAD_ID] = "thread_id",
	[WORD_PROCESS] = "process", [WORD_MAIN] = "MainThread",
};

/* What the counts of the model do not tell, from the samples one by one. */
struct extra {
	uint32_t thread, node;
	uint64_t cpu_ns, gil_ns;
};

struct pprof {
	const struct model *m;
	FILE *out;
	z_stream z;
	int error;
	uint8_t zipped[64u << 10];
	struct bytes field, part, whole; /* innermost message, the one around, what is gathered */
	struct bytes text;
	struct table extras; /* of struct extra */
	uint64_t samples, cpu_known, gil_known;
	uint32_t next_string;
	uint32_t mappings; /* distinct ones */
	bool *frame_used, *function_used;
	uint64_t *path;
};

/* ---- gzip ---- */

static void deflate_all(struct pprof *p, int flush)
{
	p->z.next_in = p->whole.data;
	p->z.avail_in = (uInt)p->whole.len;
	do {
		size_t n;

		p->z.next_out = p->zipped;
		p->z.avail_out = sizeof(p->zipped);
		if (deflate(&p->z, flush) == Z_STREAM_ERROR)
			p->error = -EIO;
		n = sizeof(p->zipped) - p->z.avail_out;
		errno = 0;
		if (!p->error && fwrite(p->zipped, 1, n, p->out) != n)
			p->error = errno ? -errno : -EIO;
	} while (p->z.avail_out == 0 && !p->error);
	p->whole.len = 0;
}

static void gather(struct pprof *p)
{
	if (p->whole.failed || p->part.failed || p->field.failed || p->text.failed)
		p->error = -ENOMEM;
	else if (p->whole.len > sizeof(p->zipped))
		deflate_all(p, Z_NO_FLUSH);
}

/* Part, as a field of the profile. */
static void put_part(struct pprof *p, enum profile_field field)
{
	protobuf_bytes(&p->whole, field, p->part.data, p->part.len);
	p->part.len = 0;
	gather(p);
}

/* ---- strings ---- */

static uint64_t word(const struct pprof *p, enum word w)
{
	return (uint64_t)p->m->string_count + w;
}

/* A string of the profile; its number. Those are in the order of the calls. */
static uint64_t put_string(struct pprof *p, const char *text, size_t len)
{
	p->text.len = 0;
	/* Readers print them as they are, on terminals too. */
	if (bytes_reserve(&p->text, 10 * len + 1))
		p->text.len =
			escape_text((char *)p->text.data, p->text.cap, text, len, ESCAPE_TERMINAL);
	protobuf_bytes(&p->whole, PROFILE_STRING, p->text.data, p->text.len);
	gather(p);
	return p->next_string++;
}

static void put_strings(struct pprof *p)
{
	for (uint32_t i = 0; i < p->m->string_count; i++)
		put_string(p, p->m->strings[i].bytes, p->m->strings[i].len);
	for (int i = 0; i < WORDS; i++)
		put_string(p, words[i], strlen(words[i]));
}

/* ---- what was sampled ---- */

static int take_extra(void *arg, const struct model_sample *s)
{
	struct pprof *p = arg;
	struct extra key = {.thread = s->thread, .node = s->node}, *e;
	bool cpu = s->state & STREAM_STATE_CPU_TIME_KNOWN, gil = s->state & STREAM_STATE_GIL_KNOWN;
	uint32_t i;

	p->samples++;
	p->cpu_known += cpu;
	p->gil_known += gil;
	i = table_intern(&p->extras, &key);
	if (i == 0)
		return -ENOMEM;
	e = (struct extra *)(void *)p->extras.items + i;
	if (cpu)
		e->cpu_ns += s->cpu_ns;
	if (s->state & STREAM_STATE_GIL)
		e->gil_ns += s->ns;
	return 0;
}

static int find_used(struct pprof *p)
{
	const struct model *m = p->m;
	bool *used = calloc(m->node_count, sizeof(*used));
	uint32_t deepest = 0;

	p->frame_used = calloc(m->frame_count, sizeof(*p->frame_used));
	p->function_used = calloc(m->function_count, sizeof(*p->function_used));
	if (!used || !p->frame_used || !p->function_used) {
		free(used);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < m->count_count; i++) {
		used[m->counts[i].node] = true;
		if (m->nodes[m->counts[i].node].depth > deepest)
			deepest = m->nodes[m->counts[i].node].depth;
	}
	for (uint32_t i = m->node_count - 1; i > 0; i--) {
		if (!used[i])
			continue;
		used[m->nodes[i].parent] = true;
		p->frame_used[m->nodes[i].frame] = true;
		p->function_used[m->frames[m->nodes[i].frame].function] = true;
	}
	free(used);
	p->path = calloc((size_t)deepest + 1, sizeof(*p->path));
	return p->path ? 0 : -ENOMEM;
}

static void put_type(struct pprof *p, enum profile_field field, enum word type, enum word unit)
{
	protobuf_varint(&p->part, TYPE_TYPE, word(p, type));
	protobuf_varint(&p->part, TYPE_UNIT, word(p, unit));
	put_part(p, field);
}

static enum word time_word(const struct pprof *p)
{
	return p->m->mode == MODE_CPU ? WORD_CPU : WORD_WALL;
}

static bool has_cpu(const struct pprof *p)
{
	return p->m->mode != MODE_CPU && p->cpu_known;
}

static void put_types(struct pprof *p)
{
	put_type(p, PROFILE_SAMPLE_TYPE, WORD_SAMPLES, WORD_COUNT);
	put_type(p, PROFILE_SAMPLE_TYPE, time_word(p), WORD_NANOSECONDS);
	if (has_cpu(p))
		put_type(p, PROFILE_SAMPLE_TYPE, WORD_CPU, WORD_NANOSECONDS);
	if (p->gil_known)
		put_type(p, PROFILE_SAMPLE_TYPE, WORD_GIL, WORD_NANOSECONDS);
	protobuf_varint(&p->whole, PROFILE_DEFAULT_TYPE, word(p, time_word(p)));
}

static bool same_object(const struct stream_header *a, const struct stream_header *b)
{
	return strcmp(a->object, b->object) == 0 && strcmp(a->build_id, b->build_id) == 0;
}

static void put_mapping(struct pprof *p, const struct stream_header *h)
{
	uint64_t file = put_string(p, h->object, strlen(h->object));
	uint64_t build_id = put_string(p, h->build_id, strlen(h->build_id));

	protobuf_varint(&p->part, MAPPING_ID, ++p->mappings);
	protobuf_varint(&p->part, MAPPING_FILE, file);
	protobuf_varint(&p->part, MAPPING_BUILD_ID, build_id);
	/* A reader need not look for them. */
	protobuf_bool(&p->part, MAPPING_HAS_FUNCTIONS, true);
	protobuf_bool(&p->part, MAPPING_HAS_FILES, true);
	protobuf_bool(&p->part, MAPPING_HAS_LINES, true);
	put_part(p, PROFILE_MAPPING);
}

static void put_mappings(struct pprof *p)
{
	const struct model_process *processes = p->m->processes;

	for (uint32_t i = 0; i < p->m->process_count; i++) {
		bool known = !processes[i].header.object[0];

		for (uint32_t k = 0; k < i && !known; k++)
			known = same_object(&processes[i].header, &processes[k].header);
		if (!known)
			put_mapping(p, &processes[i].header);
	}
}

static void put_functions(struct pprof *p)
{
	for (uint32_t i = 1; i < p->m->function_count; i++) {
		const struct model_function *f = &p->m->functions[i];

		if (!p->function_used[i])
			continue;
		protobuf_varint(&p->part, FUNCTION_ID, i);
		protobuf_varint(&p->part, FUNCTION_NAME, f->name);
		/* Without a system name: readers would take it for a mangled one, and "<module>"
		 * for the arguments of a template. */
		protobuf_varint(&p->part, FUNCTION_FILE, f->file);
		if (f->first_line > 0)
			protobuf_varint(&p->part, FUNCTION_START_LINE, (uint64_t)f->first_line);
		put_part(p, PROFILE_FUNCTION);
	}
}

static void put_locations(struct pprof *p)
{
	for (uint32_t i = 1; i < p->m->frame_count; i++) {
		const struct model_frame *f = &p->m->frames[i];

		if (!p->frame_used[i])
			continue;
		p->field.len = 0;
		protobuf_varint(&p->field, LINE_FUNCTION, f->function);
		if (f->line > 0)
			protobuf_varint(&p->field, LINE_LINE, (uint64_t)f->line);
		/* From 1; 0 is unknown. */
		if (f->column >= 0)
			protobuf_varint(&p->field, LINE_COLUMN, (uint64_t)f->column + 1);
		protobuf_varint(&p->part, LOCATION_ID, i);
		/* Of several interpreters the frame does not say which. */
		if (p->mappings == 1 && p->m->functions[f->function].file)
			protobuf_varint(&p->part, LOCATION_MAPPING, 1);
		protobuf_bytes(&p->part, LOCATION_LINE, p->field.data, p->field.len);
		put_part(p, PROFILE_LOCATION);
	}
}

static void put_label(struct pprof *p, enum word key, uint64_t string, uint64_t number)
{
	p->field.len = 0;
	protobuf_varint(&p->field, LABEL_KEY, word(p, key));
	protobuf_varint(&p->field, LABEL_STRING, string);
	protobuf_varint(&p->field, LABEL_NUMBER, number);
	protobuf_bytes(&p->part, SAMPLE_LABEL, p->field.data, p->field.len);
}

static void put_labels(struct pprof *p, const struct model_thread *t)
{
	if (t->name || t->main)
		put_label(p, WORD_THREAD, t->name ? t->name : word(p, WORD_MAIN), 0);
	if (t->tid)
		put_label(p, WORD_THREAD_ID, 0, t->tid);
	if (p->m->processes[t->process].header.pid > 0)
		put_label(p, WORD_PROCESS, 0, (uint64_t)p->m->processes[t->process].header.pid);
}

static int put_samples(struct pprof *p)
{
	const struct model *m = p->m;

	for (uint32_t i = 0; i < m->count_count && !p->error; i++) {
		const struct model_count *c = &m->counts[i];
		struct extra key = {.thread = c->thread, .node = c->node};
		const struct extra *e;
		uint64_t values[4] = {c->count, c->ns};
		size_t n = 0, n_values = 2;
		uint32_t at = table_intern(&p->extras, &key);

		if (at == 0)
			return -ENOMEM;
		e = (const struct extra *)(const void *)p->extras.items + at;
		if (has_cpu(p))
			values[n_values++] = e->cpu_ns;
		if (p->gil_known)
			values[n_values++] = e->gil_ns;
		if (c->count == 0 && c->ns == 0)
			continue;
		for (uint32_t node = c->node; node; node = m->nodes[node].parent)
			p->path[n++] = m->nodes[node].frame;
		protobuf_packed(&p->part, SAMPLE_LOCATIONS, p->path, n);
		protobuf_packed(&p->part, SAMPLE_VALUES, values, n_values);
		put_labels(p, &m->threads[c->thread]);
		put_part(p, PROFILE_SAMPLE);
	}
	return p->error;
}

/* ---- about it ---- */

static void put_comment(struct pprof *p, const char *text)
{
	protobuf_varint(&p->whole, PROFILE_COMMENT, put_string(p, text, strlen(text)));
}

static void put_about(struct pprof *p)
{
	const struct model *m = p->m;
	const struct stream_header *h = &m->processes[0].header;
	uint64_t from = UINT64_MAX, to = 0;
	char text[128];

	for (uint32_t i = 0; i < m->process_count; i++) {
		if (!m->processes[i].samples)
			continue;
		if (m->processes[i].first_ns < from)
			from = m->processes[i].first_ns;
		if (m->processes[i].last_ns > to)
			to = m->processes[i].last_ns;
	}
	if (from <= to) {
		if (h->start_real_ns)
			protobuf_varint(&p->whole, PROFILE_TIME,
					h->start_real_ns + (from - h->start_monotonic_ns));
		protobuf_varint(&p->whole, PROFILE_DURATION, to - from);
	}
	put_type(p, PROFILE_PERIOD_TYPE, time_word(p), WORD_NANOSECONDS);
	if (model_interval(h))
		protobuf_varint(&p->whole, PROFILE_PERIOD, model_interval(h));
	for (uint32_t i = 0; i < m->process_count; i++)
		if (m->processes[i].header.command[0])
			put_comment(p, m->processes[i].header.command);
	snprintf(text, sizeof(text), "mode %s, Python %s", mode_names[m->mode], h->python);
	put_comment(p, text);
	if (has_cpu(p) && p->cpu_known < p->samples) {
		snprintf(text, sizeof(text), "CPU time is known of %llu of %llu samples",
			 (unsigned long long)p->cpu_known, (unsigned long long)p->samples);
		put_comment(p, text);
	}
}

static int put_all(struct pprof *p)
{
	int r;

	put_types(p);
	put_strings(p);
	put_mappings(p);
	put_functions(p);
	put_locations(p);
	r = put_samples(p);
	if (r < 0)
		return r;
	put_about(p);
	gather(p);
	if (!p->error)
		deflate_all(p, Z_FINISH);
	return p->error;
}

static int write_profile(struct pprof *p)
{
	int r = table_init(&p->extras, sizeof(struct extra), offsetof(struct extra, cpu_ns));

	if (r == 0)
		r = model_samples(p->m, take_extra, p);
	if (r == 0)
		r = find_used(p);
	if (r < 0)
		return r;
	/* 15 bits of window, and 16 for the header and the checksum of gzip. */
	if (deflateInit2(&p->z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8,
			 Z_DEFAULT_STRATEGY) != Z_OK)
		return -ENOMEM;
	r = put_all(p);
	deflateEnd(&p->z);
	return r;
}

static int pprof_write(const struct model *m, const struct format_options *options, FILE *out)
{
	struct pprof *p;
	int r;

	if (m->samples == 0)
		return -ENODATA;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->m = m;
	p->out = out;
	r = write_profile(p);
	bytes_done(&p->field);
	bytes_done(&p->part);
	bytes_done(&p->whole);
	bytes_done(&p->text);
	table_done(&p->extras);
	free(p->frame_used);
	free(p->function_used);
	free(p->path);
	free(p);
	return r;
}

const struct format format_pprof = {
	.name = "pprof",
	.extension = "pb.gz",
	.extensions = "gz pprof",
	.binary = true,
	.timeline = true,
	.write = pprof_write,
};
