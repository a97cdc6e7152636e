/* Names of bytecode instructions, by the version of the interpreter. */
#ifndef PYPROF_FORMATS_OPCODE_H
#define PYPROF_FORMATS_OPCODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OPCODE_VERSIONS 8 /* 3.8 to 3.15 */

/* All instructions of all versions, as their modules opcode and dis have them, from 1 on:
 * opcode-table.c, made by make opcodes. What has the same name and the same plain form in several
 * versions is one. */
struct opcode {
	const char *name;
	uint16_t base; /* of a specialised or instrumented one: the plain one; else itself */
};
extern const struct opcode opcodes[];
extern const uint16_t opcode_count; /* with 0, which is none */
/* Of 3.8, 3.9, ...: the instruction of each opcode; 0: there is none. */
extern const uint16_t opcode_numbers[OPCODE_VERSIONS][256];

/* The number of an instruction of a version as recordings have it ("3.12.1"). opcode_plus_1: as in
 * struct stream_frame. 0 when that is 0; one without a name, and of a version that is not known,
 * has a number too. */
uint32_t opcode_number(const char *python, uint32_t opcode_plus_1);

/* "LOAD_ATTR"; "LOAD_ATTR_SLOT (LOAD_ATTR)" for a specialised one; "<123>", with the opcode, where
 * there is no name; "" for 0. Into buf, which is returned. */
const char *opcode_text(uint32_t number, char *buf, size_t size);

/* The names alone; NULL when there is none. The base of a plain instruction is itself. */
const char *opcode_name(uint32_t number);
const char *opcode_base(uint32_t number);

/* Whether it is made for the kinds of values that it met. One that still counts how often it ran
 * (adaptive) or is watched (instrumented) has a plain form as well, but does what that does. */
bool opcode_is_special(uint32_t number);

#endif
