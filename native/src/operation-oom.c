/* The oom_score_adj of every process in a cgroup. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "operation.h"
#include "sys.h"

/* A pass sees who was forked while the one before worked; who is forked after its parent was changed inherits. */
enum { PASSES_MAX = 16, BATCH = 128, PIDS_MAX = 65536 };

struct member {
	pid_t pid;
	int dir; /* of /proc: names the process that had the pid when it was opened, or nobody */
};

static char score[16]; /* what to write; nftw has no argument to pass on */
static size_t changes;

/* Returns how many, or -1. */
static ssize_t read_members(const char *cgroup, pid_t pids[PIDS_MAX])
{
	char path[PATH_MAX];
	size_t count = 0;
	long pid;
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/cgroup.procs", cgroup);
	file = fopen(path, "re");
	if (!file)
		return -1;
	while (count < PIDS_MAX && fscanf(file, "%ld", &pid) == 1)
		pids[count++] = (pid_t)pid;
	(void)fclose(file);
	return (ssize_t)count;
}

static bool contains(const pid_t *pids, size_t count, pid_t pid)
{
	for (size_t i = 0; i < count; i++)
		if (pids[i] == pid)
			return true;
	return false;
}

/* 0, or -1 with errno. A process that has ended needs no score. */
static int write_score(int dir)
{
	char now[16];
	int fd = openat(dir, "oom_score_adj", O_RDWR | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, now, sizeof(now) - 1);
	int r = 0;

	if (n > 0) {
		now[n - 1] = 0; /* the line feed */
		if (strcmp(now, score) != 0) {
			r = pwrite(fd, score, strlen(score), 0) < 0 ? -1 : 0;
			changes++;
		}
	} else {
		r = -1;
	}
	if (fd >= 0)
		(void)close(fd);
	return r < 0 && (errno == ESRCH || errno == ENOENT) ? 0 : r;
}

/*
 * A pid may have gone to a process elsewhere since it was read. It is opened first; if the cgroup then still lists it
 * and what was opened still lives, that is the cgroup's.
 */
static int score_batch(const char *cgroup, const pid_t *pids, size_t count)
{
	static pid_t now[PIDS_MAX];
	struct member members[BATCH];
	ssize_t listed;
	int r = 0;

	for (size_t i = 0; i < count; i++) {
		char path[32];

		(void)snprintf(path, sizeof(path), "/proc/%d", (int)pids[i]);
		members[i] = (struct member){ pids[i], open(path, O_PATH | O_DIRECTORY | O_CLOEXEC) };
	}
	listed = read_members(cgroup, now);
	for (size_t i = 0; i < count; i++) {
		if (members[i].dir < 0)
			continue;
		if (r == 0 && listed > 0 && contains(now, (size_t)listed, members[i].pid))
			r = write_score(members[i].dir);
		(void)close(members[i].dir);
	}
	return r;
}

static int score_cgroup(const char *path, const struct stat *stat_of, int type, struct FTW *at)
{
	static pid_t pids[PIDS_MAX];
	ssize_t count;

	(void)stat_of;
	(void)at;
	if (type != FTW_D)
		return 0;
	count = read_members(path, pids);
	if (count < 0)
		return errno == ENOENT || errno == ENODEV ? 0 : -1;
	for (ssize_t i = 0; i < count; i += BATCH)
		if (score_batch(path, pids + i, (size_t)(count - i < BATCH ? count - i : BATCH)) < 0)
			return -1;
	return 0;
}

int step_set_oom_score_adj(struct performance *p, const struct step *step)
{
	size_t length = step->data.length < sizeof(score) ? step->data.length : 0;
	char *end;
	long value;

	memcpy(score, step->data.data, length);
	score[length] = 0;
	value = strtol(score, &end, 10);
	if (end == score || *end || value < -1000 || value > 1000) {
		errno = EINVAL;
		return step_failed(p, "oom_score_adj", step->text[0]);
	}
	for (int pass = 0; pass < PASSES_MAX; pass++) {
		changes = 0;
		if (nftw(step->text[0], score_cgroup, 16, FTW_PHYS) != 0)
			return step_failed(p, "oom_score_adj", step->text[0]);
		if (changes == 0)
			return 0;
	}
	return 0; /* who changes it against us all the time is within his rights: it is his own score */
}
