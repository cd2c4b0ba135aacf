/* What the stats reader reads, and the few files that it does not keep. */
#include "stats.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

enum { SPARE_FILES = 64 }; /* that are never kept open, for what is opened for a moment */

static struct {
	int netns; /* our own */
	bool elsewhere;
	size_t open;
	size_t open_max;
} files;

bool stats_files_begin(void)
{
	struct rlimit limit = { 1024, 1024 };

	files.netns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	(void)getrlimit(RLIMIT_NOFILE, &limit);
	files.open_max = limit.rlim_cur > SPARE_FILES ? limit.rlim_cur - SPARE_FILES : 0;
	return files.netns >= 0;
}

struct stats_file stats_next_file(struct reader *r)
{
	uint8_t level = wire_u8(r);
	uint8_t keep = wire_u8(r);
	uint8_t directory = wire_u8(r);

	return (struct stats_file){ level, keep != 0, directory, wire_str(r) };
}

void stats_close_file(struct stats_set *set, uint32_t i)
{
	if (set->fds[i] < 0)
		return;
	(void)close(set->fds[i]);
	set->fds[i] = -1;
	files.open--;
}

/* The text of a file from its start; -errno, -EFBIG when there is more of it. A cgroup file is whole with one read. */
static ssize_t read_text(int fd, uint8_t *text, bool to_end)
{
	size_t length = 0;
	ssize_t n;

	do {
		n = pread(fd, text + length, STATS_TEXT_MAX - length, (off_t)length);
		if (n > 0)
			length += (size_t)n;
	} while (to_end && n > 0 && length < STATS_TEXT_MAX);
	if (n < 0)
		return -errno;
	return length == STATS_TEXT_MAX ? -EFBIG : (ssize_t)length;
}

static int open_file(struct reader directories, const struct stats_file *file)
{
	char path[STATS_PATH_ROOM];
	struct span directory = { NULL, 0 };
	int fd;

	for (unsigned i = 0; i <= file->directory; i++)
		directory = wire_str(&directories);
	(void)snprintf(path, sizeof(path), "%.*s/%.*s", (int)directory.length, (const char *)directory.data,
		       (int)file->name.length, (const char *)file->name.data);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

ssize_t stats_read_file(struct stats_set *set, uint32_t i, struct reader directories, const struct stats_file *file, uint8_t *text)
{
	bool was_open = set->fds[i] >= 0;
	int fd = was_open ? set->fds[i] : open_file(directories, file);
	ssize_t n;

	if (fd < 0)
		return fd;
	n = read_text(fd, text, false);
	if (was_open) {
		if (n == -ENODEV) /* the cgroup was removed */
			stats_close_file(set, i);
	} else if (n >= 0 && file->keep && files.open < files.open_max) {
		set->fds[i] = fd;
		files.open++;
	} else {
		(void)close(fd);
	}
	return n;
}

/* Entered for a moment each time: an open file of it would keep a network namespace alive whose pod is gone. */
ssize_t stats_read_network(struct span netns, uint8_t *text)
{
	char path[STATS_PATH_ROOM];
	ssize_t n;
	int fd;

	(void)snprintf(path, sizeof(path), "%.*s", (int)netns.length, (const char *)netns.data);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	n = setns(fd, CLONE_NEWNET) < 0 ? -errno : 0;
	(void)close(fd);
	if (n < 0)
		return n;
	files.elsewhere = true;
	fd = open("/proc/thread-self/net/dev", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read_text(fd, text, true);
	(void)close(fd);
	return n;
}

void stats_come_home(void)
{
	if (files.elsewhere && setns(files.netns, CLONE_NEWNET) < 0)
		_exit(1);
	files.elsewhere = false;
}
