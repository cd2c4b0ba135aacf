/* What a container sees that is made to find out what its runtime can do: the exit code is the answer. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "roles.h"

enum { YES = 0, NO = 10 }; /* no runtime that fails says 10 */

/* Nothing can be made in the directory, because what is mounted there is read-only. */
static int is_readonly(const char *dir)
{
	char path[256];

	(void)snprintf(path, sizeof(path), "%s/probe", dir);
	return mkdir(path, 0700) < 0 && errno == EROFS ? YES : NO;
}

/* What is root's outside is root's in here. */
static int is_owned(const char *path)
{
	struct stat s;

	return stat(path, &s) == 0 && s.st_uid == 0 && s.st_gid == 0 ? YES : NO;
}

/* What is mounted in the directory is there, and so is the option that it was to be mounted with. */
static int is_whole(const char *dir)
{
	char path[256];
	struct stat above;
	struct stat below;
	struct statvfs fs;

	(void)snprintf(path, sizeof(path), "%s/sub", dir);
	if (statvfs(dir, &fs) < 0 || stat(dir, &above) < 0 || stat(path, &below) < 0)
		return NO;
	return (fs.f_flag & ST_NOEXEC) != 0 && above.st_dev != below.st_dev ? YES : NO;
}

int probe_main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[2], "readonly") == 0)
		return is_readonly(argv[3]);
	if (argc == 4 && strcmp(argv[2], "owned") == 0)
		return is_owned(argv[3]);
	if (argc == 4 && strcmp(argv[2], "whole") == 0)
		return is_whole(argv[3]);
	return 2;
}
