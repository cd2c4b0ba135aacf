/* What the service manager is told (sd_notify): Node has no datagram sockets of the unix family. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "launcher.h"

/* In the daemon's name: the manager knows its pid, and perhaps nothing of the cgroup that the launcher is in. */
static ssize_t send_as_parent(int fd, struct msghdr *message)
{
	union {
		struct cmsghdr header;
		uint8_t room[CMSG_SPACE(sizeof(struct ucred))];
	} control = { .header = { .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_CREDENTIALS } };
	struct ucred sender = { .pid = getppid(), .uid = getuid(), .gid = getgid() };

	control.header.cmsg_len = CMSG_LEN(sizeof(sender));
	memcpy(CMSG_DATA(&control.header), &sender, sizeof(sender));
	message->msg_control = control.room;
	message->msg_controllen = sizeof(control.room);
	return sendmsg(fd, message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static int notify(const char *path, size_t length, struct span text)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct iovec part = { .iov_base = (void *)(uintptr_t)text.data, .iov_len = text.length };
	struct msghdr message = { .msg_name = &address, .msg_iov = &part, .msg_iovlen = 1 };
	int fd, error = 0;

	memcpy(address.sun_path, path, length);
	if (path[0] == '@') /* abstract: begins with a NUL, and has no other end than its length */
		address.sun_path[0] = '\0';
	message.msg_namelen = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return errno;
	if (send_as_parent(fd, &message) < 0) {
		message.msg_control = NULL;
		message.msg_controllen = 0;
		if (errno != EPERM || sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			error = errno;
	}
	(void)close(fd);
	return error;
}

void notify_request(struct launcher *launcher, struct frame_header request, struct reader *reader)
{
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	size_t length = wire_copy(reader, path, sizeof(path));
	struct span text = wire_str(reader);
	int error;

	if (reader->bad || length < 2 || (path[0] != '/' && path[0] != '@') || text.length == 0) {
		answer_error(launcher, request, ERR_MALFORMED, 0, "NOTIFY", "");
		return;
	}
	error = notify(path, length, text);
	if (error)
		answer_error(launcher, request, ERR_SYSCALL, error, "sendmsg", path);
	else
		answer(launcher, request, NULL, 0);
}
