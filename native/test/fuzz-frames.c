/*
 * Sends a monitor's connections the golden requests, changed in arbitrary places and cut into arbitrary pieces. What the
 * cutter hands on must be what was sent, frame by frame; each decoder gets its payload in memory of exactly that size,
 * so that the sanitizer sees a read beyond it; what is answered must be frames; and nothing may be left of it all. No
 * runtime is started and nothing outside of a folder of its own touched: the wrapped functions are named in the Makefile.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "fuzz.h"
#include "monitor-container.h"

enum { SAMPLES = 64, CLIENTS = 3, FRAMES = 40, PAYLOAD = 4096, ANSWERS = 4 * 1024 * 1024 };

bool __real_request_handle(struct connection *c, const struct frame_header *header, struct reader payload);
bool __wrap_request_handle(struct connection *c, const struct frame_header *header, struct reader payload);
int __real_connect(int fd, const struct sockaddr *address, socklen_t length);
int __wrap_connect(int fd, const struct sockaddr *address, socklen_t length);
int __wrap_spawn_child(const struct spawn *spawn, struct child *child);
int __wrap_clone(int (*function)(void *), void *stack, int flags, void *argument, ...);
int __wrap_sys_pidfd_kill(int pidfd, int signal);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*function)(void *), void *argument);
void __wrap_pump_tell(struct outlet *o, enum pump_command command);
const char *__asan_default_options(void);

struct frame {
	size_t length; /* with its header */
	uint8_t bytes[FRAME_HEADER + PAYLOAD];
};

/* One end of a connection, and what was said on it. */
struct client {
	int fd;
	struct connection *connection;
	struct frame frames[FRAMES];
	size_t handled;
	size_t sending; /* the frame, and how much of it was sent */
	size_t sent;
	uint8_t answers[ANSWERS];
	size_t answered;
};

static struct frame samples[SAMPLES];
static size_t sample_count;
static size_t hello_count; /* which come first */
static struct monitor m;
static struct client clients[CLIENTS];
static char folder[64] = "/tmp/nacelle-fuzz.XXXXXX";
static char socket_path[96];
static char log_path[96];
static int stdin_reader = -1; /* of the container, which reads now and then */

int __wrap_spawn_child(const struct spawn *spawn, struct child *child)
{
	CHECK(spawn->argv[0] && spawn->argv[0][0] == '/');
	*child = (struct child){ .pidfd = -1, .report = -1, .gate = -1 };
	return -EAGAIN;
}

int __wrap_clone(int (*function)(void *), void *stack, int flags, void *argument, ...)
{
	(void)function;
	(void)stack;
	(void)flags;
	(void)argument;
	errno = EPERM;
	return -1;
}

int __wrap_connect(int fd, const struct sockaddr *address, socklen_t length)
{
	if (address->sa_family == AF_UNIX)
		return __real_connect(fd, address, length);
	errno = ECONNREFUSED;
	return -1;
}

int __wrap_sys_pidfd_kill(int pidfd, int signal)
{
	(void)pidfd;
	return signal >= 1 && signal <= 64 ? 0 : -EINVAL;
}

/* The search for leaks would read the guard page of the pump's stack. What is left of a round is counted here. */
const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}

/* There is no second thread: what it is told is done at once, so that a seed is always the same round. */
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*function)(void *), void *argument)
{
	(void)thread;
	(void)attributes;
	(void)function;
	(void)argument;
	return 0;
}

void __wrap_pump_tell(struct outlet *o, enum pump_command command)
{
	outlet_obey(o, (unsigned)command);
}

/* Between the cutter and the decoders. */
bool __wrap_request_handle(struct connection *c, const struct frame_header *header, struct reader payload)
{
	size_t length = (size_t)(payload.end - payload.at);
	uint8_t *copy = malloc(length);
	struct client *client = clients;
	bool done;

	while (client->connection != c)
		CHECK(++client < clients + CLIENTS);
	CHECK(client->handled <= client->sending && client->handled < FRAMES);
	CHECK(length == header->length && FRAME_HEADER + length == client->frames[client->handled].length);
	CHECK(memcmp(payload.at, client->frames[client->handled].bytes + FRAME_HEADER, length) == 0);
	if (length > 0)
		memcpy(copy, payload.at, length);
	done = __real_request_handle(c, header, wire_reader(copy, length));
	free(copy);
	client->handled += done;
	return done;
}

static uint8_t digit(char c)
{
	return (uint8_t)(c <= '9' ? c - '0' : c - 'a' + 10);
}

/* HELLO or the requests of monitors, out of the golden file. */
static void read_samples(const char *path, int kind)
{
	static char line[2 * sizeof(struct frame) + 64];
	FILE *file = fopen(path, "r");

	CHECK(file);
	while (fgets(line, sizeof(line), file)) {
		const char *hex = strchr(line, ' ');
		struct frame *f = &samples[sample_count];
		struct frame_header header;

		for (f->length = 0; hex && hex[1] > ' ' && hex[2] > ' ' && f->length < sizeof(f->bytes); hex += 2)
			f->bytes[f->length++] = (uint8_t)(digit(hex[1]) << 4 | digit(hex[2]));
		header = wire_header(f->bytes);
		if (f->length >= FRAME_HEADER && header.type >> 8 == kind && sample_count < SAMPLES - 1)
			sample_count++;
	}
	(void)fclose(file);
}

static void change(struct frame *f)
{
	size_t length = f->length - FRAME_HEADER;
	uint8_t *payload = f->bytes + FRAME_HEADER;

	for (uint64_t i = fuzz_below(4); i > 0 && length > 0; i--) {
		size_t at = (size_t)fuzz_below(length);

		switch (fuzz_below(4)) {
		case 0:
			payload[at] = (uint8_t)fuzz_below(256);
			break;
		case 1:
			payload[at] ^= (uint8_t)(1U << fuzz_below(8));
			break;
		case 2:
			memset(payload + at, fuzz_once_in(2) ? 0 : 255, length - at < 4 ? length - at : 4);
			break;
		default:
			length = fuzz_once_in(2) ? at : length + (size_t)fuzz_below(PAYLOAD - length + 1);
		}
	}
	f->length = FRAME_HEADER + length;
}

/* The text that most requests begin with, at the lengths where a buffer for an id ends. */
static void stretch(struct frame *f)
{
	uint8_t *payload = f->bytes + FRAME_HEADER;
	struct reader r = wire_reader(payload, f->length - FRAME_HEADER);
	struct span text = wire_bytes(&r);
	struct writer w = wire_writer(payload, 4);
	size_t rest = (size_t)(r.end - r.at);
	size_t length = fuzz_size(CONTAINER_ID_MAX, PAYLOAD);

	if (r.bad || text.length == 0 || 4 + length + rest > PAYLOAD)
		return;
	memmove(payload + 4 + length, r.at, rest);
	memset(payload + 4, 'a', length);
	wire_put_u32(&w, (uint32_t)length);
	f->length = FRAME_HEADER + 4 + length + rest;
}

static void make_frame(struct frame *f, bool first)
{
	struct frame_header header;

	*f = samples[fuzz_below(first ? hello_count : sample_count)];
	if (!first && fuzz_once_in(8))
		stretch(f);
	else if (fuzz_once_in(first ? 20 : 2))
		change(f);
	header = wire_header(f->bytes);
	header.length = (uint32_t)(f->length - FRAME_HEADER);
	header.seq = 1 + fuzz_below(20);
	if (fuzz_once_in(50))
		header.type = (uint16_t)fuzz_below(65536);
	if (fuzz_once_in(500)) /* the end of its connection */
		header.length = FRAME_MAX + 1 + (uint32_t)fuzz_below(UINT32_MAX - FRAME_MAX);
	wire_put_header(f->bytes, header);
}

static void dispatch(void)
{
	int count;

	do {
		count = m.loop.count = epoll_wait(m.loop.epoll, m.loop.batch, LOOP_BATCH, 0);
		for (int i = 0; i < count; i++) {
			struct source *source = m.loop.batch[i].data.ptr;

			if (source)
				source->ready(source, m.loop.batch[i].events);
		}
		m.loop.count = 0;
	} while (count > 0);
}

/* All that came back is whole frames, as far as it came. */
static void look_at_answers(const struct client *client)
{
	size_t at = 0;

	while (client->answered - at >= FRAME_HEADER) {
		struct frame_header header = wire_header(client->answers + at);

		CHECK(header.length <= FRAME_MAX);
		CHECK((header.type & TYPE_REPLY) || header.type >> 12 == 4);
		CHECK((header.flags & ~FLAG_ERROR) == 0);
		if (client->answered - at < FRAME_HEADER + header.length)
			break;
		if (header.flags & FLAG_ERROR) {
			struct reader r = wire_reader(client->answers + at + FRAME_HEADER, header.length);

			CHECK(wire_u16(&r) <= ERR_CANCELLED);
			(void)wire_i32(&r);
			(void)wire_u32(&r);
			(void)wire_bytes(&r);
			(void)wire_bytes(&r);
			CHECK(!r.bad && r.at == r.end);
		}
		at += FRAME_HEADER + header.length;
	}
}

static void receive(struct client *client)
{
	ssize_t n = 1;

	while (n > 0 && client->answered < ANSWERS) {
		n = recv(client->fd, client->answers + client->answered, ANSWERS - client->answered, MSG_DONTWAIT);
		if (n > 0)
			client->answered += (size_t)n;
	}
}

static void connect_client(struct client *client)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct connection *c = m.connections;

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", socket_path);
	client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(client->fd >= 0 && connect(client->fd, (const struct sockaddr *)&address, sizeof(address)) == 0);
	client->connection = NULL;
	while (connection_is_open(c))
		c++;
	dispatch();
	CHECK(connection_is_open(c));
	client->connection = c;
	client->handled = client->sending = client->sent = client->answered = 0;
	for (size_t i = 0; i < FRAMES; i++)
		make_frame(&client->frames[i], i == 0);
}

/* Some bytes of what one client has to say; false: it has said all, or nobody listens. */
static bool talk(struct client *client)
{
	const struct frame *f = &client->frames[client->sending];
	size_t piece = fuzz_once_in(2) ? f->length : 1 + (size_t)fuzz_below(40);
	ssize_t n;

	if (client->sending == FRAMES)
		return false;
	if (piece > f->length - client->sent)
		piece = f->length - client->sent;
	n = send(client->fd, f->bytes + client->sent, piece, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0)
		return false;
	client->sent += (size_t)n;
	if (client->sent == f->length) {
		client->sending++;
		client->sent = 0;
	}
	return true;
}

static void read_stdin(void)
{
	static char data[65536];

	while (read(stdin_reader, data, sizeof(data)) > 0)
		;
}

/* The container that the golden frames speak of, without a process. */
static void open_container(void)
{
	struct container *c = &m.containers[0];
	const char *call;
	int ends[2];

	CHECK(pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
	stdin_reader = ends[0];
	*c = (struct container){ .monitor = &m, .process = { .fd = open("/dev/null", O_RDONLY | O_CLOEXEC) }, .master = -1,
				 .record_fd = -1, .oom = OOM_NONE, .has_input = true, .input_once = fuzz_once_in(2) };
	c->status = (struct status){ .id = "ctr1", .state = fuzz_once_in(2) ? STATE_CREATED : STATE_RUNNING };
	c->streams[0].source.fd = c->streams[1].source.fd = -1;
	input_open(&c->input, &m, ends[1]);
	CHECK(outlet_open(c, log_path, "", &call) == 0);
	dispatch();
}

static void close_container(void)
{
	struct container *c = &m.containers[0];

	CHECK(c->status.state == STATE_CREATED || c->status.state == STATE_RUNNING);
	CHECK(c->job == NULL && c->waiting.request.type == 0 && c->reopening.request.type == 0);
	input_close(&c->input);
	health_ended(c); /* a SIGNAL may have been 9 */
	(void)close(stdin_reader);
	outlet_let_go(c);
	loop_close(&m.loop, &c->process);
	c->status.state = 0;
	dispatch();
	for (size_t i = 0; i < OUTLETS; i++)
		CHECK(!outlets[i].taken);
}

/* The lowest free descriptor: the same as before if none is left open. */
static int next_descriptor(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	(void)close(fd);
	return fd;
}

static void round_of_frames(void)
{
	int free_descriptor = next_descriptor();
	bool busy = true;

	m.epoch = 1;
	open_container();
	for (struct client *client = clients; client < clients + CLIENTS; client++)
		connect_client(client);
	while (busy) {
		busy = false;
		for (struct client *client = clients; client < clients + CLIENTS; client++) {
			busy = talk(client) || busy;
			if (fuzz_once_in(2))
				dispatch();
			receive(client);
		}
		if (fuzz_once_in(8))
			read_stdin();
	}
	for (struct client *client = clients; client < clients + CLIENTS; client++) {
		dispatch();
		receive(client);
		look_at_answers(client);
		(void)close(client->fd);
	}
	read_stdin();
	dispatch();
	for (size_t i = 0; i < MAX_CONNECTIONS; i++)
		CHECK(!connection_is_open(&m.connections[i]));
	CHECK(m.jobs_in_flight == 0);
	close_container();
	for (size_t i = 0; i < MAX_CONTAINERS; i++)
		CHECK(m.containers[i].status.state == 0);
	CHECK(next_descriptor() == free_descriptor);
}

static int listen_at(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	CHECK(fd >= 0 && bind(fd, (const struct sockaddr *)&address, sizeof(address)) == 0 && listen(fd, CLIENTS) == 0);
	return fd;
}

int main(int argc, char **argv)
{
	int r;

	read_samples("test/golden.txt", MSG_HELLO >> 8);
	hello_count = sample_count;
	read_samples("test/golden.txt", MSG_SNAPSHOT >> 8);
	CHECK(hello_count > 1 && sample_count > 15);
	if (!mkdtemp(folder))
		return 1;
	(void)snprintf(socket_path, sizeof(socket_path), "%s/socket", folder);
	(void)snprintf(log_path, sizeof(log_path), "%s/0.log", folder);
	m.options = (struct monitor_options){ .sandbox_id = "sandbox", .socket_path = socket_path, .record_dir = folder,
					      .listener = listen_at(socket_path) };
	if (loop_open(&m.loop) < 0 || timers_open(&m.timers, &m.loop) < 0 || connection_listen(&m) < 0)
		return 1;
	/* What the pump opens for ever is open before descriptors are counted. */
	open_container();
	close_container();
	r = fuzz_main(argc, argv, round_of_frames);
	(void)unlink(log_path);
	(void)unlink(socket_path);
	/* Unless it is empty now, something was left in it. */
	return rmdir(folder) < 0 ? 1 : r;
}
