#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "monitor-exec.h"

/* An end of a pipe is its user's, whom a runtime may not know: crun 1.8 leaves it to nobody in a user namespace. 0 or -errno. */
static int give(const struct exec *e, int fd)
{
	return e->has_owner && fchown(fd, e->uid, e->gid) < 0 ? -errno : 0;
}

/* Fields that came later: who does not send them does not know them. */
static void read_owner(struct reader *r, struct exec *asked)
{
	asked->has_owner = r->at < r->end;
	if (!asked->has_owner)
		return;
	asked->uid = wire_u32(r);
	asked->gid = wire_u32(r);
}

/* The process says all of it into a pipe, whatever of it is wanted: the runtime says there why it failed. */
static int open_streams(struct exec *e, int stdio[3])
{
	int ends[2];

	for (int i = 0; i < 2 && !(e->wanted & STREAM_TERMINAL); i++) {
		if (pipe2(ends, O_CLOEXEC) < 0)
			return -errno;
		(void)fcntl(ends[0], F_SETFL, O_NONBLOCK);
		e->streams[i].source.fd = ends[0];
		stdio[i + 1] = ends[1];
		if (give(e, ends[1]) < 0 || loop_add(&e->monitor->loop, &e->streams[i].source, EPOLLIN) < 0)
			return -ENOMEM;
	}
	if (!(e->wanted & STREAM_STDIN) || (e->wanted & STREAM_TERMINAL))
		return 0;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	(void)fcntl(ends[1], F_SETFL, O_NONBLOCK);
	stdio[0] = ends[0];
	input_open(&e->input, e->monitor, ends[1]);
	return give(e, ends[0]);
}

/* `@cgroup` becomes the option that names the exec's cgroup, or is left out when it has none. */
static void place_cgroup(struct exec *e, const struct container *c, char **argv)
{
	static char option[32];

	while (*argv && strcmp(*argv, "@cgroup") != 0)
		argv++;
	if (!*argv)
		return;
	e->cgroup = exec_cgroup_make(c);
	if (e->cgroup) {
		(void)snprintf(option, sizeof(option), "--cgroup=exec-%u", exec_cgroup_number(e->cgroup));
		*argv = option;
		return;
	}
	for (; *argv; argv++)
		*argv = argv[1];
}

/* Starts the runtime for an exec that is described so far; or answers with an error. */
static void start(struct monitor *m, struct job_plan *plan, const struct container *c, const struct exec *asked)
{
	struct request *to = plan->request;
	struct connection *connection = to->connection;
	struct exec *e = exec_slot();
	int r;

	if (!e) {
		reply_text(m, to, ERR_LIMIT, 0, "too many execs");
		return;
	}
	*e = *asked;
	e->monitor = m;
	e->connection = connection;
	e->process.fd = e->slave = -1;
	e->input = (struct input){ .source = { .fd = -1 }, .monitor = m };
	for (int i = 0; i < 2; i++)
		e->streams[i] = (struct exec_stream){ .source = { .fd = -1, .ready = exec_stream_ready }, .exec = e };
	place_cgroup(e, c, plan->argv);
	r = open_streams(e, plan->stdio);
	plan->exec = e;
	plan->slot = &e->job;
	if (r < 0)
		reply_text(m, to, ERR_SYSCALL, -r, "pipe");
	else
		r = job_start(m, plan);
	for (int i = 0; i < 3; i++)
		if (plan->stdio[i] >= 0)
			(void)close(plan->stdio[i]);
	if (r < 0)
		exec_free(e);
	else
		connection->exec = e;
}

/* The container in which it can be started; else the request was answered. */
static const struct container *acceptable(struct monitor *m, struct request *to, const char *id, bool valid)
{
	const struct container *c = container_find(m, id);

	if (!valid)
		reply_text(m, to, ERR_MALFORMED, 0, "argv, deadlineMs, timeoutMs or streams");
	else if (to->connection->kind != KIND_DATA)
		reply_text(m, to, ERR_UNSUPPORTED, 0, "EXEC on a control connection");
	else if (!c)
		reply_text(m, to, ERR_NO_SUCH, 0, "container");
	else if (c->process.fd < 0)
		reply_text(m, to, ERR_WRONG_STATE, 0, container_absence(c));
	else if (request_busy(to->connection))
		reply_text(m, to, ERR_BUSY, 0, request_busy(to->connection));
	else
		return c;
	return NULL;
}

static struct job_plan plan_for(struct request *to)
{
	return (struct job_plan){ .request = to, .cwd = "/", .stdio = { -1, -1, -1 }, .tail = true,
				  .capacity = { EXEC_CAPTURED, EXEC_CAPTURED }, .done = exec_returned };
}

void exec_request(struct monitor *m, struct request *to, struct reader *r)
{
	struct exec asked = { .wanted = STREAM_STDOUT | STREAM_STDERR };
	struct job_plan plan = plan_for(to);
	char id[CONTAINER_ID_MAX + 1];
	const struct container *c;
	bool valid;

	(void)wire_copy(r, id, sizeof(id));
	asked.timeout = wire_u32(r);
	plan.deadline = wire_u32(r);
	asked.allowed = wire_u64(r);
	valid = arguments_read(m, r, &plan) && deadline_valid(plan.deadline) && asked.timeout <= MAX_DEADLINE;
	plan.process = wire_bytes(r);
	read_owner(r, &asked);
	c = r->bad ? NULL : acceptable(m, to, id, valid);
	if (c)
		start(m, &plan, c, &asked);
}

void exec_stream_request(struct monitor *m, struct request *to, struct reader *r)
{
	struct exec asked = { .is_stream = true, .allowed = UINT64_MAX };
	struct job_plan plan = plan_for(to);
	char id[CONTAINER_ID_MAX + 1];
	const struct container *c;
	bool valid;

	(void)wire_copy(r, id, sizeof(id));
	plan.deadline = wire_u32(r);
	asked.wanted = wire_u8(r);
	asked.width = wire_u16(r);
	asked.height = wire_u16(r);
	valid = arguments_read(m, r, &plan) && deadline_valid(plan.deadline) && asked.wanted < 2 * STREAM_TERMINAL;
	plan.process = wire_bytes(r);
	read_owner(r, &asked);
	c = r->bad ? NULL : acceptable(m, to, id, valid);
	if (c && request_room(m, to))
		start(m, &plan, c, &asked);
}
