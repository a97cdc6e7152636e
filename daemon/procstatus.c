#include "daemon/procstatus.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *find(const char *text, const char *key)
{
	size_t len = strlen(key);

	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, key, len) == 0)
			return line + len;
	}
	return NULL;
}

int procstatus_parse(const char *text, struct procstatus *ret)
{
	struct procstatus s = {.seccomp = -1};
	const char *state = find(text, "State:"), *uid = find(text, "Uid:");
	const char *gid = find(text, "Gid:"), *permitted = find(text, "CapPrm:");
	const char *effective = find(text, "CapEff:"), *seccomp = find(text, "Seccomp:");

	if (!state || sscanf(state, " %c", &s.state) != 1 || !uid ||
	    sscanf(uid, "%u %u %u", &s.uid[0], &s.uid[1], &s.uid[2]) != 3 || !gid ||
	    sscanf(gid, "%u %u %u", &s.gid[0], &s.gid[1], &s.gid[2]) != 3 || !permitted ||
	    sscanf(permitted, "%" SCNx64, &s.permitted) != 1 || !effective ||
	    sscanf(effective, "%" SCNx64, &s.effective) != 1)
		return -EINVAL;
	if (seccomp)
		(void)sscanf(seccomp, "%d", &s.seccomp);
	*ret = s;
	return 0;
}

int procstatus_read(const char *proc, pid_t pid, struct procstatus *ret)
{
	char path[PATH_MAX], text[8192];
	size_t len = 0;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/%d/status", proc, (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	while (len < sizeof(text) - 1 && (n = read(fd, text + len, sizeof(text) - 1 - len)) > 0)
		len += (size_t)n;
	close(fd);
	text[len] = '\0';
	return len ? procstatus_parse(text, ret) : -ESRCH;
}

int procstatus_link(const char *proc, pid_t pid, const char *name, char *buf, size_t size)
{
	char path[PATH_MAX];
	ssize_t n;

	snprintf(path, sizeof(path), "%s/%d/%s", proc, (int)pid, name);
	n = readlink(path, buf, size - 1);
	buf[n < 0 ? 0 : n] = '\0';
	return n < 0 ? -errno : 0;
}
