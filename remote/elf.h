/* What the ELF file of a target's object tells, through libelf: symbols, sections, build-id, and
 * where its segments are mapped. Files come from a target and may be anything: every size and count
 * is bounded, and nothing is mapped, since a file cut short under a mapping would kill us.
 * Addresses are those of the file (before the load bias). Source: elf(5). */
#ifndef PYPROF_REMOTE_ELF_H
#define PYPROF_REMOTE_ELF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ELF_BUILD_ID_MAX 20

struct elf_file;
struct memory;

enum elf_symbols {
	ELF_SYMBOLS_DYNAMIC, /* .dynsym */
	ELF_SYMBOLS_ALL,     /* .symtab */
};

/* Opens the ELF file behind fd, which is borrowed and must stay open as long as the result; the
 * caller owns the result: elf_file_free(). 0; -ENOEXEC not an ELF file that can be read; -ENOTSUP
 * a well-formed one of another machine or word size; -ENOMEM. */
int elf_file_open(struct elf_file **ret, int fd);
void elf_file_free(struct elf_file *f);

/* Looks up n names at once in one table: values[i] is set for each name that is defined there and
 * whose values[i] is 0 so far. Returns how many names were found now; 0 also where there is no such
 * table. n is at most ELF_NAMES_MAX. */
#define ELF_NAMES_MAX 16
int elf_file_symbols(struct elf_file *f, enum elf_symbols table, const char *const *names,
		     uint64_t *values, size_t n);

/* The address and size in bytes of an allocated section: 0 or -ENOENT. */
int elf_file_section(struct elf_file *f, const char *name, uint64_t *ret_addr, uint64_t *ret_size);

/* The build-id: its length in bytes, 0 when there is none. Longer ones than ELF_BUILD_ID_MAX are
 * cut. */
size_t elf_file_build_id(struct elf_file *f, uint8_t id[static ELF_BUILD_ID_MAX]);

/* The load bias, from one mapping of the file: start is its address, offset its place in the file.
 * 0 or -ENOENT when no segment is mapped like that. */
int elf_file_bias(struct elf_file *f, uint64_t start, uint64_t offset, uint64_t *ret_bias);

/* Looks up n names among what a loaded object exports, in the target's memory and without its file:
 * start is where the object's first byte is mapped. values[i] becomes the target's address of each
 * name that was found and was 0 before. Returns how many were found now, 0 also when the object
 * cannot be read or has no GNU hash table. */
int elf_loaded_symbols(struct memory *m, uint64_t start, const char *const *names, uint64_t *values,
		       size_t n);

#endif
