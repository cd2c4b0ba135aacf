/* Where the launcher, the monitors and the operations live. */
#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "launcher.h"
#include "sys.h"

static const char named[] = "name=systemd";

/* Where the hierarchy is mounted that a service manager keeps its units in: the unified one, or the one with its name. */
static bool managed_mount(bool unified, char path[PATH_ROOM])
{
	FILE *mounts = setmntent("/proc/self/mounts", "re");
	struct mntent entry;
	char line[8192];
	bool found = false;

	while (!found && mounts && getmntent_r(mounts, &entry, line, sizeof(line))) {
		if (unified)
			found = strcmp(entry.mnt_type, "cgroup2") == 0;
		else
			found = strcmp(entry.mnt_type, "cgroup") == 0 && hasmntopt(&entry, named);
		if (found)
			(void)snprintf(path, PATH_ROOM, "%s", entry.mnt_dir);
	}
	if (mounts)
		(void)endmntent(mounts);
	return found;
}

/* systemd marks so the cgroups that are their units' own to divide (Delegate=yes). */
static bool is_delegated(bool unified, const char *own)
{
	char path[2 * PATH_ROOM];
	char value[8];
	size_t length;

	if (!managed_mount(unified, path))
		return false;
	length = strlen(path);
	(void)snprintf(path + length, sizeof(path) - length, "%s", own);
	return getxattr(path, "trusted.delegate", value, sizeof(value)) == 1 && value[0] == '1';
}

/*
 * This process's own cgroup, below every hierarchy's mount, if it was given to it to divide. What is made elsewhere a
 * service manager knows nothing of, and what is made in a cgroup that it has not delegated it may remove.
 */
static bool delegated(char own[PATH_ROOM])
{
	char text[8192];
	char *rest = text;
	char *line;

	if (sys_read_file("/proc/self/cgroup", text, sizeof(text)) < 0)
		return false;
	while ((line = strsep(&rest, "\n"))) {
		bool unified = strncmp(line, "0::", 3) == 0;
		char *controllers = strchr(line, ':');
		char *path = controllers ? strchr(controllers + 1, ':') : NULL;

		if (!path || (!unified && strncmp(controllers + 1, named, strlen(named)) != 0))
			continue;
		path++;
		/* "/" is a namespace's root, whose limits are not ours, and "/.." above it. */
		if (path[0] != '/' || path[1] == 0 || path[1] == '.' || strlen(path) >= PATH_ROOM / 2)
			continue;
		if (!is_delegated(unified, path))
			continue;
		(void)snprintf(own, PATH_ROOM, "%s", path + 1);
		return true;
	}
	return false;
}

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

/* What an earlier launcher of this name may have left, whose server had no cgroup of its own yet. */
static void find_earlier(struct launcher *launcher, const char *mount, const char *name)
{
	int n = snprintf(launcher->cgroup_earlier, PATH_ROOM, "%s/%s/ops", mount, name);

	if (n < 0 || n >= PATH_ROOM || access(launcher->cgroup_earlier, F_OK) < 0)
		launcher->cgroup_earlier[0] = 0;
}

static bool is_populated(const char *directory)
{
	char path[PATH_ROOM + 16];
	char text[256];

	(void)snprintf(path, sizeof(path), "%s/cgroup.events", directory);
	return sys_read_file(path, text, sizeof(text)) > 0 && strstr(text, "populated 1");
}

bool cgroups_populated(const struct launcher *launcher)
{
	return (launcher->cgroup_kill >= 0 && is_populated(launcher->cgroup_path)) ||
	       (launcher->cgroup_earlier[0] && is_populated(launcher->cgroup_earlier));
}

void cgroups_kill(const struct launcher *launcher)
{
	char path[PATH_ROOM + 16];

	if (launcher->cgroup_kill >= 0)
		(void)!write(launcher->cgroup_kill, "1", 1);
	if (!launcher->cgroup_earlier[0])
		return;
	(void)snprintf(path, sizeof(path), "%s/cgroup.kill", launcher->cgroup_earlier);
	(void)sys_write_existing(path, "1", 1);
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
	if (launcher->cgroup_earlier[0])
		(void)rmdir(launcher->cgroup_earlier); /* so it is looked for once */
	launcher->cgroup_earlier[0] = 0;
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
	char place[2 * PATH_ROOM];
	char own[PATH_ROOM] = "";
	bool is_own;

	launcher->cgroup = -1;
	launcher->cgroup_kill = -1;
	if (name[0] == 0)
		return;
	is_own = delegated(own);
	/* Another server may live in the same service: its operations are not ours to kill. */
	(void)snprintf(place, sizeof(place), "%s%s%s", own, is_own ? "/" : "", name);
	mounts = setmntent("/proc/self/mounts", "re");
	while (mounts && getmntent_r(mounts, &entry, line, sizeof(line))) {
		bool second = strcmp(entry.mnt_type, "cgroup2") == 0;
		bool first = strcmp(entry.mnt_type, "cgroup") == 0;

		if (second && launcher->cgroup < 0)
			make_operations(launcher, entry.mnt_dir, place);
		if (second && is_own)
			find_earlier(launcher, entry.mnt_dir, name);
		if (second || (first && (hasmntopt(&entry, "memory") || hasmntopt(&entry, "pids"))))
			join_monitors(entry.mnt_dir, place);
	}
	if (mounts)
		(void)endmntent(mounts);
	if (launcher->cgroup < 0)
		launcher_log("cgroup left out:", "no cgroup2", ENOENT);
}
