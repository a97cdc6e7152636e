/* The Firefox Profiler's processed profile format, version 57 (docs-developer/CHANGELOG-formats.md
 * of https://github.com/firefox-devtools/profiler). Tables are columns, and each thread has its
 * own: samples are first sorted by thread into a file, and each column is one pass over them. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "formats/format.h"
#include "formats/moments.h"
#include "formats/opcode.h"
#include "formats/sink.h"
#include "formats/spool.h"
#include "formats/table.h"
#include "formats/tracks.h"

#define PROCESSED_VERSION 57
#define GECKO_VERSION	  31
#define RESOURCE_LIBRARY  1

enum category {
	CATEGORY_OTHER,
	CATEGORY_PYTHON,
	CATEGORY_NATIVE,
	CATEGORY_GC,
	CATEGORY_GIL,
	CATEGORY_CPU,
	CATEGORY_CODE,
	CATEGORY_OPCODES,
	CATEGORY_EXCEPTION,
	CATEGORY_IDLE,
	CATEGORY_TASK,
	CATEGORIES
};
static const struct {
	const char *name, *color;
} categories[CATEGORIES] = {
	[CATEGORY_OTHER] = {"Other", "grey"},
	[CATEGORY_PYTHON] = {"Python", "yellow"},
	[CATEGORY_NATIVE] = {"Native", "blue"},
	[CATEGORY_GC] = {"GC", "orange"},
	[CATEGORY_GIL] = {"GIL", "green"},
	[CATEGORY_CPU] = {"CPU", "purple"},
	[CATEGORY_CODE] = {"Code Type", "red"},
	[CATEGORY_OPCODES] = {"Opcodes", "magenta"},
	[CATEGORY_EXCEPTION] = {"Exception", "lightblue"},
	[CATEGORY_IDLE] = {"Idle", "transparent"},
	[CATEGORY_TASK] = {"Task", "brown"},
};

/* What a thread does for a while. Where it is not known, neither a thing nor its contrary is there.
 */
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
	MARKERS
};
static const struct {
	const char *name, *type;
	enum category category;
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
	[MARKER_TASK] = {"Task", "Task", CATEGORY_TASK},
	[MARKER_OPCODE] = {"Opcode", "Opcode", CATEGORY_OPCODES},
};

/* A sample of one thread; times since the base. */
struct thread_sample {
	uint64_t begin, time, cpu_ns;
	uint32_t node;
	uint16_t state, pad;
};

struct interval {
	uint64_t begin, end;
	uint32_t frame; /* of MARKER_TASK, MARKER_OPCODE */
	uint32_t marker;
};

/* Strings behind those of the model. */
enum extra_kind { EXTRA_MARKER, EXTRA_BASENAME, EXTRA_OPCODE };
struct extra {
	uint32_t kind, a, b; /* marker; string; opcode_number() */
};

/* Numbers in one thread's tables of what it uses of the model's, and these in their order. */
struct numbering {
	uint32_t *number; /* plus 1; 0: not used */
	uint32_t *used;
	uint32_t count;
};

struct gecko {
	const struct model *m;
	const struct format_options *options;
	struct sink *out;
	struct moments moments;
	struct spool *samples, *intervals;
	uint32_t *tracks; /* of each thread */
	struct table extras;
	/* An idle leaf is a stack of its own, and a frame, for its category. */
	struct numbering stacks, idle_stacks, frames, idle_frames, functions, files;
	bool cpu_time; /* some of it is known */
	/* of the thread at work */
	uint32_t thread;
	uint64_t last; /* a delta's other side */
	bool first;
	enum column {
		COLUMN_STACK,
		COLUMN_TIME,
		COLUMN_CPU,
		COLUMN_DATA,
		COLUMN_NAME,
		COLUMN_BEGIN,
		COLUMN_END,
		COLUMN_PHASE,
		COLUMN_CATEGORY
	} column;
	uint32_t open; /* markers that are, a bit each */
	uint64_t since[MARKERS], until;
	uint32_t frame[MARKERS]; /* of those that have one */
	uint32_t *task_of;	 /* the frame of the task that runs in each node; NULL: none */
	uint64_t sorted;	 /* samples */
};

/* ---- numbers ---- */

static int numbering_init(struct numbering *n, uint32_t count)
{
	n->number = calloc(count, sizeof(*n->number));
	n->used = calloc(count, sizeof(*n->used));
	return n->number && n->used ? 0 : -ENOMEM;
}

static void numbering_done(struct numbering *n)
{
	free(n->number);
	free(n->used);
}

static void numbering_clear(struct numbering *n)
{
	for (uint32_t i = 0; i < n->count; i++)
		n->number[n->used[i]] = 0;
	n->count = 0;
}

static bool numbering_add(struct numbering *n, uint32_t i)
{
	if (n->number[i])
		return false;
	n->used[n->count++] = i;
	n->number[i] = n->count;
	return true;
}

static int ascending(const void *a, const void *b)
{
	uint32_t i = *(const uint32_t *)a, k = *(const uint32_t *)b;

	return (i > k) - (i < k);
}

/* Numbers that ascend with what they stand for. */
static void numbering_sort(struct numbering *n)
{
	qsort(n->used, n->count, sizeof(*n->used), ascending);
	for (uint32_t i = 0; i < n->count; i++)
		n->number[n->used[i]] = i + 1;
}

/* ---- strings ---- */

/* 0 when memory is short; told by the sink. */
static uint32_t extra_string(struct gecko *g, enum extra_kind kind, uint32_t a, uint32_t b)
{
	struct extra key = {kind, a, b};
	uint32_t i = table_intern(&g->extras, &key);

	if (i == 0 && !g->out->error)
		g->out->error = -ENOMEM;
	return g->m->string_count + i - 1;
}

static void put_text(struct gecko *g, const char *text)
{
	sink_json(g->out, text, strlen(text));
}

static void put_string(struct gecko *g, uint32_t string)
{
	sink_json(g->out, g->m->strings[string].bytes, g->m->strings[string].len);
}

static void put_extra(struct gecko *g, const struct extra *e)
{
	const struct model_string *s = &g->m->strings[e->a];
	const char *slash;
	char text[80];

	switch ((enum extra_kind)e->kind) {
	case EXTRA_MARKER:
		put_text(g, markers[e->a].name);
		break;
	case EXTRA_BASENAME:
		slash = s->len ? memrchr(s->bytes, '/', s->len) : NULL;
		if (slash)
			sink_json(g->out, slash + 1, (size_t)(s->bytes + s->len - slash - 1));
		else
			sink_json(g->out, s->bytes, s->len);
		break;
	case EXTRA_OPCODE:
		put_text(g, opcode_text(e->a, text, sizeof(text)));
		break;
	}
}

static void put_strings(struct gecko *g)
{
	for (uint32_t i = 0; i < g->m->string_count; i++) {
		if (i)
			sink_byte(g->out, ',');
		put_string(g, i);
	}
	for (uint32_t i = 1; i < g->extras.count; i++) {
		sink_text(g->out, ",\n");
		put_extra(g, (const struct extra *)(const void *)g->extras.items + i);
	}
}

/* ---- columns ---- */

static void put_milliseconds(struct gecko *g, uint64_t ns)
{
	sink_decimal(g->out, ns, 6);
}

/* "name":[ before the first of a column, a comma before the others. */
static void begin_column(struct gecko *g, const char *name)
{
	sink_text(g->out, ",\n\"");
	sink_text(g->out, name);
	sink_text(g->out, "\":[");
	g->first = true;
}

static void separate(struct gecko *g)
{
	if (!g->first)
		sink_byte(g->out, ',');
	g->first = false;
}

static void end_column(struct gecko *g)
{
	sink_byte(g->out, ']');
}

/* A column that is the same in every row. */
static void put_constant(struct gecko *g, const char *name, const char *value, uint64_t n)
{
	begin_column(g, name);
	for (uint64_t i = 0; i < n; i++) {
		separate(g);
		sink_text(g->out, value);
	}
	end_column(g);
}

static void put_length(struct gecko *g, uint64_t n)
{
	sink_text(g->out, ",\n\"length\":");
	sink_unsigned(g->out, n);
	sink_byte(g->out, '}');
}

/* ---- samples ---- */

static int sort_sample(void *arg, const struct model_sample *s)
{
	struct gecko *g = arg;
	uint32_t process = g->m->threads[s->thread].process;
	struct thread_sample t = {
		.begin = moments_begin(&g->moments, process, s),
		.time = moments_at(&g->moments, process, s->time_ns),
		.cpu_ns = s->cpu_ns,
		.node = s->node,
		.state = s->state,
	};

	if (s->state & STREAM_STATE_CPU_TIME_KNOWN)
		g->cpu_time = true;
	g->sorted++;
	return spool_add(g->samples, g->tracks[s->thread], &t);
}

/* It neither runs nor could: it waits for something else than the GIL. */
static bool is_idle(uint16_t state)
{
	return (state & STREAM_STATE_CPU_KNOWN) &&
	       !(state & (STREAM_STATE_CPU | STREAM_STATE_GIL_WAIT)) &&
	       (state & STREAM_STATE_GIL_KNOWN) && !(state & STREAM_STATE_GIL);
}

/* Stacks begin above the frame that stands for a process: processes are the profile's own. */
static bool is_root(const struct gecko *g, uint32_t node)
{
	return node == 0 || (g->m->grouped && g->m->nodes[node].depth == 1);
}

static int find_stacks(void *arg, const void *records, size_t n)
{
	struct gecko *g = arg;
	const struct thread_sample *s = records;

	for (size_t i = 0; i < n; i++) {
		uint32_t node = s[i].node;

		if (is_root(g, node))
			continue;
		if (is_idle(s[i].state)) {
			if (!numbering_add(&g->idle_stacks, node))
				continue;
			node = g->m->nodes[node].parent;
		}
		while (!is_root(g, node) && numbering_add(&g->stacks, node))
			node = g->m->nodes[node].parent;
	}
	return 0;
}

static void put_stack(struct gecko *g, const struct thread_sample *s)
{
	if (is_root(g, s->node))
		sink_put(g->out, "null", 4);
	else if (is_idle(s->state))
		sink_unsigned(g->out, g->stacks.count + g->idle_stacks.number[s->node] - 1);
	else
		sink_unsigned(g->out, g->stacks.number[s->node] - 1);
}

static int put_samples(void *arg, const void *records, size_t n)
{
	struct gecko *g = arg;
	const struct thread_sample *s = records;

	for (size_t i = 0; i < n; i++) {
		separate(g);
		switch (g->column) {
		case COLUMN_STACK:
			put_stack(g, &s[i]);
			break;
		case COLUMN_TIME:
			put_milliseconds(g, s[i].time - g->last);
			g->last = s[i].time;
			break;
		default:
			if (s[i].state & STREAM_STATE_CPU_TIME_KNOWN)
				sink_unsigned(g->out, s[i].cpu_ns);
			else
				sink_put(g->out, "null", 4);
			break;
		}
	}
	return g->out->error;
}

static int put_sample_column(struct gecko *g, const char *name, enum column column)
{
	int r;

	g->column = column;
	begin_column(g, name);
	r = spool_each(g->samples, g->thread, put_samples, g);
	end_column(g);
	return r;
}

static int put_sample_table(struct gecko *g)
{
	int r;

	sink_text(g->out, ",\n\"samples\":{\"weightType\":\"samples\",\"weight\":null");
	g->last = 0;
	r = put_sample_column(g, "stack", COLUMN_STACK);
	if (r == 0)
		r = put_sample_column(g, "timeDeltas", COLUMN_TIME);
	if (r == 0 && g->cpu_time)
		r = put_sample_column(g, "threadCPUDelta", COLUMN_CPU);
	put_length(g, spool_count(g->samples, g->thread));
	return r;
}

/* ---- stacks, frames, functions ---- */

static void number_frame(struct gecko *g, struct numbering *frames, uint32_t node)
{
	const struct model_frame *frame = &g->m->frames[g->m->nodes[node].frame];

	numbering_add(frames, g->m->nodes[node].frame);
	numbering_add(&g->functions, frame->function);
	if (g->m->functions[frame->function].file)
		numbering_add(&g->files, g->m->functions[frame->function].file);
}

static int number_tables(struct gecko *g)
{
	struct numbering *all[] = {&g->stacks,	    &g->idle_stacks, &g->frames,
				   &g->idle_frames, &g->functions,   &g->files};
	int r;

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		numbering_clear(all[i]);
	r = spool_each(g->samples, g->thread, find_stacks, g);
	/* A stack's prefix comes before it. */
	numbering_sort(&g->stacks);
	for (uint32_t i = 0; i < g->stacks.count; i++)
		number_frame(g, &g->frames, g->stacks.used[i]);
	for (uint32_t i = 0; i < g->idle_stacks.count; i++)
		number_frame(g, &g->idle_frames, g->idle_stacks.used[i]);
	return r;
}

static void put_stack_rows(struct gecko *g, const struct numbering *stacks,
			   const struct numbering *frames, uint32_t frame_base, bool prefix)
{
	for (uint32_t i = 0; i < stacks->count; i++) {
		const struct model_node *node = &g->m->nodes[stacks->used[i]];

		separate(g);
		if (!prefix)
			sink_unsigned(g->out, frame_base + frames->number[node->frame] - 1);
		else if (is_root(g, node->parent))
			sink_text(g->out, "null");
		else
			sink_unsigned(g->out, g->stacks.number[node->parent] - 1);
	}
}

static void put_stack_table(struct gecko *g)
{
	sink_text(g->out, ",\n\"stackTable\":{\"frame\":[");
	g->first = true;
	put_stack_rows(g, &g->stacks, &g->frames, 0, false);
	put_stack_rows(g, &g->idle_stacks, &g->idle_frames, g->frames.count, false);
	end_column(g);
	begin_column(g, "prefix");
	put_stack_rows(g, &g->stacks, &g->frames, 0, true);
	put_stack_rows(g, &g->idle_stacks, &g->idle_frames, 0, true);
	end_column(g);
	put_length(g, (uint64_t)g->stacks.count + g->idle_stacks.count);
}

static enum category category_of(uint32_t kind)
{
	switch (kind) {
	case STREAM_FRAME_PYTHON:
		return CATEGORY_PYTHON;
	case STREAM_FRAME_NATIVE:
		return CATEGORY_NATIVE;
	case STREAM_FRAME_GC:
		return CATEGORY_GC;
	case STREAM_FRAME_TASK:
		return CATEGORY_TASK;
	default:
		return CATEGORY_OTHER;
	}
}

enum frame_column { FRAME_FUNCTION, FRAME_CATEGORY, FRAME_LINE, FRAME_COLUMN };

static void put_known(struct gecko *g, int32_t number, int32_t add)
{
	if (number >= 0)
		sink_signed(g->out, (int64_t)number + add);
	else
		sink_text(g->out, "null");
}

static void put_frame_rows(struct gecko *g, const struct numbering *frames,
			   enum frame_column column)
{
	for (uint32_t i = 0; i < frames->count; i++) {
		const struct model_frame *frame = &g->m->frames[frames->used[i]];

		separate(g);
		switch (column) {
		case FRAME_FUNCTION:
			sink_unsigned(g->out, g->functions.number[frame->function] - 1);
			break;
		case FRAME_CATEGORY:
			sink_unsigned(g->out,
				      frames == &g->idle_frames
					      ? CATEGORY_IDLE
					      : category_of(g->m->functions[frame->function].kind));
			break;
		case FRAME_LINE:
			put_known(g, frame->line, 0);
			break;
		case FRAME_COLUMN:
			put_known(g, frame->column, 1);
			break;
		}
	}
}

static void put_frame_column(struct gecko *g, const char *name, enum frame_column column)
{
	begin_column(g, name);
	put_frame_rows(g, &g->frames, column);
	put_frame_rows(g, &g->idle_frames, column);
	end_column(g);
}

static void put_frame_table(struct gecko *g)
{
	uint64_t n = (uint64_t)g->frames.count + g->idle_frames.count;

	sink_text(g->out, ",\n\"frameTable\":{\"length\":");
	sink_unsigned(g->out, n);
	put_frame_column(g, "func", FRAME_FUNCTION);
	put_frame_column(g, "category", FRAME_CATEGORY);
	put_frame_column(g, "line", FRAME_LINE);
	put_frame_column(g, "column", FRAME_COLUMN);
	put_constant(g, "address", "-1", n);
	put_constant(g, "inlineDepth", "0", n);
	put_constant(g, "subcategory", "0", n);
	put_constant(g, "nativeSymbol", "null", n);
	put_constant(g, "innerWindowID", "null", n);
	sink_byte(g->out, '}');
}

enum function_column {
	FUNCTION_NAME,
	FUNCTION_IS_JS,
	FUNCTION_RELEVANT,
	FUNCTION_RESOURCE,
	FUNCTION_FILE,
	FUNCTION_LINE
};

static void put_function(struct gecko *g, const struct model_function *f,
			 enum function_column column)
{
	bool python = f->kind == STREAM_FRAME_PYTHON;

	switch (column) {
	case FUNCTION_NAME:
		sink_unsigned(g->out, f->name);
		break;
	case FUNCTION_IS_JS: /* code of the language that the profile is about */
		sink_text(g->out, python ? "true" : "false");
		break;
	case FUNCTION_RELEVANT:
		sink_text(g->out, python || f->kind == STREAM_FRAME_NATIVE ? "false" : "true");
		break;
	case FUNCTION_RESOURCE:
		sink_signed(g->out, f->file ? (int64_t)g->files.number[f->file] - 1 : -1);
		break;
	case FUNCTION_FILE:
		put_known(g, f->file ? (int32_t)f->file : -1, 0);
		break;
	case FUNCTION_LINE:
		put_known(g, f->file && f->first_line > 0 ? f->first_line : -1, 0);
		break;
	}
}

static void put_function_table(struct gecko *g)
{
	static const char *const names[] = {"name",	"isJS",	    "relevantForJS",
					    "resource", "fileName", "lineNumber"};

	sink_text(g->out, ",\n\"funcTable\":{\"length\":");
	sink_unsigned(g->out, g->functions.count);
	for (enum function_column c = FUNCTION_NAME; c <= FUNCTION_LINE; c++) {
		begin_column(g, names[c]);
		for (uint32_t i = 0; i < g->functions.count; i++) {
			separate(g);
			put_function(g, &g->m->functions[g->functions.used[i]], c);
		}
		end_column(g);
	}
	put_constant(g, "columnNumber", "null", g->functions.count);
	sink_byte(g->out, '}');
}

static void put_resource_table(struct gecko *g)
{
	char type[8];

	snprintf(type, sizeof(type), "%d", RESOURCE_LIBRARY);
	sink_text(g->out, ",\n\"resourceTable\":{\"length\":");
	sink_unsigned(g->out, g->files.count);
	begin_column(g, "name");
	for (uint32_t i = 0; i < g->files.count; i++) {
		separate(g);
		sink_unsigned(g->out, extra_string(g, EXTRA_BASENAME, g->files.used[i], 0));
	}
	end_column(g);
	put_constant(g, "lib", "null", g->files.count);
	put_constant(g, "host", "null", g->files.count);
	put_constant(g, "type", type, g->files.count);
	sink_byte(g->out, '}');
	sink_text(g->out, ",\n\"nativeSymbols\":{\"libIndex\":[],\"address\":[],\"name\":[],"
			  "\"functionSize\":[],\"length\":0}");
}

/* ---- markers ---- */

static uint32_t markers_of(const struct gecko *g, const struct thread_sample *s)
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
static int change_markers(struct gecko *g, uint32_t open, const uint32_t frame[MARKERS],
			  uint64_t at)
{
	uint32_t changed = g->open ^ open;

	for (unsigned i = MARKER_TASK; i < MARKERS; i++)
		if (frame[i] != g->frame[i])
			changed |= (g->open | open) & 1u << i;
	for (; changed; changed &= changed - 1) {
		unsigned i = (unsigned)__builtin_ctz(changed);

		if (g->open >> i & 1) {
			struct interval interval = {g->since[i], at, g->frame[i], i};
			int r = spool_add(g->intervals, 0, &interval);

			if (r < 0)
				return r;
		}
		g->since[i] = at;
		g->frame[i] = frame[i];
	}
	g->open = open;
	return 0;
}

static const uint32_t no_frames[MARKERS];

static int find_markers(void *arg, const void *records, size_t n)
{
	struct gecko *g = arg;
	const struct thread_sample *s = records;

	for (size_t i = 0; i < n; i++) {
		uint32_t open = markers_of(g, &s[i]), frame[MARKERS] = {0};
		uint64_t begin = s[i].begin;
		int r = 0;

		if (g->task_of)
			frame[MARKER_TASK] = g->task_of[s[i].node];
		if (g->m->opcodes && g->m->frames[g->m->nodes[s[i].node].frame].op)
			frame[MARKER_OPCODE] = g->m->nodes[s[i].node].frame;
		open |= (uint32_t)(frame[MARKER_TASK] != 0) << MARKER_TASK |
			(uint32_t)(frame[MARKER_OPCODE] != 0) << MARKER_OPCODE;
		/* Where nothing was looked at, nothing is known. */
		if (begin > g->until)
			r = change_markers(g, 0, no_frames, g->until);
		else
			begin = g->until;
		if (r == 0)
			r = change_markers(g, open, frame, begin);
		if (r < 0)
			return r;
		g->until = s[i].time;
	}
	return 0;
}

static void put_opcode_data(struct gecko *g, const struct interval *m)
{
	const struct model_frame *f = &g->m->frames[m->frame];
	const char *name = opcode_name(f->op), *base = opcode_base(f->op);
	char text[80];

	sink_text(g->out, ",\"opname\":");
	put_text(g, name ? name : opcode_text(f->op, text, sizeof(text)));
	if (base) {
		sink_text(g->out, ",\"base_opname\":");
		put_text(g, base);
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
	put_string(g, g->m->functions[f->function].name);
}

static void put_marker(struct gecko *g, const struct interval *m)
{
	switch (g->column) {
	case COLUMN_DATA:
		sink_text(g->out, "{\"type\":\"");
		sink_text(g->out, markers[m->marker].type);
		sink_byte(g->out, '"');
		if (m->marker == MARKER_OPCODE)
			put_opcode_data(g, m);
		if (m->marker == MARKER_TASK) {
			sink_text(g->out, ",\"task\":");
			put_string(g, g->m->functions[g->m->frames[m->frame].function].name);
		}
		sink_byte(g->out, '}');
		break;
	case COLUMN_NAME:
		if (m->marker == MARKER_OPCODE)
			sink_unsigned(g->out,
				      extra_string(g, EXTRA_OPCODE, g->m->frames[m->frame].op, 0));
		else
			sink_unsigned(g->out, extra_string(g, EXTRA_MARKER, m->marker, 0));
		break;
	case COLUMN_BEGIN:
		put_milliseconds(g, m->begin);
		break;
	case COLUMN_END:
		put_milliseconds(g, m->end);
		break;
	case COLUMN_CATEGORY:
		sink_unsigned(g->out, markers[m->marker].category);
		break;
	default: /* an interval */
		sink_byte(g->out, '1');
		break;
	}
}

static int put_markers(void *arg, const void *records, size_t n)
{
	struct gecko *g = arg;
	const struct interval *m = records;

	for (size_t i = 0; i < n; i++) {
		separate(g);
		put_marker(g, &m[i]);
	}
	return g->out->error;
}

static int put_marker_table(struct gecko *g)
{
	static const struct {
		enum column column;
		const char *name;
	} columns[] = {{COLUMN_DATA, "data"},	    {COLUMN_NAME, "name"},
		       {COLUMN_BEGIN, "startTime"}, {COLUMN_END, "endTime"},
		       {COLUMN_PHASE, "phase"},	    {COLUMN_CATEGORY, "category"}};
	int r;

	spool_clear(g->intervals);
	g->open = 0;
	memset(g->frame, 0, sizeof(g->frame));
	g->until = 0;
	r = spool_each(g->samples, g->thread, find_markers, g);
	if (r == 0)
		r = change_markers(g, 0, no_frames, g->until);
	sink_text(g->out, ",\n\"markers\":{\"length\":");
	sink_unsigned(g->out, spool_count(g->intervals, 0));
	for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]) && r == 0; i++) {
		g->column = columns[i].column;
		begin_column(g, columns[i].name);
		r = spool_each(g->intervals, 0, put_markers, g);
		end_column(g);
	}
	sink_byte(g->out, '}');
	return r;
}

/* ---- a thread ---- */

static void put_thread_name(struct gecko *g, const struct model_thread *t)
{
	char text[40];

	snprintf(text, sizeof(text), "Thread-%" PRIu64, t->tid);
	if (t->name)
		put_string(g, t->name);
	else
		put_text(g, t->main ? "MainThread" : text);
}

static int put_thread(struct gecko *g)
{
	const struct model_thread *t = &g->m->threads[g->thread];
	const struct stream_header *h = &g->m->processes[t->process].header;
	int r;

	sink_text(g->out, "{\"name\":");
	put_thread_name(g, t);
	sink_text(g->out, t->main ? ",\"isMainThread\":true" : ",\"isMainThread\":false");
	sink_text(g->out, ",\"processType\":\"default\",\"processName\":");
	put_text(g, h->command[0] ? h->command : "Python");
	sink_text(g->out, ",\"pid\":\"");
	sink_signed(g->out, h->pid);
	sink_text(g->out, "\",\"tid\":");
	sink_unsigned(g->out, t->tid);
	sink_text(g->out, ",\"processStartupTime\":0,\"processShutdownTime\":null,"
			  "\"registerTime\":0,\"unregisterTime\":null,\"pausedRanges\":[]");
	r = number_tables(g);
	if (r == 0)
		r = put_sample_table(g);
	if (r < 0)
		return r;
	put_stack_table(g);
	put_frame_table(g);
	put_function_table(g);
	put_resource_table(g);
	r = put_marker_table(g);
	sink_byte(g->out, '}');
	return r;
}

static int by_process(const void *a, const void *b, void *arg)
{
	const struct gecko *g = arg;
	uint32_t i = *(const uint32_t *)a, k = *(const uint32_t *)b;
	const struct model_thread *t = &g->m->threads[i], *u = &g->m->threads[k];

	if (t->process != u->process)
		return t->process < u->process ? -1 : 1;
	if (t->main != u->main)
		return t->main ? -1 : 1;
	return (i > k) - (i < k);
}

/* The main thread of each process first. */
static int put_threads(struct gecko *g)
{
	uint32_t n = g->m->thread_count, *order = calloc(n, sizeof(*order));
	bool any = false;
	int r = order ? 0 : -ENOMEM;

	for (uint32_t i = 0; r == 0 && i < n; i++)
		order[i] = i;
	if (r == 0)
		qsort_r(order + 1, n - 1, sizeof(*order), by_process, g);
	for (uint32_t i = 1; r == 0 && i < n; i++) {
		g->thread = order[i];
		if (spool_count(g->samples, g->thread) == 0)
			continue;
		sink_text(g->out, any ? ",\n" : "\n");
		any = true;
		r = put_thread(g);
	}
	free(order);
	return r;
}

/* ---- about it ---- */

static void put_categories(struct gecko *g)
{
	sink_text(g->out, ",\n\"categories\":[");
	for (int i = 0; i < CATEGORIES; i++) {
		sink_text(g->out, i ? "," : "");
		sink_text(g->out, "{\"name\":");
		put_text(g, categories[i].name);
		sink_text(g->out, ",\"color\":");
		put_text(g, categories[i].color);
		sink_text(g->out, ",\"subcategories\":[\"Other\"]}");
	}
	sink_byte(g->out, ']');
}

static void put_schema(struct gecko *g, enum marker i)
{
	sink_text(g->out, i ? ",\n{\"name\":" : "\n{\"name\":");
	put_text(g, markers[i].type);
	sink_text(g->out, ",\"display\":[\"marker-chart\",\"marker-table\"");
	if (i == MARKER_GC)
		sink_text(g->out, ",\"timeline-overview\"");
	if (i == MARKER_TASK) {
		sink_text(g->out, "],\"tooltipLabel\":\"{marker.data.task}\","
				  "\"tableLabel\":\"{marker.data.task}\","
				  "\"chartLabel\":\"{marker.data.task}\",\"fields\":["
				  "{\"key\":\"task\",\"label\":\"Task\",\"format\":\"string\"}]}");
		return;
	}
	if (i != MARKER_OPCODE) {
		sink_text(g->out, "],\"fields\":[]}");
		return;
	}
	sink_text(g->out,
		  "],\"tooltipLabel\":\"{marker.data.opname}\","
		  "\"tableLabel\":\"{marker.data.opname} ({marker.data.base_opname}), "
		  "line {marker.data.line}\","
		  "\"chartLabel\":\"{marker.data.opname}\",\"fields\":["
		  "{\"key\":\"opname\",\"label\":\"Instruction\",\"format\":\"string\"},"
		  "{\"key\":\"base_opname\",\"label\":\"Plain form\",\"format\":\"string\"},"
		  "{\"key\":\"line\",\"label\":\"Line\",\"format\":\"integer\"},"
		  "{\"key\":\"column\",\"label\":\"Column\",\"format\":\"integer\"},"
		  "{\"key\":\"function\",\"label\":\"Function\",\"format\":\"string\"}]}");
}

static void put_fact(struct gecko *g, const char *label, const char *text)
{
	separate(g);
	sink_text(g->out, "{\"label\":");
	put_text(g, label);
	sink_text(g->out, ",\"format\":\"string\",\"value\":");
	put_text(g, text);
	sink_byte(g->out, '}');
}

/* What the recording says of itself. */
static void put_facts(struct gecko *g)
{
	const struct model_process *p = &g->m->processes[0];
	char text[160];

	sink_text(g->out, ",\n\"extra\":[{\"label\":\"Recording\",\"entries\":[");
	g->first = true;
	put_fact(g, "Command", p->header.command);
	put_fact(g, "Python", p->header.python);
	put_fact(g, "Host", p->header.host);
	put_fact(g, "Mode", g->m->mode < MODE_COUNT ? mode_names[g->m->mode] : "");
	if (p->has_statistics) {
		snprintf(text, sizeof(text),
			 "due %" PRIu64 ", achieved %" PRIu64 ", missed %" PRIu64
			 ", with a <moving> leaf %" PRIu64,
			 p->statistics.due, p->statistics.achieved, p->statistics.missed,
			 p->statistics.moving);
		put_fact(g, "Samples", text);
	}
	sink_text(g->out, "]}]");
}

static void put_meta(struct gecko *g)
{
	const struct stream_header *h = &g->m->processes[0].header;

	sink_text(g->out, "{\"meta\":{\"interval\":");
	put_milliseconds(g, model_interval(h));
	sink_text(g->out, ",\"startTime\":");
	put_milliseconds(g, g->moments.start_ns);
	sink_text(g->out, ",\"profilingStartTime\":0,\"profilingEndTime\":");
	put_milliseconds(g, g->moments.length_ns);
	sink_text(g->out, ",\"processType\":0,\"product\":");
	put_text(g, h->command[0] ? h->command : "Python");
	sink_text(g->out, ",\"stackwalk\":0,\"version\":");
	sink_unsigned(g->out, GECKO_VERSION);
	sink_text(g->out, ",\"preprocessedProfileVersion\":");
	sink_unsigned(g->out, PROCESSED_VERSION);
	sink_text(g->out, ",\"importedFrom\":\"pyprof\",\"symbolicated\":true,"
			  "\"usesOnlyOneStackType\":true,\"sourceCodeIsNotOnSearchfox\":true,"
			  "\"platform\":\"Linux\",\"oscpu\":\"Linux x86_64\",\"misc\":\"\","
			  "\"abi\":\"x86_64\",\"toolkit\":\"\",\"appBuildID\":\"\","
			  "\"extensions\":{\"id\":[],\"name\":[],\"baseURL\":[],\"length\":0}");
	if (g->cpu_time)
		sink_text(g->out, ",\"sampleUnits\":{\"time\":\"ms\",\"eventDelay\":\"ms\","
				  "\"threadCPUDelta\":\"ns\"}");
	put_categories(g);
	sink_text(g->out, ",\n\"markerSchema\":[");
	for (enum marker i = 0; i < MARKERS; i++)
		if (i != MARKER_OPCODE || g->m->opcodes)
			put_schema(g, i);
	sink_byte(g->out, ']');
	put_facts(g);
	sink_text(g->out, "},\n\"libs\":[],\"pages\":[],\n\"threads\":[");
}

static int put_all(struct gecko *g)
{
	int r;

	put_meta(g);
	r = put_threads(g);
	sink_text(g->out, "],\n\"shared\":{\"stringArray\":[");
	put_strings(g);
	sink_text(g->out, "]}}\n");
	return r;
}

/* In which task each node is: in the one whose frame is the nearest below. */
static int find_tasks(struct gecko *g)
{
	const struct model *m = g->m;
	bool any = false;

	for (uint32_t i = 1; i < m->function_count && !any; i++)
		any = m->functions[i].kind == STREAM_FRAME_TASK;
	if (!any)
		return 0;
	g->task_of = calloc(m->node_count, sizeof(*g->task_of));
	if (!g->task_of)
		return -ENOMEM;
	for (uint32_t i = 1; i < m->node_count; i++) {
		uint32_t frame = m->nodes[i].frame;

		g->task_of[i] = m->functions[m->frames[frame].function].kind == STREAM_FRAME_TASK
					? frame
					: g->task_of[m->nodes[i].parent];
	}
	return 0;
}

static int prepare(struct gecko *g)
{
	const struct model *m = g->m;
	int r = moments_init(&g->moments, m);

	if (r == 0)
		r = tracks_find(&g->tracks, m);
	if (r == 0)
		r = table_init(&g->extras, sizeof(struct extra), sizeof(struct extra));
	if (r == 0)
		r = numbering_init(&g->stacks, m->node_count);
	if (r == 0)
		r = numbering_init(&g->idle_stacks, m->node_count);
	if (r == 0)
		r = numbering_init(&g->frames, m->frame_count);
	if (r == 0)
		r = numbering_init(&g->idle_frames, m->frame_count);
	if (r == 0)
		r = numbering_init(&g->functions, m->function_count);
	if (r == 0)
		r = numbering_init(&g->files, m->string_count);
	if (r == 0)
		r = spool_new(&g->samples, sizeof(struct thread_sample), m->thread_count,
			      g->options->scratch);
	if (r == 0)
		r = spool_new(&g->intervals, sizeof(struct interval), 1, g->options->scratch);
	if (r == 0)
		r = find_tasks(g);
	if (r == 0)
		r = model_samples(m, sort_sample, g);
	/* Tasks that wait are counted, but are not where a thread was at a time. */
	return r == 0 && g->sorted == 0 ? -ENODATA : r;
}

static int gecko_write(const struct model *m, const struct format_options *options, FILE *out)
{
	struct gecko g = {.m = m, .options = options};
	int r;

	if (m->samples == 0)
		return -ENODATA;
	r = prepare(&g);
	if (r == 0) {
		g.out = sink_new(out);
		r = sink_finish(g.out, g.out ? put_all(&g) : 0);
	}
	free(g.tracks);
	free(g.task_of);
	spool_free(g.samples);
	spool_free(g.intervals);
	numbering_done(&g.stacks);
	numbering_done(&g.idle_stacks);
	numbering_done(&g.frames);
	numbering_done(&g.idle_frames);
	numbering_done(&g.functions);
	numbering_done(&g.files);
	table_done(&g.extras);
	moments_done(&g.moments);
	return r;
}

const struct format format_gecko = {
	.name = "gecko",
	.extension = "json",
	.opcodes = true,
	.timeline = true,
	.tracks = true,
	.write = gecko_write,
};
