#include "timer.h"

#include <errno.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "sys.h"

static void arm(struct timers *timers)
{
	uint64_t at = timers->first ? timers->first->at : 0;
	struct itimerspec when = { .it_value = { .tv_sec = (time_t)(at / 1000), .tv_nsec = (long)(at % 1000) * 1000000 } };

	(void)timerfd_settime(timers->source.fd, TFD_TIMER_ABSTIME, &when, NULL);
}

static void unlink_timer(struct timer *timer)
{
	*timer->link = timer->next;
	if (timer->next)
		timer->next->link = timer->link;
	timer->link = NULL;
}

static void ready(struct source *source, uint32_t events)
{
	struct timers *timers = container_of(source, struct timers, source);
	uint64_t now = sys_monotonic_ms();
	uint64_t count;

	(void)events;
	(void)!read(source->fd, &count, sizeof(count));
	while (timers->first && timers->first->at <= now) {
		struct timer *timer = timers->first;

		unlink_timer(timer);
		timer->fire(timer);
	}
	arm(timers);
}

int timers_open(struct timers *timers, struct loop *loop)
{
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	*timers = (struct timers){ .source = { .fd = fd, .ready = ready } };
	return loop_add(loop, &timers->source, EPOLLIN);
}

void timer_set(struct timers *timers, struct timer *timer, uint64_t delay, void (*fire)(struct timer *))
{
	struct timer **at = &timers->first;

	if (timer->link)
		unlink_timer(timer);
	timer->at = sys_monotonic_ms() + delay + 1; /* the clock was rounded down */
	timer->fire = fire;
	while (*at && (*at)->at <= timer->at)
		at = &(*at)->next;
	timer->next = *at;
	timer->link = at;
	*at = timer;
	if (timer->next)
		timer->next->link = &timer->next;
	if (timers->first == timer)
		arm(timers);
}

void timer_clear(struct timers *timers, struct timer *timer)
{
	bool first = timers->first == timer;

	if (!timer->link)
		return;
	unlink_timer(timer);
	if (first)
		arm(timers);
}
