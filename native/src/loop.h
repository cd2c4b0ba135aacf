/* One epoll loop of fds with handlers. */
#ifndef NACELLE_LOOP_H
#define NACELLE_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

#define container_of(pointer, type, member) ((type *)(void *)((char *)(pointer) - offsetof(type, member)))

/* Part of the struct that owns the fd; the handler finds that by container_of. */
struct source {
	int fd;
	void (*ready)(struct source *source, uint32_t events);
};

enum { LOOP_BATCH = 64 };

struct loop {
	int epoll;
	bool stop;
	int count;
	struct epoll_event batch[LOOP_BATCH];
};

/* 0 or -errno. */
int loop_open(struct loop *loop);
int loop_add(struct loop *loop, struct source *source, uint32_t events);
int loop_change(struct loop *loop, struct source *source, uint32_t events);
/* From the events in `*now` (0: it is not in the loop) to others. */
int loop_watch(struct loop *loop, struct source *source, uint32_t *now, uint32_t events);
/* Takes it out, also in the middle of a batch that still holds an event of it, and closes the fd. Nothing to do when fd is -1. */
void loop_close(struct loop *loop, struct source *source);
/* Takes it out and leaves it open. */
void loop_remove(struct loop *loop, struct source *source);
/* Waits for events and handles those that there are; 0 or -errno of epoll_wait. */
int loop_turn(struct loop *loop);
/* Until `stop` is set; 0 or -errno of epoll_wait. */
int loop_run(struct loop *loop);

#endif
