#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "monitor.h"
#include "sys.h"

enum {
	SCANNED = 32768, /* processes looked at; more than these are not looked for */
	PASSES = 4,      /* who is forked while one looks is found by the next */
};

enum fate { UNDECIDED, SPARED, DOOMED };

struct scanned {
	pid_t pid;
	pid_t parent;
	pid_t session;
	uint8_t fate;
	uint64_t start_time;
};

static int by_pid(const void *a, const void *b)
{
	const struct scanned *left = a;
	const struct scanned *right = b;

	return (left->pid > right->pid) - (left->pid < right->pid);
}

/* False when not all of them could be looked at. */
static bool scan(struct scanned *list, size_t *found)
{
	DIR *proc = opendir("/proc");
	const struct dirent *entry;
	size_t count = 0;
	bool whole;

	while (errno = 0, proc && count < SCANNED && (entry = readdir(proc))) {
		pid_t pid = (pid_t)atoi(entry->d_name);
		struct process_stat stat;

		if (pid > 1 && process_stat(pid, &stat) == 0 && stat.state != 'Z')
			list[count++] = (struct scanned){ .pid = pid, .parent = stat.parent, .session = stat.session,
							   .start_time = stat.start_time };
	}
	whole = proc && errno == 0;
	if (proc)
		(void)closedir(proc);
	qsort(list, count, sizeof(*list), by_pid);
	*found = count;
	return whole;
}

/*
 * As its nearest ancestor whose fate is known; without one it is spared. Each process is passed twice in all, because
 * what is found is written down on the way back. A chain that bites its own tail, as pids that were reused while we
 * looked could make it, ends after as many steps as there are processes.
 */
static void decide(struct scanned *list, size_t count, struct scanned *start)
{
	struct scanned *at = start;
	uint8_t fate;

	for (size_t steps = 0; at && at->fate == UNDECIDED && steps < count; steps++)
		at = bsearch(&(struct scanned){ .pid = at->parent }, list, count, sizeof(*list), by_pid);
	fate = at && at->fate == DOOMED ? DOOMED : SPARED;
	for (at = start; at && at->fate == UNDECIDED;) {
		at->fate = fate;
		at = bsearch(&(struct scanned){ .pid = at->parent }, list, count, sizeof(*list), by_pid);
	}
}

/* Kills those that are not `pid`, which is ours; how many of them are no older than `since`. */
static size_t kill_doomed(const struct scanned *list, size_t count, pid_t pid, uint64_t since)
{
	size_t killed = 0;

	for (size_t i = 0; i < count; i++) {
		int fd = list[i].fate == DOOMED && list[i].pid != pid ? process_open(list[i].pid, list[i].start_time) : -1;

		if (fd < 0)
			continue;
		killed += sys_pidfd_kill(fd, SIGKILL) == 0 && list[i].start_time >= since;
		(void)close(fd);
	}
	return killed;
}

static size_t pass_through(struct scanned *list, pid_t pid, int pidfd, uint64_t since)
{
	size_t count;

	if (!scan(list, &count))
		(void)scan(list, &count);
	/* The root is ours and not reaped, so it, its session and its group keep their numbers while we look. */
	for (size_t i = 0; i < count; i++)
		if (list[i].pid == pid || list[i].session == pid)
			list[i].fate = DOOMED;
	for (size_t i = 0; i < count; i++)
		decide(list, count, &list[i]);
	/* Once its descendants are known: those of who is dead are somebody else's. */
	(void)sys_pidfd_kill(pidfd, SIGKILL);
	return kill_doomed(list, count, pid, since);
}

void kill_tree(pid_t pid, int pidfd)
{
	size_t size = SCANNED * sizeof(struct scanned);
	struct scanned *list = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint64_t since = 0;
	bool again = list != MAP_FAILED;

	for (int pass = 0; again && pass < PASSES; pass++) {
		uint64_t now = process_ticks();

		again = pass_through(list, pid, pidfd, since) > 0 || pass == 0;
		since = now;
	}
	if (pidfd < 0)
		(void)kill(pid, SIGKILL);
	else
		(void)sys_pidfd_kill(pidfd, SIGKILL);
	(void)kill(-pid, SIGKILL); /* who could not be looked at may be here */
	if (list != MAP_FAILED)
		(void)munmap(list, size);
}
