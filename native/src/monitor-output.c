/* Pipes of a container that is being created: what comes until then is mostly the runtime's. After that they are the pump's. */
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "monitor.h"

/* Keeps what is there, at most `most` bytes, and returns how many that were; 0 or less: there is no more for now. */
static ssize_t take(struct stream *s, size_t most)
{
	struct container *c = s->container;
	struct monitor *m = c->monitor;
	ssize_t n;

	monitor_touch(m);
	n = read(s->source.fd, m->chunk, most < sizeof(m->chunk) ? most : sizeof(m->chunk));
	if (n > 0 && c->job)
		job_capture(c->job, (int)(s - c->streams), m->chunk, (size_t)n);
	else if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		loop_close(&m->loop, &s->source);
	return n;
}

static void ready(struct source *source, uint32_t events)
{
	(void)events;
	(void)take(container_of(source, struct stream, source), CHUNK);
}

int output_open(struct container *c, uid_t uid, gid_t gid, int write_ends[2])
{
	for (int i = 0; i < 2; i++) {
		struct stream *s = &c->streams[i];
		int ends[2];

		if (pipe2(ends, O_CLOEXEC) < 0)
			return -errno;
		*s = (struct stream){ .source = { .fd = ends[0], .ready = ready }, .container = c };
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

	if (s->source.fd < 0)
		return;
	/* Asked once: who goes on writing, a hook's child perhaps, is not waited for. */
	(void)ioctl(s->source.fd, FIONREAD, &left);
	while (left > 0) {
		ssize_t n = take(s, (size_t)left);

		if (n <= 0)
			return;
		left -= (int)n;
	}
}

void output_hand_over(struct container *c, struct job *job)
{
	struct outlet *o = c->outlet;

	for (int i = 0; i < 2; i++) {
		struct source *source = &c->streams[i].source;
		struct capture *said = &job->captures[i];

		if (source->fd < 0)
			continue;
		loop_remove(&c->monitor->loop, source);
		o->fds[i] = source->fd;
		source->fd = -1;
		o->said[i] = (struct pump_said){ .data = said->data, .length = said->length, .capacity = said->capacity };
		*said = (struct capture){ .data = NULL };
	}
	pump_tell(o, PUMP_ADD);
}

int output_terminal(struct container *c, int master)
{
	struct outlet *o = c->outlet;

	c->master = fcntl(master, F_DUPFD_CLOEXEC, 3);
	o->slave = c->master < 0 ? -1 : terminal_prepare(master);
	if (o->slave < 0) {
		(void)close(master);
		return -ENOTTY;
	}
	o->fds[0] = master;
	pump_tell(o, PUMP_ADD);
	return 0;
}

void output_close(struct container *c)
{
	for (int i = 0; i < 2; i++)
		loop_close(&c->monitor->loop, &c->streams[i].source);
	if (c->master >= 0)
		(void)close(c->master);
	c->master = -1;
}
