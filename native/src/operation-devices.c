/* The device nodes in a directory. It may be a user's: no link is followed, no mount entered, and what is found is bounded. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "operation.h"
#include "sys.h"

enum { DEVICE_DEPTH_MAX = 16 };

/* Where the walk is: `path` below the directory that it began in, which ends with '/' unless it is empty. */
struct place {
	int fd;
	size_t depth;
	char path[PATH_ROOM];
};

static int list_directory(struct performance *p, const struct place *place);

/* "type mode uid gid rdev path" and a NUL. */
static int put_device(struct performance *p, const struct stat *s, const char *path, const char *name)
{
	char *at = (char *)p->result.data + p->result.length;
	size_t room = READ_MAX - p->result.length;
	int length = snprintf(at, room, "%c %u %u %u %ju %s%s", S_ISBLK(s->st_mode) ? 'b' : 'c', s->st_mode & 07777, s->st_uid,
			      s->st_gid, (uintmax_t)s->st_rdev, path, name);

	if (length < 0 || (size_t)length >= room) {
		errno = EFBIG;
		return -1;
	}
	p->result.length += (size_t)length + 1;
	return 0;
}

/* What is mounted there, or was taken away meanwhile, is passed over. */
static int list_below(struct performance *p, const struct place *place, const char *name)
{
	struct place below = { .depth = place->depth + 1 };
	int r;

	if (below.depth > DEVICE_DEPTH_MAX ||
	    snprintf(below.path, sizeof(below.path), "%s%s/", place->path, name) >= (int)sizeof(below.path)) {
		errno = ELOOP;
		return -1;
	}
	below.fd = sys_openat2(place->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK, 0,
			       RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS);
	if (below.fd == -EXDEV || below.fd == -ENOENT || below.fd == -ENOTDIR || below.fd == -ELOOP)
		return 0;
	r = below.fd < 0 ? below.fd : list_directory(p, &below);
	if (below.fd < 0)
		errno = -r;
	return r < 0 ? -1 : 0;
}

/* A device may be mounted on a file: what an entry is, the look at it says and not the directory. */
static int list_entry(struct performance *p, const struct place *place, const struct dirent *entry)
{
	const char *name = entry->d_name;
	struct stat s;

	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || entry->d_type == DT_LNK)
		return 0;
	if (entry->d_type == DT_DIR)
		return list_below(p, place, name);
	if (fstatat(place->fd, name, &s, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) < 0)
		return errno == ENOENT ? 0 : -1;
	if (S_ISDIR(s.st_mode))
		return list_below(p, place, name);
	return S_ISCHR(s.st_mode) || S_ISBLK(s.st_mode) ? put_device(p, &s, place->path, name) : 0;
}

/* Takes the fd. */
static int list_directory(struct performance *p, const struct place *place)
{
	DIR *dir = fdopendir(place->fd);
	const struct dirent *entry;
	int r = 0;
	int error;

	if (!dir) {
		(void)close(place->fd);
		return -1;
	}
	do {
		errno = 0;
		entry = readdir(dir);
		if (entry)
			r = list_entry(p, place, entry);
		else if (errno)
			r = -1;
	} while (entry && r == 0);
	error = errno;
	(void)closedir(dir);
	errno = error;
	return r;
}

int step_devices(struct performance *p, const struct step *step)
{
	struct place place = { .fd = open(step->text[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK) };

	if (place.fd < 0)
		return step_failed(p, "open", step->text[0]);
	return list_directory(p, &place) < 0 ? step_failed(p, "readdir", step->text[0]) : 0;
}
