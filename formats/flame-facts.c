/* What the page says besides stacks: whose they are, how they were taken, what is missing. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "formats/escape.h"
#include "formats/flame.h"

#define MAX_TEXT      1000
#define MAX_PROCESSES 200
#define MAX_REPORTS   4000

static const char *const lost_names[STREAM_LOST_COUNT] = {
	[STREAM_LOST_UNREADABLE] = "unreadable",
	[STREAM_LOST_EXITED] = "thread ended",
	[STREAM_LOST_TORN] = "torn",
	[STREAM_LOST_MEMORY] = "out of memory",
	[STREAM_LOST_BACKPRESSURE] = "not taken in time",
};

static void add_text(cJSON *to, const char *key, const char *bytes, size_t len)
{
	char text[10 * MAX_TEXT + 1];

	escape_text(text, sizeof(text), bytes, len < MAX_TEXT ? len : MAX_TEXT, ESCAPE_TERMINAL);
	if (text[0])
		cJSON_AddStringToObject(to, key, text);
}

static void add_thread(cJSON *to, const struct model *m, const struct model_thread *t, bool base)
{
	cJSON *thread = cJSON_CreateObject(), *states = cJSON_AddArrayToObject(thread, "states");
	cJSON *how = cJSON_AddArrayToObject(thread, "how");
	char tid[24];

	snprintf(tid, sizeof(tid), "%" PRIu64, t->tid);
	cJSON_AddStringToObject(thread, "tid", tid);
	add_text(thread, "name", m->strings[t->name].bytes, m->strings[t->name].len);
	cJSON_AddNumberToObject(thread, "process", t->process);
	if (t->main)
		cJSON_AddTrueToObject(thread, "main");
	if (base)
		cJSON_AddTrueToObject(thread, "base");
	for (int i = 0; i < MODEL_STATES; i++)
		cJSON_AddItemToArray(states, cJSON_CreateNumber((double)t->states[i]));
	for (int i = 0; i < 2; i++)
		cJSON_AddItemToArray(states, cJSON_CreateNumber((double)t->exceptions[i]));
	for (int i = 0; i < 3; i++)
		cJSON_AddItemToArray(how, cJSON_CreateNumber((double)t->how[i]));
	cJSON_AddItemToArray(to, thread);
}

static void add_process(cJSON *to, const struct model_process *p)
{
	const struct stream_header *h = &p->header;
	cJSON *process = cJSON_CreateObject();

	cJSON_AddNumberToObject(process, "pid", h->pid);
	add_text(process, "command", h->command, strlen(h->command));
	add_text(process, "python", h->python, strlen(h->python));
	add_text(process, "host", h->host, strlen(h->host));
	add_text(process, "end", p->summary.end, strlen(p->summary.end));
	cJSON_AddNumberToObject(process, "rate", h->rate_hz);
	if (h->free_threaded)
		cJSON_AddTrueToObject(process, "freeThreaded");
	cJSON_AddItemToArray(to, process);
}

/* How it was taken, of all processes together. */
static void add_sampling(cJSON *to, const struct model *m)
{
	struct stream_statistics sum = {0};
	uint64_t lost = 0, damaged = 0, frameless = 0, gaps[STREAM_LOST_COUNT] = {0};
	cJSON *reasons;
	bool refused = false;

	for (uint32_t i = 0; i < m->process_count; i++) {
		const struct stream_statistics *s = &m->processes[i].statistics;

		sum.due += s->due;
		sum.achieved += s->achieved;
		sum.missed += s->missed;
		sum.free += s->free;
		sum.stopped += s->stopped;
		sum.moving += s->moving;
		sum.stop_ns += s->stop_ns;
		sum.elapsed_ns += s->elapsed_ns;
		sum.sampler_cpu_ns += s->sampler_cpu_ns;
		for (int k = 0; k < STREAM_LOST_COUNT; k++)
			sum.lost[k] += s->lost[k];
		for (int k = 0; k < STREAM_LOST_COUNT; k++)
			gaps[k] += m->processes[i].gaps[k];
		refused |= s->stops_refused;
		damaged += m->processes[i].damaged;
	}
	/* Without statistics, as of a recording that was cut early, the gaps are what is known. */
	reasons = cJSON_AddObjectToObject(to, "lostBy");
	for (int k = 0; k < STREAM_LOST_COUNT; k++) {
		uint64_t n = sum.due ? sum.lost[k] : gaps[k];

		if (n)
			cJSON_AddNumberToObject(reasons, lost_names[k], (double)n);
		lost += n;
	}
	cJSON_AddNumberToObject(to, "due", (double)sum.due);
	cJSON_AddNumberToObject(to, "achieved", (double)sum.achieved);
	cJSON_AddNumberToObject(to, "missed", (double)sum.missed);
	cJSON_AddNumberToObject(to, "lost", (double)lost);
	cJSON_AddNumberToObject(to, "free", (double)sum.free);
	cJSON_AddNumberToObject(to, "stopped", (double)sum.stopped);
	cJSON_AddNumberToObject(to, "moving", (double)sum.moving);
	cJSON_AddNumberToObject(to, "stopNs", (double)sum.stop_ns);
	cJSON_AddNumberToObject(to, "elapsedNs", (double)sum.elapsed_ns);
	cJSON_AddNumberToObject(to, "samplerNs", (double)sum.sampler_cpu_ns);
	cJSON_AddNumberToObject(to, "damaged", (double)damaged);
	for (uint32_t i = 0; i < m->count_count; i++)
		frameless += m->counts[i].node ? 0 : m->counts[i].count;
	cJSON_AddNumberToObject(to, "frameless", (double)frameless);
	if (refused)
		cJSON_AddTrueToObject(to, "stopsRefused");
}

static void add_report(cJSON *to, const struct report *r, double start)
{
	const double numbers[] = {start + (double)r->elapsed_ns, (double)r->due,
				  (double)r->achieved, (double)r->missed, (double)r->lost};

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		cJSON_AddItemToArray(to, cJSON_CreateNumber(numbers[i]));
}

/* What each recorder said while it ran: five numbers a report, one report behind the other, the
 * first when it began; times from that of the first sample on. */
static void add_reports(cJSON *to, const struct model *m, int64_t from)
{
	uint32_t count = 0, step;

	if (m->process_count > MAX_PROCESSES)
		return;
	for (uint32_t i = 0; i < m->process_count; i++)
		count += m->processes[i].reports.count;
	step = count / MAX_REPORTS + 1;
	for (uint32_t i = 0; i < m->process_count; i++) {
		const struct model_process *p = &m->processes[i];
		uint64_t began = p->header.start_monotonic_ns + (uint64_t)flame_clock(m, i);
		double start = (double)(int64_t)(began - (uint64_t)from);
		struct report first = {0}, last = report_of(&p->statistics);
		cJSON *numbers;

		if (!p->has_statistics)
			continue;
		numbers = cJSON_CreateArray();
		add_report(numbers, &first, start);
		for (uint32_t k = 0; k < p->reports.count; k += step)
			if (p->reports.items[k].elapsed_ns < last.elapsed_ns)
				add_report(numbers, &p->reports.items[k], start);
		add_report(numbers, &last, start);
		cJSON_AddItemToArray(to, numbers);
	}
}

static void add_side(cJSON *to, const struct model *m)
{
	cJSON *processes = cJSON_AddArrayToObject(to, "processes"), *warnings;
	int64_t from, until;

	flame_span(m, &from, &until);
	cJSON_AddNumberToObject(to, "from", (double)from);
	cJSON_AddNumberToObject(to, "span",
				(double)until - (double)from + (double)flame_interval(m));
	cJSON_AddNumberToObject(to, "interval", (double)flame_interval(m));
	cJSON_AddStringToObject(to, "mode", mode_names[m->mode] ? mode_names[m->mode] : "wall");
	for (uint32_t i = 0, n = 0; i < m->process_count && n < MAX_PROCESSES; i++, n++)
		add_process(processes, &m->processes[i]);
	if (m->process_count)
		add_text(to, "selected", m->processes[0].header.selected,
			 strlen(m->processes[0].header.selected));
	add_sampling(cJSON_AddObjectToObject(to, "sampling"), m);
	add_reports(cJSON_AddArrayToObject(to, "reports"), m, from);
	warnings = cJSON_AddArrayToObject(to, "warnings");
	for (uint32_t i = 0; i < m->warning_count; i++)
		cJSON_AddItemToArray(warnings, cJSON_CreateString(m->warnings[i]));
}

char *flame_facts(const struct flame *f, int strip_error)
{
	cJSON *facts = cJSON_CreateObject(), *sides = cJSON_AddArrayToObject(facts, "sides");
	cJSON *threads = cJSON_AddArrayToObject(facts, "threads");
	char *text;

	for (unsigned i = 0; i < f->side_count; i++) {
		const struct model *m = f->sides[i].m;
		cJSON *side = cJSON_CreateObject();

		add_side(side, m);
		cJSON_AddItemToArray(sides, side);
		for (uint32_t k = 1; k < m->thread_count; k++)
			add_thread(threads, m, &m->threads[k], i > 0);
	}
	if (f->sides[0].m->opcodes)
		cJSON_AddTrueToObject(facts, "opcodes");
	if (f->sides[0].m->grouped)
		cJSON_AddTrueToObject(facts, "grouped");
	if (strip_error)
		cJSON_AddStringToObject(facts, "noStrip",
					strip_error == -E2BIG ? "there are too many threads"
							      : strerror(-strip_error));
	text = cJSON_PrintUnformatted(facts);
	cJSON_Delete(facts);
	return text;
}
