/* The decisions about a log that grows too large, by examples. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log-limit.h"

static int failed;

static void equal(int line, const char *what, uint64_t found, uint64_t expected)
{
	if (found == expected)
		return;
	fprintf(stderr, "limit.c:%d: %s is %" PRIu64 ", not %" PRIu64 "\n", line, what, found, expected);
	failed = 1;
}

#define EQUAL(found, expected) equal(__LINE__, #found, (uint64_t)(found), (uint64_t)(expected))

static size_t store(struct log_limit *l, const char *records)
{
	size_t room = limit_room(l, records, strlen(records));

	l->size += room;
	return room;
}

static void no_limit(void)
{
	struct log_limit l = { .policy = LOG_DROP };

	limit_opened(&l, UINT64_C(1) << 40, true);
	EQUAL(store(&l, "one\ntwo\n"), 8);
	EQUAL(limit_settle(&l), 0);
	EQUAL(limit_allows(&l, 5, 1000), 1000);
}

static void soft_once_per_file(void)
{
	struct log_limit l = { .soft = 10 };

	limit_opened(&l, 9, true);
	EQUAL(limit_settle(&l), 0);
	EQUAL(store(&l, "a\n"), 2);
	EQUAL(limit_settle(&l), LIMIT_SOFT);
	EQUAL(store(&l, "b\n"), 2);
	EQUAL(limit_settle(&l), 0);
	limit_opened(&l, 13, false); /* reopened, but it is the same file */
	EQUAL(limit_settle(&l), 0);
	limit_opened(&l, 10, true);
	EQUAL(limit_settle(&l), LIMIT_SOFT);
}

static void drop_keeps_whole_records(void)
{
	struct log_limit l = { .hard = 10, .policy = LOG_DROP };

	limit_opened(&l, 0, true);
	EQUAL(store(&l, "four\nfour\n"), 10); /* just fits */
	EQUAL(limit_settle(&l), 0);
	EQUAL(limit_allows(&l, 0, 1000), 1000); /* it is read all the same */
	EQUAL(store(&l, "x\n"), 0);
	EQUAL(limit_settle(&l), LIMIT_HARD);
	limit_opened(&l, 0, true);
	EQUAL(store(&l, "a\nlong one\nb\n"), 2);
	EQUAL(store(&l, "b\n"), 0); /* which would fit, but not after what is missing */
	EQUAL(limit_settle(&l), LIMIT_HARD);
	limit_opened(&l, 3, true);
	EQUAL(store(&l, "a\n"), 2);
}

static void block_waits_for_a_file(void)
{
	struct log_limit l = { .hard = 10, .policy = LOG_BLOCK };

	limit_opened(&l, 0, true);
	EQUAL(limit_allows(&l, 0, 1000), 10);
	EQUAL(store(&l, "what was read, is kept\n"), 23);
	EQUAL(limit_holds(&l), false);
	EQUAL(limit_settle(&l), LIMIT_HARD);
	EQUAL(limit_holds(&l), true);
	EQUAL(limit_allows(&l, 0, 1000), 0);
	EQUAL(limit_wait(&l, 0), LIMIT_FOREVER);
	EQUAL(store(&l, "what is in the pipe at the end\n"), 0);
	limit_opened(&l, 23, false); /* somebody reopened it without moving it away */
	EQUAL(limit_holds(&l), true);
	limit_opened(&l, 0, true);
	EQUAL(limit_holds(&l), false);
	EQUAL(limit_allows(&l, 0, 1000), 10);
}

static void rate_is_a_bucket(void)
{
	struct log_limit l = { .hard = 10, .rate = 1000, .policy = LOG_RATE };

	limit_opened(&l, 10, true);
	EQUAL(limit_settle(&l), LIMIT_HARD);
	EQUAL(limit_allows(&l, 5000, 100000), 1000); /* it begins full */
	limit_spend(&l, 950);
	EQUAL(limit_allows(&l, 5000, 100000), 50);
	limit_spend(&l, 50);
	EQUAL(limit_allows(&l, 5000, 100000), 0);
	EQUAL(limit_wait(&l, 5000), 100);
	EQUAL(limit_allows(&l, 5099, 100000), 0); /* what there is by now would only wake up often */
	EQUAL(limit_wait(&l, 5099), 1);
	EQUAL(limit_allows(&l, 5100, 100000), 100);
	EQUAL(limit_allows(&l, 5100, 30), 30);
	limit_spend(&l, 100);
	EQUAL(limit_allows(&l, 9000, 100000), 1000);
	EQUAL(store(&l, "all that was read is written\n"), 29);
	limit_opened(&l, 0, true);
	EQUAL(limit_allows(&l, 9000, 100000), 10); /* below the limit there is no rate */
}

static void rate_is_kept_over_time(void)
{
	static const uint64_t rates[] = { 1, 3, 7, 999, 65536, LOG_LIMIT_MAX };

	for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		struct log_limit l = { .hard = 1, .rate = rates[i], .policy = LOG_RATE };
		uint64_t read = 0;

		limit_opened(&l, 1, true);
		for (uint64_t now = 1000; now < 101000; now += i % 2 ? 1 : 7) {
			size_t n = limit_allows(&l, now, SIZE_MAX);

			limit_spend(&l, n);
			read += n;
		}
		/* A hundred seconds, and the second that it began with; rounding costs at most one part in twenty. */
		EQUAL(read <= rates[i] * 101, true);
		EQUAL(read + 1 >= rates[i] * 95, true);
	}
}

int main(void)
{
	no_limit();
	soft_once_per_file();
	drop_keeps_whole_records();
	block_waits_for_a_file();
	rate_is_a_bucket();
	rate_is_kept_over_time();
	return failed;
}
