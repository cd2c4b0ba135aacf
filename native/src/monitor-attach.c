#include <string.h>

#include "monitor.h"
#include "ring.h"

enum {
	PENDING = 64 * 1024,   /* unsent bytes up to which the connection is given more */
	STALL_MS = 30000,
};

/* What stands below `outlet` is the pump's as well, and looked at with the lock held. */
struct attach {
	struct monitor *monitor; /* NULL: the slot is free */
	struct connection *connection;
	struct container *container; /* NULL: it has ended */
	uint64_t seq;
	bool input_ended;
	struct timer timer; /* set while the client takes nothing */
	struct outlet *outlet; /* that it hears; NULL: none any more */
	uint8_t streams;
	bool called;        /* control was, and did not come yet */
	bool full;          /* the connection takes nothing now: control comes by itself */
	struct ring ring;
};

static struct attach attaches[MAX_SESSIONS];

static void set(struct attach *a, struct attach to)
{
	pump_lock();
	*a = to;
	pump_unlock();
}

/* The pump keeps nothing more for it. */
static void stop_listening(struct attach *a)
{
	if (!a->outlet)
		return;
	(void)atomic_fetch_sub(&a->outlet->attached, 1);
	pump_lock();
	a->outlet = NULL;
	pump_unlock();
}

static void leave(struct attach *a)
{
	stop_listening(a);
	timer_clear(&a->monitor->timers, &a->timer);
	ring_close(&a->ring);
	a->connection->attach = NULL;
	set(a, (struct attach){ .monitor = NULL });
}

/* It has taken nothing for too long. */
static void stalled(struct timer *timer)
{
	struct attach *a = container_of(timer, struct attach, timer);

	connection_end(a->connection, false);
}

static void send_gaps(struct attach *a)
{
	uint64_t gaps[2];

	pump_lock();
	memcpy(gaps, a->ring.gaps, sizeof(gaps));
	memset(a->ring.gaps, 0, sizeof(a->ring.gaps));
	pump_unlock();
	for (uint8_t i = 0; i < 2; i++) {
		struct writer w = reply_begin(a->monitor);

		if (gaps[i] == 0)
			continue;
		wire_put_u8(&w, (uint8_t)(i + 1));
		wire_put_u64(&w, gaps[i]);
		connection_send(a->connection, EVT_GAP, 0, a->seq, w.data, w.length);
	}
}

static bool has_room(const struct attach *a)
{
	return connection_pending(a->connection) <= PENDING && !a->connection->closing;
}

/*
 * From the ring to the connection: what was lost before the first piece, else that piece; false: there is nothing, or it
 * does not fit, which is noted for the pump.
 */
static bool move_piece(struct attach *a)
{
	bool room = has_room(a);
	size_t piece = 0;
	uint8_t *at = NULL;
	bool gaps;

	pump_lock();
	gaps = room && a->ring.gaps[0] + a->ring.gaps[1] > 0;
	if (a->ring.length > 0 && room && !gaps) {
		piece = ring_first(&a->ring);
		at = connection_reserve(a->connection, piece);
	}
	if (at)
		ring_take(&a->ring, at, piece);
	else if (!gaps)
		a->full = a->ring.length > 0;
	pump_unlock();
	if (gaps)
		send_gaps(a);
	if (at)
		connection_commit(a->connection, EVT_EXEC_OUTPUT, a->seq, piece);
	return at || gaps;
}

static bool is_empty(struct attach *a)
{
	bool empty;

	pump_lock();
	empty = ring_is_empty(&a->ring);
	pump_unlock();
	return empty;
}

/* Gives the connection what it takes. */
static void deliver(struct attach *a)
{
	struct connection *c = a->connection;

	while (move_piece(a))
		;
	if (!a->container && is_empty(a)) {
		connection_send(c, EVT_ATTACH_END, 0, a->seq, "", 0);
		leave(a);
	} else if (connection_pending(c) == 0) {
		timer_clear(&a->monitor->timers, &a->timer);
	} else if (!a->timer.link) {
		timer_set(&a->monitor->timers, &a->timer, STALL_MS, stalled);
	}
}

void attach_resume(struct attach *a)
{
	timer_clear(&a->monitor->timers, &a->timer);
	deliver(a);
}

static bool was_called(struct attach *a)
{
	bool called;

	pump_lock();
	called = a->called;
	a->called = false;
	pump_unlock();
	return called;
}

void attach_deliver(void)
{
	for (size_t i = 0; i < MAX_SESSIONS; i++)
		if (attaches[i].monitor && was_called(&attaches[i]))
			deliver(&attaches[i]);
	pump_resume();
}

static bool hears(const struct attach *a, const struct outlet *o, uint8_t stream)
{
	return a->outlet == o && (a->streams & (1U << stream));
}

bool attach_tee(struct outlet *o, uint8_t stream, const char *data, size_t length)
{
	bool behind = false;
	bool call = false;

	pump_lock();
	for (size_t i = 0; i < MAX_SESSIONS; i++) {
		struct attach *a = &attaches[i];

		if (!hears(a, o, stream))
			continue;
		ring_keep(&a->ring, stream, data, length);
		behind = behind || (!a->full && a->ring.length > RING / 2);
		if (a->called || a->full)
			continue;
		a->called = call = true;
	}
	pump_unlock();
	if (call)
		pump_call_attached();
	return behind;
}

void attach_finish(struct container *c)
{
	for (size_t i = 0; i < MAX_SESSIONS; i++) {
		if (!attaches[i].monitor || attaches[i].container != c)
			continue;
		stop_listening(&attaches[i]);
		attaches[i].container = NULL;
		deliver(&attaches[i]);
	}
}

struct input *attach_input(struct attach *a)
{
	return a->container && (a->streams & STREAM_STDIN) && !a->input_ended ? &a->container->input : NULL;
}

void attach_end_input(struct attach *a)
{
	struct input *input = attach_input(a);

	a->input_ended = true;
	/* A terminal is never closed for one client: what reads it would be hung up. */
	if (input && a->container->input_once && !a->container->has_terminal)
		input_close(input);
}

void attach_leave(struct attach *a)
{
	struct connection *c = a->connection;
	struct input *input = a->container ? &a->container->input : NULL;

	attach_end_input(a);
	leave(a);
	if (input)
		input_forget(input, c);
}

void attach_resize(struct attach *a, uint16_t width, uint16_t height)
{
	if (a->container && a->container->has_terminal)
		terminal_resize(a->container->master, width, height);
}

static void attach(struct monitor *m, struct request *to, struct container *c, uint8_t streams)
{
	struct attach *a = attaches;
	struct ring ring;
	int r;

	if (!request_room(m, to))
		return;
	r = ring_open(&ring);
	if (r < 0) {
		reply_text(m, to, ERR_SYSCALL, -r, "mmap");
		return;
	}
	while (a->monitor)
		a++;
	to->connection->attach = a;
	set(a, (struct attach){ .monitor = m, .connection = to->connection, .container = c, .seq = to->seq, .outlet = c->outlet,
				.streams = streams, .ring = ring });
	reply_empty(m, to);
	(void)atomic_fetch_add(&c->outlet->attached, 1);
}

void attach_request(struct monitor *m, struct request *to, struct reader *r)
{
	char id[CONTAINER_ID_MAX + 1];
	struct container *c;
	uint8_t streams;

	(void)wire_copy(r, id, sizeof(id));
	streams = wire_u8(r);
	if (r->bad)
		return;
	c = container_find(m, id);
	if (streams & ~(STREAM_STDIN | STREAM_STDOUT | STREAM_STDERR))
		reply_text(m, to, ERR_MALFORMED, 0, "streams");
	else if (to->connection->kind != KIND_DATA)
		reply_text(m, to, ERR_UNSUPPORTED, 0, "ATTACH on a control connection");
	else if (request_busy(to->connection))
		reply_text(m, to, ERR_BUSY, 0, request_busy(to->connection));
	else if (!c)
		reply_text(m, to, ERR_NO_SUCH, 0, "container");
	else if (c->process.fd < 0)
		reply_text(m, to, ERR_WRONG_STATE, 0, container_absence(c));
	else
		attach(m, to, c, streams);
}
