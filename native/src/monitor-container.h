/* What the files of a container's life have among themselves: monitor-create.c, monitor-container.c, monitor-exit.c. */
#ifndef NACELLE_MONITOR_CONTAINER_H
#define NACELLE_MONITOR_CONTAINER_H

#include "monitor.h"

/* monitor-outlet.c */
/* Asks the pump for an outlet; container_log_opened tells what came of it. 0; or -errno of `*call`, -EUSERS when all are taken. */
int outlet_open(struct container *c, const char *path, const char *copy_path, const char **call);
/* The pump keeps it as long as it must; the container has none any more. */
void outlet_let_go(struct container *c);
/* The log goes on at the file that its path names from now on, whatever was asked for before. */
void outlet_reopen(struct outlet *o);
/* True: the pump will not do that any more. False: it has, or could not, and there are news of it. */
bool outlet_reopen_not(struct outlet *o);
/* Before the end of all: the pump is done with everything, or `ms` have passed, or it was held by one file for `stuck_ms`. Blocks. */
void outlets_await(struct monitor *m, uint64_t ms, uint64_t stuck_ms);

/* monitor-stall.c */
/* Tells of disks that do not answer, by this fd of the pump's. 0 or -errno. */
int stall_watch(struct monitor *m, int fd);
/* Something was heard of the pump: what was told may be over. */
void stall_over(void);

/* What the pump has to say to a container. `error` is 0 or -errno. */
void container_log_opened(struct container *c, int error);
void container_log_made(struct container *c, int error);
void container_log_reopened(struct container *c, int error, uint64_t inode);
void container_drained(struct container *c);

/* monitor-parked.c */
/* Takes a request over, with a copy of its payload. False: there is no memory for it, and it was answered. */
bool park(struct monitor *m, struct parked *p, struct request *to, const struct reader *payload, uint32_t deadline,
	  void (*late)(struct timer *timer));
struct reader parked_payload(const struct parked *p);
/* What is left of its deadline, at least 1 ms. */
uint32_t parked_time(const struct parked *p);
/* It waits no more. Its request is answered by now, or handed on. */
void unpark(struct monitor *m, struct parked *p);
/* Answers that the log's file system does not. */
void parked_late(struct monitor *m, struct parked *p, const char *path);

/* monitor-create.c */
/* While it is being created: ends that, and what CREATE asked for is answered. */
void create_cancel(struct container *c);

/* monitor-container.c */
extern const char *const container_states[];
/* Gives back everything but the record and the outlet. */
void container_close(struct container *c);
/* Nothing of it remains. */
void container_forget(struct container *c);

/* monitor-exit.c */
/* Its process has ended. */
void container_exited(struct source *source, uint32_t events);
/* Its exit is stored elsewhere: the second record is not needed. */
void exit_stored(struct container *c);
/* The second record, now, unless it is not wanted, or is on its way. */
void exit_copy(struct container *c);

#endif
