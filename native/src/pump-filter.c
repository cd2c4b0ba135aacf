/* What the pump may ask of the kernel: to read, to write its files, to wait; nothing else. */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "pump.h"

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define RETURN(value) BPF_STMT(BPF_RET | BPF_K, (value))
#define ALLOW(call) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (call), 0, 1), RETURN(SECCOMP_RET_ALLOW)
/* Only with this second argument, of which the lower half is looked at; what follows has the number again. */
#define ALLOW_FOR(call, argument) \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (call), 0, 4), LOAD(args[1]), \
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (argument), 0, 1), RETURN(SECCOMP_RET_ALLOW), RETURN(SECCOMP_RET_ERRNO | EPERM)

#ifdef ARCHITECTURE
/* A filter is its thread's alone: what control executes must not inherit one. */
static struct sock_filter code[] = {
	LOAD(arch),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0),
	RETURN(SECCOMP_RET_ERRNO | EPERM),
	LOAD(nr),
	ALLOW(SYS_read),
	ALLOW(SYS_write),
	ALLOW(SYS_epoll_pwait),
#ifdef SYS_epoll_wait
	ALLOW(SYS_epoll_wait),
#endif
	ALLOW(SYS_futex),
	ALLOW(SYS_clock_gettime),
	ALLOW(SYS_ppoll),
	ALLOW(SYS_epoll_ctl),
	ALLOW(SYS_timerfd_settime),
	ALLOW_FOR(SYS_ioctl, FIONREAD),
	ALLOW_FOR(SYS_fcntl, F_SETPIPE_SZ),
	ALLOW(SYS_madvise),
	ALLOW(SYS_munmap),
	ALLOW(SYS_openat),
#ifdef SYS_open
	ALLOW(SYS_open),
#endif
	ALLOW(SYS_close),
	ALLOW(SYS_newfstatat),
	ALLOW(SYS_fstat),
	ALLOW(SYS_ftruncate),
	ALLOW(SYS_pwrite64),
	ALLOW(SYS_fdatasync),
	ALLOW(SYS_unlinkat),
#ifdef SYS_unlink
	ALLOW(SYS_unlink),
#endif
	ALLOW(SYS_rt_sigreturn),
	ALLOW(SYS_restart_syscall),
	ALLOW(SYS_exit),
	ALLOW(SYS_exit_group),
	/* Not the end of the process: a monitor must not die. */
	RETURN(SECCOMP_RET_ERRNO | EPERM),
};

int filter_install(void)
{
	struct sock_fprog program = { .len = sizeof(code) / sizeof(code[0]), .filter = code };

	/* Without PR_SET_NO_NEW_PRIVS, which needs CAP_SYS_ADMIN; that the monitor has. */
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0 ? -errno : 0;
}
#else
int filter_install(void)
{
	return -ENOSYS;
}
#endif
