/*
 * No two launchers at once: waits for the predecessor, then for the operations that it left behind.
 * RUNDIR/launcher is locked by fcntl(2), which a forked child does not inherit, as long as its launcher lives.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "launcher.h"
#include "sys.h"

enum { RECORDS_MAX = 512, PREDECESSOR_MS = 5000, LEFTOVER_MS = 2000 };

/* One operation of an earlier launcher. */
struct leftover {
	pid_t pid;
	uint64_t start_time;
	bool alive;
	char owner[OWNER_MAX + 1];
	char name[64];
};

static struct leftover leftovers[RECORDS_MAX];

static void rest(void)
{
	const struct timespec moment = { .tv_nsec = 5000000 };

	(void)nanosleep(&moment, NULL);
}

static struct flock whole(void)
{
	return (struct flock){ .l_type = F_WRLCK, .l_whence = SEEK_SET };
}

/* Waits for a process to end, then kills it. It may stay behind as a zombie: its locks and children are loose by then. */
static void outlive(pid_t pid, uint64_t start_time)
{
	struct pollfd p = { .fd = process_open(pid, start_time), .events = POLLIN };

	if (p.fd < 0)
		return;
	if (poll(&p, 1, PREDECESSOR_MS) == 0) {
		launcher_log("killing the earlier launcher in", "", ETIMEDOUT);
		(void)sys_pidfd_kill(p.fd, SIGKILL);
		(void)poll(&p, 1, LEFTOVER_MS);
	}
	(void)close(p.fd);
}

static int take_over(int fd)
{
	struct flock lock = whole();
	char text[128];
	ssize_t n;
	int pid;
	uint64_t start_time;

	for (int tries = 0; fcntl(fd, F_SETLK, &lock) < 0; tries++) {
		if ((errno != EAGAIN && errno != EACCES) || tries == 8)
			return -errno;
		if (fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK)
			outlive(lock.l_pid, process_start_time(lock.l_pid));
		lock = whole();
	}
	/* Somebody may have removed the locked file, so what it says counts too. */
	n = pread(fd, text, sizeof(text) - 1, 0);
	text[n > 0 ? n : 0] = 0;
	if (sscanf(text, "%d %" SCNu64, &pid, &start_time) == 2 && pid != (int)getpid())
		outlive(pid, start_time); /* in a PID namespace it may have had our number */
	return 0;
}

static int become_recorded(struct launcher *launcher, int fd)
{
	char text[128];
	int n = snprintf(text, sizeof(text), "%d %" PRIu64 " %" PRIu64 "\n", (int)getpid(), launcher->start_time,
			 launcher->epoch);

	if (ftruncate(fd, 0) < 0)
		return -errno;
	return pwrite(fd, text, (size_t)n, 0) == n ? 0 : -EIO;
}

static size_t read_records(const struct launcher *launcher)
{
	DIR *dir = fdopendir(openat(launcher->records, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	struct dirent *entry;
	size_t count = 0;

	while (dir && count < RECORDS_MAX && (entry = readdir(dir))) {
		struct leftover *left = &leftovers[count];
		char text[256] = "";
		int fd;
		int pid;

		if (entry->d_name[0] == '.' || strlen(entry->d_name) >= sizeof(left->name))
			continue;
		fd = openat(launcher->records, entry->d_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		if (fd < 0)
			continue;
		(void)!read(fd, text, sizeof(text) - 1);
		(void)close(fd);
		*left = (struct leftover){ .alive = true };
		memcpy(left->name, entry->d_name, strlen(entry->d_name) + 1);
		if (sscanf(text, "%d %" SCNu64 " %64[^\n]", &pid, &left->start_time, left->owner) < 2 || pid <= 1) {
			(void)unlinkat(launcher->records, entry->d_name, 0); /* torn: it was never let go */
			continue;
		}
		left->pid = pid;
		count++;
	}
	if (dir)
		(void)closedir(dir);
	return count;
}

/* Finds, and kills if asked to, what belongs to a record: the process and whatever is still in its session, leader or not. */
static void end_member(pid_t pid, const struct process_stat *stat, size_t count, bool kills)
{
	for (size_t i = 0; i < count; i++) {
		struct leftover *left = &leftovers[i];
		int pidfd;

		if (stat->session != left->pid || stat->start_time < left->start_time)
			continue;
		if (pid == left->pid && stat->start_time != left->start_time)
			continue;
		left->alive = true;
		if (!kills)
			continue;
		pidfd = process_open(pid, stat->start_time);
		if (pidfd >= 0) {
			(void)sys_pidfd_kill(pidfd, SIGKILL);
			(void)close(pidfd);
		}
	}
}

/* One look at every process; returns how many records still have one that lives. */
static size_t end_members(size_t count, bool kills)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	size_t alive = 0;

	if (!proc)
		return count;
	for (size_t i = 0; i < count; i++) {
		struct process_stat stat;

		/* Before its setsid a child is in nobody's session: look at it by its own name. */
		leftovers[i].alive = process_stat(leftovers[i].pid, &stat) == 0 && stat.state != 'Z' &&
				     stat.state != 'X' && stat.start_time == leftovers[i].start_time;
	}
	while ((entry = readdir(proc))) {
		struct process_stat stat;
		pid_t pid = (pid_t)atoi(entry->d_name);

		if (pid > 0 && process_stat(pid, &stat) == 0 && stat.state != 'Z' && stat.state != 'X')
			end_member(pid, &stat, count, kills);
	}
	(void)closedir(proc);
	for (size_t i = 0; i < count; i++)
		alive += leftovers[i].alive;
	return alive;
}

static void clear_leftovers(struct launcher *launcher)
{
	size_t count = read_records(launcher);
	uint64_t grace = sys_monotonic_ms() + OPERATION_GRACE_MS;
	uint64_t end = grace + LEFTOVER_MS;
	struct writer w = wire_writer(launcher->stuck, sizeof(launcher->stuck));
	uint32_t stuck = 0;

	while (count > 0 || cgroups_populated(launcher)) {
		bool kills = sys_monotonic_ms() >= grace;
		size_t alive = count > 0 ? end_members(count, kills) : 0;
		bool populated = cgroups_populated(launcher);

		if (populated && kills)
			cgroups_kill(launcher);
		if (!populated && alive == 0)
			break;
		if (sys_monotonic_ms() >= end)
			break;
		rest();
	}
	wire_put_u32(&w, 0);
	for (size_t i = 0; i < count; i++) {
		if (!leftovers[i].alive) {
			(void)unlinkat(launcher->records, leftovers[i].name, 0);
		} else if (w.capacity - w.length > OWNER_MAX + 4) {
			wire_put_str(&w, leftovers[i].owner);
			stuck++;
		}
	}
	launcher->stuck_length = w.length;
	w.length = 0;
	wire_put_u32(&w, stuck);
}

int fence(struct launcher *launcher)
{
	int dir = open(launcher->run_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int fd;
	int r;

	if (dir < 0)
		return -errno;
	if ((mkdirat(dir, "ops", 0700) < 0 && errno != EEXIST) || (mkdirat(dir, "u", 0700) < 0 && errno != EEXIST))
		return -errno;
	launcher->records = openat(dir, "ops", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	/* Stays open on purpose: closing any fd of it would drop the lock. */
	fd = openat(dir, "launcher", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	(void)close(dir);
	if (launcher->records < 0 || fd < 0)
		return -errno;
	r = take_over(fd);
	if (r < 0)
		return r;
	clear_leftovers(launcher);
	cgroups_renew(launcher);
	return become_recorded(launcher, fd);
}
