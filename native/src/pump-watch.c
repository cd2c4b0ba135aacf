/*
 * How long the pump has been waiting for a file system. Control asks when it has a reason to, and is called by a watch that
 * the pump sets seldom: nobody looks at a clock for every write, nor while nothing happens.
 */
#include <errno.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "pump.h"
#include "sys.h"

static _Atomic uint64_t since; /* when the file call began that the pump is in, in ms; 0: in none */
static _Atomic(struct outlet *) at; /* for whose log */
static _Atomic bool watched;   /* the watch is set */
static _Atomic bool awaited;   /* control is to be called when that call returns */
static int watch = -1;         /* a timerfd */

int watch_open(void)
{
	watch = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	return watch < 0 ? -errno : 0;
}

void watch_close(void)
{
	if (watch >= 0)
		(void)close(watch);
	watch = -1;
}

int watch_fd(void)
{
	return watch;
}

uint64_t pump_stuck_since(struct outlet **o)
{
	*o = atomic_load(&at);
	return atomic_load(&since);
}

uint64_t pump_stuck(void)
{
	uint64_t began = atomic_load(&since);
	uint64_t now = sys_monotonic_ms();

	return began == 0 || now < began ? 0 : now - began;
}

void pump_watch_set(uint64_t ms)
{
	struct itimerspec when = { .it_value = { .tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000 } };

	atomic_store(&watched, true);
	(void)timerfd_settime(watch, 0, &when, NULL);
}

void pump_watch_rang(void)
{
	uint64_t times;

	(void)!read(watch, &times, sizeof(times));
	atomic_store(&watched, false);
}

void pump_await_leave(void)
{
	atomic_store(&awaited, true);
	/* It may have gone on just before. */
	if (atomic_load(&since) == 0)
		pump_call();
}

void pump_enter(struct outlet *o)
{
	atomic_store(&at, o);
	atomic_store(&since, sys_monotonic_ms());
	if (!atomic_load(&watched))
		pump_watch_set(PUMP_WATCH_MS);
}

void pump_leave(void)
{
	atomic_store(&since, 0);
	if (atomic_load(&awaited) && atomic_exchange(&awaited, false))
		pump_call();
}
