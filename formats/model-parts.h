/* What the parts of the model share: model.c has what there is of it and what is told of a stream,
 * model-define.c what ids stand for, model-samples.c what samples add up to, model-cpu.c what CPU
 * time does, model-check.c whether that answers the question, model-group.c what becomes of it when
 * everything was read. */
#ifndef PYPROF_FORMATS_MODEL_PARTS_H
#define PYPROF_FORMATS_MODEL_PARTS_H

#include "formats/grow.h"
#include "formats/model.h"
#include "formats/table.h"
#include "formats/timeline.h"

/* What a local stack id stands for, with the count that it went to last: most samples of a stack
 * come from one thread. */
struct local_stack {
	uint32_t node, thread, count;
	uint32_t native; /* the node with a <native> leaf; 0 not made yet */
	/* The node of the stack as that of a task, for the last that it was of. */
	uint32_t task, below, task_node;
};

enum { LOCAL_STRING, LOCAL_FUNCTION, LOCAL_FRAME, LOCAL_THREAD, LOCAL_TASK, LOCAL_COUNT };

/* A segment's ids, by kind. Not cleared between segments: the reader checks that an id is defined
 * before anything refers to it. */
struct local {
	uint32_t *ids[LOCAL_COUNT];
	uint32_t caps[LOCAL_COUNT];
	struct local_stack *stacks;
	uint32_t stack_cap;
	uint64_t interval_ns, cap_ns; /* the weight of a first sample; the most that one weighs */
	enum mode mode, recorded;
	bool sifted;  /* while recording: there are samples that were not asked for */
	bool tachyon; /* as in the header */
};

struct arena_block;
struct cpu_share;

struct model_private {
	struct model_options options;
	struct timeline timeline;
	struct timeline waits; /* as samples: keep_wait() */
	struct cpu_share *cpu; /* by thread; in MODE_CPU only */
	uint32_t cpu_cap;
	uint8_t *taken_functions, *taken_nodes; /* by selected: by function, by node */
	uint32_t taken_function_cap, taken_node_cap;
	uint32_t native_frame;
	uint32_t *path; /* of nodes, while one stack is put on another */
	uint32_t path_cap;
	struct table string_index; /* of struct string_item; the same numbers as strings */
	struct model_string *strings;
	uint32_t string_cap;
	struct arena_block *arena;
	struct table functions, frames, nodes, threads, counts, tasks;
	uint32_t *awaiters;
	uint32_t awaiter_count, awaiter_cap;
	struct model_process *processes;
	struct local *locals; /* by process */
	uint32_t process_cap;
	const char **sources; /* by number; 0 has no name */
	uint32_t source_count;
	char **warnings;
};

/* ---- model.c ---- */

/* What the model shows is what its tables hold now. */
void model_publish(struct model *m);
void model_local_done(struct local *l);
/* The index of the string; 0 when memory is short. */
uint32_t model_add_string(struct model *m, const struct stream_string *s);
/* "" for no source. */
const char *model_source_name(const struct model *m, uint32_t source);

/* ---- model-define.c ---- */

/* As in struct stream_handler. */
int model_on_string(void *arg, uint32_t stream, uint32_t id, const struct stream_string *s);
int model_on_function(void *arg, uint32_t stream, uint32_t id, const struct stream_function *f);
int model_on_frame(void *arg, uint32_t stream, uint32_t id, const struct stream_frame *f);
int model_on_op(void *arg, uint32_t stream, uint32_t id, uint16_t op);
int model_on_stack(void *arg, uint32_t stream, uint32_t id, const struct stream_stack *s);
int model_on_thread(void *arg, uint32_t stream, uint32_t id, const struct stream_thread *t);
int model_on_task(void *arg, uint32_t stream, uint32_t id, const struct stream_task *t);
int model_on_task_state(void *arg, uint32_t stream, const struct stream_task_state *s);

/* Room for the stack id. 0, -ENOMEM. */
int model_reserve_stacks(struct local *l, uint32_t id);
/* The node of a frame called by that of parent; 0 when memory is short. */
uint32_t model_add_node(struct model *m, uint32_t parent, uint32_t frame);
/* Samples of no thread that is known belong to one without a number. 0, -ENOMEM. */
int model_no_thread(struct model *m, uint32_t stream);
/* The frame <native>; 0 when memory is short. */
uint32_t model_native_frame(struct model *m, uint32_t stream);
/* Whether stacks are selected by what is on them. */
bool model_selects_functions(const struct model_options *o);

/* ---- model-samples.c ---- */

int model_on_samples(void *arg, uint32_t stream, const struct stream_batch *b);
int model_on_wait(void *arg, uint32_t stream, const struct stream_wait *w);
void model_add_to_count(struct model *m, uint32_t count, uint64_t samples, uint64_t ns);

/* ---- model-cpu.c ---- */

/* One sample; count 0: it is not asked for, but takes its part. 0, -ENOMEM. */
int model_take_cpu(struct model *m, const struct local *l, uint32_t thread, uint32_t count,
		   uint16_t state, uint64_t cpu_ns, uint64_t weight);
/* Nothing waits for samples that may not come. */
void model_spread_cpu(struct model *m, uint32_t stream);

#endif
