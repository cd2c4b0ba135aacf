#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "monitor.h"
#include "sys.h"

enum {
	RING = 256 * 1024,
	PIECE = 16 * 1024,     /* of one OUTPUT; what is lost is lost in such pieces */
	PENDING = 64 * 1024,   /* unsent bytes up to which the connection is given more */
	STALL_MS = 30000,
	PIECE_HEADER = 5,      /* u8 stream, u32 length, as in OUTPUT */
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
	uint8_t *ring;      /* pieces, which may go over its end */
	size_t begin;
	size_t length;
	uint64_t gaps[2];   /* bytes of stdout and stderr that were lost before what is in the ring */
};

static struct attach attaches[MAX_SESSIONS];

/* A copy to or from the ring, `at` bytes after its beginning. */
static void ring_copy(struct attach *a, size_t at, uint8_t *bytes, size_t length, bool in)
{
	size_t place = (a->begin + at) % RING;
	size_t first = length < RING - place ? length : RING - place;

	if (in) {
		memcpy(a->ring + place, bytes, first);
		memcpy(a->ring, bytes + first, length - first);
	} else {
		memcpy(bytes, a->ring + place, first);
		memcpy(bytes + first, a->ring, length - first);
	}
}

/* Length of the first piece, with its header. */
static size_t first_piece(struct attach *a, uint8_t *stream)
{
	uint8_t header[PIECE_HEADER] = { 0 };
	struct reader r = wire_reader(header, sizeof(header));

	ring_copy(a, 0, header, sizeof(header), false);
	*stream = wire_u8(&r);
	return PIECE_HEADER + wire_u32(&r);
}

static void drop_piece(struct attach *a, size_t length)
{
	a->begin = (a->begin + length) % RING;
	a->length -= length;
}

/* Makes room by losing the oldest. */
static void keep(struct attach *a, uint8_t stream, const char *data, size_t length)
{
	uint8_t header[PIECE_HEADER] = { 0 };
	struct writer w = wire_writer(header, sizeof(header));

	while (RING - a->length < PIECE_HEADER + length) {
		uint8_t oldest;
		size_t piece = first_piece(a, &oldest);

		a->gaps[oldest - 1] += piece - PIECE_HEADER;
		drop_piece(a, piece);
	}
	wire_put_u8(&w, stream);
	wire_put_u32(&w, (uint32_t)length);
	ring_copy(a, a->length, header, sizeof(header), true);
	ring_copy(a, a->length + PIECE_HEADER, (uint8_t *)(uintptr_t)data, length, true);
	a->length += PIECE_HEADER + length;
}

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
	(void)munmap(a->ring, RING);
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
	memcpy(gaps, a->gaps, sizeof(gaps));
	memset(a->gaps, 0, sizeof(a->gaps));
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

/* From the ring to the connection, one piece; false: there is none, or it does not fit, which is noted for the pump. */
static bool move_piece(struct attach *a)
{
	bool room = has_room(a);
	size_t piece = 0;
	uint8_t *at = NULL;
	uint8_t stream;

	pump_lock();
	if (a->length > 0 && room) {
		piece = first_piece(a, &stream);
		at = connection_reserve(a->connection, piece);
	}
	if (at) {
		ring_copy(a, 0, at, piece, false);
		drop_piece(a, piece);
	} else {
		a->full = a->length > 0;
	}
	pump_unlock();
	if (at)
		connection_commit(a->connection, EVT_EXEC_OUTPUT, a->seq, piece);
	return at;
}

static bool is_empty(struct attach *a)
{
	bool empty;

	pump_lock();
	empty = a->length == 0 && a->gaps[0] + a->gaps[1] == 0;
	pump_unlock();
	return empty;
}

/* Gives the connection what it takes. */
static void deliver(struct attach *a)
{
	struct connection *c = a->connection;

	if (has_room(a))
		send_gaps(a);
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
		for (size_t at = 0; at < length; at += PIECE)
			keep(a, stream, data + at, length - at < PIECE ? length - at : PIECE);
		behind = behind || (!a->full && a->length > RING / 2);
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
	void *ring;

	if (!request_room(m, to))
		return;
	ring = mmap(NULL, RING, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (ring == MAP_FAILED) {
		reply_text(m, to, ERR_SYSCALL, errno, "mmap");
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
