#include "formats/model-parts.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* What a mode asks of samples, for people. */
static const char *const mode_needs[MODE_COUNT] = {
	[MODE_CPU] = "CPU time",
	[MODE_GIL] = "who holds the GIL",
	[MODE_EXCEPTION] = "exceptions",
};

/* The processes of one input, from..to; who: what to call it. */
static int check_input(const struct model *m, uint32_t from, uint32_t to, const char *who,
		       char *buf, size_t size)
{
	uint64_t samples = 0, unknown = 0, unknown_native = 0, unknown_task = 0;
	uint64_t all_waits = 0, lost_waits = 0;
	enum mode asked = MODE_WALL;
	bool any_op = false, any_task = false, waits = false, collected = false;

	for (uint32_t i = from; i < to; i++) {
		const struct model_process *process = &m->processes[i];
		const struct local *l = &m->p->locals[i];

		if (l->recorded != MODE_WALL && l->mode != l->recorded) {
			snprintf(buf, size,
				 "%s has only samples of mode %s: mode %s cannot be asked of it",
				 who, mode_names[l->recorded], mode_names[l->mode]);
			return -ENODATA;
		}
		samples += process->samples;
		unknown += process->unknown;
		unknown_native += process->unknown_native;
		any_op |= process->has_opcodes;
		unknown_task += process->unknown_task;
		all_waits += process->waits;
		lost_waits += process->lost_waits;
		any_task |= process->any_task;
		collected |= strstr(process->header.collected, "async") != NULL;
		waits |= strstr(process->header.collected, "async-waits") != NULL;
		if (process->unknown)
			asked = l->mode;
	}
	if (m->p->options.opcodes && samples && !any_op) {
		snprintf(buf, size, "%s lacks opcodes: they are recorded with --opcodes", who);
		return -ENODATA;
	}
	if (m->p->options.tasks && samples && !any_task) {
		if (collected)
			snprintf(buf, size,
				 "%s does not tell which tasks ran: they moved, or too many await "
				 "each other",
				 who);
		else
			snprintf(buf, size, "%s lacks tasks: they are recorded with --async-aware",
				 who);
		return -ENODATA;
	}
	if (m->p->options.tasks == MODEL_TASKS_ALL && samples && !waits) {
		snprintf(buf, size,
			 "%s lacks tasks that wait: they are recorded with --async-aware "
			 "--async-mode all",
			 who);
		return -ENODATA;
	}
	if (unknown && 2 * unknown >= samples) {
		snprintf(buf, size,
			 asked == MODE_CPU
				 ? "%s lacks %s: that is recorded with --mode cpu, or up to 10000 "
				   "samples of threads a second"
				 : "%s lacks %s",
			 who, mode_needs[asked]);
		return -ENODATA;
	}
	if (unknown_native && unknown_native == samples) {
		snprintf(buf, size,
			 "%s lacks what --native asks for: whether threads without the GIL wait "
			 "for it",
			 who);
		return -ENODATA;
	}
	if (1000 * unknown_task > samples && 1000 * lost_waits > all_waits) {
		snprintf(buf, size,
			 "%" PRIu64 " of %" PRIu64
			 " samples do not tell which task ran, and %" PRIu64 " of %" PRIu64
			 " looks at waiting tasks not where: they are left out",
			 unknown_task, samples, lost_waits, all_waits);
		return -EAGAIN;
	}
	if (1000 * lost_waits > all_waits) {
		snprintf(buf, size,
			 "%" PRIu64 " of %" PRIu64
			 " looks at waiting tasks do not tell where they waited: they are left out",
			 lost_waits, all_waits);
		return -EAGAIN;
	}
	if (1000 * unknown_task > samples) {
		snprintf(buf, size,
			 "%" PRIu64 " of %" PRIu64
			 " samples do not tell whether a task ran, and which: they are left out",
			 unknown_task, samples);
		return -EAGAIN;
	}
	if (1000 * unknown > samples) {
		snprintf(buf, size,
			 "%" PRIu64 " of %" PRIu64 " samples of %s lack %s and are left out",
			 unknown, samples, who, mode_needs[asked]);
		return -EAGAIN;
	}
	if (1000 * unknown_native > samples) {
		snprintf(buf, size,
			 "%" PRIu64 " of %" PRIu64
			 " samples of %s do not tell whether they are in C code",
			 unknown_native, samples, who);
		return -EAGAIN;
	}
	return 0;
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
