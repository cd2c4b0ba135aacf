/* Control's side of the outlets: which container has which, and what the pump says of them. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>

#include "monitor-container.h"
#include "sys.h"

static void tell_log(struct monitor *m, const char *id, const struct pump_report *r, enum log_news what)
{
	struct writer w;

	if (!(r->log_news & (unsigned)what))
		return;
	w = reply_begin(m);
	wire_put_str(&w, id);
	if (what == LOG_FAILED) {
		wire_put_i32(&w, r->log_error);
	} else {
		wire_put_u64(&w, r->episode);
		wire_put_u64(&w, r->episode_lines);
	}
	(void)connection_broadcast(m, what == LOG_FAILED ? EVT_LOG_ERROR : EVT_LOG_RECOVERED, &w);
}

static void tell_limit(struct monitor *m, const char *id, const struct pump_report *r, enum limit_reached which)
{
	struct writer w;

	if (!(r->log_news & (unsigned)which))
		return;
	w = reply_begin(m);
	wire_put_str(&w, id);
	wire_put_u8(&w, which == LIMIT_SOFT ? 1 : 2);
	wire_put_u64(&w, r->log_size);
	connection_broadcast(m, EVT_LOG_LIMIT, &w);
}

/* A failure that lasts is the last thing to be told, and one that has passed the first. */
static void tell_news(struct monitor *m, const char *id, const struct pump_report *r)
{
	enum log_news first = r->log_fails ? LOG_RECOVERED : LOG_FAILED;

	tell_log(m, id, r, first);
	tell_log(m, id, r, first == LOG_FAILED ? LOG_RECOVERED : LOG_FAILED);
	tell_limit(m, id, r, LIMIT_SOFT);
	tell_limit(m, id, r, LIMIT_HARD);
}

static void heard(struct monitor *m, struct outlet *o)
{
	struct pump_report r = pump_report(o);

	if (o->container)
		tell_news(m, o->container->status.id, &r);
	if (o->container && (r.news & NEWS_OPENED))
		container_log_opened(o->container, r.errors[0]);
	if (o->container && (r.news & NEWS_MADE))
		container_log_made(o->container, r.errors[1]);
	if (o->container && (r.news & NEWS_REOPENED) && r.reopening == atomic_load(&o->reopening))
		container_log_reopened(o->container, r.errors[2], r.inode);
	if (o->container && (r.news & NEWS_DRAINED))
		container_drained(o->container);
	if (r.news & NEWS_GONE)
		o->taken = false;
}

void outlet_reopen(struct outlet *o)
{
	uint32_t last = atomic_load(&o->reopening);

	/* Whatever the pump does with the last one, unless it has been settled, it does not find that it is still wanted. */
	atomic_store(&o->reopening, (last | 1) + 1);
	pump_tell(o, PUMP_REOPEN);
}

bool outlet_reopen_not(struct outlet *o)
{
	uint32_t asked = atomic_load(&o->reopening);

	return !(asked & 1) && atomic_compare_exchange_strong(&o->reopening, &asked, asked | 1);
}

static void ready(struct source *source, uint32_t events)
{
	struct monitor *m = container_of(source, struct monitor, pump);
	uint64_t which[OUTLET_WORDS];
	bool attached = pump_heard(which);

	(void)events;
	stall_over();
	for (size_t i = 0; i < OUTLETS; i++)
		if (which[i / 64] & (UINT64_C(1) << i % 64))
			heard(m, &outlets[i]);
	if (attached)
		attach_deliver();
}

static int listen_to_pump(struct monitor *m)
{
	struct pump_fds fds;
	int r = pump_start(&fds);

	if (r < 0 || m->pump.ready)
		return r;
	m->pump = (struct source){ .fd = fds.news, .ready = ready };
	r = loop_add(&m->loop, &m->pump, EPOLLIN);
	if (r == 0)
		r = stall_watch(m, fds.watch);
	if (r < 0) { /* the next one tries again */
		loop_remove(&m->loop, &m->pump);
		m->pump.ready = NULL;
	}
	return r;
}

int outlet_open(struct container *c, const char *path, const char *copy_path, const char **call)
{
	struct outlet *o = outlets;
	int r = listen_to_pump(c->monitor);

	*call = "pthread_create";
	if (r < 0)
		return r;
	while (o < outlets + OUTLETS && o->taken)
		o++;
	*call = "outlets";
	if (o == outlets + OUTLETS)
		return -EUSERS;
	(void)snprintf(o->log.path, sizeof(o->log.path), "%s", path);
	(void)snprintf(o->copy_path, sizeof(o->copy_path), "%s", copy_path);
	o->log.limit = (struct log_limit){ .soft = c->extras.log_soft, .hard = c->extras.log_hard, .rate = c->extras.log_rate,
					   .policy = c->extras.log_policy };
	o->report = (struct pump_report){ .news = 0 };
	o->fds[0] = o->fds[1] = o->slave = -1;
	o->taken = true;
	o->container = c;
	c->outlet = o;
	pump_tell(o, PUMP_OPEN);
	return 0;
}

void outlet_let_go(struct container *c)
{
	if (!c->outlet)
		return;
	/* Nobody wants it any more: it is not made. */
	(void)outlet_reopen_not(c->outlet);
	c->outlet->container = NULL;
	pump_tell(c->outlet, PUMP_CLOSE);
	c->outlet = NULL;
}

static bool are_taken(void)
{
	for (size_t i = 0; i < OUTLETS; i++)
		if (outlets[i].taken)
			return true;
	return false;
}

void outlets_await(struct monitor *m, uint64_t ms, uint64_t stuck_ms)
{
	uint64_t now = sys_monotonic_ms();
	uint64_t until = now + ms;
	struct pollfd news = { .fd = m->pump.fd, .events = POLLIN };
	uint64_t stuck;

	for (size_t i = 0; i < MAX_CONTAINERS; i++)
		outlet_let_go(&m->containers[i]);
	for (; now < until && are_taken() && (stuck = pump_stuck()) < stuck_ms; now = sys_monotonic_ms()) {
		uint64_t left = until - now < stuck_ms - stuck ? until - now : stuck_ms - stuck;

		if (poll(&news, 1, (int)left) > 0)
			ready(&m->pump, EPOLLIN);
	}
}
