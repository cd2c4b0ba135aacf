/* The files of the stats reader: what is read together, and which of it stays open. */
#ifndef NACELLE_STATS_H
#define NACELLE_STATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "wire.h"

enum {
	STATS_FILES_MAX = 24,
	STATS_TEXT_MAX = 8192,
	STATS_PATH_ROOM = 4096,
};

/* What is read together: the request that described it, and its files that are kept open. */
struct stats_set {
	uint32_t file_count;
	uint32_t length;
	int fds[STATS_FILES_MAX]; /* -1: not open */
	uint8_t spec[];           /* from `netns` on, as in ADD */
};

struct stats_file {
	uint8_t level;
	bool keep;
	uint8_t directory;
	struct span name;
};

/* False when our own network namespace cannot be kept to come back to. */
bool stats_files_begin(void);

struct stats_file stats_next_file(struct reader *r);

/*
 * The text of file `i` of the set, as long as STATS_TEXT_MAX; -errno, -EFBIG when there is more of it. It stays open
 * when it is to be kept and there is room. `directories` stands at the first of them.
 */
ssize_t stats_read_file(struct stats_set *set, uint32_t i, struct reader directories, const struct stats_file *file, uint8_t *text);

/* The same of the figures of a network namespace's links. We may be there afterwards, until stats_come_home. */
ssize_t stats_read_network(struct span netns, uint8_t *text);
void stats_come_home(void);

void stats_close_file(struct stats_set *set, uint32_t i);

#endif
