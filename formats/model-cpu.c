#include "formats/model-parts.h"

#include <errno.h>

#define MAX_RUNS      64 /* of samples on a CPU that wait to be told how much of it they used */
#define CPU_WINDOW_NS 20000000u /* five ticks of a usual kernel */

/* The CPU time of one thread, on its way to stacks. The kernel's account of a thread that runs is
 * brought up to date at its ticks, and when it stops running: only over some of them is it exact,
 * so what was used goes to all samples on a CPU since the thread last was on none, or in
 * CPU_WINDOW_NS, in proportion to the time that each stands for. */
struct cpu_share {
	struct cpu_run {
		uint32_t count; /* 0: samples that are not asked for */
		uint64_t weight;
	} runs[MAX_RUNS];
	unsigned n_runs;
	uint64_t window_ns, used_ns;
	uint64_t rest_ns; /* less than a sample */
	uint32_t last;	  /* where the last of it went, while no sample was on none since */
	bool was_on;
};

static struct cpu_share *share_of(struct model_private *p, uint32_t thread)
{
	if (thread >= p->cpu_cap &&
	    grow(&p->cpu, &p->cpu_cap, (size_t)thread + 1, sizeof(*p->cpu)) < 0)
		return NULL;
	return &p->cpu[thread];
}

/* CPU time to a count, and as many samples as intervals fit into it. */
static void add_cpu(struct model *m, struct cpu_share *share, uint64_t interval, uint32_t count,
		    uint64_t ns)
{
	uint64_t n = 1;

	if (interval) {
		share->rest_ns += ns;
		n = share->rest_ns / interval;
		share->rest_ns %= interval;
	}
	if (count)
		model_add_to_count(m, count, n, ns);
}

/* What was used goes to the samples that were on a CPU. */
static void spread(struct model *m, struct cpu_share *share, uint64_t interval)
{
	double weights = 0;
	uint64_t given = 0;

	for (unsigned i = 0; i < share->n_runs; i++)
		weights += (double)share->runs[i].weight;
	for (unsigned i = 0; i < share->n_runs; i++) {
		const struct cpu_run *run = &share->runs[i];
		uint64_t part = (uint64_t)((double)share->used_ns * (double)run->weight / weights);

		if (i + 1 == share->n_runs || part > share->used_ns - given)
			part = share->used_ns - given;
		add_cpu(m, share, interval, run->count, part);
		given += part;
	}
	if (share->n_runs)
		share->used_ns = 0;
	share->n_runs = 0;
	share->window_ns = 0;
}

static void put_run(struct cpu_share *share, uint32_t count, uint64_t weight)
{
	struct cpu_run *last = share->n_runs ? &share->runs[share->n_runs - 1] : NULL;

	share->window_ns += weight;
	if (last && (last->count == count || share->n_runs == MAX_RUNS))
		last->weight += weight;
	else
		share->runs[share->n_runs++] = (struct cpu_run){count, weight + 1};
}

int model_take_cpu(struct model *m, const struct local *l, uint32_t thread, uint32_t count,
		   uint16_t state, uint64_t cpu_ns, uint64_t weight)
{
	struct cpu_share *share = share_of(m->p, thread);
	bool on = state & STREAM_STATE_CPU;

	if (!share)
		return -ENOMEM;
	if (state & STREAM_STATE_CPU_TIME_KNOWN)
		share->used_ns += cpu_ns;
	if (on) {
		put_run(share, count, weight);
		share->last = count;
		if (share->window_ns >= CPU_WINDOW_NS || share->n_runs == MAX_RUNS)
			spread(m, share, l->interval_ns);
	} else if (share->n_runs) {
		spread(m, share, l->interval_ns);
	} else if (share->was_on) {
		/* The last bit of what was spread already. */
		add_cpu(m, share, l->interval_ns, share->last, share->used_ns);
		share->used_ns = 0;
	}
	share->was_on = on;
	return 0;
}

void model_spread_cpu(struct model *m, uint32_t stream)
{
	struct model_private *p = m->p;

	for (uint32_t i = 0; i < p->cpu_cap && i < p->threads.count; i++)
		if (m->threads[i].process == stream)
			spread(m, &p->cpu[i], p->locals[stream].interval_ns);
}
