/* Frames to and from the daemon on fd 3. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "launcher.h"

enum { DAEMON_FD = 3, QUEUE_MAX = 4 * 1024 * 1024 };

static uint32_t interest(const struct launcher *launcher)
{
	uint32_t events = launcher->queued < QUEUE_MAX ? EPOLLIN : 0; /* who does not read replies gets no more work done */

	return launcher->first ? events | EPOLLOUT : events;
}

static void write_queue(struct launcher *launcher)
{
	while (launcher->first) {
		struct outgoing *out = launcher->first;
		ssize_t n = send(launcher->daemon.fd, out->data + out->sent, out->length - out->sent, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			if (errno != EAGAIN)
				launcher->loop.stop = true;
			return;
		}
		out->sent += (size_t)n;
		launcher->queued -= (size_t)n;
		if (out->sent < out->length)
			continue;
		launcher->first = out->next;
		if (!out->next)
			launcher->last = NULL;
		free(out);
	}
}

void daemon_send(struct launcher *launcher, uint16_t type, uint16_t flags, uint64_t seq, const void *data, size_t length)
{
	struct outgoing *out = malloc(sizeof(*out) + FRAME_HEADER + length);

	if (!out) {
		launcher_log("malloc", "", ENOMEM);
		launcher->loop.stop = true;
		return;
	}
	*out = (struct outgoing){ .length = FRAME_HEADER + length };
	wire_put_header(out->data, (struct frame_header){ (uint32_t)length, type, flags, seq });
	if (length > 0)
		memcpy(out->data + FRAME_HEADER, data, length);
	if (launcher->last)
		launcher->last->next = out;
	else
		launcher->first = out;
	launcher->last = out;
	launcher->queued += out->length;
	if (launcher->first == out)
		write_queue(launcher);
	if (launcher->first)
		(void)loop_change(&launcher->loop, &launcher->daemon, interest(launcher));
}

void answer(struct launcher *launcher, struct frame_header request, const void *data, size_t length)
{
	daemon_send(launcher, request.type | TYPE_REPLY, 0, request.seq, data, length);
}

void answer_error_at(struct launcher *launcher, struct frame_header request, enum error_code code, int error,
		    uint32_t index, const char *what, const char *path)
{
	uint8_t data[PATH_ROOM + 1024];
	struct writer w = wire_writer(data, sizeof(data));

	wire_put_u16(&w, (uint16_t)code);
	wire_put_i32(&w, error);
	wire_put_u32(&w, index);
	wire_put_str(&w, what);
	wire_put_str(&w, path);
	daemon_send(launcher, request.type | TYPE_REPLY, FLAG_ERROR, request.seq, data, w.length);
}

void answer_error(struct launcher *launcher, struct frame_header request, enum error_code code, int error, const char *what,
		 const char *path)
{
	answer_error_at(launcher, request, code, error, 0, what, path);
}

/* Handles the frames that are complete; the rest moves to the front. */
static void take_frames(struct launcher *launcher)
{
	size_t at = 0;

	while (!launcher->loop.stop && launcher->received - at >= FRAME_HEADER) {
		struct frame_header header = wire_header(launcher->frame + at);
		struct reader reader;

		if (header.length > FRAME_MAX || header.type >= 0x4000) {
			launcher_log("malformed frame", "", EPROTO);
			launcher->loop.stop = true;
			return;
		}
		if (launcher->received - at < FRAME_HEADER + header.length)
			break;
		reader = wire_reader(launcher->frame + at + FRAME_HEADER, header.length);
		launcher_dispatch(launcher, header, &reader);
		at += FRAME_HEADER + header.length;
	}
	memmove(launcher->frame, launcher->frame + at, launcher->received - at);
	launcher->received -= at;
}

static void ready(struct source *source, uint32_t events)
{
	struct launcher *launcher = container_of(source, struct launcher, daemon);
	ssize_t n;

	if (events & EPOLLOUT) {
		write_queue(launcher);
		(void)loop_change(&launcher->loop, source, interest(launcher));
	}
	if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return;
	n = recv(source->fd, launcher->frame + launcher->received, sizeof(launcher->frame) - launcher->received, 0);
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		launcher->loop.stop = true;
	if (n <= 0)
		return;
	launcher->received += (size_t)n;
	take_frames(launcher);
}

int daemon_open(struct launcher *launcher)
{
	launcher->daemon = (struct source){ .fd = DAEMON_FD, .ready = ready };
	if (fcntl(DAEMON_FD, F_SETFL, O_NONBLOCK) < 0 || fcntl(DAEMON_FD, F_SETFD, FD_CLOEXEC) < 0)
		return -errno;
	return loop_add(&launcher->loop, &launcher->daemon, EPOLLIN);
}
