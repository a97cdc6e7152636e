#include "cli/descendants.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/cn_proc.h>
#include <linux/connector.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MILLISECOND 1000000ull
#define SECOND	    (1000 * MILLISECOND)
/* Looking costs at most a tenth of a CPU, and happens at least this often and at most that. */
#define LOOK_SHARE  10
#define LOOK_MIN_NS (2 * MILLISECOND)
#define LOOK_MAX_NS (100 * MILLISECOND)
/* With events: a look for what they do not tell, as a process whose main thread ended first. */
#define SWEEP_NS SECOND
/* Ending takes time: a process that was told to end is looked at this often, each EXIT_LOOK_NS. */
#define EXIT_LOOKS   200
#define EXIT_LOOK_NS (5 * MILLISECOND)
/* The kernel answers within the call that asks it. */
#define ACK_PATIENCE_MS 50
#define SOCKET_BUFFER	(4 << 20)
/* In the tree of one target at a time: what is over it is not followed. */
#define MAX_FOLLOWED 65536
#define MAX_IGNORED  1024

struct followed {
	pid_t pid;
	uint64_t start;
	/* The program, of which another is seen by looking. */
	dev_t device;
	ino_t inode;
	int exiting; /* looks until it is taken for not ending after all */
	bool ended;  /* to be forgotten */
};

struct descendants {
	const char *proc;
	pid_t adopter;
	int netlink; /* -1: by looking */
	bool scan;
	uint64_t due;
	struct followed *followed;
	size_t count, cap;
	pid_t ignored[MAX_IGNORED];
	size_t ignored_count;
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * SECOND + (uint64_t)ts.tv_nsec;
}

/* What looking costs: not what others take meanwhile. */
static uint64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * SECOND + (uint64_t)ts.tv_nsec;
}

/* ---- /proc ---- */

static ssize_t read_file(const char *path, char *buf, size_t size)
{
	size_t len = 0;
	ssize_t n = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	buf[0] = '\0';
	if (fd < 0)
		return -errno;
	while (len < size - 1 && (n = read(fd, buf + len, size - 1 - len)) > 0)
		len += (size_t)n;
	close(fd);
	buf[len] = '\0';
	return len || n == 0 ? (ssize_t)len : -EIO;
}

/* Of /proc/PID/stat: false when it is gone or ended. */
static bool read_stat(const char *proc, pid_t pid, pid_t *ret_parent, uint64_t *ret_start)
{
	char path[256], text[1024], state;
	unsigned long long start;
	int parent;
	char *p;

	snprintf(path, sizeof(path), "%s/%d/stat", proc, (int)pid);
	if (read_file(path, text, sizeof(text)) <= 0)
		return false;
	p = strrchr(text, ')');
	if (!p || sscanf(p + 1,
			 " %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d "
			 "%*d %llu",
			 &state, &parent, &start) != 3)
		return false;
	*ret_parent = parent;
	*ret_start = start;
	return state != 'Z' && state != 'X';
}

uint64_t descendants_start(const char *proc, pid_t pid)
{
	uint64_t start;
	pid_t parent;

	return read_stat(proc, pid, &parent, &start) ? start : 0;
}

static void read_program(const char *proc, struct followed *f)
{
	char path[256];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%d/exe", proc, (int)f->pid);
	if (stat(path, &st) < 0)
		return;
	f->device = st.st_dev;
	f->inode = st.st_ino;
}

/* ---- who is followed ---- */

static struct followed *find(const struct descendants *d, pid_t pid)
{
	for (size_t i = d->count; i-- > 0;)
		if (d->followed[i].pid == pid)
			return &d->followed[i];
	return NULL;
}

static bool is_ignored(const struct descendants *d, pid_t pid)
{
	for (size_t i = 0; i < d->ignored_count; i++)
		if (d->ignored[i] == pid)
			return true;
	return false;
}

void descendants_ignore(struct descendants *d, pid_t pid, bool ignore)
{
	size_t i = 0;

	while (i < d->ignored_count && d->ignored[i] != pid)
		i++;
	if (!ignore && i < d->ignored_count)
		d->ignored[i] = d->ignored[--d->ignored_count];
	else if (ignore && i == d->ignored_count && i < MAX_IGNORED)
		d->ignored[d->ignored_count++] = pid;
}

static bool add(struct descendants *d, pid_t pid, uint64_t start)
{
	struct followed *f;

	if (d->count >= MAX_FOLLOWED)
		return false;
	if (d->count == d->cap) {
		size_t cap = d->cap ? 2 * d->cap : 64;

		f = reallocarray(d->followed, cap, sizeof(*f));
		if (!f)
			return false;
		d->followed = f;
		d->cap = cap;
	}
	f = &d->followed[d->count++];
	*f = (struct followed){.pid = pid, .start = start};
	read_program(d->proc, f);
	return true;
}

static void forget(struct descendants *d, struct followed *f, descendants_handler *handler,
		   void *arg)
{
	const struct descendants_event e = {.kind = DESCENDANTS_EXIT, .pid = f->pid};

	*f = d->followed[--d->count];
	handler(arg, &e);
}

/* A new process, unless it is known. */
static void adopt(struct descendants *d, pid_t pid, pid_t parent, uint64_t start,
		  descendants_handler *handler, void *arg)
{
	const struct descendants_event e = {
		.kind = DESCENDANTS_FORK, .pid = pid, .parent = parent, .start = start};
	struct followed *f = find(d, pid);

	/* A number that is used again: the one before has ended unnoticed. */
	if (f && start && f->start != start) {
		forget(d, f, handler, arg);
		f = NULL;
	}
	if (!f && !is_ignored(d, pid) && add(d, pid, start))
		handler(arg, &e);
}

/* ---- looking ---- */

/* One that was in a list of children: what the list says is only its number. */
static void adopt_listed(struct descendants *d, pid_t pid, pid_t parent,
			 descendants_handler *handler, void *arg)
{
	const struct followed *f = find(d, pid);
	pid_t its_parent;
	uint64_t start;

	if (f && !f->ended)
		return;
	if (read_stat(d->proc, pid, &its_parent, &start) && its_parent == parent)
		adopt(d, pid, parent, start, handler, arg);
}

/* The children of one process. False: the kernel has no such file. */
static bool look_at_children(struct descendants *d, pid_t pid, descendants_handler *handler,
			     void *arg)
{
	char path[320], text[65536], *p, *end;
	const struct dirent *e;
	bool known = true;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/%d/task", d->proc, (int)pid);
	dir = opendir(path);
	if (!dir)
		return true;
	while ((e = readdir(dir))) {
		if (!isdigit((unsigned char)e->d_name[0]))
			continue;
		snprintf(path, sizeof(path), "%s/%d/task/%.20s/children", d->proc, (int)pid,
			 e->d_name);
		if (read_file(path, text, sizeof(text)) == -ENOENT) {
			snprintf(path, sizeof(path), "%s/%d/task/%.20s/stat", d->proc, (int)pid,
				 e->d_name);
			known = known && access(path, F_OK) < 0;
			continue;
		}
		for (p = text;; p = end) {
			long child = strtol(p, &end, 10);

			if (end == p || child <= 0 || child > INT32_MAX)
				break;
			adopt_listed(d, (pid_t)child, pid, handler, arg);
		}
	}
	closedir(dir);
	return known;
}

/* One pass over all processes; a child with a lower number than its parent comes with the next. */
static bool scan_once(struct descendants *d, descendants_handler *handler, void *arg)
{
	const struct dirent *e;
	size_t before = d->count;
	DIR *dir = opendir(d->proc);

	while (dir && (e = readdir(dir))) {
		pid_t pid = (pid_t)atoi(e->d_name), parent;
		uint64_t start;

		if (pid <= 0 || !read_stat(d->proc, pid, &parent, &start))
			continue;
		if (parent > 0 && (find(d, parent) || parent == d->adopter))
			adopt(d, pid, parent, start, handler, arg);
	}
	if (dir)
		closedir(dir);
	return d->count > before;
}

/* Whatever descends from those who are followed. New ones are added at the end: they are looked at
 * in the same pass. */
static void look_for_new(struct descendants *d, descendants_handler *handler, void *arg)
{
	for (size_t i = 0; !d->scan && i < d->count; i++)
		if (!look_at_children(d, d->followed[i].pid, handler, arg))
			d->scan = true;
	if (!d->scan && d->adopter)
		look_at_children(d, d->adopter, handler, arg);
	while (d->scan && scan_once(d, handler, arg))
		;
}

static void look_at_followed(struct descendants *d, descendants_handler *handler, void *arg)
{
	for (size_t i = 0; i < d->count; i++) {
		struct followed *f = &d->followed[i], now = *f;
		struct descendants_event e = {.kind = DESCENDANTS_EXEC, .pid = f->pid};
		uint64_t start = descendants_start(d->proc, f->pid);

		f->ended = start == 0 || (f->start && start != f->start);
		if (f->exiting > 0 && !f->ended)
			f->exiting--;
		if (f->ended || d->netlink >= 0)
			continue;
		read_program(d->proc, &now);
		if (now.device != f->device || now.inode != f->inode) {
			*f = now;
			handler(arg, &e);
		}
	}
}

static void forget_ended(struct descendants *d, descendants_handler *handler, void *arg)
{
	for (size_t i = d->count; i-- > 0;)
		if (d->followed[i].ended)
			forget(d, &d->followed[i], handler, arg);
}

/* ---- the kernel's events ---- */

struct connector_request {
	struct nlmsghdr header;
	struct cn_msg message;
	uint32_t operation; /* enum proc_cn_mcast_op */
} __attribute__((packed));

struct connector_event {
	struct nlmsghdr header;
	struct cn_msg message;
	struct proc_event event;
} __attribute__((packed));

#define EVENT_WORD(field) ((uint32_t)offsetof(struct connector_event, event.field))

/* The same for all kernels: the names of the older headers. */
enum { EVENT_ACK = 0, EVENT_FORK = 1, EVENT_EXEC = 2 };
#define EVENT_EXIT 0x80000000u

static bool ask_kernel(int fd, uint32_t operation, uint32_t token)
{
	struct connector_request q = {
		.header = {.nlmsg_len = sizeof(q), .nlmsg_type = NLMSG_DONE},
		.message = {.id = {CN_IDX_PROC, CN_VAL_PROC},
			    .ack = token,
			    .len = sizeof(q.operation)},
		.operation = operation,
	};

	return send(fd, &q, sizeof(q), MSG_NOSIGNAL) == sizeof(q);
}

/* Of all events of the machine only those of whole processes that fork, execute or end. A load
 * gives numbers as the network orders them. */
static int attach_filter(int fd)
{
	enum { FORK = 5, EXIT = 9, ACCEPT = 13, REJECT = 14 };
#define TO(from, line) ((uint8_t)((line) - (from)-1))
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, EVENT_WORD(what)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htonl(EVENT_FORK), TO(1, FORK), 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htonl(EVENT_EXIT), TO(2, EXIT), 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htonl(EVENT_EXEC), TO(3, ACCEPT), 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htonl(EVENT_ACK), TO(4, ACCEPT), TO(4, REJECT)),
		/* FORK */
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, EVENT_WORD(event_data.fork.child_pid)),
		BPF_STMT(BPF_MISC | BPF_TAX, 0),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, EVENT_WORD(event_data.fork.child_tgid)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_X, 0, TO(8, ACCEPT), TO(8, REJECT)),
		/* EXIT */
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, EVENT_WORD(event_data.exit.process_pid)),
		BPF_STMT(BPF_MISC | BPF_TAX, 0),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, EVENT_WORD(event_data.exit.process_tgid)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_X, 0, TO(12, ACCEPT), TO(12, REJECT)),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
#undef TO
	const struct sock_fprog program = {sizeof(code) / sizeof(code[0]), code};

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program));
}

/* The next event of the kernel's: 1; 0 there is none now; -ENOBUFS some were dropped; -errno. */
static int next_event(int fd, struct connector_event *ret)
{
	struct sockaddr_nl from;
	socklen_t len;
	ssize_t n;

	for (;;) {
		len = sizeof(from);
		memset(ret, 0, sizeof(*ret));
		n = recvfrom(fd, ret, sizeof(*ret), MSG_DONTWAIT, (struct sockaddr *)&from, &len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		/* Other processes may send to a group too: the kernel is 0. */
		if (from.nl_pid == 0 && (size_t)n >= offsetof(struct connector_event, event) + 16 &&
		    ret->message.id.idx == CN_IDX_PROC)
			return 1;
	}
}

/* Whether the kernel sends us its events: in another pid namespace than its first it does not
 * answer. */
static bool is_acknowledged(int fd, uint32_t token)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	struct connector_event e;

	for (int ms = 0; ms < ACK_PATIENCE_MS; ms += 10) {
		while (next_event(fd, &e) > 0)
			if ((uint32_t)e.event.what == EVENT_ACK && e.message.ack == token + 1)
				return e.event.event_data.ack.err == 0;
		poll(&p, 1, 10);
	}
	return false;
}

static int open_connector(void)
{
	struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = CN_IDX_PROC};
	uint32_t token = (uint32_t)now_ns();
	int size = SOCKET_BUFFER;
	int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_CONNECTOR);

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if (attach_filter(fd) < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    !ask_kernel(fd, PROC_CN_MCAST_LISTEN, token) || !is_acknowledged(fd, token)) {
		close(fd);
		return -EPERM;
	}
	return fd;
}

static void take_event(struct descendants *d, const struct connector_event *c,
		       descendants_handler *handler, void *arg)
{
	struct descendants_event e = {.kind = DESCENDANTS_EXEC};
	struct followed *f;

	switch ((uint32_t)c->event.what) {
	case EVENT_FORK:
		e.pid = c->event.event_data.fork.child_tgid;
		e.parent = c->event.event_data.fork.parent_tgid;
		if (find(d, e.parent))
			adopt(d, e.pid, e.parent, descendants_start(d->proc, e.pid), handler, arg);
		break;
	case EVENT_EXEC:
		e.pid = c->event.event_data.exec.process_tgid;
		if (find(d, e.pid))
			handler(arg, &e);
		break;
	case EVENT_EXIT:
		/* It is told before it is so, and of the first thread, which need not be the last.
		 */
		f = find(d, c->event.event_data.exit.process_tgid);
		if (f) {
			f->exiting = EXIT_LOOKS;
			d->due = now_ns();
		}
		break;
	}
}

/* What the kernel has to tell. False: some of it was dropped. */
static bool drain(struct descendants *d, descendants_handler *handler, void *arg)
{
	struct connector_event e;
	bool whole = true;
	int r;

	while ((r = next_event(d->netlink, &e)) != 0) {
		if (r == 1)
			take_event(d, &e, handler, arg);
		else if (r == -ENOBUFS)
			whole = false;
		else
			return whole;
	}
	return whole;
}

/* ---- all of it ---- */

int descendants_open(struct descendants **ret, const char *proc, pid_t adopter, bool connector)
{
	struct descendants *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	d->proc = proc;
	d->netlink = connector ? open_connector() : -1;
	/* Who is told of each fork needs no orphans. */
	d->adopter = d->netlink < 0 ? adopter : 0;
	d->due = now_ns();
	*ret = d;
	return 0;
}

void descendants_free(struct descendants *d)
{
	if (!d)
		return;
	if (d->netlink >= 0) {
		/* Before 6.6 the kernel goes on making events for those who left without a word. */
		(void)ask_kernel(d->netlink, PROC_CN_MCAST_IGNORE, 0);
		close(d->netlink);
	}
	free(d->followed);
	free(d);
}

enum protocol_discovery descendants_way(const struct descendants *d)
{
	return d->netlink >= 0 ? PROTOCOL_CONNECTOR : d->scan ? PROTOCOL_SCAN : PROTOCOL_CHILDREN;
}

int descendants_fd(const struct descendants *d)
{
	return d->netlink;
}

uint64_t descendants_due(const struct descendants *d)
{
	return d->due;
}

int descendants_follow(struct descendants *d, pid_t pid, descendants_handler *handler, void *arg)
{
	if (!add(d, pid, descendants_start(d->proc, pid)))
		return -ENOMEM;
	look_for_new(d, handler, arg);
	return 0;
}

static bool is_anyone_ending(const struct descendants *d)
{
	for (size_t i = 0; i < d->count; i++)
		if (d->followed[i].exiting > 0)
			return true;
	return false;
}

static void listen_to_kernel(struct descendants *d, descendants_handler *handler, void *arg)
{
	const struct descendants_event lost = {.kind = DESCENDANTS_LOST};
	uint64_t now = now_ns();
	bool due = now >= d->due;

	/* Who has ended is found before the events are taken, and forgotten after: among them are
	 * its last children. */
	if (due)
		look_at_followed(d, handler, arg);
	d->due = due ? now + SWEEP_NS : d->due;
	if (!drain(d, handler, arg)) {
		look_for_new(d, handler, arg);
		handler(arg, &lost);
	}
	forget_ended(d, handler, arg);
	if (is_anyone_ending(d) && d->due > now + EXIT_LOOK_NS)
		d->due = now + EXIT_LOOK_NS;
}

static void look_around(struct descendants *d, descendants_handler *handler, void *arg)
{
	uint64_t start = cpu_ns(), pause;

	if (now_ns() < d->due)
		return;
	look_at_followed(d, handler, arg);
	look_for_new(d, handler, arg);
	forget_ended(d, handler, arg);
	pause = LOOK_SHARE * (cpu_ns() - start);
	if (pause < LOOK_MIN_NS)
		pause = LOOK_MIN_NS;
	d->due = now_ns() + (pause > LOOK_MAX_NS ? LOOK_MAX_NS : pause);
}

void descendants_read(struct descendants *d, descendants_handler *handler, void *arg)
{
	if (d->netlink >= 0)
		listen_to_kernel(d, handler, arg);
	else
		look_around(d, handler, arg);
}
