#include "process.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sys.h"

/* linux/pidfd.h of 6.15; spelled out because build hosts have older headers. */
struct pidfd_info {
	uint64_t mask;
	uint64_t cgroupid;
	uint32_t ids[11];
	int32_t exit_code;
};

#define INFO_EXIT (UINT64_C(1) << 3)
#define GET_INFO _IOWR(0xFF, 11, struct pidfd_info)

/* From one field of /proc/PID/stat to another: both are the blanks before them. NULL: there is none. */
static const char *skip_fields(const char *at, int from, int to)
{
	for (int field = from; field < to && at; field++)
		at = strchr(at + 1, ' ');
	return at;
}

int process_stat(pid_t pid, struct process_stat *stat)
{
	char path[40];
	char text[1024];
	const char *at;
	const char *end;
	ssize_t n;
	int parent;
	int group;
	int session;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	n = sys_read_file(path, text, sizeof(text));
	if (n < 0)
		return n == -ENOENT ? -ESRCH : (int)n;
	at = strrchr(text, ')'); /* the name may hold anything, a parenthesis too */
	if (!at || sscanf(at + 1, " %c %d %d %d", &stat->state, &parent, &group, &session) != 4)
		return -ESRCH;
	stat->parent = parent;
	stat->group = group;
	stat->session = session;
	at = skip_fields(at + 1, 3, 22);
	if (!at)
		return -ESRCH;
	stat->start_time = strtoull(at + 1, NULL, 10);
	end = skip_fields(at, 22, 52);
	stat->wait_status = end ? (int32_t)strtol(end + 1, NULL, 10) : 0;
	return 0;
}

uint64_t process_start_time(pid_t pid)
{
	struct process_stat stat;

	return process_stat(pid, &stat) == 0 ? stat.start_time : 0;
}

uint64_t process_ticks(void)
{
	uint64_t hz = (uint64_t)sysconf(_SC_CLK_TCK);
	struct timespec now;

	(void)clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec * hz + (uint64_t)now.tv_nsec / (1000000000 / hz);
}

int process_open(pid_t pid, uint64_t start_time)
{
	int pidfd;

	if (pid <= 0)
		return -ESRCH;
	pidfd = sys_pidfd_open(pid);
	if (pidfd == -EINVAL) /* a thread, so not the process that was meant */
		return -ESRCH;
	if (pidfd >= 0 && process_start_time(pid) != start_time) {
		(void)close(pidfd);
		return -ESRCH;
	}
	return pidfd;
}

struct process_exit process_exit_info(int pidfd)
{
	struct pidfd_info info = { .mask = INFO_EXIT };

	if (ioctl(pidfd, GET_INFO, &info) < 0 || !(info.mask & INFO_EXIT))
		return (struct process_exit){ .known = false };
	return process_exit_of_wait(info.exit_code);
}

struct process_exit process_exit_of_zombie(pid_t pid, uint64_t start_time)
{
	struct process_stat stat;

	/* 0 is also what the kernel says to who may not know. */
	if (process_stat(pid, &stat) < 0 || stat.start_time != start_time || stat.state != 'Z' || stat.wait_status == 0)
		return (struct process_exit){ .known = false };
	return process_exit_of_wait(stat.wait_status);
}

struct process_exit process_exit_of(int32_t code, int32_t status)
{
	return (struct process_exit){ .known = true, .code = code, .status = status };
}

struct process_exit process_exit_of_wait(int32_t wait_status)
{
	if (WIFEXITED(wait_status))
		return process_exit_of(CLD_EXITED, WEXITSTATUS(wait_status));
	return process_exit_of(WCOREDUMP(wait_status) ? CLD_DUMPED : CLD_KILLED, WTERMSIG(wait_status));
}
