/* ELF files of a target, and objects in its memory: any bytes. */
#include "remote/elf.h"

#include <sys/mman.h>
#include <unistd.h>

#include "remote/memory.h"

#define LOADED_AT UINT64_C(0x400000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = {"_PyRuntime", "Py_Version", ""};
	uint8_t id[ELF_BUILD_ID_MAX];
	uint64_t values[3] = {0};
	uint64_t addr, length, bias;
	struct elf_file *f;
	struct memory *m;
	int fd = memfd_create("elf", MFD_CLOEXEC);

	if (fd < 0)
		return 0;
	if (write(fd, data, size) == (ssize_t)size && elf_file_open(&f, fd) == 0) {
		elf_file_symbols(f, ELF_SYMBOLS_DYNAMIC, names, values, 3);
		elf_file_symbols(f, ELF_SYMBOLS_ALL, names, values, 3);
		elf_file_section(f, ".PyRuntime", &addr, &length);
		elf_file_build_id(f, id);
		elf_file_bias(f, 0x400000, 0, &bias);
		elf_file_bias(f, UINT64_MAX, UINT64_MAX, &bias);
		elf_file_free(f);
	}
	close(fd);
	if (memory_new_image(&m, data, size, LOADED_AT) == 0) {
		values[0] = values[1] = values[2] = 0;
		elf_loaded_symbols(m, LOADED_AT, names, values, 3);
		memory_free(m);
	}
	return 0;
}
