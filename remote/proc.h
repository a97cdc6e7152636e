/* The files of /proc that describe a target, opened through an interface: a session's reader may
 * open nothing itself and asks its monitor; tests and tools open them directly. */
#ifndef PYPROF_REMOTE_PROC_H
#define PYPROF_REMOTE_PROC_H

#include <stdint.h>
#include <sys/types.h>

enum proc_file {
	PROC_MAPS,	     /* maps */
	PROC_EXE,	     /* exe: the executable, even a deleted one */
	PROC_MAP_FILE,	     /* map_files/a-b: the file mapped at [a, b); falls back on
			      * root/<path in maps> when that is the same device and inode */
	PROC_STATUS,	     /* status */
	PROC_TASKS,	     /* task/, a directory to list with getdents */
	PROC_TASK_COMM,	     /* task/a/comm */
	PROC_TASK_STATUS,    /* task/a/status */
	PROC_TASK_STAT,	     /* task/a/stat */
	PROC_TASK_SYSCALL,   /* task/a/syscall */
	PROC_TASK_SCHEDSTAT, /* task/a/schedstat */
	PROC_FILE_COUNT
};

/* open() returns a new read-only descriptor that the caller closes, or -errno.
 * a and b are as said at each proc_file, else 0. */
struct proc_opener {
	int (*open)(void *arg, enum proc_file file, uint64_t a, uint64_t b);
	void *arg;
};

/* The opener that opens the files of pid itself. */
struct proc_direct {
	pid_t pid;
	struct proc_opener opener;
};
void proc_direct_init(struct proc_direct *d, pid_t pid);

/* What proc_direct does, for the monitor: opens one file of pid, -errno on failure. */
int proc_open_file(pid_t pid, enum proc_file file, uint64_t a, uint64_t b);

/* Reads an open /proc file from its start into buf, NUL-terminated: length or -errno
 * (-E2BIG when it does not fit). */
ssize_t proc_read_text(int fd, char *buf, size_t size);

/* The same for a file that the kernel shows in one piece (stat, syscall, schedstat, comm): with one
 * read, which asks no second time for what is not there. */
ssize_t proc_read_piece(int fd, char *buf, size_t size);

/* Field 22 of /proc/PID/stat, in clock ticks since boot, from the text of a stat file:
 * 0 or -EINVAL. state gets field 3. */
int proc_parse_stat(const char *text, char *ret_state, uint64_t *ret_start_time);

/* Field 39, the CPU that it ran on last: -EINVAL when there is none. */
int proc_parse_stat_cpu(const char *text);

#endif
