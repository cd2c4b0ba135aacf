/* Where the launcher, the monitors and the operations live. */
#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launcher.h"
#include "sys.h"

static int make(const char *mount, const char *name, const char *leaf, char path[PATH_ROOM])
{
	size_t start = strlen(mount) + 1;
	int n = snprintf(path, PATH_ROOM - 32, "%s/%s/%s", mount, name, leaf);

	if (n < 0 || n >= PATH_ROOM - 32)
		return -ENAMETOOLONG;
	for (size_t i = start; path[i]; i++) {
		if (path[i] != '/')
			continue;
		path[i] = 0;
		(void)mkdir(path, 0755); /* what is wrong with it shows at the leaf */
		path[i] = '/';
	}
	return mkdir(path, 0755) < 0 && errno != EEXIST ? -errno : 0;
}

static void join_monitors(const char *mount, const char *name)
{
	char path[PATH_ROOM];
	int r = make(mount, name, "monitors", path);

	if (r == 0) {
		memcpy(path + strlen(path), "/cgroup.procs", sizeof("/cgroup.procs"));
		r = sys_write_existing(path, "0", 1);
	}
	if (r < 0)
		launcher_log("cgroup left out:", path, -r);
}

static void close_operations(struct launcher *launcher)
{
	if (launcher->cgroup >= 0)
		(void)close(launcher->cgroup);
	if (launcher->cgroup_kill >= 0)
		(void)close(launcher->cgroup_kill);
	launcher->cgroup = -1;
	launcher->cgroup_kill = -1;
}

static void open_operations(struct launcher *launcher)
{
	launcher->cgroup = open(launcher->cgroup_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (launcher->cgroup >= 0)
		launcher->cgroup_kill = openat(launcher->cgroup, "cgroup.kill", O_WRONLY | O_CLOEXEC);
	if (launcher->cgroup < 0 || launcher->cgroup_kill < 0)
		launcher_log("cgroup left out:", launcher->cgroup_path, errno);
}

static void make_operations(struct launcher *launcher, const char *mount, const char *name)
{
	int r = make(mount, name, "ops", launcher->cgroup_path);

	if (r == 0)
		open_operations(launcher);
	else
		launcher_log("cgroup left out:", launcher->cgroup_path, -r);
}

/* Whether a child that is born there lives. */
static bool is_habitable(const struct launcher *launcher)
{
	siginfo_t info = { .si_status = -1 };
	int pidfd;
	pid_t pid = sys_fork(launcher->cgroup, &pidfd);

	if (pid == 0)
		_exit(0);
	if (pid < 0)
		return false;
	(void)waitid(P_PID, (id_t)pid, &info, WEXITED);
	(void)close(pidfd);
	return info.si_code == CLD_EXITED && info.si_status == 0;
}

/*
 * Linux (seen in 6.18) compares the count of kills of the new cgroup with that of the parent's, so that whatever is
 * born in a cgroup that was ever killed dies at once. A cgroup made anew was never killed.
 */
void cgroups_renew(struct launcher *launcher)
{
	if (launcher->cgroup < 0 || is_habitable(launcher))
		return;
	close_operations(launcher);
	if (rmdir(launcher->cgroup_path) == 0 && mkdir(launcher->cgroup_path, 0755) == 0)
		open_operations(launcher);
	if (launcher->cgroup >= 0 && is_habitable(launcher))
		return;
	launcher_log("cgroup left out:", launcher->cgroup_path, EBUSY);
	close_operations(launcher);
}

void cgroups_open(struct launcher *launcher, const char *name)
{
	FILE *mounts;
	struct mntent entry;
	char line[8192];

	launcher->cgroup = -1;
	launcher->cgroup_kill = -1;
	if (name[0] == 0)
		return;
	mounts = setmntent("/proc/self/mounts", "re");
	while (mounts && getmntent_r(mounts, &entry, line, sizeof(line))) {
		bool second = strcmp(entry.mnt_type, "cgroup2") == 0;
		bool first = strcmp(entry.mnt_type, "cgroup") == 0;

		if (second && launcher->cgroup < 0)
			make_operations(launcher, entry.mnt_dir, name);
		if (second || (first && (hasmntopt(&entry, "memory") || hasmntopt(&entry, "pids"))))
			join_monitors(entry.mnt_dir, name);
	}
	if (mounts)
		(void)endmntent(mounts);
	if (launcher->cgroup < 0)
		launcher_log("cgroup left out:", "no cgroup2", ENOENT);
}
