#include "monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sys.h"

enum { STACK_USED = 128 * 1024 }; /* never more, of which what is mapped at all is given back */

/* How long who has ended may be left while runtimes are at work. */
enum { REAP_MS = 1000, REST_MS = 200 };

static struct monitor monitor;

static void give_back(struct timer *timer)
{
	struct monitor *m = container_of(timer, struct monitor, idle);

	if (m->used) {
		m->used = false;
		timer_set(&m->timers, &m->idle, IDLE_MS, give_back);
		return;
	}
	sys_give_back(m->chunk, sizeof(*m) - offsetof(struct monitor, chunk));
	sys_give_back_stack((const char *)__builtin_frame_address(0) - STACK_USED);
	connection_give_back(m);
	exec_give_back();
	if (m->jobs_in_flight == 0)
		sys_give_back(m->jobs, sizeof(m->jobs)); /* a free one is all zeros */
}

void monitor_touch(struct monitor *m)
{
	m->used = true;
	if (!m->idle.link)
		timer_set(&m->timers, &m->idle, IDLE_MS, give_back);
}

/*
 * Ends what failed creations left behind: unknown children in a mount namespace of no container. Their own children
 * become ours when they are gone, so it is done again, at the next SIGCHLD, until there are none.
 */
static void sweep(struct monitor *m)
{
	bool found = false;
	char path[64];
	char *text = (char *)m->payload;
	char *at = text;
	char *end;
	struct stat st;

	(void)snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	if (sys_read_file(path, text, sizeof(m->payload)) < 0)
		text[0] = 0;
	for (long pid = strtol(at, &end, 10); end != at; pid = strtol(at, &end, 10)) {
		bool known = false;

		at = end;
		(void)snprintf(path, sizeof(path), "/proc/%ld/ns/mnt", pid);
		if (process_start_time((pid_t)pid) < m->sweep_since || stat(path, &st) < 0)
			continue;
		for (size_t i = 0; i < MAX_CONTAINERS && !known; i++)
			known = m->containers[i].status.state != 0 && m->containers[i].mount_namespace == st.st_ino;
		if (!known)
			(void)kill((pid_t)pid, SIGKILL); /* our child, and not reaped: the pid is its own */
		found = found || !known;
	}
	if (!found)
		m->sweep_since = 0;
}

static void rested(struct timer *timer)
{
	struct monitor *m = container_of(timer, struct monitor, rest);

	for (size_t i = 0; i < MAX_CONTAINERS; i++)
		if (m->containers[i].status.state != 0 && m->containers[i].process.fd >= 0)
			(void)loop_change(&m->loop, &m->containers[i].process, EPOLLIN);
	for (size_t i = 0; i < MAX_JOBS; i++)
		if (m->jobs[i].done && m->jobs[i].process.fd >= 0)
			(void)loop_change(&m->loop, &m->jobs[i].process, EPOLLIN);
	execs_rested(m);
}

void monitor_rest(struct monitor *m, struct source *process)
{
	(void)loop_change(&m->loop, process, 0);
	if (!m->rest.link)
		timer_set(&m->timers, &m->rest, REST_MS, rested);
}

static bool dispatch_exit(struct monitor *m, pid_t pid)
{
	for (size_t i = 0; i < MAX_CONTAINERS; i++) {
		struct container *c = &m->containers[i];

		if (c->status.pid == pid && c->process.fd >= 0) {
			c->process.ready(&c->process, EPOLLIN);
			return true;
		}
	}
	return exec_exited(m, pid);
}

/* A child that has ended, which stays one; 0: none has. */
static pid_t ended_child(void)
{
	siginfo_t info = { .si_pid = 0 };

	return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 ? 0 : info.si_pid;
}

static bool is_known(const struct monitor *m, pid_t pid)
{
	for (size_t i = 0; i < MAX_CONTAINERS; i++)
		if (m->containers[i].status.pid == pid && m->containers[i].process.fd >= 0)
			return true;
	return exec_is_of(pid);
}

/*
 * While runtimes are at work: who is older than all of them was made by none of them. Without this what the containers of
 * a busy pod that share the host's process ids leave behind would never be reaped.
 */
static void reap_old(struct timer *timer)
{
	struct monitor *m = container_of(timer, struct monitor, strangers);
	uint64_t oldest = UINT64_MAX;
	struct process_stat stat;
	char path[64];
	char *at = (char *)m->payload;
	char *end;

	for (size_t i = 0; i < MAX_JOBS; i++)
		if (m->jobs[i].done && m->jobs[i].begun_ticks < oldest)
			oldest = m->jobs[i].begun_ticks;
	monitor_touch(m);
	(void)snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	if (sys_read_file(path, at, sizeof(m->payload)) < 0)
		return;
	for (long pid = strtol(at, &end, 10); end != at; pid = strtol(at, &end, 10)) {
		at = end;
		/* Those that are known are told of by their own descriptors. */
		if (process_stat((pid_t)pid, &stat) == 0 && stat.state == 'Z' && stat.start_time < oldest && !is_known(m, (pid_t)pid))
			(void)waitid(P_PID, (id_t)pid, &(siginfo_t){ .si_pid = 0 }, WEXITED | WNOHANG);
	}
}

void monitor_reap(struct monitor *m)
{
	if (m->jobs_in_flight > 0) {
		if (!m->strangers.link && ended_child() != 0)
			timer_set(&m->timers, &m->strangers, REAP_MS, reap_old);
		return;
	}
	if (m->sweep_since > 0)
		sweep(m);
	for (pid_t pid = ended_child(); pid != 0; pid = ended_child())
		if (!dispatch_exit(m, pid))
			(void)waitid(P_PID, (id_t)pid, &(siginfo_t){ .si_pid = 0 }, WEXITED | WNOHANG);
}

static void signals_ready(struct source *source, uint32_t events)
{
	struct monitor *m = container_of(source, struct monitor, signals);
	struct signalfd_siginfo info;

	(void)events;
	while (read(source->fd, &info, sizeof(info)) > 0)
		m->asked_to_end = m->asked_to_end || info.ssi_signo == SIGTERM;
	monitor_reap(m);
}

/* Everything that may fail does so here, before there is a container that could be lost. */
static int prepare(struct monitor *m)
{
	struct rlimit files;
	sigset_t heard;
	sigset_t all;
	int r;

	(void)prctl(PR_SET_DUMPABLE, 0);
	/* Its command line is the launcher's, which it was forked from; by this name an operator can tell them apart. */
	(void)prctl(PR_SET_NAME, "nacelle-monitor");
	if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
		return -errno;
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files); /* what it executes gets 1024 back */
	}
	spawn_reset_signals();
	(void)sigfillset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, NULL);
	(void)sigemptyset(&heard);
	(void)sigaddset(&heard, SIGCHLD);
	(void)sigaddset(&heard, SIGTERM);
	r = loop_open(&m->loop);
	if (r == 0)
		r = timers_open(&m->timers, &m->loop);
	m->signals = (struct source){ .fd = signalfd(-1, &heard, SFD_NONBLOCK | SFD_CLOEXEC), .ready = signals_ready };
	if (r == 0)
		r = m->signals.fd < 0 ? -errno : loop_add(&m->loop, &m->signals, EPOLLIN);
	return r < 0 ? r : connection_listen(m);
}

_Noreturn void monitor_main(const struct monitor_options *options)
{
	struct monitor *m = &monitor;

	m->options = *options;
	m->epoch = options->epoch;
	m->start_time = process_start_time(getpid());
	if (prepare(m) < 0)
		_exit(1);
	/* From here on nothing may end this process while something lives: it alone knows how its children end. */
	for (;;) {
		(void)loop_turn(&m->loop);
		end_if_asked(m);
	}
}
