/* START_MONITOR, START_UNPACK and START_STATS: children that speak for themselves, on a socket of their own. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "launcher.h"
#include "roles.h"
#include "sys.h"

/* Connections of a monitor that are not accepted yet: a burst of them is not refused. */
enum { ACCEPT_MS = 10000, BACKLOG = 128 };

/* A listening socket of mode 0600. What lies at its path is a stale socket of the same owner: its directory is ours alone. */
static int listen_at(const char *path, int backlog)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	mode_t before;
	int fd;
	int r;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	(void)unlink(path);
	before = umask(0177);
	r = bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, backlog) < 0 ? -errno : 0;
	(void)umask(before);
	if (r == 0)
		return fd;
	(void)close(fd);
	return r;
}

/* Everything that a monitor must not share with the launcher, and what protects it. See "Monitor" in README.md. */
static _Noreturn void become_monitor(struct launcher *launcher, int listener, const char *id, const char *path,
				     const char *record_dir)
{
	struct monitor_options options = { .sandbox_id = id, .socket_path = path, .record_dir = record_dir,
					   .listener = 3, .epoch = launcher->epoch,
					   .oom_score_adj = launcher->oom_score_adj };
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0 || setsid() < 0 || chdir("/") < 0)
		_exit(1);
	(void)umask(022);
	listener = fcntl(listener, F_DUPFD_CLOEXEC, 16);
	for (int fd = 0; fd < 3; fd++)
		if (dup2(null, fd) < 0)
			_exit(1);
	if (listener < 0 || dup3(listener, 3, O_CLOEXEC) < 0 || sys_close_range(4, ~0U) < 0)
		_exit(1);
	if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0 || prctl(PR_SET_DUMPABLE, 0) < 0)
		_exit(1);
	if (sys_write_existing("/proc/self/oom_score_adj", "-999", 4) < 0 && launcher->oom_score_adj > 0)
		(void)sys_write_existing("/proc/self/oom_score_adj", "0", 1); /* as low as may be permitted */
	monitor_main(&options);
}

void monitor_request(struct launcher *launcher, struct frame_header request, struct reader *reader)
{
	uint8_t data[16];
	struct writer w = wire_writer(data, sizeof(data));
	char id[128];
	char path[PATH_ROOM];
	char record_dir[PATH_ROOM];
	int pidfd;
	int listener;
	pid_t pid;

	if (wire_copy(reader, id, sizeof(id)) == 0 || wire_copy(reader, path, sizeof(path)) == 0 ||
	    wire_copy(reader, record_dir, sizeof(record_dir)) == 0 || path[0] != '/' || record_dir[0] != '/') {
		answer_error(launcher, request, ERR_MALFORMED, 0, "sandboxId, socketPath, recordDir", "");
		return;
	}
	listener = listen_at(path, BACKLOG);
	if (listener < 0) {
		answer_error(launcher, request, ERR_SYSCALL, -listener, "bind", path);
		return;
	}
	pid = sys_fork(-1, &pidfd);
	if (pid == 0)
		become_monitor(launcher, listener, id, path, record_dir);
	(void)close(listener);
	if (pid < 0) {
		(void)unlink(path);
		answer_error(launcher, request, ERR_SYSCALL, -pid, "clone3", id);
		return;
	}
	wire_put_u32(&w, (uint32_t)pid);
	wire_put_u64(&w, process_start_time(pid)); /* not reaped before we return to the loop */
	(void)close(pidfd);
	answer(launcher, request, data, w.length);
}

/* In the child: the one connection that it serves, or no child. */
static int accept_one(int listener, const char *path)
{
	struct pollfd p = { .fd = listener, .events = POLLIN };
	int n = poll(&p, 1, ACCEPT_MS);
	int fd = n == 1 ? accept4(listener, NULL, NULL, SOCK_CLOEXEC) : -1;

	(void)unlink(path);
	(void)close(listener);
	if (fd < 0)
		_exit(1);
	return fd;
}

/* The role reads fd 0 and answers on fd 1: one socket here, whose silence is an error to it like any other. */
static _Noreturn void become_unpack(int fd, char *dir, uint32_t silence_ms)
{
	struct timeval silence = { .tv_sec = silence_ms / 1000, .tv_usec = (suseconds_t)(silence_ms % 1000) * 1000 };
	char name[] = "nacelle-native";
	char role[] = "unpack";
	char *argv[] = { name, role, dir, NULL };

	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &silence, sizeof(silence)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &silence, sizeof(silence)) < 0 || dup2(fd, 0) < 0 || dup2(fd, 1) < 0)
		_exit(1);
	(void)close(fd);
	_exit(unpack_main(3, argv));
}

/* Forks a child with a listening socket: 1 in it, with the connection that came; in the parent the request is answered. */
static int start_serving(struct launcher *launcher, struct frame_header request, const char *owner, int *connection)
{
	uint8_t data[PATH_ROOM + 16];
	struct writer w = wire_writer(data, sizeof(data));
	char path[PATH_ROOM];
	struct job *job = job_take(launcher, request, JOB_SERVING);
	int listener;
	int r;

	if (!job)
		return 0;
	(void)snprintf(path, sizeof(path), "%s/u/%" PRIu64, launcher->run_dir, request.seq);
	listener = listen_at(path, 1);
	r = listener < 0 ? listener : job_fork(job, &listener, owner);
	if (r == 1) {
		*connection = accept_one(listener, path);
		return 1;
	}
	if (listener >= 0)
		(void)close(listener);
	if (r < 0) {
		answer_error(launcher, request, ERR_SYSCALL, -r, "bind", path);
		job_drop(job);
		return 0;
	}
	if (job->answered) /* it could not be recorded */
		return 0;
	wire_put_str(&w, path);
	wire_put_u32(&w, (uint32_t)job->child.pid);
	answer(launcher, request, data, w.length);
	job_answer(job);
	return 0;
}

void unpack_request(struct launcher *launcher, struct frame_header request, struct reader *reader)
{
	char dir[PATH_ROOM];
	uint32_t silence_ms;
	int connection;

	(void)wire_copy(reader, dir, sizeof(dir));
	silence_ms = wire_u32(reader);
	if (reader->bad || dir[0] != '/' || silence_ms == 0 || silence_ms > DEADLINE_MAX_MS) {
		answer_error(launcher, request, ERR_MALFORMED, 0, "dir, silenceMs", "");
		return;
	}
	if (start_serving(launcher, request, "images", &connection) == 1)
		become_unpack(connection, dir, silence_ms);
}

void stats_request(struct launcher *launcher, struct frame_header request, struct reader *reader)
{
	pid_t self = getpid();
	int connection;

	(void)reader;
	if (start_serving(launcher, request, "stats", &connection) == 1) {
		(void)memset(launcher->role, 0, strlen(launcher->role));
		(void)memcpy(launcher->role, "stats", sizeof("stats"));
		stats_main(connection, self);
	}
}
