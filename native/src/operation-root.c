/* Paths that a container's file system has a say in: resolved inside its root, never outside. */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "operation.h"
#include "sys.h"

enum { LINKS_MAX = 40 };

#define IN_ROOT (RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)

int open_in_root(int root, const char *path, int flags)
{
	int fd = sys_openat2(root, path[0] ? path : ".", flags, 0, IN_ROOT);

	if (fd < 0)
		errno = -fd;
	return fd;
}

/* First as a path only: opening a device or a FIFO already does something. */
static int open_regular(int root, const char *path, uint32_t max)
{
	char self[32];
	struct stat s;
	int found = open_in_root(root, path, O_PATH);
	int fd;

	if (found < 0)
		return -1;
	(void)snprintf(self, sizeof(self), "/proc/self/fd/%d", found);
	if (fstat(found, &s) < 0) {
		fd = -1;
	} else if (!S_ISREG(s.st_mode)) {
		errno = S_ISDIR(s.st_mode) ? EISDIR : EINVAL;
		fd = -1;
	} else if (s.st_size > (off_t)max) {
		errno = EFBIG;
		fd = -1;
	} else {
		fd = open(self, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	}
	(void)close(found);
	return fd;
}

int step_read_in_root(struct performance *p, const struct step *step)
{
	uint32_t max = step->number < READ_MAX ? step->number : READ_MAX;
	int root = open(step->text[0], O_PATH | O_DIRECTORY | O_CLOEXEC);
	int fd = root < 0 ? -1 : open_regular(root, step->text[1], max);
	ssize_t n = 1;

	if (fd < 0)
		return step_failed(p, "openat2", root < 0 ? step->text[0] : step->text[1]);
	while (n > 0 && p->result.length <= max) {
		n = read(fd, p->result.data + p->result.length, (size_t)max + 1 - p->result.length);
		p->result.length += n > 0 ? (size_t)n : 0;
	}
	(void)close(fd);
	(void)close(root);
	if (n < 0)
		return step_failed(p, "read", step->text[1]);
	if (p->result.length <= max)
		return 0;
	errno = EFBIG; /* it grew, or its size was a lie, as in /proc */
	return step_failed(p, "read", step->text[1]);
}

/* A walk below a root: `done` is resolved and exists, `rest` is still to go. Both without a leading slash. */
struct walk {
	int root;
	uid_t uid; /* of what is made */
	gid_t gid;
	int links;
	char done[PATH_ROOM];
	char rest[PATH_ROOM];
};

static int too_long(void)
{
	errno = ENAMETOOLONG;
	return -1;
}

/* Moves the first component of `rest` to `name`; false at the end. */
static bool next_name(struct walk *walk, char name[256])
{
	char *at = walk->rest + strspn(walk->rest, "/");
	size_t length = strcspn(at, "/");

	if (length == 0 || length > 255)
		return false;
	memcpy(name, at, length);
	name[length] = 0;
	memmove(walk->rest, at + length, strlen(at + length) + 1);
	return true;
}

static int follow(struct walk *walk, int link)
{
	char target[PATH_ROOM];
	char rest[PATH_ROOM];
	ssize_t n = readlinkat(link, "", target, sizeof(target) - 1);
	int length;

	if (n < 0)
		return -1;
	target[n] = 0;
	if (walk->links++ == LINKS_MAX) {
		errno = ELOOP;
		return -1;
	}
	if (target[0] == '/')
		walk->done[0] = 0;
	length = snprintf(rest, sizeof(rest), "%s/%s", target, walk->rest);
	if (length >= (int)sizeof(rest))
		return too_long();
	memcpy(walk->rest, rest, (size_t)length + 1);
	return 0;
}

static void leave(struct walk *walk)
{
	char *slash = strrchr(walk->done, '/');

	*(slash ? slash : walk->done) = 0;
}

/* Makes `name` in the directory `done`. */
static int make(const struct walk *walk, const char *name, uint32_t mode)
{
	int dir = open_in_root(walk->root, walk->done, O_PATH | O_DIRECTORY);
	int r;

	if (dir < 0)
		return -1;
	r = mkdirat(dir, name, mode);
	if (r == 0 && (walk->uid != 0 || walk->gid != 0))
		r = fchownat(dir, name, walk->uid, walk->gid, AT_SYMLINK_NOFOLLOW);
	else if (r < 0 && errno == EEXIST)
		r = 0;
	(void)close(dir);
	return r;
}

static int advance(struct walk *walk, const char *name, uint32_t mode)
{
	char path[PATH_ROOM + 256];
	struct stat s;
	int fd;
	int r = 0;

	if (snprintf(path, sizeof(path), "%s%s%s", walk->done, walk->done[0] ? "/" : "", name) >= PATH_ROOM)
		return too_long();
	fd = open_in_root(walk->root, path, O_PATH | O_NOFOLLOW);
	if (fd < 0 && errno == ENOENT && make(walk, name, mode) == 0)
		fd = open_in_root(walk->root, path, O_PATH | O_NOFOLLOW);
	if (fd < 0)
		return -1;
	if (fstat(fd, &s) < 0) {
		r = -1;
	} else if (S_ISLNK(s.st_mode)) {
		r = follow(walk, fd);
	} else if (S_ISDIR(s.st_mode)) {
		memcpy(walk->done, path, strlen(path) + 1);
	} else {
		errno = ENOTDIR;
		r = -1;
	}
	(void)close(fd);
	return r;
}

int step_mkdir_in_root(struct performance *p, const struct step *step)
{
	struct walk walk = { .root = open(step->text[0], O_PATH | O_DIRECTORY | O_CLOEXEC),
			     .uid = step->uid,
			     .gid = step->gid };
	char name[256];

	if (walk.root < 0)
		return step_failed(p, "open", step->text[0]);
	if (snprintf(walk.rest, sizeof(walk.rest), "%s", step->text[1]) >= (int)sizeof(walk.rest)) {
		(void)too_long();
		return step_failed(p, "mkdirat", step->text[1]);
	}
	while (next_name(&walk, name)) {
		bool last = walk.rest[strspn(walk.rest, "/")] == 0;

		if (strcmp(name, ".") == 0)
			continue;
		if (strcmp(name, "..") == 0)
			leave(&walk);
		else if (advance(&walk, name, last ? step->number : 0755) < 0)
			return step_failed(p, "mkdirat", step->text[1]);
	}
	(void)close(walk.root);
	if (walk.rest[strspn(walk.rest, "/")]) {
		(void)too_long();
		return step_failed(p, "mkdirat", step->text[1]);
	}
	step_result(p, walk.done[0] ? walk.done : ".");
	return 0;
}
