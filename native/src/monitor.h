/*
 * The monitor of one sandbox: parent of its containers, keeper of their output and of how they ended.
 * Two threads with a loop each: control, which has all of this, and the pump (pump.h), which alone works on the files of
 * logs. Fixed tables, whose limits answer LIMIT. See "Monitor" in ../README.md.
 */
#ifndef NACELLE_MONITOR_H
#define NACELLE_MONITOR_H

#include <signal.h>

#include "monitor-connection.h"
#include "monitor-job.h"
#include "monitor-oom.h"
#include "process.h"
#include "pump.h"
#include "record.h"
#include "roles.h"

enum {
	MAX_CONNECTIONS = 160,
	MAX_SESSIONS = 96,       /* attaches, streaming execs and dials: what is left is for EXEC and for control */
	MAX_CONTAINERS = 64,
	MAX_EXECS = 256,
	MAX_JOBS = MAX_EXECS + 64,
	MAX_REPLAYS = 64,
	REPLAY_SIZE = 2048,
	REPLAY_INLINE = 48,
	WHAT_MAX = 24 * 1024,
	IN_SIZE = FRAME_HEADER + FRAME_MAX,
	OUT_SIZE = 1024 * 1024,
	CHUNK = 256 * 1024,      /* one read of what a runtime or a process says */
	ARENA = 320 * 1024,      /* argv or env of one request */
	IDLE_MS = 1000,          /* after which memory is given back */
	MAX_DEADLINE = 3600000,
};

/* Standard input of a container or an exec: the write end of a pipe, or a terminal. */
struct input {
	struct source source; /* fd -1: what is sent is dropped */
	struct monitor *monitor;
	struct connection *owner; /* whose frame was taken in part: nobody else's comes between */
	uint32_t events;
};

/* One of a container's pipes while it is being created; then it is the pump's. */
struct stream {
	struct source source;
	struct container *container;
};

/* A request that waits for the pump, which waits for a file system. */
struct parked {
	struct request request; /* type 0: none waits */
	uint8_t *payload;       /* mmap'ed copy of all that came with it */
	size_t length;
	uint64_t until;
	struct timer timer;
};

enum { MEMORY_CGROUP_MAX = 384, RECORD_COPY_MAX = 384 };

/* Of a container that SIGKILL was sent to. */
struct ending {
	struct timer timer;
	uint64_t since; /* 0: it was not */
	uint64_t pause; /* until it is told again that it cannot end */
	bool told;
};

/* What CREATE may say since version 2; all zeros from an older daemon. */
struct create_extras {
	char record_copy[RECORD_COPY_MAX]; /* a second exit record, for reboots; empty: none */
	uint64_t log_soft;          /* bytes of the present log file; 0: no limit */
	uint64_t log_hard;
	uint64_t log_rate; /* bytes per second beyond the hard limit, with LOG_RATE */
	uint8_t log_policy;
	char cgroup[MEMORY_CGROUP_MAX]; /* in a v2 hierarchy, for those of its execs; empty: none */
};

struct container {
	struct monitor *monitor;
	struct status status;
	struct source process;   /* fd -1: it is being created, or has ended */
	struct stream streams[2];
	struct outlet *outlet;   /* where its output goes; NULL before and after */
	struct job *job; /* CREATE or START in flight */
	struct parked waiting;   /* CREATE or START, until its log is there */
	struct parked reopening; /* LOG_REOPEN */
	struct timer timer;      /* of its end: until its output is on its way, then until its record is copied */
	bool ended;  /* its process; its state says so once that is on record */
	bool copied; /* its record */
	bool killed; /* by a SIGNAL of the daemon's */
	ino_t mount_namespace;
	struct input input;
	bool input_once; /* closed after the first client that had it */
	bool has_terminal;
	bool has_input;
	int master; /* of its terminal, for its size; -1 */
	int record_fd;
	struct oom oom;
	struct ending ending;
	char memory_cgroup[MEMORY_CGROUP_MAX];
	struct create_extras extras;
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
	int spare; /* a descriptor for when there is none left */
	struct source signals; /* SIGCHLD and SIGTERM */
	struct source pump; /* has news; in the loop once there was a container */
	struct timer idle;
	struct timer rest; /* for processes that have ended and cannot be reaped yet */
	struct timer strangers; /* children that nobody waits for are looked at while runtimes are at work */
	bool used;          /* big buffers were touched since the idle timer was set */
	uint64_t epoch;     /* the highest seen */
	uint64_t start_time;
	bool asked_to_end; /* by SIGTERM: as soon as nothing lives */
	unsigned jobs_in_flight;
	uint32_t serial;
	uint64_t sweep_since; /* start time from which unknown children are leftovers of failed creations; 0: none */
	unsigned next_replay;
	struct connection connections[MAX_CONNECTIONS];
	struct job jobs[MAX_JOBS] __attribute__((aligned(4096))); /* as the others: whole pages, which can be given back */
	struct replay replays[MAX_REPLAYS];
	struct container containers[MAX_CONTAINERS];
	char chunk[CHUNK] __attribute__((aligned(4096)));
	uint8_t payload[FRAME_MAX] __attribute__((aligned(4096))); /* replies and events are built here */
	uint8_t argv[ARENA] __attribute__((aligned(4096)));
	uint8_t env[ARENA] __attribute__((aligned(4096)));
	struct create_extras extras; /* of the CREATE that is being read */
	char cwd[PATH_MAX];
	char path[PATH_MAX];
	char paths[JOB_FILES][PATH_MAX];
	char what[WHAT_MAX];
};

/* monitor.c */
/* Big buffers are about to be used: their memory is given back when the monitor was idle for a second. */
void monitor_touch(struct monitor *m);
/*
 * Its process has ended and a tracer holds it: its pidfd stays ready, and is left alone for a moment. Not for a source
 * that was closed.
 */
void monitor_rest(struct monitor *m, struct source *process);
/* Takes what unknown children left, unless a runtime is at work: it might be the status of one that is about to be known. */
void monitor_reap(struct monitor *m);

/* monitor-end.c */
/* SHUTDOWN. Does not return when it ends. */
void end_request(struct monitor *m, struct request *to, struct reader *r);
/* Ends after SIGTERM, once nothing is left that would be lost; to be asked whenever something has happened. */
void end_if_asked(struct monitor *m);

/* monitor-runtime.c */
void runtime_request(struct monitor *m, struct request *to, struct reader *r);

/* monitor-create.c */
void container_create(struct monitor *m, struct request *to, struct reader *r);

/* monitor-container.c */
struct container *container_find(struct monitor *m, const char *id);
/* Why nothing can be done with its process, where there is none: it is being created, or has exited. */
const char *container_absence(const struct container *c);
void container_put(struct writer *w, const struct container *c);
void container_start(struct monitor *m, struct request *to, struct reader *r);
void container_signal(struct monitor *m, struct request *to, struct reader *r);
void container_reopen(struct monitor *m, struct request *to, struct reader *r);
void container_ack(struct monitor *m, struct request *to, struct reader *r);
void container_release(struct monitor *m, struct request *to, struct reader *r);

/* monitor-output.c */
/* Pipes for a container's output; fills the write ends. 0 or -errno. */
int output_open(struct container *c, uid_t uid, gid_t gid, int write_ends[2]);
/* Reads what the runtime has said on the container's stderr, before its end is acted on. */
void output_last_words(struct container *c);
/* To the pump, with what was said so far: the container is created. */
void output_hand_over(struct container *c, struct job *job);
/* The same with a terminal, which is taken over: 0 or -errno. */
int output_terminal(struct container *c, int master);
/* What control has of it. */
void output_close(struct container *c);

/* monitor-exec.c */
void exec_request(struct monitor *m, struct request *to, struct reader *r);
void exec_stream_request(struct monitor *m, struct request *to, struct reader *r);
/* False: it has not started yet. `*input` NULL: it takes none. */
bool exec_input(struct exec *exec, struct input **input);
/* Its client sends nothing more. For an exec without a terminal. */
void exec_end_input(struct exec *exec);
bool exec_has_terminal(const struct exec *exec);
void exec_resize(struct exec *exec, uint16_t width, uint16_t height);
bool exec_is_stream(const struct exec *exec);
/* Its client has gone: nobody waits for the result. */
void exec_abandon(struct exec *exec);
/* The connection has room again. */
void exec_resume(struct exec *exec);
/* The memory of those that are not used, when none is. */
void exec_give_back(void);
/* After monitor_rest. */
void execs_rested(struct monitor *m);
/* If `pid` is an exec's process, handles its end. */
bool exec_exited(struct monitor *m, pid_t pid);
/* Whether it is an exec's process that has not been reaped. */
bool exec_is_of(pid_t pid);
/* Whether there is an exec whose process lives, or whose client has not had all of it. */
bool exec_is_any(void);

/* monitor-input.c */
/* Takes over the write end of a pipe, or a terminal, which does not block. */
void input_open(struct input *input, struct monitor *m, int fd);
/* What is sent from now on is dropped. Who waits for room goes on. */
void input_close(struct input *input);
/* INPUT, STDIN_CLOSE and RESIZE, which have no reply. False: not yet. */
bool input_handle(struct connection *c, uint16_t type, struct reader *r);
/* A connection has ended. */
void input_forget(struct input *input, struct connection *c);

/* monitor-terminal.c */
/* A socket that a runtime sends a terminal to; or -errno. */
int terminal_listen(const char *path);
/* What was sent to it: the master, not blocking; or -errno. */
int terminal_receive(int listener);
/* Sets it up as containers expect and returns a slave that keeps it from being hung up, or -errno. */
int terminal_prepare(int master);
void terminal_resize(int master, uint16_t width, uint16_t height);
/* Which character ends the input of who reads it; -1: none does. */
int terminal_end_character(int master);

/* monitor-attach.c */
void attach_request(struct monitor *m, struct request *to, struct reader *r);
/* The pump has kept something for clients. */
void attach_deliver(void);
/* The container has ended: clients get what is left for them, and then are told. */
void attach_finish(struct container *c);
/* The connection has taken something. */
void attach_resume(struct attach *attach);
/* Its connection has ended. */
void attach_leave(struct attach *attach);
/* Of its container's, NULL where there is none or it is not this client's. */
struct input *attach_input(struct attach *attach);
void attach_end_input(struct attach *attach);
void attach_resize(struct attach *attach, uint16_t width, uint16_t height);

/* monitor-dial.c */
void dial_request(struct monitor *m, struct request *to, struct reader *r);
/* The connection is to be read or written, or has ended, while bytes are relayed. */
void dial_client(struct dial *dial, uint32_t events);
bool dial_relays(const struct dial *dial);
/* What a connection that relays is to be watched for. */
uint32_t dial_events(const struct dial *dial);
/* Its connection has ended. */
void dial_leave(struct dial *dial);
/* Whether something was said to a client that was not read yet. */
bool dial_is_any_carrying(void);

/* monitor-kill.c */
/* SIGKILL for a child that was not reaped, its group, its session and its descendants. Without a pidfd of it: -1. */
void kill_tree(pid_t pid, int pidfd);

/* monitor-health.c */
enum health { HEALTH_WELL = 0, HEALTH_CANNOT_END = 1, HEALTH_LOG_STALLED = 2 };
/* Told to the daemon; `since` is of sys_monotonic_ms. */
void health_tell(const struct container *c, enum health what, uint64_t since);
/* That `what` is over. */
void health_well(const struct container *c, enum health what, uint64_t since);
/* SIGKILL was sent to it: from now on its end is due. */
void health_killed(struct container *c);
void health_ended(struct container *c);

/* monitor-exec-cgroup.c */
/* The container is forgotten: what is left of its execs is killed. */
void exec_cgroups_forget(const struct container *c);

#endif
