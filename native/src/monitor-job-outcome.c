/* What came of a run of the runtime: the process that it made, that process's terminal, or why there is none. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "monitor.h"
#include "sys.h"

enum { LOG_TAIL = 12 * 1024 };

int job_terminal(struct job *job)
{
	return job->console < 0 ? -ENOENT : terminal_receive(job->console);
}

static int adopt(struct job *job, pid_t *pid, uint64_t *start_time)
{
	struct process_stat stat;
	char path[PATH_MAX];
	char text[16];
	char *end;
	ssize_t n;
	long value;
	int r;

	if (!(job->files & JOB_PID_FILE))
		return -ENOENT;
	n = sys_read_file(job_file(job, JOB_PID_FILE, path), text, sizeof(text));
	if (n < 0)
		return (int)n;
	value = text[0] >= '0' && text[0] <= '9' ? strtol(text, &end, 10) : 0;
	if (value <= 1 || value > 4194304 || (*end != 0 && strcmp(end, "\n") != 0))
		return -EINVAL;
	/* A child of ours that was not reaped keeps its pid: what is looked at is what is opened. */
	r = process_stat((pid_t)value, &stat);
	if (r < 0 || stat.parent != getpid() || value == job->child.pid)
		return r < 0 ? r : -ESRCH;
	*pid = (pid_t)value;
	*start_time = stat.start_time;
	return process_open((pid_t)value, stat.start_time);
}

int job_adopt(struct job *job, pid_t *pid, uint64_t *start_time)
{
	int r = -EIO;

	/* Whom we cannot adopt runs on unseen: what may be for a moment only is tried again. */
	for (int attempt = 0; attempt < 3 && r < 0 && r != -ENOENT && r != -EINVAL && r != -ESRCH; attempt++)
		r = adopt(job, pid, start_time);
	return r;
}

/* The tail of the runtime's log file, a line feed, the tail of its stderr. */
static struct span said(struct job *job)
{
	char *what = job->monitor->what;
	const struct capture *capture = &job->captures[1];
	size_t part = capture->length > WHAT_MAX - LOG_TAIL - 1 ? WHAT_MAX - LOG_TAIL - 1 : capture->length;
	char path[PATH_MAX];
	ssize_t n = 0;
	int fd = -1;
	size_t length;

	if (job->files & JOB_LOG)
		fd = open(job_file(job, JOB_LOG, path), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd >= 0) {
		off_t size = lseek(fd, 0, SEEK_END);

		n = pread(fd, what, LOG_TAIL, size > LOG_TAIL ? size - LOG_TAIL : 0);
		(void)close(fd);
	}
	length = n > 0 ? (size_t)n : 0;
	what[length++] = '\n';
	if (part > 0)
		memcpy(what + length, capture->data + capture->length - part, part);
	length += part;
	for (size_t i = 0; i < length; i++)
		if (what[i] == 0)
			what[i] = ' '; /* a str holds no NUL */
	return (struct span){ .data = (const uint8_t *)what, .length = (uint32_t)length };
}

void job_failed(struct job *job, int status, const char *why)
{
	if (why)
		job_capture(job, 1, why, strlen(why));
	reply_error(job->monitor, &job->request, ERR_RUNTIME_FAILED, status, said(job), "");
}

/* 128+n for signal n. */
static int exit_number(const struct process_exit *end)
{
	return end->code == CLD_EXITED ? end->status : 128 + end->status;
}

bool job_succeeded(struct job *job)
{
	const char *call = "";
	int error = spawn_failure(&job->child, &call);

	if (error != 0)
		reply_error(job->monitor, &job->request, ERR_SYSCALL, error,
			    (struct span){ .data = (const uint8_t *)call, .length = (uint32_t)strlen(call) }, "");
	else if (job->timed_out)
		reply_error(job->monitor, &job->request, ERR_TIMEOUT, 0, said(job), "");
	else if (exit_number(&job->exit) != 0)
		job_failed(job, exit_number(&job->exit), NULL);
	else
		return true;
	return false;
}
