#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "formats/escape.h"
#include "formats/fmt-dump.h"
#include "formats/opcode.h"

#define TEXT_MAX   1024 /* bytes shown of a name or a file */
#define SOURCE_MAX 512	/* and of a source line */

#define BOLD_BLUE   DUMP_HEADING
#define BOLD_GREEN  DUMP_NAME
#define BOLD_YELLOW "\033[1;33m"
#define CYAN	    "\033[36m"
#define YELLOW	    DUMP_REMARK
#define WHITE	    "\033[37m"
#define RESET	    DUMP_RESET

const char *dump_color(const struct dump *d, const char *code)
{
	return d->options->color ? code : "";
}

void dump_escaped(const struct dump *d, const char *text, size_t len)
{
	char buffer[TEXT_MAX];

	if (escape_text(buffer, sizeof(buffer), text, len, ESCAPE_TERMINAL) >= sizeof(buffer))
		fprintf(d->out, "%s...", buffer);
	else
		fputs(buffer, d->out);
}

/* What a thread does, in words. What was not looked at is not said to be idle. */
static void put_state(const struct dump *d, const struct model_thread *t, bool free_threaded)
{
	uint16_t state = t->last_state;
	bool gil = state & STREAM_STATE_GIL,
	     exception = state & (STREAM_STATE_EXCEPTION | STREAM_STATE_HANDLING);
	bool active = gil || exception || state & (STREAM_STATE_CPU | STREAM_STATE_GIL_WAIT);
	const struct {
		bool is;
		const char *word;
	} words[] = {
		{t->main || state & STREAM_STATE_MAIN, "main thread"},
		{gil, free_threaded ? "attached" : "has GIL"},
		{state & STREAM_STATE_SUSPENDED, "suspended"},
		{state & STREAM_STATE_CPU, "on CPU"},
		{state & STREAM_STATE_GIL_WAIT, "waiting for GIL"},
		{exception, "has exception"},
		{state & STREAM_STATE_GC && gil, "collecting garbage"},
		{!active && state & STREAM_STATE_CPU_KNOWN, "idle"},
	};
	const char *comma = "";

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (!words[i].is)
			continue;
		fprintf(d->out, "%s%s", comma, words[i].word);
		comma = ", ";
	}
	if (*comma)
		fputs("; ", d->out);
}

static void put_header(const struct dump *d, const struct model_thread *t, bool first, bool many)
{
	const struct model_process *p = &d->m->processes[t->process];
	uint16_t state = t->last_state;

	fprintf(d->out, "%sStack dump", dump_color(d, BOLD_BLUE));
	if (first)
		fprintf(d->out, " for PID %" PRId32, p->header.pid);
	fprintf(d->out, ", thread %" PRIu64, t->tid ? t->tid : t->ident);
	if (t->name) {
		fputs(" \"", d->out);
		dump_escaped(d, d->m->strings[t->name].bytes, d->m->strings[t->name].len);
		fputs("\"", d->out);
	}
	fputs(" (", d->out);
	if (many)
		fprintf(d->out, "interpreter %" PRId64 "; ", t->interpreter);
	if (state & STREAM_STATE_PROCESS_STOPPED)
		fputs("process stopped; ", d->out);
	if (t->last_how == STREAM_HOW_MOVING)
		fputs("leaf not proven; ", d->out);
	put_state(d, t, p->header.free_threaded);
	fprintf(d->out, "most recent call last):%s\n", dump_color(d, RESET));
}

/* The file as people know it: relative when it is below where they are. */
static const char *shown(const struct dump *d, const char *file)
{
	const char *cwd = d->options->cwd;
	size_t n = cwd ? strlen(cwd) : 0;

	if (n > 1 && strncmp(file, cwd, n) == 0 && file[n] == '/' && file[n + 1])
		return file + n + 1;
	return file;
}

/* The line without its indentation, what the frame is running highlighted. */
static void put_source(const struct dump *d, const struct model_frame *frame, const char *line)
{
	size_t len = strlen(line), lead = strspn(line, " \t\f"), from, to;

	while (len > lead && strchr(" \t\r\n\f", line[len - 1]))
		len--;
	if (len == lead)
		return;
	from = frame->column < 0 ? 0 : (size_t)frame->column;
	to = frame->end_line > frame->line ? len : (size_t)frame->end_column;
	if (frame->column < 0 || frame->end_column < 0 || frame->end_line < frame->line)
		from = to = 0;
	from = from < lead ? lead : from > len ? len : from;
	to = to < from ? from : to > len ? len : to;
	fprintf(d->out, "    %s", dump_color(d, WHITE));
	if (!d->options->color || to == from) {
		dump_escaped(d, line + lead, len - lead);
	} else {
		dump_escaped(d, line + lead, from - lead);
		fputs(RESET BOLD_YELLOW, d->out);
		dump_escaped(d, line + from, to - from);
		fputs(RESET WHITE, d->out);
		dump_escaped(d, line + to, len - to);
	}
	fprintf(d->out, "%s\n", dump_color(d, RESET));
}

static void put_frame(const struct dump *d, const struct model_frame *frame)
{
	const struct model_function *f = &d->m->functions[frame->function];
	const struct model_string *name = &d->m->strings[f->name];
	const char *file = d->m->strings[f->file].bytes;
	char line[SOURCE_MAX];

	fputs("  ", d->out);
	if (f->file) {
		const char *path = shown(d, file);

		fprintf(d->out, "File %s\"", dump_color(d, CYAN));
		dump_escaped(d, path, strlen(path));
		fprintf(d->out, "\"%s, ", dump_color(d, RESET));
		if (frame->line > 0)
			fprintf(d->out, "line %s%" PRId32 "%s, ", dump_color(d, YELLOW),
				frame->line, dump_color(d, RESET));
		fputs("in ", d->out);
	}
	fputs(dump_color(d, BOLD_GREEN), d->out);
	dump_escaped(d, name->bytes, name->len);
	fputs(dump_color(d, RESET), d->out);
	if (frame->op)
		fprintf(d->out, "  %sopcode=%s%s", dump_color(d, CYAN),
			opcode_text(frame->op, line, sizeof(line)), dump_color(d, RESET));
	fputc('\n', d->out);
	if (f->file && frame->line > 0 && d->options->source_line &&
	    d->options->source_line(d->options->arg, file, frame->line, line, sizeof(line)) == 0)
		put_source(d, frame, line);
}

int dump_frames(const struct dump *d, uint32_t node)
{
	uint32_t depth = d->m->nodes[node].depth, *path;

	if (depth == 0)
		return 0;
	path = calloc(depth, sizeof(*path));
	if (!path)
		return -ENOMEM;
	for (uint32_t i = depth; i > 0; node = d->m->nodes[node].parent)
		path[--i] = d->m->nodes[node].frame;
	for (uint32_t i = 0; i < depth; i++)
		put_frame(d, &d->m->frames[path[i]]);
	free(path);
	return 0;
}

static int put_thread(const struct dump *d, const struct model_thread *t, bool first, bool many)
{
	put_header(d, t, first, many);
	if (!t->last_node)
		fprintf(d->out, "%sNo Python frames%s\n", dump_color(d, YELLOW),
			dump_color(d, RESET));
	return dump_frames(d, t->last_node);
}

/* The threads of a process that run no task which is shown, then its tasks. *first: of all that is
 * printed. */
static int put_process(const struct dump *d, uint32_t process, bool *first)
{
	const struct model_thread *last = NULL;
	bool many = false, none = true;
	int r = 0;

	for (uint32_t i = 1; i < d->m->thread_count; i++) {
		const struct model_thread *t = &d->m->threads[i];

		if (t->samples == 0 || t->process != process)
			continue;
		many |= last && last->interpreter != t->interpreter;
		last = t;
	}
	for (uint32_t i = 1; i < d->m->thread_count && r == 0; i++) {
		const struct model_thread *t = &d->m->threads[i];

		if (t->samples == 0 || t->process != process || dump_runs_task(d->m, i))
			continue;
		if (!*first)
			fputc('\n', d->out);
		*first = false;
		r = put_thread(d, t, none, many);
		none = false;
	}
	return r < 0 ? r : dump_tasks(d, process, none, first);
}

static int dump_write(const struct model *m, const struct format_options *options, FILE *out)
{
	struct dump d = {m, options, out};
	bool first = true;
	int r = 0;

	for (uint32_t i = 0; i < m->process_count && r == 0; i++) {
		r = put_process(&d, i, &first);
	}
	if (r == 0 && first)
		return -ENODATA;
	if (r == 0 && ferror(out))
		r = errno ? -errno : -EIO;
	return r;
}

const struct format format_dump = {
	.name = "dump",
	.opcodes = true,
	.write = dump_write,
};
