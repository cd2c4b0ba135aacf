/* Mounts whose files belong to a user namespace's ids. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "operation.h"

enum { LAYERS_MAX = 500 };

/* A detached mount of `path`, below `dir`, that shows ids as the user namespace has them; -1 after step_failed. */
static int idmapped(struct performance *p, int dir, const char *path, int user)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (unsigned)user };
	int tree = open_tree(dir, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	if (tree < 0)
		return step_failed(p, "open_tree", path);
	if (mount_setattr(tree, "", AT_EMPTY_PATH, &attr, sizeof(attr)) == 0)
		return tree;
	(void)step_failed(p, "mount_setattr", path);
	(void)close(tree);
	return -1;
}

int step_try_idmap(struct performance *p, const struct step *step)
{
	int user = open(step->text[0], O_RDONLY | O_CLOEXEC);
	int tree = user < 0 ? step_failed(p, "open", step->text[0]) : idmapped(p, AT_FDCWD, step->text[1], user);

	if (user >= 0)
		(void)close(user);
	return tree < 0 ? -1 : close(tree);
}

/* A mount namespace that ends with us, with an empty place on `target`, which becomes the working directory. */
static int enter_scratch(struct performance *p, const char *target)
{
	if (unshare(CLONE_NEWNS) < 0)
		return step_failed(p, "unshare", "");
	if (mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL) < 0)
		return step_failed(p, "mount", "/");
	if (mount("scratch", target, "tmpfs", MS_NOSUID | MS_NODEV, "mode=700") < 0)
		return step_failed(p, "mount", target);
	return chdir(target) < 0 ? step_failed(p, "chdir", target) : 0;
}

/* Attaches the layers as 0, 1, ... and mounts an overlay of them on "m". */
static int mount_layers(struct performance *p, const struct step *step, const int *layers)
{
	size_t room = step->count * 5 + strlen(step->text[3]) + 16;
	char *data = malloc(room);
	size_t length = 0;

	if (!data)
		return step_failed(p, "malloc", "");
	for (size_t i = 0; i < step->count; i++) {
		char name[24];

		(void)snprintf(name, sizeof(name), "%zu", i);
		length += (size_t)snprintf(data + length, room - length, "%s%s", i == 0 ? "lowerdir=" : ":", name);
		if (mkdir(name, 0700) < 0 || move_mount(layers[i], "", AT_FDCWD, name, MOVE_MOUNT_F_EMPTY_PATH) < 0)
			return step_failed(p, "move_mount", step->list[i]);
	}
	(void)snprintf(data + length, room - length, ",%s", step->text[3]);
	if (mkdir("m", 0700) < 0 || mount("overlay", "m", "overlay", 0, data) < 0)
		return step_failed(p, "mount", step->text[1]);
	free(data);
	return 0;
}

static int leave_scratch(struct performance *p, const char *target, int home)
{
	int tree = open_tree(AT_FDCWD, "m", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	int r = 0;

	if (tree < 0)
		return step_failed(p, "open_tree", target);
	if (setns(home, CLONE_NEWNS) < 0)
		r = step_failed(p, "setns", "/proc/self/ns/mnt");
	else if (move_mount(tree, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		r = step_failed(p, "move_mount", target);
	(void)close(tree);
	return r;
}

/*
 * The id-mapped layers are attached in a mount namespace that nobody else sees, because an overlay takes only what is
 * attached (before Linux 6.15), and keeps its own copies. So at whatever point this is killed, none of them stays mounted.
 */
int step_mount_overlay(struct performance *p, const struct step *step)
{
	enum { USER, TARGET, CHDIR };
	int user = open(step->text[USER], O_RDONLY | O_CLOEXEC);
	int home = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	int dir = open(step->text[CHDIR][0] ? step->text[CHDIR] : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int layers[LAYERS_MAX];
	int r = 0;
	size_t count = 0;

	if (user < 0 || home < 0 || dir < 0)
		return step_failed(p, "open", dir < 0 ? step->text[CHDIR] : step->text[USER]);
	if (step->count == 0 || step->count > LAYERS_MAX) {
		errno = E2BIG;
		return step_failed(p, "layers", step->text[TARGET]);
	}
	for (; r == 0 && count < step->count; count += r == 0) {
		layers[count] = idmapped(p, dir, step->list[count], user);
		r = layers[count] < 0 ? -1 : 0;
	}
	if (r == 0 && (enter_scratch(p, step->text[TARGET]) < 0 || mount_layers(p, step, layers) < 0 ||
		       leave_scratch(p, step->text[TARGET], home) < 0))
		r = -1;
	while (count > 0)
		(void)close(layers[--count]);
	(void)close(user);
	(void)close(home);
	(void)close(dir);
	return r < 0 || chdir("/") < 0 ? -1 : 0;
}
