#include "daemon/monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "daemon/peer.h"
#include "daemon/permission.h"
#include "daemon/policy.h"
#include "daemon/protocol.h"
#include "daemon/reader.h"
#include "remote/clock.h"
#include "remote/proc.h"
#include "remote/slice.h"

#define SECOND		   1000000000ull
#define MILLISECOND	   1000000ull
#define REQUEST_TIMEOUT_NS (10 * SECOND)
/* Of bytes read from the reader and not yet taken by the client. */
#define PIECE_SIZE (64 * 1024)
#define PIPE_SIZE  (1024 * 1024)
/* A reader whose client is gone gets this long to leave by itself. */
#define VANISHED_GRACE_NS (SECOND / 2)
/* The sampler notices the end of its target by itself; these are for one that does not. */
#define EXITED_STOP_NS SECOND
#define EXITED_KILL_NS (10 * SECOND)
/* Between an old image and the next, or the end, the memory of a process is nowhere. */
#define IMAGE_PATIENCE_NS SECOND
/* What a program that took a Python's place may take to be one itself (a wrapper script). */
#define EXEC_WAIT_NS (3 * SECOND)
/* The last batch before a target's end cannot always be published to a peer: it shall be small. */
#define PEER_CHUNK_NS (SECOND / 4)
#define NEVER	      UINT64_MAX

enum outcome { FINISHED, NEXT_IMAGE };

struct monitor {
	int client;
	bool for_peer;
	struct peer peer;
	struct protocol_request request;
	struct permission_caller self;
	char host[256], boot_id[40];
	pid_t pid;	 /* the target in our pid namespace */
	int pidfd, mem;	 /* of the process; of its present image */
	uint64_t end_ns; /* when the duration is over, once there was a first sample; or NEVER */
	bool replied;	 /* the client knows how it stands: what follows is the recording */
	bool stopping;	 /* the client wants the end */
	bool waiting;	 /* the process may have been no Python yet */
	/* The reader of the present image, and what of it is under way. */
	pid_t reader;
	int control, in, stop;
	bool ready, ended, exec_seen;
	bool exec_told; /* the reader, which had not seen it */
	uint64_t exited_at, kill_at;
	size_t piece_at, piece_len;
	char piece[PIECE_SIZE];
};

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* ---- the client ---- */

static bool send_reply(struct monitor *m, struct protocol_reply *r)
{
	r->magic = PROTOCOL_MAGIC;
	r->version = PROTOCOL_VERSION;
	/* The text may be the reader's. */
	if (protocol_reply_check(r) < 0)
		r->status = STATUS_FAILED;
	return send(m->client, r, sizeof(*r), MSG_NOSIGNAL) == sizeof(*r);
}

static void __attribute__((format(printf, 3, 4)))
refuse(struct monitor *m, enum pyprof_status status, const char *format, ...)
{
	struct protocol_reply r = {.status = status};
	va_list ap;

	if (m->replied)
		return;
	va_start(ap, format);
	vsnprintf(r.text, sizeof(r.text), format, ap);
	va_end(ap);
	send_reply(m, &r);
	m->replied = true;
}

static void refuse_permission(struct monitor *m)
{
	enum permission_cause cause = permission_find("/proc", m->pid, &m->self);
	char text[PROTOCOL_TEXT_SIZE];

	if (m->request.parent)
		cause = permission_of_descendant(cause);
	permission_explain(cause, m->request.pid, &m->self, text, sizeof(text));
	refuse(m, STATUS_NOT_PERMITTED, "%s", text);
}

static int read_request(struct monitor *m)
{
	uint64_t deadline = clock_now_ns() + REQUEST_TIMEOUT_NS;
	char *p = (char *)&m->request;
	size_t left = sizeof(m->request);

	while (left > 0) {
		struct pollfd fd = {.fd = m->client, .events = POLLIN};
		uint64_t now = clock_now_ns();
		ssize_t n;

		if (now >= deadline)
			return -ETIMEDOUT;
		n = poll(&fd, 1, (int)((deadline - now) / MILLISECOND) + 1);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n <= 0)
			continue;
		n = recv(m->client, p, left, MSG_DONTWAIT);
		if (n == 0)
			return -ECONNRESET;
		if (n < 0) {
			if (errno == EAGAIN || errno == EINTR)
				continue;
			return -errno;
		}
		p += n;
		left -= (size_t)n;
	}
	return 0;
}

/* ---- the target ---- */

static bool target_exited(const struct monitor *m)
{
	struct pollfd fd = {.fd = m->pidfd, .events = POLLIN};

	return poll(&fd, 1, 0) != 0;
}

/* Whether the pid still is the number of the process that we opened, if only of its remains: what
 * was looked up by the number before this was said of that process. */
static bool pid_holds(const struct monitor *m)
{
	return syscall(SYS_pidfd_send_signal, m->pidfd, 0, NULL, 0) == 0 || errno == EPERM;
}

/* A descriptor of /proc/PID/mem stays with the memory that it was opened on. Without it a read
 * gives 0; with it a read of the unmapped first page gives EIO. proc_pid_mem(5). */
static bool image_answers(const struct monitor *m)
{
	char c;

	return m->mem >= 0 && pread(m->mem, &c, 1, 0) != 0;
}

static bool policy_permits(struct monitor *m, const char **ret_why)
{
	struct policy_process process;

	*ret_why = "is gone";
	if (!m->for_peer)
		return true;
	/* Root of a namespace below ours that is mapped to our root has not all of root's rights.
	 */
	if (m->peer.uid == 0 && !m->peer.same_user_namespace) {
		*ret_why = "is not in your user namespace";
		return false;
	}
	if (m->peer.uid == 0)
		return true;
	if (policy_look("/proc", m->pid, &process) < 0 || !pid_holds(m))
		return false;
	return policy_allows(m->peer.uid, m->peer.gid, m->peer.user_namespace, &process, ret_why);
}

static void refuse_ended(struct monitor *m)
{
	refuse(m, STATUS_TARGET_ENDED, "process %d ended before there was anything to show%s",
	       m->request.pid, m->waiting ? ": it was no Python, or a very short one" : "");
}

static char target_state(const struct monitor *m)
{
	char path[64], text[1024], state = 0;
	uint64_t start;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)m->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	if (proc_read_text(fd, text, sizeof(text)) < 0 || proc_parse_stat(text, &state, &start) < 0)
		state = 0;
	close(fd);
	return state;
}

/* Opens the memory of the program that the process is now, and asks whether the client may see it:
 * in this order, so that the answer is about what was opened. False: the client was told. */
static bool open_image(struct monitor *m)
{
	uint64_t deadline = clock_now_ns() + IMAGE_PATIENCE_NS;
	const struct timespec pause = {0, MILLISECOND};
	const char *why;
	char path[64];
	int e;

	snprintf(path, sizeof(path), "/proc/%d/mem", (int)m->pid);
	for (;;) {
		close_fd(&m->mem);
		m->mem = open(path, O_RDONLY | O_CLOEXEC);
		e = m->mem < 0 ? errno : 0;
		if (target_exited(m) || target_state(m) == 'Z') {
			refuse_ended(m);
			return false;
		}
		if (!policy_permits(m, &why)) {
			refuse(m, STATUS_NOT_PERMITTED,
			       "the daemon may not show you process %d: it %s", m->request.pid,
			       why);
			return false;
		}
		if (e == EACCES || e == EPERM) {
			refuse_permission(m);
			return false;
		}
		if (image_answers(m))
			return true;
		if (clock_now_ns() >= deadline)
			break;
		nanosleep(&pause, NULL);
	}
	if (e && e != ESRCH && e != ENOENT)
		refuse(m, STATUS_FAILED, "cannot open the memory of process %d: %s", m->request.pid,
		       strerror(e));
	else
		refuse(m, STATUS_NOT_PYTHON, "process %d is a kernel thread, not a Python",
		       m->request.pid);
	return false;
}

/* Before bytes of the reader go to the client. While the image answers, all that was read is its.
 */
static bool may_publish(struct monitor *m)
{
	const char *why;

	return image_answers(m) || policy_permits(m, &why);
}

/* ---- the reader ---- */

/* Keeps the four descriptors, as 3 to 6, and the standard ones: nothing else is inherited. */
static void keep_only(struct reader_setup *s)
{
	int *fds[] = {&s->control, &s->out, &s->stop, &s->cmdline};

	for (int i = 0; i < 4; i++)
		if (*fds[i] >= 0)
			*fds[i] = fcntl(*fds[i], F_DUPFD_CLOEXEC, 16);
	for (int i = 0; i < 4; i++)
		if (*fds[i] >= 0)
			*fds[i] = dup2(*fds[i], 3 + i);
	(void)syscall(SYS_close_range, 7u, ~0u, 0u);
}

static int start_reader(struct monitor *m, uint64_t wait_ns)
{
	struct reader_setup *s = calloc(1, sizeof(*s));
	int control[2] = {-1, -1}, data[2] = {-1, -1}, cmdline = -1, r = 0;
	char path[64];

	if (!s)
		return -ENOMEM;
	m->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (m->stop < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control) < 0 ||
	    pipe2(data, O_CLOEXEC) < 0) {
		r = -errno;
		goto out;
	}
	(void)fcntl(data[0], F_SETPIPE_SZ, PIPE_SIZE);
	(void)fcntl(data[0], F_SETFL, O_NONBLOCK);
	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)m->pid);
	cmdline = open(path, O_RDONLY | O_CLOEXEC);
	s->request = m->request;
	s->pid = m->pid;
	s->monitor = getpid();
	s->control = control[1];
	s->out = data[1];
	s->stop = m->stop;
	s->cmdline = cmdline;
	s->wait_ns = wait_ns;
	memcpy(s->host, m->host, sizeof(s->host));
	memcpy(s->boot_id, m->boot_id, sizeof(s->boot_id));
	m->reader = fork();
	if (m->reader == 0) {
		keep_only(s);
		reader_main(s);
	}
	if (m->reader < 0) {
		r = -errno;
		goto out;
	}
	m->control = control[0];
	m->in = data[0];
	control[0] = data[0] = -1;
	m->ready = m->ended = m->exec_seen = m->exec_told = false;
	m->exited_at = m->kill_at = NEVER;
	m->piece_at = m->piece_len = 0;
out:
	close_fd(&control[0]);
	close_fd(&control[1]);
	close_fd(&data[0]);
	close_fd(&data[1]);
	close_fd(&cmdline);
	free(s);
	return r;
}

static void kill_reader(const struct monitor *m)
{
	kill(m->reader, SIGKILL);
}

/* Waits for it; it has closed everything, or was killed. */
static int reap_reader(struct monitor *m)
{
	int status = 0;

	close_fd(&m->control);
	close_fd(&m->in);
	close_fd(&m->stop);
	while (waitpid(m->reader, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

static void stop_reader(const struct monitor *m, uint64_t why)
{
	(void)!write(m->stop, &why, sizeof(why));
}

/* An image of the process, and not that which was opened: no process that is just ending. */
static bool other_image_answers(const struct monitor *m)
{
	char path[64], c;
	bool answers;
	int fd;

	if (image_answers(m))
		return false;
	snprintf(path, sizeof(path), "/proc/%d/mem", (int)m->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	answers = fd >= 0 && pread(fd, &c, 1, 0) != 0 && pid_holds(m);
	close_fd(&fd);
	return answers;
}

/* Where a program executes itself and lies where it lay before, as programs at fixed addresses do,
 * the reader sees no difference: to it threads have come and gone. But it is another program, which
 * nothing is opened of for this reader, and which gets one of its own. */
static void watch_for_exec(struct monitor *m)
{
	if (!m->ready || m->exec_told || !other_image_answers(m))
		return;
	m->exec_told = true;
	stop_reader(m, READER_STOP_EXEC);
}

/* Opens for the reader, as long as the process is the one, and the program the one, that it is
 * there for. A regular file where one is expected: nothing that blocks or acts when it is read. */
static int open_for_reader(struct monitor *m, const struct reader_message *q)
{
	struct stat st;
	int fd;

	if (q->file >= PROC_FILE_COUNT)
		return -EINVAL;
	if (!image_answers(m))
		return -ESRCH;
	fd = proc_open_file(m->pid, (enum proc_file)q->file, q->a, q->b);
	if (fd < 0)
		return fd;
	if (!pid_holds(m) || !image_answers(m)) {
		close(fd);
		return -ESRCH;
	}
	if ((q->file == PROC_EXE || q->file == PROC_MAP_FILE) &&
	    (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))) {
		close(fd);
		return -EACCES;
	}
	return fd;
}

static void answer_open(struct monitor *m, const struct reader_message *q)
{
	int fd = open_for_reader(m, q);
	struct monitor_answer answer = {.status = fd < 0 ? fd : 0};
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = {&answer, sizeof(answer)};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (fd >= 0) {
		struct cmsghdr *c = &control.header;

		memset(&control, 0, sizeof(control));
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	(void)sendmsg(m->control, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	close_fd(&fd);
}

/* The reader has found a Python: from here on its bytes are the client's. */
static bool announce(struct monitor *m)
{
	struct protocol_reply r = {.status = STATUS_OK};

	m->ready = true;
	if (m->end_ns == NEVER && m->request.duration_ns)
		m->end_ns = clock_now_ns() + m->request.duration_ns;
	if (m->replied)
		return true;
	m->replied = true;
	return send_reply(m, &r);
}

/* One message of the reader. False: there is no more to expect of it. */
static bool hear_reader(struct monitor *m)
{
	struct reader_message q;
	ssize_t n = recv(m->control, &q, sizeof(q), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (n != sizeof(q))
		return false;
	switch (q.kind) {
	case READER_OPEN:
		/* Another program before we knew the first: begin anew with that one. */
		if (!m->ready && !image_answers(m)) {
			m->exec_seen = true;
			return false;
		}
		answer_open(m, &q);
		watch_for_exec(m);
		return true;
	case READER_READY:
		if (m->ready)
			return false;
		if (!may_publish(m)) {
			refuse(m, STATUS_NOT_PERMITTED,
			       "the daemon may not show you process %d any more", m->request.pid);
			return false;
		}
		return announce(m);
	case READER_FAILED:
		q.text[sizeof(q.text) - 1] = '\0';
		if (!image_answers(m) && !target_exited(m))
			m->exec_seen = true;
		else if (q.status == STATUS_NOT_PERMITTED)
			refuse_permission(m);
		else
			refuse(m, q.status ? (enum pyprof_status)q.status : STATUS_FAILED, "%s",
			       q.text);
		m->ended = true;
		return false;
	case READER_ENDED:
		m->ended = true;
		m->exec_seen = q.end == READER_END_EXEC || m->exec_told;
		return true;
	}
	return false;
}

/* Takes a piece of the recording. False: there is none any more, or it may not be published. */
static bool take_piece(struct monitor *m)
{
	ssize_t n = read(m->in, m->piece, sizeof(m->piece));

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (n == 0)
		return false;
	if (!m->ready || !may_publish(m)) {
		m->exec_seen = false;
		m->stopping = true;
		kill_reader(m);
		return false;
	}
	watch_for_exec(m);
	m->piece_at = 0;
	m->piece_len = (size_t)n;
	return true;
}

/* False: the client is gone. */
static bool give_piece(struct monitor *m)
{
	while (m->piece_at < m->piece_len) {
		ssize_t n = send(m->client, m->piece + m->piece_at, m->piece_len - m->piece_at,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		m->piece_at += (size_t)n;
	}
	return true;
}

/* Something of the client, after its request: the wish to end, or its own end. */
static bool hear_client(struct monitor *m)
{
	char ignored[64];
	ssize_t n = recv(m->client, ignored, sizeof(ignored), MSG_DONTWAIT);

	if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
		return true;
	if (n < 0)
		return false;
	m->stopping = true;
	stop_reader(m, READER_STOP);
	return true;
}

/* Acts on what is overdue and says when the next thing is: ms for poll(). */
static int watch_clock(struct monitor *m)
{
	uint64_t now = clock_now_ns(), next = m->kill_at;

	if (m->kill_at <= now) {
		kill_reader(m);
		m->kill_at = next = NEVER;
	}
	if (m->exited_at != NEVER) {
		uint64_t stop_at = m->exited_at + EXITED_STOP_NS;
		uint64_t kill_at = m->exited_at + EXITED_KILL_NS;

		if (now >= stop_at)
			stop_reader(m, READER_STOP);
		else if (stop_at < next)
			next = stop_at;
		if (now >= kill_at && m->piece_at == m->piece_len)
			kill_reader(m);
		else if (now < kill_at && kill_at < next)
			next = kill_at;
	}
	return next == NEVER ? -1 : (int)((next - now) / MILLISECOND) + 1;
}

static void lose_client(struct monitor *m, bool *ret_gone)
{
	*ret_gone = m->stopping = true;
	m->piece_at = m->piece_len = 0;
	stop_reader(m, READER_STOP);
	m->kill_at = clock_now_ns() + VANISHED_GRACE_NS;
}

/* Serves client and reader until the reader has ended and all of its bytes are given on. */
static void pump(struct monitor *m)
{
	bool control_open = true, in_open = true, gone = false;

	while (control_open || in_open || m->piece_at < m->piece_len) {
		bool pending = m->piece_at < m->piece_len;
		struct pollfd fds[] = {
			{.fd = gone ? -1 : m->client,
			 .events = (short)((m->stopping ? 0 : POLLIN) | (pending ? POLLOUT : 0))},
			{.fd = control_open ? m->control : -1, .events = POLLIN},
			{.fd = in_open && !pending ? m->in : -1, .events = POLLIN},
			{.fd = m->exited_at == NEVER ? m->pidfd : -1, .events = POLLIN},
		};

		if (poll(fds, 4, watch_clock(m)) < 0) {
			if (errno == EINTR)
				continue;
			kill_reader(m);
			return;
		}
		if (fds[3].revents)
			m->exited_at = clock_now_ns();
		if (fds[0].revents & (POLLHUP | POLLERR) ||
		    ((fds[0].revents & POLLIN) && !hear_client(m)) ||
		    (pending && !gone && !give_piece(m)))
			lose_client(m, &gone);
		/* Before the bytes: READY was said before the first of them was written. */
		if (fds[1].revents && !hear_reader(m)) {
			control_open = false;
			if (!m->ended)
				kill_reader(m);
		}
		if (fds[2].revents && (control_open || m->ready)) {
			in_open = take_piece(m);
			if (gone)
				m->piece_at = m->piece_len = 0;
			else if (!give_piece(m))
				lose_client(m, &gone);
		} else if (fds[2].revents) {
			in_open = false;
		}
	}
}

static enum outcome serve_image(struct monitor *m, uint64_t wait_ns)
{
	struct protocol_reply waiting = {.status = STATUS_OK, .waiting = PROTOCOL_WAITING};
	int r, status;

	r = start_reader(m, wait_ns);
	if (r < 0) {
		close_fd(&m->stop);
		refuse(m, STATUS_FAILED, "cannot start the reading process: %s", strerror(-r));
		return FINISHED;
	}
	if (wait_ns == NEVER && !send_reply(m, &waiting))
		m->stopping = true;
	/* Only once: what follows is another answer. */
	m->request.flags &= ~(uint32_t)PROTOCOL_WAIT;
	pump(m);
	status = reap_reader(m);
	if (m->exec_seen && !m->stopping && !target_exited(m))
		return NEXT_IMAGE;
	if (target_exited(m))
		refuse_ended(m);
	if (WIFSIGNALED(status))
		refuse(m, STATUS_FAILED, "the reading process was ended by signal %d (%s)",
		       WTERMSIG(status), strsignal(WTERMSIG(status)));
	refuse(m, STATUS_FAILED, "the reading process ended without a word");
	return FINISHED;
}

static void serve(struct monitor *m)
{
	bool waiting = m->request.flags & PROTOCOL_WAIT, told = false;
	uint64_t duration = m->request.duration_ns, wait_ns = waiting ? NEVER : 0;

	m->waiting = waiting;
	while (open_image(m)) {
		if (serve_image(m, told && wait_ns == NEVER ? NEVER - 1 : wait_ns) != NEXT_IMAGE)
			return;
		told = true;
		/* One recording: its later streams get what is left of the time. */
		if (m->end_ns != NEVER) {
			uint64_t now = clock_now_ns();

			if (now >= m->end_ns)
				return;
			m->request.duration_ns = m->end_ns - now;
		} else {
			m->request.duration_ns = duration;
		}
		if (m->replied || !waiting)
			wait_ns = EXEC_WAIT_NS;
	}
}

static void learn_host(struct monitor *m)
{
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, m->boot_id, sizeof(m->boot_id) - 1);

	if (n > 0 && m->boot_id[n - 1] == '\n')
		m->boot_id[n - 1] = '\0';
	close_fd(&fd);
	if (gethostname(m->host, sizeof(m->host) - 1) < 0)
		m->host[0] = '\0';
}

static bool find_process(struct monitor *m)
{
	int r;

	m->pid = m->request.pid;
	if (m->for_peer) {
		r = peer_find_pid(&m->peer, m->request.pid, &m->pid);
		if (r < 0) {
			refuse(m, STATUS_NO_PROCESS, "no process %d", m->request.pid);
			return false;
		}
	}
	m->pidfd = (int)syscall(SYS_pidfd_open, m->pid, 0);
	if (m->pidfd >= 0)
		return true;
	/* A thread's id: EINVAL, ENOENT from Linux 6.9 on. pidfd_open(2) */
	if (errno == ESRCH)
		refuse(m, STATUS_NO_PROCESS, "no process %d", m->request.pid);
	else if (errno == EINVAL || errno == ENOENT)
		refuse(m, STATUS_NO_PROCESS, "%d is no process but a thread of one",
		       m->request.pid);
	else
		refuse(m, STATUS_FAILED, "cannot open process %d: %s", m->request.pid,
		       strerror(errno));
	return false;
}

int monitor_main(int client, bool for_peer)
{
	static struct monitor monitor;
	struct monitor *m = &monitor;
	const char *why;

	m->client = client;
	m->for_peer = for_peer;
	m->pidfd = m->mem = m->control = m->in = m->stop = -1;
	m->end_ns = NEVER;
	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
	if (for_peer && peer_get(client, &m->peer) < 0)
		return 1;
	if (read_request(m) < 0)
		return 1;
	if (protocol_request_check(&m->request, &why) < 0) {
		refuse(m, STATUS_FAILED, "the session does not know this request: %s", why);
		return 1;
	}
	if (for_peer && (!m->request.chunk_ns || m->request.chunk_ns > PEER_CHUNK_NS))
		m->request.chunk_ns = PEER_CHUNK_NS;
	/* The reader waits for what is opened for it, and misses samples meanwhile. */
	(void)slice_shorten();
	permission_self("/proc", &m->self);
	learn_host(m);
	if (find_process(m))
		serve(m);
	return 0;
}
