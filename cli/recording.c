#include "cli/recording.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli/message.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "daemon/session.h"

#define BUFFER_SIZE (256 * 1024)

struct recording {
	int fd;
	pid_t monitor; /* 0: a daemon's session */
	struct recording_facts facts;
	struct stream_statistics before; /* of the streams before the present one */
	bool realtime_stats, live_end;
	struct stream_statistics last; /* for --realtime-stats */
	struct model *model;
	char buffer[BUFFER_SIZE];
};

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
	if (signals > (forward_to ? 2 : 1)) {
		signal(sig, SIG_DFL);
		raise(sig);
	}
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

static bool asked_to_end(void)
{
	return signals > (forward_to ? 1 : 0);
}

/* ---- the session ---- */

int recording_open(struct recording **ret, const struct options *o, bool embedded)
{
	const char *path = o->socket ? o->socket : SESSION_SOCKET_PATH;
	struct recording *r = calloc(1, sizeof(*r));
	int e;

	if (!r) {
		message("out of memory");
		return STATUS_FAILED;
	}
	r->fd = -1;
	e = embedded || o->no_daemon ? -ENOENT : session_connect(&r->fd, path);
	if (e < 0 && o->socket && !embedded && !o->no_daemon) {
		message("cannot use the daemon at %s: %s", message_text(path),
			e == -EPERM ? "it is neither root's nor ours" : strerror(-e));
		recording_free(r);
		return STATUS_FAILED;
	}
	if (e < 0)
		e = session_spawn(&r->fd, &r->monitor);
	if (e < 0) {
		message("cannot start the session: %s", strerror(-e));
		recording_free(r);
		return STATUS_FAILED;
	}
	*ret = r;
	return 0;
}

void recording_free(struct recording *r)
{
	if (!r)
		return;
	/* The session sees the end of its client and leaves. */
	if (r->fd >= 0)
		close(r->fd);
	if (r->monitor > 0)
		while (waitpid(r->monitor, NULL, 0) < 0 && errno == EINTR)
			;
	free(r);
}

pid_t recording_monitor(const struct recording *r)
{
	return r->monitor;
}

const struct recording_facts *recording_facts(const struct recording *r)
{
	return &r->facts;
}

int recording_ask(struct recording *r, const struct protocol_request *q)
{
	return send(r->fd, q, sizeof(*q), MSG_NOSIGNAL) == sizeof(*q) ? 0 : STATUS_FAILED;
}

int recording_answer(struct recording *r, bool *ret_waiting, char text[PROTOCOL_TEXT_SIZE])
{
	struct protocol_reply reply;
	char *p = (char *)&reply;
	size_t left = sizeof(reply);
	bool told = false;
	int e;

	while (left > 0) {
		struct pollfd fd = {.fd = r->fd, .events = POLLIN};
		ssize_t n;

		if (asked_to_end() && !told) {
			told = true;
			shutdown(r->fd, SHUT_WR);
		}
		if (poll(&fd, 1, told ? -1 : 100) <= 0)
			continue;
		n = recv(r->fd, p, left, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			snprintf(text, PROTOCOL_TEXT_SIZE, "the session ended without an answer");
			return STATUS_FAILED;
		}
		p += n;
		left -= (size_t)n;
	}
	e = protocol_reply_check(&reply);
	if (e < 0) {
		snprintf(text, PROTOCOL_TEXT_SIZE, "%s",
			 e == -EPROTONOSUPPORT ? "the daemon is of another version"
					       : "the answer is no session's");
		return STATUS_FAILED;
	}
	*ret_waiting = reply.waiting == PROTOCOL_WAITING;
	memcpy(text, reply.text, PROTOCOL_TEXT_SIZE);
	return (int)reply.status;
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

static void take_statistics(struct recording *r, const struct stream_statistics *s)
{
	r->facts.totals = r->before;
	add_statistics(&r->facts.totals, s);
}

static uint64_t lost_sum(const struct stream_statistics *s)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < STREAM_LOST_COUNT; i++)
		sum += s->lost[i];
	return sum;
}

/* What the last second brought. */
static void print_rate(struct recording *r, const struct stream_statistics *s)
{
	uint64_t ns = s->elapsed_ns - r->last.elapsed_ns;
	uint64_t achieved = s->achieved - r->last.achieved;

	if (ns < 900000000)
		return;
	message("%.0f s: %.1f samples/s, missed %llu, lost %llu, by a stop %llu, <moving> %llu; "
		"the "
		"sampler used %.1f %% of a CPU, %.2f reads a sample",
		(double)s->elapsed_ns / 1e9, (double)achieved * 1e9 / (double)ns,
		(unsigned long long)(s->missed - r->last.missed),
		(unsigned long long)(lost_sum(s) - lost_sum(&r->last)),
		(unsigned long long)(s->stopped - r->last.stopped),
		(unsigned long long)(s->moving - r->last.moving),
		(double)(s->sampler_cpu_ns - r->last.sampler_cpu_ns) * 100 / (double)ns,
		achieved ? (double)(s->calls - r->last.calls) / (double)achieved : 0);
	r->last = *s;
}

static int on_header(void *arg, uint32_t stream, const struct stream_header *h)
{
	struct recording *r = arg;

	r->facts.header = *h;
	r->facts.streams++;
	r->facts.ended = false;
	r->before = r->facts.totals;
	memset(&r->last, 0, sizeof(r->last));
	return r->model ? model_handler.header(r->model, stream, h) : 0;
}

static int on_statistics(void *arg, uint32_t stream, const struct stream_statistics *s)
{
	struct recording *r = arg;

	take_statistics(r, s);
	if (r->realtime_stats)
		print_rate(r, s);
	if (r->model && model_handler.statistics)
		return model_handler.statistics(r->model, stream, s);
	return 0;
}

static int on_summary(void *arg, uint32_t stream, const struct stream_summary *s)
{
	struct recording *r = arg;

	take_statistics(r, &s->totals);
	memcpy(r->facts.end, s->end, sizeof(s->end));
	memcpy(r->facts.detail, s->detail, sizeof(s->detail));
	r->facts.ended = true;
	if (r->model && model_handler.summary)
		return model_handler.summary(r->model, stream, s);
	return 0;
}

static void on_warning(void *arg, const char *text)
{
	struct recording *r = arg;

	/* Of a live stream that just stops record_finish() says more than the reader can know. */
	if (r->live_end)
		return;
	r->facts.warnings++;
	message("warning: %s", message_text(text));
	if (r->model && model_handler.warning)
		model_handler.warning(r->model, text);
}

/* The others go to the model as they are: they get the recording as argument. */
#define PASS(name, parameters, arguments)                                                          \
	static int on_##name parameters                                                            \
	{                                                                                          \
		struct recording *r = arg;                                                         \
                                                                                                   \
		return r->model && model_handler.name ? model_handler.name arguments : 0;          \
	}
PASS(segment, (void *arg, uint32_t stream, uint32_t number), (r->model, stream, number))
PASS(string, (void *arg, uint32_t stream, uint32_t id, const struct stream_string *s),
     (r->model, stream, id, s))
PASS(function, (void *arg, uint32_t stream, uint32_t id, const struct stream_function *f),
     (r->model, stream, id, f))
PASS(frame, (void *arg, uint32_t stream, uint32_t id, const struct stream_frame *f),
     (r->model, stream, id, f))
PASS(op, (void *arg, uint32_t stream, uint32_t frame, uint16_t op), (r->model, stream, frame, op))
PASS(stack, (void *arg, uint32_t stream, uint32_t id, const struct stream_stack *s),
     (r->model, stream, id, s))
PASS(thread, (void *arg, uint32_t stream, uint32_t id, const struct stream_thread *t),
     (r->model, stream, id, t))
PASS(gap,
     (void *arg, uint32_t stream, uint64_t time_ns, uint32_t thread, uint64_t count,
      enum stream_lost reason),
     (r->model, stream, time_ns, thread, count, reason))
PASS(damage, (void *arg, uint32_t stream, uint64_t samples), (r->model, stream, samples))

static int on_samples(void *arg, uint32_t stream, const struct stream_batch *b)
{
	struct recording *r = arg;

	r->facts.samples += b->n;
	return r->model ? model_handler.samples(r->model, stream, b) : 0;
}

static const struct stream_handler handler = {
	.header = on_header,
	.segment = on_segment,
	.string = on_string,
	.function = on_function,
	.frame = on_frame,
	.op = on_op,
	.stack = on_stack,
	.thread = on_thread,
	.samples = on_samples,
	.gap = on_gap,
	.statistics = on_statistics,
	.summary = on_summary,
	.damage = on_damage,
	.warning = on_warning,
};

static int explain(int e, const char *what)
{
	if (e == -EINVAL)
		message("%s is not a recording of pyprof", message_text(what));
	else if (e == -EPROTONOSUPPORT)
		message("%s was recorded by a later pyprof: this one cannot read it",
			message_text(what));
	else
		message("cannot read %s: %s", message_text(what), strerror(-e));
	return STATUS_FAILED;
}

static void show_progress(const struct recording *r)
{
	progress_show("%s process %d: %.0f s, %llu samples",
		      asked_to_end() ? "ending the recording of" : "recording", r->facts.header.pid,
		      (double)r->facts.totals.elapsed_ns / 1e9,
		      (unsigned long long)r->facts.samples);
}

/* The bytes of the session, to their end. 0, -errno of the reader, or a status with a line. */
static int take_bytes(struct recording *r, FILE *file, const char *file_name,
		      struct stream_reader *reader)
{
	bool told = false;
	int e;

	for (;;) {
		/* A signal between the look and the poll is seen a moment later. */
		struct pollfd fd = {.fd = r->fd, .events = POLLIN};
		ssize_t n;

		if (asked_to_end() && !told) {
			told = true;
			shutdown(r->fd, SHUT_WR);
		}
		show_progress(r);
		n = poll(&fd, 1, told ? progress_timeout() : 250);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n <= 0)
			continue;
		n = recv(r->fd, r->buffer, sizeof(r->buffer), 0);
		if (n == 0)
			return 0;
		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (file &&
		    (fwrite(r->buffer, 1, (size_t)n, file) != (size_t)n || fflush(file) != 0)) {
			message("cannot write %s: %s", message_text(file_name), strerror(errno));
			return STATUS_FAILED;
		}
		e = stream_reader_feed(reader, r->buffer, (size_t)n);
		if (e < 0)
			return e;
	}
}

int recording_take(struct recording *r, FILE *file, const char *file_name, struct model *model,
		   bool realtime_stats)
{
	struct stream_reader *reader;
	int e;

	r->model = model;
	r->realtime_stats = realtime_stats;
	e = stream_reader_new(&reader, &handler, r);
	if (e == 0) {
		e = take_bytes(r, file, file_name, reader);
		r->live_end = true;
		/* Nothing at all came: that too is said by who looks at the facts. */
		if (e == 0 && r->facts.streams > 0)
			e = stream_reader_finish(reader);
		stream_reader_free(reader);
	}
	progress_wipe();
	return e < 0 ? explain(e, "what the session sends") : e;
}

/* ---- replay ---- */

static int feed_file(struct recording *r, int fd, struct stream_reader *reader)
{
	struct stat st;
	uint64_t done = 0;
	int e;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	for (;;) {
		ssize_t n = read(fd, r->buffer, sizeof(r->buffer));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return stream_reader_finish(reader);
		e = stream_reader_feed(reader, r->buffer, (size_t)n);
		if (e < 0)
			return e;
		done += (uint64_t)n;
		if (st.st_size > 0)
			progress_show("replaying: %.0f %%",
				      (double)done * 100 / (double)st.st_size);
	}
}

int recording_replay(const char *path, struct model *model)
{
	struct recording *r = calloc(1, sizeof(*r));
	struct stream_reader *reader = NULL;
	int fd = -1, e = r ? 0 : -ENOMEM;

	if (e == 0) {
		fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
		e = fd < 0 ? -errno : 0;
	}
	if (e < 0) {
		message("cannot read %s: %s", message_text(path), strerror(-e));
		free(r);
		return STATUS_FAILED;
	}
	r->model = model;
	e = stream_reader_new(&reader, &handler, r);
	if (e == 0)
		e = feed_file(r, fd, reader);
	progress_wipe();
	stream_reader_free(reader);
	close(fd);
	free(r);
	return e < 0 ? explain(e, path) : 0;
}
