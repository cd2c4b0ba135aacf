/* Bytes between a client and a TCP connection. Each way ends, or breaks off, by itself: what goes the other way goes on. */
#include <errno.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "monitor-dial.h"
#include "sys.h"

enum {
	PART = 256 * 1024,
	/* For how long what was sent may still be on its way when nobody waits for an answer any more. */
	LEAVE_MS = 30000,
	/* For how long of it a server may be silent, and how much it may say, once it has got all and the end of it. */
	END_MS = 1000,
	UNHEARD_MAX = 64 * 1024 * 1024,
};

bool dial_relays(const struct dial *d)
{
	return d->relays;
}

static size_t to_send(const struct dial *d)
{
	return d->connection->in_length - d->up;
}

uint32_t dial_events(const struct dial *d)
{
	const struct connection *c = d->connection;
	uint32_t events = 0;

	if (!d->client_ended && to_send(d) == 0)
		events |= EPOLLIN;
	if (!d->client_left && connection_pending(c) > 0)
		events |= EPOLLOUT;
	/*
	 * EPOLLHUP comes unasked, but only for what is in the loop: that a client leaves is seen whatever is waited for. It
	 * comes for ever, so that afterwards nothing is watched but what there is still to read.
	 */
	return d->client_left ? events : events | EPOLLHUP;
}

static void watch_both(struct dial *d)
{
	uint32_t events = 0;

	if (!d->tcp_ended && connection_pending(d->connection) == 0)
		events |= EPOLLIN;
	if (to_send(d) > 0)
		events |= EPOLLOUT;
	(void)loop_watch(&d->monitor->loop, &d->tcp, &d->events, events);
	connection_watch(d->connection);
}

static void too_late(struct timer *timer)
{
	connection_end(container_of(timer, struct dial, timer)->connection, false);
}

/* What has no end of its own gets one: so much later, and not later than LEAVE_MS after this was called first. */
static void expire(struct dial *d, uint64_t ms)
{
	uint64_t now = sys_monotonic_ms();
	uint64_t left;

	if (d->until == 0)
		d->until = now + LEAVE_MS;
	left = d->until > now ? d->until - now : 0;
	timer_set(&d->monitor->timers, &d->timer, ms < left ? ms : left, too_late);
}

/* It takes nothing any more; what it has sent is still sent on. */
static void leave(struct dial *d)
{
	d->client_left = true;
	expire(d, LEAVE_MS);
}

void dial_send_up(struct dial *d)
{
	struct connection *c = d->connection;

	while (to_send(d) > 0 && !d->tcp_deaf) {
		ssize_t n = send(d->tcp.fd, c->in + d->up, to_send(d), MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n >= 0)
			d->up += (size_t)n;
		else if (errno != EINTR)
			d->tcp_deaf = true; /* its answer may be here all the same */
	}
	d->up = 0;
	c->in_length = 0;
	if (d->client_ended && !d->shut) {
		d->shut = true;
		(void)shutdown(d->tcp.fd, SHUT_WR);
	}
}

/* What nobody takes is read too: who closed a socket with something unread in it would break off its other way. */
static void read_client(struct dial *d)
{
	struct connection *c = d->connection;
	ssize_t n;

	if (d->client_ended || to_send(d) > 0)
		return;
	monitor_touch(d->monitor);
	n = recv(c->source.fd, c->in, PART, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	d->client_ended = n <= 0;
	if (n < 0)
		leave(d);
	c->in_length = n < 0 ? 0 : (size_t)n;
	if (c->in_length > c->in_used)
		c->in_used = c->in_length;
	dial_send_up(d);
}

/* TCP to client, whose buffer is empty. */
static void read_tcp(struct dial *d)
{
	struct connection *c = d->connection;
	ssize_t n;

	if (d->tcp_ended || connection_pending(c) > 0)
		return;
	monitor_touch(d->monitor);
	n = recv(d->tcp.fd, c->out, PART, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	d->tcp_ended = n <= 0;
	d->tcp_deaf = d->tcp_deaf || n < 0;
	if (d->client_left && n > 0)
		d->unheard += (size_t)n;
	c->out_begin = 0;
	c->out_end = n < 0 ? 0 : (size_t)n;
	if (c->out_end > c->out_used)
		c->out_used = c->out_end;
}

/* Sends what is there; and the end, after all of it. */
static void send_down(struct dial *d)
{
	struct connection *c = d->connection;

	if (!d->client_left && !connection_send_out(c))
		leave(d);
	if (d->client_left)
		c->out_begin = c->out_end = 0;
	if (d->tcp_ended && !d->client_left && connection_pending(c) == 0)
		(void)shutdown(c->source.fd, SHUT_WR);
}

/* To nobody: and closing the connection now would take nothing from it. */
static bool has_said_enough(const struct dial *d)
{
	int on_its_way = 0;

	return d->unheard > UNHEARD_MAX && ioctl(d->tcp.fd, TIOCOUTQ, &on_its_way) == 0 && on_its_way == 0;
}

void dial_settle(struct dial *d)
{
	bool is_up_over = d->client_ended && to_send(d) == 0;
	bool is_down_over = d->tcp_ended && connection_pending(d->connection) == 0;

	if (d->connection->broken)
		return;
	if (is_up_over && is_down_over) {
		connection_end(d->connection, false);
		return;
	}
	/* A server that is told that it is over may have much to say; who is cut short may not read what it was sent. */
	if (is_up_over && d->client_left)
		expire(d, has_said_enough(d) ? 0 : END_MS);
	/* A client that has been told so, and goes on. */
	else if (is_down_over && d->tcp_deaf && d->until == 0)
		expire(d, LEAVE_MS);
	watch_both(d);
}

void dial_client(struct dial *d, uint32_t events)
{
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		read_client(d);
	if ((events & (EPOLLHUP | EPOLLERR)) && !d->client_left)
		leave(d);
	send_down(d);
	dial_settle(d);
}

void dial_tcp_ready(struct source *source, uint32_t events)
{
	struct dial *d = container_of(source, struct dial, tcp);

	if (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) {
		dial_send_up(d);
		read_client(d);
	}
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		read_tcp(d);
	send_down(d);
	dial_settle(d);
}

bool dial_has_more(const struct dial *d)
{
	int unread = 0;

	return d->relays && !d->tcp_ended && !d->client_left && ioctl(d->tcp.fd, FIONREAD, &unread) == 0 && unread > 0;
}
