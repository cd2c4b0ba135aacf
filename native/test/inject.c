/*
 * System calls that fail when a test says so. Linked before libc (-Wl,--wrap) into a build for tests alone; the Makefile
 * wraps every call that has its name after `__wrap` here. NACELLE_INJECT names a file of `struct orders`, which the test writes and
 * reads while a monitor runs; calls count in the monitor's own process, in all of its threads, not in what it forks.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "../src/roles.h"

#pragma GCC diagnostic ignored "-Wmissing-prototypes"

/* Not an errno: half of what was asked for is done. */
#define SHORT 1000

/* In the order of bytes of the file; native/test/inject.ts reads them. */
struct orders {
	_Atomic uint32_t armed;    /* set by the test: count and fail */
	uint32_t at;               /* which call fails, from 1; 0: none */
	uint32_t variant;          /* which of its errors, modulo their number */
	_Atomic uint32_t count;    /* calls since the test set it to 0 */
	_Atomic uint32_t hit;      /* 1: it has failed */
	uint32_t variants;         /* how many errors that call has */
	int32_t error;             /* the one that it had */
	char call[36];
};

/* A page that is all zeros in what the monitor forks. */
static struct orders **own;

static int chosen(const char *call, const int *errors)
{
	struct orders *orders = own ? *own : NULL;
	uint32_t variants = 0;

	if (!orders || !orders->armed || ++orders->count != orders->at)
		return 0;
	while (errors[variants] != 0)
		variants++;
	orders->variants = variants;
	orders->error = errors[orders->variant % variants];
	(void)snprintf(orders->call, sizeof(orders->call), "%s", call);
	orders->hit = 1;
	return orders->error;
}

#define ERRORS(...) ((const int[]){ __VA_ARGS__, 0 })
#define FAIL_AS(value, call, ...)                                     \
	do {                                                          \
		int error_ = chosen(call, ERRORS(__VA_ARGS__));       \
		if (error_) {                                         \
			errno = error_;                               \
			return value;                                 \
		}                                                     \
	} while (0)
#define FAIL(call, ...) FAIL_AS(-1, call, __VA_ARGS__)
/* Leaves `length` as it is, or halves it. */
#define FAIL_OR_CUT(call, length, ...)                                \
	do {                                                          \
		int error_ = chosen(call, ERRORS(__VA_ARGS__));       \
		if (error_ == SHORT) {                                \
			length = (length + 1) / 2;                    \
		} else if (error_) {                                  \
			errno = error_;                               \
			return -1;                                    \
		}                                                     \
	} while (0)
#define REAL(result, name, ...) result __real_##name(__VA_ARGS__)

_Noreturn REAL(void, monitor_main, const struct monitor_options *options);

_Noreturn void __wrap_monitor_main(const struct monitor_options *options)
{
	const char *path = getenv("NACELLE_INJECT");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *orders = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(struct orders), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	void *wiped = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (fd >= 0)
		(void)close(fd);
	if (orders == MAP_FAILED || wiped == MAP_FAILED || madvise(wiped, page, MADV_WIPEONFORK) < 0)
		_exit(1);
	own = wiped;
	*own = orders;
	__real_monitor_main(options);
}

/* Reading and writing. */

REAL(int, fstat, int, struct stat *);
int __wrap_fstat(int fd, struct stat *st)
{
	FAIL("fstat", EIO);
	return __real_fstat(fd, st);
}

/* The bits of a file's type, 0 for what has none: a timer, a signal. */
static mode_t type_of(int fd)
{
	struct stat st;

	return __real_fstat(fd, &st) < 0 ? 0 : st.st_mode & S_IFMT;
}

/* Only what is stored somewhere, or hung up, can fail in earnest. */
REAL(ssize_t, read, int, void *, size_t);
ssize_t __wrap_read(int fd, void *to, size_t length)
{
	switch (type_of(fd)) {
	case S_IFREG:
		FAIL_OR_CUT("read file", length, EIO, SHORT, EINTR);
		break;
	case S_IFCHR:
		FAIL_OR_CUT("read terminal", length, EINTR, SHORT, EAGAIN);
		break;
	case S_IFIFO:
		FAIL_OR_CUT("read pipe", length, EINTR, SHORT, EAGAIN);
		break;
	default:
		FAIL("read event", EINTR, EAGAIN);
	}
	return __real_read(fd, to, length);
}

REAL(ssize_t, write, int, const void *, size_t);
ssize_t __wrap_write(int fd, const void *from, size_t length)
{
	switch (type_of(fd)) {
	case S_IFREG:
		FAIL_OR_CUT("write file", length, ENOSPC, SHORT, EIO, EINTR);
		break;
	case S_IFCHR:
		FAIL_OR_CUT("write terminal", length, EINTR, SHORT, EAGAIN);
		break;
	case S_IFIFO:
		FAIL_OR_CUT("write pipe", length, EINTR, SHORT, EAGAIN, EPIPE);
		break;
	default:
		break; /* an event that nobody has read 2^64 times */
	}
	return __real_write(fd, from, length);
}

REAL(ssize_t, pread, int, void *, size_t, off_t);
ssize_t __wrap_pread(int fd, void *to, size_t length, off_t at)
{
	FAIL_OR_CUT("pread", length, EIO, SHORT, EINTR);
	return __real_pread(fd, to, length, at);
}

REAL(ssize_t, pwrite, int, const void *, size_t, off_t);
ssize_t __wrap_pwrite(int fd, const void *from, size_t length, off_t at)
{
	FAIL_OR_CUT("pwrite", length, ENOSPC, EIO, SHORT, EINTR);
	return __real_pwrite(fd, from, length, at);
}

REAL(ssize_t, send, int, const void *, size_t, int);
ssize_t __wrap_send(int fd, const void *from, size_t length, int flags)
{
	FAIL_OR_CUT("send", length, EAGAIN, EPIPE, SHORT, ENOMEM, EINTR, ECONNRESET);
	return __real_send(fd, from, length, flags);
}

REAL(ssize_t, recv, int, void *, size_t, int);
ssize_t __wrap_recv(int fd, void *to, size_t length, int flags)
{
	FAIL_OR_CUT("recv", length, EINTR, ECONNRESET, SHORT, ENOMEM, EAGAIN);
	return __real_recv(fd, to, length, flags);
}

REAL(ssize_t, recvmsg, int, struct msghdr *, int);
ssize_t __wrap_recvmsg(int fd, struct msghdr *message, int flags)
{
	FAIL("recvmsg", ENOMEM, EINTR);
	return __real_recvmsg(fd, message, flags);
}

/* Descriptors. */

REAL(int, open, const char *, int, ...);
int __wrap_open(const char *path, int flags, ...)
{
	va_list more;
	mode_t mode;

	va_start(more, flags);
	mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
	va_end(more);
	if (flags & O_CREAT)
		FAIL("open", ENOSPC, EMFILE, EIO, EACCES);
	else
		FAIL("open", EMFILE, EIO, ENFILE, ENOMEM);
	return __real_open(path, flags, mode);
}

REAL(int, openat, int, const char *, int, ...);
int __wrap_openat(int dir, const char *path, int flags, ...)
{
	va_list more;
	mode_t mode;

	va_start(more, flags);
	mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
	va_end(more);
	if (flags & O_CREAT)
		FAIL("openat", ENOSPC, EMFILE, EIO, EACCES);
	else
		FAIL("openat", EMFILE, EIO, ENFILE, ENOMEM);
	return __real_openat(dir, path, flags, mode);
}

REAL(DIR *, opendir, const char *);
DIR *__wrap_opendir(const char *path)
{
	FAIL_AS(NULL, "opendir", EMFILE, ENOMEM);
	return __real_opendir(path);
}

REAL(struct dirent *, readdir, DIR *);
struct dirent *__wrap_readdir(DIR *dir)
{
	FAIL_AS(NULL, "readdir", EIO);
	return __real_readdir(dir);
}

/* It is closed all the same. */
REAL(int, close, int);
int __wrap_close(int fd)
{
	int r = __real_close(fd);

	FAIL("close", EIO, EINTR);
	return r;
}

REAL(int, pipe2, int[2], int);
int __wrap_pipe2(int ends[2], int flags)
{
	FAIL("pipe2", EMFILE, ENFILE, ENOMEM);
	return __real_pipe2(ends, flags);
}

REAL(int, socket, int, int, int);
int __wrap_socket(int family, int type, int protocol)
{
	FAIL("socket", EMFILE, ENOBUFS);
	return __real_socket(family, type, protocol);
}

REAL(int, accept4, int, struct sockaddr *, socklen_t *, int);
int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *length, int flags)
{
	FAIL("accept4", EMFILE, ECONNABORTED, ENOMEM, EINTR, EAGAIN);
	return __real_accept4(fd, address, length, flags);
}

REAL(int, epoll_create1, int);
int __wrap_epoll_create1(int flags)
{
	FAIL("epoll_create1", EMFILE, ENOMEM);
	return __real_epoll_create1(flags);
}

REAL(int, timerfd_create, int, int);
int __wrap_timerfd_create(int clock, int flags)
{
	FAIL("timerfd_create", EMFILE, ENOMEM);
	return __real_timerfd_create(clock, flags);
}

REAL(int, eventfd, unsigned, int);
int __wrap_eventfd(unsigned first, int flags)
{
	FAIL("eventfd", EMFILE, ENOMEM);
	return __real_eventfd(first, flags);
}

REAL(int, signalfd, int, const sigset_t *, int);
int __wrap_signalfd(int fd, const sigset_t *set, int flags)
{
	FAIL("signalfd", EMFILE, ENOMEM);
	return __real_signalfd(fd, set, flags);
}

/* What cannot fail with a descriptor that is open is not made to. */
REAL(int, fcntl, int, int, ...);
int __wrap_fcntl(int fd, int command, ...)
{
	va_list more;
	long argument;

	va_start(more, command);
	argument = va_arg(more, long);
	va_end(more);
	if (command == F_DUPFD_CLOEXEC)
		FAIL("fcntl F_DUPFD_CLOEXEC", EMFILE);
	if (command == F_SETPIPE_SZ)
		FAIL("fcntl F_SETPIPE_SZ", EPERM, ENOMEM);
	return __real_fcntl(fd, command, argument);
}

REAL(int, ioctl, int, unsigned long, ...);
int __wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list more;
	void *argument;

	va_start(more, request);
	argument = va_arg(more, void *);
	va_end(more);
	if (request == TIOCGPTPEER)
		FAIL("ioctl TIOCGPTPEER", EMFILE, EIO);
	return __real_ioctl(fd, request, argument);
}

/* Only what takes memory can fail. */
REAL(int, epoll_ctl, int, int, int, struct epoll_event *);
int __wrap_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
	if (operation == EPOLL_CTL_ADD)
		FAIL("epoll_ctl", ENOSPC, ENOMEM);
	return __real_epoll_ctl(epoll, operation, fd, event);
}

REAL(int, epoll_wait, int, struct epoll_event *, int, int);
int __wrap_epoll_wait(int epoll, struct epoll_event *events, int most, int timeout)
{
	FAIL("epoll_wait", EINTR);
	return __real_epoll_wait(epoll, events, most, timeout);
}

REAL(int, poll, struct pollfd *, nfds_t, int);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout)
{
	FAIL("poll", EINTR, ENOMEM);
	return __real_poll(fds, count, timeout);
}

REAL(int, ppoll, struct pollfd *, nfds_t, const struct timespec *, const sigset_t *);
int __wrap_ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask)
{
	FAIL("ppoll", EINTR, ENOMEM);
	return __real_ppoll(fds, count, timeout, mask);
}

/* Sockets. */

REAL(int, bind, int, const struct sockaddr *, socklen_t);
int __wrap_bind(int fd, const struct sockaddr *address, socklen_t length)
{
	FAIL("bind", ENOSPC, EADDRINUSE, EACCES);
	return __real_bind(fd, address, length);
}

REAL(int, listen, int, int);
int __wrap_listen(int fd, int backlog)
{
	FAIL("listen", EADDRINUSE);
	return __real_listen(fd, backlog);
}

REAL(int, connect, int, const struct sockaddr *, socklen_t);
int __wrap_connect(int fd, const struct sockaddr *address, socklen_t length)
{
	FAIL("connect", ECONNREFUSED, EADDRNOTAVAIL, ENETUNREACH);
	return __real_connect(fd, address, length);
}

REAL(int, getsockopt, int, int, int, void *, socklen_t *);
int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *length)
{
	FAIL("getsockopt", ENOBUFS);
	return __real_getsockopt(fd, level, name, value, length);
}

REAL(int, setsockopt, int, int, int, const void *, socklen_t);
int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t length)
{
	FAIL("setsockopt", ENOBUFS, ENOMEM);
	return __real_setsockopt(fd, level, name, value, length);
}

/* Files. */

REAL(int, fchown, int, uid_t, gid_t);
int __wrap_fchown(int fd, uid_t uid, gid_t gid)
{
	FAIL("fchown", EPERM);
	return __real_fchown(fd, uid, gid);
}

REAL(int, stat, const char *, struct stat *);
int __wrap_stat(const char *path, struct stat *st)
{
	FAIL("stat", EIO, EACCES, ENOMEM);
	return __real_stat(path, st);
}

REAL(int, ftruncate, int, off_t);
int __wrap_ftruncate(int fd, off_t length)
{
	FAIL("ftruncate", EIO, EINTR);
	return __real_ftruncate(fd, length);
}

REAL(int, fdatasync, int);
int __wrap_fdatasync(int fd)
{
	FAIL("fdatasync", EIO, ENOSPC);
	return __real_fdatasync(fd);
}

REAL(int, unlink, const char *);
int __wrap_unlink(const char *path)
{
	FAIL("unlink", EIO, EROFS);
	return __real_unlink(path);
}

REAL(int, rename, const char *, const char *);
int __wrap_rename(const char *from, const char *to)
{
	FAIL("rename", ENOSPC, EIO);
	return __real_rename(from, to);
}

REAL(int, mkdir, const char *, mode_t);
int __wrap_mkdir(const char *path, mode_t mode)
{
	FAIL("mkdir", ENOSPC, ENOMEM, EACCES);
	return __real_mkdir(path, mode);
}

REAL(int, mkdirat, int, const char *, mode_t);
int __wrap_mkdirat(int dir, const char *path, mode_t mode)
{
	FAIL("mkdirat", ENOSPC, ENOMEM, EACCES);
	return __real_mkdirat(dir, path, mode);
}

REAL(int, unlinkat, int, const char *, int);
int __wrap_unlinkat(int dir, const char *path, int flags)
{
	FAIL("unlinkat", EBUSY, EIO);
	return __real_unlinkat(dir, path, flags);
}

REAL(int, rmdir, const char *);
int __wrap_rmdir(const char *path)
{
	FAIL("rmdir", EBUSY);
	return __real_rmdir(path);
}

/* Terminals. */

REAL(int, tcgetattr, int, struct termios *);
int __wrap_tcgetattr(int fd, struct termios *modes)
{
	FAIL("tcgetattr", EIO);
	return __real_tcgetattr(fd, modes);
}

REAL(int, tcsetattr, int, int, const struct termios *);
int __wrap_tcsetattr(int fd, int when, const struct termios *modes)
{
	FAIL("tcsetattr", EIO);
	return __real_tcsetattr(fd, when, modes);
}

/* Memory. */

REAL(void *, mmap, void *, size_t, int, int, int, off_t);
void *__wrap_mmap(void *at, size_t length, int protection, int flags, int fd, off_t offset)
{
	FAIL_AS(MAP_FAILED, "mmap", ENOMEM);
	return __real_mmap(at, length, protection, flags, fd, offset);
}

REAL(int, madvise, void *, size_t, int);
int __wrap_madvise(void *at, size_t length, int advice)
{
	FAIL("madvise", EAGAIN, ENOMEM);
	return __real_madvise(at, length, advice);
}

REAL(void *, malloc, size_t);
void *__wrap_malloc(size_t size)
{
	FAIL_AS(NULL, "malloc", ENOMEM);
	return __real_malloc(size);
}

/* Processes. */

REAL(int, prctl, int, ...);
int __wrap_prctl(int option, ...)
{
	va_list more;
	unsigned long argument;

	va_start(more, option);
	argument = va_arg(more, unsigned long);
	va_end(more);
	FAIL("prctl", EINVAL);
	return __real_prctl(option, argument, 0UL, 0UL, 0UL);
}

REAL(int, getrlimit, __rlimit_resource_t, struct rlimit *);
int __wrap_getrlimit(__rlimit_resource_t resource, struct rlimit *limit)
{
	FAIL("getrlimit", EPERM);
	return __real_getrlimit(resource, limit);
}

REAL(int, setrlimit, __rlimit_resource_t, const struct rlimit *);
int __wrap_setrlimit(__rlimit_resource_t resource, const struct rlimit *limit)
{
	FAIL("setrlimit", EPERM);
	return __real_setrlimit(resource, limit);
}

/* Its error is what it returns. */
REAL(int, pthread_create, pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument)
{
	FAIL_AS(EAGAIN, "pthread_create", EAGAIN);
	return __real_pthread_create(thread, attributes, run, argument);
}

REAL(int, kill, pid_t, int);
int __wrap_kill(pid_t pid, int number)
{
	FAIL("kill", EPERM);
	return __real_kill(pid, number);
}

/* As if another had taken the child: its status is lost, the zombie too. */
REAL(int, waitid, idtype_t, id_t, siginfo_t *, int);
int __wrap_waitid(idtype_t type, id_t id, siginfo_t *info, int options)
{
	FAIL("waitid", ECHILD);
	return __real_waitid(type, id, info, options);
}

REAL(pid_t, waitpid, pid_t, int *, int);
pid_t __wrap_waitpid(pid_t pid, int *status, int options)
{
	FAIL("waitpid", EINTR);
	return __real_waitpid(pid, status, options);
}

REAL(int, clone, int (*)(void *), void *, int, void *, ...);
int __wrap_clone(int (*run)(void *), void *stack, int flags, void *argument, ...)
{
	FAIL("clone", EAGAIN, ENOMEM);
	return __real_clone(run, stack, flags, argument);
}

REAL(long, syscall, long, ...);
/* Passes on six arguments whatever the caller gave, so the last may be somebody else's memory. */
__attribute__((no_sanitize_address)) long __wrap_syscall(long number, ...)
{
	va_list more;
	long a[6];

	va_start(more, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(more, long);
	va_end(more);
	if (number == SYS_clone3)
		FAIL("clone3", EAGAIN, ENOMEM);
	if (number == SYS_pidfd_open)
		FAIL("pidfd_open", EMFILE, ENOMEM);
	if (number == SYS_pidfd_send_signal)
		FAIL("pidfd_send_signal", EPERM);
	if (number == SYS_openat2)
		FAIL("openat2", EMFILE, EAGAIN);
	return __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
