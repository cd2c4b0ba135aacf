/* Where an entry of a layer goes: its directory, and what stood there before. The process is chrooted: no path leads out. */
#include "unpack-place.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "sys.h"

/* Deeper trees are made only through symbolic links; removing one costs a descriptor per level. */
#define MAX_REMOVE_DEPTH 1024

static const char opaque_name[] = "trusted.overlay.opaque";

static void close_fd(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
}

static bool is_whiteout(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == makedev(0, 0);
}

bool place_valid(const char *path, size_t length)
{
	if (length == 0 || length >= PATH_MAX || memchr(path, 0, length) != NULL)
		return false;
	for (size_t start = 0, i = 0; i <= length; i++) {
		if (i < length && path[i] != '/')
			continue;
		size_t size = i - start;
		const char *name = path + start;
		if (size == 0 || size > NAME_MAX)
			return false;
		if (name[0] == '.' && (size == 1 || (size == 2 && name[1] == '.')))
			return false;
		start = i + 1;
	}
	return true;
}

int place_open(const struct tree *tree, const char *path, int flags, uint64_t resolve)
{
	return sys_openat2(tree->root, *path ? path : ".", flags | O_DIRECTORY | O_CLOEXEC, 0,
			   RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV | resolve);
}

int place_opaque(int parent, const char *name)
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int err = result_of(fsetxattr(fd, opaque_name, "y", 1, 0));
	(void)close(fd);
	return err;
}

static void discount(struct tree *tree, const struct stat *st)
{
	if (!S_ISDIR(st->st_mode) && st->st_nlink > 1)
		return;
	tree->inodes -= tree->inodes > 0 ? 1 : 0;
	tree->bytes -= tree->bytes < allocated(st) ? tree->bytes : allocated(st);
}

static int remove_tree(struct tree *tree, int parent, const char *name, int depth);

static int remove_content(struct tree *tree, DIR *dir, int depth)
{
	struct dirent *child;

	while (errno = 0, (child = readdir(dir)) != NULL) {
		if (strcmp(child->d_name, ".") == 0 || strcmp(child->d_name, "..") == 0)
			continue;
		int err = remove_tree(tree, dirfd(dir), child->d_name, depth);
		if (err < 0)
			return err;
	}
	return -errno;
}

static int remove_tree(struct tree *tree, int parent, const char *name, int depth)
{
	struct stat st;

	if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	discount(tree, &st);
	if (!S_ISDIR(st.st_mode))
		return result_of(unlinkat(parent, name, 0));
	if (depth >= MAX_REMOVE_DEPTH)
		return -ELOOP;
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	DIR *dir = fdopendir(fd);
	if (dir == NULL) {
		(void)close(fd);
		return -ENOMEM;
	}
	int err = remove_content(tree, dir, depth + 1);
	(void)closedir(dir);
	return err < 0 ? err : result_of(unlinkat(parent, name, AT_REMOVEDIR));
}

int place_clear(struct tree *tree, int parent, const char *name)
{
	/* `parent` may be the cached descriptor: it stays open, but is not found by its path again. */
	tree->parent_path[0] = 0;
	return remove_tree(tree, parent, name, 0);
}

int place_dir(struct tree *tree, int parent, const char *name, mode_t mode)
{
	struct stat st;
	bool opaque = false;

	if (mkdirat(parent, name, mode) < 0) {
		if (errno != EEXIST)
			return -errno;
		if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return -errno;
		if (S_ISDIR(st.st_mode))
			return 0;
		opaque = is_whiteout(&st);
		int err = place_clear(tree, parent, name);
		if (err < 0)
			return err;
		if (mkdirat(parent, name, mode) < 0)
			return -errno;
	}
	if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	tree->inodes++;
	tree->bytes += allocated(&st);
	return opaque ? place_opaque(parent, name) : 0;
}

/* A parent that is missing is made; one that is a symbolic link or a directory is left as it is. */
static int make_parent(struct tree *tree, int parent, const char *name)
{
	struct stat st;

	if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && !is_whiteout(&st))
		return 0;
	return place_dir(tree, parent, name, 0755);
}

/* Opens the directory at `path`, making what is missing. `path` is changed while it works. */
static int open_parents(struct tree *tree, char *path)
{
	int fd = place_open(tree, path, O_PATH, 0);

	if (fd != -ENOENT && fd != -ENOTDIR)
		return fd;
	int parent = place_open(tree, "", O_PATH, 0);
	char *start = path;
	while (parent >= 0) {
		char *slash = strchr(start, '/');
		if (slash != NULL)
			*slash = 0;
		int err = make_parent(tree, parent, start);
		close_fd(&parent);
		parent = err < 0 ? err : place_open(tree, path, O_PATH, 0);
		if (slash == NULL)
			break;
		*slash = '/';
		start = slash + 1;
	}
	return parent;
}

int place_enter(struct tree *tree, const char *path, const char **name)
{
	const char *slash = strrchr(path, '/');
	size_t length = slash == NULL ? 0 : (size_t)(slash - path);
	char copy[PATH_MAX];

	*name = slash == NULL ? path : slash + 1;
	if (length == 0)
		return tree->root;
	if (tree->parent >= 0 && strncmp(tree->parent_path, path, length) == 0 && tree->parent_path[length] == 0)
		return tree->parent;
	memcpy(copy, path, length);
	copy[length] = 0;
	int fd = open_parents(tree, copy);
	if (fd < 0)
		return fd;
	close_fd(&tree->parent);
	tree->parent = fd;
	memcpy(tree->parent_path, copy, length + 1);
	return fd;
}
