/* Deadlines on one timerfd, which is armed only while there is one. */
#ifndef NACELLE_TIMER_H
#define NACELLE_TIMER_H

#include "loop.h"

/* Part of the struct that waits; zero when it does not. */
struct timer {
	uint64_t at;
	void (*fire)(struct timer *timer);
	struct timer *next;
	struct timer **link;
};

struct timers {
	struct source source;
	struct timer *first;
};

/* 0 or -errno. */
int timers_open(struct timers *timers, struct loop *loop);
/* `fire` is called once, from the loop, after `delay` ms; replaces what was set before. */
void timer_set(struct timers *timers, struct timer *timer, uint64_t delay, void (*fire)(struct timer *));
void timer_clear(struct timers *timers, struct timer *timer);

#endif
