/* JSON lines as CPython's sampling profiler writes them: meta, string_table, frame_table, agg, end,
 * in records of at most 256 entries. */
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "formats/call-stats.h"
#include "formats/format.h"
#include "formats/sink.h"

#define CHUNK 256 /* entries of a record */

/* What makes a frame of its own in this format. */
struct line_frame {
	uint32_t file, name; /* strings of the model; file 0: none */
	int32_t line, end_line, column, end_column;
};

struct jsonl {
	const struct model *m;
	struct sink *out;
	struct table frames; /* of struct line_frame; the format's ids are one less */
	struct call_stat *stats;
	uint32_t *by_frame, *string_id; /* string_id: of each string of the model, plus 1 */
	uint32_t *strings;		/* of the model, by id */
	uint32_t string_count;
	uint64_t samples; /* with a frame */
	char run_id[33];
};

/* A random UUID (RFC 9562, version 4) as hexadecimal digits. */
static int make_run_id(char ret[33])
{
	uint8_t bytes[16];

	if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
		return -errno;
	bytes[6] = (bytes[6] & 0x0f) | 0x40;
	bytes[8] = (bytes[8] & 0x3f) | 0x80;
	for (size_t i = 0; i < sizeof(bytes); i++)
		snprintf(ret + 2 * i, 3, "%02x", bytes[i]);
	return 0;
}

static int make_frames(struct jsonl *j)
{
	const struct model *m = j->m;

	for (uint32_t i = 1; i < m->frame_count; i++) {
		const struct model_frame *f = &m->frames[i];
		const struct model_function *function = &m->functions[f->function];
		struct line_frame key = {function->file, function->name, f->line > 0 ? f->line : 0,
					 f->end_line,	 f->column,	 f->end_column};

		if (!function->file)
			key = (struct line_frame){0, function->name, 0, -1, -1, -1};
		j->by_frame[i] = table_intern(&j->frames, &key);
		if (j->by_frame[i] == 0)
			return -ENOMEM;
	}
	return 0;
}

static const struct line_frame *frame_get(const struct jsonl *j, uint32_t i)
{
	return (const struct line_frame *)(const void *)j->frames.items + i;
}

static void number_string(struct jsonl *j, uint32_t string)
{
	if (j->string_id[string])
		return;
	j->strings[j->string_count] = string;
	j->string_id[string] = ++j->string_count;
}

/* Frames that no sample of the profile is on are left out. */
static void number_strings(struct jsonl *j)
{
	for (uint32_t i = 1; i < j->frames.count; i++) {
		if (j->stats[i].cumulative == 0)
			continue;
		number_string(j, frame_get(j, i)->name);
		number_string(j, frame_get(j, i)->file);
	}
}

static void begin(struct jsonl *j, const char *type)
{
	sink_text(j->out, "{\"type\":\"");
	sink_text(j->out, type);
	sink_text(j->out, "\",\"v\":0,\"run_id\":\"");
	sink_text(j->out, j->run_id);
	sink_byte(j->out, '"');
}

static void put_member(struct jsonl *j, const char *name, uint64_t value)
{
	sink_text(j->out, name);
	sink_unsigned(j->out, value);
}

static void put_meta(struct jsonl *j)
{
	uint64_t ns = j->m->process_count ? model_interval(&j->m->processes[0].header) : 0;

	begin(j, "meta");
	put_member(j, ",\"sample_interval_usec\":", (ns + 500) / 1000);
	if (j->m->mode < MODE_COUNT && mode_names[j->m->mode]) {
		sink_text(j->out, ",\"mode\":");
		sink_json(j->out, mode_names[j->m->mode], strlen(mode_names[j->m->mode]));
	}
	sink_text(j->out, "}\n");
}

/* Between the entries of records: ends one that is full, begins the next. */
static void next_entry(struct jsonl *j, uint32_t n, void (*begin_record)(struct jsonl *))
{
	if (n && n % CHUNK == 0)
		sink_text(j->out, "]}\n");
	if (n % CHUNK == 0)
		begin_record(j);
	else
		sink_byte(j->out, ',');
}

static void begin_strings(struct jsonl *j)
{
	begin(j, "string_table");
	sink_text(j->out, ",\"strings\":[");
}

static void put_strings(struct jsonl *j)
{
	for (uint32_t i = 0; i < j->string_count; i++) {
		const struct model_string *s = &j->m->strings[j->strings[i]];

		next_entry(j, i, begin_strings);
		put_member(j, "{\"str_id\":", i);
		sink_text(j->out, ",\"value\":");
		/* What the original calls something without a file. */
		if (j->strings[i] == 0)
			sink_text(j->out, "\"~\"");
		else
			sink_json(j->out, s->bytes, s->len);
		sink_byte(j->out, '}');
	}
	if (j->string_count)
		sink_text(j->out, "]}\n");
}

static void begin_frames(struct jsonl *j)
{
	begin(j, "frame_table");
	sink_text(j->out, ",\"frames\":[");
}

static void put_frame(struct jsonl *j, const struct line_frame *f, uint32_t id)
{
	put_member(j, "{\"frame_id\":", id);
	put_member(j, ",\"path_str_id\":", j->string_id[f->file] - 1);
	put_member(j, ",\"func_str_id\":", j->string_id[f->name] - 1);
	put_member(j, ",\"line\":", (uint64_t)f->line);
	if (f->end_line > 0)
		put_member(j, ",\"end_line\":", (uint64_t)f->end_line);
	if (f->column >= 0)
		put_member(j, ",\"col\":", (uint64_t)f->column);
	if (f->end_column >= 0)
		put_member(j, ",\"end_col\":", (uint64_t)f->end_column);
	sink_byte(j->out, '}');
}

static void begin_aggregate(struct jsonl *j)
{
	begin(j, "agg");
	sink_text(j->out, ",\"kind\":\"frame\",\"scope\":\"final\"");
	put_member(j, ",\"samples_total\":", j->samples);
	sink_text(j->out, ",\"entries\":[");
}

static void put_frames(struct jsonl *j, bool counts)
{
	uint32_t n = 0;

	for (uint32_t i = 1; i < j->frames.count; i++) {
		if (j->stats[i].cumulative == 0)
			continue;
		next_entry(j, n, counts ? begin_aggregate : begin_frames);
		if (counts) {
			put_member(j, "{\"frame_id\":", n);
			put_member(j, ",\"self\":", j->stats[i].direct);
			put_member(j, ",\"cumulative\":", j->stats[i].cumulative);
			sink_byte(j->out, '}');
		} else {
			put_frame(j, frame_get(j, i), n);
		}
		n++;
	}
	if (n)
		sink_text(j->out, "]}\n");
}

static void put_all(struct jsonl *j)
{
	put_meta(j);
	put_strings(j);
	put_frames(j, false);
	put_frames(j, true);
	begin(j, "end");
	put_member(j, ",\"samples_total\":", j->samples);
	sink_text(j->out, "}\n");
}

static int jsonl_write(const struct model *m, const struct format_options *options, FILE *out)
{
	struct jsonl j = {.m = m};
	int r = table_init(&j.frames, sizeof(struct line_frame), sizeof(struct line_frame));

	if (r < 0)
		return r;
	j.by_frame = calloc(m->frame_count, sizeof(*j.by_frame));
	j.string_id = calloc(m->string_count, sizeof(*j.string_id));
	j.strings = calloc(m->string_count, sizeof(*j.strings));
	r = j.by_frame && j.string_id && j.strings ? make_frames(&j) : -ENOMEM;
	if (r == 0) {
		j.stats = calloc(j.frames.count, sizeof(*j.stats));
		r = j.stats ? call_stats(m, j.by_frame, j.frames.count, j.stats, NULL) : -ENOMEM;
	}
	for (uint32_t i = 0; r == 0 && i < m->count_count; i++)
		if (m->counts[i].node)
			j.samples += m->counts[i].count;
	if (r == 0)
		r = j.samples ? make_run_id(j.run_id) : -ENODATA;
	if (r == 0) {
		number_strings(&j);
		j.out = sink_new(out);
		if (j.out)
			put_all(&j);
		r = sink_finish(j.out, 0);
	}
	free(j.by_frame);
	free(j.string_id);
	free(j.strings);
	free(j.stats);
	table_done(&j.frames);
	return r;
}

const struct format format_jsonl = {
	.name = "jsonl",
	.extension = "jsonl",
	.extensions = "jsonl",
	.write = jsonl_write,
};
