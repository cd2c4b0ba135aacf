/* Volumes that come from an image: one of its directories, bound or copied. Its paths are resolved in its root alone. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "operation.h"
#include "sys.h"

/* A level holds two descriptors; what a volume begins with is never so deep. */
enum { COPY_DEPTH_MAX = 256, XATTR_MAX = 65536, CHUNK = 65536 };

enum { ROOT, PATH, TARGET };

static int open_directory(struct performance *p, const struct step *step)
{
	int root = open(step->text[ROOT], O_PATH | O_DIRECTORY | O_CLOEXEC);
	int fd;

	if (root < 0)
		return step_failed(p, "open", step->text[ROOT]);
	fd = open_in_root(root, step->text[PATH], O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		(void)step_failed(p, "openat2", step->text[PATH]);
	(void)close(root);
	return fd;
}

int step_bind_in_root(struct performance *p, const struct step *step)
{
	char self[32];
	int fd = open_directory(p, step);
	int r;

	if (fd < 0)
		return -1;
	(void)snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	r = mount(self, step->text[TARGET], NULL, MS_BIND, NULL);
	if (r < 0)
		(void)step_failed(p, "mount", step->text[TARGET]);
	(void)close(fd);
	return r;
}

/* What copy_file_range cannot do between these two files, a buffer can. */
static ssize_t copy_chunk(int from, int to, off_t at, size_t length)
{
	static uint8_t chunk[CHUNK];
	off_t in = at;
	off_t out = at;
	ssize_t n = copy_file_range(from, &in, to, &out, length, 0);

	if (n >= 0 || (errno != EXDEV && errno != ENOSYS && errno != EINVAL && errno != EOPNOTSUPP))
		return n;
	n = pread(from, chunk, length < CHUNK ? length : CHUNK, at);
	return n <= 0 ? n : pwrite(to, chunk, (size_t)n, at);
}

/* Holes stay holes. */
static int copy_data(int from, int to, off_t size)
{
	off_t at = 0;

	if (ftruncate(to, size) < 0)
		return -1;
	while (at < size) {
		off_t end;
		off_t data = lseek(from, at, SEEK_DATA);

		if (data < 0 && errno == ENXIO)
			return 0;
		at = data < 0 ? at : data;
		end = lseek(from, at, SEEK_HOLE);
		end = end < 0 ? size : end;
		while (at < end) {
			ssize_t n = copy_chunk(from, to, at, (size_t)(end - at));

			if (n <= 0)
				return (int)n; /* 0: it became shorter */
			at += n;
		}
	}
	return 0;
}

/* What says how overlayfs or a label sees the source is not the copy's. */
static bool is_copied(const char *name)
{
	return strncmp(name, "trusted.overlay.", 16) != 0 && strncmp(name, "user.overlay.", 13) != 0 &&
	       strcmp(name, "security.selinux") != 0;
}

static int copy_xattrs(int from, int to)
{
	static char names[XATTR_MAX];
	static char value[XATTR_MAX];
	ssize_t length = flistxattr(from, names, sizeof(names));

	if (length < 0)
		return errno == ENOTSUP ? 0 : -1;
	for (const char *name = names; name < names + length; name += strlen(name) + 1) {
		ssize_t size = is_copied(name) ? fgetxattr(from, name, value, sizeof(value)) : -1;

		if (size >= 0 && fsetxattr(to, name, value, (size_t)size, 0) < 0 && errno != ENOTSUP)
			return -1;
	}
	return 0;
}

/* The mode after the owner: a change of owner takes setuid bits and capabilities away. */
static int copy_meta(int from, int to, const struct stat *s)
{
	const struct timespec times[2] = { s->st_atim, s->st_mtim };

	return fchown(to, s->st_uid, s->st_gid) < 0 || copy_xattrs(from, to) < 0 || fchmod(to, s->st_mode & 07777) < 0 ||
			       futimens(to, times) < 0 ?
		       -1 :
		       0;
}

static int copy_file(int from_dir, int to_dir, const char *name)
{
	struct stat s;
	int from = openat(from_dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	int to = from < 0 ? -1 : openat(to_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	int r = to < 0 || fstat(from, &s) < 0 || copy_data(from, to, s.st_size) < 0 || copy_meta(from, to, &s) < 0 ? -1 : 0;
	int error = errno;

	if (to >= 0)
		(void)close(to);
	if (from >= 0)
		(void)close(from);
	errno = error;
	return r;
}

static int copy_link(int from_dir, int to_dir, const char *name)
{
	char target[PATH_ROOM];
	ssize_t n = readlinkat(from_dir, name, target, sizeof(target) - 1);

	if (n < 0)
		return -1;
	target[n] = 0;
	return symlinkat(target, to_dir, name);
}

static int copy_directory(int from, int to, unsigned depth);

static int enter_directory(int from_dir, int to_dir, const char *name, unsigned depth)
{
	int from;
	int to;

	if (mkdirat(to_dir, name, 0700) < 0)
		return -1;
	from = sys_openat2(from_dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0,
			   RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS);
	to = from < 0 ? -1 : openat(to_dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (from < 0) {
		errno = -from;
		return -1;
	}
	if (to < 0) {
		(void)close(from);
		return -1;
	}
	links_enter(name);
	if (copy_directory(from, to, depth + 1) < 0)
		return -1; /* of the whole copy */
	links_leave(name);
	return 0;
}

/* A link, a pipe, a socket or a device: it has no descriptor to work by, and nobody else is there to exchange it. */
static int copy_special(int from_dir, int to_dir, const char *name, const struct stat *s)
{
	const struct timespec times[2] = { s->st_atim, s->st_mtim };
	bool is_link = S_ISLNK(s->st_mode);

	if (is_link ? copy_link(from_dir, to_dir, name) < 0 : mknodat(to_dir, name, s->st_mode, s->st_rdev) < 0)
		return -1;
	if (fchownat(to_dir, name, s->st_uid, s->st_gid, AT_SYMLINK_NOFOLLOW) < 0)
		return -1;
	if (!is_link && fchmodat(to_dir, name, s->st_mode & 07777, 0) < 0)
		return -1;
	return utimensat(to_dir, name, times, AT_SYMLINK_NOFOLLOW);
}

static int copy_entry(int from_dir, int to_dir, const char *name, unsigned depth)
{
	struct stat s;
	int linked;

	if (fstatat(from_dir, name, &s, AT_SYMLINK_NOFOLLOW) < 0)
		return -1;
	if (S_ISDIR(s.st_mode))
		return enter_directory(from_dir, to_dir, name, depth);
	if (!S_ISREG(s.st_mode))
		return copy_special(from_dir, to_dir, name, &s);
	linked = s.st_nlink > 1 ? links_take(&s, to_dir, name) : 0;
	return linked == 0 ? copy_file(from_dir, to_dir, name) : linked < 0 ? -1 : 0;
}

static int copy_entries(DIR *dir, int to, unsigned depth)
{
	for (;;) {
		const struct dirent *entry;

		errno = 0;
		entry = readdir(dir);
		if (!entry)
			return errno ? -1 : 0;
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (copy_entry(dirfd(dir), to, entry->d_name, depth) < 0)
			return -1;
	}
}

/* Closes both. */
static int copy_directory(int from, int to, unsigned depth)
{
	struct stat s;
	DIR *dir = depth > COPY_DEPTH_MAX ? NULL : fdopendir(from);
	int r = -1;
	int error = depth > COPY_DEPTH_MAX ? ELOOP : errno;

	if (dir && fstat(from, &s) == 0 && copy_entries(dir, to, depth) == 0)
		r = copy_meta(from, to, &s); /* last: its times change with every entry */
	if (dir)
		error = errno;
	(void)(dir ? closedir(dir) : close(from));
	(void)close(to);
	errno = error;
	return r;
}

int step_copy_in_root(struct performance *p, const struct step *step)
{
	int from = open_directory(p, step);
	int to;
	int r;

	if (from < 0 && p->performed->error == ENOENT && strcmp(p->performed->what, "openat2") == 0) {
		/* An image may declare what it does not have. */
		p->performed->code = 0;
		return 0;
	}
	if (from < 0)
		return -1;
	to = open(step->text[TARGET], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (to < 0 || links_begin(to) < 0) {
		(void)step_failed(p, "open", step->text[TARGET]);
		(void)close(from);
		return -1;
	}
	r = copy_directory(from, to, 0) < 0 ? step_failed(p, "copy", step->text[PATH]) : 0;
	links_end();
	return r;
}
