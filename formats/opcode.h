/* Names of bytecode instructions, by the version of the interpreter. */
#ifndef PYPROF_FORMATS_OPCODE_H
#define PYPROF_FORMATS_OPCODE_H

#include <stddef.h>
#include <stdint.h>

#define OPCODE_TABLES 8 /* 3.8 to 3.15 */

/* One version, as its modules opcode and dis have it: opcode-table.c, made by make opcodes. */
struct opcode_table {
	uint8_t minor;		/* 3.minor */
	const char *names[256]; /* NULL: no such instruction */
	uint8_t bases[256];	/* of a specialised or instrumented one: the plain one; else 0 */
};
extern const struct opcode_table opcode_tables[OPCODE_TABLES];

/* The table for a version as recordings have it ("3.12.1"); NULL when it is not known. */
const struct opcode_table *opcode_table_of(const char *python);

/* "LOAD_ATTR"; "LOAD_ATTR_SLOT (LOAD_ATTR)" for a specialised one; "<123>" for a number without a
 * name, and where t is NULL. Into buf, which is returned. */
const char *opcode_text(const struct opcode_table *t, int opcode, char *buf, size_t size);

/* The names alone; NULL when there is none. The base of a plain instruction is itself. */
const char *opcode_name(const struct opcode_table *t, int opcode);
const char *opcode_base(const struct opcode_table *t, int opcode);

#endif
