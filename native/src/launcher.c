/* The launcher: does for the daemon what must not run in it, each piece in a child with a deadline. See ../README.md. */
#include "launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "roles.h"
#include "sys.h"

#ifndef NACELLE_BUILD
#define NACELLE_BUILD "unknown"
#endif

static struct launcher the_launcher;

void launcher_log(const char *what, const char *path, int error)
{
	(void)dprintf(STDERR_FILENO, "launcher: %s %s: %s\n", what, path, strerror(error));
}

static void hello(struct launcher *launcher, struct frame_header request, struct reader *reader)
{
	uint16_t min = wire_u16(reader);
	uint16_t max = wire_u16(reader);
	uint64_t epoch = wire_u64(reader);
	uint8_t data[sizeof(launcher->stuck) + 256];
	struct writer w = wire_writer(data, sizeof(data));

	(void)wire_u8(reader);
	launcher->loop.stop = true; /* unless all is well */
	if (reader->bad || launcher->greeted) {
		answer_error(launcher, request, ERR_MALFORMED, 0, "HELLO", "");
	} else if (min > LAUNCHER_VERSION || max < LAUNCHER_VERSION) {
		answer_error(launcher, request, ERR_UNSUPPORTED, 0, "version", "");
	} else if (epoch < launcher->epoch) {
		answer_error(launcher, request, ERR_STALE_EPOCH, 0, "epoch", "");
	} else {
		launcher->epoch = epoch;
		launcher->greeted = true;
		launcher->loop.stop = false;
		wire_put_u16(&w, LAUNCHER_VERSION);
		wire_put_u32(&w, (uint32_t)getpid());
		wire_put_u64(&w, launcher->start_time);
		wire_put_str(&w, NACELLE_BUILD);
		wire_put_str(&w, "");
		wire_put_u64(&w, launcher->epoch);
		memcpy(w.data + w.length, launcher->stuck, launcher->stuck_length);
		answer(launcher, request, data, w.length + launcher->stuck_length);
	}
}

static void kill_request(struct launcher *launcher, struct frame_header request, struct reader *reader)
{
	uint32_t pid = wire_u32(reader);
	uint64_t start_time = wire_u64(reader);
	uint32_t signal = wire_u32(reader);
	int pidfd;
	int r;

	if (reader->bad || signal >= NSIG) {
		answer_error(launcher, request, ERR_MALFORMED, 0, "KILL", "");
		return;
	}
	pidfd = process_open((pid_t)pid, start_time);
	r = pidfd < 0 ? pidfd : sys_pidfd_kill(pidfd, (int)signal);
	if (pidfd >= 0)
		(void)close(pidfd);
	if (r == -ESRCH)
		answer_error(launcher, request, ERR_NO_SUCH, ESRCH, "process", "");
	else if (r < 0)
		answer_error(launcher, request, ERR_SYSCALL, -r, "pidfd_send_signal", "");
	else
		answer(launcher, request, NULL, 0);
}

void launcher_dispatch(struct launcher *launcher, struct frame_header header, struct reader *reader)
{
	static const struct {
		enum message type;
		void (*handle)(struct launcher *launcher, struct frame_header request, struct reader *reader);
	} handlers[] = {
		{ MSG_HELLO, hello },		    { MSG_RUN, run_request },	    { MSG_PERFORM, perform_request },
		{ MSG_CANCEL, job_cancel },	    { MSG_WATCH, watch_request },   { MSG_UNWATCH, unwatch_request },
		{ MSG_START_MONITOR, monitor_request }, { MSG_START_UNPACK, unpack_request }, { MSG_KILL, kill_request },
		{ MSG_START_STATS, stats_request },	    { MSG_NOTIFY, notify_request },
	};

	if (!launcher->greeted && header.type != MSG_HELLO) {
		launcher_log("no HELLO", "", EPROTO);
		launcher->loop.stop = true;
		return;
	}
	for (size_t i = 0; i < sizeof(handlers) / sizeof(handlers[0]); i++) {
		if (handlers[i].type == header.type) {
			handlers[i].handle(launcher, header, reader);
			return;
		}
	}
	answer_error(launcher, header, ERR_UNSUPPORTED, 0, "request", "");
}

/* Every dead child passes through here once, so that nobody takes the status of another one's child. */
static void reap(struct launcher *launcher)
{
	siginfo_t info = { .si_pid = 0 };

	while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid > 0) {
		struct process_exit exit = process_exit_of(info.si_code, info.si_status);
		pid_t pid = info.si_pid;

		if (!job_reaped(launcher, pid, exit))
			watch_reaped(launcher, pid, process_start_time(pid), exit);
		(void)waitid(P_PID, (id_t)pid, &info, WEXITED);
		info.si_pid = 0;
	}
}

static void on_signal(struct source *source, uint32_t events)
{
	struct launcher *launcher = container_of(source, struct launcher, signals);
	struct signalfd_siginfo info;

	(void)events;
	while (read(source->fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
		;
	reap(launcher);
}

void launcher_arm(struct launcher *launcher, uint64_t deadline)
{
	struct itimerspec when = { .it_value = { .tv_sec = (time_t)(deadline / 1000),
						 .tv_nsec = (long)(deadline % 1000) * 1000000 } };

	if (deadline == 0 || (launcher->armed != 0 && launcher->armed <= deadline))
		return;
	launcher->armed = deadline;
	(void)timerfd_settime(launcher->timer.fd, TFD_TIMER_ABSTIME, &when, NULL);
}

static void on_timer(struct source *source, uint32_t events)
{
	struct launcher *launcher = container_of(source, struct launcher, timer);
	uint64_t now = sys_monotonic_ms();
	uint64_t expirations;

	(void)events;
	(void)!read(source->fd, &expirations, sizeof(expirations));
	launcher->armed = 0;
	launcher_arm(launcher, job_deadlines(launcher, now));
	launcher_arm(launcher, watch_deadlines(launcher, now));
}

/*
 * The connection is gone: whatever still works for that daemon must not finish behind its successor's back. It gets a
 * moment to end by itself, because a plugin that is killed in the middle leaves what nobody can remove: host-local
 * creates the file of a lease before it writes into it whose lease it is.
 */
static void finish(struct launcher *launcher)
{
	uint64_t grace = sys_monotonic_ms() + OPERATION_GRACE_MS;
	uint64_t end = grace + 2000;
	bool killed = false;

	while (job_any(launcher) && sys_monotonic_ms() < end) {
		const struct timespec moment = { .tv_nsec = 20000000 };
		sigset_t child;

		if (!killed && sys_monotonic_ms() >= grace) {
			job_kill_all(launcher);
			killed = true;
		}
		(void)sigemptyset(&child);
		(void)sigaddset(&child, SIGCHLD);
		(void)sigtimedwait(&child, NULL, &moment);
		reap(launcher);
	}
}

static int become_launcher(struct launcher *launcher)
{
	struct rlimit files;
	char text[16];
	sigset_t all;

	(void)sigfillset(&all);
	spawn_reset_signals(); /* an ignored signal would outlive every execve below us */
	spawn_refuse_huge_pages();
	if (sigprocmask(SIG_SETMASK, &all, NULL) < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1) < 0 || chdir("/") < 0)
		return -errno;
	(void)setsid();
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	if (sys_read_file("/proc/self/oom_score_adj", text, sizeof(text)) > 0)
		launcher->oom_score_adj = atoi(text);
	launcher->start_time = process_start_time(getpid());
	return sys_close_range(4, ~0U);
}

static int add_source(struct launcher *launcher, struct source *source, int fd, void (*on_ready)(struct source *, uint32_t))
{
	*source = (struct source){ .fd = fd, .ready = on_ready };
	return fd < 0 ? -errno : loop_add(&launcher->loop, source, EPOLLIN);
}

static int open_sources(struct launcher *launcher)
{
	sigset_t child;
	int r = loop_open(&launcher->loop);

	(void)sigemptyset(&child);
	(void)sigaddset(&child, SIGCHLD);
	if (r == 0)
		r = add_source(launcher, &launcher->signals, signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK), on_signal);
	if (r == 0)
		r = add_source(launcher, &launcher->timer, timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK), on_timer);
	if (r == 0)
		r = daemon_open(launcher);
	return r;
}

int launcher_main(int argc, char **argv)
{
	struct launcher *launcher = &the_launcher;
	int r;

	if (argc != 5) {
		(void)dprintf(STDERR_FILENO, "usage: nacelle-native launcher RUNDIR EPOCH CGROUP, the connection on fd 3\n");
		return 2;
	}
	launcher->role = argv[1];
	launcher->run_dir = argv[2];
	launcher->epoch = strtoull(argv[3], NULL, 10);
	r = become_launcher(launcher);
	if (r == 0) {
		cgroups_open(launcher, argv[4]);
		r = fence(launcher);
	}
	if (r == 0)
		r = open_sources(launcher);
	if (r < 0) {
		launcher_log("start below", launcher->run_dir, -r);
		return 1;
	}
	r = loop_run(&launcher->loop);
	finish(launcher);
	return r < 0;
}
