/* Recordings made up for tests, and a handler that adds up what a reader tells. */
#ifndef PYPROF_TESTS_STREAM_FIXTURE_H
#define PYPROF_TESTS_STREAM_FIXTURE_H

#include "formats/bytes.h"
#include "formats/model.h"
#include "formats/stream.h"

/* Ids of the made-up process, as fixture_definitions tells them: stack i is called by stack i / 2
 * and runs frame i % 1000 + 1; frame i is line i of function i / 3 + 1, columns 2 to 9; function i
 * is "f<i>" of "/src/mod<i % 7>.py"; thread i has the tid 100 + i; task i is called "f<i>", stands
 * at 0x7f0000000000 + i and runs in thread i % 3. */
extern const struct stream_definitions fixture_definitions;

struct fixture {
	uint64_t samples, step_ns, jitter_ns;
	uint32_t threads, stacks;
	struct stream_writer_options options;
	uint64_t stream_id;
	unsigned seed;
	uint64_t gaps; /* one gap of 3 samples each so many samples; 0: none */
};

#define FIXTURE_START 5000000000ull

/* Appends the whole recording. Its statistics say how many samples there are. */
void fixture_record(struct bytes *to, const struct fixture *f);
int fixture_sink(void *arg, const void *bytes, size_t len); /* arg: struct bytes */

/* What a reader told. */
struct told {
	uint64_t samples, checksum, gaps, damage;
	uint32_t headers, segments, summaries, statistics;
	uint64_t achieved; /* of the last summary */
	uint32_t warnings;
	char text[4096]; /* all warnings, a line each */
};
extern const struct stream_handler told_handler;

/* Reads all, in slices (0: at once). The reader's first error. */
int fixture_read(const void *bytes, size_t len, size_t slice, struct told *ret);
struct model *fixture_model(const void *bytes, size_t len, const struct model_options *options);
/* That the samples of a model one by one, in their order, add up to its counts. */
void fixture_check_samples(const struct model *m);

#endif
