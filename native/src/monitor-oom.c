/* Kills for memory in a container's cgroup: counted by the kernel, read once, when its process has ended. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "monitor.h"

static const char unified[] = "memory.events"; /* v2: with those of the cgroups below */
static const char legacy[] = "memory.oom_control"; /* v1 */

static int open_counter(const char *cgroup, size_t length, const char *name)
{
	char path[MEMORY_CGROUP_MAX + 32];

	(void)snprintf(path, sizeof(path), "%.*s/%s", (int)length, cgroup, name);
	return open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
}

/* False when the cgroup is gone: a file of it that is open answers ENODEV. */
static bool read_counter(int fd, uint64_t *kills)
{
	char text[512];
	const char *line = text;
	ssize_t n = fd < 0 ? -1 : pread(fd, text, sizeof(text) - 1, 0);

	if (n <= 0)
		return false;
	text[n] = 0;
	while (line && strncmp(line, "oom_kill ", strlen("oom_kill ")) != 0) {
		line = strchr(line, '\n');
		line = line ? line + 1 : NULL;
	}
	*kills = line ? strtoull(line + strlen("oom_kill "), NULL, 10) : 0;
	return true;
}

/*
 * The files are opened while the cgroup exists and read when the process has ended: the kernel raises the counter before
 * it kills, so by then it is final. systemd removes a scope as soon as it is empty, which may be sooner; then what the
 * pod's cgroup has counted since tells. With v1 that one counts its own processes alone, and nothing is claimed.
 */
struct oom oom_open(const char *cgroup)
{
	struct oom oom = OOM_NONE;
	const char *slash = strrchr(cgroup, '/');

	if (cgroup[0] == 0)
		return oom;
	oom.own = open_counter(cgroup, strlen(cgroup), unified);
	if (oom.own < 0)
		oom.own = open_counter(cgroup, strlen(cgroup), legacy);
	else if (slash > cgroup)
		oom.pod = open_counter(cgroup, (size_t)(slash - cgroup), unified);
	(void)read_counter(oom.pod, &oom.pod_before);
	return oom;
}

uint64_t oom_kills(const struct oom *oom)
{
	uint64_t kills = 0;

	if (read_counter(oom->own, &kills))
		return kills;
	return read_counter(oom->pod, &kills) && kills > oom->pod_before ? kills - oom->pod_before : 0;
}

void oom_close(struct oom *oom)
{
	if (oom->own >= 0)
		(void)close(oom->own);
	if (oom->pod >= 0)
		(void)close(oom->pod);
	*oom = OOM_NONE;
}
