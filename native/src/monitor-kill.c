#include <dirent.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "monitor.h"
#include "sys.h"

/* Processes looked at; more than these are not looked for. */
enum { SCANNED = 32768 };

struct scanned {
	pid_t pid;
	pid_t parent;
	pid_t session;
	bool doomed;
	uint64_t start_time;
};

static size_t scan(struct scanned *list)
{
	DIR *proc = opendir("/proc");
	const struct dirent *entry;
	size_t count = 0;

	while (proc && count < SCANNED && (entry = readdir(proc))) {
		pid_t pid = (pid_t)atoi(entry->d_name);
		struct process_stat stat;

		if (pid > 1 && process_stat(pid, &stat) == 0 && stat.state != 'Z')
			list[count++] = (struct scanned){ .pid = pid, .parent = stat.parent, .session = stat.session,
							   .start_time = stat.start_time };
	}
	if (proc)
		(void)closedir(proc);
	return count;
}

/* Marks one more generation; false when there is none. */
static bool spread(struct scanned *list, size_t count)
{
	bool found = false;

	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < count && !list[i].doomed; j++)
			if (list[j].doomed && list[i].parent == list[j].pid)
				list[i].doomed = found = true;
	return found;
}

void kill_tree(pid_t pid, int pidfd)
{
	size_t size = SCANNED * sizeof(struct scanned);
	struct scanned *list = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	size_t count = list == MAP_FAILED ? 0 : scan(list);

	/* The root is ours and not reaped, so it, its session and its group keep their numbers while we look. */
	for (size_t i = 0; i < count; i++)
		list[i].doomed = list[i].pid == pid || list[i].session == pid;
	while (spread(list, count))
		;
	(void)sys_pidfd_kill(pidfd, SIGKILL);
	for (size_t i = 0; i < count; i++) {
		int fd = list[i].doomed && list[i].pid != pid ? process_open(list[i].pid, list[i].start_time) : -1;

		if (fd < 0)
			continue;
		(void)sys_pidfd_kill(fd, SIGKILL);
		(void)close(fd);
	}
	if (list != MAP_FAILED)
		(void)munmap(list, size);
}
