#include "remote/maps.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* maps of a process at the default limit of 65530 mappings, with long names, is below this. */
#define FIRST_SIZE ((size_t)64 << 10)
#define MAX_SIZE   ((size_t)32 << 20)

/* Objects looked at: large applications load some thousand libraries. */
#define OBJECTS_MAX 8192

/* Reads a number of the given base at *text and steps over it and one character, end. */
static bool take_number(char **text, int base, char end, uint64_t *ret)
{
	char *stop;

	if (!isxdigit((unsigned char)**text))
		return false;
	errno = 0;
	*ret = strtoull(*text, &stop, base);
	if (errno != 0 || *stop != end)
		return false;
	*text = stop + 1;
	return true;
}

/* One line of maps, NUL-terminated; the path stays in it. proc_pid_maps(5). */
static bool parse_mapping(char *line, struct mapping *ret)
{
	struct mapping m;

	if (!take_number(&line, 16, '-', &m.start) || !take_number(&line, 16, ' ', &m.end) ||
	    m.end <= m.start || strnlen(line, 5) < 5)
		return false;
	m.readable = line[0] == 'r';
	m.writable = line[1] == 'w';
	m.executable = line[2] == 'x';
	line += 5;
	if (!take_number(&line, 16, ' ', &m.offset) || !take_number(&line, 16, ':', &m.dev_major) ||
	    !take_number(&line, 16, ' ', &m.dev_minor))
		return false;
	if (!isdigit((unsigned char)*line))
		return false;
	errno = 0;
	m.inode = strtoull(line, &line, 10);
	if (errno != 0)
		return false;
	while (*line == ' ')
		line++;
	m.path = line;
	*ret = m;
	return true;
}

static bool same_file(const struct mapping *a, const struct mapping *b)
{
	return a->inode == b->inode && a->dev_major == b->dev_major &&
	       a->dev_minor == b->dev_minor && a->inode != 0;
}

static bool is_anonymous(const struct mapping *m)
{
	return m->inode == 0 && m->path[0] == '\0';
}

/* Groups the mappings into objects. */
static void group_objects(struct maps *maps)
{
	struct object *o = NULL;
	const struct mapping *last = NULL; /* of o, with a file */

	for (size_t i = 0; i < maps->mappings_count; i++) {
		const struct mapping *m = &maps->mappings[i];

		if (o && same_file(o->first, m) && m->offset >= last->offset) {
			last = m;
		} else if (m->inode != 0 && m->path[0] == '/') {
			if (maps->objects_count == OBJECTS_MAX)
				return;
			o = &maps->objects[maps->objects_count++];
			*o = (struct object){.first = m};
			last = m;
		} else if (!o || !is_anonymous(m) || m->start != (m - 1)->end) {
			o = NULL;
			continue;
		}
		o->count = (size_t)(m - o->first) + 1;
		o->executable |= m->executable && m->inode != 0;
	}
}

/* Cuts the text of maps into mappings and objects. The text is changed, and kept. */
static int parse(struct maps *maps, char *text)
{
	size_t lines = 0;

	for (const char *p = text; (p = strchr(p, '\n')); p++)
		lines++;
	maps->text = text;
	maps->mappings = calloc(lines + 1, sizeof(*maps->mappings));
	maps->objects =
		calloc(lines < OBJECTS_MAX ? lines + 1 : OBJECTS_MAX, sizeof(*maps->objects));
	if (!maps->mappings || !maps->objects)
		return -ENOMEM;
	for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1) {
		*end = '\0';
		if (parse_mapping(line, &maps->mappings[maps->mappings_count]))
			maps->mappings_count++;
	}
	group_objects(maps);
	return 0;
}

/* All of the text, or what fits of it. */
static int read_text(int fd, char **ret)
{
	size_t size = FIRST_SIZE;
	char *text = malloc(size), *larger;
	ssize_t n = text ? proc_read_text(fd, text, size) : -ENOMEM;

	while (n == -E2BIG && size < MAX_SIZE) {
		larger = realloc(text, size *= 4);
		if (larger)
			text = larger;
		n = larger ? proc_read_text(fd, text, size) : -ENOMEM;
	}
	if (n == -E2BIG) {
		/* What lies lowest has been read, and executables with their libraries are there or
		 * are found by it. */
		text[size - 1] = '\0';
		n = 0;
	}
	if (n < 0)
		free(text);
	else
		*ret = text;
	return n < 0 ? (int)n : 0;
}

int maps_read(struct maps *maps, const struct proc_opener *opener)
{
	int fd = opener->open(opener->arg, PROC_MAPS, 0, 0), r;
	char *text = NULL;

	if (fd < 0)
		return fd;
	r = read_text(fd, &text);
	close(fd);
	return r < 0 ? r : parse(maps, text);
}

void maps_done(struct maps *maps)
{
	free(maps->text);
	free(maps->mappings);
	free(maps->objects);
	*maps = (struct maps){0};
}
