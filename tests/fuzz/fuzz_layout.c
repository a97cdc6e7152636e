/* Memory of a target that claims to be a runtime. The first byte chooses how it is read: as the
 * debug offsets of a version with the cookie put in front, or with the rows of an older one; the
 * rest is the memory, at BASE. */
#include "remote/layout.h"

#include <stdlib.h>
#include <string.h>

#include "remote/memory.h"

#define BASE UINT64_C(0x10000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint64_t versions[] = {0x030d00f0, 0x030e00f0, 0x030f00f0};
	struct memory *m = NULL;
	uint32_t version;
	struct layout l;
	uint8_t *image;
	uint8_t kind;

	if (size < 1)
		return 0;
	kind = data[0];
	size--;
	image = malloc(size ? size : 1);
	if (!image)
		return 0;
	memcpy(image, data + 1, size);
	if (kind & 1) {
		if (size >= 24) {
			uint64_t head[3] = {0, versions[(kind >> 1) % 3], kind >> 7};

			memcpy(&head[0], "xdebugpy", 8);
			memcpy(image, head, sizeof(head));
		}
		if (layout_from_debug_offsets(&l, image, size, &version) < 0)
			goto out;
	} else {
		l = *layout_rows(0x03080000 + (((kind >> 1) % 5u) << 16), false);
	}
	if (memory_new_image(&m, image, size, BASE) < 0)
		goto out;
	layout_prove(&l, m, BASE);
	layout_count_threads(&l, m, BASE);
out:
	memory_free(m);
	free(image);
	return 0;
}
