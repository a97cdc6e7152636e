#include "formats/model-parts.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* What a mode asks of samples, and the sentence where too few have it. */
static const struct {
	const char *what, *lacking;
} mode_needs[MODE_COUNT] = {
	[MODE_CPU] = {"CPU time",
		      "lacks CPU time: that is recorded with --mode cpu, or up to 10000 "
		      "samples of threads a second"},
	[MODE_GIL] = {"who holds the GIL", "lacks who holds the GIL"},
	[MODE_EXCEPTION] = {"exceptions", "lacks exceptions"},
};

/* What the processes of one input tell together. */
struct told {
	const char *who; /* what to call the input */
	uint64_t samples, unknown, unknown_native, unknown_task, waits, lost_waits;
	enum mode asked; /* by those that have unknown ones */
	bool opcodes, tasks, collected_tasks, collected_waits;
};

static void add_process(struct told *t, const struct model_process *process, enum mode mode)
{
	t->samples += process->samples;
	t->unknown += process->unknown;
	t->unknown_native += process->unknown_native;
	t->unknown_task += process->unknown_task;
	t->waits += process->waits;
	t->lost_waits += process->lost_waits;
	t->opcodes |= process->has_opcodes;
	t->tasks |= process->any_task;
	t->collected_tasks |= strstr(process->header.collected, "async") != NULL;
	t->collected_waits |= strstr(process->header.collected, "async-waits") != NULL;
	if (process->unknown)
		t->asked = mode;
}

/* What there is not enough of to answer at all, behind the input's name; NULL: nothing. */
static const char *lacking(const struct model_options *o, const struct told *t)
{
	if (t->samples && o->opcodes && !t->opcodes)
		return "lacks opcodes: they are recorded with --opcodes";
	if (t->samples && o->tasks && !t->tasks)
		return t->collected_tasks ? "does not tell which tasks ran: they moved, or too "
					    "many await each other"
					  : "lacks tasks: they are recorded with --async-aware";
	if (t->samples && o->tasks == MODEL_TASKS_ALL && !t->collected_waits)
		return "lacks tasks that wait: they are recorded with --async-aware --async-mode "
		       "all";
	if (t->unknown && 2 * t->unknown >= t->samples)
		return mode_needs[t->asked].lacking;
	if (t->unknown_native && t->unknown_native == t->samples)
		return "lacks what --native asks for: whether threads without the GIL wait for it";
	return NULL;
}

/* Less than one in a thousand is not worth a sentence. */
static bool are_many(uint64_t n, uint64_t of)
{
	return 1000 * n > of;
}

/* What only a part of the samples tells; false: all do, or nearly. */
static bool partly(const struct told *t, char *buf, size_t size)
{
	bool tasks = are_many(t->unknown_task, t->samples);
	char waits[192] = "";

	if (are_many(t->lost_waits, t->waits))
		snprintf(waits, sizeof(waits),
			 "%s%" PRIu64 " of %" PRIu64
			 " looks at waiting tasks do not tell where they waited",
			 tasks ? ", and " : "", t->lost_waits, t->waits);
	if (tasks)
		snprintf(buf, size,
			 "%" PRIu64 " of %" PRIu64
			 " samples do not tell whether a task ran, and which%s: they are left out",
			 t->unknown_task, t->samples, waits);
	else if (waits[0])
		snprintf(buf, size, "%s: they are left out", waits);
	else if (are_many(t->unknown, t->samples))
		snprintf(buf, size,
			 "%" PRIu64 " of %" PRIu64 " samples of %s lack %s and are left out",
			 t->unknown, t->samples, t->who, mode_needs[t->asked].what);
	else if (are_many(t->unknown_native, t->samples))
		snprintf(buf, size,
			 "%" PRIu64 " of %" PRIu64
			 " samples of %s do not tell whether they are in C code",
			 t->unknown_native, t->samples, t->who);
	else
		return false;
	return true;
}

/* The processes of one input, from..to. */
static int check_input(const struct model *m, uint32_t from, uint32_t to, const char *who,
		       char *buf, size_t size)
{
	struct told t = {.who = who, .asked = MODE_WALL};
	const char *lack;

	for (uint32_t i = from; i < to; i++) {
		const struct local *l = &m->p->locals[i];

		if (l->recorded != MODE_WALL && l->mode != l->recorded) {
			snprintf(buf, size,
				 "%s has only samples of mode %s: mode %s cannot be asked of it",
				 who, mode_names[l->recorded], mode_names[l->mode]);
			return -ENODATA;
		}
		add_process(&t, &m->processes[i], l->mode);
	}
	lack = lacking(&m->p->options, &t);
	if (lack) {
		snprintf(buf, size, "%s %s", who, lack);
		return -ENODATA;
	}
	return partly(&t, buf, size) ? -EAGAIN : 0;
}

/* Samples and CPU time are not added up. */
static int check_modes(const struct model *m, char *buf, size_t size)
{
	const struct model_private *p = m->p;

	for (uint32_t i = 1; i < m->process_count; i++) {
		uint32_t before = p->processes[i - 1].source, source = p->processes[i].source;

		if (before == source || p->locals[i - 1].mode == p->locals[i].mode)
			continue;
		snprintf(buf, size,
			 "%.150s is of mode %s and %.150s of mode %s: that is no one profile, but "
			 "--mode may ask the same of both",
			 model_source_name(m, before), mode_names[p->locals[i - 1].mode],
			 model_source_name(m, source), mode_names[p->locals[i].mode]);
		return -ENODATA;
	}
	return 0;
}

int model_check(const struct model *m, char *buf, size_t size)
{
	int found = check_modes(m, buf, size);
	char text[512], who[192];

	for (uint32_t from = 0, to; found != -ENODATA && from < m->process_count; from = to) {
		uint32_t source = m->processes[from].source;
		int r;

		for (to = from + 1; to < m->process_count && m->processes[to].source == source;)
			to++;
		snprintf(who, sizeof(who), "%.150s",
			 m->p->source_count > 1 ? model_source_name(m, source) : "the recording");
		r = check_input(m, from, to, who, text, sizeof(text));
		if (r == -ENODATA || (r < 0 && found == 0)) {
			snprintf(buf, size, "%s", text);
			found = r;
		}
	}
	return found;
}
