/* Markers are intervals: what a thread does for a while, besides its stack. They are found by going
 * through its samples, and written from a file, column by column. */
#include <string.h>

#include "formats/gecko.h"
#include "formats/opcode.h"
#include "formats/waits.h"

/* Where something is not known, neither it nor its contrary is there. */
enum marker {
	MARKER_GIL,
	MARKER_NO_GIL,
	MARKER_GIL_WAIT,
	MARKER_CPU,
	MARKER_NO_CPU,
	MARKER_PYTHON,
	MARKER_NATIVE,
	MARKER_EXCEPTION,
	MARKER_NO_EXCEPTION,
	MARKER_GC,
	MARKER_STOPPED,
	MARKER_TASK, /* these two are of a frame */
	MARKER_OPCODE,
	MARKER_WAIT, /* of a task, whatever its thread does */
	MARKERS
};

/* What a marker is told with, besides its name and its times. */
struct schema {
	const char *tooltip, *table, *chart;
	struct {
		const char *key, *label, *format;
	} fields[6]; /* ended by one without a key */
};

static const struct schema task_schema = {
	.tooltip = "{marker.data.task}",
	.table = "{marker.data.task}",
	.chart = "{marker.data.task}",
	.fields = {{"task", "Task", "string"}},
};
static const struct schema wait_schema = {
	.tooltip = "{marker.data.task} waits in {marker.data.function}",
	.table = "{marker.data.task} waits in {marker.data.function}, line {marker.data.line}",
	.chart = "{marker.data.task}",
	.fields = {{"task", "Task", "string"},
		   {"awaiter", "Awaited by", "string"},
		   {"function", "Waits in", "string"},
		   {"file", "File", "string"},
		   {"line", "Line", "integer"}},
};
static const struct schema opcode_schema = {
	.tooltip = "{marker.data.opname}",
	.table = "{marker.data.opname} ({marker.data.base_opname}), line {marker.data.line}",
	.chart = "{marker.data.opname}",
	.fields = {{"opname", "Instruction", "string"},
		   {"base_opname", "Plain form", "string"},
		   {"line", "Line", "integer"},
		   {"column", "Column", "integer"},
		   {"function", "Function", "string"}},
};

static const struct {
	const char *name, *type;
	enum gecko_category category;
	const struct schema *schema; /* NULL: nothing more */
} markers[MARKERS] = {
	[MARKER_GIL] = {"Has GIL", "HasGIL", CATEGORY_GIL},
	[MARKER_NO_GIL] = {"No GIL", "NoGIL", CATEGORY_GIL},
	[MARKER_GIL_WAIT] = {"Waiting for GIL", "WaitingforGIL", CATEGORY_GIL},
	[MARKER_CPU] = {"On CPU", "OnCPU", CATEGORY_CPU},
	[MARKER_NO_CPU] = {"Off CPU", "OffCPU", CATEGORY_CPU},
	[MARKER_PYTHON] = {"Python Code", "PythonCode", CATEGORY_CODE},
	[MARKER_NATIVE] = {"Native Code", "NativeCode", CATEGORY_CODE},
	[MARKER_EXCEPTION] = {"Has Exception", "HasException", CATEGORY_EXCEPTION},
	[MARKER_NO_EXCEPTION] = {"No Exception", "NoException", CATEGORY_EXCEPTION},
	[MARKER_GC] = {"GC Collecting", "GCCollecting", CATEGORY_GC},
	[MARKER_STOPPED] = {"Process Stopped", "ProcessStopped", CATEGORY_OTHER},
	[MARKER_TASK] = {"Task", "Task", CATEGORY_TASK, &task_schema},
	[MARKER_OPCODE] = {"Opcode", "Opcode", CATEGORY_OPCODES, &opcode_schema},
	[MARKER_WAIT] = {"Task Waiting", "TaskWaiting", CATEGORY_TASK, &wait_schema},
};

struct interval {
	uint64_t begin, end; /* since the base, ns */
	uint32_t frame;	     /* of MARKER_TASK, MARKER_OPCODE; the node of MARKER_WAIT */
	uint32_t marker;
};

/* ---- finding them ---- */

struct finding {
	struct gecko *g;
	uint32_t open; /* markers that are, a bit each */
	uint64_t since[MARKERS];
	uint32_t frame[MARKERS]; /* of those that have one */
	uint64_t until;		 /* what was looked at */
};

int gecko_markers_init(struct gecko *g)
{
	return spool_new(&g->intervals, sizeof(struct interval), 1, g->options->scratch);
}

static uint32_t markers_of(const struct gecko *g, const struct gecko_sample *s)
{
	uint16_t state = s->state;
	bool gil_known = state & STREAM_STATE_GIL_KNOWN, gil = state & STREAM_STATE_GIL;
	bool cpu_known = state & STREAM_STATE_CPU_KNOWN, cpu = state & STREAM_STATE_CPU;
	bool exception = state & (STREAM_STATE_EXCEPTION | STREAM_STATE_HANDLING);
	const struct model_frame *leaf = &g->m->frames[g->m->nodes[s->node].frame];
	bool native = g->m->functions[leaf->function].kind == STREAM_FRAME_NATIVE ||
		      (gil_known && !gil && cpu && !(state & STREAM_STATE_GIL_WAIT));

	return (uint32_t)(gil_known && gil) << MARKER_GIL |
	       (uint32_t)(gil_known && !gil) << MARKER_NO_GIL |
	       (uint32_t)((state & STREAM_STATE_GIL_WAIT) != 0) << MARKER_GIL_WAIT |
	       (uint32_t)(cpu_known && cpu) << MARKER_CPU |
	       (uint32_t)(cpu_known && !cpu) << MARKER_NO_CPU |
	       (uint32_t)(gil_known && gil && !native) << MARKER_PYTHON |
	       (uint32_t)native << MARKER_NATIVE | (uint32_t)exception << MARKER_EXCEPTION |
	       (uint32_t)((state & STREAM_STATE_EXCEPTION_KNOWN) && !exception)
		       << MARKER_NO_EXCEPTION |
	       (uint32_t)((state & STREAM_STATE_GC) != 0) << MARKER_GC |
	       (uint32_t)((state & STREAM_STATE_PROCESS_STOPPED) != 0) << MARKER_STOPPED;
}

/* Ends those that are not in open, or of another frame, and begins those that are. frame: of each
 * that has one. */
static int change_markers(struct finding *f, uint32_t open, const uint32_t frame[MARKERS],
			  uint64_t at)
{
	uint32_t changed = f->open ^ open;

	for (unsigned i = MARKER_TASK; i <= MARKER_OPCODE; i++)
		if (frame[i] != f->frame[i])
			changed |= (f->open | open) & 1u << i;
	for (; changed; changed &= changed - 1) {
		unsigned i = (unsigned)__builtin_ctz(changed);

		if (f->open >> i & 1) {
			struct interval interval = {f->since[i], at, f->frame[i], i};
			int r = spool_add(f->g->intervals, 0, &interval);

			if (r < 0)
				return r;
		}
		f->since[i] = at;
		f->frame[i] = frame[i];
	}
	f->open = open;
	return 0;
}

static const uint32_t no_frames[MARKERS];

static int find_markers(void *arg, const void *records, size_t n)
{
	struct finding *f = arg;
	const struct gecko *g = f->g;
	const struct gecko_sample *s = records;

	for (size_t i = 0; i < n; i++) {
		uint32_t open = markers_of(g, &s[i]), frame[MARKERS] = {0};
		uint64_t begin = s[i].begin;
		int r = 0;

		if (g->task_of)
			frame[MARKER_TASK] = g->m->nodes[g->task_of[s[i].node]].frame;
		if (g->m->opcodes && g->m->frames[g->m->nodes[s[i].node].frame].op)
			frame[MARKER_OPCODE] = g->m->nodes[s[i].node].frame;
		open |= (uint32_t)(frame[MARKER_TASK] != 0) << MARKER_TASK |
			(uint32_t)(frame[MARKER_OPCODE] != 0) << MARKER_OPCODE;
		/* Where nothing was looked at, nothing is known. */
		if (begin > f->until)
			r = change_markers(f, 0, no_frames, f->until);
		else
			begin = f->until;
		if (r == 0)
			r = change_markers(f, open, frame, begin);
		if (r < 0)
			return r;
		f->until = s[i].time;
	}
	return 0;
}

static int add_waits(void *arg, const void *records, size_t n)
{
	struct gecko *g = arg;
	const struct gecko_wait *w = records;
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++) {
		struct interval interval = {w[i].begin, w[i].end, w[i].node, MARKER_WAIT};

		r = spool_add(g->intervals, 0, &interval);
	}
	return r;
}

static int find_intervals(struct gecko *g)
{
	struct finding f = {.g = g};
	int r;

	spool_clear(g->intervals);
	r = spool_each(g->samples, g->thread, find_markers, &f);
	if (r == 0)
		r = change_markers(&f, 0, no_frames, f.until);
	return r == 0 ? spool_each(g->waits, g->thread, add_waits, g) : r;
}

/* ---- writing them ---- */

enum column {
	COLUMN_DATA,
	COLUMN_NAME,
	COLUMN_BEGIN,
	COLUMN_END,
	COLUMN_PHASE,
	COLUMN_CATEGORY,
	COLUMNS
};

struct writing {
	struct gecko *g;
	enum column column;
};

const char *gecko_marker_name(uint32_t marker)
{
	return markers[marker].name;
}

static void put_opcode_data(struct gecko *g, const struct model_frame *f)
{
	const char *name = opcode_name(f->op), *base = opcode_base(f->op);
	char text[80];

	sink_text(g->out, ",\"opname\":");
	gecko_put_text(g, name ? name : opcode_text(f->op, text, sizeof(text)));
	if (base) {
		sink_text(g->out, ",\"base_opname\":");
		gecko_put_text(g, base);
	}
	if (f->line >= 0) {
		sink_text(g->out, ",\"line\":");
		sink_signed(g->out, f->line);
	}
	if (f->column >= 0) {
		sink_text(g->out, ",\"column\":");
		sink_signed(g->out, (int64_t)f->column + 1);
	}
	sink_text(g->out, ",\"function\":");
	gecko_put_string(g, g->m->functions[f->function].name);
}

static void put_name_of(struct gecko *g, const char *key, uint32_t frame)
{
	sink_text(g->out, key);
	gecko_put_string(g, g->m->functions[g->m->frames[frame].function].name);
}

static void put_wait_data(struct gecko *g, uint32_t node)
{
	struct wait_place place = waits_place(g->m, g->task_of, node);

	put_name_of(g, ",\"task\":", place.task);
	if (place.awaiter)
		put_name_of(g, ",\"awaiter\":", place.awaiter);
	if (place.where) {
		const struct model_frame *f = &g->m->frames[place.where];

		put_name_of(g, ",\"function\":", place.where);
		if (g->m->functions[f->function].file) {
			sink_text(g->out, ",\"file\":");
			gecko_put_string(g, g->m->functions[f->function].file);
		}
		if (f->line >= 0) {
			sink_text(g->out, ",\"line\":");
			sink_signed(g->out, f->line);
		}
	}
	sink_text(g->out, ",\"cause\":{\"stack\":");
	gecko_put_known(g, gecko_stack(g, node, false), 0);
	sink_byte(g->out, '}');
}

static void put_data(struct gecko *g, const struct interval *m)
{
	sink_text(g->out, "{\"type\":\"");
	sink_text(g->out, markers[m->marker].type);
	sink_byte(g->out, '"');
	if (m->marker == MARKER_OPCODE)
		put_opcode_data(g, &g->m->frames[m->frame]);
	if (m->marker == MARKER_TASK)
		put_name_of(g, ",\"task\":", m->frame);
	if (m->marker == MARKER_WAIT)
		put_wait_data(g, m->frame);
	sink_byte(g->out, '}');
}

static uint32_t name_of(struct gecko *g, const struct interval *m)
{
	if (m->marker == MARKER_OPCODE)
		return gecko_extra_string(g, EXTRA_OPCODE, g->m->frames[m->frame].op);
	return gecko_extra_string(g, EXTRA_MARKER, m->marker);
}

static void put_cell(struct gecko *g, const struct interval *m, enum column column)
{
	switch (column) {
	case COLUMN_DATA:
		put_data(g, m);
		break;
	case COLUMN_NAME:
		sink_unsigned(g->out, name_of(g, m));
		break;
	case COLUMN_BEGIN:
		gecko_put_milliseconds(g, m->begin);
		break;
	case COLUMN_END:
		gecko_put_milliseconds(g, m->end);
		break;
	case COLUMN_CATEGORY:
		sink_unsigned(g->out, markers[m->marker].category);
		break;
	default: /* an interval */
		sink_byte(g->out, '1');
		break;
	}
}

static int put_column(void *arg, const void *records, size_t n)
{
	struct writing *w = arg;
	const struct interval *m = records;

	for (size_t i = 0; i < n; i++) {
		gecko_separate(w->g);
		put_cell(w->g, &m[i], w->column);
	}
	return w->g->out->error;
}

int gecko_put_markers(struct gecko *g)
{
	static const char *const names[COLUMNS] = {"data",    "name",  "startTime",
						   "endTime", "phase", "category"};
	struct writing w = {.g = g};
	int r = find_intervals(g);

	sink_text(g->out, ",\n\"markers\":{\"length\":");
	sink_unsigned(g->out, spool_count(g->intervals, 0));
	for (; w.column < COLUMNS && r == 0; w.column++) {
		gecko_begin_column(g, names[w.column]);
		r = spool_each(g->intervals, 0, put_column, &w);
		gecko_end_column(g);
	}
	sink_byte(g->out, '}');
	return r;
}

/* ---- their schemas ---- */

static void put_label(struct gecko *g, const char *key, const char *text)
{
	sink_text(g->out, key);
	gecko_put_text(g, text);
}

static void put_fields(struct gecko *g, const struct schema *s)
{
	for (int i = 0; s->fields[i].key; i++) {
		put_label(g, i ? ",{\"key\":" : "{\"key\":", s->fields[i].key);
		put_label(g, ",\"label\":", s->fields[i].label);
		put_label(g, ",\"format\":", s->fields[i].format);
		sink_byte(g->out, '}');
	}
}

static void put_schema(struct gecko *g, enum marker i)
{
	const struct schema *s = markers[i].schema;

	put_label(g, i ? ",\n{\"name\":" : "\n{\"name\":", markers[i].type);
	sink_text(g->out, ",\"display\":[\"marker-chart\",\"marker-table\"");
	if (i == MARKER_GC)
		sink_text(g->out, ",\"timeline-overview\"");
	sink_byte(g->out, ']');
	if (s) {
		put_label(g, ",\"tooltipLabel\":", s->tooltip);
		put_label(g, ",\"tableLabel\":", s->table);
		put_label(g, ",\"chartLabel\":", s->chart);
	}
	sink_text(g->out, ",\"fields\":[");
	if (s)
		put_fields(g, s);
	sink_text(g->out, "]}");
}

void gecko_put_schemas(struct gecko *g)
{
	for (enum marker i = 0; i < MARKERS; i++)
		if ((i != MARKER_OPCODE || g->m->opcodes) && (i != MARKER_WAIT || g->task_of))
			put_schema(g, i);
}
