#include "remote/thread.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "remote/array.h"
#include "remote/object.h"

#define MAX_TASKS 65536
/* threading may be imported later: soon in a program that starts, else perhaps never. */
#define SEARCH_FIRST_NS 10000000ull
#define SEARCH_LAST_NS	1000000000ull

static int read_word(const struct target *t, uint64_t addr, int32_t offset, uint64_t *ret)
{
	if (offset == ABSENT) {
		*ret = 0;
		return 0;
	}
	return MEMORY_READ(t->memory, addr + (uint64_t)offset, ret);
}

int interpreter_list(const struct target *t, struct interpreter_info *ret, size_t max)
{
	const struct layout *l = &t->layout;
	uint64_t addr;
	size_t n = 0;
	int r = read_word(t, t->runtime, l->runtime.interpreters_head, &addr);

	while (r == 0 && addr && n < max) {
		struct interpreter_info i = {.addr = addr};
		uint64_t next, id;

		r = read_word(t, addr, l->interp.next, &next);
		if (r == 0)
			r = read_word(t, addr, l->interp.id, &id);
		if (r == 0)
			r = read_word(t, addr, l->interp.threads_head, &i.threads_head);
		if (r == 0)
			r = read_word(t, addr, l->interp.threads_main, &i.threads_main);
		if (r == 0)
			r = read_word(t, addr, l->interp.gil, &i.gil);
		if (r < 0)
			return r;
		i.id = (int64_t)id;
		ret[n++] = i;
		addr = next;
	}
	return r < 0 ? r : (int)n;
}

int thread_list(const struct target *t, const struct interpreter_info *interp,
		struct thread_info *ret, size_t max)
{
	const struct layout *l = &t->layout;
	uint8_t words[THREAD_MAX_STATE];
	uint64_t addr = interp->threads_head, before = 0;
	size_t n = 0;

	while (addr && n < max) {
		struct thread_info i = {.addr = addr};
		uint64_t prev, owner;
		int r = memory_read(t->memory, addr, words, (size_t)l->tstate.size);

		if (r < 0)
			return r == -EFAULT ? -EAGAIN : r;
		memcpy(&i.next, words + l->tstate.next, 8);
		memcpy(&prev, words + l->tstate.prev, 8);
		memcpy(&owner, words + l->tstate.interp, 8);
		memcpy(&i.ident, words + l->tstate.thread_id, 8);
		if (l->tstate.native_thread_id != ABSENT)
			memcpy(&i.native_id, words + l->tstate.native_thread_id, 8);
		if (prev != before || owner != interp->addr)
			return -EAGAIN;
		ret[n++] = i;
		before = addr;
		addr = i.next;
	}
	return addr ? -EAGAIN : (int)n;
}

/* The last number of the NSpid line: the id in the innermost pid namespace. */
static uint32_t parse_nspid(const char *status, uint32_t tid)
{
	const char *p = strstr(status, "\nNSpid:");
	unsigned long value = tid;
	char *end;

	if (!p)
		return tid;
	for (p += 7;; p = end) {
		while (*p == ' ' || *p == '\t')
			p++;
		if (*p < '0' || *p > '9')
			return (uint32_t)value;
		value = strtoul(p, &end, 10);
	}
}

static uint32_t task_ns_tid(const struct target *t, uint32_t tid)
{
	char text[4096];
	int fd = t->opener->open(t->opener->arg, PROC_TASK_STATUS, tid, 0);
	ssize_t n;

	if (fd < 0)
		return tid;
	n = proc_read_text(fd, text, sizeof(text));
	close(fd);
	return n < 0 ? tid : parse_nspid(text, tid);
}

int task_list(const struct target *t, struct task **ret)
{
	_Alignas(8) char buf[16384];
	struct task *tasks = NULL;
	size_t n = 0, room = 0;
	bool namespaced = false;
	int fd = t->opener->open(t->opener->arg, PROC_TASKS, 0, 0);

	if (fd < 0)
		return fd;
	for (;;) {
		long got = syscall(SYS_getdents64, fd, buf, sizeof(buf));

		if (got <= 0)
			break;
		for (long at = 0; at + (long)offsetof(struct dirent64, d_name) < got;) {
			struct dirent64 *d = (struct dirent64 *)(buf + at);
			unsigned long tid = strtoul(d->d_name, NULL, 10);

			at += d->d_reclen;
			if (tid == 0 || tid > INT32_MAX || n == MAX_TASKS)
				continue;
			if (array_reserve(&tasks, &room, n + 1, sizeof(*tasks)) < 0) {
				free(tasks);
				close(fd);
				return -ENOMEM;
			}
			tasks[n] = (struct task){(uint32_t)tid, (uint32_t)tid};
			/* All tasks are in the pid namespace of the first. */
			if (n == 0 || namespaced)
				tasks[n].ns_tid = task_ns_tid(t, (uint32_t)tid);
			if (n == 0)
				namespaced = tasks[0].ns_tid != tasks[0].tid;
			n++;
		}
	}
	close(fd);
	*ret = tasks;
	return (int)n;
}

int thread_find_tid_offset(const struct target *t, const struct thread_info *threads, size_t n,
			   const struct task *tasks, size_t n_tasks)
{
	/* glibc's struct pthread: the header of 704 bytes, two list words, tid. Others differ, so a
	 * window is searched and every thread must agree. */
	enum { FROM = 512, TO = 1024 };
	uint32_t words[(TO - FROM) / 4];
	uint8_t votes[(TO - FROM) / 4] = {0};
	size_t asked = 0;

	for (size_t i = 0; i < n && asked < 16; i++) {
		if (memory_read(t->memory, threads[i].ident + FROM, words, sizeof(words)) < 0)
			continue;
		asked++;
		for (size_t w = 0; w < sizeof(words) / 4; w++)
			for (size_t k = 0; k < n_tasks; k++)
				if (words[w] == tasks[k].ns_tid) {
					votes[w]++;
					break;
				}
	}
	for (size_t w = 0; asked && w < sizeof(words) / 4; w++)
		if (votes[w] == asked)
			return (int)(FROM + w * 4);
	return -ENOENT;
}

static void find_active(const struct target *t, struct thread_names *names,
			const struct interpreter_info *interp)
{
	const struct layout *l = &t->layout;
	uint64_t modules, module, dict;

	if (l->interp.modules == ABSENT ||
	    read_word(t, interp->addr, l->interp.modules, &modules) < 0 ||
	    object_dict_get(t->memory, l, modules, "threading", &module) < 0)
		return;
	/* PyModuleObject: the dict stands behind the head, in every version. */
	if (MEMORY_READ(t->memory, module + (uint64_t)l->object.size, &dict) < 0)
		return;
	if (object_dict_get(t->memory, l, dict, "_active", &names->active) < 0)
		names->active = 0;
}

struct collect {
	const struct target *target;
	struct thread_names *names;
	size_t room;
};

static int collect_thread(void *arg, uint64_t key, uint64_t value)
{
	struct collect *c = arg;
	struct thread_names *names = c->names;
	uint64_t ident;

	if (object_read_uint(c->target->memory, &c->target->layout, key, &ident) < 0)
		return 0;
	if (array_reserve(&names->named, &c->room, names->n_named + 1, sizeof(*names->named)) < 0)
		return -ENOMEM;
	names->named[names->n_named++] = (struct named){ident, value};
	return 0;
}

static int compare_named(const void *a, const void *b)
{
	uint64_t x = ((const struct named *)a)->ident, y = ((const struct named *)b)->ident;

	return x < y ? -1 : x > y;
}

void thread_names_done(struct thread_names *names)
{
	free(names->named);
	names->named = NULL;
	names->n_named = 0;
}

void thread_names_read(struct thread_names *names, const struct target *t,
		       const struct interpreter_info *interp, uint64_t now_ns, bool started)
{
	struct collect c = {t, names, 0};

	if (!names->active &&
	    now_ns - names->searched_ns >= (started ? SEARCH_FIRST_NS : names->pause_ns)) {
		names->pause_ns = names->pause_ns ? names->pause_ns * 2 : SEARCH_FIRST_NS;
		if (names->pause_ns > SEARCH_LAST_NS)
			names->pause_ns = SEARCH_LAST_NS;
		names->searched_ns = now_ns;
		find_active(t, names, interp);
	}
	thread_names_done(names);
	if (!names->active)
		return;
	object_each_item(t->memory, &t->layout, names->active, collect_thread, &c);
	if (names->n_named)
		qsort(names->named, names->n_named, sizeof(*names->named), compare_named);
}

static ssize_t threading_name(const struct target *t, const struct thread_names *names,
			      uint64_t ident, char *buf, size_t size)
{
	struct named key = {ident, 0}, *found = NULL;
	uint64_t name;
	int r;

	if (names->n_named)
		found = bsearch(&key, names->named, names->n_named, sizeof(key), compare_named);
	if (!found)
		return -ENOENT;
	r = object_get_attribute(t->memory, &t->layout, found->thread, "_name", &name);
	if (r < 0)
		return r;
	return object_read_string(t->memory, &t->layout, name, buf, size);
}

size_t thread_name(const struct target *t, const struct thread_names *names, uint64_t ident,
		   uint32_t tid, char *buf, size_t size, bool *ret_from_threading)
{
	ssize_t n = threading_name(t, names, ident, buf, size);
	int fd;

	*ret_from_threading = n > 0;
	if (n > 0)
		return (size_t)n;
	if (tid == 0)
		return 0;
	fd = t->opener->open(t->opener->arg, PROC_TASK_COMM, tid, 0);
	if (fd < 0)
		return 0;
	n = proc_read_text(fd, buf, size);
	close(fd);
	while (n > 0 && buf[n - 1] == '\n')
		n--;
	return n > 0 ? (size_t)n : 0;
}
