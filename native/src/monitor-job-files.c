/* The files by which a run of the runtime is given something, or tells something: what stands for them in its arguments. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "monitor.h"
#include "sys.h"

static const struct {
	const char *argument;
	const char *suffix;
	uint8_t bit;
} files[] = {
	{ "@pid-file", "pid", JOB_PID_FILE },
	{ "@log", "log", JOB_LOG },
	{ "@process", "process", JOB_PROCESS },
	/* Short: the address of a socket ends at 107 bytes. */
	{ "@console", "c", JOB_CONSOLE },
};

const char *job_file(const struct job *job, uint8_t bit, char path[PATH_MAX])
{
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		if (files[i].bit == bit)
			(void)snprintf(path, PATH_MAX, "%s/.%u.%s", job->monitor->options.record_dir, job->serial, files[i].suffix);
	return path;
}

int job_place_files(struct job *job, char **argv, struct span process, char paths[JOB_FILES][PATH_MAX])
{
	for (size_t i = 0; argv[i]; i++) {
		for (size_t f = 0; f < sizeof(files) / sizeof(files[0]); f++) {
			if (strcmp(argv[i], files[f].argument) != 0)
				continue;
			(void)job_file(job, files[f].bit, paths[f]);
			argv[i] = paths[f];
			job->files |= files[f].bit;
		}
	}
	if (job->files & JOB_CONSOLE) {
		job->console = terminal_listen(paths[3]);
		if (job->console < 0)
			return job->console;
	}
	if (job->files & JOB_PROCESS) {
		int fd = open(paths[2], O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
		int r = fd < 0 ? -errno : sys_write_all(fd, process.data, process.length);

		if (fd >= 0)
			(void)close(fd);
		return r;
	}
	return 0;
}

void job_remove_files(const struct job *job)
{
	char path[PATH_MAX];

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		if (job->files & files[i].bit)
			(void)unlink(job_file(job, files[i].bit, path));
}
