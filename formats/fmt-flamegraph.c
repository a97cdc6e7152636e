#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "formats/flame.h"
#include "formats/web.h"

/* In this order: facts, tree, counts, source lines, strip. */
static void put_all(struct flame *f, const struct flame_strip *strip, const char *facts,
		    const struct format_options *o, struct page *p)
{
	uint64_t interval = flame_interval(f->sides[0].m);
	int r;

	page_varint(p, strlen(facts));
	page_put(p, facts, strlen(facts));
	flame_put_tree(f, p);
	page_varint(p, interval);
	flame_put_counts(f, p, interval);
	r = flame_put_sources(f, o, p);
	if (r < 0 && p->error == 0)
		p->error = r;
	flame_put_strip(strip, p, interval);
}

static int write_page(const struct model *m, const struct model *base,
		      const struct format_options *o, FILE *out)
{
	struct flame_strip *strip = NULL;
	struct page *p = NULL;
	char *facts = NULL;
	struct flame f;
	int strip_error = 0, r = flame_init(&f, m, base);

	if (r < 0)
		return r;
	r = flame_strip_new(&strip, &f, &strip_error);
	if (r == 0) {
		facts = flame_facts(&f, strip_error);
		p = malloc(sizeof(*p));
		r = facts && p ? 0 : -ENOMEM;
	}
	if (r == 0)
		r = page_begin(p, web_flame_html_start, web_flame_html_end, out);
	if (r == 0) {
		put_all(&f, strip, facts, o, p);
		r = page_end(p);
	}
	free(p);
	free(facts);
	flame_strip_free(strip);
	flame_done(&f);
	return r;
}

static int flamegraph_write(const struct model *m, const struct format_options *o, FILE *out)
{
	return write_page(m, NULL, o, out);
}

static int diff_flamegraph_write(const struct model *m, const struct format_options *o, FILE *out)
{
	return write_page(m, o->base, o, out);
}

const struct format format_flamegraph = {
	.name = "flamegraph",
	.extension = "html",
	.extensions = "html htm",
	.opcodes = true,
	.timeline = true,
	.write = flamegraph_write,
};

const struct format format_diff_flamegraph = {
	.name = "diff_flamegraph",
	.extension = "html",
	.opcodes = true,
	.timeline = true,
	.write = diff_flamegraph_write,
};
