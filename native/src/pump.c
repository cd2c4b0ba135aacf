#include "pump.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "sys.h"

enum {
	STACK = PUMP_SANITIZED ? 4 * 1024 * 1024 : 192 * 1024, /* what is touched counts, and aarch64 refuses less than 128 KiB */
	GUARD = 4096,
	IDLE_MS = 1000,
	GATHER_NS = 500 * 1000,
	CATCH_UP_NS = 1000 * 1000,
};

struct outlet outlets[OUTLETS];
struct pump pump;

static char stack[GUARD + STACK] __attribute__((aligned(4096)));
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool runs;
static int news = -1;
static _Atomic uint64_t told[OUTLET_WORDS];  /* outlets that have commands */
static _Atomic uint64_t heard[OUTLET_WORDS]; /* outlets that have news */
static _Atomic bool clients;   /* have news */
static _Atomic bool waits;     /* the pump does, for control to catch up */

void pump_lock(void)
{
	(void)pthread_mutex_lock(&lock);
}

void pump_unlock(void)
{
	(void)pthread_mutex_unlock(&lock);
}

/* An eventfd that nobody reads for ever would have to be written 2^64 times before this could fail. */
static void wake(int fd)
{
	uint64_t one = 1;

	(void)!write(fd, &one, sizeof(one));
}

static void hush(int fd)
{
	uint64_t count;

	(void)!read(fd, &count, sizeof(count));
}

static void mark(_Atomic uint64_t words[OUTLET_WORDS], const struct outlet *o)
{
	size_t i = (size_t)(o - outlets);

	(void)atomic_fetch_or(&words[i / 64], UINT64_C(1) << i % 64);
}

void pump_tell(struct outlet *o, enum pump_command command)
{
	(void)atomic_fetch_or(&o->commands, (unsigned)command);
	mark(told, o);
	wake(pump.commands.fd);
}

bool pump_heard(uint64_t which[OUTLET_WORDS])
{
	hush(news);
	for (size_t i = 0; i < OUTLET_WORDS; i++)
		which[i] = atomic_exchange(&heard[i], 0);
	return atomic_exchange(&clients, false);
}

struct pump_report pump_report(struct outlet *o)
{
	struct pump_report report;

	pump_lock();
	report = o->report;
	o->report.news = 0;
	o->report.log_news = 0;
	pump_unlock();
	return report;
}

uint64_t pump_lost(struct outlet *o, uint64_t *lines)
{
	uint64_t lost;

	pump_lock();
	lost = o->report.lost;
	if (lines)
		*lines = o->report.lost_lines;
	pump_unlock();
	return lost;
}

void pump_resume(void)
{
	if (atomic_exchange(&waits, false))
		wake(pump.commands.fd);
}

void pump_call(void)
{
	wake(news);
}

void pump_say(struct outlet *o, enum pump_news what)
{
	pump_lock();
	o->report.news |= (unsigned)what;
	pump_unlock();
	mark(heard, o);
	wake(news);
}

void pump_answer(struct outlet *o, enum pump_news what, int error)
{
	pump_lock();
	o->report.errors[what == NEWS_OPENED ? 0 : what == NEWS_MADE ? 1 : 2] = error;
	pump_unlock();
	pump_say(o, what);
}

void pump_answer_reopen(struct outlet *o, uint32_t reopening, int error, uint64_t inode)
{
	pump_lock();
	o->report.inode = inode;
	o->report.reopening = reopening;
	pump_unlock();
	pump_answer(o, NEWS_REOPENED, error);
}

void pump_call_attached(void)
{
	atomic_store(&clients, true);
	wake(news);
}

static void give_back(struct timer *timer)
{
	if (pump.used) {
		pump.used = false;
		timer_set(&pump.timers, timer, IDLE_MS, give_back);
		return;
	}
	sys_give_back(pump.chunk, sizeof(pump.chunk));
	sys_give_back_stack(stack + GUARD);
	log_give_back();
	for (size_t i = 0; i < OUTLETS; i++)
		if (!outlet_has_tail(&outlets[i]))
			sys_give_back(pump.tails[i], sizeof(pump.tails[i]));
}

void pump_touch(void)
{
	pump.used = true;
	if (!pump.idle.link)
		timer_set(&pump.timers, &pump.idle, IDLE_MS, give_back);
}

static void commanded(struct source *source, uint32_t events)
{
	(void)events;
	hush(source->fd);
	for (size_t i = 0; i < OUTLET_WORDS; i++) {
		uint64_t which = atomic_exchange(&told[i], 0);

		for (struct outlet *o = &outlets[64 * i]; which != 0; o++, which >>= 1)
			if (which & 1)
				outlet_obey(o, atomic_exchange(&o->commands, 0));
	}
}

/* Nothing is read meanwhile, but a command ends it. */
static void pause_for(long ns)
{
	struct pollfd commands = { .fd = pump.commands.fd, .events = POLLIN };
	struct timespec time = { .tv_nsec = ns };

	(void)ppoll(&commands, 1, &time, NULL);
}

void pump_let_catch_up(void)
{
	pump.behind = false;
	atomic_store(&waits, true);
	pause_for(CATCH_UP_NS);
	atomic_store(&waits, false);
}

void pump_let_catch_up_again(void)
{
	hush(pump.commands.fd);
	pump_let_catch_up();
	wake(pump.commands.fd);
}

static void *run(void *unused)
{
	(void)prctl(PR_SET_NAME, "nacelle-pump");
	/* Refused where this is no place for filters: then an operator sees that by the name. */
	if (!PUMP_SANITIZED && filter_install() < 0)
		(void)prctl(PR_SET_NAME, "pump-unconfined");
	for (;;) {
		(void)loop_turn(&pump.loop);
		if (pump.behind)
			pump_let_catch_up();
		else if (pump.flows)
			pause_for(GATHER_NS);
		pump.flows = false;
	}
	return unused;
}

static int prepare(void)
{
	int r = loop_open(&pump.loop);

	pump.timers.source.fd = pump.commands.fd = -1;
	if (r == 0)
		r = timers_open(&pump.timers, &pump.loop);
	pump.commands = (struct source){ .fd = r < 0 ? -1 : eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), .ready = commanded };
	news = r < 0 ? -1 : eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (r == 0 && (pump.commands.fd < 0 || news < 0))
		r = -errno;
	if (r == 0)
		r = watch_open();
	return r < 0 ? r : loop_add(&pump.loop, &pump.commands, EPOLLIN);
}

static int start_thread(void)
{
	pthread_attr_t attributes;
	pthread_t thread;
	int r = pthread_attr_init(&attributes);

	if (r != 0)
		return -r;
	(void)mprotect(stack, GUARD, PROT_NONE);
	r = pthread_attr_setstack(&attributes, stack + GUARD, STACK);
	if (r == 0)
		r = pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	if (r == 0)
		r = pthread_create(&thread, &attributes, run, NULL);
	(void)pthread_attr_destroy(&attributes);
	return -r;
}

static void undo(void)
{
	loop_close(&pump.loop, &pump.timers.source);
	loop_close(&pump.loop, &pump.commands);
	watch_close();
	if (news >= 0)
		(void)close(news);
	if (pump.loop.epoll >= 0)
		(void)close(pump.loop.epoll);
}

int pump_start(struct pump_fds *fds)
{
	int r = 0;

	if (!runs) {
		r = prepare();
		if (r == 0)
			r = start_thread();
		runs = r == 0;
		if (r < 0)
			undo();
	}
	*fds = (struct pump_fds){ .news = news, .watch = watch_fd() };
	return r;
}
