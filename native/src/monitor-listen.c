/* Who may connect, and that nobody waits for a descriptor that there is not. */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "monitor.h"

static bool is_root(int fd)
{
	struct ucred peer;
	socklen_t length = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 && peer.uid == 0;
}

static void accept_ready(struct source *source, uint32_t events)
{
	struct monitor *m = container_of(source, struct monitor, listener);
	int fd = accept4(source->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	bool full = fd < 0 && (errno == EMFILE || errno == ENFILE);

	(void)events;
	if (full) {
		/* Who comes would wait for ever, and wake us all the time: for this moment there is one descriptor. */
		(void)close(m->spare);
		fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC);
	}
	if (fd >= 0 && (full || !(is_root(fd) && connection_open(m, fd))))
		(void)close(fd);
	if (full)
		m->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

int connection_listen(struct monitor *m)
{
	m->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (m->spare < 0 || fcntl(m->options.listener, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	m->listener = (struct source){ .fd = m->options.listener, .ready = accept_ready };
	return loop_add(&m->loop, &m->listener, EPOLLIN);
}

void connection_end_all(struct monitor *m)
{
	(void)close(m->listener.fd);
	for (size_t i = 0; i < MAX_CONNECTIONS; i++)
		if (connection_is_open(&m->connections[i]))
			(void)close(m->connections[i].source.fd);
}
