/* Runs of the OCI runtime. */
#ifndef NACELLE_MONITOR_JOB_H
#define NACELLE_MONITOR_JOB_H

#include <limits.h>
#include <sys/types.h>

#include "monitor-connection.h"
#include "process.h"
#include "spawn.h"
#include "timer.h"

struct container;
struct exec;

/* What a pipe said so far: its beginning (`tail` false) or its end. */
struct capture {
	char *data; /* NULL until something came */
	size_t length;
	size_t capacity;
	uint64_t dropped;
	bool tail;
};

enum { JOB_PID_FILE = 1, JOB_LOG = 2, JOB_PROCESS = 4, JOB_CONSOLE = 8, JOB_FILES = 4 };

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
	uint8_t files; /* which of its files exist */
	int console;   /* listens for the terminal that the runtime makes; -1 without */
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

/* monitor-job.c */
/* 0; or the request was answered with an error and nothing runs. */
int job_start(struct monitor *m, const struct job_plan *plan);
/* Adds to a capture of a running job. */
void job_capture(struct job *job, int index, const char *data, size_t length);
/* What its deadline does, now: the runtime is killed with all that it started. */
void job_expire(struct job *job);
bool arguments_read(struct monitor *m, struct reader *r, struct job_plan *plan);
bool deadline_valid(uint32_t deadline);

/* monitor-job-files.c */
/* Where one of its files is, in `path`. */
const char *job_file(const struct job *job, uint8_t bit, char path[PATH_MAX]);
/* Replaces the `@` arguments, by what is then in `paths`, and makes what the runtime reads or connects to. 0 or -errno. */
int job_place_files(struct job *job, char **argv, struct span process, char paths[JOB_FILES][PATH_MAX]);
void job_remove_files(const struct job *job);

/* monitor-job-outcome.c */
/* The terminal that the runtime made and sent, once that has returned; or -errno. */
int job_terminal(struct job *job);
/* A pidfd of the process that the pid file names, if it is this monitor's child; else -errno. */
int job_adopt(struct job *job, pid_t *pid, uint64_t *start_time);
/* True for exit code 0 within the deadline; else the request is answered with TIMEOUT, RUNTIME_FAILED or SYSCALL. */
bool job_succeeded(struct job *job);
/* Answers RUNTIME_FAILED with what the runtime said. */
void job_failed(struct job *job, int status, const char *why);

#endif
