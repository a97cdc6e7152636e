#include "cli/progress.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "formats/escape.h"

#define INTERVAL_MS 250
/* What is over before this needs no line. */
#define FIRST_MS 500

#define WIPE "\r\033[K"

static volatile sig_atomic_t shown;
static uint64_t first_ms, next_ms;

static bool on_terminal(void)
{
	static int known = -1;
	const char *term = getenv("TERM");

	/* One that cannot wipe a line would be filled with them. */
	if (known < 0)
		known = isatty(STDERR_FILENO) && term && *term && strcmp(term, "dumb") != 0;
	return known;
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* The columns of a line that does not wrap: what did could not be wiped. */
static unsigned room(void)
{
	struct winsize size;

	return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col - 1u : 79;
}

/* How many bytes of text have at most so many columns. */
static size_t fitting(const char *text, unsigned columns)
{
	size_t len = strlen(text), at = 0;
	unsigned used = 0;

	while (at < len) {
		uint32_t point = 0;
		unsigned n = utf8_sequence((const uint8_t *)text + at, len - at, &point);

		used += point >= 0x1100 ? 2 : 1; /* those that are wide, and some that are not */
		if (used > columns)
			break;
		at += n ? n : 1;
	}
	return at;
}

static void show(const char *format, va_list ap)
{
	unsigned columns = room();
	char text[1024];
	size_t n;

	vsnprintf(text, sizeof(text), format, ap);
	n = fitting(text, columns);
	if (text[n])
		n = columns ? fitting(text, columns - 1) : 0;
	shown = true; /* from the first byte on */
	fprintf(stderr, WIPE "%.*s%s", (int)n, text, text[n] && columns ? "\xe2\x80\xa6" : "");
	fflush(stderr);
}

/* Whether there is a terminal, and work has lasted. */
static bool is_time(uint64_t *ret_now)
{
	if (!on_terminal())
		return false;
	*ret_now = now_ms();
	if (!first_ms)
		first_ms = *ret_now + FIRST_MS;
	return *ret_now >= first_ms;
}

void progress_show(const char *format, ...)
{
	va_list ap;
	uint64_t now;

	if (!is_time(&now) || now < next_ms)
		return;
	next_ms = now + INTERVAL_MS;
	va_start(ap, format);
	show(format, ap);
	va_end(ap);
}

void progress_stage(const char *format, ...)
{
	va_list ap;
	uint64_t now;

	if (!is_time(&now))
		return;
	va_start(ap, format);
	show(format, ap);
	va_end(ap);
}

void progress_wipe(void)
{
	if (shown)
		fputs(WIPE, stderr);
	shown = false;
}

void progress_end(void)
{
	if (shown && write(STDERR_FILENO, WIPE, strlen(WIPE)) < 0)
		return; /* there is nobody to tell */
}

int progress_timeout(void)
{
	return on_terminal() ? INTERVAL_MS : -1;
}
