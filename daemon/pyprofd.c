/* pyprofd: listens, and gives each connection a session process of its own. It parses nothing that
 * comes over a connection. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/protocol.h"
#include "daemon/session.h"
#include "daemon/version.h"

#define MAX_SESSIONS 256
/* Of one user; root is held by the other bound only. */
#define MAX_SESSIONS_OF_USER 64
#define LISTEN_FD	     3 /* the first that systemd passes: sd_listen_fds(3) */

struct session {
	pid_t pid; /* 0: free */
	uid_t uid;
};

struct daemon {
	const char *path; /* NULL: the socket is not ours to remove */
	int listener, signals;
	struct session sessions[MAX_SESSIONS];
};

static void __attribute__((format(printf, 1, 2))) say(const char *format, ...)
{
	va_list ap;

	fputs("pyprofd: ", stderr);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
}

static void print_help(void)
{
	printf("usage: pyprofd [options]\n"
	       "\n"
	       "Serve pyprof: read Python processes for those who may see them. Stays in the\n"
	       "foreground; takes a socket from systemd where one is passed.\n"
	       "\n"
	       "options:\n"
	       "  -h, --help     show this help and exit\n"
	       "  --socket PATH  where to listen (default: " SESSION_SOCKET_PATH ")\n"
	       "  --version      show the version and exit\n");
}

/* Whether someone listens there: then the place is taken. */
static bool is_alive(const struct sockaddr_un *addr)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool alive;

	if (fd < 0)
		return false;
	alive = connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0;
	close(fd);
	return alive;
}

static int listen_at(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct stat st;
	mode_t mask;
	int fd, r = 0;

	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	memcpy(addr.sun_path, path, strlen(path) + 1);
	if (lstat(path, &st) == 0) {
		if (!S_ISSOCK(st.st_mode))
			return -EEXIST;
		if (is_alive(&addr))
			return -EADDRINUSE;
		if (unlink(path) < 0)
			return -errno;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* Who may see what is the policy's question, not the socket's. */
	mask = umask(0111);
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		r = -errno;
	umask(mask);
	if (!r && listen(fd, SOMAXCONN) < 0)
		r = -errno;
	if (r < 0) {
		close(fd);
		return r;
	}
	return fd;
}

/* The socket that systemd passes: its descriptor, or -ENOENT. */
static int take_passed(void)
{
	const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
	struct stat st;
	int r = -ENOENT;

	if (pid && count && atoi(pid) == getpid() && atoi(count) >= 1) {
		if (fstat(LISTEN_FD, &st) < 0 || !S_ISSOCK(st.st_mode))
			r = -ENOTSOCK;
		else
			r = fcntl(LISTEN_FD, F_DUPFD_CLOEXEC, 10);
		if (r >= 0) {
			close(LISTEN_FD);
			(void)fcntl(r, F_SETFL, fcntl(r, F_GETFL) | O_NONBLOCK);
		}
	}
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	return r;
}

static void turn_away(int fd, const char *why)
{
	struct protocol_reply r = {
		.magic = PROTOCOL_MAGIC, .version = PROTOCOL_VERSION, .status = STATUS_FAILED};

	snprintf(r.text, sizeof(r.text), "%s", why);
	(void)send(fd, &r, sizeof(r), MSG_NOSIGNAL | MSG_DONTWAIT);
}

static struct session *find_room(struct daemon *d, uid_t uid, const char **ret_why)
{
	struct session *room = NULL;
	size_t of_user = 0;

	for (size_t i = 0; i < MAX_SESSIONS; i++) {
		if (!d->sessions[i].pid)
			room = &d->sessions[i];
		else if (d->sessions[i].uid == uid)
			of_user++;
	}
	if (uid != 0 && of_user >= MAX_SESSIONS_OF_USER) {
		*ret_why = "the daemon serves too many of your sessions already";
		return NULL;
	}
	if (!room)
		*ret_why = "the daemon serves too many sessions already";
	return room;
}

static void serve_connection(struct daemon *d)
{
	int fd = accept4(d->listener, NULL, NULL, SOCK_CLOEXEC);
	const char *why = NULL;
	struct session *s;
	struct ucred peer;
	socklen_t len = sizeof(peer);
	pid_t pid;
	int r;

	if (fd < 0)
		return;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0) {
		close(fd);
		return;
	}
	s = find_room(d, peer.uid, &why);
	if (!s) {
		turn_away(fd, why);
	} else {
		r = session_spawn_for_peer(fd, &pid);
		if (r < 0) {
			say("cannot start a session: %s", strerror(-r));
			turn_away(fd, "the daemon cannot start a session");
		} else {
			*s = (struct session){pid, peer.uid};
		}
	}
	close(fd);
}

static void reap_sessions(struct daemon *d)
{
	pid_t pid;

	while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
		for (size_t i = 0; i < MAX_SESSIONS; i++)
			if (d->sessions[i].pid == pid)
				d->sessions[i].pid = 0;
}

/* False: it is time to go. */
static bool hear_signal(struct daemon *d)
{
	struct signalfd_siginfo info;

	if (read(d->signals, &info, sizeof(info)) != sizeof(info))
		return true;
	if (info.ssi_signo != SIGCHLD)
		return false;
	reap_sessions(d);
	return true;
}

static void serve(struct daemon *d)
{
	struct pollfd fds[] = {{.fd = d->signals, .events = POLLIN},
			       {.fd = d->listener, .events = POLLIN}};

	for (;;) {
		if (poll(fds, 2, -1) < 0) {
			if (errno == EINTR)
				continue;
			say("cannot wait for connections: %s", strerror(errno));
			return;
		}
		if (fds[0].revents && !hear_signal(d))
			return;
		if (fds[1].revents)
			serve_connection(d);
	}
}

/* Sessions end with us: each has a reader that ends with its monitor, and no target is touched. */
static void end_sessions(const struct daemon *d)
{
	for (size_t i = 0; i < MAX_SESSIONS; i++)
		if (d->sessions[i].pid)
			kill(d->sessions[i].pid, SIGTERM);
}

static int parse(int argc, char **argv, const char **ret_path)
{
	enum { OPTION_SOCKET = 256, OPTION_VERSION };
	static const struct option longs[] = {
		{"help", no_argument, NULL, 'h'},
		{"socket", required_argument, NULL, OPTION_SOCKET},
		{"version", no_argument, NULL, OPTION_VERSION},
		{NULL, 0, NULL, 0},
	};
	int value;

	opterr = 0;
	while ((value = getopt_long(argc, argv, ":h", longs, NULL)) != -1) {
		switch (value) {
		case 'h':
			print_help();
			return 0;
		case OPTION_VERSION:
			printf("pyprofd %s\n", PYPROF_VERSION);
			return 0;
		case OPTION_SOCKET:
			*ret_path = optarg;
			break;
		case ':':
			say("option %s needs a value; see: pyprofd -h", argv[optind - 1]);
			return STATUS_USAGE;
		default:
			if (strncmp(argv[optind - 1], "--", 2) == 0)
				say("unknown option %s; see: pyprofd -h", argv[optind - 1]);
			else
				say("unknown option -%c; see: pyprofd -h", optopt);
			return STATUS_USAGE;
		}
	}
	if (optind < argc || !**ret_path) {
		say("%s; see: pyprofd -h",
		    optind < argc ? "there is nothing to give but options" : "--socket is empty");
		return STATUS_USAGE;
	}
	return -1;
}

int main(int argc, char **argv)
{
	static struct daemon d = {.path = SESSION_SOCKET_PATH};
	sigset_t set;
	int status;

	if (session_is_wanted(argv))
		session_main(argv);
	status = parse(argc, argv, &d.path);
	if (status >= 0)
		return fflush(stdout) ? STATUS_FAILED : status;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	d.signals = signalfd(-1, &set, SFD_CLOEXEC);
	d.listener = take_passed();
	if (d.listener == -ENOENT)
		d.listener = listen_at(d.path);
	else
		d.path = NULL;
	if (d.signals < 0 || d.listener < 0) {
		say("cannot listen at %s: %s", d.path ? d.path : "the socket passed to us",
		    strerror(d.listener < 0 ? -d.listener : errno));
		return STATUS_FAILED;
	}
	serve(&d);
	end_sessions(&d);
	if (d.path)
		unlink(d.path);
	return 0;
}
