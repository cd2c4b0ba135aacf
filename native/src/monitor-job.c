#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "monitor.h"
#include "sys.h"

enum { AFTER_EXIT_MS = 1000, AFTER_KILL_MS = 1000 };

bool deadline_valid(uint32_t deadline)
{
	return deadline >= 1 && deadline <= MAX_DEADLINE;
}

bool arguments_read(struct monitor *m, struct reader *r, struct job_plan *plan)
{
	size_t count = 0;

	monitor_touch(m);
	plan->argv = wire_vector(r, m->argv, sizeof(m->argv), &count);
	plan->env = wire_vector(r, m->env, sizeof(m->env), NULL);
	return !r->bad && count > 0 && plan->argv[0][0] == '/';
}

static void capture_room(struct capture *capture, size_t capacity)
{
	void *p;

	if (capture->data)
		return;
	p = mmap(NULL, capacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p != MAP_FAILED)
		capture->data = p;
}

void job_capture(struct job *job, int index, const char *data, size_t length)
{
	struct capture *capture = &job->captures[index];
	size_t room;

	capture_room(capture, capture->capacity);
	if (!capture->data || (capture->tail && length > capture->capacity / 2)) {
		size_t kept = capture->data ? capture->capacity / 2 : 0;

		capture->dropped += length - kept;
		data += length - kept;
		length = kept;
	}
	if (capture->tail && capture->length + length > capture->capacity) {
		size_t gone = capture->length + length - capture->capacity / 2;

		gone = gone > capture->length ? capture->length : gone;
		memmove(capture->data, capture->data + gone, capture->length - gone);
		capture->length -= gone;
		capture->dropped += gone;
	}
	room = capture->data ? capture->capacity - capture->length : 0;
	capture->dropped += length > room ? length - room : 0;
	length = length > room ? room : length;
	if (length > 0)
		memcpy(capture->data + capture->length, data, length);
	capture->length += length;
}

static void job_free(struct job *job)
{
	struct monitor *m = job->monitor;

	timer_clear(&m->timers, &job->timer);
	for (int i = 0; i < 2; i++) {
		loop_close(&m->loop, &job->pipes[i]);
		if (job->captures[i].data)
			(void)munmap(job->captures[i].data, job->captures[i].capacity);
	}
	loop_close(&m->loop, &job->process);
	if (job->console >= 0)
		(void)close(job->console);
	job->child.pidfd = -1;
	spawn_close(&job->child);
	job_remove_files(job);
	memset(job, 0, sizeof(*job));
	m->jobs_in_flight--;
}

static void finish(struct job *job)
{
	struct monitor *m = job->monitor;

	job->done(job);
	job_free(job);
	monitor_reap(m);
}

/* Reads what is there; false at the pipe's end. */
static bool drain(struct job *job, int index)
{
	struct monitor *m = job->monitor;
	struct source *pipe = &job->pipes[index];

	monitor_touch(m);
	for (int round = 0; pipe->fd >= 0 && round < 4; round++) {
		ssize_t n = read(pipe->fd, m->chunk, sizeof(m->chunk));

		if (n < 0)
			return true;
		if (n == 0)
			loop_close(&m->loop, pipe);
		else
			job_capture(job, index, m->chunk, (size_t)n);
	}
	return pipe->fd >= 0;
}

static void pipe_ready(struct job *job, int index)
{
	if (!drain(job, index) && job->ended && job->pipes[0].fd < 0 && job->pipes[1].fd < 0)
		finish(job);
}

static void stdout_ready(struct source *source, uint32_t events)
{
	(void)events;
	pipe_ready(container_of(source, struct job, pipes[0]), 0);
}

static void stderr_ready(struct source *source, uint32_t events)
{
	(void)events;
	pipe_ready(container_of(source, struct job, pipes[1]), 1);
}

static void after_exit(struct timer *timer)
{
	finish(container_of(timer, struct job, timer));
}

static void process_ready(struct source *source, uint32_t events)
{
	struct job *job = container_of(source, struct job, process);
	struct monitor *m = job->monitor;
	siginfo_t info = { .si_pid = 0 };

	(void)events;
	if (waitid(P_PIDFD, (id_t)source->fd, &info, WEXITED | WNOHANG) < 0)
		info.si_code = 0; /* unknown, which is not success */
	else if (info.si_pid == 0) {
		monitor_rest(m, source);
		return;
	}
	job->exit = process_exit_of(info.si_code, info.si_status);
	job->ended = true;
	loop_close(&m->loop, &job->process);
	(void)drain(job, 0);
	(void)drain(job, 1);
	if (job->answers_late && (job->pipes[0].fd >= 0 || job->pipes[1].fd >= 0))
		timer_set(&m->timers, &job->timer, AFTER_EXIT_MS, after_exit);
	else
		finish(job);
}

/* Killed, yet not gone: the answer does not wait for it, the slot does. */
static void after_kill(struct timer *timer)
{
	struct job *job = container_of(timer, struct job, timer);

	reply_text(job->monitor, &job->request, ERR_TIMEOUT, 0, "the runtime was killed at its deadline and cannot end");
}

static void deadline_passed(struct timer *timer)
{
	struct job *job = container_of(timer, struct job, timer);

	job->timed_out = true;
	kill_tree(job->child.pid, job->process.fd);
	timer_set(&job->monitor->timers, &job->timer, AFTER_KILL_MS, after_kill);
}

void job_expire(struct job *job)
{
	if (!job->timed_out)
		deadline_passed(&job->timer);
}

/* A pipe for one of the runtime's own outputs; returns the write end or -errno. */
static int capture_pipe(struct job *job, int index, size_t capacity, bool tail)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	(void)fcntl(ends[0], F_SETFL, O_NONBLOCK);
	job->pipes[index] = (struct source){ .fd = ends[0], .ready = index == 0 ? stdout_ready : stderr_ready };
	job->captures[index] = (struct capture){ .capacity = capacity, .tail = tail };
	if (loop_add(&job->monitor->loop, &job->pipes[index], EPOLLIN) < 0) {
		(void)close(ends[1]);
		return -ENOMEM;
	}
	return ends[1];
}

static int launch(struct job *job, const struct job_plan *plan)
{
	struct spawn spawn = { .cwd = plan->cwd, .argv = plan->argv, .env = plan->env, .cgroup = -1,
			       .oom_score_adj = job->monitor->options.oom_score_adj, .stdio = { -1, -1, -1 },
			       /* `crun start` waits for ever for an init that was killed when its monitor was lost. */
			       .dies_with_us = true,
			       /* It begins when its end will be seen: if that cannot be, it ends as it is. */
			       .gated = true };
	int own[2] = { -1, -1 };
	int r = job_place_files(job, plan->argv, plan->process, job->monitor->paths);

	spawn.stdio[0] = plan->stdio[0];
	for (int i = 0; i < 2 && r == 0; i++) {
		spawn.stdio[i + 1] = plan->stdio[i + 1];
		if (spawn.stdio[i + 1] < 0) {
			own[i] = capture_pipe(job, i, plan->capacity[i], plan->tail);
			spawn.stdio[i + 1] = own[i];
			r = own[i] < 0 ? own[i] : 0;
		}
	}
	if (r == 0)
		r = spawn_child(&spawn, &job->child);
	for (int i = 0; i < 2; i++)
		if (own[i] >= 0)
			(void)close(own[i]);
	if (r < 0)
		return r;
	job->process = (struct source){ .fd = job->child.pidfd, .ready = process_ready };
	r = loop_add(&job->monitor->loop, &job->process, EPOLLIN);
	return r < 0 ? r : spawn_release(&job->child);
}

int job_start(struct monitor *m, const struct job_plan *plan)
{
	struct job *job = m->jobs;
	int r;

	while (job < m->jobs + MAX_JOBS && job->done)
		job++;
	if (job == m->jobs + MAX_JOBS) {
		reply_text(m, plan->request, ERR_LIMIT, 0, "too many runtimes at work");
		return -EAGAIN;
	}
	*job = (struct job){ .monitor = m, .done = plan->done, .request = *plan->request, .serial = ++m->serial, .container = plan->container,
			     .exec = plan->exec, .answers_late = plan->answers_late, .begun_ticks = process_ticks() };
	job->process.fd = job->pipes[0].fd = job->pipes[1].fd = job->console = -1;
	job->child = (struct child){ .pidfd = -1, .report = -1, .gate = -1 };
	for (int i = 0; i < 2; i++)
		job->captures[i] = (struct capture){ .capacity = plan->capacity[i], .tail = plan->tail };
	m->jobs_in_flight++;
	r = launch(job, plan);
	if (r < 0) {
		job_free(job);
		reply_error(m, plan->request, ERR_SYSCALL, -r, (struct span){ .data = (const uint8_t *)"spawn", .length = 5 }, plan->argv[0]);
		return r;
	}
	timer_set(&m->timers, &job->timer, plan->deadline, deadline_passed);
	if (plan->slot)
		*plan->slot = job;
	plan->request->type = 0;
	return 0;
}
