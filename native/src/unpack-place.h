/* Where an entry of a layer goes. What returns int returns a descriptor, 0, or a negative errno. */
#ifndef NACELLE_UNPACK_PLACE_H
#define NACELLE_UNPACK_PLACE_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "unpack-tree.h"

static inline int result_of(int status)
{
	return status < 0 ? -errno : 0;
}

static inline uint64_t allocated(const struct stat *st)
{
	return (uint64_t)st->st_blocks * 512;
}

/* True for a path as native/UNPACK.md defines it. */
bool place_valid(const char *path, size_t length);

/* A directory. Follows symbolic links inside the layer, but neither out of it nor into a mount. */
int place_open(const struct tree *tree, const char *path, int flags, uint64_t resolve);

/* The parent of `path`, made if it is missing and owned by the tree, and in `name` its last component. */
int place_enter(struct tree *tree, const char *path, const char **name);

/* Removes what a new entry replaces, and discounts it. */
int place_clear(struct tree *tree, int parent, const char *name);

/* A directory that is there stays; anything else gives way, and a whiteout leaves its meaning: opaque. */
int place_dir(struct tree *tree, int parent, const char *name, mode_t mode);

/* Nothing of lower layers is to be seen in this directory. */
int place_opaque(int parent, const char *name);

#endif
