/* Stacks, frames, functions and resources: each thread has tables of its own, of what its samples
 * and waits use. */
#include "formats/gecko.h"

#define RESOURCE_LIBRARY "1"

/* ---- what there is ---- */

/* Stacks begin above the frame that stands for a process: processes are the profile's own. */
static bool is_root(const struct gecko *g, uint32_t node)
{
	return node == 0 || (g->m->grouped && g->m->nodes[node].depth == 1);
}

int64_t gecko_stack(const struct gecko *g, uint32_t node, bool idle)
{
	if (is_root(g, node))
		return -1;
	return idle ? (int64_t)g->stacks.count + g->idle_stacks.number[node] - 1
		    : (int64_t)g->stacks.number[node] - 1;
}

/* With all below it. */
static void number_stack(struct gecko *g, uint32_t node)
{
	while (!is_root(g, node) && numbering_add(&g->stacks, node))
		node = g->m->nodes[node].parent;
}

static int number_samples(void *arg, const void *records, size_t n)
{
	struct gecko *g = arg;
	const struct gecko_sample *s = records;

	for (size_t i = 0; i < n; i++) {
		uint32_t node = s[i].node;

		if (!s[i].idle)
			number_stack(g, node);
		else if (!is_root(g, node) && numbering_add(&g->idle_stacks, node))
			number_stack(g, g->m->nodes[node].parent);
	}
	return 0;
}

static int number_waits(void *arg, const void *records, size_t n)
{
	struct gecko *g = arg;
	const struct gecko_wait *w = records;

	for (size_t i = 0; i < n; i++)
		number_stack(g, w[i].node);
	return 0;
}

static void number_frames(struct gecko *g, struct numbering *frames, const struct numbering *stacks)
{
	for (uint32_t i = 0; i < stacks->count; i++) {
		uint32_t frame = g->m->nodes[stacks->used[i]].frame;
		uint32_t function = g->m->frames[frame].function;

		numbering_add(frames, frame);
		numbering_add(&g->functions, function);
		if (g->m->functions[function].file)
			numbering_add(&g->files, g->m->functions[function].file);
	}
}

int gecko_number_tables(struct gecko *g)
{
	struct numbering *all[] = {&g->stacks,	    &g->idle_stacks, &g->frames,
				   &g->idle_frames, &g->functions,   &g->files};
	int r;

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		numbering_clear(all[i]);
	r = spool_each(g->samples, g->thread, number_samples, g);
	if (r == 0)
		r = spool_each(g->waits, g->thread, number_waits, g);
	/* A stack's prefix comes before it. */
	numbering_sort(&g->stacks);
	number_frames(g, &g->frames, &g->stacks);
	number_frames(g, &g->idle_frames, &g->idle_stacks);
	return r;
}

/* ---- stacks ---- */

static void put_stack_frames(struct gecko *g, const struct numbering *stacks,
			     const struct numbering *frames, uint32_t frame_base)
{
	for (uint32_t i = 0; i < stacks->count; i++) {
		gecko_separate(g);
		sink_unsigned(g->out,
			      frame_base + frames->number[g->m->nodes[stacks->used[i]].frame] - 1);
	}
}

static void put_stack_prefixes(struct gecko *g, const struct numbering *stacks)
{
	for (uint32_t i = 0; i < stacks->count; i++) {
		gecko_separate(g);
		gecko_put_known(g, gecko_stack(g, g->m->nodes[stacks->used[i]].parent, false), 0);
	}
}

static void put_stack_table(struct gecko *g)
{
	sink_text(g->out, ",\n\"stackTable\":{\"frame\":[");
	g->first = true;
	put_stack_frames(g, &g->stacks, &g->frames, 0);
	put_stack_frames(g, &g->idle_stacks, &g->idle_frames, g->frames.count);
	gecko_end_column(g);
	gecko_begin_column(g, "prefix");
	put_stack_prefixes(g, &g->stacks);
	put_stack_prefixes(g, &g->idle_stacks);
	gecko_end_column(g);
	gecko_put_length(g, (uint64_t)g->stacks.count + g->idle_stacks.count);
}

/* ---- frames ---- */

static enum gecko_category category_of(uint32_t kind)
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

static void put_frame_rows(struct gecko *g, const struct numbering *frames,
			   enum frame_column column)
{
	for (uint32_t i = 0; i < frames->count; i++) {
		const struct model_frame *frame = &g->m->frames[frames->used[i]];

		gecko_separate(g);
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
			gecko_put_known(g, frame->line, 0);
			break;
		case FRAME_COLUMN:
			gecko_put_known(g, frame->column, 1);
			break;
		}
	}
}

static void put_frame_column(struct gecko *g, const char *name, enum frame_column column)
{
	gecko_begin_column(g, name);
	put_frame_rows(g, &g->frames, column);
	put_frame_rows(g, &g->idle_frames, column);
	gecko_end_column(g);
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
	gecko_put_constant(g, "address", "-1", n);
	gecko_put_constant(g, "inlineDepth", "0", n);
	gecko_put_constant(g, "subcategory", "0", n);
	gecko_put_constant(g, "nativeSymbol", "null", n);
	gecko_put_constant(g, "innerWindowID", "null", n);
	sink_byte(g->out, '}');
}

/* ---- functions, and the files that they are of ---- */

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
		gecko_put_known(g, f->file ? (int64_t)f->file : -1, 0);
		break;
	case FUNCTION_LINE:
		gecko_put_known(g, f->file && f->first_line > 0 ? f->first_line : -1, 0);
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
		gecko_begin_column(g, names[c]);
		for (uint32_t i = 0; i < g->functions.count; i++) {
			gecko_separate(g);
			put_function(g, &g->m->functions[g->functions.used[i]], c);
		}
		gecko_end_column(g);
	}
	gecko_put_constant(g, "columnNumber", "null", g->functions.count);
	sink_byte(g->out, '}');
}

static void put_resource_table(struct gecko *g)
{
	sink_text(g->out, ",\n\"resourceTable\":{\"length\":");
	sink_unsigned(g->out, g->files.count);
	gecko_begin_column(g, "name");
	for (uint32_t i = 0; i < g->files.count; i++) {
		gecko_separate(g);
		sink_unsigned(g->out, gecko_extra_string(g, EXTRA_BASENAME, g->files.used[i]));
	}
	gecko_end_column(g);
	gecko_put_constant(g, "lib", "null", g->files.count);
	gecko_put_constant(g, "host", "null", g->files.count);
	gecko_put_constant(g, "type", RESOURCE_LIBRARY, g->files.count);
	sink_byte(g->out, '}');
	sink_text(g->out, ",\n\"nativeSymbols\":{\"libIndex\":[],\"address\":[],\"name\":[],"
			  "\"functionSize\":[],\"length\":0}");
}

void gecko_put_tables(struct gecko *g)
{
	put_stack_table(g);
	put_frame_table(g);
	put_function_table(g);
	put_resource_table(g);
}
