#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "monitor.h"
#include "sys.h"

enum { WIDE_PIPE = 1024 * 1024, WIDEN_AT = 32 * 1024, FINISH_MS = 2000, TERMINAL_HOLDS = 128 * 1024 };

void output_report(struct container *c)
{
	struct monitor *m = c->monitor;
	struct log *log = &c->log;
	unsigned news = log->news;

	log->news = 0;
	c->status.log_lost = log->lost;
	for (unsigned bit = LOG_FAILED; bit <= LOG_RECOVERED; bit <<= 1) {
		struct writer w;

		if (!(news & bit))
			continue;
		w = reply_begin(m);
		wire_put_str(&w, c->status.id);
		if (bit == LOG_FAILED)
			wire_put_i32(&w, log->error);
		else
			wire_put_u64(&w, log->episode);
		connection_broadcast(m, bit == LOG_FAILED ? EVT_LOG_ERROR : EVT_LOG_RECOVERED, &w);
	}
}

static void tail_expired(struct timer *timer)
{
	struct container *c = container_of(timer, struct container, tail_timer);
	uint64_t age = sys_monotonic_ms() - c->tail_since;

	if (c->streams[0].log.length + c->streams[1].log.length == 0)
		return;
	if (age < LOG_TAIL_MS) {
		timer_set(&c->monitor->timers, timer, LOG_TAIL_MS - age, tail_expired);
		return;
	}
	for (int i = 0; i < 2; i++)
		log_flush(&c->log, &c->streams[i].log);
	output_report(c);
}

static void take(struct stream *s, const char *data, size_t length)
{
	struct container *c = s->container;

	if (c->status.state == STATE_CREATING && s == &c->streams[1] && c->job) {
		job_capture(c->job, 1, data, length);
		return;
	}
	log_write(&c->log, &s->log, data, length);
	if (c->log.news)
		output_report(c);
	attach_tee(c, s == &c->streams[0] ? 1 : 2, data, length);
	if (s->log.length == 0)
		return;
	if (s->log.length <= length) /* the line began in what was just read */
		c->tail_since = sys_monotonic_ms();
	if (!c->tail_timer.link)
		timer_set(&c->monitor->timers, &c->tail_timer, LOG_TAIL_MS, tail_expired);
}

static void ended(struct stream *s)
{
	struct container *c = s->container;

	log_flush(&c->log, &s->log);
	loop_close(&c->monitor->loop, &s->source);
	if (c->log.news)
		output_report(c);
}

static void ready(struct source *source, uint32_t events)
{
	struct stream *s = container_of(source, struct stream, source);
	struct monitor *m = s->container->monitor;
	ssize_t n;

	(void)events;
	monitor_touch(m);
	n = read(source->fd, m->chunk, sizeof(m->chunk));
	if (n > 0)
		take(s, m->chunk, (size_t)n);
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		ended(s);
	if (n >= WIDEN_AT && !s->wide) {
		s->wide = true;
		(void)fcntl(source->fd, F_SETPIPE_SZ, WIDE_PIPE); /* refused: then it stays as it is */
	}
}

static void init(struct container *c, int i)
{
	size_t slot = (size_t)(c - c->monitor->containers);

	c->streams[i] = (struct stream){ .source = { .fd = -1, .ready = ready }, .container = c,
					 .log = { .name = i == 0 ? "stdout" : "stderr", .tail = c->monitor->tails[slot][i] } };
}

int output_terminal(struct container *c, int master)
{
	init(c, 0);
	init(c, 1);
	c->streams[0].wide = true; /* it is no pipe */
	c->slave = terminal_prepare(master);
	if (c->slave < 0) {
		(void)close(master);
		return c->slave;
	}
	c->streams[0].source.fd = master;
	return loop_add(&c->monitor->loop, &c->streams[0].source, EPOLLIN);
}

int output_open(struct container *c, uid_t uid, gid_t gid, int write_ends[2])
{
	for (int i = 0; i < 2; i++) {
		struct stream *s = &c->streams[i];
		int ends[2];

		init(c, i);
		if (pipe2(ends, O_CLOEXEC) < 0)
			return -errno;
		s->source.fd = ends[0];
		write_ends[i] = ends[1];
		(void)fcntl(ends[0], F_SETFL, O_NONBLOCK);
		/* 0600 and its own: the container's user may open /dev/stdout again. */
		if (fchown(ends[1], uid, gid) < 0)
			return -errno;
		if (loop_add(&c->monitor->loop, &s->source, EPOLLIN) < 0)
			return -ENOMEM;
	}
	return 0;
}

void output_last_words(struct container *c)
{
	struct stream *s = &c->streams[1];
	int left = 0;

	if (s->source.fd < 0 || c->has_terminal)
		return;
	monitor_touch(c->monitor);
	(void)ioctl(s->source.fd, FIONREAD, &left);
	while (left > 0) {
		ssize_t n = read(s->source.fd, c->monitor->chunk, sizeof(c->monitor->chunk));

		if (n <= 0)
			return;
		left -= (int)n;
		take(s, c->monitor->chunk, (size_t)n);
	}
}

/* What is on its way through a terminal is not told by FIONREAD, but is read before its end, or a pause. */
static void finish_terminal(struct stream *s)
{
	struct container *c = s->container;

	monitor_touch(c->monitor);
	for (size_t most = TERMINAL_HOLDS; most > 0;) {
		ssize_t n = read(s->source.fd, c->monitor->chunk, most);

		if (n <= 0)
			break;
		most -= (size_t)n;
		take(s, c->monitor->chunk, (size_t)n);
	}
	ended(s);
}

void output_finish(struct container *c)
{
	uint64_t until = sys_monotonic_ms() + FINISH_MS;

	for (int i = 0; i < 2; i++) {
		struct stream *s = &c->streams[i];
		int left = 0;

		if (s->source.fd < 0)
			continue;
		if (c->has_terminal) {
			finish_terminal(s);
			continue;
		}
		monitor_touch(c->monitor);
		/* What a background child writes after this is not waited for. */
		(void)ioctl(s->source.fd, FIONREAD, &left);
		while (left > 0 && sys_monotonic_ms() < until) {
			size_t part = (size_t)left < CHUNK ? (size_t)left : CHUNK;
			ssize_t n = read(s->source.fd, c->monitor->chunk, part);

			if (n <= 0)
				break;
			left -= (int)n;
			take(s, c->monitor->chunk, (size_t)n);
		}
		ended(s);
	}
	timer_clear(&c->monitor->timers, &c->tail_timer);
}

void output_close(struct container *c)
{
	for (int i = 0; i < 2; i++)
		loop_close(&c->monitor->loop, &c->streams[i].source);
	timer_clear(&c->monitor->timers, &c->tail_timer);
	log_close(&c->log);
}
