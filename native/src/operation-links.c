/* Files of several names keep them in a copy: else a small image could fill a disk, each name being a file of its own. */
#include <errno.h>
#include <fcntl.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "operation.h"

/* Such files that a copy may have. */
enum { LINKED_MAX = 65536 };

struct linked {
	dev_t device; /* of the source */
	ino_t inode;
	char path[]; /* of the copy, below its root */
};

static struct {
	int root;
	void *files;
	size_t count;
	size_t length; /* of `path`; what does not fit is not in it */
	char path[PATH_ROOM];
} links;

int links_begin(int root)
{
	links.root = fcntl(root, F_DUPFD_CLOEXEC, 3);
	links.files = NULL; /* of a copy before this one: it is freed with the process */
	links.count = links.length = 0;
	return links.root < 0 ? -1 : 0;
}

void links_end(void)
{
	(void)close(links.root);
}

void links_enter(const char *name)
{
	size_t length = strlen(name);

	if (links.length + length + 1 < sizeof(links.path)) {
		memcpy(links.path + links.length, name, length);
		links.path[links.length + length] = '/';
	}
	links.length += length + 1;
}

void links_leave(const char *name)
{
	links.length -= strlen(name) + 1;
}

static int compare(const void *a, const void *b)
{
	const struct linked *x = a;
	const struct linked *y = b;

	if (x->device != y->device)
		return x->device < y->device ? -1 : 1;
	return x->inode == y->inode ? 0 : x->inode < y->inode ? -1 : 1;
}

static int remember(const struct stat *s, const char *name)
{
	size_t length = strlen(name) + 1;
	struct linked *file = malloc(sizeof(*file) + links.length + length);

	if (!file)
		return -1;
	*file = (struct linked){ .device = s->st_dev, .inode = s->st_ino };
	memcpy(file->path, links.path, links.length);
	memcpy(file->path + links.length, name, length);
	links.count++;
	return tsearch(file, &links.files, compare) ? 0 : -1;
}

int links_take(const struct stat *s, int dir, const char *name)
{
	struct linked key = { .device = s->st_dev, .inode = s->st_ino };
	struct linked *const *found = tfind(&key, &links.files, compare);

	if (found)
		return linkat(links.root, (*found)->path, dir, name, 0) < 0 ? -1 : 1;
	if (links.count < LINKED_MAX && links.length + strlen(name) < sizeof(links.path))
		return remember(s, name);
	errno = links.count < LINKED_MAX ? ENAMETOOLONG : EMLINK;
	return -1;
}
