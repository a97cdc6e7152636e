#include "cli/listing.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <iconv.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "formats/escape.h"
#include "formats/format.h"

#define MAX_BYTES    (8u << 20)
#define MAX_ENCODING 40

static int open_path(pid_t pid, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	return open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

void listing_init(struct listing *l, pid_t pid)
{
	struct stat its, ours;

	l->root = pid ? open_path(pid, "root") : -1;
	l->cwd = pid ? open_path(pid, "cwd") : -1;
	l->foreign = l->root >= 0 && fstat(l->root, &its) == 0 && stat("/", &ours) == 0 &&
		     (its.st_dev != ours.st_dev || its.st_ino != ours.st_ino);
}

void listing_done(struct listing *l)
{
	if (l->root >= 0)
		close(l->root);
	if (l->cwd >= 0)
		close(l->cwd);
}

/* What a target calls its source may be a pipe or a device: nothing waits for these. */
#define OPEN_FLAGS (O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)

static int open_resolved(int dir, const char *file, unsigned long long resolve)
{
	struct open_how how = {.flags = OPEN_FLAGS, .resolve = resolve | RESOLVE_NO_MAGICLINKS};

	return (int)syscall(SYS_openat2, dir, file, &how, sizeof(how));
}

/* In another root symbolic links mean what they mean there, and what is not there is not looked for
 * here. */
static int open_source(const struct listing *l, const char *file)
{
	int fd = -1;

	if (file[0] == '/' && l->root >= 0)
		fd = open_resolved(l->root, file, RESOLVE_IN_ROOT);
	else if (file[0] != '/' && l->cwd >= 0)
		fd = open_resolved(l->cwd, file, l->foreign ? RESOLVE_NO_SYMLINKS : 0);
	if (fd < 0 && !l->foreign)
		fd = open(file, OPEN_FLAGS);
	return fd < 0 ? -errno : fd;
}

/* All of it into *ret_text, malloc()ed, with a NUL behind it. */
static int read_all(int fd, const struct stat *st, char **ret_text, size_t *ret_len)
{
	size_t len = 0, cap = (size_t)st->st_size + 1;
	char *text = malloc(cap + 1);
	ssize_t n;

	if (!text)
		return -ENOMEM;
	while (len < cap && (n = read(fd, text + len, cap - len)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			n = -errno;
			free(text);
			return (int)n;
		}
		len += (size_t)n;
	}
	text[len] = '\0';
	*ret_text = text;
	*ret_len = len;
	return 0;
}

/* The encoding that one of the first two lines names: "coding", ':' or '=', the name, all in a
 * comment. "" when there is none. */
static void find_encoding(const char *text, char ret[MAX_ENCODING])
{
	const char *end, *at, *hash;
	size_t n = 0;

	ret[0] = '\0';
	for (int line = 0; line < 2 && *text; line++, text = *end ? end + 1 : end) {
		end = text + strcspn(text, "\n");
		hash = text + strspn(text, " \t\f");
		if (*hash != '#') {
			/* A second line counts only behind a comment or an empty one. */
			if (*hash != '\n' && *hash != '\r')
				return;
			continue;
		}
		at = memmem(hash, (size_t)(end - hash), "coding", 6);
		while (at && at[6] != ':' && at[6] != '=')
			at = memmem(at + 6, (size_t)(end - at - 6), "coding", 6);
		if (!at)
			continue;
		at += 7;
		at += strspn(at, " \t");
		while (n < MAX_ENCODING - 1 &&
		       (isalnum((unsigned char)at[n]) || (at[n] && strchr("-_.", at[n])))) {
			ret[n] = at[n];
			n++;
		}
		ret[n] = '\0';
		return;
	}
}

static bool is_utf8(const char *name)
{
	return !name[0] || strncasecmp(name, "utf-8", 5) == 0 ||
	       strncasecmp(name, "utf_8", 5) == 0 || strcasecmp(name, "utf8") == 0 ||
	       strcasecmp(name, "ascii") == 0;
}

/* Python's names have underscores where others have none or a dash. */
static iconv_t open_decoder(const char *name)
{
	char other[MAX_ENCODING];
	iconv_t cd = iconv_open("UTF-8", name);
	size_t n = 0;

	for (int way = 0; cd == (iconv_t)-1 && way < 2; way++) {
		n = 0;
		for (const char *p = name; *p; p++) {
			if (*p != '_' && *p != '-')
				other[n++] = *p;
			else if (way == 0)
				other[n++] = '-';
		}
		other[n] = '\0';
		cd = iconv_open("UTF-8", other);
	}
	return cd;
}

/* text in an encoding to UTF-8. What is wrong becomes U+FFFD. 0, or -ENOMEM; -EINVAL: no such
 * encoding. Takes text when it succeeds. */
static int decode(char **text, size_t *len, const char *encoding)
{
	iconv_t cd = open_decoder(encoding);
	size_t in_left = *len, cap = 4 * *len + 8, out_left = cap;
	char *in = *text, *to, *out;

	if (cd == (iconv_t)-1)
		return -EINVAL;
	to = out = malloc(cap + 1);
	while (to && in_left && iconv(cd, &in, &in_left, &out, &out_left) == (size_t)-1) {
		/* A byte is four at most, so there is room for this. */
		if (errno == E2BIG || out_left < 3)
			break;
		memcpy(out, "\xef\xbf\xbd", 3);
		out += 3;
		out_left -= 3;
		in++;
		in_left--;
	}
	iconv_close(cd);
	if (!to)
		return -ENOMEM;
	*out = '\0';
	free(*text);
	*text = to;
	*len = (size_t)(out - to);
	return 0;
}

static int replace_wrong_bytes(char **text, size_t *len)
{
	size_t n = escape_text(NULL, 0, *text, *len, ESCAPE_UTF8);
	char *to;

	if (n == *len)
		return 0;
	to = malloc(n + 1);
	if (!to)
		return -ENOMEM;
	escape_text(to, n + 1, *text, *len, ESCAPE_UTF8);
	free(*text);
	*text = to;
	*len = n;
	return 0;
}

/* Lines end as Python takes them to: by a newline, a carriage return, or both. */
static void join_newlines(char *text, size_t *len)
{
	char *to = text;

	for (const char *from = text, *end = text + *len; from < end; from++) {
		if (*from == '\r' && from + 1 < end && from[1] == '\n')
			continue;
		*to++ = *from == '\r' ? '\n' : *from;
	}
	*to = '\0';
	*len = (size_t)(to - text);
}

static int to_utf8(char **text, size_t *len)
{
	char encoding[MAX_ENCODING];
	int e = -EINVAL;

	if (*len >= 3 && memcmp(*text, "\xef\xbb\xbf", 3) == 0) {
		*len -= 3;
		memmove(*text, *text + 3, *len + 1);
		return replace_wrong_bytes(text, len);
	}
	find_encoding(*text, encoding);
	if (!is_utf8(encoding))
		e = decode(text, len, encoding);
	return e == -EINVAL ? replace_wrong_bytes(text, len) : e;
}

int listing_read(void *arg, const char *file, struct format_source *ret)
{
	int fd = open_source(arg, file), e = 0;
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		e = -errno;
	else if (!S_ISREG(st.st_mode))
		e = S_ISDIR(st.st_mode) ? -EISDIR : -EILSEQ;
	else if (st.st_size > MAX_BYTES)
		e = -EFBIG;
	if (e == 0)
		e = read_all(fd, &st, &ret->text, &ret->len);
	close(fd);
	if (e < 0)
		return e;
	ret->mtime_ns = st.st_mtim.tv_sec * 1000000000ll + st.st_mtim.tv_nsec;
	if (memchr(ret->text, '\0', ret->len))
		e = -EILSEQ;
	if (e == 0)
		e = to_utf8(&ret->text, &ret->len);
	if (e == 0)
		join_newlines(ret->text, &ret->len);
	if (e < 0) {
		free(ret->text);
		ret->text = NULL;
	}
	return e;
}
