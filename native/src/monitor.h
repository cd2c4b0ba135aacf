/*
 * The monitor of one sandbox: parent of its containers, keeper of their output and of how they ended.
 * One thread, one loop; fixed tables, whose limits answer LIMIT. See "Monitor" in ../README.md.
 */
#ifndef NACELLE_MONITOR_H
#define NACELLE_MONITOR_H

#include <signal.h>

#include "log.h"
#include "loop.h"
#include "process.h"
#include "record.h"
#include "roles.h"
#include "spawn.h"
#include "timer.h"
#include "wire.h"

enum {
	MAX_CONNECTIONS = 64,
	MAX_CONTAINERS = 64,
	MAX_EXECS = 256,
	MAX_JOBS = MAX_EXECS + 64,
	MAX_REPLAYS = 64,
	REPLAY_SIZE = 2048,
	REPLAY_INLINE = 48,
	WHAT_MAX = 24 * 1024,
	IN_SIZE = FRAME_HEADER + FRAME_MAX,
	OUT_SIZE = 1024 * 1024,
	CHUNK = 256 * 1024,      /* one read of a container's output */
	ARENA = 320 * 1024,      /* argv or env of one request */
	IDLE_MS = 1000,          /* after which memory is given back */
	MAX_DEADLINE = 3600000,
};

struct monitor;

/* Who is to be answered. `type` 0: nobody any more. */
struct request {
	struct connection *connection; /* NULL once it has ended */
	uint64_t epoch;
	uint64_t seq;
	uint16_t type;
};

struct connection {
	struct source source;
	struct monitor *monitor;
	uint8_t kind; /* 0 before HELLO */
	bool closing; /* takes nothing more; ends when everything was sent, or at once if `broken` */
	bool broken;
	bool wants_out;
	uint64_t epoch;
	uint8_t *in;
	size_t in_length;
	size_t in_used; /* high-water mark since memory was given back */
	uint8_t *out;
	size_t out_begin;
	size_t out_end;
	size_t out_used;
	struct exec *exec; /* what its output belongs to, one at a time */
};

/* What a pipe said so far: its beginning (`tail` false) or its end. */
struct capture {
	char *data; /* NULL until something came */
	size_t length;
	size_t capacity;
	uint64_t dropped;
	bool tail;
};

enum { JOB_PID_FILE = 1, JOB_LOG = 2, JOB_PROCESS = 4 };

/* One run of an OCI runtime. */
struct job {
	struct monitor *monitor;
	void (*done)(struct job *job); /* NULL: the slot is free */
	struct request request;
	struct source process;
	struct child child;
	struct source pipes[2]; /* stdout and stderr, if they are the runtime's own */
	struct capture captures[2];
	struct timer timer;
	uint32_t serial;
	uint8_t files; /* which of its three files exist */
	bool ended;
	bool timed_out;
	bool answers_late; /* not complete before its pipes are at their end, or 1 s after */
	struct process_exit exit;
	struct container *container;
	struct exec *exec;
	uint64_t begun_ticks; /* since boot */
};

/* What job_start needs to know. */
struct job_plan {
	struct request *request; /* taken over: the job answers it */
	const char *cwd;
	char **argv; /* `@` arguments are replaced in place */
	char **env;
	uint32_t deadline;
	int stdio[3]; /* -1: /dev/null for stdin, a captured pipe for the others */
	size_t capacity[2];
	bool tail;
	struct span process;
	bool answers_late;
	void (*done)(struct job *job);
	struct job **slot; /* NULL, or where its owner keeps the job */
	struct container *container;
	struct exec *exec;
};

struct stream {
	struct source source;
	struct container *container;
	struct log_stream log;
	bool wide; /* its pipe was enlarged */
};

enum { MEMORY_CGROUP_MAX = 384 };

struct container {
	struct monitor *monitor;
	struct status status;
	struct source process;
	struct stream streams[2];
	struct job *job; /* CREATE or START in flight */
	bool killed; /* by a SIGNAL of the daemon's */
	struct timer tail_timer;
	uint64_t tail_since;
	ino_t mount_namespace;
	int stdin_fd;
	int record_fd;
	int oom_fd; /* counts kills for memory; -1: not told */
	char memory_cgroup[MEMORY_CGROUP_MAX];
	struct log log;
};

/* A mutating request that was answered, for one that asks again. */
struct replay {
	uint64_t epoch;
	uint64_t seq;
	uint16_t type; /* 0: free */
	uint16_t flags;
	uint32_t length;
	uint8_t bytes[REPLAY_INLINE];
	uint8_t *large; /* malloc'ed when it does not fit in `bytes` */
};

struct monitor {
	struct monitor_options options;
	struct loop loop;
	struct timers timers;
	struct source listener;
	struct source children;
	struct timer idle;
	bool used;          /* big buffers were touched since the idle timer was set */
	uint64_t epoch;     /* the highest seen */
	uint64_t start_time;
	unsigned jobs_in_flight;
	uint32_t serial;
	uint64_t sweep_since; /* start time from which unknown children are leftovers of failed creations; 0: none */
	unsigned next_replay;
	struct connection connections[MAX_CONNECTIONS];
	struct job jobs[MAX_JOBS];
	struct replay replays[MAX_REPLAYS];
	struct container containers[MAX_CONTAINERS];
	char tails[MAX_CONTAINERS][2][LOG_PIECE] __attribute__((aligned(4096)));
	char chunk[CHUNK] __attribute__((aligned(4096)));
	uint8_t payload[FRAME_MAX] __attribute__((aligned(4096))); /* replies and events are built here */
	uint8_t argv[ARENA] __attribute__((aligned(4096)));
	uint8_t env[ARENA] __attribute__((aligned(4096)));
	char path[PATH_MAX];
	char paths[3][PATH_MAX];
	char what[WHAT_MAX];
};

/* monitor.c */
/* Big buffers are about to be used: their memory is given back when the monitor was idle for a second. */
void monitor_touch(struct monitor *m);
/* Takes what unknown children left, unless a runtime is at work: it might be the status of one that is about to be known. */
void monitor_reap(struct monitor *m);

/* monitor-connection.c */
int connection_listen(struct monitor *m);
/* Never blocks. A peer that lets its buffer overflow loses its connection. */
void connection_send(struct connection *c, uint16_t type, uint16_t flags, uint64_t seq, const void *payload, size_t length);
size_t connection_pending(const struct connection *c);
/* Ends the connection from the loop, not at once; `flush`: after everything was sent. */
void connection_end(struct connection *c, bool flush);
void connection_broadcast(struct monitor *m, uint16_t type, const struct writer *payload);
void connection_give_back(struct monitor *m);

/* monitor-request.c */
void request_handle(struct connection *c, const struct frame_header *header, struct reader payload);
/* A connection has ended: nothing may point to it any more. */
void request_forget(struct connection *c);
struct writer reply_begin(struct monitor *m);
void reply(struct monitor *m, struct request *to, const struct writer *payload);
void reply_empty(struct monitor *m, struct request *to);
void reply_error(struct monitor *m, struct request *to, enum error_code code, int error, struct span what, const char *path);
void reply_text(struct monitor *m, struct request *to, enum error_code code, int error, const char *what);

/* monitor-job.c */
/* 0; or the request was answered with an error and nothing runs. */
int job_start(struct monitor *m, const struct job_plan *plan);
/* Adds to a capture of a running job. */
void job_capture(struct job *job, int index, const char *data, size_t length);
/* What its deadline does, now: the runtime is killed with all that it started. */
void job_expire(struct job *job);
bool job_wrote_pid(const struct job *job);
/* A pidfd of the process that the pid file names, if it is this monitor's child; else -errno. */
int job_adopt(struct job *job, pid_t *pid, uint64_t *start_time);
/* True for exit code 0 within the deadline; else the request is answered with TIMEOUT, RUNTIME_FAILED or SYSCALL. */
bool job_succeeded(struct job *job);
/* Answers RUNTIME_FAILED with what the runtime said. */
void job_failed(struct job *job, int status, const char *why);
bool arguments_read(struct monitor *m, struct reader *r, struct job_plan *plan);
bool deadline_valid(uint32_t deadline);

/* monitor-runtime.c */
void runtime_request(struct monitor *m, struct request *to, struct reader *r);

/* monitor-container.c */
struct container *container_find(struct monitor *m, const char *id);
void container_put(struct writer *w, const struct container *c);
void container_create(struct monitor *m, struct request *to, struct reader *r);
void container_start(struct monitor *m, struct request *to, struct reader *r);
void container_signal(struct monitor *m, struct request *to, struct reader *r);
void container_reopen(struct monitor *m, struct request *to, struct reader *r);
void container_ack(struct monitor *m, struct request *to, struct reader *r);
void container_release(struct monitor *m, struct request *to, struct reader *r);

/* monitor-output.c */
/* Pipes for a container's output; fills the write ends. 0 or -errno. */
int output_open(struct container *c, uid_t uid, gid_t gid, int write_ends[2]);
/* Reads what was written before the container exited, at most 2 s long, and ends the log. */
void output_finish(struct container *c);
void output_close(struct container *c);
/* Tells clients what became of the log since the last time. */
void output_report(struct container *c);

/* monitor-exec.c */
void exec_request(struct monitor *m, struct request *to, struct reader *r);
/* Its client has gone: nobody waits for the result. */
void exec_abandon(struct exec *exec);
/* The connection has room again. */
void exec_resume(struct exec *exec);
/* If `pid` is an exec's process, handles its end. */
bool exec_exited(struct monitor *m, pid_t pid);

/* monitor-kill.c */
/* SIGKILL for a process, its group, its session and its descendants. */
void kill_tree(pid_t pid, int pidfd);

/* monitor-oom.c: an fd of the file in which the kernel counts kills for memory, or -1; and the count, 0 when it cannot be read. */
int oom_open(const char *cgroup);
uint64_t oom_kills(int fd);

#endif
