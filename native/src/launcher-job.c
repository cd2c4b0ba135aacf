/* The table of children that work for a request, their records and deadlines. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "launcher.h"
#include "sys.h"

bool job_head(struct launcher *launcher, struct frame_header request, struct reader *reader, struct job_head *head)
{
	(void)wire_copy(reader, head->owner, sizeof(head->owner));
	(void)wire_copy(reader, head->what, sizeof(head->what));
	head->deadline_ms = wire_u32(reader);
	if (reader->bad)
		answer_error(launcher, request, ERR_MALFORMED, 0, "owner, what, deadlineMs", "");
	else if (head->deadline_ms == 0 || head->deadline_ms > DEADLINE_MAX_MS)
		answer_error(launcher, request, ERR_MALFORMED, 0, "deadlineMs", "");
	else
		return true;
	return false;
}

static void record_name(const struct job *job, char name[64])
{
	(void)snprintf(name, 64, "%" PRIu64 "-%" PRIu64, job->launcher->epoch, job->request.seq);
}

struct job *job_take(struct launcher *launcher, struct frame_header request, enum job_kind kind)
{
	struct job *free_job = NULL;
	size_t stuck = 0;

	for (size_t i = 0; i < OPERATIONS_MAX; i++) {
		struct job *job = &launcher->jobs[i];

		if (job->kind == JOB_FREE)
			free_job = job;
		else if (job->answered && job->kind != JOB_SERVING)
			stuck++;
	}
	if (!free_job || stuck >= STUCK_MAX) {
		answer_error(launcher, request, ERR_LIMIT, 0, free_job ? "children that cannot die" : "operations", "");
		return NULL;
	}
	*free_job = (struct job){ .kind = kind, .launcher = launcher, .request = request };
	free_job->child = (struct child){ .pidfd = -1, .report = -1, .gate = -1 };
	for (int i = 0; i < 2; i++)
		free_job->output[i] = (struct capture){ .source = { .fd = -1 }, .job = free_job };
	return free_job;
}

static int write_record(const struct job *job, const char *owner)
{
	char name[64];
	char text[192];
	int n = snprintf(text, sizeof(text), "%d %" PRIu64 " %s\n", (int)job->child.pid,
			 process_start_time(job->child.pid), owner);
	int fd;
	int r = 0;

	record_name(job, name);
	fd = openat(job->launcher->records, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	if (write(fd, text, (size_t)n) != n)
		r = -EIO;
	(void)close(fd);
	if (r < 0)
		(void)unlinkat(job->launcher->records, name, 0);
	return r;
}

bool job_admit(struct job *job, const char *owner)
{
	int r = write_record(job, owner);

	if (r == 0) {
		(void)spawn_release(&job->child);
		if (job->deadline)
			launcher_arm(job->launcher, job->deadline);
		return true;
	}
	answer_error(job->launcher, job->request, ERR_SYSCALL, -r, "open", "operation record");
	job->answered = true;
	(void)close(job->child.gate); /* the child sees the end of its gate and goes */
	job->child.gate = -1;
	return false;
}

/* In the child: nothing of the launcher but `keep`, which becomes fd 3. Blocks until the gate opens. */
static void enter_child(int gate, int *keep)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int kept = keep ? fcntl(*keep, F_DUPFD_CLOEXEC, 16) : -1;
	char go;

	(void)setsid();
	gate = fcntl(gate, F_DUPFD_CLOEXEC, 16);
	if (null < 0 || gate < 0 || (keep && kept < 0) || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0)
		_exit(127);
	if (keep) {
		if (dup3(kept, 3, O_CLOEXEC) < 0)
			_exit(127);
		*keep = 3;
	}
	if (dup3(gate, 4, O_CLOEXEC) < 0)
		_exit(127);
	(void)sys_close_range(5, ~0U);
	if (!keep)
		(void)close(3);
	if (read(4, &go, 1) != 1)
		_exit(127);
	(void)close(4);
	spawn_reset_signals();
}

bool job_leave_cgroup(struct launcher *launcher, int error)
{
	if (launcher->cgroup < 0 || error == -EAGAIN || error == -ENOMEM)
		return false;
	launcher_log("cgroup of operations given up:", "clone3", -error);
	(void)close(launcher->cgroup);
	launcher->cgroup = -1;
	return true;
}

int job_fork(struct job *job, int *keep, const char *owner)
{
	struct launcher *launcher = job->launcher;
	int gate[2];
	pid_t pid;

	if (pipe2(gate, O_CLOEXEC) < 0)
		return -errno;
	do
		pid = sys_fork(launcher->cgroup, &job->child.pidfd);
	while (pid < 0 && job_leave_cgroup(launcher, pid));
	if (pid == 0) {
		(void)close(gate[1]);
		enter_child(gate[0], keep);
		return 1;
	}
	(void)close(gate[0]);
	if (pid < 0) {
		(void)close(gate[1]);
		return pid;
	}
	job->child.pid = pid;
	job->child.gate = gate[1];
	(void)job_admit(job, owner);
	return 0;
}

void job_drop(struct job *job)
{
	for (int i = 0; i < 2; i++) {
		loop_close(&job->launcher->loop, &job->output[i].source);
		free(job->output[i].data);
	}
	if (job->performed)
		(void)munmap(job->performed, sizeof(*job->performed));
	spawn_close(&job->child);
	job->kind = JOB_FREE;
}

/* To be called after the answer was sent. The output is of no interest any more; the child may be. */
void job_answer(struct job *job)
{
	job->answered = true;
	job->deadline = 0;
	if (job->reaped) {
		job_drop(job);
		return;
	}
	for (int i = 0; i < 2; i++) {
		loop_close(&job->launcher->loop, &job->output[i].source);
		free(job->output[i].data);
		job->output[i].data = NULL;
	}
}

/* Only while it is not reaped, so the number cannot have passed to somebody else. */
void job_kill(struct job *job)
{
	if (job->reaped)
		return;
	(void)kill(-job->child.pid, SIGKILL);
	(void)sys_pidfd_kill(job->child.pidfd, SIGKILL);
}

bool job_reaped(struct launcher *launcher, pid_t pid, struct process_exit exit)
{
	for (size_t i = 0; i < OPERATIONS_MAX; i++) {
		struct job *job = &launcher->jobs[i];
		char name[64];

		if (job->kind == JOB_FREE || job->reaped || job->child.pid != pid)
			continue;
		record_name(job, name);
		(void)unlinkat(launcher->records, name, 0);
		job->exit = exit;
		job->reaped = true;
		if (job->answered)
			job_drop(job);
		else if (job->kind == JOB_RUN)
			run_reaped(job);
		else
			perform_reaped(job);
		return true;
	}
	return false;
}

/* Answers for a job that ends before its work: TIMEOUT or CANCELLED. */
static void give_up(struct job *job, enum error_code code)
{
	job_kill(job);
	if (job->kind == JOB_RUN)
		run_answer(job, code == ERR_TIMEOUT ? OUTCOME_TIMED_OUT : OUTCOME_CANCELLED);
	else
		answer_error_at(job->launcher, job->request, code, 0, job->performed->index, job->what, "");
	job_answer(job);
}

uint64_t job_deadlines(struct launcher *launcher, uint64_t now)
{
	uint64_t next = 0;

	for (size_t i = 0; i < OPERATIONS_MAX; i++) {
		struct job *job = &launcher->jobs[i];

		if (job->kind == JOB_FREE || job->answered || job->deadline == 0)
			continue;
		if (job->deadline > now) {
			next = next == 0 || job->deadline < next ? job->deadline : next;
		} else if (job->reaped) {
			run_answer(job, OUTCOME_EXITED);
			job_answer(job);
		} else {
			give_up(job, ERR_TIMEOUT);
		}
	}
	return next;
}

void job_cancel(struct launcher *launcher, struct frame_header request, struct reader *reader)
{
	uint64_t seq = wire_u64(reader);

	for (size_t i = 0; i < OPERATIONS_MAX; i++) {
		struct job *job = &launcher->jobs[i];

		if (job->kind == JOB_FREE || job->answered || job->request.seq != seq)
			continue;
		give_up(job, ERR_CANCELLED);
		answer(launcher, request, NULL, 0);
		return;
	}
	answer_error(launcher, request, ERR_NO_SUCH, 0, "request", "");
}

void job_kill_all(struct launcher *launcher)
{
	for (size_t i = 0; i < OPERATIONS_MAX; i++) {
		struct job *job = &launcher->jobs[i];

		if (job->kind == JOB_FREE)
			continue;
		job_kill(job);
		job_answer(job);
	}
	if (launcher->cgroup_kill >= 0)
		(void)!write(launcher->cgroup_kill, "1", 1);
}

bool job_any(const struct launcher *launcher)
{
	for (size_t i = 0; i < OPERATIONS_MAX; i++)
		if (launcher->jobs[i].kind != JOB_FREE)
			return true;
	return false;
}
