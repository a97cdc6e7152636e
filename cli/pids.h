/* A set of process ids. */
#ifndef PYPROF_CLI_PIDS_H
#define PYPROF_CLI_PIDS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct pid_list {
	pid_t *pids;
	size_t count, cap;
};

/* Adds pid, if it is not there. What does not fit into memory is left out. */
void pid_list_add(struct pid_list *l, pid_t pid);
bool pid_list_has(const struct pid_list *l, pid_t pid);
/* "12, 13 and 2 more" */
void pid_list_print(const struct pid_list *l, char *buf, size_t size);
/* "12,13": 0; -EINVAL, -ENOMEM. */
int pid_list_parse(struct pid_list *ret, const char *text);
void pid_list_done(struct pid_list *l);

#endif
