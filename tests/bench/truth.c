/* Samples a program that knows its own truth, and holds each sample against it.
 *
 * usage: truth [options] PID           samples as a session does, and checks in a second thread
 *        truth --collapsed FILE        judges collapsed stacks, of whatever profiler, the same way
 *
 *   -r HZ         rate; 0 as fast as it goes
 *   -d SECONDS    how long (10)
 *   -n SAMPLES    until so many were checked, or the time is over
 *   --budget X    share of the time that stops may take, 0 to 1 (1)
 *   --blocking    every sample by a stop
 *   --cpu N       the sampler's thread runs there; the other one where it may
 *   --tables N    ids begin anew when what they stand for takes more bytes than that
 *   --log FILE    the marks of bench_truth.py: was the named function on top during the gather?
 *   -v            shows the first samples that are wrong
 *
 * PID runs oracle.py or bench_truth.py. Prints one JSON object. */
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "remote/hand.h"
#include "remote/sampler.h"
#include "remote/slice.h"

#define MAX_FRAMES 64 /* the program's stacks have at most 14 */
#define MAX_NAMES  256
#define MAX_LEAVES 64
#define LOG_HEAD   16384
#define NAME_SIZE  32
#define APART	   1024	      /* samples between the two that say what chance would give */
#define PATIENCE   200000000u /* ns that the next mark is waited for */
#define SHOWN	   8

struct frame {
	char file[NAME_SIZE], name[NAME_SIZE]; /* the last part of each */
};

/* What is known of a stack once it has been judged. */
struct verdict {
	bool known, impossible, rootless, moving, shim;
	uint8_t number; /* of the leaf in the log's names; 0: not there */
	uint8_t leaf;	/* index in leaves */
};

struct truth {
	struct sampler *sampler;
	const char *names; /* of the log */
	const _Atomic uint64_t *ring;
	uint64_t n_names, mask, at, mark;
	struct verdict *verdicts;
	size_t n_verdicts;
	struct {
		char name[NAME_SIZE];
		uint64_t count;
	} leaves[MAX_LEAVES];
	size_t n_leaves;
	uint8_t before[APART];
	uint64_t samples, wanted, impossible, impossible_how[3], rootless, least_gather_ns, moving,
		shims, checked, active, chance, chance_checked;
	uint64_t unchecked, unnamed, moved, gather_ns, tables;
	int shown;
	bool verbose;
	_Atomic bool stop, over;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- what stack can be ---- */

/* Who may call whom; names without their family. */
static const struct {
	const char *name, *callers;
} calls[] = {
	{"leaf", " left deep numbers "},
	{"left", " right others __init__ entry "},
	{"right", " method entry "},
	{"deep", " deep entry "},
	{"numbers", " sum "},
	{"others", " numbers "},
	{"sum", " entry "},
	{"method", " entry "},
	{"__init__", " entry "},
	{"entry", " main "},
	{"main", " <module> "},
};

/* "f3_leaf" is of family '3' and called "leaf"; __init__ shows its family by its file only. */
static char family_of(const struct frame *f, const char **ret_name)
{
	const char *n = f->name;

	*ret_name = n;
	if (n[0] == 'f' && n[1] >= '0' && n[1] <= '9' && n[2] == '_') {
		*ret_name = n + 3;
		return n[1];
	}
	return strncmp(f->file, "family", 6) == 0 ? f->file[6] : 0;
}

static bool may_call(const char *caller, const char *name)
{
	char word[NAME_SIZE + 2];

	snprintf(word, sizeof(word), " %s ", caller);
	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++)
		if (strcmp(calls[i].name, name) == 0)
			return strstr(calls[i].callers, word) != NULL;
	return false;
}

/* Leaf first. */
static bool is_possible(const struct frame *frames, size_t n)
{
	char family = 0;

	if (n == 0 || strcmp(frames[n - 1].name, "<module>") != 0)
		return false;
	for (size_t i = 0; i < n; i++) {
		const char *name, *caller;
		char k = family_of(&frames[i], &name);

		if (k && family && k != family)
			return false;
		if (k && strncmp(frames[i].file, "family", 6) == 0 && frames[i].file[6] != k)
			return false;
		family = k ? k : family;
		if (i + 1 < n) {
			family_of(&frames[i + 1], &caller);
			if (!may_call(caller, name))
				return false;
		}
	}
	return true;
}

static void copy_last(char to[NAME_SIZE], const char *from, size_t len, char separator)
{
	const char *last = memrchr(from, separator, len);

	if (last) {
		len -= (size_t)(last + 1 - from);
		from = last + 1;
	}
	if (len >= NAME_SIZE)
		len = NAME_SIZE - 1;
	memcpy(to, from, len);
	to[len] = 0;
}

static uint8_t leaf_index(struct truth *t, const char *name)
{
	size_t i = 0;

	while (i < t->n_leaves && strcmp(t->leaves[i].name, name) != 0)
		i++;
	if (i == MAX_LEAVES)
		return MAX_LEAVES - 1;
	if (i == t->n_leaves) {
		snprintf(t->leaves[i].name, NAME_SIZE, "%s", name);
		t->n_leaves++;
	}
	return (uint8_t)i;
}

/* Takes frames out that are none of the program's: marks of a collection and of C code, and the
 * interpreter's own frame below an __init__, which it shows nobody. Whether there was one of the
 * latter. */
static bool drop_foreign(struct frame *frames, size_t *n)
{
	bool shim = false;
	size_t kept = 0;

	for (size_t i = 0; i < *n; i++) {
		if (strcmp(frames[i].file, "__init__") == 0)
			shim = true;
		else if (strcmp(frames[i].name, "<GC>") != 0 &&
			 strcmp(frames[i].name, "<native>") != 0)
			frames[kept++] = frames[i];
	}
	*n = kept;
	return shim;
}

/* Leaf first, a <moving> one included. */
static struct verdict judge(struct truth *t, struct frame *frames, size_t n)
{
	struct verdict v = {.known = true};
	const char *name = "<empty>";
	char full[2 * NAME_SIZE];

	v.shim = drop_foreign(frames, &n);
	if (n) {
		family_of(&frames[0], &name);
		v.moving = strcmp(name, "<moving>") == 0;
		snprintf(full, sizeof(full), "%s:%s", frames[0].file, frames[0].name);
		for (uint64_t i = 0; i < t->n_names; i++)
			if (strncmp(t->names + i * NAME_SIZE, full, NAME_SIZE) == 0)
				v.number = (uint8_t)(i + 1);
	}
	v.leaf = leaf_index(t, name);
	v.impossible = !is_possible(frames + v.moving, n - v.moving);
	v.rootless = n == 0 || strcmp(frames[n - 1].name, "<module>") != 0;
	return v;
}

/* ---- stacks of the sampler ---- */

static size_t frames_of(const struct tables *tables, uint32_t stack, struct frame *ret)
{
	size_t n = 0;

	while (stack && n < MAX_FRAMES) {
		const struct table_stack *s = tables_get_stack(tables, stack);
		const struct table_frame *f = tables_get_frame(tables, s->frame);
		const struct table_function *fn = tables_get_function(tables, f->function);
		const struct table_string *name = tables_get_string(tables, fn->name);
		const struct table_string *file = tables_get_string(tables, fn->file);

		copy_last(ret[n].name, name ? name->bytes : "", name ? name->len : 0, '.');
		copy_last(ret[n].file, file ? file->bytes : "", file ? file->len : 0, '/');
		n++;
		stack = s->parent;
	}
	return n;
}

static struct verdict *verdict_of(struct truth *t, uint32_t stack)
{
	struct frame frames[MAX_FRAMES];
	size_t n;

	if (stack >= t->n_verdicts) {
		size_t more = (size_t)stack * 2 + 1024;

		t->verdicts = realloc(t->verdicts, more * sizeof(*t->verdicts));
		if (!t->verdicts) {
			fputs("truth: out of memory\n", stderr);
			exit(1);
		}
		memset(t->verdicts + t->n_verdicts, 0,
		       (more - t->n_verdicts) * sizeof(*t->verdicts));
		t->n_verdicts = more;
	}
	if (!t->verdicts[stack].known) {
		n = frames_of(sampler_tables(t->sampler), stack, frames);
		t->verdicts[stack] = judge(t, frames, n);
	}
	return &t->verdicts[stack];
}

/* ---- the log ---- */

static uint64_t mark_at(const struct truth *t, uint64_t at)
{
	return atomic_load_explicit(&t->ring[at & t->mask], memory_order_acquire);
}

/* Goes to the newest mark. */
static void find_newest(struct truth *t)
{
	t->mark = 0;
	for (uint64_t i = 0; i <= t->mask; i++)
		if (mark_at(t, i) > t->mark) {
			t->mark = mark_at(t, i);
			t->at = i;
		}
}

/* The mark behind at, whose own is known: waits until it is written. 0: it was not. */
static uint64_t next_mark(const struct truth *t, uint64_t at, uint64_t mark)
{
	uint64_t began = 0, next;
	struct timespec nap = {0, 200000};

	while ((next = mark_at(t, at + 1)) <= mark) {
		if (!began)
			began = now_ns();
		else if (now_ns() - began > PATIENCE)
			return 0;
		nanosleep(&nap, NULL);
	}
	return next;
}

/* Whether the functions that can have been on top between two times include a number, and another
 * one. false: the log does not tell. */
static bool look_up(struct truth *t, uint64_t from, uint64_t to, uint8_t number, uint8_t other,
		    bool *ret_active, bool *ret_other)
{
	bool seen[256] = {0};
	uint64_t next, at, mark;

	if (mark_at(t, t->at) != t->mark) /* we were too slow for the ring */
		find_newest(t);
	if (t->mark >> 8 > from)
		return false;
	while ((next = next_mark(t, t->at, t->mark)) && next >> 8 <= from) {
		t->mark = next;
		t->at++;
	}
	at = t->at;
	mark = t->mark;
	seen[mark & 255] = true;
	do {
		mark = next_mark(t, at++, mark);
		if (!mark)
			return false;
		seen[mark & 255] = true;
	} while (mark >> 8 < to);
	/* A target that had no CPU meanwhile proves little. */
	t->moved += at > t->at + 1;
	/* Into and out of a generator that delegates, the way leads through it. */
	for (uint64_t i = 1; i <= t->n_names; i++) {
		const char *name = t->names + (i - 1) * NAME_SIZE, *last = strrchr(name, '_');

		if (seen[i] && last && strcmp(last, "_others") == 0)
			for (uint64_t k = 1; k <= t->n_names; k++)
				if (strncmp(t->names + (k - 1) * NAME_SIZE, name,
					    (size_t)(last - name)) == 0 &&
				    strstr(t->names + (k - 1) * NAME_SIZE, "_numbers"))
					seen[k] = true;
	}
	*ret_active = seen[number];
	*ret_other = seen[other];
	return true;
}

static int open_log(struct truth *t, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	uint64_t marks;
	char *p;

	if (fd < 0 || fstat(fd, &st) < 0 || st.st_size < LOG_HEAD)
		return -1;
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (p == MAP_FAILED || memcmp(p, "TRUTHLOG", 8) != 0)
		return -1;
	memcpy(&marks, p + 8, 8);
	memcpy(&t->n_names, p + 16, 8);
	if (t->n_names >= MAX_NAMES || (marks & (marks - 1)) ||
	    (uint64_t)st.st_size != LOG_HEAD + 8 * marks)
		return -1;
	t->names = p + 24;
	t->mask = marks - 1;
	t->ring = (const _Atomic uint64_t *)(const void *)(p + LOG_HEAD);
	find_newest(t);
	return 0;
}

/* ---- samples ---- */

static void show_sample(struct truth *t, const char *what, const struct sample *s)
{
	static const char *const hows[] = {"free", "by a stop", "moving"};
	struct frame frames[MAX_FRAMES];
	const struct verdict *v = verdict_of(t, s->stack);
	size_t n;

	if (!t->verbose || (v->rootless && s->how == HOW_FREE) || t->shown++ >= SHOWN)
		return;
	n = frames_of(sampler_tables(t->sampler), s->stack, frames);
	fprintf(stderr, "%s (%s, gathered in %.1f us):", what, hows[s->how], s->gather_ns / 1e3);
	for (size_t i = n; i--;)
		fprintf(stderr, " %s", frames[i].name);
	fputc('\n', stderr);
}

static void check(struct truth *t, const struct sample *s)
{
	struct verdict *v = verdict_of(t, s->stack);
	uint8_t *before = &t->before[t->samples % APART];
	bool active, other;

	t->samples++;
	t->gather_ns += s->gather_ns;
	t->leaves[v->leaf].count++;
	t->moving += v->moving;
	if (v->impossible) {
		t->impossible++;
		t->rootless += v->rootless;
		t->impossible_how[s->how]++;
		/* Much can happen in a gather that was interrupted. */
		if (!t->least_gather_ns || s->gather_ns < t->least_gather_ns)
			t->least_gather_ns = s->gather_ns;
		show_sample(t, "impossible", s);
	}
	t->shims += v->shim;
	if (t->wanted && t->samples >= t->wanted)
		atomic_store(&t->stop, true);
	if (!t->ring || v->moving)
		return;
	if (!v->number)
		t->unnamed++;
	if (!look_up(t, s->time_ns, s->time_ns + s->gather_ns, v->number, *before, &active,
		     &other)) {
		t->unchecked++;
		return;
	}
	t->checked++;
	t->active += active;
	if (*before) {
		t->chance_checked++;
		t->chance += other;
	}
	*before = v->number;
	if (!active)
		show_sample(t, "not on top", s);
}

static void *drain(void *arg)
{
	static struct sample buffer[4096];
	struct truth *t = arg;

	for (;;) {
		bool over = atomic_load(&t->over);
		size_t n = sampler_pop(t->sampler, buffer, sizeof(buffer) / sizeof(*buffer));

		for (size_t i = 0; i < n; i++) {
			t->tables += buffer[i].kind == SAMPLE_TABLES;
			if (buffer[i].kind == SAMPLE_TABLES && t->verdicts)
				memset(t->verdicts, 0, t->n_verdicts * sizeof(*t->verdicts));
			else if (buffer[i].kind == SAMPLE_STACK)
				check(t, &buffer[i]);
		}
		if (n == 0 && over)
			return NULL;
		if (n == 0)
			usleep(1000);
	}
}

static void print_leaves(const struct truth *t)
{
	const char *comma = "";

	printf("\"leaves\": {");
	for (size_t i = 0; i < t->n_leaves; i++) {
		printf("%s\"%s\": %" PRIu64, comma, t->leaves[i].name, t->leaves[i].count);
		comma = ", ";
	}
	printf("}}\n");
}

static int run(struct truth *t, pid_t pid, struct sampler_options *o, int cpu)
{
	static const char *const reasons[] = {"unreadable", "exited", "torn", "memory",
					      "backpressure"};
	const struct sampler_counts *c;
	struct proc_direct direct;
	struct target *target;
	enum sampler_end end;
	pthread_t checker;
	char detail[256];
	uint64_t lost = 0;

	proc_direct_init(&direct, pid);
	if (target_open(&target, pid, &direct.opener, detail, sizeof(detail))) {
		fprintf(stderr, "truth: %s\n", detail);
		return 1;
	}
	hand_prepare();
	if (hand_new(&o->hand) < 0 || sampler_new(&t->sampler, target, o) < 0 ||
	    pthread_create(&checker, NULL, drain, t) != 0) {
		fputs("truth: out of memory\n", stderr);
		return 1;
	}
	if (cpu >= 0) {
		cpu_set_t one;

		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		sched_setaffinity(0, sizeof(one), &one);
	}
	(void)slice_shorten();
	end = sampler_run(t->sampler, &t->stop);
	atomic_store(&t->over, true);
	pthread_join(checker, NULL);
	c = sampler_counts(t->sampler);
	printf("{\"version\": \"%s\", \"end\": %d, \"due\": %" PRIu64 ", \"achieved\": %" PRIu64
	       ", \"missed\": %" PRIu64 ", \"seconds\": %.3f, ",
	       target->version, (int)end, c->due, c->achieved, c->missed,
	       (double)(c->now_ns - c->start_ns) / 1e9);
	for (int r = 0; r < LOST_REASON_COUNT; r++) {
		printf("\"lost_%s\": %" PRIu64 ", ", reasons[r], c->lost[r]);
		lost += c->lost[r];
	}
	printf("\"lost\": %" PRIu64 ", \"free\": %" PRIu64 ", \"stopped\": %" PRIu64
	       ", \"repeats\": %" PRIu64 ", \"stops\": %" PRIu64 ", \"stop_ns\": %" PRIu64
	       ", \"calls\": %" PRIu64 ", \"bytes\": %" PRIu64 ", \"ticks\": %" PRIu64 ", ",
	       lost, c->free, c->stopped, c->repeats, c->stops, c->stop_ns, c->calls, c->bytes,
	       c->ticks);
	printf("\"samples\": %" PRIu64 ", \"impossible\": %" PRIu64 ", \"moving\": %" PRIu64
	       ", \"rootless\": %" PRIu64 ", \"impossible_free\": %" PRIu64
	       ", \"impossible_stop\": %" PRIu64 ", \"impossible_least_gather_ns\": %" PRIu64
	       ", \"shims\": %" PRIu64 ", \"checked\": %" PRIu64 ", \"active\": %" PRIu64
	       ", \"chance\": %" PRIu64 ", \"chance_checked\": %" PRIu64 ", \"unchecked\": %" PRIu64
	       ", \"unnamed\": %" PRIu64 ", \"moved\": %" PRIu64 ", \"gather_ns\": %" PRIu64
	       ", \"tables\": %" PRIu64 ", ",
	       t->samples, t->impossible, t->moving, t->rootless, t->impossible_how[HOW_FREE],
	       t->impossible_how[HOW_STOP], t->least_gather_ns, t->shims, t->checked, t->active,
	       t->chance, t->chance_checked, t->unchecked, t->unnamed, t->moved, t->gather_ns,
	       t->tables);
	print_leaves(t);
	sampler_free(t->sampler);
	hand_free(o->hand);
	target_free(target);
	free(t->verdicts);
	return 0;
}

/* ---- collapsed stacks ---- */

/* "tid:1;file:function:line;... count", base first. Threads are not told apart. */
static int judge_collapsed(struct truth *t, const char *path)
{
	FILE *in = fopen(path, "r");
	char *line = NULL;
	size_t room = 0;
	ssize_t len;

	if (!in) {
		fprintf(stderr, "truth: cannot open %s\n", path);
		return 1;
	}
	while ((len = getline(&line, &room, in)) > 0) {
		struct frame frames[MAX_FRAMES];
		size_t n = 0;
		char *count = strrchr(line, ' '), *end = count;
		uint64_t samples;
		struct verdict v;

		if (!count)
			continue;
		samples = strtoull(count, NULL, 10);
		/* From the leaf down. */
		while (end > line && n < MAX_FRAMES) {
			char *begin = memrchr(line, ';', (size_t)(end - line)), *name, *last;

			begin = begin ? begin + 1 : line;
			*end = 0;
			last = strrchr(begin, ':');
			name = last ? memrchr(begin, ':', (size_t)(last - begin)) : NULL;
			if (name) {
				copy_last(frames[n].file, begin, (size_t)(name - begin), '/');
				copy_last(frames[n].name, name + 1, (size_t)(last - name - 1), '.');
				n++;
			} else if (strcmp(begin, "<moving>") == 0) {
				frames[n].file[0] = 0;
				snprintf(frames[n].name, NAME_SIZE, "%s", begin);
				n++;
			}
			end = begin > line ? begin - 1 : line;
		}
		v = judge(t, frames, n);
		t->samples += samples;
		t->leaves[v.leaf].count += samples;
		t->impossible += v.impossible ? samples : 0;
		t->moving += v.moving ? samples : 0;
		t->shims += v.shim ? samples : 0;
		t->rootless += v.impossible && v.rootless ? samples : 0;
	}
	free(line);
	fclose(in);
	printf("{\"samples\": %" PRIu64 ", \"impossible\": %" PRIu64 ", \"rootless\": %" PRIu64
	       ", \"moving\": %" PRIu64 ", \"shims\": %" PRIu64 ", ",
	       t->samples, t->impossible, t->rootless, t->moving, t->shims);
	print_leaves(t);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"budget", required_argument, NULL, 'b'},
						{"blocking", no_argument, NULL, 'B'},
						{"cpu", required_argument, NULL, 'C'},
						{"log", required_argument, NULL, 'l'},
						{"collapsed", required_argument, NULL, 'c'},
						{"tables", required_argument, NULL, 't'},
						{NULL, 0, NULL, 0}};
	static struct truth t;
	struct sampler_options o = {.duration_ns = 10000000000u, .stop_budget = 1};
	int c, cpu = -1;

	while ((c = getopt_long(argc, argv, "r:d:n:v", options, NULL)) != -1) {
		switch (c) {
		case 'r':
			o.interval_ns = atof(optarg) > 0 ? (uint64_t)(1e9 / atof(optarg)) : 0;
			break;
		case 'd':
			o.duration_ns = (uint64_t)(atof(optarg) * 1e9);
			break;
		case 'n':
			t.wanted = strtoull(optarg, NULL, 10);
			break;
		case 'v':
			t.verbose = true;
			break;
		case 'b':
			o.stop_budget = atof(optarg);
			break;
		case 'C':
			cpu = atoi(optarg);
			break;
		case 'B':
			o.blocking = true;
			break;
		case 'l':
			if (open_log(&t, optarg) < 0) {
				fprintf(stderr, "truth: %s is no log\n", optarg);
				return 1;
			}
			break;
		case 't':
			o.tables_bytes = strtoull(optarg, NULL, 10);
			break;
		case 'c':
			return judge_collapsed(&t, optarg);
		default:
			return 2;
		}
	}
	if (optind + 1 != argc) {
		fputs("usage: truth [options] PID\n", stderr);
		return 2;
	}
	return run(&t, atoi(argv[optind]), &o, cpu);
}
