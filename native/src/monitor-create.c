/* CREATE: the record, the log, the pipes, the runtime, and what it has made. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "monitor-container.h"
#include "sys.h"

enum { FLAG_STDIN = 1, FLAG_STDIN_ONCE = 2, FLAG_TERMINAL = 4, FLAGS = 7, CAPTURED = 64 * 1024 };

/* What is asked for. Its texts are of the request, or of the moment. */
struct creation {
	struct job_plan plan;
	char id[CONTAINER_ID_MAX + 1];
	bool arguments; /* are such as can be executed */
	uint32_t uid;
	uint32_t gid;
	uint16_t flags;
	struct span memory_cgroup;
	const char *wrong_extra;
	struct create_extras *extras;
};

/* Its output, and its input if it has one. 0 or -errno. */
static int take_terminal(struct container *c, struct job *job)
{
	int master = job_terminal(job);
	int r = master < 0 ? master : output_terminal(c, master);
	int writer = r == 0 && c->has_input ? fcntl(c->master, F_DUPFD_CLOEXEC, 3) : -1;

	if (r == 0 && c->has_input && writer < 0)
		return -errno;
	if (writer >= 0)
		input_open(&c->input, c->monitor, writer);
	return r;
}

/* What the runtime made is not taken. */
static void abandon(struct container *c, const struct job *job, int pidfd)
{
	struct monitor *m = c->monitor;

	if (pidfd >= 0) {
		(void)sys_pidfd_kill(pidfd, SIGKILL); /* reaped as a stranger */
		(void)close(pidfd);
	}
	if (m->sweep_since == 0 || m->sweep_since > job->begun_ticks)
		m->sweep_since = job->begun_ticks;
	container_forget(c);
}

static void created(struct job *job)
{
	struct container *c = job->container;
	struct monitor *m = c->monitor;
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
		abandon(c, job, pidfd);
		return;
	}
	c->process = (struct source){ .fd = pidfd, .ready = container_exited };
	c->status.state = STATE_CREATED;
	c->status.created_ns = sys_realtime_ns();
	oom_watch(c);
	(void)snprintf(path, sizeof(path), "/proc/%d/ns/mnt", (int)c->status.pid);
	c->mount_namespace = stat(path, &st) == 0 ? st.st_ino : 0;
	(void)record_write(c->record_fd, &c->status);
	if (!c->has_terminal)
		output_hand_over(c, job);
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
	if (extras->log_policy > LOG_RATE || extras->log_rate > LOG_LIMIT_MAX || (extras->log_policy == LOG_RATE && extras->log_rate == 0))
		return "logPolicy or logRate";
	return extras->cgroup[0] != 0 && extras->cgroup[0] != '/' ? "cgroup" : NULL;
}

/* The path of the log is in the monitor's `path`. */
static void read_creation(struct monitor *m, struct reader *r, struct request *to, struct creation *asked)
{
	*asked = (struct creation){ .plan = { .request = to, .cwd = m->cwd, .stdio = { -1, -1, -1 }, .tail = true,
					      .capacity = { CAPTURED, CAPTURED }, .done = created },
				    .extras = &m->extras };
	(void)wire_copy(r, asked->id, sizeof(asked->id));
	asked->plan.deadline = wire_u32(r);
	(void)wire_copy(r, m->cwd, sizeof(m->cwd));
	asked->arguments = arguments_read(m, r, &asked->plan);
	(void)wire_copy(r, m->path, sizeof(m->path));
	asked->uid = wire_u32(r);
	asked->gid = wire_u32(r);
	asked->flags = wire_u16(r);
	asked->memory_cgroup = wire_str(r);
	asked->wrong_extra = read_extras(r, &m->extras);
}

/* Pipes unless it has a terminal; stdio gets what the runtime is given. 0 or -errno. */
static int open_stdio(struct container *c, uid_t uid, gid_t gid, int stdio[3])
{
	int ends[2];
	int r = c->has_terminal ? 0 : output_open(c, uid, gid, stdio + 1);

	if (r < 0 || !c->has_input || c->has_terminal)
		return r;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	stdio[0] = ends[0];
	input_open(&c->input, c->monitor, ends[1]);
	(void)fcntl(ends[1], F_SETFL, O_NONBLOCK);
	return fchown(ends[0], uid, gid) < 0 ? -errno : 0;
}

static void refuse(struct container *c, struct request *to, int error, const char *call, const char *path)
{
	struct span what = { .data = (const uint8_t *)call, .length = (uint32_t)strlen(call) };

	if (error == -EUSERS)
		reply_text(c->monitor, to, ERR_LIMIT, 0, "too many logs are held by file systems that do not answer");
	else
		reply_error(c->monitor, to, ERR_SYSCALL, -error, what, path);
	container_forget(c);
}

/* The log is open, or nobody has made it yet: the runtime can be started. */
void container_log_opened(struct container *c, int error)
{
	struct monitor *m = c->monitor;
	struct reader r = parked_payload(&c->waiting);
	struct request *to = &c->waiting.request;
	struct creation asked;

	if (to->type != MSG_CREATE)
		return;
	if (error < 0) {
		refuse(c, to, error, "log", c->outlet->log.path);
		return;
	}
	read_creation(m, &r, to, &asked);
	asked.plan.deadline = parked_time(&c->waiting);
	asked.plan.container = c;
	asked.plan.slot = &c->job;
	error = open_stdio(c, asked.uid, asked.gid, asked.plan.stdio);
	if (error < 0)
		refuse(c, to, error, "pipe", "");
	else if (job_start(m, &asked.plan) < 0)
		container_forget(c);
	else
		unpark(m, &c->waiting);
	for (int i = 0; i < 3; i++)
		if (asked.plan.stdio[i] >= 0)
			(void)close(asked.plan.stdio[i]);
}

void create_cancel(struct container *c)
{
	if (c->job) {
		job_expire(c->job);
		return;
	}
	reply_text(c->monitor, &c->waiting.request, ERR_TIMEOUT, 0, "killed while its log was being opened");
	container_forget(c);
}

static void create_late(struct timer *timer)
{
	struct container *c = container_of(timer, struct container, waiting.timer);

	parked_late(c->monitor, &c->waiting, c->outlet->log.path);
	container_forget(c);
}

/* Puts the container into a free slot and has its log opened; or answers with an error. */
static void create(struct monitor *m, const struct creation *asked, const struct reader *payload)
{
	struct request *to = asked->plan.request;
	struct container *c = m->containers;
	const char *call = "";
	int r;

	while (c < m->containers + MAX_CONTAINERS && c->status.state != 0)
		c++;
	if (c == m->containers + MAX_CONTAINERS) {
		reply_text(m, to, ERR_LIMIT, 0, "too many containers");
		return;
	}
	*c = (struct container){ .monitor = m, .status = { .state = STATE_CREATING }, .process = { .fd = -1 }, .master = -1,
				 .input = { .source = { .fd = -1 }, .monitor = m }, .oom = OOM_NONE, .extras = *asked->extras };
	c->streams[0].source.fd = c->streams[1].source.fd = -1;
	(void)snprintf(c->status.id, sizeof(c->status.id), "%s", asked->id);
	c->has_input = asked->flags & FLAG_STDIN;
	c->input_once = asked->flags & FLAG_STDIN_ONCE;
	c->has_terminal = asked->flags & FLAG_TERMINAL;
	(void)snprintf(c->memory_cgroup, sizeof(c->memory_cgroup), "%.*s", (int)asked->memory_cgroup.length,
		       (const char *)asked->memory_cgroup.data);
	c->record_fd = record_create(m->options.record_dir, c->status.id);
	if (c->record_fd < 0) {
		refuse(c, to, c->record_fd, "record", m->options.record_dir);
		return;
	}
	r = outlet_open(c, m->path, c->extras.record_copy, &call);
	if (r < 0)
		refuse(c, to, r, call, "");
	else if (!park(m, &c->waiting, to, payload, asked->plan.deadline, create_late))
		container_forget(c);
}

void container_create(struct monitor *m, struct request *to, struct reader *r)
{
	const struct container *other;
	struct reader payload = *r;
	struct creation asked;

	read_creation(m, r, to, &asked);
	if (r->bad)
		return;
	other = container_find(m, asked.id);
	if (!asked.arguments || asked.plan.cwd[0] != '/' || (m->path[0] != 0 && m->path[0] != '/'))
		reply_text(m, to, ERR_MALFORMED, 0, "argv, cwd or logPath");
	else if (asked.memory_cgroup.length >= MEMORY_CGROUP_MAX || (asked.memory_cgroup.length > 0 && asked.memory_cgroup.data[0] != '/'))
		reply_text(m, to, ERR_MALFORMED, 0, "memoryCgroup");
	else if (asked.wrong_extra)
		reply_text(m, to, ERR_MALFORMED, 0, asked.wrong_extra);
	else if (!id_valid(asked.id) || !deadline_valid(asked.plan.deadline))
		reply_text(m, to, ERR_MALFORMED, 0, "id or deadlineMs");
	else if (asked.flags & ~FLAGS)
		reply_text(m, to, ERR_UNSUPPORTED, 0, "flags");
	else if (other)
		reply_text(m, to, ERR_WRONG_STATE, 0, other->ended ? "exited" : container_states[other->status.state]);
	else
		create(m, &asked, &payload);
}
