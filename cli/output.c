#include "cli/output.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/message.h"
#include "cli/progress.h"
#include "daemon/protocol.h"
#include "formats/format.h"

#define MARK_WITHIN 1024 /* bytes of a folder's index */

struct output {
	FILE *file;
	struct output_folder *folder; /* NULL: a file */
	char *path;		      /* NULL: standard output */
	char *temporary;	      /* NULL: written in place */
	bool existed, grows, regular;
	struct output *next; /* of those that are open */
};

/* Those that a signal must not leave half written. Changed by one store each, which a handler sees
 * done or not. */
static struct output *volatile opened;

static void remember_open(struct output *o)
{
	o->next = opened;
	opened = o;
}

static void forget_open(struct output *o)
{
	struct output *at = opened;

	if (at == o)
		opened = o->next;
	for (; at; at = at->next)
		if (at->next == o)
			at->next = o->next;
}

static const int ending_signals[] = {SIGINT, SIGTERM, SIGHUP};

/* While a result gets a name, so that it has it, and is known to have it, or was never there. */
static void hold_signals(sigset_t *ret_before)
{
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(ending_signals) / sizeof(ending_signals[0]); i++)
		sigaddset(&set, ending_signals[i]);
	sigprocmask(SIG_BLOCK, &set, ret_before);
}

bool output_sudo_ids(uid_t *ret_uid, gid_t *ret_gid)
{
	const char *uid = getenv("SUDO_UID"), *gid = getenv("SUDO_GID");
	char *end;
	unsigned long value;

	if (geteuid() != 0 || !uid || !gid || !*uid || !*gid)
		return false;
	value = strtoul(uid, &end, 10);
	if (*end || value > UINT_MAX)
		return false;
	*ret_uid = (uid_t)value;
	value = strtoul(gid, &end, 10);
	if (*end || value > UINT_MAX)
		return false;
	*ret_gid = (gid_t)value;
	return true;
}

static int fail(const char *verb, const char *path, int error)
{
	message("cannot %s %s: %s", verb, message_text(path), strerror(error));
	return STATUS_FAILED;
}

static void folder_free(struct output_folder *f);

static void output_free(struct output *o)
{
	if (!o)
		return;
	forget_open(o);
	folder_free(o->folder);
	if (o->file && o->file != stdout)
		fclose(o->file);
	free(o->path);
	free(o->temporary);
	free(o);
}

/* path, or the place in the directory that it is, with symbolic links followed where the name is
 * ours to follow. */
static char *find_place(const char *path, const char *name)
{
	struct stat st;
	char *place = NULL, *real;
	uid_t uid;
	gid_t gid;

	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
		if (asprintf(&place, "%s%s%s", path, path[strlen(path) - 1] == '/' ? "" : "/",
			     name) < 0)
			return NULL;
		return place;
	}
	if (!output_sudo_ids(&uid, &gid) && lstat(path, &st) == 0 && S_ISLNK(st.st_mode)) {
		real = realpath(path, NULL);
		if (real)
			return real;
	}
	return strdup(path);
}

/* -1 and errno, as of open(2). */
static int create_temporary(struct output *o)
{
	sigset_t before;
	int fd, e;

	hold_signals(&before);
	fd = open(o->temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
	e = errno;
	if (fd >= 0)
		remember_open(o);
	sigprocmask(SIG_SETMASK, &before, NULL);
	errno = e;
	return fd;
}

static int open_descriptor(struct output *o)
{
	struct stat st;
	uid_t uid;
	gid_t gid;
	int fd, e;

	if (stat(o->path, &st) == 0 && !S_ISREG(st.st_mode)) {
		/* A device or a pipe: nothing to rename, nothing to give to anyone. */
		fd = open(o->path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
		return fd < 0 ? -errno : fd;
	}
	if (lstat(o->path, &st) == 0 && S_ISLNK(st.st_mode))
		return -ELOOP;
	o->regular = true;
	o->existed = access(o->path, F_OK) == 0;
	/* Renaming needs no right to the file itself, but a file made read-only was meant so. */
	if (o->existed && access(o->path, W_OK) < 0)
		return -errno;
	if (!o->grows && asprintf(&o->temporary, "%s.%d.tmp", o->path, (int)getpid()) < 0) {
		o->temporary = NULL;
		return -ENOMEM;
	}
	if (o->temporary)
		fd = create_temporary(o);
	else
		fd = open(o->path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0666);
	if (fd < 0)
		return -errno;
	if (output_sudo_ids(&uid, &gid) && (!o->existed || o->temporary) &&
	    fchown(fd, uid, gid) < 0) {
		e = -errno;
		close(fd);
		if (o->temporary)
			unlink(o->temporary);
		return e;
	}
	return fd;
}

int output_open(struct output **ret, const char *path, const char *name, bool grows)
{
	struct output *o = calloc(1, sizeof(*o));
	int fd;

	if (!o)
		return fail("open", path, ENOMEM);
	o->grows = grows;
	if (strcmp(path, "-") == 0) {
		o->file = stdout;
		*ret = o;
		return 0;
	}
	o->path = find_place(path, name);
	fd = o->path ? open_descriptor(o) : -ENOMEM;
	if (fd < 0) {
		if (fd == -ELOOP)
			message("cannot write %s: it is a symbolic link, and under sudo none is "
				"followed",
				message_text(o->path));
		else
			fail("write", o->path ? o->path : path, -fd);
		output_free(o);
		return STATUS_FAILED;
	}
	o->file = fdopen(fd, "w");
	if (!o->file) {
		close(fd);
		output_discard(o);
		return fail("write", path, ENOMEM);
	}
	*ret = o;
	return 0;
}

/* ---- a folder ---- */

struct output_folder {
	const struct format *format;
	struct format_folder out; /* whose functions write into it */
	int fd, old_fd;		  /* the new one; what is there already, or -1 */
	char refused[256];	  /* why what is there is not ours to replace */
};

static void folder_free(struct output_folder *f)
{
	if (!f)
		return;
	if (f->fd >= 0)
		close(f->fd);
	if (f->old_fd >= 0)
		close(f->old_fd);
	free(f);
}

/* The file is left to the user under sudo. */
static int give_away(int fd)
{
	uid_t uid;
	gid_t gid;

	return output_sudo_ids(&uid, &gid) && fchown(fd, uid, gid) < 0 ? -errno : 0;
}

static int folder_open_file(void *arg, const char *name, FILE **ret)
{
	struct output_folder *f = arg;
	int fd = openat(f->fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666), e;

	if (fd < 0)
		return -errno;
	e = give_away(fd);
	if (e == 0) {
		*ret = fdopen(fd, "w");
		e = *ret ? 0 : -ENOMEM;
	}
	if (e < 0)
		close(fd);
	return e;
}

static int folder_close_file(void *arg, FILE *file)
{
	int e = 0;

	if (fflush(file) != 0 || ferror(file))
		e = errno ? -errno : -EIO;
	if (fclose(file) != 0 && e == 0)
		e = -errno;
	return e;
}

/* The names in a folder, one after another; NULL ends. */
static DIR *list_folder(int fd)
{
	int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);

	if (!dir && copy >= 0)
		close(copy);
	return dir;
}

static bool is_dots(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static bool has_mark(int dir_fd, const char *mark)
{
	int fd = openat(dir_fd, "index.html", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	char buf[MARK_WITHIN];
	ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf));

	if (fd >= 0)
		close(fd);
	return n > 0 && memmem(buf, (size_t)n, mark, strlen(mark));
}

/* Whether what is there may go: it is empty, or of ours and nothing else. */
static bool is_replaceable(struct output_folder *f)
{
	DIR *dir = list_folder(f->old_fd);
	const struct dirent *e;
	bool any = false, ours = true;
	struct stat st;

	if (!dir)
		return false;
	while (ours && (e = readdir(dir))) {
		if (is_dots(e->d_name))
			continue;
		any = true;
		ours = f->format->folder_owns(e->d_name) &&
		       fstatat(f->old_fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		       S_ISREG(st.st_mode);
		if (!ours)
			snprintf(f->refused, sizeof(f->refused), "%s", e->d_name);
	}
	closedir(dir);
	return ours && (!any || has_mark(f->old_fd, f->format->folder_mark));
}

/* Removes those of ours among the next names that the kernel tells: whether there were any. */
static bool remove_some(const struct output_folder *f, int fd)
{
	_Alignas(struct dirent64) char names[8192];
	ssize_t n = getdents64(fd, names, sizeof(names));

	for (ssize_t at = 0; at < n;) {
		const struct dirent64 *e = (const struct dirent64 *)(names + at);

		at += e->d_reclen;
		if (f->format->folder_owns(e->d_name))
			unlinkat(fd, e->d_name, 0);
	}
	return n > 0;
}

/* Removes what a folder of ours holds, and itself. Handlers of signals call it too: it must neither
 * allocate nor lock. */
static void remove_folder(const struct output_folder *f, int fd, const char *path)
{
	int list = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	while (list >= 0 && remove_some(f, list))
		;
	if (list >= 0)
		close(list);
	rmdir(path);
}

/* 0; STATUS_FAILED and a line. */
static int check_place(struct output *o)
{
	struct output_folder *f = o->folder;
	struct stat st;

	if (lstat(o->path, &st) < 0)
		return 0;
	if (S_ISLNK(st.st_mode)) {
		message("cannot write %s: it is a symbolic link%s", message_text(o->path),
			output_sudo_ids(&(uid_t){0}, &(gid_t){0})
				? ", and under sudo none is followed"
				: " that leads nowhere");
		return STATUS_FAILED;
	}
	if (!S_ISDIR(st.st_mode)) {
		message("cannot write %s: it is a file, and %s is a folder", message_text(o->path),
			f->format->name);
		return STATUS_FAILED;
	}
	f->old_fd = open(o->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (f->old_fd < 0)
		return fail("write", o->path, errno);
	if (is_replaceable(f)) {
		o->existed = true;
		return 0;
	}
	if (f->refused[0])
		message("cannot write %s: it is there already, and \"%s\" in it is not of a %s",
			message_text(o->path), message_text(f->refused), f->format->name);
	else
		message("cannot write %s: it is there already and no %s of ours",
			message_text(o->path), f->format->name);
	return STATUS_FAILED;
}

static int make_folder(struct output *o)
{
	struct output_folder *f = o->folder;
	sigset_t before;
	int e;

	if (asprintf(&o->temporary, "%s.%d.tmp", o->path, (int)getpid()) < 0) {
		o->temporary = NULL;
		return -ENOMEM;
	}
	hold_signals(&before);
	e = mkdir(o->temporary, 0777) < 0 ? -errno : 0;
	if (e == 0)
		remember_open(o);
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (e < 0) {
		free(o->temporary); /* it is not ours to remove */
		o->temporary = NULL;
		return e;
	}
	f->fd = open(o->temporary, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return f->fd < 0 ? -errno : give_away(f->fd);
}

/* path without the slashes at its end, which would make a name inside of the name beside it; with a
 * symbolic link followed where the name is ours to follow. */
static char *folder_place(const char *path)
{
	char *place = strdup(path), *real;
	size_t len = place ? strlen(place) : 0;
	const char *base;
	struct stat st;

	while (len > 1 && place[len - 1] == '/')
		place[--len] = '\0';
	if (!place || lstat(place, &st) < 0)
		return place;
	base = strrchr(place, '/');
	base = base ? base + 1 : place;
	if (is_dots(base) || (S_ISLNK(st.st_mode) && !output_sudo_ids(&(uid_t){0}, &(gid_t){0}))) {
		real = realpath(place, NULL);
		if (real) {
			free(place);
			return real;
		}
	}
	return place;
}

int output_open_folder(struct output **ret, const char *path, const struct format *format)
{
	struct output *o;
	int e;

	o = calloc(1, sizeof(*o));
	if (o)
		o->folder = calloc(1, sizeof(*o->folder));
	if (!o || !o->folder) {
		free(o);
		return fail("write", path, ENOMEM);
	}
	o->regular = true;
	*o->folder = (struct output_folder){
		.format = format,
		.out = {o->folder, folder_open_file, folder_close_file},
		.fd = -1,
		.old_fd = -1,
	};
	o->path = folder_place(path);
	if (!o->path) {
		output_free(o);
		return fail("write", path, ENOMEM);
	}
	e = check_place(o);
	if (!e) {
		e = make_folder(o);
		e = e < 0 ? fail("write", o->path, -e) : 0;
	}
	if (e) {
		output_discard(o);
		return STATUS_FAILED;
	}
	*ret = o;
	return 0;
}

const struct format_folder *output_folder(struct output *o)
{
	return o->folder ? &o->folder->out : NULL;
}

/* What is there now is what was looked at, and still ours alone. */
static bool is_still_ours(const struct output *o)
{
	struct stat was, is;

	return fstat(o->folder->old_fd, &was) == 0 && lstat(o->path, &is) == 0 &&
	       was.st_dev == is.st_dev && was.st_ino == is.st_ino && is_replaceable(o->folder);
}

/* The new one in the place of the old. 0 or -errno; what is there stays there then. */
static int replace_folder(struct output *o)
{
	char *aside;
	int e = 0;

	if (!is_still_ours(o))
		return -EEXIST;
	if (renameat2(AT_FDCWD, o->temporary, AT_FDCWD, o->path, RENAME_EXCHANGE) == 0) {
		remove_folder(o->folder, o->folder->old_fd, o->temporary);
		return 0;
	}
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	/* A file system that cannot exchange. */
	if (asprintf(&aside, "%s.%d.old", o->path, (int)getpid()) < 0)
		return -ENOMEM;
	if (rename(o->path, aside) < 0) {
		e = -errno;
	} else if (rename(o->temporary, o->path) < 0) {
		e = -errno;
		(void)rename(aside, o->path);
	} else {
		remove_folder(o->folder, o->folder->old_fd, aside);
	}
	free(aside);
	return e;
}

static int commit_folder(struct output *o)
{
	int e;

	if (o->existed)
		e = replace_folder(o);
	else
		e = renameat2(AT_FDCWD, o->temporary, AT_FDCWD, o->path, RENAME_NOREPLACE) < 0
			    ? -errno
			    : 0;
	/* A file system that knows no flags: rename() replaces an empty folder at most. */
	if (e == -EINVAL && !o->existed)
		e = rename(o->temporary, o->path) < 0 ? -errno : 0;
	if (e < 0)
		remove_folder(o->folder, o->folder->fd, o->temporary);
	return e;
}

int output_begin(struct output *o)
{
	/* One that does not grow leaves the old file alone until it is renamed over it. */
	if (!o->path || !o->grows || !o->existed)
		return 0;
	message("overwriting %s", message_text(o->path));
	return ftruncate(fileno(o->file), 0) < 0 ? fail("write", o->path, errno) : 0;
}

FILE *output_file(struct output *o)
{
	return o->file;
}

const char *output_name(const struct output *o)
{
	return o->path ? o->path : "standard output";
}

bool output_is_stdout(const struct output *o)
{
	return !o->path;
}

bool output_is_regular(const struct output *o)
{
	return o->regular;
}

FILE *output_scratch(void)
{
	const char *directory = secure_getenv("TMPDIR");
	FILE *file;
	int fd;

	fd = open(directory && directory[0] ? directory : "/var/tmp",
		  O_RDWR | O_TMPFILE | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return tmpfile(); /* the file system cannot, or there is no such folder */
	file = fdopen(fd, "w+");
	if (!file)
		close(fd);
	return file;
}

int output_flush_stdout(void)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return 0;
	/* The reader of a pipe has seen enough: that is its business. */
	if (errno == EPIPE)
		return STATUS_FAILED;
	return fail("write to", "the standard output", errno);
}

static int commit(struct output *o, const char *what)
{
	int status = 0;

	if (o->temporary && o->existed)
		message("overwriting %s", message_text(o->path));
	if (o->folder) {
		int e = commit_folder(o);

		if (e < 0)
			status = fail("write", o->path, -e);
		else if (what)
			message("%s written to %s", what, message_text(o->path));
		output_free(o);
		return status;
	}
	if (fflush(o->file) != 0 || ferror(o->file))
		status = fail("write", o->path, errno);
	else if (o->temporary && rename(o->temporary, o->path) < 0)
		status = fail("write", o->path, errno);
	if (status && o->temporary)
		unlink(o->temporary);
	if (!status && what)
		message("%s written to %s", what, message_text(o->path));
	output_free(o);
	return status;
}

int output_commit(struct output *o, const char *what)
{
	sigset_t before;
	int status;

	if (!o->path) {
		status = output_flush_stdout();
		output_free(o);
		return status;
	}
	/* What is long to write is written before. */
	if (o->file)
		fflush(o->file);
	hold_signals(&before);
	status = commit(o, what);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return status;
}

/* Nothing that may not be called in a handler. */
static void undo(void)
{
	for (const struct output *o = opened; o; o = o->next) {
		if (o->folder && o->temporary && o->folder->fd >= 0)
			remove_folder(o->folder, o->folder->fd, o->temporary);
		else if (o->folder && o->temporary)
			rmdir(o->temporary);
		else if (o->temporary)
			unlink(o->temporary);
	}
}

void output_end_by(int sig)
{
	undo();
	progress_end();
	signal(sig, SIG_DFL);
	raise(sig);
}

void output_catch_signals(void)
{
	const struct sigaction sa = {.sa_handler = output_end_by};
	struct sigaction old;

	for (size_t i = 0; i < sizeof(ending_signals) / sizeof(ending_signals[0]); i++)
		if (sigaction(ending_signals[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
			sigaction(ending_signals[i], &sa, NULL);
}

void output_discard(struct output *o)
{
	if (!o)
		return;
	if (o->folder && o->temporary)
		remove_folder(o->folder, o->folder->fd, o->temporary);
	else if (o->temporary)
		unlink(o->temporary);
	else if (o->regular && !o->existed && !o->folder)
		unlink(o->path);
	output_free(o);
}
