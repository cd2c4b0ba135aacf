/* Kills for memory in a container's cgroup: counted by the kernel, read once, when its process has ended. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "monitor.h"

/*
 * The fd is opened while the cgroup exists and read when the process has ended: the kernel raises the counter before it
 * kills, so by then it is final. A cgroup that was removed meanwhile answers ENODEV, and nothing is claimed.
 */
int oom_open(const char *cgroup)
{
	static const char *const names[] = { "memory.events", "memory.oom_control" }; /* v2, v1 */
	char path[MEMORY_CGROUP_MAX + 32];
	int fd = -1;

	for (size_t i = 0; cgroup[0] != 0 && fd < 0 && i < sizeof(names) / sizeof(names[0]); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", cgroup, names[i]);
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	}
	return fd;
}

uint64_t oom_kills(int fd)
{
	char text[512];
	const char *line = text;
	ssize_t n = fd < 0 ? -1 : pread(fd, text, sizeof(text) - 1, 0);

	if (n <= 0)
		return 0;
	text[n] = 0;
	while (line && strncmp(line, "oom_kill ", strlen("oom_kill ")) != 0) {
		line = strchr(line, '\n');
		line = line ? line + 1 : NULL;
	}
	return line ? strtoull(line + strlen("oom_kill "), NULL, 10) : 0;
}
