#include "loop.h"

#include <errno.h>
#include <unistd.h>

int loop_open(struct loop *loop)
{
	*loop = (struct loop){ .epoll = epoll_create1(EPOLL_CLOEXEC) };
	return loop->epoll < 0 ? -errno : 0;
}

int loop_add(struct loop *loop, struct source *source, uint32_t events)
{
	struct epoll_event event = { .events = events, .data = { .ptr = source } };

	return epoll_ctl(loop->epoll, EPOLL_CTL_ADD, source->fd, &event) < 0 ? -errno : 0;
}

int loop_change(struct loop *loop, struct source *source, uint32_t events)
{
	struct epoll_event event = { .events = events, .data = { .ptr = source } };

	return epoll_ctl(loop->epoll, EPOLL_CTL_MOD, source->fd, &event) < 0 ? -errno : 0;
}

static void unlist(struct loop *loop, const struct source *source)
{
	for (int i = 0; i < loop->count; i++)
		if (loop->batch[i].data.ptr == source)
			loop->batch[i].data.ptr = NULL;
}

int loop_watch(struct loop *loop, struct source *source, uint32_t *now, uint32_t events)
{
	int r = 0;

	if (*now == events)
		return 0;
	if (events == 0) {
		unlist(loop, source);
		r = epoll_ctl(loop->epoll, EPOLL_CTL_DEL, source->fd, NULL) < 0 ? -errno : 0;
	} else {
		r = *now == 0 ? loop_add(loop, source, events) : loop_change(loop, source, events);
	}
	*now = r < 0 ? 0 : events;
	return r;
}

void loop_remove(struct loop *loop, struct source *source)
{
	unlist(loop, source);
	/* Explicit, because a forked child may hold the same open file and would keep it registered. */
	(void)epoll_ctl(loop->epoll, EPOLL_CTL_DEL, source->fd, NULL);
}

void loop_close(struct loop *loop, struct source *source)
{
	if (source->fd < 0)
		return;
	loop_remove(loop, source);
	(void)close(source->fd);
	source->fd = -1;
}

int loop_turn(struct loop *loop)
{
	loop->count = epoll_wait(loop->epoll, loop->batch, LOOP_BATCH, -1);
	if (loop->count < 0 && errno != EINTR)
		return -errno;
	for (int i = 0; i < loop->count && !loop->stop; i++) {
		struct source *source = loop->batch[i].data.ptr;

		if (source)
			source->ready(source, loop->batch[i].events);
	}
	loop->count = 0;
	return 0;
}

int loop_run(struct loop *loop)
{
	int r = 0;

	while (r == 0 && !loop->stop)
		r = loop_turn(loop);
	return r;
}
