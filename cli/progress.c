#include "cli/progress.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define INTERVAL_MS 250
/* What is over before this needs no line. */
#define FIRST_MS 500

static bool shown;
static uint64_t next_ms;

static bool on_terminal(void)
{
	static int known = -1;

	if (known < 0)
		known = isatty(STDERR_FILENO);
	return known;
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

void progress_show(const char *format, ...)
{
	va_list ap;
	uint64_t now;

	if (!on_terminal())
		return;
	now = now_ms();
	if (!next_ms)
		next_ms = now + FIRST_MS;
	if (now < next_ms)
		return;
	next_ms = now + INTERVAL_MS;
	fputs("\r\033[K", stderr);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fflush(stderr);
	shown = true;
}

void progress_wipe(void)
{
	if (shown)
		fputs("\r\033[K", stderr);
	shown = false;
}

int progress_timeout(void)
{
	return on_terminal() ? INTERVAL_MS : -1;
}
