/* Connections of daemons, what they ask, and how they are answered. */
#ifndef NACELLE_MONITOR_CONNECTION_H
#define NACELLE_MONITOR_CONNECTION_H

#include "loop.h"
#include "protocol.h"
#include "wire.h"

struct monitor;

/* Who is to be answered. `type` 0: nobody any more. */
struct request {
	struct connection *connection; /* NULL once it has ended */
	uint64_t epoch;
	uint64_t seq;
	uint16_t type;
};

struct connection {
	struct source source;
	struct monitor *monitor;
	uint8_t kind; /* 0 before HELLO */
	bool closing; /* takes nothing more; ends when everything was sent, or at once if `broken` */
	bool broken;
	bool wants_out;
	bool held; /* its first frame waits for room where it is to go: nothing more is read */
	uint32_t events; /* what the loop watches it for */
	size_t fed; /* how much of a held INPUT was taken */
	uint64_t epoch;
	uint8_t *in;
	size_t in_length;
	size_t in_used; /* high-water mark since memory was given back */
	uint8_t *out;
	size_t out_begin;
	size_t out_end;
	size_t out_used;
	/* What its frames belong to, one at a time. */
	struct exec *exec;
	struct attach *attach;
	struct dial *dial; /* once that relays, what comes and goes are no frames */
};

/* monitor-connection.c */
/* Takes over a socket; false: there is no room, or no memory, for it. */
bool connection_open(struct monitor *m, int fd);
/* Never blocks. A peer that lets its buffer overflow loses its connection. */
void connection_send(struct connection *c, uint16_t type, uint16_t flags, uint64_t seq, const void *payload, size_t length);
/* A slot that was never used is all zeros, and takes no memory. */
bool connection_is_open(const struct connection *c);
size_t connection_pending(const struct connection *c);
/* Whether there is a client that has not taken all that it was sent. */
bool connection_is_any_pending(const struct monitor *m);
/* Where the payload of a frame of at most `length` bytes may be put together, to be sent by connection_commit; NULL: no room. */
uint8_t *connection_reserve(struct connection *c, size_t length);
void connection_commit(struct connection *c, uint16_t type, uint64_t seq, size_t length);
/* Sends what is pending, as much as goes. False: the other end takes nothing any more. */
bool connection_send_out(struct connection *c);
/* The same, and watches for room if it is not all, or ends the connection. */
void connection_flush(struct connection *c);
/* What it is watched for follows from its state, which has changed. */
void connection_watch(struct connection *c);
/* The frame that was held may go on. */
void connection_resume(struct connection *c);
/* Ends it now. Only from its own handler or from where nothing refers to it any more. */
void connection_release(struct connection *c);
/* Ends the connection from the loop, not at once; `flush`: after everything was sent. */
void connection_end(struct connection *c, bool flush);
/* True when there is somebody to be told. */
bool connection_broadcast(struct monitor *m, uint16_t type, const struct writer *payload);
void connection_give_back(struct monitor *m);

/* monitor-listen.c */
/* 0 or -errno. */
int connection_listen(struct monitor *m);
/* Ends all of them at once, and the listener: this process does. */
void connection_end_all(struct monitor *m);

/* monitor-request.c */
/* False: not yet; the frame is to be held until connection_resume. */
bool request_handle(struct connection *c, const struct frame_header *header, struct reader payload);
/* A text for what the connection is busy with, or NULL. */
const char *request_busy(const struct connection *c);
/* True when there is room for one more attach, streaming exec or dial; else LIMIT was answered. */
bool request_room(struct monitor *m, struct request *to);
/* A connection has ended: nothing may point to it any more. */
void request_forget(struct connection *c);
struct writer reply_begin(struct monitor *m);
void reply(struct monitor *m, struct request *to, const struct writer *payload);
void reply_empty(struct monitor *m, struct request *to);
void reply_error(struct monitor *m, struct request *to, enum error_code code, int error, struct span what, const char *path);
void reply_text(struct monitor *m, struct request *to, enum error_code code, int error, const char *what);

#endif
