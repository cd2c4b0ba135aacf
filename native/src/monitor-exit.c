/* The end of a container: what is known of it is on record before anybody is told. */
#include <sys/wait.h>

#include "monitor-container.h"
#include "sys.h"

enum {
	DRAIN_MS = 2000, /* for what was said last to reach the log */
	COPY_MS = 1000,  /* for the daemon to store the exit itself */
};

void exit_copy(struct container *c)
{
	if (!c->outlet || !c->outlet->copy_path[0] || c->status.acked || c->copied)
		return;
	record_encode(&c->status, c->outlet->copy);
	c->copied = true;
	pump_tell(c->outlet, PUMP_COPY);
}

static void not_acknowledged(struct timer *timer)
{
	exit_copy(container_of(timer, struct container, timer));
}

void exit_stored(struct container *c)
{
	timer_clear(&c->monitor->timers, &c->timer);
	if (c->copied)
		pump_tell(c->outlet, PUMP_UNCOPY);
	c->copied = false;
}

/* True when there is somebody. */
static bool tell(struct container *c)
{
	struct writer w = reply_begin(c->monitor);

	container_put(&w, c);
	wire_put_u64(&w, c->status.log_lost_lines);
	wire_put_u64(&w, c->status.ooms);
	wire_put_u64(&w, c->status.oom_group_kills);
	wire_put_u8(&w, c->oom.of_pod);
	return connection_broadcast(c->monitor, EVT_EXIT, &w);
}

static void finish(struct container *c)
{
	struct monitor *m = c->monitor;
	bool told;

	timer_clear(&m->timers, &c->timer);
	c->status.log_lost = pump_lost(c->outlet, &c->status.log_lost_lines);
	c->status.state = STATE_EXITED;
	(void)record_write(c->record_fd, &c->status);
	told = tell(c); /* first: what is closed may take the kernel a while */
	container_close(c);
	attach_finish(c);
	/* A runtime that hangs in `start` would hold the container for ever; one that works returns by itself. */
	if (c->killed && c->job)
		job_expire(c->job);
	/* On a disk, which may be slow: for a daemon that is not there now, or not for long. */
	if (told)
		timer_set(&m->timers, &c->timer, COPY_MS, not_acknowledged);
	else
		exit_copy(c);
}

void container_drained(struct container *c)
{
	if (c->ended && c->status.state != STATE_EXITED)
		finish(c);
}

static void drained_late(struct timer *timer)
{
	finish(container_of(timer, struct container, timer));
}

/* The pump reads what was said before the end, and will do so however late. A disk that is dead already delays nothing. */
static void drain(struct container *c)
{
	uint64_t stuck = pump_stuck();

	pump_tell(c->outlet, PUMP_DRAIN);
	if (stuck < DRAIN_MS)
		timer_set(&c->monitor->timers, &c->timer, DRAIN_MS - stuck, drained_late);
	else
		finish(c);
}

void container_exited(struct source *source, uint32_t events)
{
	struct container *c = container_of(source, struct container, process);
	siginfo_t info = { .si_pid = 0 };

	(void)events;
	if (waitid(P_PIDFD, (id_t)source->fd, &info, WEXITED | WNOHANG) < 0)
		info.si_code = 0; /* unknown, which is not 0 */
	else if (info.si_pid == 0) {
		monitor_rest(c->monitor, source);
		return;
	}
	c->status.exited_ns = sys_realtime_ns();
	c->status.end_code = info.si_code;
	c->status.end_status = info.si_status;
	oom_read(c);
	c->ended = true;
	loop_close(&c->monitor->loop, &c->process);
	if (c->waiting.request.type != 0) {
		reply_text(c->monitor, &c->waiting.request, ERR_WRONG_STATE, 0, "exited");
		unpark(c->monitor, &c->waiting);
	}
	/* A LOG_REOPEN in flight is the pump's to answer: who was told that there is none would put the old file over the new one. */
	drain(c);
}
