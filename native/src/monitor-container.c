#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "monitor-container.h"
#include "sys.h"

enum { CAPTURED = 64 * 1024, REOPEN_MS = 10000 };

const char *const container_states[] = { "", "creating", "created", "starting", "running", "exited" };

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
	bool told = s->state == STATE_EXITED || !c->outlet;

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
	wire_put_u64(w, told ? s->log_lost : pump_lost(c->outlet, NULL));
	wire_put_u8(w, s->acked);
}

const char *container_absence(const struct container *c)
{
	return c->ended ? "exited" : "creating";
}

void container_close(struct container *c)
{
	struct monitor *m = c->monitor;

	timer_clear(&m->timers, &c->timer);
	output_close(c);
	loop_close(&m->loop, &c->process);
	input_close(&c->input);
	if (c->record_fd >= 0)
		(void)close(c->record_fd);
	oom_close(c);
	health_ended(c);
	c->record_fd = -1;
}

void container_forget(struct container *c)
{
	struct monitor *m = c->monitor;

	container_close(c);
	unpark(m, &c->waiting);
	reply_text(m, &c->reopening.request, ERR_WRONG_STATE, 0, "released");
	unpark(m, &c->reopening);
	exit_stored(c);
	outlet_let_go(c);
	exec_cgroups_forget(c);
	record_remove(m->options.record_dir, c->status.id);
	c->status = (struct status){ .state = 0 };
	c->mount_namespace = 0;
}

static void started(struct job *job)
{
	struct container *c = job->container;
	bool success = job_succeeded(job);
	bool alive = c->status.state == STATE_STARTING && !c->ended;
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

static void start_late(struct timer *timer)
{
	struct container *c = container_of(timer, struct container, waiting.timer);

	parked_late(c->monitor, &c->waiting, c->outlet->log.path);
	unpark(c->monitor, &c->waiting);
}

static struct job_plan start_plan(struct request *to)
{
	return (struct job_plan){ .request = to, .cwd = "/", .stdio = { -1, -1, -1 }, .tail = true, .capacity = { CAPTURED, CAPTURED },
				  .done = started };
}

void container_start(struct monitor *m, struct request *to, struct reader *r)
{
	struct job_plan plan = start_plan(to);
	struct container *c = named(m, to, r);
	struct reader arguments;

	plan.deadline = wire_u32(r);
	if (!c || r->bad)
		return;
	arguments = *r;
	if (!arguments_read(m, r, &plan) || !deadline_valid(plan.deadline)) {
		if (!r->bad)
			reply_text(m, to, ERR_MALFORMED, 0, "argv or deadlineMs");
	} else if (c->status.state != STATE_CREATED || c->ended || c->waiting.request.type != 0) {
		reply_text(m, to, ERR_WRONG_STATE, 0,
			   c->ended ? "exited" : container_states[c->status.state == STATE_CREATED ? STATE_STARTING : c->status.state]);
	} else if (park(m, &c->waiting, to, &arguments, plan.deadline, start_late)) {
		pump_tell(c->outlet, PUMP_MAKE);
	}
}

/* The log is there; the runtime may make something that writes to it. */
void container_log_made(struct container *c, int error)
{
	struct monitor *m = c->monitor;
	struct job_plan plan = start_plan(&c->waiting.request);
	struct reader r = parked_payload(&c->waiting);

	if (c->waiting.request.type != MSG_START)
		return; /* it was answered already */
	if (error < 0) {
		reply_error(m, plan.request, ERR_SYSCALL, -error, (struct span){ .data = (const uint8_t *)"log", .length = 3 }, c->outlet->log.path);
	} else {
		plan.deadline = parked_time(&c->waiting);
		plan.container = c;
		plan.slot = &c->job;
		if (arguments_read(m, &r, &plan) && job_start(m, &plan) == 0) {
			/* For one that is gone before the runtime has returned. */
			c->status.started_ns = sys_realtime_ns();
			c->status.state = STATE_STARTING;
		}
	}
	unpark(m, &c->waiting);
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
	if (c->status.state == STATE_CREATING && number == SIGKILL) {
		create_cancel(c);
		reply_empty(m, to);
		return;
	}
	if (c->process.fd < 0) {
		reply_text(m, to, ERR_WRONG_STATE, 0, container_absence(c));
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

static void reopen_late(struct timer *timer)
{
	struct container *c = container_of(timer, struct container, reopening.timer);

	if (!outlet_reopen_not(c->outlet))
		return;
	parked_late(c->monitor, &c->reopening, c->outlet->log.path);
	unpark(c->monitor, &c->reopening);
}

void container_reopen(struct monitor *m, struct request *to, struct reader *r)
{
	static const struct reader nothing;
	struct container *c = named(m, to, r);

	if (!c)
		return;
	if (c->ended || c->status.state == STATE_CREATING) {
		reply_text(m, to, ERR_WRONG_STATE, 0, container_absence(c));
	} else if (c->reopening.request.connection) {
		reply_text(m, to, ERR_BUSY, 0, "the log is being reopened");
	} else if (pump_stuck() >= REOPEN_MS) {
		struct parked again = { .request = *to };

		parked_late(m, &again, c->outlet->log.path);
	} else {
		/* Who asked before has gone, and whoever asks now may have renamed the file once more. */
		reply_text(m, &c->reopening.request, ERR_BUSY, 0, "asked for again");
		unpark(m, &c->reopening);
		if (park(m, &c->reopening, to, &nothing, REOPEN_MS, reopen_late))
			outlet_reopen(c->outlet);
	}
}

void container_log_reopened(struct container *c, int error, uint64_t inode)
{
	struct monitor *m = c->monitor;
	struct request *to = &c->reopening.request;
	struct writer w;

	if (error < 0) {
		reply_error(m, to, ERR_SYSCALL, -error, (struct span){ .data = (const uint8_t *)"open", .length = 4 }, c->outlet->log.path);
	} else if (to->type != 0) {
		w = reply_begin(m);
		wire_put_u64(&w, inode);
		reply(m, to, &w);
	}
	unpark(m, &c->reopening);
}

void container_ack(struct monitor *m, struct request *to, struct reader *r)
{
	struct container *c = named(m, to, r);

	if (!c)
		return;
	if (c->status.state != STATE_EXITED) {
		reply_text(m, to, ERR_WRONG_STATE, 0, container_states[c->status.state]);
		return;
	}
	c->status.acked = true;
	exit_stored(c);
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
		reply_text(m, to, ERR_WRONG_STATE, 0, c->status.state == STATE_EXITED ? "exit not acknowledged" : container_states[c->status.state]);
		return;
	}
	if (c)
		container_forget(c);
	reply_empty(m, to);
}
