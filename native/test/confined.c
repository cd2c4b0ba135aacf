/*
 * `confined DIR`: confines itself as a process that unpacks does, tries what that may not do and then what it must, and says
 * of each "name errno". Nothing here would do harm if it were allowed: arguments are those of a call that changes nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/keyctl.h>
#include <linux/perf_event.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "unpack-confine.h"

static void say(const char *name, long result)
{
	(void)printf("%s %d\n", name, result < 0 ? errno : 0);
}

static void try_mounts(void)
{
	say("mount tmpfs", mount("none", "/", "tmpfs", 0, NULL));
	say("mount bind", mount("/", "/", NULL, MS_BIND, NULL));
	say("remount", mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND, NULL));
	say("umount", umount2("/", MNT_DETACH));
	say("pivot_root", syscall(SYS_pivot_root, ".", "."));
	say("chroot", chroot("/"));
	say("open_tree", syscall(SYS_open_tree, AT_FDCWD, "/", 1U));
	say("fsopen", syscall(SYS_fsopen, "tmpfs", 0));
	say("mount_setattr", syscall(SYS_mount_setattr, AT_FDCWD, "/", 0, NULL, 0L));
	say("unshare", unshare(CLONE_FS));
	say("unshare user", unshare(CLONE_NEWUSER));
	say("setns", setns(STDIN_FILENO, 0));
}

static void try_processes(void)
{
	char *const none[] = { NULL };

	say("fork", syscall(SYS_clone, (unsigned long)SIGCHLD, 0L, 0L, 0L, 0L));
	say("clone3", syscall(SYS_clone3, NULL, 0L));
	say("execve", execve("/nothing", none, none));
	say("kill", kill(getppid(), 0));
	say("kill all", kill(-1, 0));
	say("tgkill", syscall(SYS_tgkill, getppid(), getppid(), 0));
	say("pidfd_open", syscall(SYS_pidfd_open, getppid(), 0));
	say("ptrace", ptrace(PTRACE_SEIZE, getppid(), 0L, 0L));
	say("process_vm_readv", syscall(SYS_process_vm_readv, getppid(), NULL, 0L, NULL, 0L, 0L));
	say("setuid", setuid(1000));
	say("setpriority", setpriority(PRIO_PROCESS, 0, -1));
}

static void try_network(void)
{
	say("socket unix", socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
	say("socket tcp", socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
	say("socket raw", socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, 1));
	say("socket packet", socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
	say("socket netlink", socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0));
	say("ioctl", syscall(SYS_ioctl, STDIN_FILENO, 0x8914L /* SIOCSIFFLAGS */, NULL));
}

static void try_kernel(void)
{
	say("bpf", syscall(SYS_bpf, BPF_PROG_GET_NEXT_ID, NULL, 0));
	say("perf_event_open", syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0L));
	say("userfaultfd", syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY));
	say("io_uring_setup", syscall(SYS_io_uring_setup, 0, NULL));
	say("init_module", syscall(SYS_init_module, NULL, 0L, ""));
	say("keyctl", syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, -1, 0));
	say("open_by_handle_at", syscall(SYS_open_by_handle_at, AT_FDCWD, NULL, 0));
	say("fanotify_init", syscall(SYS_fanotify_init, 0U, 0U));
	say("sethostname", syscall(SYS_sethostname, NULL, 1L));
	say("clock_settime", syscall(SYS_clock_settime, -1, NULL));
	say("reboot", syscall(SYS_reboot, 0, 0, 0, NULL));
	say("swapon", syscall(SYS_swapon, "/nothing", 0));
	say("syslog", syscall(SYS_syslog, 10, NULL, 0));
	say("personality", syscall(SYS_personality, 0xffffffffUL));
}

/* A device that it makes opens nothing, whatever it is. */
static void try_devices(void)
{
	const struct rlimit many = { .rlim_cur = 4096, .rlim_max = 4096 };

	say("make null", mknod("null", S_IFCHR | 0666, makedev(1, 3)));
	say("open null", open("null", O_RDWR | O_CLOEXEC));
	say("raise limit", setrlimit(RLIMIT_NOFILE, &many));
}

static void do_the_work(void)
{
	int fd = open("file", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	say("create", fd);
	say("fchown", fchown(fd, 1000, 1000));
	say("fchmod", fchmod(fd, 06755));
	say("mkdir", mkdir("dir", 0755));
	say("trusted", setxattr("dir", "trusted.overlay.opaque", "y", 1, 0));
	say("whiteout", mknod("gone", S_IFCHR, makedev(0, 0)));
	say("symlink", symlink("file", "link"));
	say("link", link("file", "other"));
}

int main(int argc, char **argv)
{
	const char *step = argc == 2 ? unpack_confine(argv[1]) : "usage";

	if (step != NULL) {
		perror(step);
		return 3;
	}
	try_mounts();
	try_processes();
	try_network();
	try_kernel();
	try_devices();
	do_the_work();
	return 0;
}
