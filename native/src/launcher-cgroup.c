/* Where the launcher, the monitors and the operations live. */
#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
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
		(void)strcat(path, "/cgroup.procs");
		r = sys_write_existing(path, "0", 1);
	}
	if (r < 0)
		launcher_log("cgroup left out:", path, -r);
}

static void open_operations(struct launcher *launcher, const char *mount, const char *name)
{
	char path[PATH_ROOM];
	int r = make(mount, name, "ops", path);

	if (r == 0)
		launcher->cgroup = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r == 0 && launcher->cgroup >= 0)
		launcher->cgroup_kill = openat(launcher->cgroup, "cgroup.kill", O_WRONLY | O_CLOEXEC);
	if (r < 0 || launcher->cgroup < 0 || launcher->cgroup_kill < 0)
		launcher_log("cgroup left out:", path, r < 0 ? -r : errno);
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
			open_operations(launcher, entry.mnt_dir, name);
		if (second || (first && (hasmntopt(&entry, "memory") || hasmntopt(&entry, "pids"))))
			join_monitors(entry.mnt_dir, name);
	}
	if (mounts)
		(void)endmntent(mounts);
	if (launcher->cgroup < 0)
		launcher_log("cgroup left out:", "no cgroup2", ENOENT);
}
