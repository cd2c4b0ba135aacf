/* Operations that are little more than one system call. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "operation.h"
#include "sys.h"

static void make_parents(char *path)
{
	for (char *at = strchr(path + 1, '/'); at; at = strchr(at + 1, '/')) {
		*at = 0;
		(void)mkdir(path, 0755); /* what is wrong with it shows at the last one */
		*at = '/';
	}
}

int step_mkdir(struct performance *p, const struct step *step)
{
	struct stat stat_of;

	if (step->parents)
		make_parents(step->text[0]);
	if (mkdir(step->text[0], step->number) == 0)
		/* again, because the umask has taken bits away */
		return chmod(step->text[0], step->number) < 0 ? step_failed(p, "chmod", step->text[0]) : 0;
	if (errno != EEXIST)
		return step_failed(p, "mkdir", step->text[0]);
	if (stat(step->text[0], &stat_of) == 0 && S_ISDIR(stat_of.st_mode))
		return 0;
	errno = ENOTDIR;
	return step_failed(p, "mkdir", step->text[0]);
}

int step_rmdir(struct performance *p, const struct step *step)
{
	return rmdir(step->text[0]) < 0 && errno != ENOENT ? step_failed(p, "rmdir", step->text[0]) : 0;
}

int step_unlink(struct performance *p, const struct step *step)
{
	return unlink(step->text[0]) < 0 && errno != ENOENT ? step_failed(p, "unlink", step->text[0]) : 0;
}

int step_write_file(struct performance *p, const struct step *step)
{
	char temporary[PATH_ROOM + 32];
	int fd;
	int r;

	(void)snprintf(temporary, sizeof(temporary), "%s.%d~", step->text[0], (int)getpid());
	fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return step_failed(p, "open", step->text[0]);
	r = sys_write_all(fd, step->data.data, step->data.length);
	if (r < 0) {
		errno = -r;
		(void)step_failed(p, "write", step->text[0]);
	} else if (fchmod(fd, step->number) < 0 || rename(temporary, step->text[0]) < 0) {
		r = step_failed(p, "rename", step->text[0]);
	}
	if (r < 0)
		(void)unlink(temporary);
	(void)close(fd);
	return r < 0 ? -1 : 0;
}

int step_write_kernel_file(struct performance *p, const struct step *step)
{
	int r = sys_write_existing(step->text[0], step->data.data, step->data.length);

	errno = -r;
	return r < 0 ? step_failed(p, "write", step->text[0]) : 0;
}

int step_rename(struct performance *p, const struct step *step)
{
	return rename(step->text[0], step->text[1]) < 0 ? step_failed(p, "rename", step->text[0]) : 0;
}

int step_mount(struct performance *p, const struct step *step)
{
	enum { SOURCE, TARGET, TYPE, DATA, CHDIR };
	int r;

	if (step->text[CHDIR][0] && chdir(step->text[CHDIR]) < 0)
		return step_failed(p, "chdir", step->text[CHDIR]);
	r = mount(step->text[SOURCE][0] ? step->text[SOURCE] : NULL, step->text[TARGET],
		  step->text[TYPE][0] ? step->text[TYPE] : NULL, step->flags, step->text[DATA][0] ? step->text[DATA] : NULL);
	if (r < 0)
		(void)step_failed(p, "mount", step->text[TARGET]);
	if (step->text[CHDIR][0] && chdir("/") < 0 && r == 0)
		return step_failed(p, "chdir", "/");
	return r;
}

/* Of the name itself, never of what a link leads to. */
int step_chown(struct performance *p, const struct step *step)
{
	return lchown(step->text[0], step->uid, step->gid) < 0 ? step_failed(p, "chown", step->text[0]) : 0;
}

int step_stat(struct performance *p, const struct step *step)
{
	static const char letters[16] = "?pc?d?b?f?l?s???"; /* by S_IFMT >> 12 */
	struct stat s;
	char text[128];

	if (stat(step->text[0], &s) < 0)
		return step_failed(p, "stat", step->text[0]);
	(void)snprintf(text, sizeof(text), "%c %u %u %u %ju %jd", letters[(s.st_mode & S_IFMT) >> 12], s.st_mode & 07777,
		       s.st_uid, s.st_gid, (uintmax_t)s.st_rdev, (intmax_t)s.st_size);
	step_result(p, text);
	return 0;
}

int step_realpath(struct performance *p, const struct step *step)
{
	char path[PATH_ROOM];

	if (!realpath(step->text[0], path))
		return step_failed(p, "realpath", step->text[0]);
	step_result(p, path);
	return 0;
}

int step_syncfs(struct performance *p, const struct step *step)
{
	int fd = open(step->text[0], O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return step_failed(p, "open", step->text[0]);
	return syncfs(fd) < 0 ? step_failed(p, "syncfs", step->text[0]) : close(fd);
}

int step_statfs(struct performance *p, const struct step *step)
{
	struct statfs s;
	char text[128];

	if (statfs(step->text[0], &s) < 0)
		return step_failed(p, "statfs", step->text[0]);
	(void)snprintf(text, sizeof(text), "%jd %ju %ju %ju %ju", (intmax_t)s.f_bsize, (uintmax_t)s.f_blocks,
		       (uintmax_t)s.f_bfree, (uintmax_t)s.f_files, (uintmax_t)s.f_ffree);
	step_result(p, text);
	return 0;
}
