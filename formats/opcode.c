#include "formats/opcode.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_MINOR 8
/* Added to opcodes that have no name. */
#define NAMELESS (1u << 16)

static const uint16_t *numbers_of(const char *python)
{
	unsigned long minor;

	if (strncmp(python, "3.", 2) != 0)
		return NULL;
	minor = strtoul(python + 2, NULL, 10);
	return minor >= FIRST_MINOR && minor - FIRST_MINOR < OPCODE_VERSIONS
		       ? opcode_numbers[minor - FIRST_MINOR]
		       : NULL;
}

uint32_t opcode_number(const char *python, uint32_t opcode_plus_1)
{
	const uint16_t *numbers = numbers_of(python);
	uint32_t opcode = opcode_plus_1 - 1;

	if (opcode_plus_1 == 0)
		return 0;
	if (numbers && opcode < 256 && numbers[opcode])
		return numbers[opcode];
	return NAMELESS + opcode;
}

const char *opcode_name(uint32_t number)
{
	return number < opcode_count ? opcodes[number].name : NULL;
}

const char *opcode_base(uint32_t number)
{
	return number < opcode_count ? opcodes[opcodes[number].base].name : NULL;
}

bool opcode_is_special(uint32_t number)
{
	/* Their other forms are of the interpreter's own doing: they check or count less. */
	static const char *const never[] = {"EXTENDED_ARG", "JUMP_BACKWARD", "RESUME"};
	const char *name = opcode_name(number), *base = opcode_base(number);

	if (!name || name == base || strncmp(name, "INSTRUMENTED_", 13) == 0 ||
	    strstr(name, "_ADAPTIVE"))
		return false;
	for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++)
		if (strcmp(base, never[i]) == 0)
			return false;
	return true;
}

const char *opcode_text(uint32_t number, char *buf, size_t size)
{
	const char *name = opcode_name(number), *base = opcode_base(number);

	if (number == 0)
		snprintf(buf, size, "%s", "");
	else if (!name)
		snprintf(buf, size, "<%" PRIu32 ">", number - NAMELESS);
	else if (base != name)
		snprintf(buf, size, "%s (%s)", name, base);
	else
		snprintf(buf, size, "%s", name);
	return buf;
}
