/* What keeps a container from going on, told as long as it lasts: at first after a while, then ever more seldom. */
#include "monitor.h"
#include "sys.h"

enum { CANNOT_END_MS = 10 * 1000, SELDOM_MS = 5 * 60 * 1000 };

static struct writer begin(const struct container *c, enum health what, uint64_t since)
{
	struct writer w = reply_begin(c->monitor);

	wire_put_str(&w, c->status.id);
	wire_put_u8(&w, (uint8_t)what);
	wire_put_u32(&w, (uint32_t)((sys_monotonic_ms() - since) / 1000));
	return w;
}

void health_tell(const struct container *c, enum health what, uint64_t since)
{
	struct writer w = begin(c, what, since);

	(void)connection_broadcast(c->monitor, EVT_HEALTH, &w);
}

void health_well(const struct container *c, enum health what, uint64_t since)
{
	struct writer w = begin(c, HEALTH_WELL, since);

	wire_put_u8(&w, (uint8_t)what);
	(void)connection_broadcast(c->monitor, EVT_HEALTH, &w);
}

static void cannot_end(struct timer *timer)
{
	struct container *c = container_of(timer, struct container, ending.timer);

	health_tell(c, HEALTH_CANNOT_END, c->ending.since);
	c->ending.told = true;
	c->ending.pause = c->ending.pause * 2 < SELDOM_MS ? c->ending.pause * 2 : SELDOM_MS;
	timer_set(&c->monitor->timers, timer, c->ending.pause, cannot_end);
}

void health_killed(struct container *c)
{
	/* Who sends it again may not have heard: it may be another daemon. */
	if (c->ending.told)
		health_tell(c, HEALTH_CANNOT_END, c->ending.since);
	if (c->ending.since != 0)
		return;
	c->ending.since = sys_monotonic_ms();
	c->ending.pause = CANNOT_END_MS;
	timer_set(&c->monitor->timers, &c->ending.timer, c->ending.pause, cannot_end);
}

void health_ended(struct container *c)
{
	timer_clear(&c->monitor->timers, &c->ending.timer);
	if (c->ending.told)
		health_well(c, HEALTH_CANNOT_END, c->ending.since);
	c->ending.since = 0;
	c->ending.told = false;
}
