#include "cli/pids.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#define PRINTED 10

void pid_list_add(struct pid_list *l, pid_t pid)
{
	if (pid_list_has(l, pid))
		return;
	if (l->count == l->cap) {
		size_t cap = l->cap ? 2 * l->cap : 16;
		pid_t *pids = reallocarray(l->pids, cap, sizeof(*pids));

		if (!pids)
			return;
		l->pids = pids;
		l->cap = cap;
	}
	l->pids[l->count++] = pid;
}

bool pid_list_has(const struct pid_list *l, pid_t pid)
{
	for (size_t i = l->count; i-- > 0;)
		if (l->pids[i] == pid)
			return true;
	return false;
}

void pid_list_print(const struct pid_list *l, char *buf, size_t size)
{
	size_t shown = l->count > PRINTED ? PRINTED : l->count, at = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < shown && at < size; i++)
		at += (size_t)snprintf(buf + at, size - at, "%s%d", i ? ", " : "", (int)l->pids[i]);
	if (shown < l->count && at < size)
		snprintf(buf + at, size - at, " and %zu more", l->count - shown);
}

int pid_list_parse(struct pid_list *ret, const char *text)
{
	struct pid_list l = {0};
	char *end;

	for (;; text = end + 1) {
		long pid;

		errno = 0;
		pid = isdigit((unsigned char)*text) ? strtol(text, &end, 10) : 0;
		if (pid <= 0 || pid > INT_MAX || errno || (*end && *end != ',')) {
			pid_list_done(&l);
			return -EINVAL;
		}
		pid_list_add(&l, (pid_t)pid);
		if (!*end)
			break;
	}
	if (!l.count)
		return -ENOMEM;
	pid_list_done(ret);
	*ret = l;
	return 0;
}

void pid_list_done(struct pid_list *l)
{
	free(l->pids);
	*l = (struct pid_list){0};
}
