#include "cli/family.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli/descendants.h"
#include "cli/message.h"
#include "cli/options.h"
#include "cli/processes.h"
#include "cli/progress.h"
#include "cli/recording.h"
#include "cli/refusal.h"
#include "cli/source.h"
#include "daemon/session.h"

#define MILLISECOND 1000000ull
#define SECOND	    (1000 * MILLISECOND)
#define NEVER	    UINT64_MAX
/* Most forks are followed by an exec at once: no session is started for what lasts no longer. */
#define FORK_GRACE_NS (2 * MILLISECOND)
/* What does not look like a Python is looked at again: as long after as it has lived, between
 * these. */
#define LOOK_MIN_NS (2 * MILLISECOND)
#define LOOK_MAX_NS SECOND
/* A program that no one has asked about is asked about once, by a session, if it lives this long.
 */
#define ASK_AGE_NS (20 * MILLISECOND)
#define MAX_OTHERS 256
/* Between two tries of a session that could not be had. */
#define POSTPONE_NS (SECOND / 4)
/* A fork that ends sooner, as where an exec fails, is nothing to be missed. */
#define MISSED_AGE_NS (10 * MILLISECOND)
/* Of one session, before the others have their turn. */
#define PIECES_AT_A_TIME 16
#define POLL_MAX_NS	 (SECOND / 4)
/* Those who end with the target need no line. */
#define SAY_OUTLIVED_NS (SECOND / 2)
/* Refusals that are told one by one. */
#define MAX_TOLD 3

enum member_state {
	MEMBER_LOOKED_AT, /* at look_ns: is it a Python? */
	MEMBER_ASKED,	  /* its session has not begun to record */
	MEMBER_RECORDED,
	MEMBER_UNREADABLE, /* until it executes something else */
	MEMBER_POSTPONED,  /* no session could be had */
};

struct member {
	pid_t pid, parent;
	uint64_t start; /* tells the process from another of the same pid */
	enum member_state state;
	/* When it forked or executed, is looked at next, and was seen to have ended. */
	uint64_t since_ns, look_ns, ended_ns;
	bool forked;	/* it still is the program of its parent */
	bool python;	/* it looks like one; else the session was asked only in case */
	bool of_python; /* who started it does */
	bool told;	/* that it cannot be read */
	bool served;	/* the daemon was asked, where our own session may not */
	bool ended;
	struct process_program program;
	struct source *source;
	struct recording_process *process; /* NULL: nothing was recorded */
};

struct family {
	const struct options *options;
	struct descendants *descendants;
	bool started, adopting;
	pid_t target;
	struct member **members;
	size_t count, cap, sessions;
	/* Programs that are no Python. */
	struct process_program others[MAX_OTHERS];
	size_t other_count;
	pid_t monitors[2 * FAMILY_MAX_SESSIONS]; /* to be reaped */
	size_t monitor_count;
	struct recording *recording;
	struct protocol_request request;
	const struct family_hooks *hooks;
	uint64_t end_ns;
	bool target_ended, ending, time_over;
	bool said_limit, said_outliving, said_lost, said_target;
	uint64_t outlived_ns; /* since when the target has ended, and others have not */
	size_t refused, refusals_told, missed, broken, unserved;
	char reason[PROTOCOL_TEXT_SIZE]; /* of the last refusal that was told */
	int status;			 /* ends everything */
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * SECOND + (uint64_t)ts.tv_nsec;
}

/* ---- our own children ---- */

static void forget_monitor(struct family *f, size_t i)
{
	descendants_ignore(f->descendants, f->monitors[i], false);
	f->monitors[i] = f->monitors[--f->monitor_count];
}

/* Those that have ended. wait: all of them, they are about to. */
static void reap_monitors(struct family *f, bool wait)
{
	for (size_t i = f->monitor_count; i-- > 0;) {
		pid_t r;

		do
			r = waitpid(f->monitors[i], NULL, wait ? 0 : WNOHANG);
		while (r < 0 && errno == EINTR);
		if (r != 0)
			forget_monitor(f, i);
	}
}

/* Who has lost its parent is ours then, and leaves its remains to us. The target is not reaped
 * here, nor what is ahead of it in the kernel's list: it is, soon. */
static void reap_adopted(const struct family *f)
{
	siginfo_t info;

	while (f->adopting) {
		info.si_pid = 0;
		if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || !info.si_pid)
			return;
		if (info.si_pid == f->target && !f->target_ended)
			return;
		for (size_t i = 0; i < f->monitor_count; i++)
			if (f->monitors[i] == info.si_pid)
				return;
		for (size_t i = 0; i < f->count; i++)
			if (f->members[i]->source &&
			    source_monitor(f->members[i]->source) == info.si_pid)
				return;
		waitpid(info.si_pid, NULL, WNOHANG);
	}
}

static void close_source(struct family *f, struct member *m)
{
	pid_t monitor = source_close(m->source);

	m->source = NULL;
	f->sessions--;
	if (monitor > 0) {
		if (f->monitor_count == sizeof(f->monitors) / sizeof(f->monitors[0]))
			reap_monitors(f, true);
		f->monitors[f->monitor_count++] = monitor;
	}
	/* There is room for who waits. */
	for (size_t i = 0; i < f->count; i++)
		if (f->members[i]->state == MEMBER_POSTPONED)
			f->members[i]->look_ns = 0;
}

/* ---- members ---- */

static struct member *find(const struct family *f, pid_t pid)
{
	for (size_t i = f->count; i-- > 0;)
		if (f->members[i]->pid == pid && !f->members[i]->ended)
			return f->members[i];
	return NULL;
}

static struct member *add(struct family *f, pid_t pid, pid_t parent, uint64_t start)
{
	struct member *m = calloc(1, sizeof(*m));

	if (m && f->count == f->cap) {
		size_t cap = f->cap ? 2 * f->cap : 16;
		struct member **members = reallocarray(f->members, cap, sizeof(struct member *));

		if (members) {
			f->members = members;
			f->cap = cap;
		}
	}
	if (!m || f->count == f->cap) {
		free(m);
		return NULL;
	}
	m->pid = pid;
	m->parent = parent;
	m->start = start;
	m->since_ns = m->look_ns = now_ns();
	f->members[f->count++] = m;
	return m;
}

static void look_again(struct member *m, uint64_t after_ns)
{
	m->state = MEMBER_LOOKED_AT;
	m->look_ns = now_ns() + after_ns;
}

static void look_later(struct member *m)
{
	uint64_t age = now_ns() - m->since_ns;

	look_again(m, age < LOOK_MIN_NS ? LOOK_MIN_NS : age > LOOK_MAX_NS ? LOOK_MAX_NS : age);
}

static bool is_other(const struct family *f, const struct process_program *p)
{
	for (size_t i = 0; i < f->other_count; i++)
		if (f->others[i].device == p->device && f->others[i].inode == p->inode)
			return true;
	return false;
}

static void add_other(struct family *f, const struct process_program *p)
{
	if (!p->device || is_other(f, p))
		return;
	if (f->other_count == MAX_OTHERS)
		f->other_count = 0;
	f->others[f->other_count++] = *p;
}

/* A reason that holds for all of them is told once. */
static void tell_refusal(struct family *f, struct member *m, const char *text)
{
	const char *reason = strchr(text, ':');

	m->told = true;
	f->refused++;
	if (reason && strcmp(reason, f->reason) == 0)
		return;
	if (++f->refusals_told <= MAX_TOLD)
		message("%s", message_text(text));
	else if (f->refusals_told == MAX_TOLD + 1)
		message("more descendants cannot be read; they are counted");
	snprintf(f->reason, sizeof(f->reason), "%s", reason ? reason : "");
}

static void postpone(struct family *f, struct member *m, const char *why, uint64_t after_ns)
{
	m->state = MEMBER_POSTPONED;
	m->look_ns = after_ns == NEVER ? NEVER : now_ns() + after_ns;
	if (!f->said_limit)
		message("%s: process %d and those after it wait until another has ended", why,
			(int)m->pid);
	f->said_limit = true;
}

/* A session for what looks like a Python waits until its runtime is there, whatever it executes
 * until then; another answers at once. */
static void ask(struct family *f, struct member *m)
{
	struct protocol_request q = f->request;
	char text[PROTOCOL_TEXT_SIZE];
	uint64_t now = now_ns();

	if (f->sessions >= FAMILY_MAX_SESSIONS) {
		snprintf(text, sizeof(text), "no more than %d processes are recorded at a time",
			 FAMILY_MAX_SESSIONS);
		postpone(f, m, text, NEVER);
		return;
	}
	if (source_open(&m->source, f->options, f->started && !m->served, text)) {
		postpone(f, m, text, POSTPONE_NS);
		return;
	}
	f->sessions++;
	if (source_monitor(m->source))
		descendants_ignore(f->descendants, source_monitor(m->source), true);
	q.pid = m->pid;
	q.parent = m->parent;
	q.flags &= ~(uint32_t)PROTOCOL_WAIT;
	if (m->python)
		q.flags |= PROTOCOL_WAIT;
	if (f->end_ns != NEVER)
		q.duration_ns = f->end_ns > now ? f->end_ns - now : 1;
	m->state = MEMBER_ASKED;
	(void)source_ask(m->source, &q);
}

static void look(struct family *f, struct member *m)
{
	int r = processes_look(m->pid, &m->program);

	if (r < 0) {
		/* It has ended, and that will be told. */
		look_again(m, LOOK_MAX_NS);
		return;
	}
	/* Between vfork() and exec its memory is its parent's. */
	if (m->forked && m->parent && processes_share_memory(m->parent, m->pid)) {
		look_again(m, FORK_GRACE_NS);
		return;
	}
	m->python = r;
	if (r || (now_ns() - m->since_ns >= ASK_AGE_NS && m->program.device &&
		  !is_other(f, &m->program)))
		ask(f, m);
	else
		look_later(m);
}

static void on_exec(struct family *f, struct member *m)
{
	m->forked = m->told = m->served = false;
	m->since_ns = now_ns();
	switch (m->state) {
	case MEMBER_RECORDED:
		/* Its session follows. */
		break;
	case MEMBER_ASKED:
		/* So it does, to another Python; what became something else is not waited for. */
		if (m->pid == f->target || processes_look(m->pid, &m->program) != 0)
			break;
		close_source(f, m);
		m->python = false;
		look_again(m, LOOK_MIN_NS);
		break;
	case MEMBER_LOOKED_AT:
	case MEMBER_UNREADABLE:
	case MEMBER_POSTPONED:
		m->python = false;
		look_again(m, 0);
		break;
	}
}

static void on_descendant(void *arg, const struct descendants_event *e)
{
	struct family *f = arg;
	struct member *m = find(f, e->pid);

	switch (e->kind) {
	case DESCENDANTS_FORK:
		if (m)
			break;
		m = add(f, e->pid, e->parent, e->start);
		if (m) {
			const struct member *parent = find(f, e->parent);

			m->forked = true;
			m->of_python = parent && parent->python;
			m->look_ns += FORK_GRACE_NS;
		}
		break;
	case DESCENDANTS_EXEC:
		if (m)
			on_exec(f, m);
		break;
	case DESCENDANTS_EXIT:
		if (m) {
			m->ended = true;
			m->ended_ns = now_ns();
		}
		break;
	case DESCENDANTS_LOST:
		if (!f->said_lost)
			message("the kernel dropped process events: a short-lived descendant may "
				"be "
				"missing");
		f->said_lost = true;
		break;
	}
}

/* ---- sessions ---- */

static bool is_target(const struct family *f, const struct member *m)
{
	return m == f->members[0];
}

static void on_ready(struct family *f, struct member *m)
{
	uint64_t start = descendants_start("/proc", m->pid);

	/* The session holds the process that the pid was when it was asked. */
	if (m->start && start && start != m->start) {
		close_source(f, m);
		m->ended = true;
		return;
	}
	if (!m->process)
		m->process = is_target(f, m) ? recording_main(f->recording)
					     : recording_add(f->recording);
	if (!m->process) {
		tell_refusal(f, m, "out of memory");
		close_source(f, m);
		m->state = MEMBER_UNREADABLE;
		return;
	}
	m->state = MEMBER_RECORDED;
	if (f->end_ns == NEVER && f->request.duration_ns)
		f->end_ns = now_ns() + f->request.duration_ns;
}

/* In run sessions are ours. What they may not read a daemon may. */
static bool may_be_served(const struct family *f, const struct member *m, int status)
{
	return f->started && !m->served && status == STATUS_NOT_PERMITTED &&
	       access(SESSION_SOCKET_PATH, R_OK | W_OK) == 0;
}

static void on_refusal(struct family *f, struct member *m)
{
	char text[PROTOCOL_TEXT_SIZE];
	int status = source_status(m->source);

	snprintf(text, sizeof(text), "%s", source_text(m->source));
	close_source(f, m);
	m->state = MEMBER_UNREADABLE;
	if (f->ending)
		return;
	switch (status) {
	case STATUS_NO_PROCESS:
		if (is_target(f, m))
			f->status = refusal_print(status, text, m->pid, f->options->command->name);
		/* fallthrough */
	case STATUS_TARGET_ENDED:
		break;
	case STATUS_NOT_PYTHON:
		if (is_target(f, m) && !f->said_target)
			message("%s; what descends from it is recorded", message_text(text));
		else if (m->python)
			tell_refusal(f, m, text);
		f->said_target |= is_target(f, m);
		if (processes_look(m->pid, &m->program) == 0) {
			add_other(f, &m->program);
			look_later(m);
		}
		break;
	case STATUS_FAILED:
		if (!is_target(f, m)) {
			postpone(f, m, text, POSTPONE_NS);
			break;
		}
		/* fallthrough */
	default:
		if (!is_target(f, m) && may_be_served(f, m, status)) {
			m->served = true;
			look_again(m, 0);
			break;
		}
		if (is_target(f, m))
			f->status = refusal_print(status, text, m->pid, f->options->command->name);
		else
			tell_refusal(f, m, text);
		break;
	}
}

static void on_end(struct family *f, struct member *m)
{
	const struct recording_facts *facts =
		m->process ? recording_process_facts(m->process) : NULL;

	close_source(f, m);
	m->state = MEMBER_UNREADABLE;
	if (!facts)
		return;
	if (!facts->ended)
		f->broken += !is_target(f, m) && descendants_start("/proc", m->pid) == m->start;
	else if (strcmp(facts->end, "exec") == 0)
		look_again(m, 0);
	else if (strcmp(facts->end, "duration") == 0)
		f->time_over = true;
}

/* What a session says, for a while. */
static void hear(struct family *f, struct member *m)
{
	const void *piece;
	size_t size;
	int status;

	for (int i = 0; i < PIECES_AT_A_TIME && m->source; i++) {
		switch (source_hear(m->source, &piece, &size)) {
		case SOURCE_NOTHING:
			return;
		case SOURCE_WAITING:
			break;
		case SOURCE_READY:
			on_ready(f, m);
			break;
		case SOURCE_REFUSED:
			on_refusal(f, m);
			break;
		case SOURCE_PIECE:
			status = recording_piece(f->recording, m->process, piece, size);
			if (status)
				f->status = status;
			break;
		case SOURCE_STRANGE:
			message("process %d: %s", (int)m->pid, source_text(m->source));
			f->broken++;
			close_source(f, m);
			m->state = MEMBER_UNREADABLE;
			break;
		case SOURCE_END:
			on_end(f, m);
			break;
		}
	}
}

/* ---- the loop ---- */

/* Nobody is missed without being told of, as far as we know of him at all. */
static void count_missing(struct family *f, const struct member *m)
{
	if (m->process) {
		const struct recording_facts *facts = recording_process_facts(m->process);

		/* Or read, and nothing of it was asked for. */
		if (facts->samples || facts->totals.skipped)
			return;
	}
	if (m->told)
		return;
	if (m->state == MEMBER_POSTPONED)
		f->unserved++;
	else if (!f->ending && (m->python || (m->forked && m->of_python)) &&
		 m->ended_ns - m->since_ns >= MISSED_AGE_NS)
		f->missed++;
}

/* Who has ended and has no session any more is done with. The target stays, as the first. */
static void dismiss_ended(struct family *f)
{
	for (size_t i = f->count; i-- > 1;) {
		struct member *m = f->members[i];

		if (m->source || (!m->ended && !f->ending))
			continue;
		count_missing(f, m);
		if (m->process) {
			f->hooks->process_ended(f->hooks->arg, m->process);
			recording_fold(f->recording, m->process);
		}
		free(m);
		memmove(&f->members[i], &f->members[i + 1],
			(--f->count - i) * sizeof(struct member *));
	}
	if (f->members[0]->ended && !f->members[0]->source && !f->target_ended) {
		f->target_ended = true;
		if (f->hooks->target_ended)
			f->hooks->target_ended(f->hooks->arg);
	}
}

static void stop_all(struct family *f)
{
	f->ending = true;
	for (size_t i = 0; i < f->count; i++)
		if (f->members[i]->source)
			source_stop(f->members[i]->source);
}

/* Whether there is more to come. After the target's end only who is recorded, or may be in a
 * moment, is waited for. */
static bool goes_on(struct family *f)
{
	size_t left = 0, recorded = 0;

	if (!f->target_ended && !f->ending)
		return true;
	for (size_t i = 0; i < f->count; i++) {
		const struct member *m = f->members[i];

		left += m->source || (!f->ending && (m->state == MEMBER_POSTPONED ||
						     (m->state == MEMBER_LOOKED_AT &&
						      m->look_ns < m->since_ns + 4 * ASK_AGE_NS)));
		recorded += m->source && m->state == MEMBER_RECORDED;
	}
	if (!f->outlived_ns)
		f->outlived_ns = now_ns();
	if (recorded && !f->ending && !f->said_outliving &&
	    now_ns() - f->outlived_ns > SAY_OUTLIVED_NS) {
		message("process %d has ended, %zu that descend%s from it are still recorded: "
			"Ctrl-C ends that",
			(int)f->target, recorded, recorded == 1 ? "s" : "");
		f->said_outliving = true;
	}
	return left > 0;
}

static void show_progress(const struct family *f)
{
	struct recording_facts all, rest;

	recording_tell(f->recording, &all, &rest, NULL, 0);
	progress_show("%s %zu of %u processes: %llu samples",
		      f->ending ? "ending the recording of" : "recording", f->sessions, all.streams,
		      (unsigned long long)all.samples);
}

static uint64_t next_due(const struct family *f)
{
	uint64_t due = now_ns() + POLL_MAX_NS, other = descendants_due(f->descendants);

	due = other < due ? other : due;
	due = f->end_ns < due ? f->end_ns : due;
	for (size_t i = 0; i < f->count && !f->ending; i++) {
		const struct member *m = f->members[i];

		if (m->state == MEMBER_LOOKED_AT || m->state == MEMBER_POSTPONED)
			due = m->look_ns < due ? m->look_ns : due;
	}
	return due;
}

/* Waits until there is something to do. */
static void wait_for_news(struct family *f)
{
	struct pollfd fds[FAMILY_MAX_SESSIONS + 2];
	uint64_t due = next_due(f), now = now_ns();
	uint64_t left = due > now ? due - now : 0;
	const struct timespec timeout = {(time_t)(left / SECOND), (long)(left % SECOND)};
	nfds_t n = 0;

	fds[n++] = (struct pollfd){.fd = descendants_fd(f->descendants), .events = POLLIN};
	for (size_t i = 0; i < f->count && n < sizeof(fds) / sizeof(fds[0]); i++)
		if (f->members[i]->source)
			fds[n++] = (struct pollfd){.fd = source_fd(f->members[i]->source),
						   .events = POLLIN};
	(void)ppoll(fds, n, &timeout, NULL);
}

static void take_news(struct family *f)
{
	uint64_t now;

	descendants_read(f->descendants, on_descendant, f);
	for (size_t i = 0; i < f->count && !f->status; i++)
		if (f->members[i]->source)
			hear(f, f->members[i]);
	now = now_ns();
	for (size_t i = 0; i < f->count && !f->ending && !f->time_over; i++) {
		struct member *m = f->members[i];

		if ((m->state == MEMBER_LOOKED_AT || m->state == MEMBER_POSTPONED) && !m->ended &&
		    m->look_ns <= now)
			look(f, m);
	}
	dismiss_ended(f);
	reap_monitors(f, false);
	reap_adopted(f);
}

static void say_result(const struct family *f)
{
	if (f->refused > f->refusals_told || f->refused > MAX_TOLD)
		message("%zu descendants could not be read", f->refused);
	if (f->unserved)
		message("%zu descendants were not recorded: there were too many at a time",
			f->unserved);
	if (f->missed)
		message("%zu descendant%s ended before they could be read", f->missed,
			f->missed == 1 ? "" : "s");
	if (f->broken)
		message("%zu sessions ended before their recording did: what they had sent is kept",
			f->broken);
}

int family_take(struct family *f, struct recording *r, const struct protocol_request *q,
		const struct family_hooks *hooks)
{
	f->recording = r;
	f->request = *q;
	f->hooks = hooks;
	f->members[0]->source = recording_take_source(r);
	f->members[0]->state = MEMBER_ASKED;
	f->members[0]->python = true;
	f->sessions = 1;
	while (!f->status && goes_on(f)) {
		f->time_over |= !f->ending && now_ns() >= f->end_ns;
		if (!f->ending && (f->time_over || recording_asked_to_end()))
			stop_all(f);
		show_progress(f);
		wait_for_news(f);
		take_news(f);
	}
	stop_all(f);
	dismiss_ended(f);
	progress_wipe();
	say_result(f);
	return f->status;
}

bool family_time_is_over(const struct family *f)
{
	return f->time_over;
}

enum protocol_discovery family_way(const struct family *f)
{
	return descendants_way(f->descendants);
}

static void say_way(const struct family *f)
{
	static const char *const ways[] = {
		[PROTOCOL_CONNECTOR] = "by the kernel's process events",
		[PROTOCOL_CHILDREN] = "by reading the children of each every few milliseconds: one "
				      "whose parent ends sooner may be missed",
		[PROTOCOL_SCAN] = "by scanning all processes every few milliseconds: one whose "
				  "parent ends sooner may be missed",
	};

	message("descendants are found %s", ways[family_way(f)]);
}

int family_open(struct family **ret, const struct options *o, const struct recording *r,
		pid_t target, bool started)
{
	struct family *f = calloc(1, sizeof(*f));
	int e = f ? 0 : -ENOMEM;

	if (!e) {
		f->options = o;
		f->target = target;
		f->started = started;
		f->end_ns = NEVER;
		e = descendants_open(&f->descendants, "/proc", started ? getpid() : 0, true);
	}
	if (!e && !add(f, target, 0, descendants_start("/proc", target)))
		e = -ENOMEM;
	if (!e) {
		/* We may descend from it ourselves. */
		descendants_ignore(f->descendants, getpid(), true);
		if (recording_monitor(r))
			descendants_ignore(f->descendants, recording_monitor(r), true);
		/* Who is told of each fork needs no orphans; for who looks they are all there is of
		 * a process that starts another and ends. */
		if (started && descendants_fd(f->descendants) < 0)
			f->adopting = prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0;
		e = descendants_follow(f->descendants, target, on_descendant, f);
	}
	if (e < 0) {
		message("cannot look for descendants: %s", strerror(-e));
		family_free(f);
		return STATUS_FAILED;
	}
	say_way(f);
	*ret = f;
	return 0;
}

void family_free(struct family *f)
{
	if (!f)
		return;
	for (size_t i = 0; i < f->count; i++) {
		if (f->members[i]->source)
			close_source(f, f->members[i]);
		free(f->members[i]);
	}
	reap_monitors(f, true);
	descendants_free(f->descendants);
	free(f->members);
	free(f);
}
