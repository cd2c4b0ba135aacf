#include <sys/wait.h>

#include "monitor.h"

enum { STDOUT_MAX = 128 * 1024, STDERR_MAX = 64 * 1024 };

static void put_capture(struct writer *w, const struct capture *capture)
{
	wire_put_bytes(w, capture->data ? capture->data : "", capture->length);
}

static void runtime_done(struct job *job)
{
	struct monitor *m = job->monitor;
	bool exited = job->exit.code == CLD_EXITED;
	const char *call = "";
	int error = spawn_failure(&job->child, &call);
	struct writer w;

	if (error != 0) {
		(void)job_succeeded(job);
		return;
	}
	w = reply_begin(m);
	wire_put_u8(&w, job->timed_out ? OUTCOME_TIMED_OUT : exited ? OUTCOME_EXITED : OUTCOME_SIGNALED);
	wire_put_i32(&w, job->exit.status);
	wire_put_u8(&w, job->captures[0].dropped + job->captures[1].dropped > 0);
	put_capture(&w, &job->captures[0]);
	put_capture(&w, &job->captures[1]);
	reply(m, &job->request, &w);
}

void runtime_request(struct monitor *m, struct request *to, struct reader *r)
{
	struct job_plan plan = { .request = to, .deadline = wire_u32(r), .stdio = { -1, -1, -1 },
				 .capacity = { STDOUT_MAX, STDERR_MAX }, .done = runtime_done, .cwd = m->path, .answers_late = true };
	bool valid;

	(void)wire_copy(r, m->path, sizeof(m->path));
	valid = arguments_read(m, r, &plan);
	if (r->bad)
		return;
	if (!valid || !deadline_valid(plan.deadline) || m->path[0] != '/')
		reply_text(m, to, ERR_MALFORMED, 0, valid ? "deadlineMs or cwd" : "argv");
	else
		(void)job_start(m, &plan);
}
