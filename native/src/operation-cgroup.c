/* Killing and removing cgroups, in either version. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "operation.h"
#include "sys.h"

enum { DEPTH_MAX = 64, REMOVE_TRIES = 20 };

/* What is done to each directory, children first. -1 with errno ends the walk. */
typedef int (*visit)(const char *path, void *data);

static int walk(const char *path, int depth, visit visit_one, void *data)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	int r = 0;

	if (!dir)
		return errno == ENOENT || errno == ENODEV ? 0 : -1;
	while (r == 0 && (entry = readdir(dir))) {
		char child[PATH_ROOM];

		if (entry->d_type != DT_DIR || entry->d_name[0] == '.' || depth == DEPTH_MAX)
			continue;
		if (snprintf(child, sizeof(child), "%s/%s", path, entry->d_name) < (int)sizeof(child))
			r = walk(child, depth + 1, visit_one, data);
	}
	(void)closedir(dir);
	return r == 0 ? visit_one(path, data) : r;
}

static void rest(long ms)
{
	const struct timespec moment = { .tv_nsec = ms * 1000000 };

	(void)nanosleep(&moment, NULL);
}

static int put(const char *path, const char *file, const char *value)
{
	char name[PATH_ROOM + 32];

	(void)snprintf(name, sizeof(name), "%s/%s", path, file);
	return sys_write_existing(name, value, strlen(value));
}

static int kill_members(const char *path, void *data)
{
	char name[PATH_ROOM + 32];
	bool *any = data;
	FILE *file;
	int pid;

	(void)snprintf(name, sizeof(name), "%s/cgroup.procs", path);
	file = fopen(name, "re");
	while (file && fscanf(file, "%d", &pid) == 1) {
		*any = true;
		if (pid > 1) /* 0: of a PID namespace that we do not see */
			(void)kill(pid, SIGKILL);
	}
	if (file)
		(void)fclose(file);
	return 0;
}

static void freeze(const char *path)
{
	char name[PATH_ROOM + 32];
	char state[32];

	(void)snprintf(name, sizeof(name), "%s/freezer.state", path);
	if (put(path, "freezer.state", "FROZEN") < 0)
		return;
	for (int i = 0; i < 10; i++) {
		if (sys_read_file(name, state, sizeof(state)) < 0 || strncmp(state, "FROZEN", 6) == 0)
			return;
		rest(1);
	}
}

/*
 * v2 kills by itself. In v1 new members may appear while we kill, unless the freezer holds them still; what was paused
 * by somebody is thawed too, or it could not die. Ends when all are empty; the deadline is the launcher's.
 */
int step_kill_cgroup(struct performance *p, const struct step *step)
{
	for (long pause = 1;; pause = pause < 32 ? pause * 2 : pause) {
		bool any = false;

		for (size_t i = 0; i < step->count; i++)
			freeze(step->list[i]);
		for (size_t i = 0; i < step->count; i++) {
			(void)put(step->list[i], "cgroup.kill", "1");
			if (walk(step->list[i], 0, kill_members, &any) < 0)
				return step_failed(p, "opendir", step->list[i]);
		}
		for (size_t i = 0; i < step->count; i++) {
			(void)put(step->list[i], "freezer.state", "THAWED");
			(void)put(step->list[i], "cgroup.freeze", "0");
		}
		if (!any)
			return 0;
		rest(pause);
	}
}

static int remove_one(const char *path, void *data)
{
	(void)data;
	/* A member that has just died may hold it for a moment. */
	for (int i = 0; i < REMOVE_TRIES; i++) {
		if (rmdir(path) == 0 || errno == ENOENT)
			return 0;
		if (errno != EBUSY)
			return -1;
		rest(5);
	}
	return -1;
}

int step_remove_cgroup(struct performance *p, const struct step *step)
{
	for (size_t i = 0; i < step->count; i++)
		if (walk(step->list[i], 0, remove_one, NULL) < 0)
			return step_failed(p, "rmdir", step->list[i]);
	return 0;
}
