#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "monitor-container.h"

#ifndef NACELLE_BUILD
#define NACELLE_BUILD "dev"
#endif

static bool is_stored(uint16_t type)
{
	return type == MSG_CREATE || type == MSG_START || type == MSG_RELEASE || type == MSG_LOG_REOPEN;
}

static void store(struct monitor *m, const struct request *to, uint16_t flags, const void *payload, size_t length)
{
	struct replay *replay = &m->replays[m->next_replay];

	m->next_replay = (m->next_replay + 1) % MAX_REPLAYS;
	free(replay->large);
	*replay = (struct replay){ .epoch = to->epoch, .seq = to->seq, .flags = flags, .length = (uint32_t)length };
	if (length > REPLAY_INLINE) {
		replay->large = malloc(length);
		if (!replay->large)
			return; /* without its type it is never found: the request is then done again, and says so */
	}
	memcpy(replay->large ? replay->large : replay->bytes, payload, length);
	replay->type = to->type;
}

static void answer(struct monitor *m, struct request *to, uint16_t flags, const void *payload, size_t length)
{
	if (to->type == 0)
		return;
	if (is_stored(to->type) && length <= REPLAY_SIZE)
		store(m, to, flags, payload, length);
	if (to->connection)
		connection_send(to->connection, to->type | TYPE_REPLY, flags, to->seq, payload, length);
	to->type = 0;
}

struct writer reply_begin(struct monitor *m)
{
	monitor_touch(m);
	return wire_writer(m->payload, sizeof(m->payload));
}

void reply(struct monitor *m, struct request *to, const struct writer *payload)
{
	answer(m, to, 0, payload->data, payload->length);
}

void reply_empty(struct monitor *m, struct request *to)
{
	answer(m, to, 0, "", 0);
}

void reply_error(struct monitor *m, struct request *to, enum error_code code, int error, struct span what, const char *path)
{
	uint32_t limit = is_stored(to->type) ? REPLAY_SIZE - 64 : WHAT_MAX;
	size_t path_length = strlen(path);
	struct writer w = reply_begin(m);

	if (is_stored(to->type))
		limit -= (uint32_t)(path_length > limit / 2 ? limit / 2 : path_length);
	if (path_length > limit)
		path_length = limit; /* a path as long as that names nothing that could be opened */
	if (what.length > limit) {
		what.data += what.length - limit;
		what.length = limit;
	}
	wire_put_u16(&w, (uint16_t)code);
	wire_put_i32(&w, error);
	wire_put_u32(&w, 0);
	wire_put_bytes(&w, what.data, what.length);
	wire_put_bytes(&w, path, path_length);
	answer(m, to, FLAG_ERROR, w.data, w.length);
}

void reply_text(struct monitor *m, struct request *to, enum error_code code, int error, const char *what)
{
	reply_error(m, to, code, error, (struct span){ .data = (const uint8_t *)what, .length = (uint32_t)strlen(what) }, "");
}

static bool joins(struct request *waiting, const struct request *to)
{
	bool same = waiting->type == to->type && waiting->epoch == to->epoch && waiting->seq == to->seq;

	if (same)
		waiting->connection = to->connection;
	return same;
}

/* True when this request was here before: it is answered as then, or will be. */
static bool joined(struct monitor *m, struct request *to)
{
	if (!is_stored(to->type))
		return false;
	for (size_t i = 0; i < MAX_REPLAYS; i++) {
		struct replay *r = &m->replays[i];

		if (r->type == to->type && r->epoch == to->epoch && r->seq == to->seq) {
			connection_send(to->connection, r->type | TYPE_REPLY, r->flags, r->seq, r->large ? r->large : r->bytes, r->length);
			return true;
		}
	}
	for (size_t i = 0; i < MAX_JOBS; i++)
		if (m->jobs[i].done && joins(&m->jobs[i].request, to))
			return true;
	for (size_t i = 0; i < MAX_CONTAINERS; i++)
		if (joins(&m->containers[i].waiting.request, to) || joins(&m->containers[i].reopening.request, to))
			return true;
	return false;
}

static void disconnect(struct request *waiting, const struct connection *c)
{
	if (waiting->connection == c)
		waiting->connection = NULL;
}

void request_forget(struct connection *c)
{
	struct monitor *m = c->monitor;

	for (size_t i = 0; i < MAX_JOBS; i++)
		if (m->jobs[i].done)
			disconnect(&m->jobs[i].request, c);
	for (size_t i = 0; i < MAX_CONTAINERS; i++) {
		if (m->containers[i].status.state == 0)
			continue;
		disconnect(&m->containers[i].waiting.request, c);
		disconnect(&m->containers[i].reopening.request, c);
	}
	if (c->exec)
		exec_abandon(c->exec);
	c->exec = NULL;
	if (c->attach)
		attach_leave(c->attach);
	if (c->dial)
		dial_leave(c->dial);
}

const char *request_busy(const struct connection *c)
{
	if (c->exec)
		return "an exec is under way on this connection";
	return c->attach ? "it is attached already" : NULL;
}

bool request_room(struct monitor *m, struct request *to)
{
	unsigned count = 0;

	for (size_t i = 0; i < MAX_CONNECTIONS; i++) {
		const struct connection *c = &m->connections[i];

		count += connection_is_open(c) && ((c->exec && exec_is_stream(c->exec)) || c->attach || c->dial);
	}
	if (count >= MAX_SESSIONS)
		reply_text(m, to, ERR_LIMIT, 0, "too many attaches, streaming execs and forwarded connections");
	return count < MAX_SESSIONS;
}

static void hello(struct connection *c, struct request *to, struct reader *r)
{
	struct monitor *m = c->monitor;
	uint16_t min = wire_u16(r);
	uint16_t max = wire_u16(r);
	uint64_t epoch = wire_u64(r);
	uint8_t kind = wire_u8(r);
	struct writer w;

	if (r->bad || c->kind != 0 || (kind != KIND_CONTROL && kind != KIND_DATA)) {
		connection_end(c, false);
		return;
	}
	if (min > MONITOR_VERSION || max < MONITOR_OLDEST || epoch < m->epoch) {
		bool stale = min <= MONITOR_VERSION && max >= MONITOR_OLDEST;

		reply_text(m, to, stale ? ERR_STALE_EPOCH : ERR_UNSUPPORTED, 0, stale ? "a newer daemon was here" : "no common version");
		connection_end(c, true);
		return;
	}
	m->epoch = epoch;
	c->epoch = epoch;
	c->kind = kind;
	for (size_t i = 0; i < MAX_CONNECTIONS; i++)
		if (connection_is_open(&m->connections[i]) && m->connections[i].kind != 0 && m->connections[i].epoch < epoch)
			connection_end(&m->connections[i], false);
	w = reply_begin(m);
	wire_put_u16(&w, max < MONITOR_VERSION ? max : MONITOR_VERSION);
	wire_put_u32(&w, (uint32_t)getpid());
	wire_put_u64(&w, m->start_time);
	wire_put_str(&w, NACELLE_BUILD);
	wire_put_str(&w, m->options.sandbox_id);
	wire_put_u64(&w, m->epoch);
	wire_put_u32(&w, 0);
	reply(m, to, &w);
}

static void snapshot(struct monitor *m, struct request *to, struct reader *r)
{
	struct writer w = reply_begin(m);
	uint32_t count = 0;

	(void)r;
	for (size_t i = 0; i < MAX_CONTAINERS; i++)
		count += m->containers[i].status.state != 0;
	wire_put_u32(&w, count);
	for (size_t i = 0; i < MAX_CONTAINERS; i++)
		if (m->containers[i].status.state != 0)
			container_put(&w, &m->containers[i]);
	reply(m, to, &w);
}

static const struct {
	uint16_t type;
	void (*handle)(struct monitor *m, struct request *to, struct reader *r);
} handlers[] = {
	{ MSG_SNAPSHOT, snapshot },
	{ MSG_CREATE, container_create },
	{ MSG_START, container_start },
	{ MSG_RUNTIME, runtime_request },
	{ MSG_SIGNAL, container_signal },
	{ MSG_EXEC, exec_request },
	{ MSG_LOG_REOPEN, container_reopen },
	{ MSG_ACK_EXIT, container_ack },
	{ MSG_RELEASE, container_release },
	{ MSG_SHUTDOWN, end_request },
	{ MSG_ATTACH, attach_request },
	{ MSG_EXEC_STREAM, exec_stream_request },
	{ MSG_NET_CONNECT, dial_request },
};

static bool is_input(uint16_t type)
{
	return type == MSG_INPUT || type == MSG_RESIZE || type == MSG_STDIN_CLOSE;
}

bool request_handle(struct connection *c, const struct frame_header *header, struct reader payload)
{
	struct request to = { .connection = c, .epoch = c->epoch, .seq = header->seq, .type = header->type };
	struct monitor *m = c->monitor;

	if (header->type == MSG_HELLO) {
		hello(c, &to, &payload);
		return true;
	}
	if (c->kind == 0) {
		connection_end(c, false);
		return true;
	}
	if (is_input(header->type)) {
		bool done = input_handle(c, header->type, &payload);

		if (payload.bad)
			connection_end(c, false);
		return done;
	}
	if (joined(m, &to))
		return true;
	for (size_t i = 0; i < sizeof(handlers) / sizeof(handlers[0]); i++) {
		if (handlers[i].type == header->type) {
			handlers[i].handle(m, &to, &payload);
			if (payload.bad)
				reply_text(m, &to, ERR_MALFORMED, 0, "the payload is cut short, or a text in it is too long");
			return true;
		}
	}
	reply_text(m, &to, ERR_UNSUPPORTED, 0, "unknown request type");
	return true;
}
