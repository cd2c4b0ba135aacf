#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "monitor.h"

enum { MOST_FDS = 8 };

int terminal_listen(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	size_t length = strlen(path);
	int fd;

	if (length >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, length);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	(void)unlink(path); /* of an earlier monitor with this directory */
	if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 1) < 0) {
		int error = errno;

		(void)close(fd);
		return -error;
	}
	return fd;
}

/* The first of the fds in a message; the others are closed. */
static int first_fd(struct msghdr *message)
{
	int fds[MOST_FDS];
	int first = -ENOMSG;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		size_t size = c->cmsg_len - CMSG_LEN(0);
		size_t count = size / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS || size > sizeof(fds))
			continue;
		memcpy(fds, CMSG_DATA(c), count * sizeof(int));
		for (size_t i = 0; i < count; i++) {
			if (first < 0)
				first = fds[i];
			else
				(void)close(fds[i]);
		}
	}
	return first;
}

int terminal_receive(int listener)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(MOST_FDS * sizeof(int))];
	} control;
	char text[256]; /* the runtime's name for it */
	struct iovec part = { .iov_base = text, .iov_len = sizeof(text) };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	int connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	unsigned number;
	int fd;

	if (connection < 0)
		return -errno;
	fd = recvmsg(connection, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT) < 0 ? -errno : first_fd(&message);
	(void)close(connection);
	if (fd < 0)
		return fd;
	if (ioctl(fd, TIOCGPTN, &number) < 0 || fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK) < 0) {
		(void)close(fd);
		return -ENOTTY;
	}
	return fd;
}

int terminal_prepare(int master)
{
	struct termios modes;
	int slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (slave < 0)
		return -errno;
	/* Clients print what comes as it is: a line feed alone would not go back to the first column. */
	if (tcgetattr(slave, &modes) == 0) {
		modes.c_oflag |= OPOST | ONLCR;
		(void)tcsetattr(slave, TCSANOW, &modes);
	}
	return slave;
}

void terminal_resize(int master, uint16_t width, uint16_t height)
{
	struct winsize size = { .ws_col = width, .ws_row = height };

	if (master >= 0)
		(void)ioctl(master, TIOCSWINSZ, &size);
}

int terminal_end_character(int master)
{
	struct termios modes;

	if (master < 0 || tcgetattr(master, &modes) < 0 || !(modes.c_lflag & ICANON))
		return -1;
	return modes.c_cc[VEOF] == _POSIX_VDISABLE ? -1 : modes.c_cc[VEOF];
}
