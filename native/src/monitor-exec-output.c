/* What an exec's process says, on its way to the client; and when that was all. */
#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "monitor-exec.h"
#include "sys.h"

enum {
	PIECE = 64 * 1024,       /* of one EXEC_OUTPUT */
	WIDE_PIECE = FRAME_MAX - 5, /* the same of a stream that says much */
	WIDE_PIPE = 1024 * 1024,
	SILENCE_MS = 100,
	AFTER_EXIT_MS = 1000,
	OUTPUT_HEADER = 5,
};

static void pause_stream(struct exec_stream *s)
{
	if (s->paused || s->source.fd < 0)
		return;
	s->paused = true;
	(void)epoll_ctl(s->exec->monitor->loop.epoll, EPOLL_CTL_DEL, s->source.fd, NULL);
}

void exec_stream_resume(struct exec_stream *s)
{
	if (!s->paused || s->source.fd < 0)
		return;
	s->paused = loop_add(&s->exec->monitor->loop, &s->source, EPOLLIN) < 0;
}

void exec_forward(struct exec_stream *s, const char *data, size_t length)
{
	struct exec *e = s->exec;
	size_t most = length < e->allowed ? length : (size_t)e->allowed;
	uint8_t stream = (uint8_t)(s - e->streams + 1);

	e->dropped += length - most;
	e->allowed -= most;
	if (!(e->wanted & (STREAM_STDOUT << (stream - 1))))
		most = 0;
	for (size_t at = 0; at < most && e->connection; at += PIECE) {
		struct writer w = reply_begin(e->monitor);

		wire_put_u8(&w, stream);
		wire_put_bytes(&w, data + at, most - at < PIECE ? most - at : PIECE);
		connection_send(e->connection, EVT_EXEC_OUTPUT, 0, e->request.seq, w.data, w.length);
	}
	if (e->connection && connection_pending(e->connection) > EXEC_PENDING)
		for (int i = 0; i < 2; i++)
			pause_stream(&e->streams[i]);
}

/* Reads straight into the connection's buffer, where there is room: at most EXEC_PENDING was not sent before. */
static ssize_t pass_on(struct exec_stream *s)
{
	struct exec *e = s->exec;
	size_t most = s->wide ? WIDE_PIECE : PIECE;
	uint8_t *at = connection_reserve(e->connection, OUTPUT_HEADER + most);
	struct writer w = wire_writer(at, OUTPUT_HEADER);
	ssize_t n;

	if (!(e->wanted & (STREAM_STDOUT << (s - e->streams))))
		return read(s->source.fd, e->monitor->chunk, PIECE);
	if (!at) {
		pause_stream(s);
		errno = EAGAIN;
		return -1;
	}
	n = read(s->source.fd, at + OUTPUT_HEADER, most);
	if (n <= 0)
		return n;
	wire_put_u8(&w, (uint8_t)(s - e->streams + 1));
	wire_put_u32(&w, (uint32_t)n);
	connection_commit(e->connection, EVT_EXEC_OUTPUT, e->request.seq, OUTPUT_HEADER + (size_t)n);
	if (n == PIECE && !s->wide) {
		s->wide = true;
		(void)fcntl(s->source.fd, F_SETPIPE_SZ, WIDE_PIPE); /* refused: then it stays as it is */
	}
	if (connection_pending(e->connection) > EXEC_PENDING)
		for (int i = 0; i < 2; i++)
			pause_stream(&e->streams[i]);
	return n;
}

/* Whether something is still there that its pipes held at its end; who else has a pipe open may have read that. */
static bool owes(struct exec *e)
{
	bool any = false;

	for (int i = 0; i < 2; i++) {
		struct exec_stream *s = &e->streams[i];
		int there = 0;

		if (s->source.fd < 0 || s->owed == 0)
			continue;
		if (ioctl(s->source.fd, FIONREAD, &there) < 0 || there < s->owed)
			s->owed = there;
		any = any || s->owed > 0;
	}
	return any;
}

static void settle_later(struct timer *timer)
{
	exec_settle(container_of(timer, struct exec, timer));
}

void exec_settle(struct exec *e)
{
	uint64_t now = sys_monotonic_ms();
	uint64_t silent = now - (e->spoke_at > e->exited_at ? e->spoke_at : e->exited_at);

	if (e->streams[0].source.fd < 0 && e->streams[1].source.fd < 0) {
		exec_complete(e);
	} else if (e->streams[0].paused || e->streams[1].paused) {
		timer_clear(&e->monitor->timers, &e->timer); /* until the client has taken what it was sent */
	} else if (!owes(e) && (silent >= SILENCE_MS || now - e->exited_at >= AFTER_EXIT_MS)) {
		exec_complete(e);
	} else if (!e->timer.link) {
		timer_set(&e->monitor->timers, &e->timer, silent < SILENCE_MS ? SILENCE_MS - silent : 1, settle_later);
	}
}

void exec_stream_ready(struct source *source, uint32_t events)
{
	struct exec_stream *s = container_of(source, struct exec_stream, source);
	struct exec *e = s->exec;
	struct monitor *m = e->monitor;
	ssize_t n;

	(void)events;
	if (s->paused)
		return;
	/* What the process says is kept whole, and it may speak before the runtime has written its pid. */
	if (e->job && e->job->captures[s - e->streams].length > EXEC_CAPTURED / 2) {
		pause_stream(s);
		return;
	}
	monitor_touch(m);
	n = e->is_stream && !e->job ? pass_on(s) : read(source->fd, m->chunk, PIECE);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		loop_close(&m->loop, source);
	} else if (e->job) {
		job_capture(e->job, (int)(s - e->streams), m->chunk, (size_t)n);
	} else {
		e->spoke_at = sys_monotonic_ms();
		s->owed -= n < s->owed ? (int)n : s->owed;
		if (!e->is_stream)
			exec_forward(s, m->chunk, (size_t)n);
	}
	if (e->ended)
		exec_settle(e);
}

void exec_resume(struct exec *e)
{
	for (int i = 0; i < 2; i++)
		exec_stream_resume(&e->streams[i]);
	if (e->ended)
		exec_settle(e);
}
