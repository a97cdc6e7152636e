#include "tests/unit/nowhere.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int open_nowhere(void *arg, const char *name, FILE **ret)
{
	*ret = fopen("/dev/null", "w");
	return *ret ? 0 : -errno;
}

static int close_nowhere(void *arg, FILE *file)
{
	return fclose(file) == 0 ? 0 : -errno;
}

static int some_source(void *arg, const char *file, struct format_source *ret)
{
	static const char text[] =
		"def f(a):\n\treturn <b>&a\n\n\xc3\xa9\xe2\x82\xac \xff\xe2\x80\xae\n"
		"x = \"\xf0\x9f\x90\x8d\" + 'y' * 40\n\n\n\nlast";

	ret->text = strdup(text);
	ret->len = strlen(text);
	return ret->text ? 0 : -ENOMEM;
}

int write_to_nowhere(const struct format *f, const struct model *m,
		     const struct format_options *options)
{
	static const struct format_folder to = {NULL, open_nowhere, close_nowhere};
	struct format_options with_source = *options;
	FILE *out;
	int r;

	if (f->write_folder) {
		if (!with_source.source_file)
			with_source.source_file = some_source;
		return f->write_folder(m, &with_source, &to);
	}
	out = fopen("/dev/null", "w");
	if (!out)
		return -errno;
	r = f->write(m, options, out);
	fclose(out);
	return r;
}
