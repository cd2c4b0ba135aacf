/* NET_CONNECT: sockets in a network namespace, and which of them reaches the port. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "monitor-dial.h"

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

bool dial_is_any_carrying(void)
{
	for (size_t i = 0; i < MAX_SESSIONS; i++)
		if (dials[i].monitor && dial_has_more(&dials[i]))
			return true;
	return false;
}

static void answer_error(struct dial *d, enum error_code code, int error, const char *what)
{
	char place[64];
	struct span text = { .data = (const uint8_t *)what, .length = (uint32_t)strlen(what) };
	struct connection *c = d->connection;

	(void)snprintf(place, sizeof(place), "127.0.0.1:%u and [::1]:%u", d->port, d->port);
	reply_error(d->monitor, &d->request, code, error, text, place);
	free_dial(d);
	/* What the client sends after its request is meant for that port: here it is nobody's, and no frame. */
	connection_end(c, true);
}

static void connect_next(struct dial *d);

static void connected(struct dial *d)
{
	struct connection *c = d->connection;

	timer_clear(&d->monitor->timers, &d->timer);
	d->tcp.ready = dial_tcp_ready;
	/* What the client has sent after its request is the beginning of what it sends: the request goes away first. */
	reply_empty(d->monitor, &d->request);
	d->relays = true;
	c->held = false;
	dial_send_up(d);
	dial_settle(d);
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
		connection_end(to->connection, true);
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
