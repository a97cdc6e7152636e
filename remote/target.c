#include "remote/target.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "remote/elf.h"
#include "remote/maps.h"

/* Runtimes proven at most: an executable with one and a few libraries. */
#define RUNTIMES_MAX 16

/* Writable memory of one object that is searched for a version text or a cookie. CPython's own is
 * below 2 MiB; one that carries a whole application can be larger. */
#define SCAN_MAX ((uint64_t)16 << 20)

/* And of all objects together, for a target may map any number of them. */
#define SCAN_TOTAL_MAX ((uint64_t)128 << 20)

#define SCAN_CHUNK ((size_t)256 << 10)

/* The longest text that Py_GetVersion() makes. */
#define VERSION_TEXT_MAX 250

/* No version of the debug offsets is near this many bytes. */
#define DEBUG_OFFSETS_MAX 4096

/* The first version that has them, as Py_Version has it. */
#define VERSION_WITH_TABLE 0x030d0000

/* PF_KTHREAD of the kernel's linux/sched.h, in the flags of /proc/PID/stat. */
#define FLAG_KERNEL_THREAD 0x00200000

#define COOKIE	   "xdebugpy"
#define COOKIE_LEN 8

/* What a search has come to, so that the best answer wins. */
struct search {
	pid_t pid;
	struct memory *m;
	const struct proc_opener *opener;
	struct maps maps;
	struct target *best; /* proven, owned */
	int best_threads;
	size_t runtimes;
	enum target_problem problem; /* the most telling one so far */
	char *detail;
	size_t detail_size;
	uint64_t scanned; /* bytes so far */
	bool refused;	  /* a file could not be opened for lack of rights */
};

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}
#define _cleanup_fd_ __attribute__((cleanup(close_fd)))

static void free_elf(struct elf_file **f)
{
	elf_file_free(*f);
}
#define _cleanup_elf_ __attribute__((cleanup(free_elf)))

/* Copies text with everything but printable ASCII as \xNN. */
static void escape(char *buf, size_t size, const char *text)
{
	size_t at = 0;

	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c >= 0x20 && c < 0x7f && c != '\\') {
			if (at + 1 >= size)
				break;
			buf[at++] = (char)c;
		} else {
			if (at + 4 >= size)
				break;
			at += (size_t)snprintf(buf + at, size - at, "\\x%02x", c);
		}
	}
	if (size)
		buf[at < size ? at : size - 1] = '\0';
}

__attribute__((format(printf, 3, 4))) static void
note_problem(struct search *s, enum target_problem problem, const char *format, ...)
{
	/* What tells more about the process replaces what tells less. */
	static const int weight[] = {
		[TARGET_OK] = 0,       [TARGET_NOT_PYTHON] = 1, [TARGET_UNSUPPORTED] = 2,
		[TARGET_UNPROVEN] = 3, [TARGET_NOT_READY] = 4,	[TARGET_REFUSED] = 5,
		[TARGET_GONE] = 6,
	};
	va_list args;

	if (weight[problem] <= weight[s->problem])
		return;
	s->problem = problem;
	va_start(args, format);
	if (s->detail_size)
		vsnprintf(s->detail, s->detail_size, format, args);
	va_end(args);
}

static void note_errno(struct search *s, int r, const char *what)
{
	switch (-r) {
	case ESRCH:
	case ENOENT:
		note_problem(s, TARGET_GONE, "the process has ended");
		break;
	case EPERM:
	case EACCES:
		note_problem(s, TARGET_REFUSED, "not permitted to read %s", what);
		break;
	default:
		note_problem(s, TARGET_UNPROVEN, "cannot read %s: %s", what, strerror(-r));
		break;
	}
}

/* Whether a process without memory has ended, or is on its way: kernel threads are the others. */
static bool is_gone(struct search *s)
{
	_cleanup_fd_ int fd = s->opener->open(s->opener->arg, PROC_TASK_STAT, (uint64_t)s->pid, 0);
	unsigned int flags;
	char text[1024];
	const char *p;

	if (fd < 0)
		return fd == -ENOENT || fd == -ESRCH;
	if (proc_read_text(fd, text, sizeof(text)) < 0)
		return true;
	/* Field 9, behind the name that may hold anything. */
	p = strrchr(text, ')');
	return p && sscanf(p, ") %*c %*d %*d %*d %*d %*d %u", &flags) == 1 &&
	       !(flags & FLAG_KERNEL_THREAD);
}

/* --- versions --- */

/* The length of "3.11.7" in "3.11.7+ (main, Dec ...) [GCC 12.2.0]", the text that Py_GetVersion()
 * makes; 0 when text is none. */
static size_t version_text(const char *text, size_t len)
{
	size_t at = 0, digits, end;

	if (len < 12 || (text[0] != '2' && text[0] != '3') || text[1] != '.')
		return 0;
	at = 2;
	for (int part = 0; part < 2; part++) {
		for (digits = 0; at < len && isdigit((unsigned char)text[at]); digits++)
			at++;
		if (digits == 0 || digits > 2 || at == len)
			return 0;
		if (part == 0 && text[at++] != '.')
			return 0;
	}
	/* "rc1", "a7", "+" */
	for (end = at; end < len && end < at + 8 && text[end] != ' '; end++) {
		if (!isalnum((unsigned char)text[end]) && text[end] != '+')
			return 0;
	}
	if (end + 1 >= len || text[end] != ' ' || text[end + 1] != '(')
		return 0;
	/* The compiler follows in brackets; that no other text of this look has. */
	for (size_t i = end; i + 1 < len && text[i] != '\0'; i++) {
		if (text[i] == ')' && (text[i + 1] == ' ' || text[i + 1] == '\n')) {
			for (size_t k = i + 1; k < len && text[k] != '\0'; k++) {
				if (text[k] == '[')
					return end;
			}
			return 0;
		}
	}
	return 0;
}

/* "3.11.7" as Py_Version has it, without the release level. */
static uint32_t version_number(const char *text)
{
	unsigned int major, minor, micro;

	if (sscanf(text, "%u.%u.%u", &major, &minor, &micro) != 3 || major > 255 || minor > 255 ||
	    micro > 255)
		return 0;
	return major << 24 | minor << 16 | micro << 8 | 0xf0;
}

/* The text of a Py_Version: "3.15.0rc2". PEP 387's API: Include/patchlevel.h. */
static void format_version(char *buf, size_t size, uint32_t version)
{
	unsigned int level = version >> 4 & 15, serial = version & 15;
	int n = snprintf(buf, size, "%u.%u.%u", version >> 24, version >> 16 & 255,
			 version >> 8 & 255);
	const char *name = level == 0xa ? "a" : level == 0xb ? "b" : level == 0xc ? "rc" : NULL;

	if (name && n > 0 && (size_t)n < size)
		snprintf(buf + n, size - (size_t)n, "%s%u", name, serial);
}

/* Walks the writable memory of an object in chunks that overlap by overlap bytes. take() gets
 * each with its address and returns true to stop. */
static bool scan_object(struct search *s, const struct object *o, size_t overlap,
			bool (*take)(void *arg, const char *bytes, size_t len, uint64_t addr),
			void *arg)
{
	uint64_t left = SCAN_MAX;
	char *buf = malloc(SCAN_CHUNK);
	bool found = false;

	if (!buf)
		return false;
	for (size_t i = 0; i < o->count && !found; i++) {
		const struct mapping *m = &o->first[i];
		uint64_t at = m->start;

		if (!m->readable || !m->writable)
			continue;
		while (at < m->end && left > 0 && !found && s->scanned < SCAN_TOTAL_MAX) {
			uint64_t len = m->end - at < SCAN_CHUNK ? m->end - at : SCAN_CHUNK;

			if (len > left)
				len = left;
			if (memory_read(s->m, at, buf, len) < 0)
				break;
			found = take(arg, buf, len, at);
			left -= len;
			s->scanned += len;
			if (at + len == m->end)
				break;
			at += len > overlap ? len - overlap : len;
		}
	}
	free(buf);
	return found;
}

static bool take_version(void *arg, const char *bytes, size_t len, uint64_t addr)
{
	const char *p = bytes, *end = bytes + len;
	char *version = arg;

	/* Few bytes are dots, so look for those. */
	while ((p = memchr(p, '.', (size_t)(end - p)))) {
		size_t rest, n;

		p++;
		if (p - bytes < 2)
			continue;
		rest = (size_t)(end - (p - 2));
		n = version_text(p - 2, rest < VERSION_TEXT_MAX ? rest : VERSION_TEXT_MAX);
		if (n == 0 || n >= 48)
			continue;
		memcpy(version, p - 2, n);
		version[n] = '\0';
		return true;
	}
	return false;
}

static bool find_version_text(struct search *s, const struct object *o, char version[static 48])
{
	return scan_object(s, o, VERSION_TEXT_MAX, take_version, version);
}

static bool take_cookie(void *arg, const char *bytes, size_t len, uint64_t addr)
{
	const char *p = bytes;

	for (;;) {
		p = memmem(p, len - (size_t)(p - bytes), COOKIE, COOKIE_LEN);
		if (!p)
			return false;
		if ((addr + (uint64_t)(p - bytes)) % 8 == 0) {
			*(uint64_t *)arg = addr + (uint64_t)(p - bytes);
			return true;
		}
		p++;
	}
}

/* --- one object --- */

enum name {
	NAME_RUNTIME,
	NAME_VERSION,
	NAME_GET_VERSION,
	NAME_DEBUG,
	NAME_TRACE_REFS,
	NAME_COUNT,
};

static const char *const names[NAME_COUNT] = {
	[NAME_RUNTIME] = "_PyRuntime",
	[NAME_VERSION] = "Py_Version",		   /* from 3.11 */
	[NAME_GET_VERSION] = "Py_GetVersion",	   /* every version has it */
	[NAME_DEBUG] = "_Py_NegativeRefcount",	   /* Py_REF_DEBUG */
	[NAME_TRACE_REFS] = "_Py_AddToAllObjects", /* Py_TRACE_REFS, to 3.12 */
};

/* What an object holds. Addresses are the target's, 0 where there is none. */
struct found {
	uint64_t runtime;
	uint64_t version; /* of Py_Version */
	bool python;	  /* has CPython's API, with or without a runtime */
	bool debug;
	bool foreign; /* an ELF file of another machine or word size */
	uint8_t build_id[ELF_BUILD_ID_MAX];
	size_t build_id_len;
};

static int open_object(struct search *s, const struct object *o)
{
	if (o->main)
		return s->opener->open(s->opener->arg, PROC_EXE, 0, 0);
	return s->opener->open(s->opener->arg, PROC_MAP_FILE, o->first->start, o->first->end);
}

static void take_symbols(struct found *f, const uint64_t values[static NAME_COUNT])
{
	f->runtime = values[NAME_RUNTIME];
	f->version = values[NAME_VERSION];
	f->python = values[NAME_RUNTIME] || values[NAME_GET_VERSION];
	f->debug = values[NAME_DEBUG] || values[NAME_TRACE_REFS];
}

/* What can be seen of an object whose file is out of reach: a library that was replaced by an
 * upgrade, say, for who may not use map_files; or one without section headers. */
static void look_into_memory(struct search *s, const struct object *o, struct found *ret)
{
	uint64_t values[NAME_COUNT] = {0};
	uint64_t cookie;

	if (o->first->offset == 0)
		elf_loaded_symbols(s->m, o->first->start, names, values, NAME_COUNT);
	take_symbols(ret, values);
	if (!ret->python && scan_object(s, o, COOKIE_LEN, take_cookie, &cookie)) {
		ret->runtime = cookie;
		ret->python = true;
	}
}

static int look_into_file(struct search *s, const struct object *o, struct found *ret)
{
	_cleanup_fd_ int fd = open_object(s, o);
	_cleanup_elf_ struct elf_file *f = NULL;
	uint64_t values[NAME_COUNT] = {0};
	uint64_t bias, addr, size;
	int r;

	if (fd < 0)
		return fd;
	r = elf_file_open(&f, fd);
	if (r == -ENOTSUP)
		ret->foreign = true;
	if (r < 0)
		return r;
	r = elf_file_bias(f, o->first->start, o->first->offset, &bias);
	if (r < 0)
		return r;
	elf_file_symbols(f, ELF_SYMBOLS_DYNAMIC, names, values, NAME_COUNT);
	if (!values[NAME_RUNTIME] && elf_file_section(f, ".PyRuntime", &addr, &size) == 0)
		values[NAME_RUNTIME] = addr;
	/* Only what may be Python is worth the larger table. */
	if (!values[NAME_RUNTIME] && (o->main || values[NAME_GET_VERSION]))
		elf_file_symbols(f, ELF_SYMBOLS_ALL, names, values, NAME_COUNT);
	for (size_t i = 0; i < NAME_COUNT; i++) {
		if (values[i])
			values[i] += bias;
	}
	take_symbols(ret, values);
	if (ret->python)
		ret->build_id_len = elf_file_build_id(f, ret->build_id);
	return 0;
}

/* Builds the layout of the runtime at addr: 0 and version, or a problem noted. */
static int find_layout(struct search *s, const struct object *o, const struct found *found,
		       struct layout *ret, char version[static 48])
{
	uint8_t table[DEBUG_OFFSETS_MAX];
	const struct layout *rows;
	uint32_t number = 0;
	uint64_t word;
	size_t len = sizeof(table);
	int r;

	/* The table may stand near the end of its mapping. */
	do {
		r = memory_read(s->m, found->runtime, table, len);
	} while (r == -EFAULT && (len /= 2) >= 64);
	if (r < 0)
		return r;
	r = layout_from_debug_offsets(ret, table, len, &number);
	if (r != -ENODATA) {
		format_version(version, 48, number);
		if (r == -ENOTSUP)
			note_problem(s, TARGET_UNSUPPORTED, "%sPython %s",
				     table[16] == 1 ? "free-threaded " : "", version);
		return r;
	}
	if (found->version && MEMORY_READ(s->m, found->version, &word) == 0 && word >> 32 == 0) {
		number = (uint32_t)word;
		format_version(version, 48, number);
	} else if (find_version_text(s, o, version)) {
		number = version_number(version);
	} else {
		note_problem(s, TARGET_NOT_READY, "Python has not been initialised");
		return -EAGAIN;
	}
	rows = layout_rows(number, false);
	if (!rows && number >= VERSION_WITH_TABLE) {
		/* The loader is still mapping the object, or the table is wiped. */
		note_problem(s, TARGET_NOT_READY, "Python %s has not been initialised", version);
		return -EAGAIN;
	}
	if (!rows) {
		note_problem(s, TARGET_UNSUPPORTED, "Python %s", version);
		return -ENOTSUP;
	}
	*ret = *rows;
	ret->version = number;
	return 0;
}

static void keep_best(struct search *s, const struct object *o, const struct found *found,
		      const struct layout *l, const char *version)
{
	struct target *t;
	int threads = 0;

	/* Counting matters only where there is a choice. */
	if (s->best) {
		threads = layout_count_threads(l, s->m, found->runtime);
		s->best_threads = layout_count_threads(&s->best->layout, s->m, s->best->runtime);
		if (threads <= s->best_threads)
			return;
	}
	t = s->best ? s->best : calloc(1, sizeof(*t));
	if (!t) {
		note_errno(s, -ENOMEM, "the process");
		return;
	}
	t->pid = s->pid;
	t->opener = s->opener;
	t->runtime = found->runtime;
	t->layout = *l;
	snprintf(t->version, sizeof(t->version), "%s", version);
	escape(t->object, sizeof(t->object), o->first->path);
	memcpy(t->build_id, found->build_id, sizeof(t->build_id));
	t->build_id_len = (uint8_t)found->build_id_len;
	t->shared = !o->main;
	s->best = t;
}

static void try_runtime(struct search *s, const struct object *o, const struct found *found)
{
	char version[48] = "";
	struct layout l;
	int r;

	if (s->runtimes++ >= RUNTIMES_MAX)
		return;
	r = find_layout(s, o, found, &l, version);
	if (r == -ENOTSUP || r == -EAGAIN)
		return;
	if (r == -EFAULT) {
		/* The loader has mapped the object in part. */
		note_problem(s, TARGET_NOT_READY, "Python has not been initialised");
		return;
	}
	if (r < 0) {
		note_errno(s, r, "its memory");
		return;
	}
	if (found->debug) {
		note_problem(s, TARGET_UNSUPPORTED, "Python %s, a debug build", version);
		return;
	}
	r = layout_prove(&l, s->m, found->runtime);
	if (r == 0)
		keep_best(s, o, found, &l, version);
	else if (r == -EAGAIN)
		note_problem(s, TARGET_NOT_READY, "Python %s has not been initialised", version);
	else if (r == -ENOTSUP || r == -EFAULT)
		note_problem(s, TARGET_UNPROVEN,
			     "Python %s is not laid out as this version should be", version);
	else
		note_errno(s, r, "its memory");
}

/* Whether a file's name is one that interpreters and their libraries have. Extension modules
 * carry "cpython" in theirs and are many. */
static bool is_python_name(const char *path)
{
	const char *name = strrchr(path, '/');

	name = name ? name + 1 : path;
	return strstr(name, "python") && !strstr(name, ".cpython-");
}

static void try_object(struct search *s, struct object *o)
{
	struct found found = {0};
	char version[48];
	int r;

	if (o->tried || !(o->executable || o->main))
		return;
	o->tried = true;
	r = look_into_file(s, o, &found);
	if (r == -EPERM || r == -EACCES)
		s->refused = true;
	if (found.foreign && o->main) {
		note_problem(s, TARGET_UNSUPPORTED, "a program of another machine or word size");
		return;
	}
	if (r < 0 || (!found.python && (o->main || is_python_name(o->first->path))))
		look_into_memory(s, o, &found);
	if (found.runtime) {
		try_runtime(s, o, &found);
	} else if (found.python) {
		/* 2.7 and 3.6 keep their state in static variables. */
		if (find_version_text(s, o, version))
			note_problem(s, TARGET_UNSUPPORTED, "Python %s", version);
		else
			note_problem(s, TARGET_UNSUPPORTED, "a Python older than 3.7");
	}
}

/* --- the process --- */

static void find_main_object(struct search *s)
{
	_cleanup_fd_ int fd = s->opener->open(s->opener->arg, PROC_EXE, 0, 0);
	struct stat st;

	if (fd == -EPERM || fd == -EACCES)
		s->refused = true;
	if (fd < 0 || fstat(fd, &st) < 0)
		return;
	/* Devices are not compared: some file systems show another one in maps. */
	for (size_t i = 0; i < s->maps.objects_count; i++) {
		struct object *o = &s->maps.objects[i];

		if (o->first->inode != st.st_ino)
			continue;
		o->main = true;
		break;
	}
}

static void try_objects(struct search *s)
{
	struct maps *maps = &s->maps;

	for (size_t i = 0; i < maps->objects_count; i++) {
		if (maps->objects[i].main)
			try_object(s, &maps->objects[i]);
	}
	for (size_t i = 0; i < maps->objects_count; i++) {
		if (is_python_name(maps->objects[i].first->path))
			try_object(s, &maps->objects[i]);
	}
	for (size_t i = 0; i < maps->objects_count && !s->best; i++)
		try_object(s, &maps->objects[i]);
}

static void search_process(struct search *s)
{
	int r = maps_read(&s->maps, s->opener);
	char probe;

	if (r < 0) {
		note_errno(s, r, "its memory map");
		return;
	}
	if (s->maps.mappings_count == 0) {
		if (is_gone(s))
			note_problem(s, TARGET_GONE, "the process has ended");
		else
			note_problem(s, TARGET_NOT_PYTHON, "a kernel thread");
		return;
	}
	r = memory_read(s->m, s->maps.mappings[0].start, &probe, sizeof(probe));
	if (r < 0 && r != -EFAULT) {
		note_errno(s, r, "its memory");
		return;
	}
	find_main_object(s);
	try_objects(s);
	if (s->best)
		return;
	r = memory_read(s->m, s->maps.mappings[0].start, &probe, sizeof(probe));
	if (r == -ESRCH)
		note_problem(s, TARGET_GONE, "the process has ended");
	else if (s->refused && s->problem <= TARGET_NOT_PYTHON)
		note_problem(s, TARGET_REFUSED, "not permitted to read its program files");
	else
		note_problem(s, TARGET_NOT_PYTHON, "no Python is mapped");
}

enum target_problem target_open(struct target **ret, pid_t pid, const struct proc_opener *opener,
				char *detail, size_t size)
{
	struct search s = {
		.pid = pid,
		.opener = opener,
		.detail = detail,
		.detail_size = size,
	};
	int r;

	if (size)
		detail[0] = '\0';
	r = memory_new_live(&s.m, pid);
	if (r < 0) {
		note_errno(&s, r, "its memory");
		return s.problem;
	}
	search_process(&s);
	maps_done(&s.maps);
	if (!s.best) {
		memory_free(s.m);
		return s.problem;
	}
	if (size)
		detail[0] = '\0';
	s.best->memory = s.m;
	*ret = s.best;
	return TARGET_OK;
}

static int section_of(struct search *s, const struct object *o, const char *section,
		      uint64_t *ret_addr, uint64_t *ret_size)
{
	_cleanup_fd_ int fd = open_object(s, o);
	_cleanup_elf_ struct elf_file *f = NULL;
	uint64_t bias, addr, size;
	int r = fd < 0 ? -EACCES : elf_file_open(&f, fd);

	if (r == 0)
		r = elf_file_bias(f, o->first->start, o->first->offset, &bias);
	if (r == 0)
		r = elf_file_section(f, section, &addr, &size);
	if (r < 0)
		return r;
	*ret_addr = addr + bias;
	*ret_size = size;
	return 0;
}

static bool holds(const struct object *o, uint64_t addr)
{
	return addr >= o->first->start && addr < o->first[o->count - 1].end;
}

static bool is_named(const struct object *o, const char *part)
{
	const char *name = strrchr(o->first->path, '/');

	return name && strstr(name, part);
}

int target_find_section(const struct target *t, const char *section, const char *library,
			uint64_t *ret_addr, uint64_t *ret_size)
{
	struct search s = {.pid = t->pid, .m = t->memory, .opener = t->opener};
	int r = maps_read(&s.maps, s.opener), result = r < 0 ? r : -ENOENT;

	if (r == 0)
		find_main_object(&s);
	for (size_t i = 0; i < s.maps.objects_count && result != 0; i++) {
		const struct object *o = &s.maps.objects[i];

		if (!is_named(o, library) && !holds(o, t->runtime))
			continue;
		r = section_of(&s, o, section, ret_addr, ret_size);
		if (r == 0 || r == -EACCES)
			result = r;
	}
	maps_done(&s.maps);
	return result;
}

void target_free(struct target *t)
{
	if (!t)
		return;
	memory_free(t->memory);
	free(t);
}
