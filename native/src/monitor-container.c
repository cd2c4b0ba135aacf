#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "monitor.h"
#include "sys.h"

enum { FLAG_STDIN = 1, FLAG_STDIN_ONCE = 2, FLAG_TERMINAL = 4, FLAGS = 7, CAPTURED = 64 * 1024 };

static const char *const states[] = { "", "creating", "created", "starting", "running", "exited" };

struct container *container_find(struct monitor *m, const char *id)
{
	for (size_t i = 0; i < MAX_CONTAINERS; i++)
		if (m->containers[i].status.state != 0 && strcmp(m->containers[i].status.id, id) == 0)
			return &m->containers[i];
	return NULL;
}

/* The container that a request names; else the request is answered. */
static struct container *named(struct monitor *m, struct request *to, struct reader *r)
{
	char id[CONTAINER_ID_MAX + 1];
	struct container *c;

	(void)wire_copy(r, id, sizeof(id));
	if (r->bad)
		return NULL;
	c = container_find(m, id);
	if (!c)
		reply_text(m, to, ERR_NO_SUCH, 0, "container");
	return c;
}

void container_put(struct writer *w, const struct container *c)
{
	const struct status *s = &c->status;

	wire_put_str(w, s->id);
	wire_put_u8(w, s->state);
	wire_put_u32(w, (uint32_t)s->pid);
	wire_put_u64(w, s->start_time);
	wire_put_i32(w, s->end_code);
	wire_put_i32(w, s->end_status);
	wire_put_u64(w, s->created_ns);
	wire_put_u64(w, s->started_ns);
	wire_put_u64(w, s->exited_ns);
	wire_put_u64(w, s->oom_kills);
	wire_put_u64(w, s->log_lost);
	wire_put_u8(w, s->acked);
}

/* Gives back everything but the record. */
static void close_all(struct container *c)
{
	output_close(c);
	loop_close(&c->monitor->loop, &c->process);
	input_close(&c->input);
	if (c->slave >= 0)
		(void)close(c->slave);
	if (c->record_fd >= 0)
		(void)close(c->record_fd);
	oom_close(c);
	health_ended(c);
	c->slave = -1;
	c->record_fd = -1;
}

static void forget(struct container *c)
{
	close_all(c);
	exec_cgroups_forget(c);
	record_remove(c->monitor->options.record_dir, c->status.id);
	c->status = (struct status){ .state = 0 };
	c->mount_namespace = 0;
}

/* Its process has ended. Everything about it is known and on record before anybody is told. */
static void exited(struct source *source, uint32_t events)
{
	struct container *c = container_of(source, struct container, process);
	struct monitor *m = c->monitor;
	siginfo_t info = { .si_pid = 0 };
	struct writer w;

	(void)events;
	if (waitid(P_PIDFD, (id_t)source->fd, &info, WEXITED | WNOHANG) < 0)
		info.si_code = 0; /* unknown, which is not 0 */
	else if (info.si_pid == 0)
		return;
	c->status.exited_ns = sys_realtime_ns();
	c->status.end_code = info.si_code;
	c->status.end_status = info.si_status;
	oom_read(c);
	output_finish(c);
	c->status.state = STATE_EXITED;
	(void)record_write(c->record_fd, &c->status);
	close_all(c);
	w = reply_begin(m);
	container_put(&w, c);
	wire_put_u64(&w, c->status.log_lost_lines);
	wire_put_u64(&w, c->status.ooms);
	wire_put_u64(&w, c->status.oom_group_kills);
	connection_broadcast(m, EVT_EXIT, &w);
	attach_finish(c);
	/* A runtime that hangs in `start` would hold the container for ever; one that works returns by itself. */
	if (c->killed && c->job)
		job_expire(c->job);
}

/* Its output, and its input if it has one. 0 or -errno. */
static int take_terminal(struct container *c, struct job *job)
{
	int master = job_terminal(job);
	int r = master < 0 ? master : output_terminal(c, master);
	int writer = r == 0 && c->has_input ? fcntl(master, F_DUPFD_CLOEXEC, 3) : -1;

	if (r == 0 && c->has_input && writer < 0)
		return -errno;
	if (writer >= 0)
		input_open(&c->input, c->monitor, writer);
	return r;
}

static void created(struct job *job)
{
	struct container *c = job->container;
	struct monitor *m = c->monitor;
	struct capture *said = &job->captures[1];
	char path[64];
	struct stat st;
	struct writer w;
	bool success;
	int pidfd = job_adopt(job, &c->status.pid, &c->status.start_time);
	bool whole;

	output_last_words(c);
	c->job = NULL;
	success = job_succeeded(job);
	whole = success && pidfd >= 0 && (!c->has_terminal || take_terminal(c, job) == 0);
	if (success && !whole)
		job_failed(job, 0, pidfd < 0 ? "the runtime's pid file names no child of its own" : "the runtime sent no terminal");
	if (!whole) {
		if (pidfd >= 0) {
			(void)sys_pidfd_kill(pidfd, SIGKILL); /* reaped as a stranger */
			(void)close(pidfd);
		}
		if (m->sweep_since == 0 || m->sweep_since > job->begun_ticks)
			m->sweep_since = job->begun_ticks;
		forget(c);
		return;
	}
	c->process = (struct source){ .fd = pidfd, .ready = exited };
	c->status.state = STATE_CREATED;
	c->status.created_ns = sys_realtime_ns();
	oom_watch(c);
	(void)snprintf(path, sizeof(path), "/proc/%d/ns/mnt", (int)c->status.pid);
	c->mount_namespace = stat(path, &st) == 0 ? st.st_ino : 0;
	(void)record_write(c->record_fd, &c->status);
	if (said->length > 0 && !c->has_terminal) /* else the runtime has said it */
		log_write(&c->log, &c->streams[1].log, said->data, said->length);
	w = reply_begin(m);
	wire_put_u32(&w, (uint32_t)c->status.pid);
	wire_put_u64(&w, c->status.start_time);
	reply(m, &job->request, &w);
	(void)loop_add(&m->loop, &c->process, EPOLLIN);
}

static bool id_valid(const char *id)
{
	size_t good = strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.");

	return id[0] != 0 && id[0] != '.' && id[good] == 0;
}

/* Record, log, pipes unless it has a terminal; stdio gets what the runtime is given. 0; or -errno with the call that failed. */
static int acquire(struct container *c, uid_t uid, gid_t gid, int stdio[3], const char **call)
{
	int ends[2];
	int r;

	*call = "record";
	c->record_fd = record_create(c->monitor->options.record_dir, c->status.id);
	if (c->record_fd < 0)
		return c->record_fd;
	*call = "log";
	r = log_open(&c->log, c->monitor->path);
	if (r < 0)
		return r;
	*call = "pipe";
	r = c->has_terminal ? 0 : output_open(c, uid, gid, stdio + 1);
	if (r == 0 && c->has_input && !c->has_terminal) {
		if (pipe2(ends, O_CLOEXEC) < 0)
			return -errno;
		stdio[0] = ends[0];
		input_open(&c->input, c->monitor, ends[1]);
		(void)fcntl(ends[1], F_SETFL, O_NONBLOCK);
		if (fchown(ends[0], uid, gid) < 0)
			return -errno;
	}
	return r;
}

/* Puts the container into a free slot and starts the runtime; or answers with an error. */
static void create(struct monitor *m, struct job_plan *plan, const char *id, uid_t uid, gid_t gid, uint16_t flags,
		   struct span memory_cgroup, const struct create_extras *extras)
{
	struct request *to = plan->request;
	struct container *c = m->containers;
	const char *call = "";
	int r;

	while (c < m->containers + MAX_CONTAINERS && c->status.state != 0)
		c++;
	if (c == m->containers + MAX_CONTAINERS) {
		reply_text(m, to, ERR_LIMIT, 0, "too many containers");
		return;
	}
	c->monitor = m;
	c->status = (struct status){ .state = STATE_CREATING, .created_ns = 0 };
	(void)snprintf(c->status.id, sizeof(c->status.id), "%s", id);
	c->process = (struct source){ .fd = -1 };
	c->streams[0].source.fd = c->streams[1].source.fd = -1;
	c->input = (struct input){ .source = { .fd = -1 }, .monitor = m };
	c->has_input = flags & FLAG_STDIN;
	c->input_once = flags & FLAG_STDIN_ONCE;
	c->has_terminal = flags & FLAG_TERMINAL;
	c->slave = c->record_fd = c->log.fd = -1;
	c->oom = OOM_NONE;
	c->ending = (struct ending){ .since = 0 };
	(void)snprintf(c->memory_cgroup, sizeof(c->memory_cgroup), "%.*s", (int)memory_cgroup.length,
		       (const char *)memory_cgroup.data);
	c->extras = *extras;
	c->mount_namespace = 0;
	c->killed = false;
	r = acquire(c, uid, gid, plan->stdio, &call);
	plan->container = c;
	plan->slot = &c->job;
	if (r < 0)
		reply_error(m, to, ERR_SYSCALL, -r, (struct span){ .data = (const uint8_t *)call, .length = (uint32_t)strlen(call) },
			    strcmp(call, "log") == 0 ? m->path : m->options.record_dir);
	else
		r = job_start(m, plan);
	for (int i = 0; i < 3; i++)
		if (plan->stdio[i] >= 0)
			(void)close(plan->stdio[i]);
	if (r < 0)
		forget(c);
}

/* The field that cannot be, or NULL. */
static const char *read_extras(struct reader *r, struct create_extras *extras)
{
	*extras = (struct create_extras){ .log_soft = 0 };
	if (r->at == r->end)
		return NULL;
	(void)wire_copy(r, extras->record_copy, sizeof(extras->record_copy));
	extras->log_soft = wire_u64(r);
	extras->log_hard = wire_u64(r);
	extras->log_policy = wire_u8(r);
	extras->log_rate = wire_u64(r);
	(void)wire_copy(r, extras->cgroup, sizeof(extras->cgroup));
	if (extras->record_copy[0] != 0 && extras->record_copy[0] != '/')
		return "recordCopy";
	if (extras->log_policy > LOG_RATE || (extras->log_policy == LOG_RATE && extras->log_rate == 0))
		return "logPolicy or logRate";
	return extras->cgroup[0] != 0 && extras->cgroup[0] != '/' ? "cgroup" : NULL;
}

void container_create(struct monitor *m, struct request *to, struct reader *r)
{
	static char cwd[PATH_MAX];
	static struct create_extras extras;
	struct job_plan plan = { .request = to, .cwd = cwd, .stdio = { -1, -1, -1 }, .tail = true, .capacity = { CAPTURED, CAPTURED },
				 .done = created };
	const char *wrong;
	char id[CONTAINER_ID_MAX + 1];
	const struct container *other;
	bool valid;
	uint32_t uid;
	uint32_t gid;
	uint16_t flags;
	struct span memory_cgroup;

	(void)wire_copy(r, id, sizeof(id));
	plan.deadline = wire_u32(r);
	(void)wire_copy(r, cwd, sizeof(cwd));
	valid = arguments_read(m, r, &plan);
	(void)wire_copy(r, m->path, sizeof(m->path));
	uid = wire_u32(r);
	gid = wire_u32(r);
	flags = wire_u16(r);
	memory_cgroup = wire_str(r);
	wrong = read_extras(r, &extras);
	if (r->bad)
		return;
	other = container_find(m, id);
	if (!valid || cwd[0] != '/' || (m->path[0] != 0 && m->path[0] != '/'))
		reply_text(m, to, ERR_MALFORMED, 0, "argv, cwd or logPath");
	else if (memory_cgroup.length >= MEMORY_CGROUP_MAX || (memory_cgroup.length > 0 && memory_cgroup.data[0] != '/'))
		reply_text(m, to, ERR_MALFORMED, 0, "memoryCgroup");
	else if (wrong)
		reply_text(m, to, ERR_MALFORMED, 0, wrong);
	else if (!id_valid(id) || !deadline_valid(plan.deadline))
		reply_text(m, to, ERR_MALFORMED, 0, "id or deadlineMs");
	else if (flags & ~FLAGS)
		reply_text(m, to, ERR_UNSUPPORTED, 0, "flags");
	else if (other)
		reply_text(m, to, ERR_WRONG_STATE, 0, states[other->status.state]);
	else
		create(m, &plan, id, uid, gid, flags, memory_cgroup, &extras);
}

static void started(struct job *job)
{
	struct container *c = job->container;
	bool success = job_succeeded(job);
	bool alive = c->status.state == STATE_STARTING;
	struct writer w;

	c->job = NULL;
	if (alive) {
		c->status.state = success ? STATE_RUNNING : STATE_CREATED;
		c->status.started_ns = success ? sys_realtime_ns() : 0;
		(void)record_write(c->record_fd, &c->status);
	}
	if (!success)
		return;
	w = reply_begin(c->monitor);
	wire_put_u64(&w, c->status.started_ns);
	reply(c->monitor, &job->request, &w);
}

void container_start(struct monitor *m, struct request *to, struct reader *r)
{
	struct job_plan plan = { .request = to, .cwd = "/", .stdio = { -1, -1, -1 }, .tail = true, .capacity = { CAPTURED, CAPTURED },
				 .done = started };
	struct container *c = named(m, to, r);
	int error;

	plan.deadline = wire_u32(r);
	if (!c || r->bad)
		return;
	if (!arguments_read(m, r, &plan) || !deadline_valid(plan.deadline)) {
		if (!r->bad)
			reply_text(m, to, ERR_MALFORMED, 0, "argv or deadlineMs");
		return;
	}
	if (c->status.state != STATE_CREATED) {
		reply_text(m, to, ERR_WRONG_STATE, 0, states[c->status.state]);
		return;
	}
	error = log_make(&c->log);
	if (error < 0) {
		reply_error(m, to, ERR_SYSCALL, -error, (struct span){ .data = (const uint8_t *)"log", .length = 3 }, c->log.path);
		return;
	}
	plan.container = c;
	plan.slot = &c->job;
	if (job_start(m, &plan) < 0)
		return;
	/* For one that is gone before the runtime has returned. */
	c->status.started_ns = sys_realtime_ns();
	c->status.state = STATE_STARTING;
}

void container_signal(struct monitor *m, struct request *to, struct reader *r)
{
	struct container *c = named(m, to, r);
	uint32_t number = wire_u32(r);
	int error;

	if (!c || r->bad)
		return;
	if (number < 1 || number > 64) {
		reply_text(m, to, ERR_MALFORMED, 0, "signal");
		return;
	}
	if (c->status.state == STATE_CREATING && c->job && number == SIGKILL) {
		job_expire(c->job);
		reply_empty(m, to);
		return;
	}
	if (c->process.fd < 0) {
		reply_text(m, to, ERR_WRONG_STATE, 0, states[c->status.state]);
		return;
	}
	c->killed = c->killed || number == SIGKILL;
	error = sys_pidfd_kill(c->process.fd, (int)number);
	if (error == -ESRCH)
		reply_text(m, to, ERR_WRONG_STATE, 0, "exited");
	else if (error < 0)
		reply_text(m, to, ERR_SYSCALL, -error, "pidfd_send_signal");
	else
		reply_empty(m, to);
	if (error == 0 && number == SIGKILL)
		health_killed(c);
}

void container_reopen(struct monitor *m, struct request *to, struct reader *r)
{
	struct container *c = named(m, to, r);
	uint64_t inode = 0;
	struct writer w;
	int error;

	if (!c)
		return;
	if (c->status.state == STATE_EXITED) {
		reply_text(m, to, ERR_WRONG_STATE, 0, "exited");
		return;
	}
	error = log_reopen(&c->log, &inode);
	if (error < 0) {
		reply_error(m, to, ERR_SYSCALL, -error, (struct span){ .data = (const uint8_t *)"open", .length = 4 }, c->log.path);
		return;
	}
	w = reply_begin(m);
	wire_put_u64(&w, inode);
	reply(m, to, &w);
}

void container_ack(struct monitor *m, struct request *to, struct reader *r)
{
	struct container *c = named(m, to, r);

	if (!c)
		return;
	if (c->status.state != STATE_EXITED) {
		reply_text(m, to, ERR_WRONG_STATE, 0, states[c->status.state]);
		return;
	}
	c->status.acked = true;
	reply_empty(m, to);
}

void container_release(struct monitor *m, struct request *to, struct reader *r)
{
	char id[CONTAINER_ID_MAX + 1];
	struct container *c;

	(void)wire_copy(r, id, sizeof(id));
	if (r->bad)
		return;
	c = container_find(m, id);
	if (c && (c->status.state != STATE_EXITED || !c->status.acked || c->job)) {
		reply_text(m, to, ERR_WRONG_STATE, 0, c->status.state == STATE_EXITED ? "exit not acknowledged" : states[c->status.state]);
		return;
	}
	if (c)
		forget(c);
	reply_empty(m, to);
}
