/* The pump's side of an outlet: what it is told, and the streams that it reads. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "pump.h"
#include "sys.h"

enum {
	WIDE_PIPE = 1024 * 1024,
	WIDEN_AT = 32 * 1024,
	TERMINAL_HOLDS = 128 * 1024,
	ROUND = 1024 * 1024,       /* of one stream before the others have their turn */
	LITTLE = 128 * 1024,       /* less than this was read from a wide pipe: more may be gathered first */
	LITTLE_OF_OTHERS = 32 * 1024, /* half of what a pipe holds: it is not full before that */
	FLOWS_NS = 2 * 1000 * 1000, /* between two reads of a stream that flows */
};

bool outlet_has_tail(const struct outlet *o)
{
	return o->streams[0].log.length + o->streams[1].log.length > 0;
}

static void tail_expired(struct timer *timer)
{
	struct outlet *o = container_of(timer, struct outlet, tail_timer);
	uint64_t age = sys_monotonic_ms() - o->tail_since;

	if (!outlet_has_tail(o))
		return;
	if (age < LOG_TAIL_MS) {
		timer_set(&pump.timers, timer, LOG_TAIL_MS - age, tail_expired);
		return;
	}
	pump_touch();
	pump_enter(o);
	for (int i = 0; i < 2; i++)
		log_flush(&o->log, &o->streams[i].log);
	pump_leave();
	outlet_report(o);
}

static void await_tail(struct outlet *o)
{
	if (outlet_has_tail(o) && !o->tail_timer.link)
		timer_set(&pump.timers, &o->tail_timer, LOG_TAIL_MS, tail_expired);
}

static void take(struct pump_stream *s, const char *data, size_t length)
{
	struct outlet *o = s->outlet;

	/* First, because a disk may take its time. */
	if (atomic_load(&o->attached) > 0 && attach_tee(o, s == &o->streams[0] ? 1 : 2, data, length))
		pump.behind = true;
	pump_enter(o);
	log_write(&o->log, &s->log, data, length);
	pump_leave();
	outlet_report(o);
	if (s->log.length == 0)
		return;
	if (s->log.length <= length) /* the line began in what was just read */
		o->tail_since = sys_monotonic_ms();
	await_tail(o);
}

static void ended(struct pump_stream *s)
{
	pump_enter(s->outlet);
	log_end(&s->outlet->log, &s->log);
	pump_leave();
	loop_close(&pump.loop, &s->source);
	outlet_report(s->outlet);
}

static uint64_t now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void ready(struct source *source, uint32_t events)
{
	struct pump_stream *s = container_of(source, struct pump_stream, source);
	struct log_limit *limit = &s->outlet->log.limit;
	bool attached = atomic_load(&s->outlet->attached) > 0;
	uint64_t now = now_ns();
	size_t total = 0;
	size_t most;
	ssize_t n;

	(void)events;
	pump_touch();
	do {
		most = limit_allows(limit, now / 1000000, attached ? PUMP_SHARED_CHUNK : PUMP_CHUNK);
		if (most == 0) {
			outlet_hold(s->outlet);
			return;
		}
		n = read(source->fd, pump.chunk, most);
		if (n > 0) {
			total += (size_t)n;
			limit_spend(limit, (size_t)n);
			take(s, pump.chunk, (size_t)n);
		}
	} while (n == (ssize_t)most && total < ROUND && !pump.behind);
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
		ended(s);
		return;
	}
	if (total >= WIDEN_AT && !s->wide) {
		s->wide = true;
		if (fcntl(source->fd, F_SETPIPE_SZ, WIDE_PIPE) > 0) /* refused: then it stays as it is */
			s->little = LITTLE;
	}
	if (!attached && total < s->little && now - s->read_at < FLOWS_NS)
		pump.flows = true;
	s->read_at = now;
}

static void forget_said(struct outlet *o)
{
	for (int i = 0; i < 2; i++) {
		if (o->said[i].data)
			(void)munmap(o->said[i].data, o->said[i].capacity);
		o->said[i] = (struct pump_said){ .data = NULL };
	}
}

static void add(struct outlet *o)
{
	for (int i = 0; i < 2; i++) {
		o->streams[i].source.fd = o->fds[i];
		o->fds[i] = -1;
		/* A terminal is no pipe; and what waits in a pipe of which nothing is read is lost when the container ends. */
		o->streams[i].wide = o->slave >= 0 || limit_slows(&o->log.limit);
		o->streams[i].little = o->slave >= 0 ? 0 : LITTLE_OF_OTHERS;
		if (o->said[i].length > 0)
			take(&o->streams[i], o->said[i].data, o->said[i].length);
	}
	if (!o->held)
		outlet_listen(o);
	forget_said(o);
}

/* At most so many bytes, as far as they are there. */
static void read_rest(struct pump_stream *s, size_t left)
{
	pump_touch();
	while (left > 0) {
		size_t most = atomic_load(&s->outlet->attached) > 0 ? PUMP_SHARED_CHUNK : PUMP_CHUNK;
		ssize_t n = read(s->source.fd, pump.chunk, left < most ? left : most);

		if (n <= 0)
			break;
		left -= (size_t)n;
		take(s, pump.chunk, (size_t)n);
		if (pump.behind)
			pump_let_catch_up_again();
	}
}

/* Ends the streams and the log. */
static void stop(struct outlet *o)
{
	for (int i = 0; i < 2; i++)
		if (o->streams[i].source.fd >= 0)
			ended(&o->streams[i]);
	timer_clear(&pump.timers, &o->tail_timer);
	outlet_unhold(o);
	if (o->slave >= 0)
		(void)close(o->slave);
	o->slave = -1;
	pump_enter(o);
	log_close(&o->log);
	pump_leave();
}

/*
 * What a background child writes after this is not waited for. What is on its way through a terminal is not told by
 * FIONREAD, but is read before its end, or a pause.
 */
static void drain(struct outlet *o)
{
	for (int i = 0; i < 2; i++) {
		struct pump_stream *s = &o->streams[i];
		int left = TERMINAL_HOLDS;

		if (s->source.fd < 0)
			continue;
		if (o->slave < 0 && ioctl(s->source.fd, FIONREAD, &left) < 0)
			left = 0;
		read_rest(s, (size_t)left);
	}
	stop(o);
	pump_say(o, NEWS_DRAINED);
}

static void begin(struct outlet *o)
{
	for (int i = 0; i < 2; i++)
		o->streams[i] = (struct pump_stream){ .source = { .fd = -1, .ready = ready }, .outlet = o,
						      .log = { .name = i == 0 ? "stdout" : "stderr", .tail = pump.tails[o - outlets][i] } };
	outlet_log_open(o);
}

void outlet_obey(struct outlet *o, unsigned commands)
{
	pump_touch();
	if (commands & PUMP_OPEN)
		begin(o);
	if (commands & PUMP_MAKE)
		outlet_log_make(o);
	if (commands & PUMP_ADD)
		add(o);
	if (commands & PUMP_REOPEN) {
		outlet_log_reopen(o);
		if (!limit_holds(&o->log.limit)) {
			outlet_resume(o);
			await_tail(o);
		}
	}
	if (commands & PUMP_DRAIN)
		drain(o);
	if ((commands & PUMP_COPY) && !(commands & PUMP_UNCOPY))
		copy_write(o);
	if (commands & PUMP_UNCOPY)
		copy_remove(o);
	if (commands & PUMP_CLOSE) {
		stop(o);
		pump_say(o, NEWS_GONE);
	}
}
