/*
 * A cgroup for each exec, below its container's, so that all that it starts can be killed although it has left its session
 * and its parents. v2 alone, and only while the container's own hands no controllers on: it may not have processes
 * then. Who is left in the background by an exec that has ended stays in it; it is removed once it is empty.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "monitor-exec.h"
#include "sys.h"

/* With those that were left in the background; beyond these an exec has none. */
enum { MAX_CGROUPS = 2 * MAX_EXECS, LONGEST = 64 };

struct exec_cgroup {
	struct source source; /* its cgroup.events; -1 when it is gone */
	struct monitor *monitor; /* NULL: the slot is free */
	const struct container *container; /* NULL: forgotten */
	int above; /* the directory of the container's */
	uint32_t number;
	bool over; /* its exec has ended and does not refer to it any more */
};

static struct exec_cgroup cgroups[MAX_CGROUPS];

/* Of a file of it, or of itself. */
static const char *name_of(const struct exec_cgroup *g, const char *file)
{
	static char name[LONGEST];

	(void)snprintf(name, sizeof(name), "exec-%u%s", g->number, file);
	return name;
}

static ssize_t read_at(int fd, char text[LONGEST])
{
	ssize_t n = fd < 0 ? -1 : pread(fd, text, LONGEST - 1, 0);

	text[n > 0 ? n : 0] = 0;
	return n;
}

/* Whether the cgroup of this directory gives controllers to those below it; or is none. */
static bool hands_on(int directory)
{
	char text[LONGEST];
	int fd = openat(directory, "cgroup.subtree_control", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t n = read_at(fd, text);

	if (fd >= 0)
		(void)close(fd);
	return n < 0 || (text[0] != 0 && text[0] != '\n');
}

enum content { GONE, EMPTY, POPULATED, UNKNOWN };

/* What is read is not told again. */
static enum content content_of(const struct exec_cgroup *g)
{
	char text[LONGEST];

	if (read_at(g->source.fd, text) <= 0)
		return g->source.fd < 0 || errno == ENODEV ? GONE : UNKNOWN;
	return strstr(text, "populated 0") ? EMPTY : POPULATED;
}

static void release(struct exec_cgroup *g)
{
	loop_close(&g->monitor->loop, &g->source);
	if (g->above >= 0)
		(void)close(g->above);
	*g = (struct exec_cgroup){ .monitor = NULL };
}

/* Refused while somebody is in it. */
static bool removed(const struct exec_cgroup *g)
{
	return unlinkat(g->above, name_of(g, ""), AT_REMOVEDIR) == 0 || errno == ENOENT;
}

static void look(struct exec_cgroup *g)
{
	enum content content = content_of(g);

	if ((content == EMPTY || content == UNKNOWN) && g->over && removed(g))
		content = GONE;
	if (content == GONE && g->over)
		release(g);
	else if (content == GONE)
		loop_close(&g->monitor->loop, &g->source); /* it would be ready for ever */
}

static void changed(struct source *source, uint32_t events)
{
	(void)events;
	look(container_of(source, struct exec_cgroup, source));
}

static bool make(struct exec_cgroup *g, const char *parent)
{
	g->above = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (g->above < 0 || hands_on(g->above) || mkdirat(g->above, name_of(g, ""), 0755) < 0)
		return false;
	g->source.fd = openat(g->above, name_of(g, "/cgroup.events"), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (content_of(g) == EMPTY && loop_add(&g->monitor->loop, &g->source, EPOLLPRI) == 0)
		return true;
	(void)unlinkat(g->above, name_of(g, ""), AT_REMOVEDIR);
	return false;
}

struct exec_cgroup *exec_cgroup_make(const struct container *c)
{
	static uint32_t last;
	struct exec_cgroup *g = cgroups;

	while (g < cgroups + MAX_CGROUPS && g->monitor)
		g++;
	if (c->extras.cgroup[0] == 0 || g == cgroups + MAX_CGROUPS)
		return NULL;
	*g = (struct exec_cgroup){ .source = { .fd = -1, .ready = changed }, .monitor = c->monitor, .container = c, .above = -1,
				   .number = ++last };
	if (make(g, c->extras.cgroup))
		return g;
	release(g);
	return NULL;
}

uint32_t exec_cgroup_number(const struct exec_cgroup *g)
{
	return g->number;
}

struct exec_cgroup *exec_cgroup_joined(struct exec_cgroup *g)
{
	enum content content = g ? content_of(g) : GONE;

	if (content == POPULATED || content == UNKNOWN)
		return g;
	exec_cgroup_leave(g);
	return NULL;
}

bool exec_cgroup_kill(const struct exec_cgroup *g)
{
	int fd = g ? openat(g->above, name_of(g, "/cgroup.kill"), O_WRONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
	bool done = fd >= 0 && write(fd, "1", 1) == 1;

	if (fd >= 0)
		(void)close(fd);
	return done;
}

void exec_cgroup_leave(struct exec_cgroup *g)
{
	if (!g)
		return;
	g->over = true;
	look(g);
}

void exec_cgroups_forget(const struct container *c)
{
	for (struct exec_cgroup *g = cgroups; g < cgroups + MAX_CGROUPS; g++) {
		if (!g->monitor || g->container != c)
			continue;
		g->container = NULL;
		(void)exec_cgroup_kill(g);
		look(g);
	}
}

void exec_cgroups_give_back(void)
{
	for (size_t i = 0; i < MAX_CGROUPS; i++)
		if (cgroups[i].monitor)
			return;
	sys_give_back(cgroups, sizeof(cgroups));
}
