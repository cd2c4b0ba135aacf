/* Children that execute something, started so that nothing of the parent leaks into them. */
#ifndef NACELLE_SPAWN_H
#define NACELLE_SPAWN_H

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

enum { SPAWN_KEEP_OOM = INT_MIN };

/* What to execute. Nothing is kept after spawn_child has returned; the caller keeps (and closes) its fds. */
struct spawn {
	const char *cwd;       /* NULL: "/" */
	char *const *argv;     /* argv[0] is the path */
	char *const *env;
	int stdio[3];          /* -1: /dev/null */
	int cgroup;            /* fd of a v2 cgroup directory to be born in; -1: the caller's */
	int oom_score_adj;     /* or SPAWN_KEEP_OOM */
	bool gated;            /* waits for spawn_release before it does anything */
	bool dies_with_us;     /* gets SIGKILL when the caller's thread ends; what it forks does not */
};

/* A child that was started. Owner of the fds: the caller, by spawn_close. */
struct child {
	pid_t pid;
	int pidfd;
	int report; /* non-blocking; at its end when execve succeeded */
	int gate;   /* -1 unless gated; closed unopened, the child ends without executing */
};

/*
 * 0 or -errno (nothing was started). The child has its own session and group, all signals default, an empty mask,
 * umask 022, a soft limit of 1024 files, and fds 0-2 only.
 */
int spawn_child(const struct spawn *spawn, struct child *child);
int spawn_release(struct child *child);
/* 0 when it was executed; else errno of the call that failed and its name. To be asked once, after the child's end. */
int spawn_failure(const struct child *child, const char **call);
void spawn_close(struct child *child);

/* In a child: signals default, empty mask, umask 022. */
void spawn_reset_signals(void);

/*
 * No transparent huge pages for the caller and what it forks: where they are always used, the first byte of a table would
 * cost 2 MB. What spawn_child executes may have them, unless the caller itself was started without.
 */
void spawn_refuse_huge_pages(void);

#endif
