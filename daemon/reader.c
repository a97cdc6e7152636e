#include "daemon/reader.h"

#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "daemon/cage.h"
#include "daemon/sieve.h"
#include "daemon/version.h"
#include "formats/stream-select.h"
#include "formats/stream.h"
#include "remote/clock.h"
#include "remote/hand.h"
#include "remote/sampler.h"
#include "remote/slice.h"
#include "remote/target.h"
#include "remote/tasks.h"

/* What is larger is mapped by itself, and gone when it is freed. */
#define MMAP_BYTES  (64 << 10)
#define SECOND	    1000000000ull
#define MILLISECOND 1000000ull
/* Samples wait in the ring this long at most before they are encoded: it holds those of a million a
 * second, and each look costs as much as some samples. */
#define ENCODER_SLEEP_NS 50000000
/* Between two looks at a process that is no readable Python yet: from, up to, and after a while. */
#define RETRY_FIRST_NS	    (MILLISECOND / 2)
#define RETRY_NS	    (5 * MILLISECOND)
#define RETRY_SLOW_NS	    (50 * MILLISECOND)
#define RETRY_SLOW_AFTER_NS (10 * SECOND)
/* A Python that has its runtime mapped is ready soon, if it is not stopped just there. */
#define NOT_READY_PATIENCE_NS (2 * SECOND)
/* While it starts, a runtime is half filled: a proof may fail that soon succeeds. */
#define UNPROVEN_PATIENCE_NS (SECOND / 4)

struct reader {
	const struct reader_setup *setup;
	struct proc_opener opener;
	struct target *target;
	struct sampler *sampler;
	struct hand *hand; /* NULL: there is none */
	struct stream_writer *writer;
	struct sieve *sieve; /* NULL: everything is written */
	uint64_t skipped;    /* by it */
	struct stream_definitions definitions;
	struct stream_summary summary; /* end and detail, set before sampled */
	int wake;		       /* eventfd: the encoder shall look */
	uint64_t next_statistics_ns;
	_Atomic bool stop;     /* the recording shall end */
	_Atomic bool execed;   /* because the process executed another program */
	_Atomic bool encoding; /* sampler and writer are there */
	_Atomic bool sampled;  /* nothing more comes into the ring */
};

static void sleep_ns(uint64_t ns)
{
	struct timespec ts = {(time_t)(ns / SECOND), (long)(ns % SECOND)};

	nanosleep(&ts, NULL);
}

static void wake_encoder(struct reader *r)
{
	const uint64_t one = 1;

	(void)!write(r->wake, &one, sizeof(one));
}

/* ---- talking with the monitor ---- */

static int tell(const struct reader *r, const struct reader_message *m)
{
	ssize_t n;

	do
		n = send(r->setup->control, m, sizeof(*m), MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

static void __attribute__((noreturn, format(printf, 3, 4)))
fail(const struct reader *r, enum pyprof_status status, const char *format, ...)
{
	struct reader_message m = {.kind = READER_FAILED, .status = status};
	va_list ap;

	va_start(ap, format);
	vsnprintf(m.text, sizeof(m.text), format, ap);
	va_end(ap);
	tell(r, &m);
	_exit(0);
}

static int open_by_monitor(void *arg, enum proc_file file, uint64_t a, uint64_t b)
{
	struct reader *r = arg;
	struct reader_message m = {.kind = READER_OPEN, .file = file, .a = a, .b = b};
	struct monitor_answer answer;
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = {&answer, sizeof(answer)};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = &control,
			     .msg_controllen = sizeof(control)};
	const struct cmsghdr *c;
	ssize_t n;
	int fd;

	if (tell(r, &m) < 0)
		_exit(0);
	do
		n = recvmsg(r->setup->control, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n != sizeof(answer))
		_exit(0); /* the monitor is gone */
	if (answer.status < 0)
		return answer.status;
	c = CMSG_FIRSTHDR(&msg);
	if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS ||
	    c->cmsg_len != CMSG_LEN(sizeof(int)))
		return -EIO;
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

/* ---- the encoder's thread ---- */

static int sink(void *arg, const void *bytes, size_t len)
{
	struct reader *r = arg;
	const char *p = bytes;

	while (len > 0) {
		ssize_t n = write(r->setup->out, p, len);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static bool define_string(void *arg, uint32_t id, struct stream_string *ret)
{
	const struct table_string *s = tables_get_string(arg, id);

	if (s)
		*ret = (struct stream_string){s->bytes, s->len};
	return s != NULL;
}

static bool define_function(void *arg, uint32_t id, struct stream_function *ret)
{
	static const uint8_t kinds[] = {
		[FRAME_PYTHON] = STREAM_FRAME_PYTHON,
		[FRAME_MOVING] = STREAM_FRAME_MOVING,
		[FRAME_TRUNCATED] = STREAM_FRAME_TRUNCATED,
		[FRAME_NATIVE] = STREAM_FRAME_NATIVE,
		[FRAME_GC] = STREAM_FRAME_GC,
		[FRAME_TASK] = STREAM_FRAME_TASK,
	};
	const struct table_function *f = tables_get_function(arg, id);

	if (f)
		*ret = (struct stream_function){f->name, f->file, f->first_line, kinds[f->kind]};
	return f != NULL;
}

static bool define_frame(void *arg, uint32_t id, struct stream_frame *ret)
{
	const struct table_frame *f = tables_get_frame(arg, id);

	if (f)
		*ret = (struct stream_frame){f->function, f->line,	 f->end_line,
					     f->column,	  f->end_column, (uint16_t)f->op};
	return f != NULL;
}

static bool define_stack(void *arg, uint32_t id, struct stream_stack *ret)
{
	const struct table_stack *s = tables_get_stack(arg, id);

	if (s)
		*ret = (struct stream_stack){s->parent, s->frame};
	return s != NULL;
}

static bool define_thread(void *arg, uint32_t id, struct stream_thread *ret)
{
	const struct table_thread *t = tables_get_thread(arg, id);

	if (t)
		*ret = (struct stream_thread){.tid = t->tid,
					      .ident = t->ident,
					      .interpreter = t->interpreter,
					      .name = t->name,
					      .main = t->main};
	return t != NULL;
}

static bool define_task(void *arg, uint32_t id, struct stream_task *ret)
{
	const struct table_task *t = tables_get_task(arg, id);

	if (t)
		*ret = (struct stream_task){t->addr, t->loop, t->thread, t->name};
	return t != NULL;
}

static void get_statistics(const struct reader *r, struct stream_statistics *ret)
{
	static const enum stream_lost reasons[] = {
		[LOST_UNREADABLE] = STREAM_LOST_UNREADABLE,
		[LOST_EXITED] = STREAM_LOST_EXITED,
		[LOST_TORN] = STREAM_LOST_TORN,
		[LOST_MEMORY] = STREAM_LOST_MEMORY,
		[LOST_BACKPRESSURE] = STREAM_LOST_BACKPRESSURE,
	};
	const struct sampler_counts *c = sampler_counts(r->sampler);

	*ret = (struct stream_statistics){
		.due = c->due,
		.achieved = c->achieved,
		.missed = c->missed,
		.free = c->free,
		.stopped = c->stopped,
		.moving = c->moving,
		.repeats = c->repeats,
		.ticks = c->ticks,
		.skipped = r->skipped,
		.calls = c->calls,
		.bytes = c->bytes,
		.stops = c->stops,
		.stop_ns = c->stop_ns,
		.sampler_cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID),
		.elapsed_ns = c->now_ns - c->start_ns,
		.threads = (uint32_t)c->threads,
		.threads_total = (uint32_t)c->threads_total,
		.stops_refused = c->stops_refused,
	};
	for (size_t i = 0; i < LOST_REASON_COUNT; i++)
		ret->lost[reasons[i]] += c->lost[i];
}

static int write_sample(struct reader *r, const struct sample *s, uint16_t more)
{
	const struct stream_sample out = {.time_ns = s->time_ns,
					  .cpu_ns = s->cpu_ns,
					  .thread = s->thread,
					  .stack = s->stack,
					  .state = s->state | more,
					  .how = s->how,
					  .task = s->task,
					  .below = s->below};

	return stream_writer_sample(r->writer, &out);
}

/* Through the sieve: what it leaves, and the sample before where that is needed. */
static int sift(struct reader *r, const struct sample *s)
{
	const struct sample *before;
	int e = 0;

	if (!sieve_takes(r->sieve, sampler_tables(r->sampler), s, &before)) {
		r->skipped++;
		return 0;
	}
	if (before) {
		r->skipped--;
		e = write_sample(r, before, STREAM_STATE_UNASKED);
	}
	return e < 0 ? e : write_sample(r, s, 0);
}

static int encode_task(struct reader *r, const struct sample *s)
{
	static const uint8_t states[] = {
		[TASK_PENDING] = STREAM_TASK_PENDING, [TASK_RUNNING] = STREAM_TASK_RUNNING};
	static const uint8_t problems[] = {[TASK_FINE] = STREAM_TASK_FINE,
					   [TASK_MOVED] = STREAM_TASK_MOVED,
					   [TASK_UNREADABLE] = STREAM_TASK_UNREADABLE};
	const struct tables *tables = sampler_tables(r->sampler);
	struct stream_task_state out = {.time_ns = s->time_ns,
					.task = s->thread,
					.stack = s->stack,
					.state = states[s->state],
					.problem = problems[s->how]};
	uint32_t *awaiters = NULL, n = 0;
	const struct table_awaiter *a;
	int e;

	for (uint32_t id = s->gather_ns; (a = tables_get_awaiter(tables, id)); id = a->next)
		n++;
	if (n) {
		awaiters = calloc(n, sizeof(*awaiters));
		if (!awaiters)
			return -ENOMEM;
	}
	for (uint32_t id = s->gather_ns; (a = tables_get_awaiter(tables, id)); id = a->next)
		awaiters[out.n_awaiters++] = a->task;
	out.awaiters = awaiters;
	e = stream_writer_task(r->writer, &out);
	free(awaiters);
	return e;
}

static int encode_tasks(struct reader *r, const struct sample *s)
{
	static const uint8_t found[] = {[TASKS_FOUND] = STREAM_TASKS_FOUND,
					[TASKS_NO_ASYNCIO] = STREAM_TASKS_NO_ASYNCIO,
					[TASKS_UNKNOWN] = STREAM_TASKS_UNKNOWN,
					[TASKS_NO_GREENLETS] = STREAM_TASKS_NO_GREENLETS};
	const struct stream_tasks out = {
		.time_ns = s->time_ns, .total = s->stack, .found = found[s->state], .more = s->how};

	return stream_writer_tasks(r->writer, &out);
}

static int encode_wait(struct reader *r, const struct sample *s)
{
	const struct stream_wait out = {.time_ns = s->time_ns,
					.ns = s->cpu_ns,
					.count = s->task,
					.thread = s->thread,
					.stack = s->stack};

	if (r->sieve && !sieve_takes_wait(r->sieve, sampler_tables(r->sampler), s))
		return 0;
	return stream_writer_wait(r->writer, &out);
}

static int encode(struct reader *r, const struct sample *s)
{
	switch ((enum sample_kind)s->kind) {
	case SAMPLE_STACK:
		return r->sieve ? sift(r, s) : write_sample(r, s, 0);
	case SAMPLE_GAP:
		return stream_writer_gap(r->writer, s->time_ns, s->thread, s->stack,
					 (enum stream_lost)s->how);
	case SAMPLE_TASK:
		return encode_task(r, s);
	case SAMPLE_TASKS:
		return encode_tasks(r, s);
	case SAMPLE_WAIT:
		return encode_wait(r, s);
	case SAMPLE_TABLES:
		r->definitions.arg = (void *)sampler_tables(r->sampler);
		sieve_forget(r->sieve);
		return stream_writer_redefine(r->writer, &r->definitions);
	}
	return 0;
}

/* Takes what there is out of the ring. One at a time: the tables of a sample are only promised up
 * to the next pop that crosses a SAMPLE_TABLES. Returns how many, or -errno. */
static int drain(struct reader *r)
{
	struct sample s;
	int n = 0, e;

	/* Bounded, so that statistics and polls are not put off for ever at full speed. */
	while (n < 4096 && sampler_pop(r->sampler, &s, 1) == 1) {
		e = encode(r, &s);
		if (e < 0)
			return e;
		n++;
	}
	return n;
}

/* Each second, or with each chunk where those come faster: the end of the recording may be lost. */
static uint64_t statistics_interval(const struct reader *r)
{
	uint64_t chunk = r->setup->request.chunk_ns;

	return chunk && chunk < SECOND ? chunk : SECOND;
}

static int encode_more(struct reader *r, bool *ret_idle)
{
	uint64_t now;
	int n;

	n = drain(r);
	if (n < 0)
		return n;
	*ret_idle = n == 0;
	now = clock_now_ns();
	if (now >= r->next_statistics_ns) {
		struct stream_statistics s;
		int e;

		r->next_statistics_ns = now + statistics_interval(r);
		get_statistics(r, &s);
		e = stream_writer_statistics(r->writer, &s);
		if (e < 0)
			return e;
	}
	return stream_writer_poll(r->writer, now);
}

static void encoder_wait(struct reader *r)
{
	struct pollfd fds[] = {{.fd = r->setup->stop, .events = POLLIN},
			       {.fd = r->wake, .events = POLLIN}};
	const struct timespec timeout = {0, (long)ENCODER_SLEEP_NS};
	uint64_t value;

	/* Once is enough. */
	if (r->stop)
		fds[0].fd = -1;
	/* Before there is anything to encode only the two descriptors matter. */
	if (ppoll(fds, 2, r->encoding ? &timeout : NULL, NULL) <= 0)
		return;
	if (fds[0].revents) {
		if (read(r->setup->stop, &value, sizeof(value)) == sizeof(value))
			r->execed = value >= READER_STOP_EXEC;
		r->stop = true;
	}
	if (fds[1].revents)
		(void)!read(r->wake, &value, sizeof(value));
}

static void *encoder_main(void *arg)
{
	struct reader *r = arg;
	int e = 0;

	while (!r->encoding)
		encoder_wait(r);
	r->next_statistics_ns = clock_now_ns() + SECOND;
	for (;;) {
		/* Read before the ring is: what was put there before the flag is then seen. */
		bool last = r->sampled, idle = true;

		e = encode_more(r, &idle);
		if (e < 0 || (last && idle))
			break;
		if (idle)
			encoder_wait(r);
	}
	if (e < 0) {
		/* Nobody takes the recording any more. */
		r->stop = true;
		return (void *)(intptr_t)e;
	}
	get_statistics(r, &r->summary.totals);
	return (void *)(intptr_t)stream_writer_finish(r->writer, &r->summary);
}

/* ---- opening the target ---- */

static bool try_again(const struct reader *r, enum target_problem problem, uint64_t waited)
{
	uint64_t patience = 0;

	switch (problem) {
	case TARGET_NOT_PYTHON:
		break;
	case TARGET_NOT_READY:
		patience = NOT_READY_PATIENCE_NS;
		break;
	case TARGET_UNPROVEN:
		return waited < UNPROVEN_PATIENCE_NS + r->setup->wait_ns / 8;
	default:
		return false;
	}
	if (patience < r->setup->wait_ns)
		patience = r->setup->wait_ns;
	return waited < patience;
}

static void __attribute__((noreturn))
give_up(const struct reader *r, enum target_problem problem, const char *detail)
{
	int pid = r->setup->request.pid;

	switch (problem) {
	case TARGET_NOT_PYTHON:
		fail(r, STATUS_NOT_PYTHON, "process %d is not a Python", pid);
	case TARGET_UNSUPPORTED:
		fail(r, STATUS_NOT_PYTHON,
		     "process %d runs %s, which pyprof cannot read: it reads CPython 3.8 to 3.15 "
		     "on x86-64",
		     pid, detail[0] ? detail : "an unknown Python");
	case TARGET_NOT_READY:
		fail(r, STATUS_NOT_PYTHON, "process %d is a Python that has not started up yet%s%s",
		     pid, detail[0] ? ": " : "", detail);
	case TARGET_UNPROVEN:
		fail(r, STATUS_NOT_PYTHON,
		     "process %d runs %s, but its memory is not laid out as that version's", pid,
		     detail[0] ? detail : "a Python");
	case TARGET_GONE:
		fail(r, STATUS_TARGET_ENDED, "process %d ended before there was anything to show",
		     pid);
	case TARGET_REFUSED:
		fail(r, STATUS_NOT_PERMITTED, "reading process %d is not permitted", pid);
	case TARGET_OK:
		break;
	}
	fail(r, STATUS_FAILED, "cannot open process %d%s%s", pid, detail[0] ? ": " : "", detail);
}

static void open_target(struct reader *r)
{
	uint64_t start = clock_now_ns(), pause = RETRY_FIRST_NS;
	enum target_problem problem;
	char detail[256] = "";

	for (;;) {
		uint64_t waited;

		problem =
			target_open(&r->target, r->setup->pid, &r->opener, detail, sizeof(detail));
		if (problem == TARGET_OK)
			return;
		if (r->stop)
			fail(r, STATUS_TARGET_ENDED,
			     "stopped before process %d was a Python: nothing to show",
			     r->setup->request.pid);
		waited = clock_now_ns() - start;
		if (!try_again(r, problem, waited))
			give_up(r, problem, detail);
		sleep_ns(pause);
		pause += pause / 2;
		if (waited > RETRY_SLOW_AFTER_NS)
			pause = RETRY_SLOW_NS;
		else if (pause > RETRY_NS)
			pause = RETRY_NS;
	}
}

/* ---- the recording ---- */

/* cmdline as the kernel has it, arguments ended by NUL, to one line. */
static void read_command(const struct reader_setup *setup, char *ret, size_t size)
{
	ssize_t n = -1;

	if (setup->cmdline >= 0)
		n = pread(setup->cmdline, ret, size - 1, 0);
	if (n < 0)
		n = 0;
	while (n > 0 && !ret[n - 1])
		n--;
	for (ssize_t i = 0; i < n; i++)
		if (!ret[i])
			ret[i] = ' ';
	ret[n] = '\0';
}

/* Which samples are written, where not all are: as the options that ask for them. */
static void describe_selection(const struct protocol_request *q, char *ret, size_t size)
{
	const char *const patterns[][2] = {
		{"thread", q->thread}, {"function", q->function}, {"source", q->source}};
	int n = 0;

	for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++)
		if (patterns[i][1][0])
			n += snprintf(ret + n, size - (size_t)n, "%s--%s %s", n ? " " : "",
				      patterns[i][0], patterns[i][1]);
}

static void add_word(char *to, size_t size, const char *word)
{
	size_t n = strlen(to);

	snprintf(to + n, size - n, "%s%s", n ? " " : "", word);
}

static void list_collected(const struct reader *r, struct stream_header *h)
{
	const struct layout *l = &r->target->layout;
	const struct protocol_request *q = &r->setup->request;
	bool kernel = q->flags & PROTOCOL_CPU_TIME || q->command != PROTOCOL_RECORD ||
		      (q->interval_ns && q->interval_ns >= SECOND / SAMPLER_CPU_TIME_RATE);
	const struct {
		const char *word;
		bool collected;
	} words[] = {
		{"gil", l->free_threaded
				? l->tstate.state != ABSENT
				: l->runtime.gil_locked != ABSENT || l->gil.locked != ABSENT},
		/* Of a thread's words; else the kernel tells, where it is asked. */
		{"gil-wait", !l->free_threaded && (l->tstate.gil_requested != ABSENT || kernel)},
		{"exception", l->tstate.current_exception != ABSENT},
		{"handling", l->tstate.exc_info != ABSENT},
		{"gc", l->interp.gc_collecting != ABSENT || l->runtime.gc_collecting != ABSENT},
		{"cpu", kernel},
		{"cpu-time", kernel},
		{"opcodes", q->flags & PROTOCOL_OPCODES},
		{"native", l->frame_style == FRAME_STYLE_INTERPRETER},
		{"async", q->flags & (PROTOCOL_TASKS_RUNNING | PROTOCOL_TASKS_ALL)},
		{"async-waits", q->flags & PROTOCOL_TASKS_ALL},
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (words[i].collected)
			add_word(h->collected, sizeof(h->collected), words[i].word);
		else
			add_word(h->not_collected, sizeof(h->not_collected), words[i].word);
}

static void fill_header(const struct reader *r, struct stream_header *h)
{
	static const char *const discoveries[] = {[PROTOCOL_NO_CHILDREN] = "",
						  [PROTOCOL_CONNECTOR] = "connector",
						  [PROTOCOL_CHILDREN] = "children",
						  [PROTOCOL_SCAN] = "scan"};
	const struct reader_setup *setup = r->setup;
	const struct layout *l = &r->target->layout;

	snprintf(h->host, sizeof(h->host), "%s", setup->host);
	snprintf(h->boot_id, sizeof(h->boot_id), "%s", setup->boot_id);
	read_command(setup, h->command, sizeof(h->command));
	snprintf(h->python, sizeof(h->python), "%s", r->target->version);
	snprintf(h->object, sizeof(h->object), "%s", r->target->object);
	for (size_t i = 0; i < r->target->build_id_len; i++)
		snprintf(h->build_id + 2 * i, 3, "%02x", r->target->build_id[i]);
	snprintf(h->mode, sizeof(h->mode), "%s",
		 mode_names[setup->request.mode ? setup->request.mode : MODE_WALL]);
	describe_selection(&setup->request, h->selected, sizeof(h->selected));
	list_collected(r, h);
	snprintf(h->pyprof, sizeof(h->pyprof), "%s", PYPROF_VERSION);
	h->free_threaded = l->free_threaded;
	h->all_threads = setup->request.flags & PROTOCOL_ALL_THREADS;
	h->blocking = setup->request.flags & PROTOCOL_BLOCKING;
	h->pid = setup->request.pid;
	h->parent = setup->request.parent;
	snprintf(h->subprocesses, sizeof(h->subprocesses), "%s",
		 discoveries[setup->request.discovery]);
	if (getrandom(&h->stream_id, sizeof(h->stream_id), GRND_NONBLOCK) < 0)
		h->stream_id = clock_ns(CLOCK_REALTIME) ^ ((uint64_t)setup->pid << 40);
	if (setup->request.interval_ns)
		h->rate_hz = 1e9 / (double)setup->request.interval_ns;
	h->stop_budget = setup->request.stop_budget_ppm / 1e6;
	h->start_monotonic_ns = clock_now_ns();
	h->start_real_ns = clock_ns(CLOCK_REALTIME);
	h->time_unit_ns = 1000;
}

static void prepare(struct reader *r)
{
	const struct protocol_request *q = &r->setup->request;
	const struct sampler_options options = {
		.interval_ns = q->interval_ns,
		.duration_ns = q->duration_ns,
		.max_ticks = q->command == PROTOCOL_RECORD ? 0 : 1,
		.all_threads = q->flags & PROTOCOL_ALL_THREADS,
		.blocking = q->flags & PROTOCOL_BLOCKING,
		.stop_budget = q->stop_budget_ppm / 1e6,
		.hand = r->hand,
		.tasks = q->flags & PROTOCOL_TASKS_ALL	     ? SAMPLER_TASKS_ALL
			 : q->flags & PROTOCOL_TASKS_RUNNING ? SAMPLER_TASKS_RUNNING
							     : SAMPLER_TASKS_NONE,
		.cpu_time = q->flags & PROTOCOL_CPU_TIME,
		.opcodes = q->flags & PROTOCOL_OPCODES,
	};
	const struct stream_writer_options writing = {
		.codec = (enum stream_codec)q->codec,
		.chunk_ns = q->chunk_ns ? q->chunk_ns : SECOND,
		.segment_ns = 10 * SECOND,
		.segment_bytes = 4 << 20,
	};
	const struct reader_message ready = {.kind = READER_READY};
	struct stream_header *h = calloc(1, sizeof(*h));
	int e;

	e = h ? sampler_new(&r->sampler, r->target, &options) : -ENOMEM;
	if (e == 0)
		e = sieve_new(&r->sieve, q);
	if (e < 0)
		fail(r, STATUS_FAILED, "cannot start sampling process %d: %s", q->pid,
		     strerror(-e));
	if (tell(r, &ready) < 0)
		_exit(0);
	fill_header(r, h);
	r->definitions = (struct stream_definitions){.arg = (void *)sampler_tables(r->sampler),
						     .string = define_string,
						     .function = define_function,
						     .frame = define_frame,
						     .stack = define_stack,
						     .thread = define_thread,
						     .task = define_task};
	e = stream_writer_new(&r->writer, h, &r->definitions, &writing, sink, r);
	free(h);
	if (e < 0)
		_exit(0);
}

static enum reader_end run(struct reader *r, pthread_t encoder)
{
	static const char *const ends[] = {
		[SAMPLER_STOPPED] = "stopped",	    [SAMPLER_DURATION] = "duration",
		[SAMPLER_EXITED] = "target exited", [SAMPLER_EXECED] = "exec",
		[SAMPLER_REFUSED] = "refused",	    [SAMPLER_MEMORY] = "error",
	};
	enum sampler_end end;

	r->encoding = true;
	wake_encoder(r);
	end = sampler_run(r->sampler, &r->stop);
	if (end == SAMPLER_STOPPED && r->execed)
		end = SAMPLER_EXECED;
	snprintf(r->summary.end, sizeof(r->summary.end), "%s", ends[end]);
	if (end == SAMPLER_MEMORY)
		snprintf(r->summary.detail, sizeof(r->summary.detail), "out of memory");
	r->sampled = true;
	wake_encoder(r);
	pthread_join(encoder, NULL);
	return end == SAMPLER_EXECED ? READER_END_EXEC : READER_END_DONE;
}

void reader_main(const struct reader_setup *setup)
{
	/* Static: it lives as long as the process does, which ends by _exit(). */
	static struct reader reader;
	struct reader *r = &reader;
	struct reader_message ended = {.kind = READER_ENDED};
	pthread_t encoder;
	sigset_t all, old;
	int e;

	r->setup = setup;
	r->opener = (struct proc_opener){open_by_monitor, r};
	/* Else it grows with what is freed, and old tables would leave holes in the heap. */
	mallopt(M_MMAP_THRESHOLD, MMAP_BYTES);
	signal(SIGPIPE, SIG_IGN);
	r->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	/* Its priority is a privilege. */
	hand_prepare();
	e = r->wake < 0 ? -errno : cage_drop(setup->monitor);
	if (e < 0)
		fail(r, STATUS_FAILED, "cannot give up privileges: %s", strerror(-e));
	/* The filter lets no thread be made, so they are made before. */
	if (hand_new(&r->hand) < 0)
		r->hand = NULL;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	e = -pthread_create(&encoder, NULL, encoder_main, r);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (e < 0)
		fail(r, STATUS_FAILED, "cannot start a thread: %s", strerror(-e));
	/* This thread samples. */
	(void)slice_shorten();
	e = cage_lock(setup->pid, r->hand ? hand_tid(r->hand) : 0);
	if (e < 0)
		fail(r, STATUS_FAILED, "cannot load the seccomp filter: %s", strerror(-e));
	open_target(r);
	prepare(r);
	ended.end = run(r, encoder);
	tell(r, &ended);
	_exit(0);
}
