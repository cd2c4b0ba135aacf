/* What the parts of the launcher share. The daemon's connection is fd 3; everything runs in one thread and one loop. */
#ifndef NACELLE_LAUNCHER_H
#define NACELLE_LAUNCHER_H

#include "loop.h"
#include "process.h"
#include "spawn.h"
#include "wire.h"

enum {
	OPERATIONS_MAX = 192,
	STUCK_MAX = 64,
	STDOUT_MAX = 128 * 1024,
	STDERR_MAX = 64 * 1024,
	RESULT_MAX = 192 * 1024,
	OWNER_MAX = 64,
	KEY_MAX = 256,
	PATH_ROOM = 4096,
	ARENA = 384 * 1024,
	WATCHES_MAX = 65536,
	DEADLINE_MAX_MS = 3600000,
	LINGER_MS = 1000, /* for the output of an exited child, and for the reap of a watched one */
};

enum job_kind { JOB_FREE, JOB_RUN, JOB_PERFORM, JOB_SERVING };

/* What a PERFORM child leaves behind, in memory shared with it. */
struct performed {
	uint32_t index; /* of the operation being performed */
	bool done;
	uint16_t code;  /* 0: `data` is the reply */
	int32_t error;
	uint32_t length;
	char what[64];
	char path[PATH_ROOM];
	uint8_t data[RESULT_MAX];
};

/* The output of a RUN: what fits is kept, the rest is read and dropped. */
struct capture {
	struct source source;
	struct job *job;
	uint8_t *data;
	uint32_t length;
	uint32_t capacity;
	bool truncated;
};

/* One child that works for a request. Free again when it was both answered and reaped. */
struct job {
	enum job_kind kind;
	struct launcher *launcher;
	struct frame_header request;
	struct child child;
	struct capture output[2];
	struct performed *performed;
	struct process_exit exit;
	bool reaped;
	bool answered;
	uint64_t deadline; /* monotonic ms; 0: none */
	char what[160];
};

struct job_head {
	char owner[OWNER_MAX + 1];
	char what[160];
	uint32_t deadline_ms;
};

struct watch_slot {
	uint32_t hash;
	struct watch *watch;
};

struct outgoing {
	struct outgoing *next;
	size_t length;
	size_t sent;
	uint8_t data[];
};

struct launcher {
	struct loop loop;
	struct source daemon;
	struct source signals;
	struct source timer;
	uint64_t armed; /* what the timer is set to; 0: off */
	const char *run_dir;
	char *role; /* argv[1], which tells in process lists who is who */
	int records;    /* fd of RUNDIR/ops */
	int cgroup;     /* fd of CGROUP/ops in the v2 hierarchy, or -1 */
	int cgroup_kill;
	char cgroup_path[PATH_ROOM];
	char cgroup_earlier[PATH_ROOM]; /* its like at the hierarchy's root, until it was cleared; "": there is none */
	int oom_score_adj;
	uint64_t epoch;
	uint64_t start_time;
	bool greeted;
	uint8_t stuck[8192]; /* list<str> as HELLO sends it */
	size_t stuck_length;
	struct outgoing *first;
	struct outgoing *last;
	size_t queued;
	size_t received;
	uint8_t frame[FRAME_HEADER + FRAME_MAX];
	struct job jobs[OPERATIONS_MAX];
	struct watch_slot *watches;
	size_t watch_count;
	size_t watch_capacity;
	size_t watch_lingering;
};

/* launcher-connection.c */
int daemon_open(struct launcher *launcher);
/* Sends, or queues and sends later. Out of memory ends the launcher: the daemon would wait for ever. */
void daemon_send(struct launcher *launcher, uint16_t type, uint16_t flags, uint64_t seq, const void *data, size_t length);
void answer(struct launcher *launcher, struct frame_header request, const void *data, size_t length);
void answer_error(struct launcher *launcher, struct frame_header request, enum error_code code, int error, const char *what,
		 const char *path);
void answer_error_at(struct launcher *launcher, struct frame_header request, enum error_code code, int error,
		    uint32_t index, const char *what, const char *path);
/* launcher.c */
void launcher_dispatch(struct launcher *launcher, struct frame_header header, struct reader *reader);
/* After anything that may have brought the next deadline nearer. */
void launcher_arm(struct launcher *launcher, uint64_t deadline);
void launcher_log(const char *what, const char *path, int error);

/* launcher-job.c: the table of children */
struct job *job_take(struct launcher *launcher, struct frame_header request, enum job_kind kind);
/* Writes the record of a child that waits behind its gate, then opens that. On failure the child ends and the request is answered. */
bool job_admit(struct job *job, const char *owner);
/* Forks a gated child without exec; true in the child, with fds 0-2 (/dev/null) and `keep` only, in its own session. */
int job_fork(struct job *job, int *keep, const char *owner);
/* After a failed fork into CGROUP/ops: true when it should be tried once more without. */
bool job_leave_cgroup(struct launcher *launcher, int error);
/* The owner, name and deadline that RUN and PERFORM begin with; false: answered already. */
bool job_head(struct launcher *launcher, struct frame_header request, struct reader *reader, struct job_head *head);
void job_drop(struct job *job);
void job_answer(struct job *job);
void job_kill(struct job *job);
bool job_reaped(struct launcher *launcher, pid_t pid, struct process_exit exit);
uint64_t job_deadlines(struct launcher *launcher, uint64_t now);
void job_cancel(struct launcher *launcher, struct frame_header request, struct reader *reader);
void job_kill_all(struct launcher *launcher);
bool job_any(const struct launcher *launcher);

/* launcher-run.c, launcher-perform.c, launcher-start.c: requests that start children */
void run_request(struct launcher *launcher, struct frame_header request, struct reader *reader);
void run_answer(struct job *job, enum outcome outcome);
void run_reaped(struct job *job);
void perform_request(struct launcher *launcher, struct frame_header request, struct reader *reader);
void perform_reaped(struct job *job);
void monitor_request(struct launcher *launcher, struct frame_header request, struct reader *reader);
void unpack_request(struct launcher *launcher, struct frame_header request, struct reader *reader);
void stats_request(struct launcher *launcher, struct frame_header request, struct reader *reader);
void notify_request(struct launcher *launcher, struct frame_header request, struct reader *reader);

/* launcher-watch.c */
void watch_request(struct launcher *launcher, struct frame_header request, struct reader *reader);
void unwatch_request(struct launcher *launcher, struct frame_header request, struct reader *reader);
/* A child that is no job was found dead and is about to be reaped. */
void watch_reaped(struct launcher *launcher, pid_t pid, uint64_t start_time, struct process_exit exit);
uint64_t watch_deadlines(struct launcher *launcher, uint64_t now);

/* launcher-fence.c */
int fence(struct launcher *launcher);
/* How long operations of a daemon that is gone may take to end by themselves. */
enum { OPERATION_GRACE_MS = 1000 };
/* launcher-cgroup.c */
void cgroups_open(struct launcher *launcher, const char *name);
/* Whether anything lives in CGROUP/ops, or where that was before. */
bool cgroups_populated(const struct launcher *launcher);
void cgroups_kill(const struct launcher *launcher);
/* Once nothing lives in CGROUP/ops: makes sure that something can. */
void cgroups_renew(struct launcher *launcher);

#endif
