/* A line table of any bytes. */
#include "remote/code.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct code_position p;

	if (size < 2)
		return 0;
	code_position((enum line_style)(data[0] % 3), data + 2, size - 2, INT32_MAX - data[1],
		      data[1] * 16u, &p);
	return 0;
}
