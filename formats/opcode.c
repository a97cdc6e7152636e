#include "formats/opcode.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct opcode_table *opcode_table_of(const char *python)
{
	if (strncmp(python, "3.", 2) != 0)
		return NULL;
	for (size_t i = 0; i < OPCODE_TABLES; i++)
		if (strtoul(python + 2, NULL, 10) == opcode_tables[i].minor)
			return &opcode_tables[i];
	return NULL;
}

const char *opcode_name(const struct opcode_table *t, int opcode)
{
	return t && opcode >= 0 && opcode < 256 ? t->names[opcode] : NULL;
}

const char *opcode_base(const struct opcode_table *t, int opcode)
{
	if (!t || opcode < 0 || opcode >= 256)
		return NULL;
	return t->names[t->bases[opcode] ? t->bases[opcode] : opcode];
}

const char *opcode_text(const struct opcode_table *t, int opcode, char *buf, size_t size)
{
	const char *name = opcode_name(t, opcode), *base = opcode_base(t, opcode);

	if (!name)
		snprintf(buf, size, "<%d>", opcode);
	else if (base != name)
		snprintf(buf, size, "%s (%s)", name, base);
	else
		snprintf(buf, size, "%s", name);
	return buf;
}
