#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "formats/opcode.h"
#include "tests/unit/stream_fixture.h"

/* A recording of one thread: states, CPU times and stacks, 1 ms apart. */
struct made {
	uint32_t stack;
	uint16_t state;
	uint64_t cpu_ns;
};
static struct model *make(const struct model_options *o, const struct stream_definitions *d,
			  const struct stream_header *more, const struct made *made, size_t n);

/* Of a recording of tasks: what each sample says of them, and three that wait. */
struct of_task {
	uint32_t task, below;
};
static const struct of_task *of_task;
static const struct stream_wait *waits;

static struct model *make(const struct model_options *o, const struct stream_definitions *d,
			  const struct stream_header *more, const struct made *made, size_t n)
{
	struct stream_header h = {.stream_id = 1, .time_unit_ns = 1, .rate_hz = 1000};
	struct stream_writer_options wo = {0};
	struct stream_summary end = {.end = "stopped"};
	struct stream_writer *w;
	struct bytes b = {0};
	struct model *m;

	if (more)
		h = *more;
	assert_int_equal(stream_writer_new(&w, &h, d, &wo, fixture_sink, &b), 0);
	for (size_t i = 0; i < n; i++)
		stream_writer_sample(
			w, &(struct stream_sample){.time_ns = (i + 1) * 1000000,
						   .thread = 1,
						   .stack = made[i].stack,
						   .state = made[i].state,
						   .cpu_ns = made[i].cpu_ns,
						   .task = of_task ? of_task[i].task : 0,
						   .below = of_task ? of_task[i].below : 0});
	for (size_t i = 0; waits && i < 3; i++)
		stream_writer_wait(w, &waits[i]);
	assert_int_equal(stream_writer_finish(w, &end), 0);
	stream_writer_free(w);
	m = fixture_model(b.data, b.len, o);
	bytes_done(&b);
	return m;
}

/* What the stack whose leaf is on this line got. */
static const struct model_count *on_line(const struct model *m, int32_t line)
{
	static const struct model_count none;

	for (uint32_t i = 0; i < m->count_count; i++)
		if (m->frames[m->nodes[m->counts[i].node].frame].line == line)
			return &m->counts[i];
	return &none;
}

#define ON  (STREAM_STATE_CPU_KNOWN | STREAM_STATE_CPU | STREAM_STATE_CPU_TIME_KNOWN)
#define OFF (STREAM_STATE_CPU_KNOWN | STREAM_STATE_CPU_TIME_KNOWN)

static void cpu_time_goes_to_the_stacks_seen_on_a_cpu(void **state)
{
	/* Lines are those of stack + 1. The first sample of a thread knows no CPU time. */
	static const struct made made[] = {
		{1, OFF & ~STREAM_STATE_CPU_TIME_KNOWN, 0},
		{2, ON, 600000}, /* began to run */
		{2, ON, 0},	 /* not told yet: shares with the others */
		{3, ON, 2000000},
		{1, OFF, 400000}, /* its last bit is stack 3's */
		{1, OFF, 0},
		{1, OFF, 500000}, /* ran unseen: goes to the next that is seen */
		{4, ON, 500000},
	};
	const struct model_options cpu = {.mode = MODE_CPU};
	struct model *m = make(&cpu, &fixture_definitions, NULL, made, 8);
	char why[256];

	assert_int_equal(m->ns, 4000000);
	assert_in_range(m->samples, 3, 4);
	assert_int_equal(on_line(m, 2)->ns, 0);
	assert_in_range(on_line(m, 3)->ns, 1999990, 2000010);
	assert_in_range(on_line(m, 4)->ns, 999990, 1000010);
	assert_int_equal(on_line(m, 5)->ns, 1000000);
	/* Ten of eight thousand would be said; the first sample is none of them. */
	assert_int_equal(m->processes[0].unknown, 0);
	assert_int_equal(model_check(m, why, sizeof(why)), 0);
	model_free(m);
}

static void cpu_time_that_was_not_recorded_is_refused(void **state)
{
	const struct model_options cpu = {.mode = MODE_CPU};
	struct made made[100];
	struct model *m;
	char why[256];

	for (size_t i = 0; i < 100; i++)
		made[i] = (struct made){2, 0, 0};
	m = make(&cpu, &fixture_definitions, NULL, made, 100);
	assert_int_equal(m->samples, 0);
	assert_int_equal(model_check(m, why, sizeof(why)), -ENODATA);
	assert_non_null(strstr(why, "CPU time"));
	model_free(m);
	/* A part of it: the rest is said to be left out. */
	for (size_t i = 0; i < 90; i++)
		made[i] = (struct made){2, ON, 1000000};
	m = make(&cpu, &fixture_definitions, NULL, made, 100);
	assert_int_equal(model_check(m, why, sizeof(why)), -EAGAIN);
	assert_non_null(strstr(why, "10 of 100"));
	model_free(m);
}

static void a_mode_takes_its_samples_with_their_time(void **state)
{
	static const struct made made[] = {
		{1, STREAM_STATE_GIL_KNOWN, 0},
		{2, STREAM_STATE_GIL_KNOWN | STREAM_STATE_GIL, 0},
		{3, STREAM_STATE_GIL_KNOWN | STREAM_STATE_EXCEPTION, 0},
		{4, STREAM_STATE_EXCEPTION_KNOWN | STREAM_STATE_HANDLING, 0},
		{5, STREAM_STATE_GIL_KNOWN | STREAM_STATE_GIL, 0},
	};
	struct model_options o = {.mode = MODE_GIL};
	struct model *m = make(&o, &fixture_definitions, NULL, made, 5);

	assert_int_equal(m->samples, 2);
	assert_int_equal(m->ns, 2000000);
	assert_int_equal(m->processes[0].unknown, 1);
	assert_int_equal(on_line(m, 3)->count, 1);
	assert_int_equal(on_line(m, 6)->count, 1);
	model_free(m);
	o.mode = MODE_EXCEPTION;
	m = make(&o, &fixture_definitions, NULL, made, 5);
	assert_int_equal(m->samples, 2);
	assert_int_equal(on_line(m, 4)->count, 1);
	assert_int_equal(on_line(m, 5)->count, 1);
	model_free(m);
}

static void a_recording_of_a_mode_answers_that_mode_only(void **state)
{
	static const struct made made[] = {
		{1, STREAM_STATE_GIL_KNOWN | STREAM_STATE_UNASKED, 0},
		{2, STREAM_STATE_GIL_KNOWN | STREAM_STATE_GIL, 0},
	};
	struct stream_header h = {
		.stream_id = 1, .time_unit_ns = 1, .rate_hz = 1000, .mode = "gil"};
	struct model_options o = {.mode = MODE_RECORDED};
	struct model *m = make(&o, &fixture_definitions, &h, made, 2);
	char why[256];

	assert_int_equal(model_check(m, why, sizeof(why)), 0);
	assert_int_equal(m->mode, MODE_GIL);
	assert_int_equal(m->samples, 1);
	assert_int_equal(m->ns, 1000000);
	model_free(m);
	o.mode = MODE_WALL;
	m = make(&o, &fixture_definitions, &h, made, 2);
	assert_int_equal(model_check(m, why, sizeof(why)), -ENODATA);
	assert_non_null(strstr(why, "mode gil"));
	model_free(m);
	/* Of a selection the sample before is not in the profile either. */
	h = (struct stream_header){
		.stream_id = 1, .time_unit_ns = 1, .rate_hz = 1000, .selected = "--thread x"};
	m = make(NULL, &fixture_definitions, &h, made, 2);
	assert_int_equal(m->samples, 1);
	model_free(m);
}

static bool special_function(void *arg, uint32_t id, struct stream_function *ret)
{
	*ret = (struct stream_function){id + 8, id == 1 ? 1 : 0, 1,
					id == 2	  ? STREAM_FRAME_NATIVE
					: id == 3 ? STREAM_FRAME_GC
						  : STREAM_FRAME_PYTHON};
	return true;
}

static bool special_frame(void *arg, uint32_t id, struct stream_frame *ret)
{
	*ret = (struct stream_frame){id, (int32_t)id, (int32_t)id, -1, -1, 40 + id};
	return true;
}

/* Stack 1: Python; 2: C code on it; 3: garbage collection on that; 4: Python on that. */
static bool special_stack(void *arg, uint32_t id, struct stream_stack *ret)
{
	*ret = (struct stream_stack){id - 1, id == 4 ? 1 : id};
	return true;
}

static void special_frames_and_instructions_are_there_when_asked_for(void **state)
{
	static const struct made made[] = {
		{4, STREAM_STATE_GIL_KNOWN | STREAM_STATE_GIL, 0},
		{1, STREAM_STATE_GIL_KNOWN | STREAM_STATE_GIL_WAIT_KNOWN, 0},
		{1, STREAM_STATE_GIL_KNOWN | STREAM_STATE_GIL_WAIT_KNOWN | STREAM_STATE_GIL_WAIT,
		 0},
		{2, STREAM_STATE_GIL_KNOWN | STREAM_STATE_GIL_WAIT_KNOWN, 0},
	};
	struct stream_definitions d = fixture_definitions;
	struct model_options o = {0};
	struct model *m;
	uint32_t depth = 0;
	char why[256];

	d.function = special_function;
	d.frame = special_frame;
	d.stack = special_stack;
	m = make(&o, &d, NULL, made, 4);
	for (uint32_t i = 0; i < m->count_count; i++)
		if (m->nodes[m->counts[i].node].depth > depth)
			depth = m->nodes[m->counts[i].node].depth;
	assert_int_equal(depth, 3); /* without the C code */
	assert_int_equal(m->frames[m->nodes[1].frame].op, 0);
	model_free(m);

	o = (struct model_options){.no_gc = true, .native = true, .opcodes = true};
	m = make(&o, &d, NULL, made, 4);
	/* Python; C code on it, from the stack and by state alike; Python on that. */
	assert_int_equal(model_check(m, why, sizeof(why)), 0);
	assert_int_equal(m->samples, 4);
	for (uint32_t i = 0; i < m->count_count; i++) {
		const struct model_node *node = &m->nodes[m->counts[i].node];
		const struct model_frame *frame = &m->frames[node->frame];

		assert_in_range(node->depth, 1, 3);
		if (m->functions[frame->function].kind == STREAM_FRAME_PYTHON)
			assert_string_equal(opcode_text(frame->op, why, sizeof(why)), "<40>");
		else
			assert_int_equal(node->depth, 2);
	}
	model_free(m);
}

/* Frame 1 is at opcode 2, the others at 100. */
static bool numbered_frame(void *arg, uint32_t id, struct stream_frame *ret)
{
	*ret = (struct stream_frame){1, 1, 1, -1, -1, id == 1 ? 3 : 101};
	return true;
}

static bool flat_stack(void *arg, uint32_t id, struct stream_stack *ret)
{
	*ret = (struct stream_stack){0, id};
	return true;
}

static void instructions_are_those_of_the_version_that_each_was_recorded_of(void **state)
{
	static const char *const names[] = {"ROT_TWO", "LOAD_CONST", "PUSH_NULL"};
	struct stream_header h = {.time_unit_ns = 1, .rate_hz = 1000};
	struct stream_definitions d = fixture_definitions;
	struct stream_summary end = {.end = "stopped"};
	const uint32_t expected[] = {1, 2, 1};
	struct stream_writer *w;
	struct bytes b = {0};
	struct model *m;
	char text[80];

	d.frame = numbered_frame;
	d.stack = flat_stack;
	for (unsigned i = 0; i < 2; i++) {
		h.stream_id = i + 1;
		strcpy(h.python, i ? "3.12.1" : "3.8.18");
		assert_int_equal(stream_writer_new(&w, &h, &d, &(struct stream_writer_options){0},
						   fixture_sink, &b),
				 0);
		for (uint32_t stack = 1; stack < 3; stack++)
			stream_writer_sample(w, &(struct stream_sample){.time_ns = stack * 1000000,
									.thread = 1,
									.stack = stack});
		assert_int_equal(stream_writer_finish(w, &end), 0);
		stream_writer_free(w);
	}
	m = fixture_model(b.data, b.len, &(struct model_options){.opcodes = true});
	bytes_done(&b);
	/* What is the same in both is one, what has only the opcode in common is not. */
	for (size_t i = 0; i < 3; i++) {
		uint64_t count = 0;

		for (uint32_t k = 0; k < m->count_count; k++) {
			uint32_t op = m->frames[m->nodes[m->counts[k].node].frame].op;

			if (strcmp(opcode_text(op, text, sizeof(text)), names[i]) == 0)
				count += m->counts[k].count;
		}
		assert_int_equal(count, expected[i]);
	}
	assert_int_equal(m->samples, 4);
	model_free(m);
}

/* The frames of a stack of the fixture, by their lines from the base: "2 4". */
static const char *lines_of(const struct model *m, uint32_t node, char *buf, size_t size)
{
	char rest[64] = "";

	buf[0] = '\0';
	for (; node; node = m->nodes[node].parent) {
		snprintf(buf, size, "%d%s%s", (int)m->frames[m->nodes[node].frame].line,
			 rest[0] ? " " : "", rest);
		snprintf(rest, sizeof(rest), "%s", buf);
	}
	return buf;
}

static int note_wait(void *arg, const struct model_wait *w)
{
	struct model_wait *found = arg;

	found[w->count == 400 ? 0 : 1] = *w;
	return 0;
}

static void a_task_stands_on_those_that_await_it(void **state)
{
	struct model_wait found[2] = {0};
	/* Stack 12 is called by 6, that by 3, that by 1. */
	static const struct made made[] = {{12, 0, 0}, {12, 0, 0}, {12, 0, 0},
					   {12, 0, 0}, {12, 0, 0}, {12, STREAM_STATE_UNASKED, 0}};
	static const struct of_task of[] = {
		{STREAM_SAMPLE_TASK_STACK + 5, 3}, {STREAM_SAMPLE_TASK_STACK + 5, 0},
		{STREAM_SAMPLE_TASK_STACK + 5, 7}, /* not below it */
		{STREAM_SAMPLE_TASK_NONE, 0},	   {STREAM_SAMPLE_TASK_UNKNOWN, 0},
		{STREAM_SAMPLE_TASK_STACK + 5, 3},
	};
	static const struct stream_wait three[] = {
		{2000000, 4000000, 400, 1, 4}, {3000000, 1000000, 10, 1, 5}, {0, 0, 7, 0, 0}};
	struct stream_header h = {.stream_id = 1,
				  .time_unit_ns = 1,
				  .rate_hz = 1000,
				  .collected = "async async-waits"};
	struct model_options o = {.tasks = MODEL_TASKS_RUNNING};
	char buf[64], five[64], four[64], twelve[64], want[160], why[256];
	uint64_t sum = 0;
	struct model *m;

	waits = three;
	of_task = of;
	m = make(NULL, &fixture_definitions, &h, made, 6);
	assert_int_equal(m->count_count, 1);
	assert_int_equal(m->samples, 6);
	lines_of(m, m->counts[0].node, twelve, sizeof(twelve));
	model_free(m);

	m = make(&o, &fixture_definitions, &h, made, 6);
	assert_int_equal(m->samples, 2);
	assert_int_equal(m->count_count, 2);
	assert_int_equal(m->processes[0].no_task, 1);
	assert_int_equal(m->processes[0].unknown_task, 2);
	assert_int_equal(model_check(m, why, sizeof(why)), -EAGAIN);
	/* Stack 5 and what of 12 is above 3; 5 and all of 12. */
	lines_of(m, m->counts[0].node, buf, sizeof(buf));
	lines_of(m, m->counts[1].node, want, sizeof(want));
	assert_int_equal(m->nodes[m->counts[0].node].depth, 3 + 2);
	assert_int_equal(m->nodes[m->counts[1].node].depth, 3 + 4);
	snprintf(five, sizeof(five), "%.*s", (int)(strlen(want) - strlen(twelve)), want);
	assert_string_equal(want + strlen(five), twelve);
	assert_memory_equal(buf, five, strlen(five));
	assert_string_equal(twelve + strlen(twelve) - strlen(buf + strlen(five)),
			    buf + strlen(five));
	model_free(m);

	/* With those that wait: their looks are samples, and they are told one by one. */
	o.tasks = MODEL_TASKS_ALL;
	o.timeline = tmpfile;
	m = make(&o, &fixture_definitions, &h, made, 6);
	assert_int_equal(m->samples, 2 + 400 + 10);
	assert_int_equal(model_waits(m, note_wait, found), 0);
	assert_memory_equal(&found[0].time_ns, (&(uint64_t[]){2000000, 4000000, 400}), 24);
	assert_memory_equal(&found[1].time_ns, (&(uint64_t[]){3000000, 1000000, 10}), 24);
	assert_string_equal(lines_of(m, found[0].node, four, sizeof(four)), "2 3 5");
	o.timeline = NULL;
	assert_int_equal(m->processes[0].lost_waits, 7);
	assert_int_equal(m->processes[0].waits, 417);
	model_free(m);
	/* Of one that began before the times asked for, the part between them. */
	o.from_ns = 2000000;
	o.to_ns = 3000000;
	m = make(&o, &fixture_definitions, &h, made, 6);
	for (uint32_t i = 0; i < m->count_count; i++)
		if (strcmp(lines_of(m, m->counts[i].node, four, sizeof(four)), "2 3 5") == 0)
			sum += m->counts[i].count;
	assert_int_equal(sum, 100);
	model_free(m);
	/* A mode that what waits has no part in, and a recording without. */
	o = (struct model_options){.tasks = MODEL_TASKS_ALL, .mode = MODE_GIL};
	m = make(&o, &fixture_definitions, &h, made, 6);
	assert_int_equal(m->samples, 0);
	model_free(m);
	snprintf(h.collected, sizeof(h.collected), "async");
	o.mode = MODE_WALL;
	m = make(&o, &fixture_definitions, &h, made, 6);
	assert_int_equal(model_check(m, why, sizeof(why)), -ENODATA);
	assert_non_null(strstr(why, "tasks that wait"));
	model_free(m);
	waits = NULL;
	of_task = of + 4;
	o.tasks = MODEL_TASKS_RUNNING;
	m = make(&o, &fixture_definitions, &h, made, 1);
	assert_int_equal(model_check(m, why, sizeof(why)), -ENODATA);
	assert_non_null(strstr(why, "does not tell which tasks ran"));
	model_free(m);
	h.collected[0] = '\0';
	m = make(&o, &fixture_definitions, &h, made, 1);
	assert_int_equal(model_check(m, why, sizeof(why)), -ENODATA);
	assert_non_null(strstr(why, "--async-aware"));
	model_free(m);
	of_task = NULL;
}

static void a_selection_takes_stacks_with_the_function_anywhere(void **state)
{
	static const struct made made[] = {{12, 0, 0}, {6, 0, 0}, {3, 0, 0}, {2, 0, 0}};
	struct model_options o = {.selected = {.function = "f3"}};
	struct model *m;

	/* Stack 6 is called by 3 and calls 12; its frame 7 is of function 3. */
	m = make(&o, &fixture_definitions, NULL, made, 4);
	assert_int_equal(m->samples, 2);
	assert_int_equal(m->ns, 2000000);
	model_free(m);
	o = (struct model_options){.selected = {.thread = "work*", .source = "mod3"}};
	m = make(&o, &fixture_definitions, NULL, made, 4);
	assert_int_equal(m->samples, 2);
	model_free(m);
	o.selected.thread = "102";
	m = make(&o, &fixture_definitions, NULL, made, 4);
	assert_int_equal(m->samples, 0);
	model_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cpu_time_goes_to_the_stacks_seen_on_a_cpu),
		cmocka_unit_test(cpu_time_that_was_not_recorded_is_refused),
		cmocka_unit_test(a_mode_takes_its_samples_with_their_time),
		cmocka_unit_test(a_recording_of_a_mode_answers_that_mode_only),
		cmocka_unit_test(special_frames_and_instructions_are_there_when_asked_for),
		cmocka_unit_test(instructions_are_those_of_the_version_that_each_was_recorded_of),
		cmocka_unit_test(a_task_stands_on_those_that_await_it),
		cmocka_unit_test(a_selection_takes_stacks_with_the_function_anywhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
