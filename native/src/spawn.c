#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sys.h"

static const char *const calls[] = { "execve", "chdir", "open", "dup2", "prctl" };

enum call { CALL_EXECVE, CALL_CHDIR, CALL_OPEN, CALL_DUP, CALL_PRCTL };

struct report {
	int error;
	enum call call;
};

void spawn_reset_signals(void)
{
	struct sigaction action = { .sa_handler = SIG_DFL };
	sigset_t none;

	for (int signal = 1; signal < NSIG; signal++)
		(void)sigaction(signal, &action, NULL); /* fails for KILL, STOP and libc's own, which need nothing */
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)umask(022);
}

static bool huge_pages_refused;

void spawn_refuse_huge_pages(void)
{
	if (prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) == 0)
		huge_pages_refused = prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) == 0;
}

static _Noreturn void fail(int report, enum call call)
{
	struct report r = { .error = errno, .call = call };

	(void)sys_write_all(report, &r, sizeof(r));
	_exit(127);
}

/* Moves the three fds (anywhere, in any order) to 0-2 and everything else away. Returns where the report pipe is now. */
static int place_stdio(const int stdio[3], int report)
{
	int high[4];
	int placed = fcntl(report, F_DUPFD_CLOEXEC, 16);

	if (placed < 0)
		fail(report, CALL_DUP);
	for (int i = 0; i < 3; i++) {
		int fd = stdio[i] >= 0 ? stdio[i] : open("/dev/null", O_RDWR | O_CLOEXEC);

		if (fd < 0)
			fail(report, CALL_OPEN);
		high[i] = fcntl(fd, F_DUPFD_CLOEXEC, 16);
		if (high[i] < 0)
			fail(report, CALL_DUP);
	}
	high[3] = placed;
	for (int i = 0; i < 4; i++)
		if (dup3(high[i], i, i == 3 ? O_CLOEXEC : 0) < 0)
			fail(placed, CALL_DUP);
	(void)sys_close_range(4, ~0U);
	return 3;
}

static void soften_limits(const struct spawn *spawn)
{
	struct rlimit files;
	char text[16];
	int n;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur > 1024) {
		files.rlim_cur = 1024;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	if (spawn->oom_score_adj == SPAWN_KEEP_OOM)
		return;
	n = snprintf(text, sizeof(text), "%d", spawn->oom_score_adj);
	(void)sys_write_existing("/proc/self/oom_score_adj", text, (size_t)n);
}

static _Noreturn void run(const struct spawn *spawn, pid_t parent, int gate, int report)
{
	char go;

	(void)setsid();
	/* The caller may have ended before it was asked to be told of. */
	if (spawn->dies_with_us && (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent))
		_exit(127);
	if (spawn->gated && read(gate, &go, 1) != 1)
		_exit(127);
	report = place_stdio(spawn->stdio, report);
	soften_limits(spawn);
	if (chdir(spawn->cwd ? spawn->cwd : "/") < 0)
		fail(report, CALL_CHDIR);
	spawn_reset_signals();
	if (huge_pages_refused && prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0) < 0) /* it would outlive execve */
		fail(report, CALL_PRCTL);
	(void)execve(spawn->argv[0], spawn->argv, spawn->env);
	fail(report, CALL_EXECVE);
}

int spawn_child(const struct spawn *spawn, struct child *child)
{
	int gate[2] = { -1, -1 };
	pid_t parent = getpid();
	int report[2];
	int r;

	if (pipe2(report, O_CLOEXEC) < 0)
		return -errno;
	if (fcntl(report[0], F_SETFL, O_NONBLOCK) < 0 || (spawn->gated && pipe2(gate, O_CLOEXEC) < 0)) {
		r = -errno;
		goto out;
	}
	r = sys_fork(spawn->cgroup, &child->pidfd);
	if (r == 0) {
		if (gate[1] >= 0)
			(void)close(gate[1]); /* else the child would hold its own gate open */
		run(spawn, parent, gate[0], report[1]);
	}
	if (r < 0)
		goto out;
	child->pid = r;
	child->report = report[0];
	child->gate = gate[1];
	(void)close(report[1]);
	if (gate[0] >= 0)
		(void)close(gate[0]);
	return 0;
out:
	for (int i = 0; i < 2; i++) {
		(void)close(report[i]);
		if (gate[i] >= 0)
			(void)close(gate[i]);
	}
	return r;
}

int spawn_release(struct child *child)
{
	int r = sys_write_all(child->gate, "g", 1);

	(void)close(child->gate);
	child->gate = -1;
	return r;
}

int spawn_failure(const struct child *child, const char **call)
{
	struct report r;

	if (read(child->report, &r, sizeof(r)) != (ssize_t)sizeof(r))
		return 0;
	*call = calls[r.call];
	return r.error;
}

void spawn_close(struct child *child)
{
	int *fds[] = { &child->pidfd, &child->report, &child->gate };

	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
		if (*fds[i] >= 0)
			(void)close(*fds[i]);
		*fds[i] = -1;
	}
}
