#include "cli/message.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/progress.h"
#include "formats/escape.h"

void message(const char *format, ...)
{
	va_list ap;

	progress_wipe();
	fputs("pyprof: ", stderr);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
}

const char *message_text(const char *text)
{
	static char buffers[4][1024];
	static unsigned next;
	char *buf = buffers[next++ % 4];

	escape_text(buf, sizeof(buffers[0]), text, strlen(text), ESCAPE_TERMINAL);
	return buf;
}
