#include "formats/stream-select.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/stream.h"

#define MAX_MODULE 1024 /* bytes of a file's path that a dotted name is made of; its end counts */

const char *const mode_names[MODE_COUNT] = {
	[MODE_RECORDED] = "", [MODE_WALL] = "wall",	      [MODE_CPU] = "cpu",
	[MODE_GIL] = "gil",   [MODE_EXCEPTION] = "exception",
};

enum mode mode_find(const char *name)
{
	for (int i = MODE_WALL; i < MODE_COUNT; i++)
		if (strcmp(name, mode_names[i]) == 0)
			return (enum mode)i;
	return MODE_COUNT;
}

int mode_takes(enum mode mode, uint16_t state, uint64_t cpu_ns)
{
	switch (mode) {
	case MODE_CPU:
		if (!(state & STREAM_STATE_CPU_KNOWN))
			return -1;
		return state & STREAM_STATE_CPU || cpu_ns > 0;
	case MODE_GIL:
		if (!(state & STREAM_STATE_GIL_KNOWN))
			return -1;
		return (state & STREAM_STATE_GIL) != 0;
	case MODE_EXCEPTION:
		/* One that is being raised is enough to know. */
		if (state & (STREAM_STATE_EXCEPTION | STREAM_STATE_HANDLING))
			return 1;
		return state & STREAM_STATE_EXCEPTION_KNOWN ? 0 : -1;
	default:
		return 1;
	}
}

/* Whether c is in the set that begins at p, behind its "["; *ret_end is behind the "]". Without one
 * the "[" is itself: *ret_end NULL. */
static bool in_set(const char *p, unsigned char c, const char **ret_end)
{
	bool negated = *p == '!' || *p == '^', found = false;
	const char *first = p += negated;

	for (; *p && (*p != ']' || p == first); p++) {
		unsigned char low = (unsigned char)*p, high = low;

		if (p[1] == '-' && p[2] && p[2] != ']') {
			high = (unsigned char)p[2];
			p += 2;
		}
		found |= c >= low && c <= high;
	}
	*ret_end = *p ? p + 1 : NULL;
	return found != negated;
}

bool pattern_matches(const char *pattern, const char *text)
{
	const char *star = NULL, *again = NULL;

	/* Only the last star ever has to give more: the time is bounded by the product of lengths.
	 */
	for (;;) {
		const char *next = pattern + 1, *end;
		bool fits = *text && *pattern == *text;

		if (*pattern == '*') {
			star = pattern++;
			again = text;
			continue;
		}
		if (*pattern == '?') {
			fits = *text;
		} else if (*pattern == '[' && *text) {
			bool in = in_set(pattern + 1, (unsigned char)*text, &end);

			if (end) {
				fits = in;
				next = end;
			}
		}
		if (fits) {
			pattern = next;
			text++;
		} else if (!*pattern && !*text) {
			return true;
		} else if (star && *again) {
			text = ++again;
			pattern = star + 1;
		} else {
			return false;
		}
	}
}

static bool is_given(const char *pattern)
{
	return pattern && *pattern;
}

bool selection_is_empty(const struct selection *s)
{
	return !is_given(s->thread) && !is_given(s->function) && !is_given(s->source);
}

bool selection_takes_thread(const struct selection *s, const char *name, uint64_t tid,
			    uint64_t ident)
{
	char *end;
	uint64_t number;

	if (!is_given(s->thread))
		return true;
	number = strtoull(s->thread, &end, 10);
	if (*end == '\0' && s->thread[0] != '-')
		return number == tid || number == ident;
	return pattern_matches(s->thread, name);
}

/* The dotted name of a file, with everything above it: "usr.lib.python3.11.json.decoder". */
static void dotted(char *to, size_t size, const char *file)
{
	size_t len = strlen(file), n;

	if (len >= size)
		file += len - size + 1;
	snprintf(to, size, "%s", file);
	n = strlen(to);
	if (n > 3 && strcmp(to + n - 3, ".py") == 0)
		to[n -= 3] = '\0';
	if (n > 9 && strcmp(to + n - 9, "/__init__") == 0)
		to[n - 9] = '\0';
	for (char *p = to; *p; p++)
		if (*p == '/')
			*p = '.';
}

static bool is_of_files(const char *pattern)
{
	size_t len = strlen(pattern);

	return strchr(pattern, '/') || (len > 3 && strcmp(pattern + len - 3, ".py") == 0);
}

/* Tables show the last part of a path, and dumps what is below the current directory. */
static bool is_file(const char *pattern, const char *file)
{
	size_t len = strlen(file);

	if (pattern_matches(pattern, file))
		return true;
	if (len > MAX_MODULE)
		file += len - MAX_MODULE;
	for (const char *p = strchr(file, '/'); p; p = strchr(p + 1, '/'))
		if (pattern_matches(pattern, p + 1))
			return true;
	return false;
}

/* The name of a module does not say where its package begins: each place is tried. */
static bool is_module(const char *pattern, const char *file)
{
	char name[MAX_MODULE];

	if (!*file)
		return false;
	if (is_of_files(pattern))
		return is_file(pattern, file);
	dotted(name, sizeof(name), file);
	for (const char *p = name; p; p = strchr(p, '.')) {
		p += *p == '.';
		if (pattern_matches(pattern, p))
			return true;
	}
	return false;
}

bool selection_takes_function(const struct selection *s, const char *name, const char *file)
{
	const char *last = strrchr(name, '.');

	if (is_given(s->function) && !pattern_matches(s->function, name) &&
	    !(last && pattern_matches(s->function, last + 1)))
		return false;
	return !is_given(s->source) || is_module(s->source, file);
}
