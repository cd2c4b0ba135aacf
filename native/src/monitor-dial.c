#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "monitor.h"

/* For how long what a client has sent before it left may still be on its way. */
enum { PART = 256 * 1024, LEAVE_MS = 30000 };

/*
 * A TCP connection to a port of the sandbox. While it relays, the connection's two buffers are those of the relay, and
 * each is filled only when it is empty: who does not read is not read for.
 */
struct dial {
	struct monitor *monitor; /* NULL: the slot is free */
	struct connection *connection;
	struct request request;
	struct source tcp;
	uint32_t events;
	uint16_t port;
	int families[2]; /* sockets that are still to be tried, or -1; made before anything waits */
	int error;       /* of the first that failed */
	bool relays;
	bool client_ended; /* its half is shut, and */
	bool shut;         /* so is ours to TCP */
	bool client_left;
	bool tcp_ended;
	struct timer timer;
	size_t up;         /* bytes in the connection's `in` that were sent on */
};

static struct dial dials[MAX_SESSIONS];

static void free_dial(struct dial *d)
{
	timer_clear(&d->monitor->timers, &d->timer);
	loop_close(&d->monitor->loop, &d->tcp);
	for (int i = 0; i < 2; i++)
		if (d->families[i] >= 0)
			(void)close(d->families[i]);
	d->connection->dial = NULL;
	*d = (struct dial){ .monitor = NULL };
}

void dial_leave(struct dial *d)
{
	free_dial(d);
}

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

/* Client to TCP. False: TCP takes nothing any more. */
static bool send_up(struct dial *d)
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
	return send_up(d);
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

/* Ends the connection, and this with it, once there is nothing more to carry. A side that broke off carries nothing. */
static void settle(struct dial *d, bool sound)
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
	settle(d, sound);
}

static void tcp_ready(struct source *source, uint32_t events)
{
	struct dial *d = container_of(source, struct dial, tcp);
	bool sound = true;

	if (events & (EPOLLOUT | EPOLLERR | EPOLLHUP))
		sound = send_up(d) && read_client(d);
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		sound = read_tcp(d) && sound;
	send_down(d);
	settle(d, sound);
}

static void answer_error(struct dial *d, enum error_code code, int error, const char *what)
{
	char place[64];
	struct span text = { .data = (const uint8_t *)what, .length = (uint32_t)strlen(what) };
	struct connection *c = d->connection;

	(void)snprintf(place, sizeof(place), "127.0.0.1:%u and [::1]:%u", d->port, d->port);
	reply_error(d->monitor, &d->request, code, error, text, place);
	free_dial(d);
	connection_resume(c);
}

static void connect_next(struct dial *d);

static void connected(struct dial *d)
{
	struct connection *c = d->connection;

	timer_clear(&d->monitor->timers, &d->timer);
	d->tcp.ready = tcp_ready;
	/* What the client has sent after its request is the beginning of what it sends: the request goes away first. */
	reply_empty(d->monitor, &d->request);
	d->relays = true;
	c->held = false;
	settle(d, send_up(d));
}

static void connect_ready(struct source *source, uint32_t events)
{
	struct dial *d = container_of(source, struct dial, tcp);
	socklen_t size = sizeof(int);
	int error = 0;

	(void)events;
	if (getsockopt(source->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
		error = errno;
	if (error == 0) {
		connected(d);
		return;
	}
	d->error = d->error ? d->error : error;
	connect_next(d);
}

static int start_connect(int fd, bool six, uint16_t port)
{
	struct sockaddr_in four = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = { .s_addr = htonl(INADDR_LOOPBACK) } };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	int r = six ? connect(fd, (const struct sockaddr *)&v6, sizeof(v6)) : connect(fd, (const struct sockaddr *)&four, sizeof(four));

	return r < 0 && errno != EINPROGRESS ? errno : 0;
}

/* Tries the next address; its outcome comes from the loop. */
static void connect_next(struct dial *d)
{
	loop_close(&d->monitor->loop, &d->tcp);
	d->events = 0;
	for (int i = 0; i < 2; i++) {
		int error;

		if (d->families[i] < 0)
			continue;
		d->tcp = (struct source){ .fd = d->families[i], .ready = connect_ready };
		d->families[i] = -1;
		error = start_connect(d->tcp.fd, i == 1, d->port);
		if (error == 0)
			error = -loop_watch(&d->monitor->loop, &d->tcp, &d->events, EPOLLOUT);
		if (error == 0)
			return;
		d->error = d->error ? d->error : error;
		loop_close(&d->monitor->loop, &d->tcp);
	}
	answer_error(d, ERR_SYSCALL, d->error, "connect");
}

static void deadline_passed(struct timer *timer)
{
	answer_error(container_of(timer, struct dial, timer), ERR_TIMEOUT, 0, "nobody took the connection in time");
}

struct place {
	struct dial *dial;
	const char *netns; /* empty: here */
	int error;         /* errno, or 0 */
};

/* Sockets keep the namespace that they were made in. */
static int make_sockets(void *argument)
{
	static const int families[2] = { AF_INET, AF_INET6 };
	struct place *place = argument;
	int *sockets = place->dial->families;
	int there = place->netns[0] ? open(place->netns, O_RDONLY | O_CLOEXEC) : -1;

	place->error = place->netns[0] && (there < 0 || setns(there, CLONE_NEWNET) < 0) ? errno : 0;
	for (int i = 0; i < 2 && place->error == 0; i++)
		sockets[i] = socket(families[i], SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (place->error == 0 && sockets[0] < 0 && sockets[1] < 0)
		place->error = errno;
	if (there >= 0)
		(void)close(there);
	return 0;
}

/*
 * 0 or errno. A child with our memory and our descriptors goes there, and we wait for it to end: who goes by himself
 * may not be let in again at home, and everything that he starts would be there with him.
 */
static int make_sockets_in(struct dial *d, const char *netns)
{
	struct monitor *m = d->monitor;
	struct place place = { .dial = d, .netns = netns, .error = EIO };
	pid_t child;

	if (!netns[0]) {
		(void)make_sockets(&place);
		return place.error;
	}
	monitor_touch(m); /* the child's stack is there */
	child = clone(make_sockets, m->chunk + CHUNK, CLONE_VM | CLONE_VFORK | CLONE_FILES, &place);
	if (child < 0)
		return errno;
	while (waitpid(child, NULL, __WALL) < 0 && errno == EINTR)
		;
	return place.error;
}

static void dial(struct monitor *m, struct request *to, uint16_t port, uint32_t deadline)
{
	struct dial *d = dials;
	int error;

	if (!request_room(m, to))
		return;
	while (d->monitor)
		d++;
	*d = (struct dial){ .monitor = m, .connection = to->connection, .request = *to, .port = port, .families = { -1, -1 }, .tcp = { .fd = -1 } };
	to->connection->dial = d;
	error = make_sockets_in(d, m->path);
	if (error != 0) {
		reply_error(m, to, ERR_SYSCALL, error, (struct span){ .data = (const uint8_t *)"netns", .length = 5 }, m->path);
		free_dial(d);
		return;
	}
	timer_set(&m->timers, &d->timer, deadline, deadline_passed);
	connect_next(d);
	/* Unless that has failed already, what follows is no frame. */
	to->connection->held = to->connection->dial != NULL;
}

void dial_request(struct monitor *m, struct request *to, struct reader *r)
{
	uint16_t port;
	uint32_t deadline;

	(void)wire_copy(r, m->path, sizeof(m->path));
	port = wire_u16(r);
	deadline = wire_u32(r);
	if (r->bad)
		return;
	if (port == 0 || !deadline_valid(deadline) || (m->path[0] != 0 && m->path[0] != '/'))
		reply_text(m, to, ERR_MALFORMED, 0, "netns, port or deadlineMs");
	else if (to->connection->kind != KIND_DATA)
		reply_text(m, to, ERR_UNSUPPORTED, 0, "NET_CONNECT on a control connection");
	else if (request_busy(to->connection))
		reply_text(m, to, ERR_BUSY, 0, request_busy(to->connection));
	else
		dial(m, to, port, deadline);
}
