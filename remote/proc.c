#include "remote/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <inttypes.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* A path of /proc of ours: "/proc/PID/map_files/a-b" with all digits fits. */
#define PROC_PATH_MAX 128

/* A line of maps: 73 columns before a path of at most PATH_MAX, each byte of which the kernel may
 * escape to four. */
#define MAPS_LINE_MAX (128 + 4 * 4096)

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}
#define _cleanup_fd_ __attribute__((cleanup(close_fd)))

static int open_path(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* Opens for reading what an O_PATH descriptor names, when it is a regular file: what a target maps
 * may also be a device, and opening that can have effects. */
static int reopen_regular(int path_fd)
{
	char path[PROC_PATH_MAX];
	struct stat st;

	if (fstat(path_fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EACCES;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", path_fd);
	return open_path(path, O_RDONLY | O_NOCTTY | O_NONBLOCK);
}

static int open_regular(const char *path)
{
	_cleanup_fd_ int fd = open_path(path, O_PATH);

	if (fd < 0)
		return fd;
	return reopen_regular(fd);
}

/* Undoes the kernel's escapes in a path of maps ("\012" for a newline), in place. */
static void unescape(char *path)
{
	char *to = path;

	for (const char *from = path; *from; to++) {
		if (from[0] == '\\' && from[1] >= '0' && from[1] <= '3' && from[2] >= '0' &&
		    from[2] <= '7' && from[3] >= '0' && from[3] <= '7') {
			*to = (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 | (from[3] - '0'));
			from += 4;
		} else {
			*to = *from++;
		}
	}
	*to = '\0';
}

/* Finds the line of maps of the mapping [a, b): its device, inode, and path in buf. */
static int find_mapping(pid_t pid, uint64_t a, uint64_t b, dev_t *ret_dev, ino_t *ret_inode,
			char *buf, size_t size)
{
	char name[PROC_PATH_MAX];
	int r = -ENOENT;
	FILE *f;

	snprintf(name, sizeof(name), "/proc/%d/maps", (int)pid);
	f = fopen(name, "re");
	if (!f)
		return -errno;
	while (fgets(buf, (int)size, f)) {
		uint64_t start, end, inode;
		unsigned int major_, minor_;
		int at = 0;

		if (sscanf(buf, "%" SCNx64 "-%" SCNx64 " %*s %*x %x:%x %" SCNu64 " %n", &start,
			   &end, &major_, &minor_, &inode, &at) < 5 ||
		    at == 0)
			continue;
		if (start != a || end != b)
			continue;
		if (inode == 0 || buf[at] != '/')
			break;
		buf[strcspn(buf, "\n")] = '\0';
		*ret_dev = makedev(major_, minor_);
		*ret_inode = inode;
		memmove(buf, buf + at, strlen(buf + at) + 1);
		unescape(buf);
		r = 0;
		break;
	}
	fclose(f);
	return r;
}

/* The file behind a mapping by its name, for who may not use map_files (that takes
 * CAP_CHECKPOINT_RESTORE). The name is looked up below the target's root and must lead to the
 * inode that is mapped: what stands there now may be another file. */
static int open_by_name(pid_t pid, uint64_t a, uint64_t b)
{
	struct open_how how = {
		.flags = O_PATH | O_CLOEXEC,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};
	char root_path[PROC_PATH_MAX];
	_cleanup_fd_ int root = -1;
	_cleanup_fd_ int fd = -1;
	struct stat st;
	ino_t inode = 0;
	dev_t dev = 0;
	char *line;
	int r;

	line = malloc(MAPS_LINE_MAX);
	if (!line)
		return -ENOMEM;
	r = find_mapping(pid, a, b, &dev, &inode, line, MAPS_LINE_MAX);
	if (r < 0)
		goto out;
	snprintf(root_path, sizeof(root_path), "/proc/%d/root", (int)pid);
	root = open_path(root_path, O_PATH | O_DIRECTORY);
	if (root < 0) {
		r = root;
		goto out;
	}
	fd = (int)syscall(SYS_openat2, root, line, &how, sizeof(how));
	if (fd < 0 || fstat(fd, &st) < 0) {
		r = -errno;
		goto out;
	}
	if (st.st_dev != dev || st.st_ino != inode) {
		r = -ENOENT;
		goto out;
	}
	r = reopen_regular(fd);
out:
	free(line);
	return r;
}

static int open_map_file(pid_t pid, uint64_t a, uint64_t b)
{
	char path[PROC_PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/map_files/%" PRIx64 "-%" PRIx64, (int)pid, a, b);
	fd = open_regular(path);
	if (fd != -EPERM && fd != -EACCES && fd != -ENOENT)
		return fd;
	return open_by_name(pid, a, b);
}

int proc_open_file(pid_t pid, enum proc_file file, uint64_t a, uint64_t b)
{
	char path[PROC_PATH_MAX];
	const char *leaf;

	switch (file) {
	case PROC_MAPS:
		snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
		return open_path(path, O_RDONLY);
	case PROC_EXE:
		snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
		return open_regular(path);
	case PROC_MAP_FILE:
		return open_map_file(pid, a, b);
	case PROC_STATUS:
		snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
		return open_path(path, O_RDONLY);
	case PROC_TASKS:
		snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
		return open_path(path, O_RDONLY | O_DIRECTORY);
	case PROC_TASK_STATUS:
		leaf = "status";
		break;
	case PROC_TASK_COMM:
		leaf = "comm";
		break;
	case PROC_TASK_STAT:
		leaf = "stat";
		break;
	case PROC_TASK_SYSCALL:
		leaf = "syscall";
		break;
	case PROC_TASK_SCHEDSTAT:
		leaf = "schedstat";
		break;
	default:
		return -EINVAL;
	}
	snprintf(path, sizeof(path), "/proc/%d/task/%" PRIu64 "/%s", (int)pid, a, leaf);
	return open_path(path, O_RDONLY);
}

static int direct_open(void *arg, enum proc_file file, uint64_t a, uint64_t b)
{
	const struct proc_direct *d = arg;

	return proc_open_file(d->pid, file, a, b);
}

void proc_direct_init(struct proc_direct *d, pid_t pid)
{
	d->pid = pid;
	d->opener.open = direct_open;
	d->opener.arg = d;
}

ssize_t proc_read_piece(int fd, char *buf, size_t size)
{
	ssize_t n;

	if (size == 0)
		return -E2BIG;
	do
		n = pread(fd, buf, size, 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if ((size_t)n == size)
		return -E2BIG;
	buf[n] = '\0';
	return n;
}

ssize_t proc_read_text(int fd, char *buf, size_t size)
{
	size_t len = 0;

	if (size == 0)
		return -E2BIG;
	for (;;) {
		char more;
		ssize_t n;

		if (len < size - 1)
			n = pread(fd, buf + len, size - 1 - len, (off_t)len);
		else
			n = pread(fd, &more, 1, (off_t)len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		if (len == size - 1)
			return -E2BIG;
		len += (size_t)n;
	}
	buf[len] = '\0';
	return (ssize_t)len;
}

/* Steps over a space and reads the word behind it as a number. */
static bool next_number(const char **text, uint64_t *ret)
{
	char *end;

	if (**text != ' ')
		return false;
	(*text)++;
	if (**text == '-')
		(*text)++;
	if (**text < '0' || **text > '9')
		return false;
	errno = 0;
	*ret = strtoull(*text, &end, 10);
	if (errno != 0)
		return false;
	*text = end;
	return true;
}

/* Behind field 3 of a stat file's text, NULL when that is none; *ret_state gets field 3. */
static const char *stat_numbers(const char *text, char *ret_state)
{
	/* Field 2, the name, may hold anything, also spaces and parentheses: it ends at the last
	 * one. */
	const char *p = strrchr(text, ')');

	if (!p || p[1] != ' ' || p[2] < 'A' || p[2] > 'z')
		return NULL;
	*ret_state = p[2];
	return p + 3;
}

int proc_parse_stat(const char *text, char *ret_state, uint64_t *ret_start_time)
{
	uint64_t value = 0;
	char state;
	const char *p = stat_numbers(text, &state);

	if (!p)
		return -EINVAL;
	for (int field = 4; field <= 22; field++) {
		if (!next_number(&p, &value))
			return -EINVAL;
	}
	*ret_state = state;
	*ret_start_time = value;
	return 0;
}

int proc_parse_stat_cpu(const char *text)
{
	uint64_t value = 0;
	char state;
	const char *p = stat_numbers(text, &state);

	if (!p)
		return -EINVAL;
	for (int field = 4; field <= 39; field++) {
		if (!next_number(&p, &value))
			return -EINVAL;
	}
	return value < INT_MAX ? (int)value : -EINVAL;
}
