/* RUN: an executable with bounded output. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "launcher.h"
#include "sys.h"

static char *argv_room[ARENA / sizeof(char *)];
static char *env_room[ARENA / sizeof(char *)];

void run_answer(struct job *job, enum outcome outcome)
{
	static uint8_t data[STDOUT_MAX + STDERR_MAX + 64];
	struct writer w = wire_writer(data, sizeof(data));
	bool exited = outcome == OUTCOME_EXITED;

	if (exited && job->exit.code != CLD_EXITED)
		outcome = OUTCOME_SIGNALED;
	wire_put_u8(&w, (uint8_t)outcome);
	wire_put_i32(&w, exited ? job->exit.status : 0);
	wire_put_u8(&w, job->output[0].truncated || job->output[1].truncated);
	for (int i = 0; i < 2; i++)
		wire_put_bytes(&w, job->output[i].data, job->output[i].length);
	answer(job->launcher, job->request, data, w.length);
}

/* Complete when the child is gone and nobody can write any more. */
static void settle(struct job *job)
{
	if (!job->reaped || job->output[0].source.fd >= 0 || job->output[1].source.fd >= 0)
		return;
	run_answer(job, OUTCOME_EXITED);
	job_answer(job);
}

void run_reaped(struct job *job)
{
	const char *call;
	int error = spawn_failure(&job->child, &call);

	if (error) {
		answer_error(job->launcher, job->request, ERR_SYSCALL, error, call, job->what);
		job_answer(job);
		return;
	}
	job->deadline = sys_monotonic_ms() + LINGER_MS;
	launcher_arm(job->launcher, job->deadline);
	settle(job);
}

static void on_output(struct source *source, uint32_t events)
{
	struct capture *capture = container_of(source, struct capture, source);
	static uint8_t waste[65536];
	uint32_t space = capture->capacity - capture->length;
	ssize_t n = read(source->fd, space > 0 ? capture->data + capture->length : waste, space > 0 ? space : sizeof(waste));

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		loop_close(&capture->job->launcher->loop, source);
		settle(capture->job);
		return;
	}
	if (space > 0)
		capture->length += (uint32_t)n;
	else
		capture->truncated = true;
}

static int open_output(struct job *job, int i, int *writer)
{
	struct capture *capture = &job->output[i];
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	*writer = ends[1];
	capture->source = (struct source){ .fd = ends[0], .ready = on_output };
	capture->capacity = i == 0 ? STDOUT_MAX : STDERR_MAX;
	capture->data = malloc(capture->capacity);
	if (!capture->data)
		return -ENOMEM;
	if (fcntl(ends[0], F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	return loop_add(&job->launcher->loop, &capture->source, EPOLLIN);
}

/* A file in memory: no writer has to be fed while the child runs. */
static int open_input(struct span input)
{
	int fd = memfd_create("stdin", MFD_CLOEXEC);
	int r;

	if (fd < 0)
		return -errno;
	r = sys_write_all(fd, input.data, input.length);
	if (r == 0 && lseek(fd, 0, SEEK_SET) < 0)
		r = -errno;
	if (r == 0)
		return fd;
	(void)close(fd);
	return r;
}

static int start(struct job *job, struct spawn *spawn, struct span input)
{
	int r = open_input(input);

	spawn->stdio[0] = r;
	for (int i = 0; i < 2 && r >= 0; i++)
		r = open_output(job, i, &spawn->stdio[i + 1]);
	if (r >= 0) {
		do
			r = spawn_child(spawn, &job->child);
		while (r < 0 && job_leave_cgroup(job->launcher, r) && (spawn->cgroup = -1));
	}
	for (int i = 0; i < 3; i++)
		if (spawn->stdio[i] >= 0)
			(void)close(spawn->stdio[i]);
	return r;
}

void run_request(struct launcher *launcher, struct frame_header request, struct reader *reader)
{
	struct spawn spawn = { .stdio = { -1, -1, -1 }, .cgroup = launcher->cgroup, .gated = true };
	struct job_head head;
	char cwd[PATH_ROOM];
	struct span input;
	struct job *job;
	int r;

	if (!job_head(launcher, request, reader, &head))
		return;
	(void)wire_copy(reader, cwd, sizeof(cwd));
	spawn.cwd = cwd[0] ? cwd : NULL;
	spawn.argv = wire_vector(reader, argv_room, sizeof(argv_room), NULL);
	spawn.env = wire_vector(reader, env_room, sizeof(env_room), NULL);
	spawn.oom_score_adj = SPAWN_KEEP_OOM;
	input = wire_bytes(reader);
	if (reader->bad || spawn.argv[0] == NULL || spawn.argv[0][0] != '/') {
		answer_error(launcher, request, ERR_MALFORMED, 0, "cwd, argv, env, stdin", "");
		return;
	}
	job = job_take(launcher, request, JOB_RUN);
	if (!job)
		return;
	(void)snprintf(job->what, sizeof(job->what), "%s", spawn.argv[0]);
	job->deadline = sys_monotonic_ms() + head.deadline_ms;
	r = start(job, &spawn, input);
	if (r >= 0) {
		(void)job_admit(job, head.owner);
		return;
	}
	answer_error(launcher, request, ERR_SYSCALL, -r, "clone3", spawn.argv[0]);
	job_drop(job);
}
