/* A disk that does not answer, under a log: told as long as it lasts, at first after a while, then ever more seldom. */
#include "monitor-container.h"
#include "sys.h"

enum { SELDOM_MS = 5 * 60 * 1000 };

/* What was told, and is not over. */
static struct {
	struct source watch;
	struct outlet *outlet;
	uint64_t since; /* 0: nothing */
	uint64_t pause;
} stall;

static void rang(struct source *source, uint32_t events)
{
	struct outlet *o;
	uint64_t since;
	uint64_t age;

	(void)source;
	(void)events;
	pump_watch_rang();
	since = pump_stuck_since(&o);
	age = pump_stuck();
	if (since == 0 || age < PUMP_WATCH_MS) {
		if (since != 0)
			pump_watch_set(PUMP_WATCH_MS - age);
		return; /* the pump sets it again, when it does something */
	}
	stall_over();
	stall.pause = stall.since == since ? stall.pause * 2 : PUMP_WATCH_MS;
	if (stall.pause > SELDOM_MS)
		stall.pause = SELDOM_MS;
	stall.since = since;
	stall.outlet = o;
	if (o && o->container)
		health_tell(o->container, HEALTH_LOG_STALLED, since);
	pump_watch_set(stall.pause);
	pump_await_leave();
}

void stall_over(void)
{
	struct outlet *now;

	if (stall.since == 0 || pump_stuck_since(&now) == stall.since)
		return;
	if (stall.outlet && stall.outlet->container)
		health_well(stall.outlet->container, HEALTH_LOG_STALLED, stall.since);
	stall.since = 0;
	pump_watch_set(PUMP_WATCH_MS);
}

int stall_watch(struct monitor *m, int fd)
{
	stall.watch = (struct source){ .fd = fd, .ready = rang };
	return loop_add(&m->loop, &stall.watch, EPOLLIN);
}
