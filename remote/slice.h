/* How long a thread of ours computes before another may have its CPU. Linux lets a thread that asks
 * for little at a time have it sooner, from 6.12 on (sched_setattr(2)), and without any privilege.
 *
 * A sampler that shares a CPU with its target needs that: it would else often wait until the target
 * had computed for some milliseconds, and so never see what the target does when it begins to. */
#ifndef PYPROF_REMOTE_SLICE_H
#define PYPROF_REMOTE_SLICE_H

/* Gives the calling thread the shortest slice there is; its niceness stays. Nothing for one
 * with a real-time priority. 0 or -errno. */
int slice_shorten(void);

#endif
