/* How a monitor ends: by SHUTDOWN, or by itself after SIGTERM, which the machine's end brings to all that is left. */
#include <unistd.h>

#include "monitor-container.h"

enum {
	LAST_WORDS_MS = 1000,
	/* systemd waits for 90 s by default, and its disks have much to do meanwhile. */
	COPIES_MS = 10 * 1000,
	/* What one file may take of that: as an exit waits for its log. */
	STUCK_MS = 2000,
};

/* Why it cannot end without a loss; NULL: it can. */
static const char *needed_for(const struct monitor *m)
{
	for (size_t i = 0; i < MAX_CONTAINERS; i++)
		if (m->containers[i].status.state != 0 && m->containers[i].status.state != STATE_EXITED)
			return "a container lives";
	return m->jobs_in_flight > 0 ? "a runtime is at work" : NULL;
}

static bool owes_exit(const struct monitor *m)
{
	for (size_t i = 0; i < MAX_CONTAINERS; i++)
		if (m->containers[i].status.state == STATE_EXITED && !m->containers[i].status.acked)
			return true;
	return false;
}

void end_request(struct monitor *m, struct request *to, struct reader *r)
{
	const char *why = needed_for(m);

	(void)r;
	if (!why && owes_exit(m))
		why = "an exit is not acknowledged";
	if (why) {
		reply_text(m, to, ERR_BUSY, 0, why);
		return;
	}
	reply_empty(m, to);
	(void)unlink(m->options.socket_path);
	/* The pump may be held by a dead disk, and with it what is open: nobody is to wait for that, or not for long. */
	connection_end_all(m);
	outlets_await(m, LAST_WORDS_MS, LAST_WORDS_MS);
	_exit(0);
}

/* Its socket's file stays, as after a crash: who connects learns at once that nobody is there, and reads the records. */
void end_if_asked(struct monitor *m)
{
	if (!m->asked_to_end || needed_for(m) || exec_is_any() || dial_is_any_carrying() || connection_is_any_pending(m))
		return;
	for (size_t i = 0; i < MAX_CONTAINERS; i++)
		if (m->containers[i].status.state == STATE_EXITED)
			exit_copy(&m->containers[i]);
	outlets_await(m, COPIES_MS, STUCK_MS);
	/* A pump that is held by a dead disk keeps what is open open. */
	connection_end_all(m);
	_exit(0);
}
