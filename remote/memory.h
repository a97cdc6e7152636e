/* Reading the memory of a target: all-or-fail reads and gathered reads.
 *
 * Addresses are the target's, uint64_t. Lengths are bytes. Nothing here writes
 * to a target. Errors are negative errno: -EFAULT unreadable address, -ESRCH
 * the process is gone, -EPERM not allowed. Source: process_vm_readv(2). */
#ifndef PYPROF_REMOTE_MEMORY_H
#define PYPROF_REMOTE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* One range of a gathered read: len bytes at addr go to buf. */
struct memory_range {
	uint64_t addr;
	uint32_t len;
	/* Set by memory_gather(): nonzero when the range could not be read whole. */
	uint32_t failed;
	void *buf;
};

struct memory;

/* Memory of a live process. The caller owns the result: memory_free(). */
int memory_new_live(struct memory **ret, pid_t pid);

/* Memory that is a buffer of ours: len bytes of image, seen at base. For tests and fuzzing.
 * The image is borrowed and must outlive the result. */
int memory_new_image(struct memory **ret, const void *image, size_t len, uint64_t base);

/* Memory that was read before: what is read of below is kept by pages, and read there only once,
 * until memory_renew(). For looks that take many small reads and must see one instant. below is
 * borrowed. What lies in more than MEMORY_CACHE_PAGES pages is unreadable. */
#define MEMORY_CACHE_PAGES 32768u /* 128 MiB: the objects of some hundred thousand tasks */
int memory_new_cached(struct memory **ret, struct memory *below);

/* The same by blocks of size bytes, a power of 2 up to 4096, instead of pages: for a few small
 * things that are read often. */
int memory_new_blocks(struct memory **ret, struct memory *below, uint32_t size);

/* Reads all pages that m keeps anew, one behind the other, and as fast as that goes: a copy of one
 * instant when nobody writes meanwhile. 0 or -errno, when below cannot be read at all. */
int memory_renew(struct memory *m);

/* The same twice in one call: forth to m and back to second, which keeps these pages then. What is
 * read first is read last, so what m and second agree on may all have stood so at one instant.
 * second reads by m, in blocks as large. 0 or -errno. */
int memory_renew_pair(struct memory *m, struct memory *second);

/* How often something was read, since the last memory_renew(), of pages that came after it: they
 * are of a later instant. */
size_t memory_missed(const struct memory *m);

/* How many pages m keeps. */
size_t memory_kept(const struct memory *m);

/* Gives up all pages that m keeps; their room is used again. */
void memory_forget(struct memory *m);

/* The pages that len bytes at addr lie in are kept from now on: read by the next memory_renew(),
 * and unreadable until then. 0 or -ENOMEM. */
int memory_want(struct memory *m, uint64_t addr, size_t len);

/* Gives up the pages that were neither read nor wanted since so many calls of this. */
void memory_prune(struct memory *m, uint32_t rounds);

/* What was read, in order: len bytes at addr, which stand from at on in bytes. What would be more
 * than MEMORY_LOG_BYTES, or finds no memory, is not in it, and full says so; what could not be read
 * is not either, and lacks says so. Zeroed it is empty; memory_log_done() frees it. */
#define MEMORY_LOG_BYTES (1u << 18)
struct memory_log {
	struct memory_piece {
		uint64_t addr;
		uint32_t len, at;
	} * pieces;
	size_t n, room;
	uint8_t *bytes;
	size_t used, size;
	bool full, lacks;
};
void memory_log_clear(struct memory_log *log);
void memory_log_done(struct memory_log *log);

/* From here on memory_read() notes in log what it read; NULL: nowhere. log is borrowed. Returns
 * the log before. */
struct memory_log *memory_set_log(struct memory *m, struct memory_log *log);

void memory_free(struct memory *m);

/* Reads len bytes at addr or fails; buf is undefined on failure. 0 or -errno. */
int memory_read(struct memory *m, uint64_t addr, void *buf, size_t len);

/* Reads n ranges in order with as few system calls as possible (one, up to IOV_MAX ranges).
 * An unreadable range gets failed = 1 and the read goes on behind it. A range that begins less than
 * 1 KiB behind the end of the one before costs only its bytes: what lies between is read too.
 * Returns 0 when at least the process could be read at all, -ESRCH or -EPERM otherwise.
 * Calls and bytes are counted (memory_counts). */
int memory_gather(struct memory *m, struct memory_range *ranges, size_t n);

/* Totals since memory_new: system calls made and bytes read. */
void memory_counts(const struct memory *m, uint64_t *ret_calls, uint64_t *ret_bytes);

/* memory_read() into an object, sized by its type. */
#define MEMORY_READ(m, addr, ptr) memory_read((m), (addr), (ptr), sizeof(*(ptr)))

#endif
