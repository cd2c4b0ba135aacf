/* One process in a container: started by monitor-exec-request.c, and from then on monitor-exec.c's. */
#ifndef NACELLE_MONITOR_EXEC_H
#define NACELLE_MONITOR_EXEC_H

#include "monitor.h"

enum {
	EXEC_CAPTURED = 256 * 1024, /* what the process may say before the runtime has returned */
	EXEC_PENDING = 256 * 1024,  /* unsent bytes at which its pipes are not read */
};

struct exec_stream {
	struct source source;
	struct exec *exec;
	bool paused;  /* not in the loop */
	bool wide;    /* its pipe was enlarged */
	int owed;     /* bytes that were in the pipe when the process exited */
};

struct exec {
	struct monitor *monitor; /* NULL: the slot is free */
	struct connection *connection; /* NULL: nobody waits for it */
	struct request request;
	struct job *job; /* until the runtime has returned */
	struct source process;
	pid_t pid;
	struct exec_stream streams[2];
	struct timer timer;
	uint32_t timeout;
	uint64_t allowed; /* bytes of output that may still be sent */
	uint64_t dropped;
	uint64_t exited_at;
	uint64_t spoke_at;
	bool ended;
	bool timed_out;
	bool is_stream; /* EXEC_STREAM: not EXEC */
	uint8_t wanted; /* which streams of it */
	uint16_t width; /* of its terminal, until that is there */
	uint16_t height;
	bool has_owner; /* of its pipes, who may then open them again */
	uint32_t uid;
	uint32_t gid;
	struct input input;
	int slave;      /* of its terminal, as long as the process lives; -1 */
	struct process_exit exit;
	struct exec_cgroup *cgroup; /* NULL: its processes are in the container's own */
};

/* A free slot, or NULL. */
struct exec *exec_slot(void);
/* Gives back all that it holds. */
void exec_free(struct exec *e);
/* Its result is told, if anybody waits, and it is freed. */
void exec_complete(struct exec *e);
/* The runtime has started the process, or failed: what is done with a job that it was. */
void exec_returned(struct job *job);

/* monitor-exec-output.c */
void exec_stream_ready(struct source *source, uint32_t events);
/* Sends output, as much as is allowed. */
void exec_forward(struct exec_stream *s, const char *data, size_t length);
/* Reads on, if its client's slowness has stopped that. */
void exec_stream_resume(struct exec_stream *s);
/* Once the process has exited: complete at the pipes' ends, after a silence, or when it has lasted long enough. */
void exec_settle(struct exec *e);

/* monitor-exec-cgroup.c: NULL stands for none */
/* A new one below the container's; NULL when none can be made. Its exec refers to it until it leaves it. */
struct exec_cgroup *exec_cgroup_make(const struct container *c);
/* It is called exec-N. */
uint32_t exec_cgroup_number(const struct exec_cgroup *g);
/* Once the runtime has returned: the same, or NULL if the process is not in it; then nothing refers to it any more. */
struct exec_cgroup *exec_cgroup_joined(struct exec_cgroup *g);
/* SIGKILL for all that is in it; false: there is none, or the kernel cannot (before Linux 5.14). */
bool exec_cgroup_kill(const struct exec_cgroup *g);
/* The exec has ended; who is left in it lives on, and it is removed when nobody is. */
void exec_cgroup_leave(struct exec_cgroup *g);
void exec_cgroups_give_back(void);

#endif
