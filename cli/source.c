#include "cli/source.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/message.h"
#include "cli/options.h"
#include "daemon/session.h"
#include "formats/stream.h"

/* What is read at a time, and what a buffer begins with. */
#define READ_SIZE (64 * 1024)

struct source {
	int fd;
	pid_t monitor;
	bool streaming, stopped;
	int status;
	char text[PROTOCOL_TEXT_SIZE];
	uint8_t *data;
	size_t at, len, cap; /* what is not yet told: len bytes from at on */
};

int source_open(struct source **ret, const struct options *o, bool embedded,
		char text[PROTOCOL_TEXT_SIZE])
{
	const char *path = o->socket ? o->socket : SESSION_SOCKET_PATH;
	struct source *s = calloc(1, sizeof(*s));
	int e;

	if (!s) {
		snprintf(text, PROTOCOL_TEXT_SIZE, "out of memory");
		return STATUS_FAILED;
	}
	s->fd = -1;
	e = embedded || o->no_daemon ? -ENOENT : session_connect(&s->fd, path);
	if (e < 0 && o->socket && !embedded && !o->no_daemon) {
		snprintf(text, PROTOCOL_TEXT_SIZE,
			 "cannot use the daemon at %s: %s; --no-daemon does without",
			 message_text(path),
			 e == -EPERM ? "it is neither root's nor ours" : strerror(-e));
		source_close(s);
		return STATUS_FAILED;
	}
	if (e < 0)
		e = session_spawn(&s->fd, &s->monitor);
	if (e < 0) {
		snprintf(text, PROTOCOL_TEXT_SIZE, "cannot start the session: %s", strerror(-e));
		source_close(s);
		return STATUS_FAILED;
	}
	*ret = s;
	return 0;
}

pid_t source_close(struct source *s)
{
	pid_t monitor;

	if (!s)
		return 0;
	monitor = s->monitor;
	if (s->fd >= 0)
		close(s->fd);
	free(s->data);
	free(s);
	return monitor;
}

int source_fd(const struct source *s)
{
	return s->fd;
}

pid_t source_monitor(const struct source *s)
{
	return s->monitor;
}

bool source_ask(struct source *s, const struct protocol_request *q)
{
	return send(s->fd, q, sizeof(*q), MSG_NOSIGNAL) == sizeof(*q);
}

void source_stop(struct source *s)
{
	if (!s->stopped)
		shutdown(s->fd, SHUT_WR);
	s->stopped = true;
}

int source_status(const struct source *s)
{
	return s->status;
}

const char *source_text(const struct source *s)
{
	return s->text;
}

static enum source_word be_strange(struct source *s, const char *text)
{
	s->status = STATUS_FAILED;
	snprintf(s->text, sizeof(s->text), "%s", text);
	return SOURCE_STRANGE;
}

/* An answer, once it is whole. */
static enum source_word hear_answer(struct source *s)
{
	struct protocol_reply reply;
	int e;

	if (s->len < sizeof(reply))
		return SOURCE_NOTHING;
	memcpy(&reply, s->data + s->at, sizeof(reply));
	s->at += sizeof(reply);
	s->len -= sizeof(reply);
	e = protocol_reply_check(&reply);
	if (e < 0)
		return be_strange(s, e == -EPROTONOSUPPORT ? "the daemon is of another version"
							   : "the answer is no session's");
	memcpy(s->text, reply.text, sizeof(s->text));
	s->status = (int)reply.status;
	if (reply.status)
		return SOURCE_REFUSED;
	if (reply.waiting == PROTOCOL_WAITING)
		return SOURCE_WAITING;
	s->streaming = true;
	return SOURCE_READY;
}

static enum source_word hear_piece(struct source *s, const void **ret_piece, size_t *ret_size)
{
	const uint8_t *piece = s->data + s->at;
	int e;

	if (s->len == 0)
		return SOURCE_NOTHING;
	e = stream_piece(piece, s->len, ret_size);
	if (e == -EAGAIN)
		return SOURCE_NOTHING;
	if (e < 0)
		return be_strange(s, "what the session sends is no recording");
	*ret_piece = piece;
	s->at += *ret_size;
	s->len -= *ret_size;
	return SOURCE_PIECE;
}

/* Room for READ_SIZE more: a piece is never longer than STREAM_PIECE_MAX. */
static bool make_room(struct source *s)
{
	uint8_t *data;

	if (s->at && s->len)
		memmove(s->data, s->data + s->at, s->len);
	s->at = 0;
	if (s->cap - s->len >= READ_SIZE)
		return true;
	data = realloc(s->data, s->len + 2 * READ_SIZE);
	if (!data)
		return false;
	s->data = data;
	s->cap = s->len + 2 * READ_SIZE;
	return true;
}

enum source_word source_hear(struct source *s, const void **ret_piece, size_t *ret_size)
{
	for (;;) {
		enum source_word word =
			s->streaming ? hear_piece(s, ret_piece, ret_size) : hear_answer(s);
		ssize_t n;

		if (word != SOURCE_NOTHING)
			return word;
		if (!make_room(s))
			return be_strange(s, "out of memory");
		n = recv(s->fd, s->data + s->len, s->cap - s->len, MSG_DONTWAIT);
		if (n > 0)
			s->len += (size_t)n;
		else if (n == 0 || (errno != EAGAIN && errno != EINTR))
			return SOURCE_END;
		else if (errno == EAGAIN)
			return SOURCE_NOTHING;
	}
}
