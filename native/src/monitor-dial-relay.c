/* Bytes between a client and a TCP connection, each way by itself. */
#include <errno.h>
#include <sys/socket.h>

#include "monitor-dial.h"

/* For how long what a client has sent before it left may still be on its way. */
enum { PART = 256 * 1024, LEAVE_MS = 30000 };

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

	/* After it has left it is not watched at all: its hangup would come for ever. */
	if (!d->client_ended && to_send(d) == 0)
		events |= EPOLLIN;
	if (!d->client_left && connection_pending(c) > 0)
		events |= EPOLLOUT;
	/* EPOLLHUP comes unasked, but only for what is in the loop: that a client leaves is seen whatever is waited for. */
	return d->client_left ? events : events | EPOLLHUP;
}

static void watch_both(struct dial *d)
{
	uint32_t events = 0;

	if (!d->tcp_ended && !d->client_left && connection_pending(d->connection) == 0)
		events |= EPOLLIN;
	if (to_send(d) > 0)
		events |= EPOLLOUT;
	(void)loop_watch(&d->monitor->loop, &d->tcp, &d->events, events);
	connection_watch(d->connection);
}

bool dial_send_up(struct dial *d)
{
	struct connection *c = d->connection;

	while (to_send(d) > 0) {
		ssize_t n = send(d->tcp.fd, c->in + d->up, to_send(d), MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN;
		d->up += (size_t)n;
	}
	d->up = 0;
	c->in_length = 0;
	if (d->client_ended && !d->shut) {
		d->shut = true;
		(void)shutdown(d->tcp.fd, SHUT_WR);
	}
	return true;
}

static bool read_client(struct dial *d)
{
	struct connection *c = d->connection;
	ssize_t n;

	if (d->client_ended || to_send(d) > 0)
		return true;
	monitor_touch(d->monitor);
	n = recv(c->source.fd, c->in, PART, MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	c->in_length = (size_t)n;
	if (c->in_length > c->in_used)
		c->in_used = c->in_length;
	d->client_ended = n == 0;
	return dial_send_up(d);
}

/* TCP to client, whose buffer is empty. */
static bool read_tcp(struct dial *d)
{
	struct connection *c = d->connection;
	ssize_t n;

	if (d->tcp_ended || d->client_left || connection_pending(c) > 0)
		return true;
	monitor_touch(d->monitor);
	n = recv(d->tcp.fd, c->out, PART, MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	c->out_begin = 0;
	c->out_end = (size_t)n;
	if (c->out_end > c->out_used)
		c->out_used = c->out_end;
	d->tcp_ended = n == 0;
	return true;
}

/* Sends what is there; and the end, after all of it. */
static void send_down(struct dial *d)
{
	struct connection *c = d->connection;

	if (d->client_left)
		c->out_begin = c->out_end = 0;
	connection_flush(c);
	if (d->tcp_ended && connection_pending(c) == 0 && !c->broken)
		(void)shutdown(c->source.fd, SHUT_WR);
}

void dial_settle(struct dial *d, bool sound)
{
	if (!sound) {
		d->connection->in_length = d->up = 0;
		d->client_ended = d->tcp_ended = true;
	}
	if (d->connection->broken)
		return;
	if (d->client_ended && to_send(d) == 0 && (d->client_left || (d->tcp_ended && connection_pending(d->connection) == 0)))
		connection_end(d->connection, false);
	else
		watch_both(d);
}

static void left_long_ago(struct timer *timer)
{
	connection_end(container_of(timer, struct dial, timer)->connection, false);
}

void dial_client(struct dial *d, uint32_t events)
{
	bool sound = true;

	if (events & (EPOLLIN | EPOLLHUP))
		sound = read_client(d);
	if ((events & (EPOLLHUP | EPOLLERR)) && !d->client_left) {
		d->client_left = true; /* reads no more; what it has sent is still sent on */
		timer_set(&d->monitor->timers, &d->timer, LEAVE_MS, left_long_ago);
	}
	if (d->client_left && sound && to_send(d) == 0)
		sound = read_client(d);
	send_down(d);
	dial_settle(d, sound);
}

void dial_tcp_ready(struct source *source, uint32_t events)
{
	struct dial *d = container_of(source, struct dial, tcp);
	bool sound = true;

	if (events & (EPOLLOUT | EPOLLERR | EPOLLHUP))
		sound = dial_send_up(d) && read_client(d);
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		sound = read_tcp(d) && sound;
	send_down(d);
	dial_settle(d, sound);
}
