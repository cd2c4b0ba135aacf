/* How large the present file of a log may grow, and what then. Knows sizes and times that it is told, no file and no clock. */
#ifndef NACELLE_LOG_LIMIT_H
#define NACELLE_LOG_LIMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol.h"

/* Bits beside those of enum log_news. */
enum limit_reached { LIMIT_SOFT = 4, LIMIT_HARD = 8 };

/* No larger number is needed, and none smaller than these overflows. */
#define LOG_LIMIT_MAX (UINT64_C(1) << 50)
#define LIMIT_FOREVER UINT64_MAX

struct log_limit {
	/* Bytes of one file; 0: no limit. Set by the owner; all other fields begin as zeros. */
	uint64_t soft;
	uint64_t hard;
	uint64_t rate; /* bytes a second, of LOG_RATE: not 0 */
	enum log_policy policy; /* with LOG_BLOCK, what was read already is kept */
	uint64_t size;      /* of the present file */
	bool full;          /* the policy applies until there is another file */
	unsigned told;      /* enum limit_reached, for the present file */
	uint64_t tokens;    /* bytes that may be read, with LOG_RATE */
	uint64_t filled_at; /* ms */
};

/* There is a file of `size` bytes; `another`: not the one of before. */
void limit_opened(struct log_limit *limit, uint64_t size, bool another);
/* How much of these whole records may be written to the file: a length at which one ends. */
size_t limit_room(struct log_limit *limit, const char *records, size_t length);
/* All that one read gave was written, as far as it was. Which limits it reached, once per file. */
unsigned limit_settle(struct log_limit *limit);
/* True when there may be times at which less is read than comes. */
bool limit_slows(const struct log_limit *limit);
/* True when what comes waits for another file. */
bool limit_holds(const struct log_limit *limit);
/* How many bytes may be read now, at most `want`; 0: none before limit_wait has passed. */
size_t limit_allows(struct log_limit *limit, uint64_t now_ms, size_t want);
/* Milliseconds, at least 1; LIMIT_FOREVER: until there is another file. */
uint64_t limit_wait(const struct log_limit *limit, uint64_t now_ms);
/* So many bytes were read. */
void limit_spend(struct log_limit *limit, size_t length);

#endif
