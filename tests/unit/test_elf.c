/* ELF files: the running test itself, and files made wrong by hand. */
#include "remote/elf.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "remote/memory.h"

/* What the tests look up in their own program. */
__attribute__((section(".pyprof_test"), used)) uint64_t elf_test_marker[4] = {1, 2, 3, 4};

static int open_self(struct elf_file **ret)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(elf_file_open(ret, fd), 0);
	return fd;
}

/* The first mapping of this program. */
static void find_self(uint64_t *ret_start, uint64_t *ret_offset)
{
	char line[4096], exe[2048];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	FILE *f = fopen("/proc/self/maps", "re");

	assert_non_null(f);
	assert_true(n > 0);
	exe[n] = '\0';
	while (fgets(line, sizeof(line), f)) {
		if (!strstr(line, exe))
			continue;
		assert_int_equal(
			sscanf(line, "%" SCNx64 "-%*x %*s %" SCNx64, ret_start, ret_offset), 2);
		fclose(f);
		return;
	}
	fail_msg("%s is not mapped", exe);
}

static void symbols_and_sections_lead_to_what_is_in_memory(void **state)
{
	static const char *const names[] = {"elf_test_marker", "no_such_symbol", "main"};
	uint64_t values[3] = {0}, start, offset, bias, addr, size;
	struct elf_file *f;
	int fd = open_self(&f);

	find_self(&start, &offset);
	assert_int_equal(elf_file_bias(f, start, offset, &bias), 0);
	assert_int_equal(elf_file_symbols(f, ELF_SYMBOLS_ALL, names, values, 3), 2);
	assert_int_equal(values[0] + bias, (uintptr_t)elf_test_marker);
	assert_int_equal(values[1], 0);
	assert_int_equal(elf_file_section(f, ".pyprof_test", &addr, &size), 0);
	assert_int_equal(addr + bias, (uintptr_t)elf_test_marker);
	assert_int_equal(size, sizeof(elf_test_marker));
	assert_int_equal(elf_file_section(f, ".no_such", &addr, &size), -ENOENT);
	elf_file_free(f);
	close(fd);
}

static void a_name_already_found_stays(void **state)
{
	static const char *const names[] = {"elf_test_marker"};
	uint64_t value = 42;
	struct elf_file *f;
	int fd = open_self(&f);

	assert_int_equal(elf_file_symbols(f, ELF_SYMBOLS_ALL, names, &value, 1), 0);
	assert_int_equal(value, 42);
	elf_file_free(f);
	close(fd);
}

static void an_imported_symbol_is_not_defined(void **state)
{
	static const char *const names[] = {"_cmocka_run_group_tests"};
	struct elf_file *f;
	int fd = open_self(&f);
	uint64_t value = 0;

	assert_int_equal(elf_file_symbols(f, ELF_SYMBOLS_DYNAMIC, names, &value, 1), 0);
	assert_int_equal(elf_file_symbols(f, ELF_SYMBOLS_ALL, names, &value, 1), 0);
	elf_file_free(f);
	close(fd);
}

static void a_mapping_that_no_segment_has_gives_no_bias(void **state)
{
	struct elf_file *f;
	int fd = open_self(&f);
	uint64_t bias;

	assert_int_equal(elf_file_bias(f, 0x1000, UINT64_C(1) << 40, &bias), -ENOENT);
	elf_file_free(f);
	close(fd);
}

static int make_file(const void *bytes, size_t len)
{
	int fd = memfd_create("elf", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), (ssize_t)len);
	return fd;
}

static void make_header(Elf64_Ehdr *h)
{
	memset(h, 0, sizeof(*h));
	memcpy(h->e_ident, ELFMAG, SELFMAG);
	h->e_ident[EI_CLASS] = ELFCLASS64;
	h->e_ident[EI_DATA] = ELFDATA2LSB;
	h->e_ident[EI_VERSION] = EV_CURRENT;
	h->e_type = ET_DYN;
	h->e_machine = EM_X86_64;
	h->e_version = EV_CURRENT;
	h->e_ehsize = sizeof(*h);
	h->e_phentsize = sizeof(Elf64_Phdr);
	h->e_shentsize = sizeof(Elf64_Shdr);
}

static void another_machine_and_word_size_are_named(void **state)
{
	struct elf_file *f;
	Elf64_Ehdr h;
	int fd;

	make_header(&h);
	h.e_ident[EI_CLASS] = ELFCLASS32;
	fd = make_file(&h, sizeof(h));
	assert_int_equal(elf_file_open(&f, fd), -ENOTSUP);
	close(fd);
	make_header(&h);
	h.e_machine = EM_AARCH64;
	fd = make_file(&h, sizeof(h));
	assert_int_equal(elf_file_open(&f, fd), -ENOTSUP);
	close(fd);
}

static void what_is_no_program_is_refused(void **state)
{
	struct elf_file *f;
	Elf64_Ehdr h;
	int fd;

	fd = make_file("#!/bin/sh\n", 10);
	assert_int_equal(elf_file_open(&f, fd), -ENOEXEC);
	close(fd);
	make_header(&h);
	fd = make_file(&h, sizeof(h) - 1);
	assert_int_equal(elf_file_open(&f, fd), -ENOEXEC);
	close(fd);
	h.e_type = ET_REL;
	fd = make_file(&h, sizeof(h));
	assert_int_equal(elf_file_open(&f, fd), -ENOEXEC);
	close(fd);
}

/* Tables that claim to be larger than the file, or to lie behind its end. */
static void tables_out_of_bounds_are_empty(void **state)
{
	static const char *const names[] = {"_PyRuntime"};
	struct {
		Elf64_Ehdr header;
		Elf64_Phdr segments[2];
		Elf64_Shdr sections[3];
	} file;
	static const uint64_t sizes[] = {UINT64_MAX, UINT64_C(1) << 40, 4096, 25};
	static const uint64_t offsets[] = {0, 64, UINT64_MAX - 8, 1 << 20};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		for (size_t k = 0; k < sizeof(offsets) / sizeof(offsets[0]); k++) {
			uint8_t id[ELF_BUILD_ID_MAX];
			struct elf_file *f;
			uint64_t value = 0, addr, size;
			int fd;

			memset(&file, 0, sizeof(file));
			make_header(&file.header);
			file.header.e_phoff = offsetof(typeof(file), segments);
			file.header.e_phnum = 2;
			file.header.e_shoff = offsetof(typeof(file), sections);
			file.header.e_shnum = 3;
			file.header.e_shstrndx = 2;
			file.segments[0] = (Elf64_Phdr){
				.p_type = PT_NOTE, .p_offset = offsets[k], .p_filesz = sizes[i]};
			file.segments[1] = (Elf64_Phdr){.p_type = PT_LOAD,
							.p_flags = PF_W,
							.p_offset = offsets[k],
							.p_filesz = sizes[i]};
			file.sections[1] = (Elf64_Shdr){.sh_type = SHT_DYNSYM,
							.sh_flags = SHF_ALLOC,
							.sh_link = 2,
							.sh_offset = offsets[k],
							.sh_size = sizes[i],
							.sh_entsize = sizeof(Elf64_Sym)};
			file.sections[2] = (Elf64_Shdr){.sh_type = SHT_STRTAB,
							.sh_offset = offsets[k],
							.sh_size = sizes[i]};
			fd = make_file(&file, sizeof(file));
			if (elf_file_open(&f, fd) == 0) {
				assert_int_equal(
					elf_file_symbols(f, ELF_SYMBOLS_DYNAMIC, names, &value, 1),
					0);
				assert_int_equal(elf_file_section(f, ".PyRuntime", &addr, &size),
						 -ENOENT);
				assert_int_equal(elf_file_build_id(f, id), 0);
				elf_file_free(f);
			}
			close(fd);
		}
	}
}

static void a_loaded_library_tells_its_exports_without_its_file(void **state)
{
	static const char *const names[] = {"no_such_symbol", "_cmocka_run_group_tests"};
	uint64_t values[2] = {0};
	struct memory *m;
	Dl_info info;

	assert_int_not_equal(dladdr((void *)_cmocka_run_group_tests, &info), 0);
	assert_int_equal(memory_new_live(&m, getpid()), 0);
	assert_int_equal(elf_loaded_symbols(m, (uintptr_t)info.dli_fbase, names, values, 2), 1);
	assert_int_equal(values[0], 0);
	assert_int_equal(values[1], (uintptr_t)_cmocka_run_group_tests);
	/* No object begins there, or nothing at all. */
	assert_int_equal(elf_loaded_symbols(m, (uintptr_t)elf_test_marker, names, values, 1), 0);
	assert_int_equal(elf_loaded_symbols(m, 0, names, values, 1), 0);
	memory_free(m);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(symbols_and_sections_lead_to_what_is_in_memory),
		cmocka_unit_test(a_name_already_found_stays),
		cmocka_unit_test(an_imported_symbol_is_not_defined),
		cmocka_unit_test(a_mapping_that_no_segment_has_gives_no_bias),
		cmocka_unit_test(another_machine_and_word_size_are_named),
		cmocka_unit_test(what_is_no_program_is_refused),
		cmocka_unit_test(tables_out_of_bounds_are_empty),
		cmocka_unit_test(a_loaded_library_tells_its_exports_without_its_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
