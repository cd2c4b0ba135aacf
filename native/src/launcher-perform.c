/* PERFORM: operations of our own in a child. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "launcher.h"
#include "operation.h"
#include "sys.h"

void perform_reaped(struct job *job)
{
	const struct performed *p = job->performed;

	if (job->kind == JOB_SERVING) {
		job_answer(job);
		return;
	}
	if (!p->done) {
		char what[64];

		(void)snprintf(what, sizeof(what), "child ended with %s %d",
			       job->exit.code == CLD_EXITED ? "code" : "signal", job->exit.status);
		answer_error_at(job->launcher, job->request, ERR_SYSCALL, EIO, p->index, what, "");
	} else if (p->code) {
		answer_error_at(job->launcher, job->request, p->code, p->error, p->index, p->what, p->path);
	} else {
		answer(job->launcher, job->request, p->data, p->length);
	}
	job_answer(job);
}

void perform_request(struct launcher *launcher, struct frame_header request, struct reader *reader)
{
	struct job_head head;
	struct job *job;
	int r;

	if (!job_head(launcher, request, reader, &head))
		return;
	job = job_take(launcher, request, JOB_PERFORM);
	if (!job)
		return;
	(void)memcpy(job->what, head.what, sizeof(job->what));
	job->deadline = sys_monotonic_ms() + head.deadline_ms;
	job->performed = mmap(NULL, sizeof(*job->performed), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (job->performed == MAP_FAILED) {
		job->performed = NULL;
		r = -errno;
	} else {
		r = job_fork(job, NULL, head.owner);
	}
	if (r == 1) {
		operations_perform(job->performed, reader);
		_exit(0);
	}
	if (r < 0) {
		answer_error(launcher, request, ERR_SYSCALL, -r, "clone3", "");
		job_drop(job);
	}
}
