/* Writes recordings with known answers for the tests of pages: recordings FOLDER. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "formats/bytes.h"
#include "formats/stream.h"
#include "tests/unit/stream_tables.h"

#define MAX_ITEMS 210000

/* One recording's definitions; ids count from 1. */
struct made {
	struct stream_string strings[MAX_ITEMS];
	struct stream_function functions[MAX_ITEMS];
	struct stream_frame frames[MAX_ITEMS];
	struct stream_stack stacks[MAX_ITEMS];
	struct stream_thread threads[16];
	uint32_t n_strings, n_functions, n_frames, n_stacks, n_threads;
};
static struct made made;
static struct stream_tables tables = {made.strings, made.functions, made.frames, made.stacks,
				      made.threads};

static uint32_t add_bytes(const char *bytes, size_t len)
{
	char *copy = malloc(len + 1);

	if (!copy)
		exit(1);
	memcpy(copy, bytes, len);
	copy[len] = '\0';
	made.strings[++made.n_strings] = (struct stream_string){copy, (uint32_t)len};
	return made.n_strings;
}

static uint32_t add_text(const char *text)
{
	return add_bytes(text, strlen(text));
}

/* A frame of a function of its own, called by the stack parent. */
static uint32_t call(uint32_t parent, uint32_t name, uint32_t file, int line)
{
	made.functions[++made.n_functions] =
		(struct stream_function){name, file, line, STREAM_FRAME_PYTHON};
	made.frames[++made.n_frames] =
		(struct stream_frame){made.n_functions, line + 1, line + 1, 4, 9, 0};
	made.stacks[++made.n_stacks] = (struct stream_stack){parent, made.n_frames};
	return made.n_stacks;
}

/* The same function, called again. */
static uint32_t call_again(uint32_t parent, uint32_t stack)
{
	made.stacks[++made.n_stacks] = (struct stream_stack){parent, made.stacks[stack].frame};
	return made.n_stacks;
}

static uint32_t add_thread(const char *name, bool main)
{
	uint32_t id = ++made.n_threads;

	made.threads[id] = (struct stream_thread){.tid = 1000 + id, .main = main};
	made.threads[id].name = add_text(name);
	return id;
}

static int to_file(void *arg, const void *bytes, size_t len)
{
	return fwrite(bytes, 1, len, arg) == len ? 0 : -EIO;
}

struct recording {
	FILE *file;
	struct stream_writer *writer;
	uint64_t start, samples, stopped;
	uint8_t how; /* enum stream_how of what follows */
};

static void begin(struct recording *r, const char *folder, const char *name, const char *command,
		  const char *mode, const char *collected)
{
	char path[4096];
	struct stream_header h = {.stream_id = 42 + strlen(name),
				  .rate_hz = 1000,
				  .time_unit_ns = 1000,
				  .pid = 4321,
				  .python = "3.12.1",
				  .host = "host",
				  .boot_id = "boot",
				  .all_threads = true,
				  .pyprof = "test",
				  .start_monotonic_ns = 5000000000,
				  .start_real_ns = 1700000000000000000};
	const struct stream_definitions definitions = stream_tables_definitions(&tables);
	struct stream_writer_options o = {
		.codec = STREAM_ZSTD, .segment_ns = 1000000000000, .segment_bytes = 1u << 28};

	snprintf(h.command, sizeof(h.command), "%s", command);
	snprintf(h.mode, sizeof(h.mode), "%s", mode);
	snprintf(h.collected, sizeof(h.collected), "%s", collected);
	snprintf(path, sizeof(path), "%s/%s.pyprof", folder, name);
	*r = (struct recording){.file = fopen(path, "w"), .start = 5000000000};
	if (!r->file || stream_writer_new(&r->writer, &h, &definitions, &o, to_file, r->file) < 0)
		exit(1);
}

static void sample(struct recording *r, uint64_t ms, uint32_t thread, uint32_t stack,
		   uint16_t state)
{
	struct stream_sample s = {.time_ns = r->start + ms * 1000000,
				  .thread = thread,
				  .stack = stack,
				  .state = state,
				  .how = r->how};

	if (stream_writer_sample(r->writer, &s) < 0)
		exit(1);
	r->samples++;
	r->stopped += r->how == STREAM_HOW_STOP;
}

/* What was missed and lost was so in the last two of ten seconds, but for half of what was missed.
 */
static struct stream_statistics totals(const struct recording *r, uint64_t ms)
{
	uint64_t missed = ms > 8000 ? 20 : ms > 2000 ? 10 : 0, lost = ms > 8000 ? 10 : 0;

	return (struct stream_statistics){.due = r->samples + missed + lost,
					  .achieved = r->samples,
					  .missed = missed,
					  .free = r->samples - r->stopped,
					  .stopped = r->stopped,
					  .lost[STREAM_LOST_TORN] = lost,
					  .elapsed_ns = ms * 1000000};
}

static void report(struct recording *r, uint64_t ms)
{
	struct stream_statistics s = totals(r, ms);

	if (stream_writer_statistics(r->writer, &s) < 0)
		exit(1);
}

static void finish(struct recording *r)
{
	struct stream_summary end = {.end = "target exited", .totals = totals(r, 10000)};

	if (stream_writer_finish(r->writer, &end) < 0 || fclose(r->file) != 0)
		exit(1);
	stream_writer_free(r->writer);
	made = (struct made){0};
}

#define PYTHON                                                                                     \
	(STREAM_STATE_GIL_KNOWN | STREAM_STATE_GIL | STREAM_STATE_CPU_KNOWN | STREAM_STATE_CPU)
#define WAITS                                                                                      \
	(STREAM_STATE_GIL_KNOWN | STREAM_STATE_GIL_WAIT_KNOWN | STREAM_STATE_GIL_WAIT |            \
	 STREAM_STATE_CPU_KNOWN)
#define SLEEPS (STREAM_STATE_GIL_KNOWN | STREAM_STATE_GIL_WAIT_KNOWN | STREAM_STATE_CPU_KNOWN)

/* Ten seconds at 1 kHz. main: five seconds of alpha > beta, then three of alpha > gamma and two of
 * recurse > recurse > recurse > beta. worker: waits for the GIL in work, sleeps in the second half,
 * and has an exception from six seconds to nine: handled, both, raised.
 * In the fourth second the process is stopped for each sample. Each second ends with a report. */
static void make_known(const char *folder)
{
	struct recording r;
	uint32_t app, module, alpha, beta, gamma, recurse, deep, loop, work;

	begin(&r, folder, "known", "python app.py", "wall", "");
	app = add_text("/srv/app/app.py");
	module = call(0, add_text("<module>"), app, 1);
	alpha = call(module, add_text("alpha"), app, 10);
	beta = call(alpha, add_text("beta"), app, 20);
	gamma = call(alpha, add_text("gamma"), add_text("/usr/lib/python3.12/json/gamma.py"), 30);
	recurse = call(module, add_text("recurse"), app, 40);
	deep = call_again(call_again(call_again(recurse, recurse), recurse), beta);
	loop = call(0, add_text("loop"), app, 50);
	work = call(loop, add_text("work"), add_text("/v/lib/python3.12/site-packages/pkg/w.py"),
		    5);
	add_thread("MainThread", true);
	add_thread("worker", false);
	for (uint64_t ms = 0; ms < 10000; ms++) {
		r.how = ms / 1000 == 3 ? STREAM_HOW_STOP : STREAM_HOW_FREE;
		if (ms && ms % 1000 == 0)
			report(&r, ms);
		sample(&r, ms, 1, ms < 5000 ? beta : ms < 8000 ? gamma : deep, PYTHON);
		sample(&r, ms, 2, work,
		       (ms < 5000 ? WAITS : SLEEPS) | STREAM_STATE_EXCEPTION_KNOWN |
			       (ms >= 6000 && ms < 8000 ? STREAM_STATE_HANDLING : 0) |
			       (ms >= 7000 && ms < 9000 ? STREAM_STATE_EXCEPTION : 0));
	}
	finish(&r);
}

/* Of each 100 samples: how many were on these functions before, and are now. */
static const struct {
	const char *name;
	unsigned was, is;
} changes[] = {
	{"steady", 30, 30},  {"grows_a_bit", 10, 12}, {"grows", 10, 28},
	{"shrinks", 30, 12}, {"appears", 0, 18},      {"vanishes", 20, 0},
};

static void make_change(const char *folder, const char *name, bool now, const char *mode,
			uint64_t length_ms)
{
	struct recording r;
	uint32_t app, module, stacks[8], noise, turn = 0;

	begin(&r, folder, name, "python app.py", mode, "");
	app = add_text("/srv/app/app.py");
	/* Code above was added meanwhile: everything moved down. */
	module = call(0, add_text("<module>"), app, 1);
	for (size_t i = 0; i < 6; i++)
		stacks[i] = call(module, add_text(changes[i].name), app, 10 * (int)i + 10 + now);
	noise = call(module, add_text("noise"), app, 100 + now);
	add_thread("MainThread", true);
	for (uint64_t ms = 0; ms < length_ms; ms++) {
		uint32_t at = 0;
		unsigned left = (unsigned)(turn++ * 37 % 100);

		while (left >= (now ? changes[at].is : changes[at].was)) {
			left -= now ? changes[at].is : changes[at].was;
			at++;
		}
		/* Nine in ten thousand before, fourteen now: that says nothing. */
		sample(&r, ms, 1, ms % 1100 == 7 || (now && ms % 2000 == 9) ? noise : stacks[at],
		       PYTHON | STREAM_STATE_EXCEPTION_KNOWN);
	}
	finish(&r);
}

static void make_hostile(const char *folder)
{
	static const char *const names[] = {
		"<img src=x onerror=globalThis.hacked=1>",
		"</script><script>globalThis.hacked=1</script>",
		"</style><style>body{display:none}</style>",
		"\"><svg onload=globalThis.hacked=1>",
		"' onmouseover='globalThis.hacked=1",
		"${globalThis.hacked=1}",
		"new\nline\r\ttab",
		"in\xffvalid\xc3",
		"bidi\xe2\x80\xae"
		"evil\xe2\x81\xa6",
		"__proto__",
		"constructor",
		"&lt;b&gt;&amp;",
		"]]>-->",
		"javascript:globalThis.hacked=1",
	};
	struct recording r;
	uint32_t count = sizeof(names) / sizeof(names[0]), stacks[32], parent = 0;
	char *lengthy = malloc(10001);

	if (!lengthy)
		exit(1);
	begin(&r, folder, "hostile",
	      "python </title><script>globalThis.hacked=1</script> \xe2\x80\xae", "wall", "");
	memset(lengthy, 'A', 10000);
	lengthy[10000] = '\0';
	for (uint32_t i = 0; i < count; i++)
		stacks[i] = parent = call(parent, add_text(names[i]), add_text(names[i]), 3);
	stacks[count++] = call(0, add_text(lengthy), add_text(lengthy), 1);
	free(lengthy);
	stacks[count++] = call(0, add_bytes("nul\0byte", 8), add_bytes("nul\0byte", 8), 1);
	add_thread(names[1], true);
	add_thread(names[8], false);
	for (uint64_t ms = 0; ms < 1600; ms++)
		sample(&r, ms, 1 + (uint32_t)ms % 2, stacks[ms % count], PYTHON);
	finish(&r);
}

/* Two hundred thousand frames in the tree, 40 levels, no two alike; the last is called needle. */
static void make_huge(const char *folder)
{
	enum { NODES = 200000, LEVELS = 40, LEVEL = NODES / LEVELS };
	struct recording r;
	uint32_t random = 7, files[50];
	char name[64];

	begin(&r, folder, "huge", "python huge.py", "wall", "");
	for (int i = 0; i < 50; i++) {
		snprintf(name, sizeof(name),
			 i % 3 ? "/srv/app/module_%d.py" : "/usr/lib/python3.12/m%d.py", i);
		files[i] = add_text(name);
	}
	for (uint32_t i = 0; i < NODES - 1; i++) {
		uint32_t level = i / LEVEL, parent = 0;

		random = random * 1664525 + 1013904223;
		/* Towards the front of the level before: some have many callees. */
		if (level)
			parent =
				(level - 1) * LEVEL + 1 +
				(uint32_t)((uint64_t)(random >> 16) * (random >> 8 & 255) * LEVEL >>
					   24);
		snprintf(name, sizeof(name), "function_%u", i % 9000);
		call(parent, add_text(name), files[i % 50], (int)(i % 9000) + 1);
	}
	call(made.n_stacks / 2, add_text("needle"), files[0], 1);
	add_thread("MainThread", true);
	for (uint64_t i = 0; i < 2 * NODES; i++) {
		uint32_t stack = i < NODES ? (uint32_t)i + 1 : (uint32_t)(i * 7919 % NODES) + 1;

		sample(&r, i, 1, stack, PYTHON);
	}
	finish(&r);
}

/* A source file in the folder, of before the recording or of now; the string of its path. */
static uint32_t add_source(const char *folder, const char *name, const char *bytes, size_t len,
			   bool old)
{
	const struct timespec times[2] = {{1600000000, 0}, {1600000000, 0}};
	char *full = realpath(folder, NULL), path[4096];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", full ? full : folder, name);
	free(full);
	f = fopen(path, "w");
	if (!f || fwrite(bytes, 1, len, f) != len || fclose(f) != 0 ||
	    (old && utimensat(AT_FDCWD, path, times, 0) < 0))
		exit(1);
	return add_text(path);
}

/* Functions whose source is there, and others whose is not, each for its reason. */
static void make_sources(const char *folder)
{
	static const char text[] = "import time\n\ndef shown():\n    return time.time()\n";
	struct recording r;
	uint32_t stacks[8], n = 0, file;

	begin(&r, folder, "sources", "python shown.py", "wall", "");
	file = add_source(folder, "shown.py", text, sizeof(text) - 1, true);
	stacks[n++] = call(0, add_text("shown"), file, 3);
	stacks[n++] = call(0, add_text("behind"), file, 100);
	file = add_source(folder, "changed.py", text, sizeof(text) - 1, false);
	stacks[n++] = call(0, add_text("changed"), file, 3);
	file = add_source(folder, "binary.py", "a\0b\n\n\n", 6, true);
	stacks[n++] = call(0, add_text("binary"), file, 1);
	stacks[n++] = call(0, add_text("frozen"), add_text("<frozen importlib>"), 1);
	stacks[n++] = call(0, add_text("moving"), 0, -1);
	made.functions[made.n_functions].kind = STREAM_FRAME_MOVING;
	add_thread("MainThread", true);
	for (uint64_t ms = 0; ms < 600; ms++)
		sample(&r, ms, 1, stacks[ms % n], PYTHON);
	finish(&r);
}

/* Ten seconds of a loop without a task, over which one task waits for another, which waits first at
 * one place and in the last four seconds at another. */
static void make_waiting(const char *folder)
{
	struct recording r;
	uint32_t app, loop, outer, first, last;

	begin(&r, folder, "waiting", "python tasks.py", "wall", "async async-waits");
	app = add_text("/srv/app/tasks.py");
	loop = call(0, add_text("run_forever"), app, 1);
	outer = call(0, add_text("outer"), add_text("<task>"), 0);
	made.functions[made.n_functions].kind = STREAM_FRAME_TASK;
	outer = call(outer, add_text("main"), app, 10);
	outer = call(outer, add_text("inner"), add_text("<task>"), 0);
	made.functions[made.n_functions].kind = STREAM_FRAME_TASK;
	first = call(outer, add_text("connect"), app, 20);
	last = call(outer, add_text("receive"), app, 30);
	add_thread("MainThread", true);
	for (uint64_t ms = 0; ms < 10000; ms++) {
		struct stream_sample s = {.time_ns = r.start + ms * 1000000,
					  .thread = 1,
					  .stack = loop,
					  .state = SLEEPS,
					  .task = STREAM_SAMPLE_TASK_NONE};

		if (stream_writer_sample(r.writer, &s) < 0)
			exit(1);
		r.samples++;
	}
	for (int i = 0; i < 2; i++) {
		struct stream_wait w = {.time_ns = r.start + (i ? 6000000000 : 0),
					.ns = i ? 4000000000 : 6000000000,
					.count = i ? 4000 : 6000,
					.thread = 1,
					.stack = i ? last : first};

		if (stream_writer_wait(r.writer, &w) < 0)
			exit(1);
	}
	finish(&r);
}

/* A stack that differs from another in the instruction of its last frame only; op: of 3.12, or -1.
 */
static uint32_t at_instruction(uint32_t stack, int op)
{
	struct stream_frame frame = made.frames[made.stacks[stack].frame];

	frame.op = (uint16_t)(op + 1);
	made.frames[++made.n_frames] = frame;
	made.stacks[++made.n_stacks] =
		(struct stream_stack){made.stacks[stack].parent, made.n_frames};
	return made.n_stacks;
}

/* A thousand samples in leaf, which caller calls by an instruction that is watched, at instructions
 * of which one has no name and one is not known; then 15 instructions of another function, each
 * less often than the one before. */
static void make_opcodes(const char *folder)
{
	static const struct {
		int op;
		unsigned samples;
	} ops[] = {
		{7, 400},   /* BINARY_OP_ADD_INT */
		{78, 250},  /* LOAD_ATTR_SLOT */
		{124, 200}, /* LOAD_FAST */
		{122, 60},  /* BINARY_OP */
		{200, 50},  /* none of 3.12 has this number */
		{-1, 40},
	};
	struct recording r;
	uint32_t app, caller, leaf, many, stack;
	uint64_t ms = 0;

	begin(&r, folder, "opcodes", "python app.py", "wall", "opcodes");
	app = add_text("/srv/app/app.py");
	caller = at_instruction(call(0, add_text("caller"), app, 10), 241); /* INSTRUMENTED_CALL */
	leaf = call(caller, add_text("leaf"), app, 20);
	many = call(0, add_text("many"), app, 30);
	add_thread("MainThread", true);
	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		stack = at_instruction(leaf, ops[i].op);
		for (unsigned k = 0; k < ops[i].samples; k++)
			sample(&r, ms++, 1, stack, PYTHON);
	}
	for (int i = 0; i < 15; i++) {
		stack = at_instruction(many, 83 + i); /* RETURN_VALUE and what follows */
		for (int k = 0; k < 30 - i; k++)
			sample(&r, ms++, 1, stack, PYTHON);
	}
	finish(&r);
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: recordings FOLDER\n");
		return 2;
	}
	make_known(argv[1]);
	make_change(argv[1], "before", false, "wall", 10000);
	make_change(argv[1], "before_long", false, "wall", 20000);
	make_change(argv[1], "after", true, "wall", 10000);
	make_change(argv[1], "gil", true, "gil", 10000);
	make_hostile(argv[1]);
	make_huge(argv[1]);
	make_sources(argv[1]);
	make_waiting(argv[1]);
	make_opcodes(argv[1]);
	return 0;
}
