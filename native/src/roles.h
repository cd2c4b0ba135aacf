/* Entry points of the roles. */
#ifndef NACELLE_ROLES_H
#define NACELLE_ROLES_H

#include <stdint.h>
#include <sys/types.h>

int launcher_main(int argc, char **argv);
int unpack_main(int argc, char **argv);
int pause_main(int argc, char **argv);
int probe_main(int argc, char **argv);

/* What a monitor is told by the launcher that forks it. `listener` is bound and listening. */
struct monitor_options {
	const char *sandbox_id;
	const char *socket_path;
	const char *record_dir;
	int listener;
	uint64_t epoch;
	int oom_score_adj; /* what it executes gets this one back */
};

/* Runs in a child just forked (before exec of anything); never returns. */
_Noreturn void monitor_main(const struct monitor_options *options);

/* Runs in a child just forked; ends with its connection, which is a blocking socket, or with the launcher. */
_Noreturn void stats_main(int connection, pid_t launcher);

#endif
