/* Making entries below one directory that is this process's root. Every function returns 0 or a negative errno. */
#ifndef NACELLE_UNPACK_TREE_H
#define NACELLE_UNPACK_TREE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

struct meta {
	mode_t mode;
	uid_t uid;
	gid_t gid;
	struct timespec mtime;
};

struct tree {
	int root;
	/* The directory part of the last path, open: most entries share it with the one before. */
	int parent;
	char parent_path[PATH_MAX];
	/* The FILE or DIR that DATA and XATTR belong to; -1 when there is none. */
	int entry;
	bool entry_is_file;
	bool entry_has_xattr;
	struct meta meta;
	uint64_t size;
	uint64_t end;
	/* Of everything made and not removed again. */
	uint64_t bytes;
	uint64_t inodes;
};

/* Takes the process's root directory. */
int tree_open(struct tree *tree);

int tree_dir(struct tree *tree, const char *path, const struct meta *meta);
int tree_file(struct tree *tree, const char *path, const struct meta *meta, uint64_t size);
int tree_data(struct tree *tree, uint64_t offset, const void *bytes, size_t length);
int tree_symlink(struct tree *tree, const char *path, const char *target, const struct meta *meta);
int tree_hardlink(struct tree *tree, const char *path, const char *target);
int tree_node(struct tree *tree, const char *path, const struct meta *meta, mode_t type, dev_t device);
int tree_whiteout(struct tree *tree, const char *path);
int tree_opaque(struct tree *tree, const char *path);
int tree_xattr(struct tree *tree, const char *name, const void *value, size_t length);
int tree_times(struct tree *tree, const char *path, const struct timespec *mtime);

/* Gives the open entry its mode and times and closes it. Nothing open: nothing to do. */
int tree_finish(struct tree *tree);

#endif
