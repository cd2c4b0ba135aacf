/* Making the entries of a layer. The process is chrooted: no path here can name anything outside. */
#include "unpack-tree.h"

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

static int result_of(int status)
{
	return status < 0 ? -errno : 0;
}

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

static uint64_t allocated(const struct stat *st)
{
	return (uint64_t)st->st_blocks * 512;
}

int tree_open(struct tree *tree)
{
	memset(tree, 0, sizeof(*tree));
	tree->parent = -1;
	tree->entry = -1;
	tree->root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return tree->root < 0 ? -errno : 0;
}

bool tree_path_valid(const char *path, size_t length)
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

/* Follows symbolic links inside the layer, but neither out of it nor into a mount. */
static int open_in_root(const struct tree *tree, const char *path, int flags, uint64_t resolve)
{
	return sys_openat2(tree->root, *path ? path : ".", flags | O_DIRECTORY | O_CLOEXEC, 0,
			   RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV | resolve);
}

static int set_opaque(int parent, const char *name)
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

/* Removes what a new entry replaces. */
static int clear_slot(struct tree *tree, int parent, const char *name)
{
	/* `parent` may be the cached descriptor: it stays open, but is not found by its path again. */
	tree->parent_path[0] = 0;
	return remove_tree(tree, parent, name, 0);
}

static int make_dir(struct tree *tree, int parent, const char *name, mode_t mode)
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
		int err = clear_slot(tree, parent, name);
		if (err < 0)
			return err;
		if (mkdirat(parent, name, mode) < 0)
			return -errno;
	}
	if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	tree->inodes++;
	tree->bytes += allocated(&st);
	return opaque ? set_opaque(parent, name) : 0;
}

/* A parent that is missing is made; one that is a symbolic link or a directory is left as it is. */
static int make_parent(struct tree *tree, int parent, const char *name)
{
	struct stat st;

	if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && !is_whiteout(&st))
		return 0;
	return make_dir(tree, parent, name, 0755);
}

/* Opens the directory at `path`, making what is missing. `path` is changed while it works. */
static int open_parents(struct tree *tree, char *path)
{
	int fd = open_in_root(tree, path, O_PATH, 0);

	if (fd != -ENOENT && fd != -ENOTDIR)
		return fd;
	int parent = open_in_root(tree, "", O_PATH, 0);
	char *start = path;
	while (parent >= 0) {
		char *slash = strchr(start, '/');
		if (slash != NULL)
			*slash = 0;
		int err = make_parent(tree, parent, start);
		close_fd(&parent);
		parent = err < 0 ? err : open_in_root(tree, path, O_PATH, 0);
		if (slash == NULL)
			break;
		*slash = '/';
		start = slash + 1;
	}
	return parent;
}

/* The parent of `path`, owned by the tree, and in `name` its last component. */
static int enter_parent(struct tree *tree, const char *path, const char **name)
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

static int set_times(int fd, const struct timespec *mtime)
{
	const struct timespec times[2] = { *mtime, *mtime };
	return result_of(futimens(fd, times));
}

int tree_finish(struct tree *tree)
{
	struct stat st;
	int fd = tree->entry;

	if (fd < 0)
		return 0;
	if (tree->entry_is_file && tree->end < tree->size && ftruncate(fd, (off_t)tree->size) < 0)
		return -errno;
	if (fchmod(fd, tree->meta.mode) < 0)
		return -errno;
	int err = set_times(fd, &tree->meta.mtime);
	if (err < 0)
		return err;
	if (tree->entry_is_file) {
		if (fstat(fd, &st) < 0)
			return -errno;
		tree->bytes += allocated(&st);
	}
	tree->entry = -1;
	return result_of(close(fd));
}

static int begin_entry(struct tree *tree, int fd, const struct meta *meta, bool is_file)
{
	tree->entry = fd;
	tree->entry_is_file = is_file;
	tree->entry_has_xattr = false;
	tree->meta = *meta;
	tree->size = 0;
	tree->end = 0;
	return result_of(fchown(fd, meta->uid, meta->gid));
}

int tree_dir(struct tree *tree, const char *path, const struct meta *meta)
{
	const char *name = ".";
	int parent = tree->root;

	if (*path) {
		parent = enter_parent(tree, path, &name);
		if (parent < 0)
			return parent;
		int err = make_dir(tree, parent, name, 0700);
		if (err < 0)
			return err;
	}
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : begin_entry(tree, fd, meta, false);
}

int tree_file(struct tree *tree, const char *path, const struct meta *meta, uint64_t size)
{
	const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
	const char *name;
	int parent = enter_parent(tree, path, &name);

	if (parent < 0)
		return parent;
	if (size > INT64_MAX)
		return -EFBIG;
	int fd = openat(parent, name, flags | O_CLOEXEC, 0600);
	if (fd < 0 && errno == EEXIST) {
		int err = clear_slot(tree, parent, name);
		if (err < 0)
			return err;
		fd = openat(parent, name, flags | O_CLOEXEC, 0600);
	}
	if (fd < 0)
		return -errno;
	tree->inodes++;
	int err = begin_entry(tree, fd, meta, true);
	tree->size = size;
	return err;
}

int tree_data(struct tree *tree, uint64_t offset, const void *bytes, size_t length)
{
	const char *from = bytes;

	if (tree->entry < 0 || !tree->entry_is_file || tree->entry_has_xattr)
		return -EPROTO;
	if (offset > tree->size || length > tree->size - offset)
		return -EPROTO;
	while (length > 0) {
		ssize_t count = pwrite(tree->entry, from, length, (off_t)offset);
		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0)
			return -errno;
		from += count;
		length -= (size_t)count;
		offset += (uint64_t)count;
	}
	if (offset > tree->end)
		tree->end = offset;
	return 0;
}

/* Owner, mode and times of what has no descriptor. Nobody else writes here, so `name` is what was just made. */
static int dress(struct tree *tree, int parent, const char *name, const struct meta *meta, bool has_mode)
{
	const struct timespec times[2] = { meta->mtime, meta->mtime };
	struct stat st;

	tree->inodes++;
	if (fchownat(parent, name, meta->uid, meta->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (has_mode && fchmodat(parent, name, meta->mode, 0) < 0)
		return -errno;
	if (utimensat(parent, name, times, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	tree->bytes += allocated(&st);
	return 0;
}

int tree_symlink(struct tree *tree, const char *path, const char *target, const struct meta *meta)
{
	const char *name;
	int parent = enter_parent(tree, path, &name);

	if (parent < 0)
		return parent;
	int err = result_of(symlinkat(target, parent, name));
	if (err == -EEXIST) {
		err = clear_slot(tree, parent, name);
		if (err == 0)
			err = result_of(symlinkat(target, parent, name));
	}
	return err < 0 ? err : dress(tree, parent, name, meta, false);
}

int tree_node(struct tree *tree, const char *path, const struct meta *meta, mode_t type, dev_t device)
{
	const char *name;
	int parent = enter_parent(tree, path, &name);

	if (parent < 0)
		return parent;
	int err = result_of(mknodat(parent, name, type | 0600, device));
	if (err == -EEXIST) {
		err = clear_slot(tree, parent, name);
		if (err == 0)
			err = result_of(mknodat(parent, name, type | 0600, device));
	}
	return err < 0 ? err : dress(tree, parent, name, meta, true);
}

static int replace_by_link(struct tree *tree, int from, const char *from_name, int parent, const char *name)
{
	struct stat a, b;

	if (fstatat(from, from_name, &a, AT_SYMLINK_NOFOLLOW) < 0 || fstatat(parent, name, &b, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (a.st_dev == b.st_dev && a.st_ino == b.st_ino)
		return 0;
	int err = clear_slot(tree, parent, name);
	return err < 0 ? err : result_of(linkat(from, from_name, parent, name, 0));
}

int tree_hardlink(struct tree *tree, const char *path, const char *target)
{
	char directory[PATH_MAX] = "";
	const char *name;
	int parent = enter_parent(tree, path, &name);

	if (parent < 0)
		return parent;
	const char *slash = strrchr(target, '/');
	if (slash != NULL)
		memcpy(directory, target, (size_t)(slash - target));
	int from = open_in_root(tree, directory, O_PATH, 0);
	if (from < 0)
		return from;
	const char *from_name = slash == NULL ? target : slash + 1;
	int err = result_of(linkat(from, from_name, parent, name, 0));
	if (err == -EEXIST)
		err = replace_by_link(tree, from, from_name, parent, name);
	(void)close(from);
	return err;
}

int tree_whiteout(struct tree *tree, const char *path)
{
	struct stat st;
	const char *name;
	int parent = enter_parent(tree, path, &name);

	if (parent < 0)
		return parent;
	if (mknodat(parent, name, S_IFCHR, makedev(0, 0)) == 0) {
		tree->inodes++;
		return 0;
	}
	if (errno != EEXIST)
		return -errno;
	if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return S_ISDIR(st.st_mode) ? set_opaque(parent, name) : 0;
}

int tree_opaque(struct tree *tree, const char *path)
{
	const char *name;

	if (!*path)
		return set_opaque(tree->root, ".");
	int parent = enter_parent(tree, path, &name);
	if (parent < 0)
		return parent;
	int err = make_dir(tree, parent, name, 0755);
	return err < 0 ? err : set_opaque(parent, name);
}

int tree_xattr(struct tree *tree, const char *name, const void *value, size_t length)
{
	bool capability = strcmp(name, "security.capability") == 0;
	bool user = strncmp(name, "user.", 5) == 0 && strncmp(name, "user.overlay.", 13) != 0;

	if (tree->entry < 0)
		return -EPROTO;
	if (!user && !(capability && tree->entry_is_file))
		return -EPERM;
	tree->entry_has_xattr = true;
	int err = result_of(fsetxattr(tree->entry, name, value, length, 0));
	return user && err == -EOPNOTSUPP ? 0 : err;
}

int tree_times(struct tree *tree, const char *path, const struct timespec *mtime)
{
	int fd = open_in_root(tree, path, O_RDONLY, RESOLVE_NO_SYMLINKS);

	if (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP)
		return 0;
	if (fd < 0)
		return fd;
	int err = set_times(fd, mtime);
	(void)close(fd);
	return err;
}
