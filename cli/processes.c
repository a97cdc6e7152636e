#include "cli/processes.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAX_PROCESSES 65536
#define MAX_DEPTH     64 /* of descendants; a parent may change while we look */

static ssize_t read_file(pid_t pid, const char *name, char *buf, size_t size)
{
	char path[64];
	ssize_t n;
	int fd;

	buf[0] = '\0';
	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, buf, size - 1);
	close(fd);
	buf[n < 0 ? 0 : n] = '\0';
	return n;
}

static bool mentions_python(const char *path)
{
	const char *base = strrchr(path, '/');

	return strcasestr(base ? base + 1 : path, "python") != NULL;
}

/* By what is mapped: an embedded interpreter has its library or its standard modules there. */
static bool maps_python(pid_t pid)
{
	char path[64], line[4352];
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	while (!found && fgets(line, sizeof(line), f)) {
		const char *file = strchr(line, '/');

		found = file && (strstr(file, "libpython") || strstr(file, "lib-dynload") ||
				 mentions_python(file) || strstr(file, ".cpython-"));
	}
	fclose(f);
	return found;
}

static bool looks_like_python(const struct process *p)
{
	char path[64], exe[4096];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/exe", (int)p->pid);
	n = readlink(path, exe, sizeof(exe) - 1);
	if (n >= 0) {
		exe[n] = '\0';
		return mentions_python(exe) || maps_python(p->pid);
	}
	/* Not ours to look at: the session will say why. A kernel thread has no command line. */
	if (errno == EACCES && p->command[0]) {
		char word[1024];

		snprintf(word, sizeof(word), "%.*s", (int)strcspn(p->command, " "), p->command);
		return mentions_python(word) || mentions_python(p->name);
	}
	return false;
}

static bool read_process(pid_t pid, struct process *ret)
{
	char text[1024], *p;
	ssize_t n;

	memset(ret, 0, sizeof(*ret));
	ret->pid = pid;
	if (read_file(pid, "stat", text, sizeof(text)) <= 0)
		return false;
	p = strrchr(text, ')');
	if (!p || sscanf(p + 1, " %*c %d", &ret->parent) != 1)
		return false;
	read_file(pid, "comm", ret->name, sizeof(ret->name));
	ret->name[strcspn(ret->name, "\n")] = '\0';
	n = read_file(pid, "cmdline", ret->command, sizeof(ret->command));
	while (n > 0 && !ret->command[n - 1])
		n--;
	for (ssize_t i = 0; i < n; i++)
		if (!ret->command[i])
			ret->command[i] = ' ';
	return true;
}

static int compare_pids(const void *a, const void *b)
{
	pid_t x = *(const pid_t *)a, y = *(const pid_t *)b;

	return (x > y) - (x < y);
}

static int list_pids(pid_t **ret, size_t *ret_n)
{
	DIR *dir = opendir("/proc");
	const struct dirent *e;
	pid_t *pids = NULL;
	size_t n = 0, cap = 0;

	if (!dir)
		return -errno;
	while ((e = readdir(dir)) && n < MAX_PROCESSES) {
		if (!isdigit((unsigned char)e->d_name[0]))
			continue;
		if (n == cap) {
			pid_t *more = reallocarray(pids, cap ? 2 * cap : 256, sizeof(*pids));

			if (!more)
				break;
			pids = more;
			cap = cap ? 2 * cap : 256;
		}
		pids[n++] = (pid_t)atoi(e->d_name);
	}
	closedir(dir);
	qsort(pids, n, sizeof(*pids), compare_pids);
	*ret = pids;
	*ret_n = n;
	return 0;
}

int processes_look(pid_t pid, struct process_program *ret)
{
	struct process p;
	struct stat st;
	char path[64];

	*ret = (struct process_program){0};
	if (!read_process(pid, &p))
		return -ESRCH;
	snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
	if (stat(path, &st) == 0)
		*ret = (struct process_program){st.st_dev, st.st_ino};
	else if (errno == ENOENT)
		return -ESRCH; /* only its remains */
	return looks_like_python(&p);
}

bool processes_share_memory(pid_t a, pid_t b)
{
	return syscall(SYS_kcmp, a, b, KCMP_VM, 0, 0) == 0;
}

int processes_each(int (*visit)(void *arg, const struct process *p), void *arg)
{
	pid_t *pids = NULL;
	size_t n = 0;
	int r = list_pids(&pids, &n);

	for (size_t i = 0; r == 0 && i < n; i++) {
		struct process p;

		if (!read_process(pids[i], &p))
			continue;
		p.python = looks_like_python(&p);
		r = visit(arg, &p);
	}
	free(pids);
	return r;
}

struct search {
	pid_t ancestor;
	struct process *ret;
};

static bool descends(pid_t pid, pid_t ancestor)
{
	struct process p;

	for (int i = 0; i < MAX_DEPTH && pid > 1; i++) {
		if (!read_process(pid, &p))
			return false;
		if (p.parent == ancestor)
			return true;
		pid = p.parent;
	}
	return false;
}

static int match_child(void *arg, const struct process *p)
{
	const struct search *s = arg;

	if (!p->python || !descends(p->pid, s->ancestor))
		return 0;
	*s->ret = *p;
	return 1;
}

int processes_find_child(pid_t pid, struct process *ret)
{
	struct search s = {pid, ret};

	return processes_each(match_child, &s) == 1 ? 0 : -ENOENT;
}
