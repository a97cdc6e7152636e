#include "cli/recording-parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/message.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "formats/tach-reader.h"

#define BUFFER_SIZE (256 * 1024)

/* A file that is read. */
struct input {
	const char *path;
	int fd;
	struct stat st;
	uint64_t done;
};

static void show_replayed(struct input *in, size_t n)
{
	in->done += n;
	if (S_ISREG(in->st.st_mode) && in->st.st_size > 0 && in->done <= (uint64_t)in->st.st_size)
		progress_show("replaying: %.0f %% of %s",
			      (double)in->done * 100 / (double)in->st.st_size,
			      message_text(in->path));
	else
		progress_show("replaying: %.1f MB of %s", (double)in->done / 1e6,
			      message_text(in->path));
}

/* As many of n bytes as there are up to the end, or -errno. at: where; -1 where it was read to. */
static ssize_t read_fully(int fd, void *buf, size_t n, off_t at)
{
	size_t done = 0;

	while (done < n) {
		char *to = (char *)buf + done;
		ssize_t got =
			at < 0 ? read(fd, to, n - done) : pread(fd, to, n - done, at + (off_t)done);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		done += (size_t)got;
	}
	return (ssize_t)done;
}

/* A recording of ours, of which first bytes are in the buffer already. */
static int feed_stream(struct recording *r, struct input *in, char *buffer, size_t first)
{
	int e = stream_reader_new(&r->reader, &recording_handler, r);
	ssize_t n = (ssize_t)first;

	while (e == 0 && n > 0) {
		e = stream_reader_feed(r->reader, buffer, (size_t)n);
		show_replayed(in, (size_t)n);
		if (e == 0)
			n = read_fully(in->fd, buffer, BUFFER_SIZE, -1);
	}
	if (e == 0)
		e = n < 0 ? (int)n : stream_reader_finish(r->reader);
	stream_reader_free(r->reader);
	r->reader = NULL;
	return e;
}

static ssize_t read_at(void *arg, uint64_t at, void *buf, size_t n)
{
	struct input *in = arg;
	ssize_t got = at > INT64_MAX ? -EINVAL : read_fully(in->fd, buf, n, (off_t)at);

	if (got > 0)
		show_replayed(in, (size_t)got);
	return got;
}

/* Makes a pipe's bytes a file without a name, whose end can be read first. buffer has the first of
 * them. 0, -errno. */
static int spool(struct input *in, char *buffer, size_t first)
{
	FILE *file = tmpfile();
	ssize_t n = (ssize_t)first;
	int e = 0;

	if (!file)
		return -errno;
	while (e == 0 && n > 0) {
		if (fwrite(buffer, 1, (size_t)n, file) != (size_t)n)
			e = errno ? -errno : -EIO;
		else
			n = read_fully(in->fd, buffer, BUFFER_SIZE, -1);
	}
	if (e == 0 && n < 0)
		e = (int)n;
	if (e == 0 && fflush(file) != 0)
		e = -errno;
	if (e == 0 && dup2(fileno(file), in->fd) < 0)
		e = -errno;
	fclose(file);
	if (e == 0 && fstat(in->fd, &in->st) < 0)
		e = -errno;
	return e;
}

/* What such a file says of itself, and does not. */
static void say_tachyon(const struct input *in, const struct tach_facts *f)
{
	char failed[64] = "";

	if (f->failed > 0)
		snprintf(failed, sizeof(failed), " (%.1f %% of its attempts failed)",
			 100 * f->failed);
	message("%s was recorded by profiling.sampling of Python %s%s: it does not hold the pid, "
		"names of threads and CPU times",
		message_text(in->path), f->python, failed);
}

static int feed_tachyon(struct recording *r, struct input *in, char *buffer, size_t first)
{
	struct tach_input input = {.arg = in, .read = read_at};
	struct tach_facts facts;
	int e = 0;

	if (!S_ISREG(in->st.st_mode))
		e = spool(in, buffer, first);
	if (e < 0) {
		message("cannot keep what comes from %s, which is read from its end: %s",
			message_text(in->path), strerror(-e));
		return -ECANCELED;
	}
	/* One that grows or shrinks meanwhile is what it was now. */
	input.size = (uint64_t)in->st.st_size;
	e = tach_read(&input, &recording_handler, r, &facts);
	if (e == 0)
		say_tachyon(in, &facts);
	if (e != -ENODATA && e != -EINVAL && e != -EPROTONOSUPPORT)
		return e;
	message(e == -ENODATA  ? "%s is cut: the names are at the end of a recording of "
				 "profiling.sampling, and nothing can be read without them"
		: e == -EINVAL ? "%s is not a whole recording of profiling.sampling"
			       : "%s was recorded by a later profiling.sampling: its format is not "
				 "known here",
		message_text(in->path));
	return -ECANCELED;
}

static int feed_file(struct recording *r, struct input *in, char *buffer)
{
	ssize_t n;

	if (S_ISDIR(in->st.st_mode))
		return -EISDIR;
	n = read_fully(in->fd, buffer, BUFFER_SIZE, -1);
	if (n < 0)
		return (int)n;
	if (n == 0) {
		message("%s is empty", message_text(in->path));
		return -ECANCELED;
	}
	if ((size_t)n >= TACH_MAGIC_LEN && tach_begins(buffer))
		return feed_tachyon(r, in, buffer, (size_t)n);
	return feed_stream(r, in, buffer, (size_t)n);
}

/* Each that was asked for and is not there; all of those who are. */
static int explain_missing(const struct recording *r, char *const *paths, int count)
{
	char text[512], where[64];

	snprintf(where, sizeof(where), "any of the %d recordings", count);
	for (size_t i = 0; i < r->pids->count; i++) {
		if (pid_list_has(&r->present, r->pids->pids[i]))
			continue;
		pid_list_print(&r->present, text, sizeof(text));
		message("process %d is not in %s: there %s %s", (int)r->pids->pids[i],
			count == 1 ? message_text(paths[0]) : where,
			r->present.count == 1 ? "is" : "are",
			r->present.count ? text : "none whose pid is known");
		return STATUS_FAILED;
	}
	return 0;
}

static int open_input(struct input *in)
{
	bool standard = strcmp(in->path, "-") == 0;

	in->fd = standard ? dup(STDIN_FILENO) : open(in->path, O_RDONLY | O_CLOEXEC);
	if (standard)
		in->path = "the standard input";
	return in->fd < 0 || fstat(in->fd, &in->st) < 0 ? -errno : 0;
}

/* One file: 0 or a status, and a line. */
static int replay_file(struct recording *r, struct input *in, bool several, char *buffer)
{
	int e = model_source(r->model, in->path);

	/* Its streams are counted from 0 again. */
	r->place_count = 0;
	r->input = several ? in->path : NULL;
	r->inputs++;
	r->copy_told = false;
	if (e == 0)
		e = feed_file(r, in, buffer);
	progress_wipe();
	if (e == -ECANCELED)
		return STATUS_FAILED;
	return e < 0 ? recording_explain(e, in->path) : 0;
}

static bool was_read(const struct input *inputs, int count, const struct input *in)
{
	for (int i = 0; i < count; i++)
		if (inputs[i].st.st_dev == in->st.st_dev && inputs[i].st.st_ino == in->st.st_ino)
			return true;
	return false;
}

static int replay_files(struct recording *r, char *const *paths, int count, struct input *inputs,
			char *buffer)
{
	int status = 0;

	for (int i = 0; !status && i < count; i++) {
		struct input *in = &inputs[i];
		int e;

		*in = (struct input){.path = paths[i]};
		e = open_input(in);
		if (e < 0)
			status = recording_explain(e, in->path);
		else if (was_read(inputs, i, in))
			message("%s is named twice: it is taken once", message_text(in->path));
		else
			status = replay_file(r, in, count > 1, buffer);
		if (in->fd >= 0)
			close(in->fd);
	}
	return status;
}

int recording_replay(char *const *paths, int count, const struct pid_list *pids,
		     struct model *model)
{
	struct recording *r = recording_new();
	struct input *inputs = calloc((size_t)count, sizeof(*inputs));
	char *buffer = malloc(BUFFER_SIZE);
	int status = STATUS_FAILED;

	if (r && inputs && buffer) {
		r->pids = pids;
		r->model = r->processes[0]->model = model;
		r->processes[0]->model_streams = &r->model_streams;
		r->feeding = r->processes[0];
		status = replay_files(r, paths, count, inputs, buffer);
		if (!status && pids)
			status = explain_missing(r, paths, count);
	} else if (r) {
		message("out of memory");
	}
	recording_free(r);
	free(inputs);
	free(buffer);
	return status;
}
