/* Processes that the daemon wants to see end: containers and monitors, whoever's children they are. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launcher.h"
#include "sys.h"

struct watch {
	struct source source; /* its pidfd */
	struct launcher *launcher;
	pid_t pid;
	uint64_t start_time;
	uint64_t deadline; /* dead, and not reaped by its parent yet: until when to wait for its status */
	char key[KEY_MAX];
};

static uint32_t hash_of(const char *key)
{
	uint32_t hash = UINT32_C(2166136261);

	for (; *key; key++)
		hash = (hash ^ (uint8_t)*key) * UINT32_C(16777619);
	return hash;
}

static size_t find(const struct launcher *launcher, const char *key)
{
	uint32_t hash = hash_of(key);
	size_t i = 0;

	while (i < launcher->watch_count &&
	       (launcher->watches[i].hash != hash || strcmp(launcher->watches[i].watch->key, key) != 0))
		i++;
	return i;
}

static void forget(struct launcher *launcher, size_t i)
{
	struct watch *watch = launcher->watches[i].watch;

	if (watch->deadline)
		launcher->watch_lingering--;
	launcher->watches[i] = launcher->watches[--launcher->watch_count];
	loop_close(&launcher->loop, &watch->source);
	free(watch);
}

static void tell(struct launcher *launcher, size_t i, struct process_exit exit)
{
	uint8_t data[KEY_MAX + 32];
	struct writer w = wire_writer(data, sizeof(data));

	wire_put_str(&w, launcher->watches[i].watch->key);
	wire_put_u8(&w, exit.known);
	wire_put_i32(&w, exit.code);
	wire_put_i32(&w, exit.status);
	daemon_send(launcher, EVT_EXITED, 0, 0, data, w.length);
	forget(launcher, i);
}

/* What is left of it tells until its parent has reaped it, any moment; the kernel tells after that, from Linux 6.15 on. */
static struct process_exit exit_of(const struct watch *watch)
{
	struct process_exit exit = process_exit_of_zombie(watch->pid, watch->start_time);

	return exit.known ? exit : process_exit_info(watch->source.fd);
}

/* One that is neither to be seen nor reaped is waited for a second. */
static void on_exit_event(struct source *source, uint32_t events)
{
	struct watch *watch = container_of(source, struct watch, source);
	struct launcher *launcher = watch->launcher;
	struct process_exit exit = exit_of(watch);
	siginfo_t info = { .si_pid = 0 };

	if (exit.known || (events & EPOLLHUP)) {
		tell(launcher, find(launcher, watch->key), exit);
		return;
	}
	/* A child of ours: SIGCHLD is on its way, and its handler reaps and tells. */
	(void)waitid(P_PID, (id_t)watch->pid, &info, WEXITED | WNOHANG | WNOWAIT);
	(void)loop_change(&launcher->loop, source, 0); /* EPOLLHUP still comes */
	if (info.si_pid == watch->pid || watch->deadline)
		return;
	watch->deadline = sys_monotonic_ms() + LINGER_MS;
	launcher->watch_lingering++;
	launcher_arm(launcher, watch->deadline);
}

void watch_reaped(struct launcher *launcher, pid_t pid, uint64_t start_time, struct process_exit exit)
{
	for (size_t i = launcher->watch_count; i-- > 0;)
		if (launcher->watches[i].watch->pid == pid && launcher->watches[i].watch->start_time == start_time)
			tell(launcher, i, exit);
}

uint64_t watch_deadlines(struct launcher *launcher, uint64_t now)
{
	uint64_t next = 0;

	for (size_t i = launcher->watch_count; launcher->watch_lingering > 0 && i-- > 0;) {
		struct watch *watch = launcher->watches[i].watch;

		if (watch->deadline > now)
			next = next == 0 || watch->deadline < next ? watch->deadline : next;
		else if (watch->deadline)
			tell(launcher, i, exit_of(watch));
	}
	return next;
}

static int grow(struct launcher *launcher)
{
	size_t capacity = launcher->watch_capacity ? launcher->watch_capacity * 2 : 64;
	struct watch_slot *slots;

	if (launcher->watch_count < launcher->watch_capacity)
		return 0;
	slots = realloc(launcher->watches, capacity * sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	launcher->watches = slots;
	launcher->watch_capacity = capacity;
	return 0;
}

/* 0 or -errno. */
static int add(struct launcher *launcher, const struct watch *wanted)
{
	struct watch *watch;
	int r = grow(launcher);

	if (r < 0)
		return r;
	watch = malloc(sizeof(*watch));
	if (!watch)
		return -ENOMEM;
	*watch = *wanted;
	r = loop_add(&launcher->loop, &watch->source, EPOLLIN);
	if (r < 0) {
		free(watch);
		return r;
	}
	launcher->watches[launcher->watch_count++] = (struct watch_slot){ hash_of(watch->key), watch };
	return 0;
}

void watch_request(struct launcher *launcher, struct frame_header request, struct reader *reader)
{
	struct watch watch = { .launcher = launcher, .source = { .fd = -1, .ready = on_exit_event } };
	size_t length = wire_copy(reader, watch.key, sizeof(watch.key));
	size_t old;
	int r;

	watch.pid = (pid_t)wire_u32(reader);
	watch.start_time = wire_u64(reader);
	if (reader->bad || length == 0) {
		answer_error(launcher, request, ERR_MALFORMED, 0, "WATCH", "");
		return;
	}
	old = find(launcher, watch.key);
	if (old < launcher->watch_count)
		forget(launcher, old);
	if (launcher->watch_count >= WATCHES_MAX) {
		answer_error(launcher, request, ERR_LIMIT, 0, "watches", "");
		return;
	}
	r = process_open(watch.pid, watch.start_time);
	watch.source.fd = r;
	if (r >= 0)
		r = add(launcher, &watch);
	if (r < 0 && watch.source.fd >= 0)
		(void)close(watch.source.fd);
	if (r == -ESRCH)
		answer_error(launcher, request, ERR_NO_SUCH, ESRCH, "process", "");
	else if (r < 0)
		answer_error(launcher, request, ERR_SYSCALL, -r, "pidfd_open", watch.key);
	else
		answer(launcher, request, NULL, 0);
}

void unwatch_request(struct launcher *launcher, struct frame_header request, struct reader *reader)
{
	char key[KEY_MAX];
	size_t i;

	(void)wire_copy(reader, key, sizeof(key));
	if (reader->bad) {
		answer_error(launcher, request, ERR_MALFORMED, 0, "key", "");
		return;
	}
	i = find(launcher, key);
	if (i < launcher->watch_count)
		forget(launcher, i);
	answer(launcher, request, NULL, 0);
}
