/* The maps of a target: any text, in front of this process's memory. Files cannot be opened. */
#include "remote/target.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *data;
	size_t size;
};

static int open_input(void *arg, enum proc_file file, uint64_t a, uint64_t b)
{
	const struct input *input = arg;
	int fd;

	if (file != PROC_MAPS)
		return -ENOENT;
	fd = memfd_create("maps", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, input->data, input->size) != (ssize_t)input->size) {
		close(fd);
		return -EIO;
	}
	return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {.data = data, .size = size};
	struct proc_opener opener = {.open = open_input, .arg = &input};
	struct target *t = NULL;
	char detail[64];

	if (target_open(&t, getpid(), &opener, detail, sizeof(detail)) == TARGET_OK)
		target_free(t);
	return 0;
}
