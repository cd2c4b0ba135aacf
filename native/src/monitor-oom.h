/* Kills for memory in a container's cgroup. */
#ifndef NACELLE_MONITOR_OOM_H
#define NACELLE_MONITOR_OOM_H

#include "loop.h"
#include "timer.h"

struct container;

struct oom_counts {
	uint64_t limits; /* times that a limit was met and no memory could be freed */
	uint64_t kills;
	uint64_t groups; /* times that all of a cgroup was killed */
};

/* Where the kernel counts kills for memory; -1: not told. */
struct oom {
	struct source own;  /* the counters of the container's cgroup; with v2 they are ready when they have changed */
	struct source bell; /* v1: an eventfd that is rung before a kill */
	int local;          /* those of its cgroup without the ones below, with v2 */
	int pod;            /* the counters of the cgroup above, with v2 */
	struct timer timer;
	struct oom_counts before; /* what was counted before the container */
	struct oom_counts pod_before;
	uint64_t groups_before;
	uint64_t told;
	bool of_pod; /* what was counted in the end may have been others of the pod */
};

#define OOM_NONE ((struct oom){ .own = { .fd = -1 }, .bell = { .fd = -1 }, .local = -1, .pod = -1 })

/* monitor-oom.c: counters that cannot be opened count 0. */
/* Counts from now on, and tells when something is killed while the container lives. */
void oom_watch(struct container *c);
/* What was counted becomes part of its status. */
void oom_read(struct container *c);
void oom_close(struct container *c);

#endif
