/* Walks that never follow a link and never leave the mount that they began on. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "operation.h"
#include "sys.h"

enum { DEPTH_MAX = 1000, RETRIES_MAX = 10000 };

/* One open directory of the walk. */
struct level {
	DIR *dir;
	char name[256]; /* in its parent */
};

/* RESOLVE_NO_XDEV refuses (EXDEV) bind mounts of the same device too. */
static DIR *enter(int parent, const char *name)
{
	int fd = sys_openat2(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK, 0,
			     RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS);
	DIR *dir;

	if (fd < 0) {
		errno = fd == -EXDEV ? EBUSY : -fd;
		return NULL;
	}
	dir = fdopendir(fd);
	if (!dir)
		(void)close(fd);
	return dir;
}

/* Splits /a/b/c into an fd of /a/b and c. The caller's path is ours, so its directories may be links and mounts. */
static int open_parent(const char *path, const char **name)
{
	char parent[PATH_ROOM];
	const char *slash;
	size_t length = strlen(path);

	if (length >= sizeof(parent) || length < 2 || path[0] != '/' || path[length - 1] == '/') {
		errno = EINVAL;
		return -1;
	}
	slash = strrchr(path, '/');
	(void)snprintf(parent, sizeof(parent), "%.*s", slash == path ? 1 : (int)(slash - path), path);
	*name = slash + 1;
	return open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static bool is_dot(const char *name)
{
	return name[0] == '.' && (name[1] == 0 || (name[1] == '.' && name[2] == 0));
}

static bool is_directory(int dir, const struct dirent *entry)
{
	struct stat s;

	if (entry->d_type != DT_UNKNOWN)
		return entry->d_type == DT_DIR;
	return fstatat(dir, entry->d_name, &s, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(s.st_mode);
}

static int push(struct level *levels, size_t *depth, int parent, const char *name)
{
	if (*depth == DEPTH_MAX) {
		errno = ELOOP;
		return -1;
	}
	levels[*depth].dir = enter(parent, name);
	if (!levels[*depth].dir)
		return -1;
	if (levels[*depth].name != name)
		(void)snprintf(levels[*depth].name, sizeof(levels[*depth].name), "%s", name);
	(*depth)++;
	return 0;
}

/* Removes one entry, or enters it when it is a directory that is not empty. */
static int remove_entry(struct level *levels, size_t *depth, const struct dirent *entry)
{
	int dir = dirfd(levels[*depth - 1].dir);

	if (!is_directory(dir, entry))
		return unlinkat(dir, entry->d_name, 0) < 0 && errno != ENOENT ? -1 : 0;
	if (unlinkat(dir, entry->d_name, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return 0;
	if (errno != ENOTEMPTY && errno != EEXIST)
		return -1;
	if (*depth == DEPTH_MAX) {
		/* A hostile tree may be deeper than we have fds: what is too deep moves up and is met again there. */
		char name[32];

		(void)snprintf(name, sizeof(name), ".deep.%ju", (uintmax_t)entry->d_ino);
		return renameat(dir, entry->d_name, dirfd(levels[0].dir), name);
	}
	return push(levels, depth, dir, entry->d_name);
}

/* Leaves the innermost directory, which was read to its end. What appeared in it meanwhile is a reason to enter it again. */
static int remove_level(struct level *levels, size_t *depth, int parent, int *retries)
{
	int above;

	(void)closedir(levels[*depth - 1].dir);
	(*depth)--;
	above = *depth > 0 ? dirfd(levels[*depth - 1].dir) : parent;
	if (unlinkat(above, levels[*depth].name, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return 0;
	if ((errno != ENOTEMPTY && errno != EEXIST) || (*retries)++ == RETRIES_MAX)
		return -1;
	return push(levels, depth, above, levels[*depth].name);
}

static int remove_tree(struct level *levels, int parent, const char *name)
{
	size_t depth = 0;
	int retries = 0;

	if (push(levels, &depth, parent, name) < 0)
		return errno == ENOENT ? 0 : -1;
	while (depth > 0) {
		struct dirent *entry;

		errno = 0;
		entry = readdir(levels[depth - 1].dir);
		if (!entry && errno)
			return -1;
		if (entry && is_dot(entry->d_name))
			continue;
		if (entry ? remove_entry(levels, &depth, entry) < 0 : remove_level(levels, &depth, parent, &retries) < 0)
			return -1;
	}
	return 0;
}

int step_rmtree(struct performance *p, const struct step *step)
{
	const char *path = step->text[0];
	const char *name;
	struct level *levels = calloc(DEPTH_MAX, sizeof(*levels));
	int parent = open_parent(path, &name);
	int r = 0;

	if (parent < 0)
		return errno == ENOENT ? 0 : step_failed(p, "open", path);
	/* A file or a link first: ENOTDIR and ELOOP would say the same with less. */
	if (unlinkat(parent, name, 0) < 0 && errno != ENOENT) {
		r = errno == EISDIR || errno == EPERM ? remove_tree(levels, parent, name) : -1;
		if (r < 0)
			r = step_failed(p, "unlinkat", path);
	}
	(void)close(parent);
	free(levels);
	return r;
}

static int measure(struct level *levels, int parent, const char *name, uint64_t *bytes, uint64_t *inodes)
{
	size_t depth = 0;

	if (push(levels, &depth, parent, name) < 0)
		return -1;
	while (depth > 0) {
		DIR *dir = levels[depth - 1].dir;
		struct dirent *entry = readdir(dir);
		struct stat s;

		if (!entry) {
			(void)closedir(dir);
			depth--;
			continue;
		}
		/* Who writes while we count may take things away under our eyes: they count nothing. */
		if (is_dot(entry->d_name) || fstatat(dirfd(dir), entry->d_name, &s, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		*bytes += (uint64_t)s.st_blocks * 512 / (S_ISDIR(s.st_mode) ? 1 : s.st_nlink);
		*inodes += 1;
		if (S_ISDIR(s.st_mode))
			(void)push(levels, &depth, dirfd(dir), entry->d_name);
	}
	return 0;
}

/* Nobody waits for it, and it must not be felt: the last in line for the CPU and for the disk. */
static void stand_back(void)
{
	enum { IOPRIO_WHO_PROCESS = 1, IOPRIO_CLASS_IDLE = 3, IOPRIO_CLASS_SHIFT = 13 };

	(void)setpriority(PRIO_PROCESS, 0, 10);
	(void)syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_CLASS_IDLE << IOPRIO_CLASS_SHIFT);
}

int step_disk_usage(struct performance *p, const struct step *step)
{
	struct level *levels = calloc(DEPTH_MAX, sizeof(*levels));
	const char *path = step->text[0];
	uint64_t bytes = 0;
	uint64_t inodes = 1;
	struct stat s;
	char text[64];
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
	int r = fd < 0 ? step_failed(p, "open", path) : 0;

	stand_back();
	if (r == 0 && fstat(fd, &s) < 0)
		r = step_failed(p, "fstat", path);
	if (r == 0) {
		bytes = (uint64_t)s.st_blocks * 512;
		if (S_ISDIR(s.st_mode) && measure(levels, fd, ".", &bytes, &inodes) < 0)
			r = step_failed(p, "openat2", path);
	}
	(void)snprintf(text, sizeof(text), "%" PRIu64 " %" PRIu64, bytes, inodes);
	if (r == 0)
		step_result(p, text);
	if (fd >= 0)
		(void)close(fd);
	free(levels);
	return r;
}
