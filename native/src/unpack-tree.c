/* Making the entries of a layer. The process is chrooted: no path here can name anything outside. */
#include "unpack-tree.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "unpack-place.h"

int tree_open(struct tree *tree)
{
	memset(tree, 0, sizeof(*tree));
	tree->parent = -1;
	tree->entry = -1;
	tree->root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return tree->root < 0 ? -errno : 0;
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
		parent = place_enter(tree, path, &name);
		if (parent < 0)
			return parent;
		int err = place_dir(tree, parent, name, 0700);
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
	int parent = place_enter(tree, path, &name);

	if (parent < 0)
		return parent;
	if (size > INT64_MAX)
		return -EFBIG;
	int fd = openat(parent, name, flags | O_CLOEXEC, 0600);
	if (fd < 0 && errno == EEXIST) {
		int err = place_clear(tree, parent, name);
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
	int parent = place_enter(tree, path, &name);

	if (parent < 0)
		return parent;
	int err = result_of(symlinkat(target, parent, name));
	if (err == -EEXIST) {
		err = place_clear(tree, parent, name);
		if (err == 0)
			err = result_of(symlinkat(target, parent, name));
	}
	return err < 0 ? err : dress(tree, parent, name, meta, false);
}

int tree_node(struct tree *tree, const char *path, const struct meta *meta, mode_t type, dev_t device)
{
	const char *name;
	int parent = place_enter(tree, path, &name);

	if (parent < 0)
		return parent;
	int err = result_of(mknodat(parent, name, type | 0600, device));
	if (err == -EEXIST) {
		err = place_clear(tree, parent, name);
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
	int err = place_clear(tree, parent, name);
	return err < 0 ? err : result_of(linkat(from, from_name, parent, name, 0));
}

int tree_hardlink(struct tree *tree, const char *path, const char *target)
{
	char directory[PATH_MAX] = "";
	const char *name;
	int parent = place_enter(tree, path, &name);

	if (parent < 0)
		return parent;
	const char *slash = strrchr(target, '/');
	if (slash != NULL)
		memcpy(directory, target, (size_t)(slash - target));
	int from = place_open(tree, directory, O_PATH, 0);
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
	int parent = place_enter(tree, path, &name);

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
	return S_ISDIR(st.st_mode) ? place_opaque(parent, name) : 0;
}

int tree_opaque(struct tree *tree, const char *path)
{
	const char *name;

	if (!*path)
		return place_opaque(tree->root, ".");
	int parent = place_enter(tree, path, &name);
	if (parent < 0)
		return parent;
	int err = place_dir(tree, parent, name, 0755);
	return err < 0 ? err : place_opaque(parent, name);
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
	int fd = place_open(tree, path, O_RDONLY, RESOLVE_NO_SYMLINKS);

	if (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP)
		return 0;
	if (fd < 0)
		return fd;
	int err = set_times(fd, mtime);
	(void)close(fd);
	return err;
}
