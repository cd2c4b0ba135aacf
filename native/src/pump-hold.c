/* What the limits of a log hold back stays in its pipes: whoever prints waits. */
#include "pump.h"
#include "sys.h"

enum { LISTEN_AGAIN_MS = 100 };

static void limit_passed(struct timer *timer)
{
	outlet_resume(container_of(timer, struct outlet, limit_timer));
}

void outlet_hold(struct outlet *o)
{
	uint64_t wait = limit_wait(&o->log.limit, sys_monotonic_ms());

	o->held = true;
	/* Not only unwatched: a pipe whose writers have gone would wake us for ever. */
	for (int i = 0; i < 2; i++)
		if (o->streams[i].source.fd >= 0)
			loop_remove(&pump.loop, &o->streams[i].source);
	if (wait != LIMIT_FOREVER)
		timer_set(&pump.timers, &o->limit_timer, wait, limit_passed);
}

void outlet_listen(struct outlet *o)
{
	bool heard = true;

	for (int i = 0; i < 2; i++)
		if (o->streams[i].source.fd >= 0 && loop_add(&pump.loop, &o->streams[i].source, EPOLLIN) < 0)
			heard = false;
	if (heard)
		return;
	/* The kernel has no memory for it now. Unread, the container would stand still for ever. */
	for (int i = 0; i < 2; i++)
		if (o->streams[i].source.fd >= 0)
			loop_remove(&pump.loop, &o->streams[i].source);
	o->held = true;
	timer_set(&pump.timers, &o->limit_timer, LISTEN_AGAIN_MS, limit_passed);
}

void outlet_resume(struct outlet *o)
{
	if (!o->held)
		return;
	outlet_unhold(o);
	outlet_listen(o);
}

void outlet_unhold(struct outlet *o)
{
	timer_clear(&pump.timers, &o->limit_timer);
	o->held = false;
}
