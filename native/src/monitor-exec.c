#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "monitor-exec.h"
#include "sys.h"

enum { AFTER_KILL_MS = 1000 };

/* Whole pages, which can be given back. */
static struct exec execs[MAX_EXECS] __attribute__((aligned(4096)));

struct exec *exec_slot(void)
{
	struct exec *e = execs;

	while (e < execs + MAX_EXECS && e->monitor)
		e++;
	return e == execs + MAX_EXECS ? NULL : e;
}

bool exec_is_any(void)
{
	for (size_t i = 0; i < MAX_EXECS; i++)
		if (execs[i].monitor)
			return true;
	return false;
}

void exec_give_back(void)
{
	if (exec_is_any())
		return;
	sys_give_back(execs, sizeof(execs));
	exec_cgroups_give_back();
}

void exec_free(struct exec *e)
{
	struct monitor *m = e->monitor;

	timer_clear(&m->timers, &e->timer);
	for (int i = 0; i < 2; i++)
		loop_close(&m->loop, &e->streams[i].source);
	loop_close(&m->loop, &e->process);
	if (e->connection)
		e->connection->exec = NULL;
	input_close(&e->input);
	if (e->slave >= 0)
		(void)close(e->slave);
	exec_cgroup_leave(e->cgroup);
	*e = (struct exec){ .monitor = NULL };
}

/* The request was answered; what its connection sends from now on is not for this. */
static void forget_client(struct exec *e)
{
	struct connection *c = e->connection;

	if (!c)
		return;
	c->exec = NULL;
	e->connection = NULL;
	connection_resume(c);
}

static void answer(struct exec *e, uint8_t outcome)
{
	struct writer w;

	if (!e->connection)
		return;
	w = reply_begin(e->monitor);
	wire_put_u8(&w, outcome);
	wire_put_i32(&w, e->exit.status);
	if (e->is_stream) {
		connection_send(e->connection, EVT_EXEC_EXIT, 0, e->request.seq, w.data, w.length);
	} else {
		wire_put_u64(&w, e->dropped);
		reply(e->monitor, &e->request, &w);
	}
	forget_client(e);
}

void exec_complete(struct exec *e)
{
	answer(e, e->timed_out ? OUTCOME_TIMED_OUT : e->exit.code == CLD_EXITED ? OUTCOME_EXITED : OUTCOME_SIGNALED);
	exec_free(e);
}

/* Without a cgroup of its own, what has left the process's session and lost its parent is not found. */
static void stop_process(struct exec *e)
{
	bool is_killed = exec_cgroup_kill(e->cgroup);

	if (e->process.fd >= 0 && is_killed)
		(void)sys_pidfd_kill(e->process.fd, SIGKILL);
	else if (e->process.fd >= 0)
		kill_tree(e->pid, e->process.fd);
}

static void process_ready(struct source *source, uint32_t events)
{
	struct exec *e = container_of(source, struct exec, process);
	siginfo_t info = { .si_pid = 0 };

	(void)events;
	if (waitid(P_PIDFD, (id_t)source->fd, &info, WEXITED | WNOHANG) == 0 && info.si_pid == 0) {
		monitor_rest(e->monitor, source);
		return;
	}
	e->exit = process_exit_of(info.si_code, info.si_status);
	e->ended = true;
	e->exited_at = sys_monotonic_ms();
	loop_close(&e->monitor->loop, &e->process);
	timer_clear(&e->monitor->timers, &e->timer);
	input_close(&e->input);
	/* A terminal that nobody else has open is at its end once what it holds was read. */
	if (e->slave >= 0)
		(void)close(e->slave);
	e->slave = -1;
	for (int i = 0; i < 2; i++)
		if (e->streams[i].source.fd >= 0 && !(e->wanted & STREAM_TERMINAL))
			(void)ioctl(e->streams[i].source.fd, FIONREAD, &e->streams[i].owed);
	if (!e->connection)
		exec_free(e);
	else
		exec_settle(e);
}

static struct exec *find(pid_t pid)
{
	for (size_t i = 0; i < MAX_EXECS; i++)
		if (execs[i].pid == pid && execs[i].process.fd >= 0 && execs[i].monitor)
			return &execs[i];
	return NULL;
}

bool exec_is_of(pid_t pid)
{
	return find(pid) != NULL;
}

void execs_rested(struct monitor *m)
{
	for (size_t i = 0; i < MAX_EXECS; i++)
		if (execs[i].monitor && execs[i].process.fd >= 0)
			(void)loop_change(&m->loop, &execs[i].process, EPOLLIN);
}

bool exec_exited(struct monitor *m, pid_t pid)
{
	struct exec *e = find(pid);

	(void)m;
	if (e)
		e->process.ready(&e->process, EPOLLIN);
	return e != NULL;
}

/* Killed, yet not gone: the answer does not wait for it, the slot does. */
static void after_kill(struct timer *timer)
{
	struct exec *e = container_of(timer, struct exec, timer);

	answer(e, OUTCOME_TIMED_OUT);
}

static void timed_out(struct timer *timer)
{
	struct exec *e = container_of(timer, struct exec, timer);

	e->timed_out = true;
	stop_process(e);
	timer_set(&e->monitor->timers, timer, AFTER_KILL_MS, after_kill);
}

void exec_abandon(struct exec *e)
{
	e->connection = NULL;
	for (int i = 0; i < 2; i++)
		loop_close(&e->monitor->loop, &e->streams[i].source);
	input_close(&e->input);
	timer_clear(&e->monitor->timers, &e->timer);
	if (e->ended)
		exec_free(e);
	else
		stop_process(e); /* still with the runtime: killed at the latest when that returns */
}

/* The process has one, and all that it says comes from there. 0 or -errno. */
static int take_terminal(struct exec *e, struct job *job)
{
	struct source *source = &e->streams[0].source;
	int master = job_terminal(job);
	int writer;

	if (master < 0)
		return master;
	source->fd = master;
	e->streams[0].wide = true; /* it is no pipe */
	terminal_resize(master, e->width, e->height);
	e->slave = terminal_prepare(master);
	writer = e->slave >= 0 && (e->wanted & STREAM_STDIN) ? fcntl(master, F_DUPFD_CLOEXEC, 3) : -1;
	if (e->slave < 0 || ((e->wanted & STREAM_STDIN) && writer < 0) || loop_add(&e->monitor->loop, source, EPOLLIN) < 0) {
		if (writer >= 0)
			(void)close(writer);
		return -ENOTTY;
	}
	if (writer >= 0)
		input_open(&e->input, e->monitor, writer);
	return 0;
}

bool exec_is_stream(const struct exec *e)
{
	return e->is_stream;
}

bool exec_input(struct exec *e, struct input **input)
{
	*input = e->is_stream ? &e->input : NULL;
	return !e->job;
}

void exec_end_input(struct exec *e)
{
	input_close(&e->input);
}

bool exec_has_terminal(const struct exec *e)
{
	return e->wanted & STREAM_TERMINAL;
}

void exec_resize(struct exec *e, uint16_t width, uint16_t height)
{
	if (e->wanted & STREAM_TERMINAL)
		terminal_resize(e->streams[0].source.fd, width, height);
}

/* The process runs and its client is there: what it has said goes on, and what it says from now on. */
static void begin(struct exec *e, struct job *job)
{
	struct monitor *m = e->monitor;

	e->request = job->request;
	if (e->is_stream)
		reply_empty(m, &job->request);
	job->request.type = 0;
	for (int i = 0; i < 2; i++) {
		if (job->captures[i].length > 0)
			exec_forward(&e->streams[i], job->captures[i].data, job->captures[i].length);
		e->dropped += job->captures[i].dropped;
		if (connection_pending(e->connection) <= EXEC_PENDING)
			exec_stream_resume(&e->streams[i]);
	}
	if (e->timeout > 0)
		timer_set(&m->timers, &e->timer, e->timeout, timed_out);
	connection_resume(e->connection);
}

void exec_returned(struct job *job)
{
	struct exec *e = job->exec;
	struct monitor *m = e->monitor;
	uint64_t start_time;
	int pidfd = job_adopt(job, &e->pid, &start_time); /* its pid stays 0 if nobody knows it */
	bool success = job_succeeded(job);

	e->job = NULL;
	if (success && pidfd < 0)
		job_failed(job, 0, "the runtime's pid file names no child of its own");
	if (success && pidfd >= 0 && (e->wanted & STREAM_TERMINAL) && take_terminal(e, job) < 0) {
		job_failed(job, 0, "the runtime sent no terminal");
		success = false;
	}
	if (pidfd < 0) {
		(void)exec_cgroup_kill(e->cgroup);
		if (e->pid > 0)
			kill_tree(e->pid, -1);
		forget_client(e);
		exec_free(e);
		return;
	}
	e->cgroup = exec_cgroup_joined(e->cgroup);
	e->process = (struct source){ .fd = pidfd, .ready = process_ready };
	(void)loop_add(&m->loop, &e->process, EPOLLIN);
	if (!success || !e->connection) {
		forget_client(e);
		exec_abandon(e);
		return;
	}
	begin(e, job);
}
