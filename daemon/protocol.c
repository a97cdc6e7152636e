#include "daemon/protocol.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "formats/stream-select.h"
#include "formats/stream.h"

_Static_assert(sizeof(struct protocol_request) == 80 + 3 * PROTOCOL_PATTERN_SIZE,
	       "the request has one size everywhere");
_Static_assert(sizeof(struct protocol_reply) == 16 + PROTOCOL_TEXT_SIZE, "so has the reply");

void protocol_request_init(struct protocol_request *r, enum protocol_command command, int32_t pid)
{
	memset(r, 0, sizeof(*r));
	r->magic = PROTOCOL_MAGIC;
	r->version = PROTOCOL_VERSION;
	r->command = command;
	r->pid = pid;
}

static const char *find_fault(const struct protocol_request *r)
{
	if (r->command < PROTOCOL_RECORD || r->command >= PROTOCOL_COMMAND_END)
		return "unknown command";
	if (r->flags & ~(uint32_t)PROTOCOL_FLAGS_ALL)
		return "unknown flags";
	if (r->flags & (PROTOCOL_TASKS_RUNNING | PROTOCOL_TASKS_ALL) &&
	    r->command == PROTOCOL_PROBE)
		return "tasks are not for a probe";
	if (r->pid <= 0)
		return "not a process id";
	if (r->codec != STREAM_NONE && r->codec != STREAM_ZSTD)
		return "unknown compression";
	if (r->interval_ns > PROTOCOL_MAX_INTERVAL_NS)
		return "interval out of range";
	if (r->duration_ns > PROTOCOL_MAX_DURATION_NS)
		return "duration out of range";
	if (r->chunk_ns &&
	    (r->chunk_ns < PROTOCOL_MIN_CHUNK_NS || r->chunk_ns > PROTOCOL_MAX_CHUNK_NS))
		return "chunk time out of range";
	if (r->stop_budget_ppm > 1000000)
		return "stop budget over 100%";
	if (r->parent < 0)
		return "not a parent's process id";
	if (r->discovery >= PROTOCOL_DISCOVERY_END)
		return "unknown way to find children";
	if (r->mode >= MODE_COUNT)
		return "unknown mode";
	if (!memchr(r->thread, 0, sizeof(r->thread)) ||
	    !memchr(r->function, 0, sizeof(r->function)) ||
	    !memchr(r->source, 0, sizeof(r->source)))
		return "pattern without an end";
	for (size_t i = 0; i < sizeof(r->reserved) / sizeof(r->reserved[0]); i++)
		if (r->reserved[i])
			return "reserved field in use";
	return NULL;
}

int protocol_request_check(const struct protocol_request *r, const char **ret_why)
{
	const char *why;

	if (r->magic != PROTOCOL_MAGIC) {
		*ret_why = "not a pyprof request";
		return -EINVAL;
	}
	if (r->version != PROTOCOL_VERSION) {
		*ret_why = "another version of the protocol";
		return -EPROTONOSUPPORT;
	}
	why = find_fault(r);
	if (why) {
		*ret_why = why;
		return -EINVAL;
	}
	return 0;
}

int protocol_reply_check(struct protocol_reply *r)
{
	bool end = false;

	if (r->magic != PROTOCOL_MAGIC)
		return -EINVAL;
	if (r->version != PROTOCOL_VERSION)
		return -EPROTONOSUPPORT;
	if (r->status > STATUS_RUN_FAILED || r->waiting > PROTOCOL_WAITING)
		return -EINVAL;
	r->text[PROTOCOL_TEXT_SIZE - 1] = '\0';
	/* The line goes to a terminal: no control character may pass, whoever wrote it. */
	for (size_t i = 0; i < PROTOCOL_TEXT_SIZE; i++) {
		unsigned char c = (unsigned char)r->text[i];

		if (!c)
			end = true;
		if (end)
			r->text[i] = '\0';
		else if (c < 0x20 || c == 0x7f)
			r->text[i] = '?';
	}
	return 0;
}
