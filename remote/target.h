/* One opened process: who it is, where its Python runtime stands, and the layout that fits it. */
#ifndef PYPROF_REMOTE_TARGET_H
#define PYPROF_REMOTE_TARGET_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "remote/layout.h"
#include "remote/memory.h"
#include "remote/proc.h"

/* What errno cannot say. Positive, never mixed with -errno in one result: see target_open(). */
enum target_problem {
	TARGET_OK = 0,
	TARGET_NOT_PYTHON,  /* no Python runtime is mapped */
	TARGET_UNSUPPORTED, /* a Python, but a version or build we cannot read */
	TARGET_NOT_READY,   /* a Python that has not initialised its runtime yet */
	TARGET_UNPROVEN,    /* the layout for its version does not hold on it */
	TARGET_GONE,	    /* exited, or a zombie */
	TARGET_REFUSED,	    /* EPERM or EACCES on its memory or files */
};

struct target {
	pid_t pid;
	struct memory *memory;		  /* owned */
	const struct proc_opener *opener; /* borrowed */
	uint64_t runtime;		  /* address of _PyRuntime */
	struct layout layout;
	char version[48]; /* "3.14.10", from the target; printable ASCII */
	char object[256]; /* path, as maps has it, of the object that holds the runtime; escaped */
	uint8_t build_id[20];
	uint8_t build_id_len; /* 0: none */
	bool shared;	      /* the runtime is in a library, not in the executable */
};

/* Opens pid: maps, objects, runtime, version, layout, proof. TARGET_OK and *ret (owned by the
 * caller, target_free()), or a problem; detail gets a short English phrase for the error line
 * ("Python 3.7.16"), never longer than size, always terminated. opener must outlive the target. */
enum target_problem target_open(struct target **ret, pid_t pid, const struct proc_opener *opener,
				char *detail, size_t size);
void target_free(struct target *t);

/* Where a section stands of an object whose file name contains library, or of the one that holds
 * the runtime: the first that has it. Objects may have been mapped since target_open(). 0 and the
 * target's address and bytes; -ENOENT; -EACCES when a file that may have it is out of reach;
 * another -errno. */
int target_find_section(const struct target *t, const char *section, const char *library,
			uint64_t *ret_addr, uint64_t *ret_size);

#endif
