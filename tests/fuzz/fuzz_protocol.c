/* What a client sends to a session, and what a session answers to a client. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/procstatus.h"
#include "daemon/protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_request(const uint8_t *data, size_t size)
{
	struct protocol_request q;
	const char *why;

	protocol_request_init(&q, PROTOCOL_RECORD, 1);
	memcpy(&q, data, size < sizeof(q) ? size : sizeof(q));
	if (protocol_request_check(&q, &why) < 0)
		return;
	/* What passes must be safe to reckon with. */
	if (q.pid <= 0 || q.interval_ns > PROTOCOL_MAX_INTERVAL_NS ||
	    q.duration_ns > PROTOCOL_MAX_DURATION_NS || q.stop_budget_ppm > 1000000)
		abort();
}

static void fuzz_reply(const uint8_t *data, size_t size)
{
	struct protocol_reply r = {.magic = PROTOCOL_MAGIC, .version = PROTOCOL_VERSION};

	memcpy(&r.status, data, size < sizeof(r) - 8 ? size : sizeof(r) - 8);
	if (protocol_reply_check(&r) < 0)
		return;
	for (size_t i = 0; i < strnlen(r.text, sizeof(r.text)); i++)
		if ((unsigned char)r.text[i] < 0x20)
			abort();
	if (strnlen(r.text, sizeof(r.text)) == sizeof(r.text))
		abort();
}

static void fuzz_status(const uint8_t *data, size_t size)
{
	struct procstatus s;
	char *text = malloc(size + 1);

	if (!text)
		return;
	memcpy(text, data, size);
	text[size] = '\0';
	(void)procstatus_parse(text, &s);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_request(data, size);
	fuzz_reply(data, size);
	fuzz_status(data, size);
	return 0;
}
