#include <errno.h>
#include <string.h>

#include "formats/gecko.h"
#include "formats/opcode.h"

struct extra {
	uint32_t kind, what; /* enum gecko_extra */
};

/* ---- strings ---- */

int gecko_strings_init(struct gecko *g)
{
	return table_init(&g->extras, sizeof(struct extra), sizeof(struct extra));
}

uint32_t gecko_extra_string(struct gecko *g, enum gecko_extra kind, uint32_t what)
{
	struct extra key = {kind, what};
	uint32_t i = table_intern(&g->extras, &key);

	if (i == 0 && !g->out->error)
		g->out->error = -ENOMEM;
	return g->m->string_count + i - 1;
}

void gecko_put_text(struct gecko *g, const char *text)
{
	sink_json(g->out, text, strlen(text));
}

void gecko_put_string(struct gecko *g, uint32_t string)
{
	sink_json(g->out, g->m->strings[string].bytes, g->m->strings[string].len);
}

static void put_basename(struct gecko *g, const struct model_string *s)
{
	const char *slash = s->len ? memrchr(s->bytes, '/', s->len) : NULL;

	if (slash)
		sink_json(g->out, slash + 1, (size_t)(s->bytes + s->len - slash - 1));
	else
		sink_json(g->out, s->bytes, s->len);
}

static void put_extra(struct gecko *g, const struct extra *e)
{
	char text[80];

	switch ((enum gecko_extra)e->kind) {
	case EXTRA_MARKER:
		gecko_put_text(g, gecko_marker_name(e->what));
		break;
	case EXTRA_BASENAME:
		put_basename(g, &g->m->strings[e->what]);
		break;
	case EXTRA_OPCODE:
		gecko_put_text(g, opcode_text(e->what, text, sizeof(text)));
		break;
	}
}

void gecko_put_strings(struct gecko *g)
{
	for (uint32_t i = 0; i < g->m->string_count; i++) {
		if (i)
			sink_byte(g->out, ',');
		gecko_put_string(g, i);
	}
	for (uint32_t i = 1; i < g->extras.count; i++) {
		sink_text(g->out, ",\n");
		put_extra(g, (const struct extra *)(const void *)g->extras.items + i);
	}
}

/* ---- columns ---- */

void gecko_put_milliseconds(struct gecko *g, uint64_t ns)
{
	sink_decimal(g->out, ns, 6);
}

void gecko_put_known(struct gecko *g, int64_t number, int add)
{
	if (number >= 0)
		sink_signed(g->out, number + add);
	else
		sink_put(g->out, "null", 4);
}

void gecko_begin_column(struct gecko *g, const char *name)
{
	sink_text(g->out, ",\n\"");
	sink_text(g->out, name);
	sink_text(g->out, "\":[");
	g->first = true;
}

void gecko_end_column(struct gecko *g)
{
	sink_byte(g->out, ']');
}

void gecko_put_constant(struct gecko *g, const char *name, const char *value, uint64_t n)
{
	gecko_begin_column(g, name);
	for (uint64_t i = 0; i < n; i++) {
		gecko_separate(g);
		sink_text(g->out, value);
	}
	gecko_end_column(g);
}

void gecko_put_length(struct gecko *g, uint64_t n)
{
	sink_text(g->out, ",\n\"length\":");
	sink_unsigned(g->out, n);
	sink_byte(g->out, '}');
}
