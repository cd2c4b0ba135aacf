/* Unmounting, and namespaces pinned by mounts. */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "operation.h"
#include "sys.h"

/* Of kinds 10 and 25; the first has no USER. */
enum { NET, IPC, UTS, HOSTNAME, USER };

/* Everything that is mounted there, one above the other. 0, also when nothing is; -1 with errno. */
static int unmount_all(const char *path)
{
	while (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
		;
	return errno == EINVAL || errno == ENOENT ? 0 : -1;
}

int step_unmount(struct performance *p, const struct step *step)
{
	return unmount_all(step->text[0]) < 0 ? step_failed(p, "umount2", step->text[0]) : 0;
}

int step_unpin(struct performance *p, const struct step *step)
{
	if (unmount_all(step->text[0]) < 0)
		return step_failed(p, "umount2", step->text[0]);
	return unlink(step->text[0]) < 0 && errno != ENOENT ? step_failed(p, "unlink", step->text[0]) : 0;
}

static int raise_loopback(struct performance *p)
{
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int r;

	if (fd < 0)
		return step_failed(p, "socket", "lo");
	r = ioctl(fd, SIOCSIFFLAGS, &request) < 0 ? step_failed(p, "SIOCSIFFLAGS", "lo") : 0;
	(void)close(fd);
	return r;
}

/* A sysctl of a namespace that was not made here would be the host's. */
static bool is_ours(const struct step *step, const char *name)
{
	static const struct {
		const char *prefix;
		int text;
	} owners[] = {
		{ "net/", NET },	    { "fs/mqueue/", IPC },	  { "kernel/shm", IPC },
		{ "kernel/msg", IPC },	    { "kernel/sem", IPC },	  { "kernel/hostname", UTS },
		{ "kernel/domainname", UTS },
	};

	for (size_t i = 0; i < sizeof(owners) / sizeof(owners[0]); i++)
		if (strncmp(name, owners[i].prefix, strlen(owners[i].prefix)) == 0)
			return step->text[owners[i].text][0] != 0;
	return false;
}

static int write_sysctl(struct performance *p, const struct step *step, const char *name, const char *value)
{
	const char root[] = "/proc/sys/";
	int dir = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int fd;
	ssize_t n;

	if (strncmp(name, root, strlen(root)) == 0)
		name += strlen(root);
	if (dir < 0 || strstr(name, "/..") || !is_ours(step, name)) { /* net/../kernel would be beneath, and not ours */
		errno = dir < 0 ? errno : EPERM;
		return step_failed(p, "sysctl", name);
	}
	fd = sys_openat2(dir, name, O_WRONLY, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
	(void)close(dir);
	if (fd < 0) {
		errno = -fd;
		return step_failed(p, "sysctl", name);
	}
	n = write(fd, value, strlen(value));
	if (n < 0)
		(void)step_failed(p, "sysctl", name);
	(void)close(fd);
	return n < 0 ? -1 : 0;
}

/* Needs a file of its own: what is there already is somebody else's pin. */
static int pin(struct performance *p, pid_t of, const char *kind, const char *path)
{
	char source[64];
	int fd = open(path, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0444);

	if (fd < 0)
		return step_failed(p, "open", path);
	(void)close(fd);
	(void)snprintf(source, sizeof(source), "/proc/%d/ns/%s", (int)of, kind);
	if (mount(source, path, NULL, MS_BIND, NULL) == 0)
		return 0;
	(void)step_failed(p, "mount", path);
	(void)unlink(path);
	return -1;
}

static int pin_all(struct performance *p, const struct step *step, pid_t of)
{
	static const char *const kinds[] = { "net", "ipc", "uts" };

	for (int i = NET; i <= UTS; i++) {
		if (!step->text[i][0] || pin(p, of, kinds[i], step->text[i]) == 0)
			continue;
		while (--i >= NET) {
			if (step->text[i][0]) {
				(void)unmount_all(step->text[i]);
				(void)unlink(step->text[i]);
			}
		}
		return -1;
	}
	return 0;
}

/* As the root of a user namespace: what is made from then on belongs to it, and its root may write the sysctls. */
static int enter_user(struct performance *p, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int r;

	if (fd < 0)
		return step_failed(p, "open", path);
	r = setns(fd, CLONE_NEWUSER) < 0 ? step_failed(p, "setns", path) : 0;
	(void)close(fd);
	if (r == 0 && (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0))
		return step_failed(p, "setresuid", path);
	return r;
}

static int make_namespaces(struct performance *p, const struct step *step)
{
	int flags = (step->text[NET][0] ? CLONE_NEWNET : 0) | (step->text[IPC][0] ? CLONE_NEWIPC : 0) |
		    (step->text[UTS][0] ? CLONE_NEWUTS : 0);
	const char *hostname = step->text[HOSTNAME];

	if (step->text[USER] && enter_user(p, step->text[USER]) < 0)
		return -1;
	if (unshare(flags) < 0)
		return step_failed(p, "unshare", "");
	if (step->text[NET][0] && raise_loopback(p) < 0)
		return -1;
	if (step->text[UTS][0] && hostname[0] && sethostname(hostname, strlen(hostname)) < 0)
		return step_failed(p, "sethostname", hostname);
	for (size_t i = 0; i + 1 < step->count; i += 2)
		if (write_sysctl(p, step, step->list[i], step->list[i + 1]) < 0)
			return -1;
	return 0;
}

static int make_user_namespace(struct performance *p, const struct step *step)
{
	return unshare(CLONE_NEWUSER) < 0 ? step_failed(p, "unshare", step->text[0]) : 0;
}

static int write_map(struct performance *p, pid_t of, const char *name, const char *map)
{
	char path[64];
	int r;

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)of, name);
	r = sys_write_existing(path, map, strlen(map));
	errno = -r;
	return r < 0 ? step_failed(p, name, map) : 0;
}

static int pin_user(struct performance *p, const struct step *step, pid_t of)
{
	if (write_map(p, of, "uid_map", step->text[1]) < 0 || write_map(p, of, "gid_map", step->text[2]) < 0)
		return -1;
	return pin(p, of, "user", step->text[0]);
}

/*
 * `make` runs in a process of its own, so that later steps stay in the namespaces that they are meant for, and `keep`
 * out here while that process lives: from inside a user namespace nothing can be mounted outside.
 */
static int in_child(struct performance *p, const struct step *step,
		    int (*make)(struct performance *, const struct step *),
		    int (*keep)(struct performance *, const struct step *, pid_t))
{
	int ends[2];
	int r = -1;
	char made = 0;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return step_failed(p, "socketpair", "");
	pid = fork();
	if (pid == 0) {
		(void)close(ends[0]);
		if (make(p, step) < 0 || write(ends[1], "", 1) != 1)
			_exit(1);
		(void)!read(ends[1], &made, 1); /* until the other end is closed */
		_exit(0);
	}
	(void)close(ends[1]);
	if (pid < 0)
		(void)step_failed(p, "fork", "");
	else if (read(ends[0], &made, 1) == 1)
		r = keep(p, step, pid);
	else if (!p->performed->code) /* it was killed */
		(void)step_failed(p, "unshare", "");
	(void)close(ends[0]);
	if (pid > 0)
		(void)waitpid(pid, NULL, 0);
	return r;
}

int step_namespaces(struct performance *p, const struct step *step)
{
	return in_child(p, step, make_namespaces, pin_all);
}

int step_user_namespace(struct performance *p, const struct step *step)
{
	return in_child(p, step, make_user_namespace, pin_user);
}
