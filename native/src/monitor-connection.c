#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "monitor.h"
#include "sys.h"

/* Pending bytes below which what was paused goes on. */
enum { RESUME_AT = 128 * 1024 };

void connection_release(struct connection *c)
{
	c->closing = true;
	request_forget(c);
	loop_close(&c->monitor->loop, &c->source);
	(void)munmap(c->in, IN_SIZE);
	(void)munmap(c->out, OUT_SIZE);
	c->in = NULL;
	c->out = NULL;
}

bool connection_is_open(const struct connection *c)
{
	return c->monitor && c->source.fd >= 0;
}

size_t connection_pending(const struct connection *c)
{
	return c->out_end - c->out_begin;
}

bool connection_is_any_pending(const struct monitor *m)
{
	for (size_t i = 0; i < MAX_CONNECTIONS; i++)
		if (connection_is_open(&m->connections[i]) && connection_pending(&m->connections[i]) > 0)
			return true;
	return false;
}

void connection_watch(struct connection *c)
{
	/* EPOLLHUP comes unasked, but only for what is in the loop. */
	uint32_t events = EPOLLHUP;

	if (c->broken)
		events = EPOLLIN; /* which it now is, for good */
	else if (c->dial && dial_relays(c->dial))
		events = dial_events(c->dial);
	else
		events |= (c->closing || c->held ? 0U : (uint32_t)EPOLLIN) | (c->wants_out ? (uint32_t)EPOLLOUT : 0U);
	(void)loop_watch(&c->monitor->loop, &c->source, &c->events, events);
}

void connection_end(struct connection *c, bool flush)
{
	c->closing = true;
	if (!flush || connection_pending(c) == 0) {
		c->broken = true;
		(void)shutdown(c->source.fd, SHUT_RDWR);
	} else {
		c->wants_out = true;
	}
	connection_watch(c);
}

bool connection_send_out(struct connection *c)
{
	while (!c->broken && connection_pending(c) > 0) {
		ssize_t n = send(c->source.fd, c->out + c->out_begin, connection_pending(c), MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN;
		c->out_begin += (size_t)n;
	}
	if (connection_pending(c) == 0)
		c->out_begin = c->out_end = 0;
	return true;
}

void connection_flush(struct connection *c)
{
	if (!connection_send_out(c)) {
		connection_end(c, false);
		return;
	}
	if (!c->broken) {
		c->wants_out = connection_pending(c) > 0;
		connection_watch(c);
	}
}

uint8_t *connection_reserve(struct connection *c, size_t length)
{
	if (c->out_end + FRAME_HEADER + length > OUT_SIZE && c->out_begin > 0) {
		memmove(c->out, c->out + c->out_begin, connection_pending(c));
		c->out_end -= c->out_begin;
		c->out_begin = 0;
	}
	return c->out_end + FRAME_HEADER + length > OUT_SIZE ? NULL : c->out + c->out_end + FRAME_HEADER;
}

static void commit(struct connection *c, struct frame_header header)
{
	wire_put_header(c->out + c->out_end, header);
	c->out_end += FRAME_HEADER + header.length;
	if (c->out_end > c->out_used)
		c->out_used = c->out_end;
	if (!c->wants_out)
		connection_flush(c);
}

void connection_commit(struct connection *c, uint16_t type, uint64_t seq, size_t length)
{
	commit(c, (struct frame_header){ .length = (uint32_t)length, .type = type, .seq = seq });
}

void connection_send(struct connection *c, uint16_t type, uint16_t flags, uint64_t seq, const void *payload, size_t length)
{
	uint8_t *at;

	if (c->closing)
		return;
	at = connection_reserve(c, length);
	if (!at) {
		connection_end(c, false);
		return;
	}
	if (length > 0)
		memcpy(at, payload, length);
	commit(c, (struct frame_header){ .length = (uint32_t)length, .type = type, .flags = flags, .seq = seq });
}

bool connection_broadcast(struct monitor *m, uint16_t type, const struct writer *payload)
{
	bool told = false;

	for (size_t i = 0; i < MAX_CONNECTIONS; i++) {
		struct connection *c = &m->connections[i];

		if (!connection_is_open(c) || c->kind != KIND_CONTROL)
			continue;
		connection_send(c, type, 0, 0, payload->data, payload->length);
		told = told || !c->closing;
	}
	return told;
}

/* Handles every complete frame that was received. */
static void take_frames(struct connection *c)
{
	size_t at = 0;

	while (!c->closing && !c->held && c->in_length - at >= FRAME_HEADER) {
		struct frame_header header = wire_header(c->in + at);

		if (header.length > FRAME_MAX) {
			connection_end(c, false);
			return;
		}
		if (c->in_length - at < FRAME_HEADER + header.length)
			break;
		if (!request_handle(c, &header, wire_reader(c->in + at + FRAME_HEADER, header.length))) {
			c->held = true;
			break;
		}
		at += FRAME_HEADER + header.length;
	}
	if (at > 0)
		memmove(c->in, c->in + at, c->in_length - at);
	c->in_length -= at;
	connection_watch(c);
}

void connection_resume(struct connection *c)
{
	if (!c->held || c->closing)
		return;
	c->held = false;
	take_frames(c);
}

/* There is room again for what it is sent. */
static void drained(struct connection *c)
{
	if (c->exec && connection_pending(c) <= RESUME_AT)
		exec_resume(c->exec);
	if (c->attach)
		attach_resume(c->attach);
}

static void ready(struct source *source, uint32_t events)
{
	struct connection *c = container_of(source, struct connection, source);
	ssize_t n = 0;

	if (c->dial && dial_relays(c->dial) && !c->broken) {
		dial_client(c->dial, events);
		return;
	}
	if (events & EPOLLOUT) {
		connection_flush(c);
		drained(c);
	}
	if (c->broken || (c->closing && connection_pending(c) == 0)) {
		connection_release(c);
		return;
	}
	if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return;
	monitor_touch(c->monitor);
	if (!c->closing && !c->held)
		n = recv(c->source.fd, c->in + c->in_length, IN_SIZE - c->in_length, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		connection_release(c);
		return;
	}
	c->in_length += (size_t)n;
	if (c->in_length > c->in_used)
		c->in_used = c->in_length;
	take_frames(c);
}

static void *buffer(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

bool connection_open(struct monitor *m, int fd)
{
	struct connection *c = m->connections;

	while (c < m->connections + MAX_CONNECTIONS && connection_is_open(c))
		c++;
	if (c == m->connections + MAX_CONNECTIONS)
		return false;
	*c = (struct connection){ .source = { .fd = fd, .ready = ready }, .monitor = m };
	c->in = buffer(IN_SIZE);
	c->out = buffer(OUT_SIZE);
	if (c->in && c->out && loop_watch(&m->loop, &c->source, &c->events, EPOLLIN | EPOLLHUP) == 0)
		return true;
	if (c->in)
		(void)munmap(c->in, IN_SIZE);
	if (c->out)
		(void)munmap(c->out, OUT_SIZE);
	c->source.fd = -1;
	return false;
}

void connection_give_back(struct monitor *m)
{
	size_t used = MAX_CONNECTIONS;

	while (used > 0 && !connection_is_open(&m->connections[used - 1]))
		used--;
	/* One that is closed may as well be all zeros, as before it was used. */
	sys_give_back(m->connections + used, (MAX_CONNECTIONS - used) * sizeof(m->connections[0]));
	for (size_t i = 0; i < MAX_CONNECTIONS; i++) {
		struct connection *c = &m->connections[i];

		if (!connection_is_open(c))
			continue;
		if (c->in_length == 0 && c->in_used > 0)
			(void)madvise(c->in, IN_SIZE, MADV_DONTNEED);
		if (c->out_end == 0 && c->out_used > 0)
			(void)madvise(c->out, OUT_SIZE, MADV_DONTNEED);
		c->in_used = c->in_length;
		c->out_used = c->out_end;
	}
}
