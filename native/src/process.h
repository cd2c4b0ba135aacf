/* Processes named by pid and start time, and how they ended. */
#ifndef NACELLE_PROCESS_H
#define NACELLE_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* What /proc/PID/stat says. */
struct process_stat {
	char state;
	pid_t parent;
	pid_t group;
	pid_t session;
	uint64_t start_time; /* field 22, clock ticks since boot */
	int32_t wait_status; /* of a zombie; 0 for who may not trace it */
};

/* As EXITED, EXIT and RUN report it: code is CLD_EXITED, CLD_KILLED or CLD_DUMPED, status the exit code or signal. */
struct process_exit {
	bool known;
	int32_t code;
	int32_t status;
};

/* 0 or -errno (-ESRCH: gone). A zombie is still there, with state Z. */
int process_stat(pid_t pid, struct process_stat *stat);
/* 0 when there is no such process. */
uint64_t process_start_time(pid_t pid);
/* Now, as start times count. */
uint64_t process_ticks(void);
/* A pidfd (CLOEXEC) of exactly this process, zombies included; -ESRCH when it is gone or the pid is another one's. */
int process_open(pid_t pid, uint64_t start_time);
/* How a process ended that somebody else has reaped; needs PIDFD_INFO_EXIT (Linux 6.15), else `known` is false. */
struct process_exit process_exit_info(int pidfd);
/* How a process ended that nobody has reaped yet, unless with 0; else `known` is false. */
struct process_exit process_exit_of_zombie(pid_t pid, uint64_t start_time);
/* From si_code and si_status of waitid(2), or from a wait status. */
struct process_exit process_exit_of(int32_t code, int32_t status);
struct process_exit process_exit_of_wait(int32_t wait_status);

#endif
