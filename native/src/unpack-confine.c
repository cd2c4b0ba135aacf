/* What a process that unpacks layers gives up before it reads a byte of one. */
#include "unpack-confine.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sys.h"

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#define X32_BIT 0x40000000U
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

/* Of all architectures, and newer than some headers. */
#ifndef SYS_quotactl_fd
#define SYS_quotactl_fd 443
#endif
#ifndef SYS_open_tree_attr
#define SYS_open_tree_attr 467
#endif

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define ANSWER(what) BPF_STMT(BPF_RET | BPF_K, (what))
#define DENY(name) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##name, 0, 1), ANSWER(SECCOMP_RET_ERRNO | EPERM)

/*
 * CAP_SYS_ADMIN is kept for trusted.* attributes, and is the right to a hundred other things: these are refused, and with
 * them everything else that no layer needs. A list of what is allowed would be shorter, but would be libc's, not ours.
 */
static const struct sock_filter refusals[] = {
#ifdef ARCHITECTURE
	LOAD(arch),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0),
	ANSWER(SECCOMP_RET_KILL_PROCESS),
#endif
	LOAD(nr),
#ifdef X32_BIT
	BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 0, 1),
	ANSWER(SECCOMP_RET_ERRNO | EPERM),
#endif
	/* Mounts, roots and namespaces. */
	DENY(mount), DENY(umount2), DENY(pivot_root), DENY(chroot), DENY(move_mount), DENY(open_tree), DENY(fsopen),
	DENY(fsconfig), DENY(fsmount), DENY(fspick), DENY(mount_setattr), DENY(unshare), DENY(setns),
	DENY(open_tree_attr), DENY(quotactl_fd),
	/* Processes: neither new ones, nor anything to those of others. */
	DENY(clone), DENY(clone3), DENY(execve), DENY(execveat), DENY(kill), DENY(tkill), DENY(tgkill), DENY(rt_sigqueueinfo),
	DENY(rt_tgsigqueueinfo), DENY(pidfd_open), DENY(pidfd_send_signal), DENY(pidfd_getfd), DENY(ptrace), DENY(process_vm_readv),
	DENY(process_vm_writev), DENY(process_madvise), DENY(kcmp), DENY(setpriority), DENY(prlimit64), DENY(sched_setscheduler),
	DENY(migrate_pages), DENY(move_pages),
	/* Sockets, and devices' own calls. */
	DENY(socket), DENY(socketpair), DENY(connect), DENY(bind), DENY(listen), DENY(accept), DENY(accept4), DENY(ioctl),
	/* Files by another way than through the layer's root. */
	DENY(open_by_handle_at), DENY(name_to_handle_at), DENY(fanotify_init), DENY(fanotify_mark),
	/* Code and memory in the kernel. */
	DENY(bpf), DENY(perf_event_open), DENY(userfaultfd), DENY(io_uring_setup), DENY(io_uring_enter), DENY(io_uring_register),
	DENY(init_module), DENY(finit_module), DENY(delete_module), DENY(kexec_load), DENY(add_key), DENY(request_key), DENY(keyctl),
	DENY(memfd_create),
	/* The machine. */
	DENY(reboot), DENY(swapon), DENY(swapoff), DENY(quotactl), DENY(acct), DENY(syslog), DENY(vhangup), DENY(sethostname),
	DENY(setdomainname), DENY(settimeofday), DENY(clock_settime), DENY(clock_adjtime), DENY(adjtimex), DENY(personality),
#ifdef __x86_64__
	DENY(fork), DENY(vfork), DENY(iopl), DENY(ioperm), DENY(modify_ldt), DENY(kexec_file_load),
#endif
	ANSWER(SECCOMP_RET_ALLOW),
};

static int refuse_calls(void)
{
	/* Only read: the kernel takes a copy. */
	struct sock_fprog program = { .len = sizeof(refusals) / sizeof(refusals[0]), .filter = (struct sock_filter *)(uintptr_t)refusals };

	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0);
}

static int limit(int resource, rlim_t value)
{
	struct rlimit current;

	if (getrlimit(resource, &current) < 0)
		return -1;
	if (value > current.rlim_max)
		value = current.rlim_max;
	const struct rlimit wanted = { .rlim_cur = value, .rlim_max = value };
	return setrlimit(resource, &wanted);
}

/* Keeps those of the seven capabilities that this process has. */
static int drop_capabilities(void)
{
	static const unsigned int kept[] = { CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID,
					     CAP_MKNOD, CAP_SETFCAP, CAP_SYS_ADMIN };
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct sets[2];
	unsigned int mask[2] = { 0, 0 };

	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
		mask[kept[i] / 32] |= 1U << (kept[i] % 32);
	for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++) {
		if (!(mask[cap / 32] >> (cap % 32) & 1U))
			(void)prctl(PR_CAPBSET_DROP, cap, 0, 0, 0); /* refused: nothing is executed that could gain by it */
	}
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 || syscall(SYS_capget, &header, sets) < 0)
		return -1;
	for (size_t i = 0; i < 2; i++) {
		sets[i].permitted &= mask[i];
		sets[i].effective = sets[i].permitted;
		sets[i].inheritable = 0;
	}
	return (int)syscall(SYS_capset, &header, sets);
}

/* Mounts of its own, of which the layer is all that is left, and where a device that it makes opens nothing. */
static int enter(const char *dir)
{
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0 ||
	    mount(dir, dir, NULL, MS_BIND, NULL) < 0 ||
	    mount(NULL, dir, NULL, MS_REMOUNT | MS_BIND | MS_NODEV | MS_NOSUID | MS_NOEXEC, NULL) < 0 || chdir(dir) < 0)
		return -1;
	/* An initramfs is a root that cannot be left. */
	if (syscall(SYS_pivot_root, ".", ".") == 0 ? umount2(".", MNT_DETACH) < 0 : errno != EINVAL)
		return -1;
	return chroot(".") < 0 ? -1 : chdir("/");
}

const char *unpack_confine(const char *dir)
{
	if (signal(SIGPIPE, SIG_IGN) == SIG_ERR)
		return "ignore SIGPIPE";
	if (sys_close_range(3, ~0U) < 0)
		return "close descriptors";
	if (enter(dir) < 0)
		return "enter the layer directory";
	if (limit(RLIMIT_CORE, 0) < 0 || limit(RLIMIT_NOFILE, 2048) < 0)
		return "limit resources";
#ifndef __SANITIZE_ADDRESS__
	if (limit(RLIMIT_AS, 256UL << 20) < 0)
		return "limit memory";
#endif
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return "set no_new_privs";
	if (drop_capabilities() < 0)
		return "drop capabilities";
	if (refuse_calls() < 0)
		return "refuse system calls";
	return NULL;
}
