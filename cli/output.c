#include "cli/output.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/message.h"
#include "daemon/protocol.h"

struct output {
	FILE *file;
	char *path;	 /* NULL: standard output */
	char *temporary; /* NULL: written in place */
	bool existed, grows, regular;
};

static bool sudo_ids(uid_t *ret_uid, gid_t *ret_gid)
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

static void output_free(struct output *o)
{
	if (!o)
		return;
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
		if (asprintf(&place, "%s/%s", path, name) < 0)
			return NULL;
		return place;
	}
	if (!sudo_ids(&uid, &gid) && lstat(path, &st) == 0 && S_ISLNK(st.st_mode)) {
		real = realpath(path, NULL);
		if (real)
			return real;
	}
	return strdup(path);
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
		fd = open(o->temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
	else
		fd = open(o->path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0666);
	if (fd < 0)
		return -errno;
	if (sudo_ids(&uid, &gid) && (!o->existed || o->temporary) && fchown(fd, uid, gid) < 0) {
		e = -errno;
		close(fd);
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

int output_commit(struct output *o, const char *what)
{
	int status = 0;

	if (!o->path) {
		status = output_flush_stdout();
		output_free(o);
		return status;
	}
	if (o->temporary && o->existed)
		message("overwriting %s", message_text(o->path));
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

void output_discard(struct output *o)
{
	if (!o)
		return;
	if (o->temporary)
		unlink(o->temporary);
	else if (o->regular && !o->existed)
		unlink(o->path);
	output_free(o);
}
