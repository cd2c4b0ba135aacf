import { type ArgumentRule, families, flagsClear, oneOf } from "./argument.ts";

/**
 * One group of system calls with the reason for what becomes of it. A group without `needs` and `when` is allowed.
 * Names that an architecture lacks do no harm; names that a runtime's libseccomp is too old for are skipped by it, and so
 * answered like calls that nobody has heard of.
 */
export interface SyscallGroup {
  readonly reason: string;
  readonly names: readonly string[];
  /** Any one of these capabilities allows the group; without any it is denied. */
  readonly needs?: readonly string[];
  /** Allowed only where the arguments say so; with a capability of `needs`, always. */
  readonly when?: readonly ArgumentRule[];
  /** What the caller is told instead of EPERM. */
  readonly errno?: number;
  readonly arch?: "x64" | "arm64";
}

const words = (text: string): readonly string[] => text.trim().split(/\s+/);

const ENOSYS = 38;

/** What programs do to live: each call acts on what the caller holds already, or the kernel checks it as for any user. */
export const ALLOWED: readonly SyscallGroup[] = [
  {
    reason: "processes and threads of one's own; new namespaces are judged below",
    names: words(`execve execveat exit exit_group fork vfork wait4 waitid waitpid getpid getppid gettid getpgid getpgrp
      getsid setpgid setsid set_tid_address set_robust_list get_robust_list rseq restart_syscall prctl arch_prctl
      set_thread_area get_thread_area set_tls membarrier getcpu uname getrusage times sysinfo pidfd_open
      pidfd_send_signal process_mrelease`),
  },
  {
    reason: "waiting on memory words, which every lock and every thread library does",
    names: words("futex futex_time64 futex_waitv futex_wake futex_wait futex_requeue"),
  },
  {
    reason: "scheduling of one's own processes, within what rlimits and CAP_SYS_NICE allow",
    names: words(`sched_yield sched_getaffinity sched_setaffinity sched_getattr sched_setattr sched_getparam
      sched_setparam sched_getscheduler sched_setscheduler sched_get_priority_max sched_get_priority_min
      sched_rr_get_interval sched_rr_get_interval_time64 getpriority setpriority nice ioprio_get ioprio_set getrlimit
      ugetrlimit setrlimit prlimit64`),
  },
  {
    reason: "identity: the kernel checks every change against capabilities and against no_new_privs",
    names: words(`getuid getuid32 geteuid geteuid32 getgid getgid32 getegid getegid32 getresuid getresuid32 getresgid
      getresgid32 getgroups getgroups32 setuid setuid32 setgid setgid32 setreuid setreuid32 setregid setregid32
      setresuid setresuid32 setresgid setresgid32 setfsuid setfsuid32 setfsgid setfsgid32 setgroups setgroups32
      capget capset umask`),
  },
  {
    reason: "signals to processes that the kernel lets one signal",
    names: words(`kill tkill tgkill rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend
      rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sigaction sigaltstack signal signalfd signalfd4
      sigpending sigprocmask sigreturn sigsuspend pause alarm`),
  },
  {
    reason: "memory of one's own",
    names: words(`brk mmap mmap2 munmap mremap mprotect madvise mincore msync mlock mlock2 mlockall munlock munlockall
      remap_file_pages memfd_create memfd_secret mseal map_shadow_stack pkey_alloc pkey_free pkey_mprotect`),
  },
  {
    reason: "files opened by path or at a directory",
    names:
      words(`open openat openat2 creat access faccessat faccessat2 stat stat64 lstat lstat64 fstat fstat64 fstatat64
      newfstatat oldstat oldlstat oldfstat statx readlink readlinkat link linkat symlink symlinkat unlink unlinkat
      rename renameat renameat2 mkdir mkdirat rmdir mknod mknodat chmod fchmod fchmodat fchmodat2 chown chown32 fchown
      fchown32 fchownat lchown lchown32 truncate truncate64 utime utimes utimensat utimensat_time64 futimesat chdir
      fchdir getcwd getdents getdents64 readdir name_to_handle_at statfs statfs64 fstatfs fstatfs64`),
  },
  {
    reason: "facts on the mounts of one's own namespace",
    names: words("statmount listmount"),
  },
  {
    reason: "extended attributes, guarded by name space and owner",
    names: words(`getxattr getxattrat lgetxattr fgetxattr setxattr setxattrat lsetxattr fsetxattr listxattr listxattrat
      llistxattr flistxattr removexattr removexattrat lremovexattr fremovexattr file_getattr file_setattr`),
  },
  {
    reason: "descriptors that are open already",
    names:
      words(`close close_range read readv pread64 preadv preadv2 write writev pwrite64 pwritev pwritev2 lseek _llseek
      dup dup2 dup3 fcntl fcntl64 flock ioctl ftruncate ftruncate64 fallocate fadvise64 fadvise64_64 arm_fadvise64_64
      readahead cachestat sync syncfs fsync fdatasync sync_file_range sync_file_range2 arm_sync_file_range
      copy_file_range sendfile sendfile64 splice tee vmsplice pipe pipe2`),
  },
  {
    reason: "waiting for descriptors, and asynchronous I/O of the old kind",
    names:
      words(`poll ppoll ppoll_time64 select _newselect pselect6 pselect6_time64 epoll_create epoll_create1 epoll_ctl
      epoll_ctl_old epoll_wait epoll_wait_old epoll_pwait epoll_pwait2 eventfd eventfd2 inotify_init inotify_init1
      inotify_add_watch inotify_rm_watch fanotify_mark io_setup io_destroy io_submit io_cancel io_getevents
      io_pgetevents io_pgetevents_time64`),
  },
  {
    reason: "clocks and timers; adjtimex only reads without CAP_SYS_TIME",
    names: words(`time gettimeofday clock_gettime clock_gettime64 clock_getres clock_getres_time64 clock_nanosleep
      clock_nanosleep_time64 nanosleep adjtimex clock_adjtime clock_adjtime64 getitimer setitimer timer_create
      timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create
      timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64`),
  },
  {
    reason: "sockets; which families may be opened is judged below (socketcall, of old 32-bit programs, cannot be)",
    names: words(`socketpair bind listen accept accept4 connect shutdown getsockname getpeername getsockopt setsockopt
      recv recvfrom recvmsg recvmmsg recvmmsg_time64 send sendto sendmsg sendmmsg socketcall`),
  },
  {
    reason: "System V and POSIX messages, semaphores, shared memory of one's own IPC namespace",
    names: words(`ipc msgctl msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt
      shmget mq_open mq_unlink mq_timedsend mq_timedsend_time64 mq_timedreceive mq_timedreceive_time64 mq_notify
      mq_getsetattr`),
  },
  {
    reason: "giving up rights, and randomness",
    names: words("seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self getrandom"),
  },
  {
    reason: "debuggers: since Linux 4.8 a tracer cannot slip past a filter, and the kernel checks whom one may trace",
    names: words("ptrace process_vm_readv process_vm_writev"),
  },
  { reason: "segments of old x86 programs (Wine, some JITs)", names: ["modify_ldt"], arch: "x64" },
  { reason: "return paths that the kernel itself puts under probes", names: ["uretprobe"], arch: "x64" },
  { reason: "instruction caches of 32-bit ARM", names: words("breakpoint cacheflush"), arch: "arm64" },
];

/** Judged by their arguments or by the container's capabilities. */
export const CONDITIONAL: readonly SyscallGroup[] = [
  {
    reason:
      "AF_ALG (38) and AF_VSOCK (40): kernel crypto with a record of escalations, and a door past the network namespace to the hypervisor",
    names: ["socket"],
    when: families([38, 40]),
    errno: 97,
  },
  {
    reason:
      "execution domains that only change what uname says; others switch off address randomisation or page-zero protection",
    names: ["personality"],
    when: oneOf(0, [0x0, 0x8, 0x20000, 0x20008, 0xffffffff]),
  },
  {
    reason: "a new namespace (a user namespace above all) opens kernel code that unprivileged users never reach",
    names: ["clone"],
    needs: ["CAP_SYS_ADMIN"],
    when: flagsClear(0, [0x0002_0000, 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000]),
  },
  {
    reason: "its flags lie in memory where a filter cannot see them; told that it is absent, C libraries use clone",
    names: ["clone3"],
    needs: ["CAP_SYS_ADMIN"],
    errno: ENOSYS,
  },
  {
    reason: "namespaces and mounts",
    names: words(`unshare setns mount umount umount2 pivot_root mount_setattr move_mount open_tree open_tree_attr fsopen
      fsconfig fsmount fspick sethostname setdomainname quotactl quotactl_fd fanotify_init lsm_get_self_attr
      lsm_set_self_attr lsm_list_modules lookup_dcookie`),
    needs: ["CAP_SYS_ADMIN"],
  },
  { reason: "programs in the kernel", names: ["bpf"], needs: ["CAP_SYS_ADMIN", "CAP_BPF"] },
  { reason: "counters that leak other processes", names: ["perf_event_open"], needs: ["CAP_SYS_ADMIN", "CAP_PERFMON"] },
  { reason: "the kernel's log", names: ["syslog"], needs: ["CAP_SYS_ADMIN", "CAP_SYSLOG"] },
  {
    reason: "opening by handle walks out of the root: the escape known as shocker",
    names: ["open_by_handle_at"],
    needs: ["CAP_DAC_READ_SEARCH"],
  },
  { reason: "another root", names: ["chroot"], needs: ["CAP_SYS_CHROOT"] },
  { reason: "restarting the machine", names: ["reboot"], needs: ["CAP_SYS_BOOT"] },
  {
    reason: "kernel modules",
    names: words("init_module finit_module delete_module"),
    needs: ["CAP_SYS_MODULE"],
  },
  { reason: "accounting of the whole machine", names: ["acct"], needs: ["CAP_SYS_PACCT"] },
  {
    reason: "other processes' descriptors and memory layout",
    names: words("kcmp pidfd_getfd process_madvise"),
    needs: ["CAP_SYS_PTRACE"],
  },
  { reason: "ports of the hardware itself", names: words("iopl ioperm"), needs: ["CAP_SYS_RAWIO"] },
  {
    reason: "the machine's clock",
    names: words("settimeofday stime clock_settime clock_settime64"),
    needs: ["CAP_SYS_TIME"],
  },
  { reason: "hanging up terminals", names: ["vhangup"], needs: ["CAP_SYS_TTY_CONFIG"] },
  {
    reason: "placing memory on nodes: a covert channel and a way to starve others",
    names: words("get_mempolicy set_mempolicy set_mempolicy_home_node mbind migrate_pages move_pages"),
    needs: ["CAP_SYS_NICE"],
  },
];

/** Denied to everyone who is filtered: known, and refused (EPERM), so that a program can tell "may not" from "does not exist". */
export const DENIED: readonly SyscallGroup[] = [
  { reason: "key rings are not divided by namespace", names: words("add_key request_key keyctl") },
  { reason: "another kernel", names: words("kexec_load kexec_file_load") },
  { reason: "the machine's swap", names: words("swapon swapoff") },
  { reason: "holds kernel threads in faults: what makes races winnable", names: ["userfaultfd"] },
  {
    reason: "does the work of other calls past this filter, and a steady source of escalations",
    names: words("io_uring_setup io_uring_enter io_uring_register"),
  },
  { reason: "the kernel's NFS server", names: ["nfsservctl"] },
  { reason: "real mode of old processors", names: words("vm86 vm86old") },
  {
    reason: "dead calls, kept by kernels for compatibility alone",
    names: words("uselib ustat sysfs _sysctl create_module get_kernel_syms query_module"),
  },
];
