/* System calls without a libc wrapper, and small file helpers. All return -errno on failure unless they say otherwise. */
#ifndef NACELLE_SYS_H
#define NACELLE_SYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

int sys_pidfd_open(pid_t pid);
int sys_pidfd_kill(int pidfd, int signal);
int sys_openat2(int dir, const char *path, int flags, unsigned mode, uint64_t resolve);
int sys_close_range(unsigned first, unsigned last);
/* Fork (raw clone3): 0 in the child. `cgroup` is an fd of a v2 cgroup directory to be born in, or -1. `*pidfd` is CLOEXEC. */
pid_t sys_fork(int cgroup, int *pidfd);

/* Reads at most capacity-1 bytes and terminates them; returns the length. Meant for /proc, /sys and own small files. */
ssize_t sys_read_file(const char *path, char *text, size_t capacity);
/* One write(2) to an existing file; a short write is -EIO. */
int sys_write_existing(const char *path, const void *data, size_t length);
/* Writes all of it to a blocking fd or a regular file. */
int sys_write_all(int fd, const void *data, size_t length);

/* The whole pages of the caller's stack that it does not use now, down to `end`, are zeros from now on. */
void sys_give_back_stack(const void *end);
/* The whole pages of this are given back: it is zeros from now on. */
void sys_give_back(void *memory, size_t size);

uint64_t sys_monotonic_ms(void);
uint64_t sys_realtime_ns(void);

#endif
