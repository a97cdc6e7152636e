#include "cli/recording-parts.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "cli/message.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/source.h"

#define MAX_COMPARED 1024 /* streams of files before */

/* ---- signals ---- */

static volatile sig_atomic_t signals;
static volatile sig_atomic_t forward_to;

static void on_signal(int sig)
{
	/* In run Ctrl-C is the target's: it ends, and the recording with it. One more ends ours. */
	if (forward_to && sig == SIGINT && signals == 0) {
		signals = signals + 1;
		return;
	}
	if (forward_to && sig != SIGINT)
		kill(forward_to, sig);
	signals = signals + 1;
	if (signals > (forward_to ? 2 : 1))
		output_end_by(sig);
}

void recording_catch_signals(pid_t forward)
{
	struct sigaction sa = {.sa_handler = on_signal};

	forward_to = forward;
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGHUP, &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
}

void recording_target_ended(void)
{
	forward_to = 0;
	/* The one that ended the target has done what it was for. */
	if (signals == 1)
		signals = 0;
}

bool recording_asked_to_end(void)
{
	return signals > (forward_to ? 1 : 0);
}

/* ---- the session ---- */

/* A process of the recording. NULL when memory is short. */
static struct recording_process *add_process(struct recording *r)
{
	struct recording_process *p = calloc(1, sizeof(*p)), **more;

	more = reallocarray(r->processes, r->process_count + 1, sizeof(struct recording_process *));
	if (more)
		r->processes = more;
	if (!p || !more) {
		free(p);
		return NULL;
	}
	r->processes[r->process_count++] = p;
	return p;
}

struct recording *recording_new(void)
{
	struct recording *r = calloc(1, sizeof(*r));

	if (r && !add_process(r)) {
		free(r);
		r = NULL;
	}
	if (!r)
		message("out of memory");
	return r;
}

int recording_open(struct recording **ret, const struct options *o, bool embedded)
{
	char text[PROTOCOL_TEXT_SIZE];
	struct recording *r = recording_new();
	int status;

	if (!r)
		return STATUS_FAILED;
	status = source_open(&r->main, o, embedded, text);
	if (status) {
		message("%s", text);
		recording_free(r);
		return status;
	}
	*ret = r;
	return 0;
}

void recording_free(struct recording *r)
{
	pid_t monitor;

	if (!r)
		return;
	monitor = source_close(r->main);
	if (monitor > 0)
		while (waitpid(monitor, NULL, 0) < 0 && errno == EINTR)
			;
	for (size_t i = 0; i < r->process_count; i++) {
		if (r->processes[i]->model != r->model)
			model_free(r->processes[i]->model);
		free(r->processes[i]);
	}
	stream_reader_free(r->reader);
	free(r->processes);
	free(r->places);
	pid_list_done(&r->present);
	free(r);
}

pid_t recording_monitor(const struct recording *r)
{
	return r->main ? source_monitor(r->main) : 0;
}

struct source *recording_take_source(struct recording *r)
{
	struct source *s = r->main;

	r->main = NULL;
	return s;
}

const struct recording_facts *recording_facts(const struct recording *r)
{
	return &r->processes[0]->facts;
}

int recording_ask(struct recording *r, const struct protocol_request *q)
{
	return source_ask(r->main, q) ? 0 : STATUS_FAILED;
}

/* What the session says next; the wish to end is passed on meanwhile. */
static enum source_word wait_for_word(struct recording *r, const void **ret_piece, size_t *ret_size,
				      void (*idle)(const struct recording *r))
{
	enum source_word word;
	struct pollfd fd = {.fd = source_fd(r->main), .events = POLLIN};

	while ((word = source_hear(r->main, ret_piece, ret_size)) == SOURCE_NOTHING) {
		/* A signal between the look and the poll is seen a moment later. */
		if (recording_asked_to_end())
			source_stop(r->main);
		if (idle)
			idle(r);
		if (poll(&fd, 1, 250) < 0 && errno != EINTR)
			return SOURCE_END;
	}
	return word;
}

int recording_answer(struct recording *r, bool *ret_waiting, char text[PROTOCOL_TEXT_SIZE])
{
	const void *piece;
	size_t size;
	enum source_word word = wait_for_word(r, &piece, &size, NULL);

	*ret_waiting = word == SOURCE_WAITING;
	if (word == SOURCE_WAITING || word == SOURCE_READY)
		return 0;
	snprintf(text, PROTOCOL_TEXT_SIZE, "%s",
		 word == SOURCE_END ? "the session ended without an answer" : source_text(r->main));
	return word == SOURCE_REFUSED ? source_status(r->main) : STATUS_FAILED;
}

/* ---- what is in the recording ---- */

static void add_statistics(struct stream_statistics *a, const struct stream_statistics *b)
{
	a->due += b->due;
	a->achieved += b->achieved;
	a->missed += b->missed;
	for (size_t i = 0; i < STREAM_LOST_COUNT; i++)
		a->lost[i] += b->lost[i];
	a->free += b->free;
	a->stopped += b->stopped;
	a->moving += b->moving;
	a->repeats += b->repeats;
	a->skipped += b->skipped;
	a->ticks += b->ticks;
	a->calls += b->calls;
	a->bytes += b->bytes;
	a->stops += b->stops;
	a->stop_ns += b->stop_ns;
	a->sampler_cpu_ns += b->sampler_cpu_ns;
	a->elapsed_ns += b->elapsed_ns;
	a->threads = b->threads;
	a->threads_total = b->threads_total;
	a->stops_refused |= b->stops_refused;
}

static void take_statistics(struct recording_process *p, const struct stream_statistics *s)
{
	p->facts.totals = p->before;
	add_statistics(&p->facts.totals, s);
}

static uint64_t lost_sum(const struct stream_statistics *s)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < STREAM_LOST_COUNT; i++)
		sum += s->lost[i];
	return sum;
}

/* What the last second brought. */
static void print_rate(const struct recording *r, struct recording_process *p,
		       const struct stream_statistics *s)
{
	uint64_t ns = s->elapsed_ns - p->last.elapsed_ns;
	uint64_t achieved = s->achieved - p->last.achieved;
	char who[32] = "";

	if (ns < 900000000)
		return;
	if (r->family)
		snprintf(who, sizeof(who), "process %d: ", p->facts.header.pid);
	message("%s%.0f s: %.1f samples/s, missed %llu, lost %llu, by a stop %llu, <moving> %llu; "
		"the "
		"sampler used %.1f %% of a CPU, %.2f reads a sample",
		who, (double)s->elapsed_ns / 1e9, (double)achieved * 1e9 / (double)ns,
		(unsigned long long)(s->missed - p->last.missed),
		(unsigned long long)(lost_sum(s) - lost_sum(&p->last)),
		(unsigned long long)(s->stopped - p->last.stopped),
		(unsigned long long)(s->moving - p->last.moving),
		(double)(s->sampler_cpu_ns - p->last.sampler_cpu_ns) * 100 / (double)ns,
		achieved ? (double)(s->calls - p->last.calls) / (double)achieved : 0);
	p->last = *s;
}

static struct place *find_place(const struct recording *r, uint32_t stream)
{
	return stream < r->place_count && r->places[stream].process ? &r->places[stream] : NULL;
}

/* The model that a stream goes to, if any. */
static struct model *find_model(const struct recording *r, uint32_t stream)
{
	const struct place *at = find_place(r, stream);

	return at ? at->process->model : NULL;
}

static bool reserve_places(struct recording *r, uint32_t stream)
{
	while (r->place_cap <= stream) {
		uint32_t cap = r->place_cap ? 2 * r->place_cap : 16;
		struct place *places = reallocarray(r->places, cap, sizeof(*places));

		if (!places)
			return false;
		r->places = places;
		r->place_cap = cap;
	}
	while (r->place_count <= stream)
		r->places[r->place_count++] = (struct place){0};
	return true;
}

/* Of a stream that another file has too: perhaps one is a copy, perhaps each has a part of it. */
static void warn_of_copy(struct recording *r, const struct stream_header *h)
{
	const struct model *m = r->model;
	uint32_t n = m->process_count < MAX_COMPARED ? m->process_count : MAX_COMPARED;

	for (uint32_t i = 0; i < n && !r->copy_told && h->stream_id; i++) {
		if (m->processes[i].source == r->inputs ||
		    m->processes[i].header.stream_id != h->stream_id)
			continue;
		r->copy_told = true;
		message("warning: what %s has, or a part of it, was in a recording before it: it "
			"counts twice",
			message_text(r->input));
	}
}

static int on_header(void *arg, uint32_t stream, const struct stream_header *h)
{
	struct recording *r = arg;
	struct recording_process *p = r->feeding;
	struct place *at;

	if (!reserve_places(r, stream))
		return -ENOMEM;
	if (h->pid)
		pid_list_add(&r->present, h->pid);
	if (r->pids && !pid_list_has(r->pids, h->pid))
		return 0;
	if (r->input)
		warn_of_copy(r, h);
	at = &r->places[stream];
	*at = (struct place){p, 0};
	if (p->model)
		at->number = (*p->model_streams)++;
	p->facts.header = *h;
	p->facts.streams++;
	p->facts.ended = false;
	p->before = p->facts.totals;
	memset(&p->last, 0, sizeof(p->last));
	return p->model ? model_handler.header(p->model, at->number, h) : 0;
}

static int on_statistics(void *arg, uint32_t stream, const struct stream_statistics *s)
{
	struct recording *r = arg;
	struct place *at = find_place(r, stream);

	if (!at)
		return 0;
	take_statistics(at->process, s);
	if (r->realtime_stats)
		print_rate(r, at->process, s);
	if (at->process->model && model_handler.statistics)
		return model_handler.statistics(at->process->model, at->number, s);
	return 0;
}

static int on_summary(void *arg, uint32_t stream, const struct stream_summary *s)
{
	struct recording *r = arg;
	struct place *at = find_place(r, stream);
	struct recording_facts *f = at ? &at->process->facts : NULL;

	if (!at)
		return 0;
	take_statistics(at->process, &s->totals);
	memcpy(f->end, s->end, sizeof(s->end));
	memcpy(f->detail, s->detail, sizeof(s->detail));
	f->ended = true;
	if (at->process->model && model_handler.summary)
		return model_handler.summary(at->process->model, at->number, s);
	return 0;
}

static void on_warning(void *arg, const char *text)
{
	struct recording *r = arg;
	struct model *m = r->processes[0]->model;

	/* Of a live stream that just stops record_finish() says more than the reader can know. */
	if (r->live_end)
		return;
	r->processes[0]->facts.warnings++;
	if (r->input)
		message("warning: %s: %s", message_text(r->input), message_text(text));
	else
		message("warning: %s", message_text(text));
	if (m && model_handler.warning)
		model_handler.warning(m, text);
}

/* The others go to the model as they are: they get the recording as argument. */
#define PASS(name, parameters, arguments)                                                          \
	static int on_##name parameters                                                            \
	{                                                                                          \
		struct recording *r = arg;                                                         \
		struct model *model = find_model(r, stream);                                       \
		uint32_t number;                                                                   \
                                                                                                   \
		if (!model || !model_handler.name)                                                 \
			return 0;                                                                  \
		number = r->places[stream].number;                                                 \
		return model_handler.name arguments;                                               \
	}
PASS(segment, (void *arg, uint32_t stream, uint32_t segment), (model, number, segment))
PASS(string, (void *arg, uint32_t stream, uint32_t id, const struct stream_string *s),
     (model, number, id, s))
PASS(function, (void *arg, uint32_t stream, uint32_t id, const struct stream_function *f),
     (model, number, id, f))
PASS(frame, (void *arg, uint32_t stream, uint32_t id, const struct stream_frame *f),
     (model, number, id, f))
PASS(op, (void *arg, uint32_t stream, uint32_t frame, uint16_t op), (model, number, frame, op))
PASS(stack, (void *arg, uint32_t stream, uint32_t id, const struct stream_stack *s),
     (model, number, id, s))
PASS(thread, (void *arg, uint32_t stream, uint32_t id, const struct stream_thread *t),
     (model, number, id, t))
PASS(task, (void *arg, uint32_t stream, uint32_t id, const struct stream_task *t),
     (model, number, id, t))
PASS(task_state, (void *arg, uint32_t stream, const struct stream_task_state *s),
     (model, number, s))
PASS(tasks, (void *arg, uint32_t stream, const struct stream_tasks *t), (model, number, t))
PASS(wait, (void *arg, uint32_t stream, const struct stream_wait *w), (model, number, w))
PASS(gap,
     (void *arg, uint32_t stream, uint64_t time_ns, uint32_t thread, uint64_t count,
      enum stream_lost reason),
     (model, number, time_ns, thread, count, reason))
PASS(damage, (void *arg, uint32_t stream, uint64_t samples), (model, number, samples))

static int on_samples(void *arg, uint32_t stream, const struct stream_batch *b)
{
	struct recording *r = arg;
	struct place *at = find_place(r, stream);

	if (!at)
		return 0;
	at->process->facts.samples += b->n;
	return at->process->model ? model_handler.samples(at->process->model, at->number, b) : 0;
}

const struct stream_handler recording_handler = {
	.header = on_header,
	.segment = on_segment,
	.string = on_string,
	.function = on_function,
	.frame = on_frame,
	.op = on_op,
	.stack = on_stack,
	.thread = on_thread,
	.task = on_task,
	.samples = on_samples,
	.task_state = on_task_state,
	.tasks = on_tasks,
	.wait = on_wait,
	.gap = on_gap,
	.statistics = on_statistics,
	.summary = on_summary,
	.damage = on_damage,
	.warning = on_warning,
};

int recording_explain(int e, const char *what)
{
	if (e == -EINVAL)
		message("%s is not a recording of pyprof or of profiling.sampling",
			message_text(what));
	else if (e == -EPROTONOSUPPORT)
		message("%s was recorded by a later pyprof: this one cannot read it",
			message_text(what));
	else
		message("cannot read %s: %s", message_text(what), strerror(-e));
	return STATUS_FAILED;
}

static void show_progress(const struct recording *r)
{
	const struct recording_facts *f = &r->processes[0]->facts;

	progress_show("%s process %d: %.0f s, %llu samples",
		      recording_asked_to_end() ? "ending the recording of" : "recording",
		      f->header.pid, (double)f->totals.elapsed_ns / 1e9,
		      (unsigned long long)f->samples);
}

int recording_begin(struct recording *r, const struct recording_sink *sink)
{
	struct recording_process *main = r->processes[0];
	int e;

	r->file = sink->file;
	r->file_name = sink->file_name;
	r->model = sink->model;
	r->apart = sink->apart;
	r->question = sink->question;
	r->family = sink->family;
	r->realtime_stats = sink->realtime_stats;
	main->model = sink->model;
	main->model_streams = &r->model_streams;
	r->feeding = main;
	e = stream_reader_new(&r->reader, &recording_handler, r);
	return e < 0 ? recording_explain(e, "the recording") : 0;
}

struct recording_process *recording_add(struct recording *r)
{
	struct recording_process *p = add_process(r);

	if (!p)
		return NULL;
	p->model = r->model;
	p->model_streams = &r->model_streams;
	if (r->apart && model_new(&p->model, r->question) < 0) {
		free(r->processes[--r->process_count]);
		return NULL;
	}
	if (r->apart)
		p->model_streams = &p->own_streams;
	return p;
}

struct recording_process *recording_main(struct recording *r)
{
	return r->processes[0];
}

struct recording_facts *recording_process_facts(struct recording_process *p)
{
	return &p->facts;
}

const struct model *recording_process_model(const struct recording_process *p)
{
	return p->model;
}

int recording_piece(struct recording *r, struct recording_process *p, const void *bytes,
		    size_t size)
{
	int e;

	if (r->file && (fwrite(bytes, 1, size, r->file) != size || fflush(r->file) != 0)) {
		message("cannot write %s: %s", message_text(r->file_name), strerror(errno));
		return STATUS_FAILED;
	}
	r->feeding = p;
	e = stream_reader_feed(r->reader, bytes, size);
	return e < 0 ? recording_explain(e, "what the session sends") : 0;
}

static void add_facts(struct recording_facts *to, const struct recording_facts *f)
{
	add_statistics(&to->totals, &f->totals);
	to->samples += f->samples;
	to->streams += f->streams;
}

void recording_fold(struct recording *r, struct recording_process *p)
{
	size_t i = 0;

	/* What is said of each at the end is said of some only. */
	while (i < r->process_count && r->processes[i] != p)
		i++;
	if (r->apart && i > 0) {
		model_free(p->model);
		p->model = NULL;
	}
	if (i < RECORDING_TOLD || i == r->process_count)
		return;
	add_facts(&r->rest, &p->facts);
	r->folded++;
	for (uint32_t k = 0; k < r->place_count; k++)
		if (r->places[k].process == p)
			r->places[k].process = NULL;
	if (r->feeding == p)
		r->feeding = r->processes[0];
	free(p);
	memmove(&r->processes[i], &r->processes[i + 1],
		(--r->process_count - i) * sizeof(struct recording_process *));
}

size_t recording_tell(const struct recording *r, struct recording_facts *ret_all,
		      struct recording_facts *ret_rest, const struct recording_facts **ret,
		      size_t max)
{
	size_t n = 0, others = r->folded;

	memset(ret_all, 0, sizeof(*ret_all));
	*ret_rest = r->rest;
	*ret_all = r->rest;
	for (size_t i = 0; i < r->process_count; i++) {
		const struct recording_facts *f = &r->processes[i]->facts;

		if (!f->streams)
			continue;
		add_facts(ret_all, f);
		if (n < max) {
			ret[n++] = f;
		} else {
			add_facts(ret_rest, f);
			others++;
		}
	}
	ret_rest->streams = (uint32_t)others;
	ret_all->streams = (uint32_t)(n + others);
	return n;
}

int recording_end(struct recording *r)
{
	struct recording_facts all, rest;
	int e = 0;

	r->live_end = true;
	/* Nothing at all came: that too is said by who looks at the facts. */
	recording_tell(r, &all, &rest, NULL, 0);
	if (all.streams > 0)
		e = stream_reader_finish(r->reader);
	stream_reader_free(r->reader);
	r->reader = NULL;
	progress_wipe();
	return e < 0 ? recording_explain(e, "what the session sends") : 0;
}

/* The pieces of the one session, to their end. 0 or a status, and a line. */
static int take_pieces(struct recording *r)
{
	for (;;) {
		const void *piece;
		size_t size;
		int status;

		switch (wait_for_word(r, &piece, &size, show_progress)) {
		case SOURCE_PIECE:
			status = recording_piece(r, r->processes[0], piece, size);
			if (status)
				return status;
			break;
		case SOURCE_STRANGE:
			message("%s", source_text(r->main));
			return STATUS_FAILED;
		default:
			return 0;
		}
	}
}

int recording_take(struct recording *r, FILE *file, const char *file_name, struct model *model,
		   bool realtime_stats)
{
	const struct recording_sink sink = {.file = file,
					    .file_name = file_name,
					    .model = model,
					    .realtime_stats = realtime_stats};
	int status = recording_begin(r, &sink), end;

	if (status)
		return status;
	status = take_pieces(r);
	end = recording_end(r);
	return status ? status : end;
}
