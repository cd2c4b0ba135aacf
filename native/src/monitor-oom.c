/*
 * Kills for memory in a container's cgroup: counted by the kernel, told while the container lives, and read for good when
 * its process has ended.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "monitor.h"
#include "sys.h"

/*
 * The kernel says up to 100 times a second that a counter has changed, also one that is not of interest. With v1 it says
 * so before it kills. Hence the second look, after this time, and none in between.
 */
enum { LOOK_AGAIN_MS = 200 };

static const char unified[] = "memory.events"; /* v2: with those of the cgroups below */
static const char local_only[] = "memory.events.local"; /* v2: without those */
static const char legacy[] = "memory.oom_control"; /* v1 */

static int open_file(const char *cgroup, size_t length, const char *name, int flags)
{
	char path[MEMORY_CGROUP_MAX + 32];

	(void)snprintf(path, sizeof(path), "%.*s/%s", (int)length, cgroup, name);
	return open(path, flags | O_CLOEXEC | O_NOFOLLOW);
}

/* The number of a line "name number"; 0 without such a line. */
static uint64_t field(const char *text, const char *name)
{
	size_t length = strlen(name);
	const char *line = text;

	while (line && (strncmp(line, name, length) != 0 || line[length] != ' ')) {
		line = strchr(line, '\n');
		line = line ? line + 1 : NULL;
	}
	return line ? strtoull(line + length, NULL, 10) : 0;
}

/* False when the cgroup is gone: a file of it that is open answers ENODEV. */
static bool read_counts(int fd, struct oom_counts *counts)
{
	char text[512];
	ssize_t n = fd < 0 ? -1 : pread(fd, text, sizeof(text) - 1, 0);

	if (n <= 0)
		return false;
	text[n] = 0;
	*counts = (struct oom_counts){ .limits = field(text, "oom"), .kills = field(text, "oom_kill"),
				       .groups = field(text, "oom_group_kill") };
	return true;
}

/* Of the container's cgroup itself: one of a cgroup in it leaves the first process alone. */
static uint64_t group_kills(const struct oom *oom)
{
	struct oom_counts counts = { .groups = 0 };

	(void)read_counts(oom->local, &counts);
	return counts.groups;
}

static uint64_t growth(uint64_t now, uint64_t before)
{
	return now > before ? now - before : 0;
}

/* From now on nothing is told. */
static void disarm(struct container *c)
{
	timer_clear(&c->monitor->timers, &c->oom.timer);
	loop_close(&c->monitor->loop, &c->oom.own);
	loop_close(&c->monitor->loop, &c->oom.bell);
}

static void look(struct container *c)
{
	struct oom *oom = &c->oom;
	struct oom_counts now;
	struct writer w;
	uint64_t kills;

	if (c->ended) {
		disarm(c); /* from here on EXIT tells */
		return;
	}
	if (!read_counts(oom->own.fd, &now)) {
		disarm(c); /* gone, and what is left of it would be ready for ever; the pod's counters tell the rest */
		return;
	}
	kills = growth(now.kills, oom->before.kills);
	if (kills <= oom->told)
		return;
	oom->told = kills;
	w = reply_begin(c->monitor);
	wire_put_str(&w, c->status.id);
	wire_put_u64(&w, kills);
	(void)connection_broadcast(c->monitor, EVT_OOM, &w);
}

static void look_again(struct timer *timer)
{
	struct container *c = container_of(timer, struct container, oom.timer);
	struct oom *oom = &c->oom;

	look(c);
	if (oom->bell.fd >= 0)
		(void)loop_change(&c->monitor->loop, &oom->bell, EPOLLIN | EPOLLONESHOT);
	else if (oom->own.fd >= 0)
		(void)loop_change(&c->monitor->loop, &oom->own, EPOLLPRI | EPOLLONESHOT);
}

static void changed(struct container *c)
{
	look(c);
	if (c->oom.own.fd >= 0)
		timer_set(&c->monitor->timers, &c->oom.timer, LOOK_AGAIN_MS, look_again);
}

static void own_changed(struct source *source, uint32_t events)
{
	(void)events;
	changed(container_of(source, struct container, oom.own));
}

static void bell_rang(struct source *source, uint32_t events)
{
	uint64_t times;

	(void)events;
	(void)!read(source->fd, &times, sizeof(times));
	changed(container_of(source, struct container, oom.bell));
}

/* v1: an eventfd that is rung when memory has run out, and when the cgroup is removed. Without one the end alone tells. */
static void hang_bell(struct container *c, const char *cgroup)
{
	struct oom *oom = &c->oom;
	int control = open_file(cgroup, strlen(cgroup), "cgroup.event_control", O_WRONLY);
	int bell = control < 0 ? -1 : eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	char text[32];
	int length = snprintf(text, sizeof(text), "%d %d", bell, oom->own.fd);

	oom->bell = (struct source){ .fd = bell, .ready = bell_rang };
	if (bell >= 0 && (write(control, text, (size_t)length) != length ||
			  loop_add(&c->monitor->loop, &oom->bell, EPOLLIN | EPOLLONESHOT) < 0)) {
		(void)close(bell);
		oom->bell.fd = -1;
	}
	if (control >= 0)
		(void)close(control);
}

/*
 * The files are opened while the cgroup exists and read when the process has ended: the kernel raises the counter before
 * it kills, so by then it is final. systemd removes a scope as soon as it is empty, which may be sooner; then what the
 * pod's cgroup has counted since makes a suspicion, and no more: a sibling may have been killed. With v1 that one counts
 * its own processes alone, and nothing is claimed.
 */
void oom_watch(struct container *c)
{
	const char *cgroup = c->memory_cgroup;
	const char *slash = strrchr(cgroup, '/');
	struct oom *oom = &c->oom;

	*oom = OOM_NONE;
	if (cgroup[0] == 0)
		return;
	oom->own = (struct source){ .fd = open_file(cgroup, strlen(cgroup), unified, O_RDONLY), .ready = own_changed };
	if (oom->own.fd >= 0 && slash > cgroup)
		oom->pod = open_file(cgroup, (size_t)(slash - cgroup), unified, O_RDONLY);
	(void)read_counts(oom->pod, &oom->pod_before);
	if (oom->own.fd >= 0) {
		oom->local = open_file(cgroup, strlen(cgroup), local_only, O_RDONLY);
		(void)read_counts(oom->own.fd, &oom->before);
		oom->groups_before = group_kills(oom);
		(void)loop_add(&c->monitor->loop, &oom->own, EPOLLPRI | EPOLLONESHOT);
		return;
	}
	oom->own.fd = open_file(cgroup, strlen(cgroup), legacy, O_RDONLY);
	if (oom->own.fd >= 0 && read_counts(oom->own.fd, &oom->before))
		hang_bell(c, cgroup);
}

void oom_read(struct container *c)
{
	const struct oom *oom = &c->oom;
	struct oom_counts now = { .kills = 0 };

	if (read_counts(oom->own.fd, &now)) {
		c->status.oom_kills = growth(now.kills, oom->before.kills);
		c->status.ooms = growth(now.limits, oom->before.limits);
		c->status.oom_group_kills = growth(group_kills(oom), oom->groups_before);
	} else if (read_counts(oom->pod, &now)) {
		c->oom.of_pod = true;
		c->status.oom_kills = growth(now.kills, oom->pod_before.kills);
	}
}

void oom_close(struct container *c)
{
	disarm(c);
	if (c->oom.local >= 0)
		(void)close(c->oom.local);
	if (c->oom.pod >= 0)
		(void)close(c->oom.pod);
	c->oom.local = -1;
	c->oom.pod = -1;
}
