/* Each thread's last sample. Keys: pyprof (version of the recorder), pid, python (version), host,
 * boot_id, threads, and where they were asked for tasks; in a thread: tid, ident
 * (threading.get_ident(), a string: it may need 64 bits), name, interpreter, main, state (words),
 * how ("free", "stop", "moving"), frames from the leaf to the base; in a frame: kind ("python",
 * "moving", "truncated", "native", "gc"), function, and of a Python frame file, first_line, line,
 * end_line, column, end_column (columns count bytes from 0; null is unknown) and, where opcodes
 * were asked for, opcode and base_opcode (names; null unknown). In a task: id (of Python's id(), a
 * string), name, loop (the same of its event loop), thread (tid of who runs the loop, or null),
 * state ("running", "waiting"), problem (null, "moved", "unreadable"), awaited_by (ids of tasks),
 * frames. With tasks come tasks_total (how many there are, also of threads that are not shown) and
 * tasks_problem (null, "no asyncio", "not found", "too many"). */
#include <cjson/cJSON.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "formats/escape.h"
#include "formats/format.h"
#include "formats/opcode.h"

static bool add_text(cJSON *object, const char *key, const char *text, size_t len)
{
	char *valid = malloc(3 * len + 1); /* a wrong byte becomes the three of U+FFFD */
	bool added = false;

	if (valid) {
		escape_text(valid, 3 * len + 1, text, len, ESCAPE_UTF8);
		added = cJSON_AddStringToObject(object, key, valid);
	}
	free(valid);
	return added;
}

static bool add_string(cJSON *object, const char *key, const struct model *m, uint32_t id)
{
	if (id == 0)
		return cJSON_AddNullToObject(object, key);
	return add_text(object, key, m->strings[id].bytes, m->strings[id].len);
}

static bool add_position(cJSON *object, const char *key, int32_t v)
{
	return v < 0 ? (bool)cJSON_AddNullToObject(object, key)
		     : (bool)cJSON_AddNumberToObject(object, key, v);
}

static bool add_name(cJSON *object, const char *key, const char *name)
{
	return name ? (bool)cJSON_AddStringToObject(object, key, name)
		    : (bool)cJSON_AddNullToObject(object, key);
}

static bool add_opcode(cJSON *object, uint32_t op)
{
	return add_name(object, "opcode", opcode_name(op)) &&
	       add_name(object, "base_opcode", opcode_base(op));
}

static bool add_frame(cJSON *frames, const struct model *m, const struct model_frame *frame)
{
	static const char *const kinds[] = {
		[STREAM_FRAME_PYTHON] = "python",
		[STREAM_FRAME_MOVING] = "moving",
		[STREAM_FRAME_TRUNCATED] = "truncated",
		[STREAM_FRAME_NATIVE] = "native",
		[STREAM_FRAME_GC] = "gc",
		[STREAM_FRAME_TASK] = "task",
	};
	const size_t kind_count = sizeof(kinds) / sizeof(kinds[0]);
	const struct model_function *f = &m->functions[frame->function];
	cJSON *object = cJSON_CreateObject();

	if (!object || !cJSON_AddItemToArray(frames, object))
		return false;
	if (!cJSON_AddStringToObject(object, "kind",
				     f->kind < kind_count ? kinds[f->kind] : "unknown") ||
	    !add_string(object, "function", m, f->name))
		return false;
	if (!f->file)
		return true;
	if (m->opcodes && !add_opcode(object, frame->op))
		return false;
	return add_string(object, "file", m, f->file) &&
	       add_position(object, "first_line", f->first_line) &&
	       add_position(object, "line", frame->line) &&
	       add_position(object, "end_line", frame->end_line) &&
	       add_position(object, "column", frame->column) &&
	       add_position(object, "end_column", frame->end_column);
}

static bool add_states(cJSON *object, uint16_t state, bool free_threaded)
{
	const struct {
		uint16_t bit;
		const char *word;
	} words[] = {
		{STREAM_STATE_GIL, free_threaded ? "attached" : "gil"},
		{STREAM_STATE_GIL_WAIT, "gil-wait"},
		{STREAM_STATE_SUSPENDED, "suspended"},
		{STREAM_STATE_CPU, "cpu"},
		{STREAM_STATE_EXCEPTION, "exception"},
		{STREAM_STATE_HANDLING, "handling"},
		{STREAM_STATE_GC, "gc"},
		{STREAM_STATE_PROCESS_STOPPED, "process-stopped"},
	};
	cJSON *array = cJSON_AddArrayToObject(object, "state");

	for (size_t i = 0; array && i < sizeof(words) / sizeof(*words); i++)
		if (state & words[i].bit &&
		    !cJSON_AddItemToArray(array, cJSON_CreateString(words[i].word)))
			return false;
	if (array && state & STREAM_STATE_CPU_KNOWN &&
	    !(state & (STREAM_STATE_GIL | STREAM_STATE_GIL_WAIT | STREAM_STATE_CPU |
		       STREAM_STATE_EXCEPTION | STREAM_STATE_HANDLING)))
		return cJSON_AddItemToArray(array, cJSON_CreateString("idle"));
	return array;
}

static bool add_thread(cJSON *threads, const struct model *m, const struct model_thread *t)
{
	static const char *const hows[] = {"free", "stop", "moving"};
	cJSON *object = cJSON_CreateObject(), *frames;
	char ident[24];

	if (!object || !cJSON_AddItemToArray(threads, object))
		return false;
	snprintf(ident, sizeof(ident), "%" PRIu64, t->ident);
	if (!cJSON_AddNumberToObject(object, "tid", t->tid) ||
	    !cJSON_AddStringToObject(object, "ident", ident) ||
	    !add_string(object, "name", m, t->name) ||
	    !cJSON_AddNumberToObject(object, "interpreter", t->interpreter) ||
	    !cJSON_AddBoolToObject(object, "main", t->main || t->last_state & STREAM_STATE_MAIN) ||
	    !add_states(object, t->last_state, m->processes[t->process].header.free_threaded) ||
	    !cJSON_AddStringToObject(object, "how",
				     t->last_how < 3 ? hows[t->last_how] : "unknown"))
		return false;
	frames = cJSON_AddArrayToObject(object, "frames");
	for (uint32_t node = t->last_node; frames && node; node = m->nodes[node].parent)
		if (!add_frame(frames, m, &m->frames[m->nodes[node].frame]))
			return false;
	return frames;
}

static bool add_id(cJSON *object, const char *key, uint64_t id)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, id);
	return cJSON_AddStringToObject(object, key, text);
}

static bool add_awaiters(cJSON *object, const struct model *m, const struct model_task *t)
{
	cJSON *array = cJSON_AddArrayToObject(object, "awaited_by"), *item;
	char text[24];

	for (uint32_t i = 0; array && i < t->n_awaiters; i++) {
		snprintf(text, sizeof(text), "%" PRIu64,
			 m->tasks[m->awaiters[t->first_awaiter + i]].addr);
		item = cJSON_CreateString(text);
		if (!item || !cJSON_AddItemToArray(array, item))
			return false;
	}
	return array;
}

static bool add_task(cJSON *tasks, const struct model *m, const struct model_task *t)
{
	static const char *const problems[] = {
		[STREAM_TASK_MOVED] = "moved", [STREAM_TASK_UNREADABLE] = "unreadable"};
	cJSON *object = cJSON_CreateObject(), *frames;

	if (!object || !cJSON_AddItemToArray(tasks, object))
		return false;
	if (!add_id(object, "id", t->addr) || !add_string(object, "name", m, t->name) ||
	    !add_id(object, "loop", t->loop) ||
	    !(t->thread ? (bool)cJSON_AddNumberToObject(object, "thread", m->threads[t->thread].tid)
			: (bool)cJSON_AddNullToObject(object, "thread")) ||
	    !cJSON_AddStringToObject(object, "state",
				     t->state == STREAM_TASK_RUNNING ? "running" : "waiting") ||
	    !(t->problem ? (bool)cJSON_AddStringToObject(object, "problem",
							 t->problem < 3 ? problems[t->problem]
									: "unknown")
			 : (bool)cJSON_AddNullToObject(object, "problem")) ||
	    !add_awaiters(object, m, t))
		return false;
	frames = cJSON_AddArrayToObject(object, "frames");
	for (uint32_t node = t->node; frames && node; node = m->nodes[node].parent)
		if (!add_frame(frames, m, &m->frames[m->nodes[node].frame]))
			return false;
	return frames;
}

static bool add_tasks(cJSON *object, const struct model *m, uint32_t process)
{
	const struct stream_tasks *found = &m->processes[process].tasks;
	const char *problem = found->found == STREAM_TASKS_NO_ASYNCIO	  ? "no asyncio"
			      : found->found == STREAM_TASKS_NO_GREENLETS ? "no greenlets"
			      : found->found != STREAM_TASKS_FOUND	  ? "not found"
			      : found->more				  ? "too many"
									  : NULL;
	cJSON *tasks;

	if (!m->processes[process].has_tasks)
		return true;
	if (!cJSON_AddNumberToObject(object, "tasks_total", found->total) ||
	    !(problem ? (bool)cJSON_AddStringToObject(object, "tasks_problem", problem)
		      : (bool)cJSON_AddNullToObject(object, "tasks_problem")))
		return false;
	tasks = cJSON_AddArrayToObject(object, "tasks");
	for (uint32_t i = 1; tasks && i < m->task_count; i++)
		if (m->tasks[i].seen && m->tasks[i].process == process &&
		    !add_task(tasks, m, &m->tasks[i]))
			return false;
	return tasks;
}

static cJSON *make(const struct model *m, uint32_t process)
{
	const struct stream_header *h = &m->processes[process].header;
	cJSON *object = cJSON_CreateObject(), *threads;
	bool good =
		object &&
		add_text(object, "pyprof", h->pyprof, strnlen(h->pyprof, sizeof(h->pyprof))) &&
		cJSON_AddNumberToObject(object, "pid", h->pid) &&
		add_text(object, "python", h->python, strnlen(h->python, sizeof(h->python))) &&
		add_text(object, "host", h->host, strnlen(h->host, sizeof(h->host))) &&
		add_text(object, "boot_id", h->boot_id, strnlen(h->boot_id, sizeof(h->boot_id)));

	threads = good ? cJSON_AddArrayToObject(object, "threads") : NULL;
	good = threads;
	for (uint32_t i = 1; i < m->thread_count && good; i++)
		if (m->threads[i].samples && m->threads[i].process == process)
			good = add_thread(threads, m, &m->threads[i]);
	good = good && add_tasks(object, m, process);
	if (good)
		return object;
	cJSON_Delete(object);
	return NULL;
}

static bool has_task(const struct model *m, uint32_t process)
{
	for (uint32_t i = 1; i < m->task_count; i++)
		if (m->tasks[i].seen && m->tasks[i].process == process)
			return true;
	return false;
}

/* One object for each process, a line each when there are several. */
static int dump_json_write(const struct model *m, const struct format_options *options, FILE *out)
{
	int r = -ENODATA;

	for (uint32_t i = 0; i < m->process_count; i++) {
		cJSON *object;
		char *text;

		if (m->processes[i].samples == 0 && !has_task(m, i))
			continue;
		object = make(m, i);
		if (!object)
			return -ENOMEM;
		text = m->process_count == 1 ? cJSON_Print(object) : cJSON_PrintUnformatted(object);
		cJSON_Delete(object);
		if (!text)
			return -ENOMEM;
		r = fputs(text, out) < 0 || fputc('\n', out) < 0 ? errno ? -errno : -EIO : 0;
		free(text);
		if (r < 0)
			return r;
	}
	return r;
}

const struct format format_dump_json = {
	.name = "dump-json",
	.extension = "json",
	.opcodes = true,
	.write = dump_json_write,
};
