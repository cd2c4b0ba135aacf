/* Exit records: how a container ended, for a daemon that was away. See "Exit record" in ../README.md. */
#ifndef NACELLE_RECORD_H
#define NACELLE_RECORD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { RECORD_SIZE = 512, CONTAINER_ID_MAX = 64 };

/* What is known of a container; SNAPSHOT, EXIT and the record are made of it. */
struct status {
	char id[CONTAINER_ID_MAX + 1];
	uint8_t state; /* enum container_state; 0: no container */
	bool acked;
	pid_t pid;
	uint64_t start_time;
	int32_t end_code;
	int32_t end_status;
	uint64_t created_ns;
	uint64_t started_ns;
	uint64_t exited_ns;
	uint64_t oom_kills;
	uint64_t log_lost;
	uint64_t log_lost_lines;
	uint64_t ooms;            /* times that a limit was met */
	uint64_t oom_group_kills; /* times that all of a cgroup was killed */
};

/* Allocates the record of `id` with zeros; an fd or -errno. */
int record_create(const char *dir, const char *id);
void record_encode(const struct status *status, uint8_t bytes[RECORD_SIZE]);
/* One pwrite of the whole record; 0 or -errno. */
int record_write(int fd, const struct status *status);
/* Gone already: fine. */
void record_remove(const char *dir, const char *id);

#endif
