/* A forwarded connection: made by monitor-dial.c, and from then on monitor-dial-relay.c's. */
#ifndef NACELLE_MONITOR_DIAL_H
#define NACELLE_MONITOR_DIAL_H

#include "monitor.h"

/*
 * A TCP connection to a port of the sandbox. While it relays, the connection's two buffers are those of the relay, and
 * each is filled only when it is empty: who does not read is not read for.
 */
struct dial {
	struct monitor *monitor; /* NULL: the slot is free */
	struct connection *connection;
	struct request request;
	struct source tcp;
	uint32_t events;
	uint16_t port;
	int families[2]; /* sockets that are still to be tried, or -1; made before anything waits */
	int error;       /* of the first that failed */
	bool relays;
	bool client_ended; /* nothing more comes of it, and */
	bool shut;         /* so much was TCP told */
	bool client_left;  /* it takes nothing more */
	bool tcp_ended;    /* nothing more comes of it */
	bool tcp_deaf;     /* it takes nothing more */
	struct timer timer;
	uint64_t until; /* in ms of the monotonic clock: it has not longer than that; 0: it has */
	size_t unheard; /* bytes that a server said to a client that had left */
	size_t up;      /* bytes in the connection's `in` that were sent on */
};

/* monitor-dial-relay.c */
void dial_tcp_ready(struct source *source, uint32_t events);
/* Client to TCP. */
void dial_send_up(struct dial *d);
/* Ends the connection, and this with it, once there is nothing more to carry. */
void dial_settle(struct dial *d);
/* A server has said what is not read yet. */
bool dial_has_more(const struct dial *d);

#endif
