/*
 * The CRI log of a container. Knows no loop, no pipe and no protocol, and keeps going whatever the file system says:
 * its text reaches the file in whole records, or is counted as lost.
 * Not for two threads at once: all logs share one output buffer.
 */
#ifndef NACELLE_LOG_H
#define NACELLE_LOG_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "log-limit.h"

enum {
	LOG_PIECE = 16384,      /* the longest text of one record */
	LOG_HEADER = 40,        /* "2026-01-02T03:04:05.000000006Z stdout F " */
	LOG_TAG = 38,           /* where in it the tag stands: F, or P for a part of a line */
	LOG_BATCH = 512 * 1024, /* what is written at once */
	LOG_TAIL_MS = 1000,     /* how long a line may stay without its line feed */
	LOG_RETRY_MS = 100,     /* between two attempts on a file that failed, and two looks at one that is full */
};

/* Of LOG_FAILED and LOG_RECOVERED together, which one call can bring, LOG_FAILED came first. */
enum log_news { LOG_FAILED = 1, LOG_RECOVERED = 2 };

struct log_stream {
	const char *name; /* "stdout" or "stderr": both have six letters, and so every header 40 bytes */
	char *tail;       /* LOG_PIECE bytes, lent by the owner */
	uint32_t length;  /* of the line that has no line feed yet */
	bool lost;        /* a part of that line was lost, and the line counted */
};

struct log {
	int fd;                  /* -1: there is no file yet */
	int error;               /* errno of the failure that lasts, else 0 */
	int reason;              /* errno of the last failure */
	unsigned news;           /* enum log_news and enum limit_reached, since the caller last cleared it */
	bool torn;               /* the file ends amid a record and must be cut to `good` before the next one */
	off_t good;
	uint64_t retry_at;
	uint64_t lost;           /* bytes of text that never reached the file, in all */
	uint64_t lost_lines;     /* lines of which something is missing; a line in several records counts once */
	uint64_t episode;        /* bytes lost since the failure began; of the last one once recovered */
	uint64_t episode_lines;
	struct log_limit limit;  /* what is the owner's of it is set before log_open */
	char path[PATH_MAX];     /* empty: what is written is discarded */
};

/*
 * Takes a file that is there; one that is not is made by log_make, or with the first output: a kubelet counts the log
 * files of a container as its restarts. 0; or -errno if it could not be made either. An empty path discards. It may be
 * there already.
 */
int log_open(struct log *log, const char *path);
/* 0 or -errno. */
int log_make(struct log *log);
/* A file that is to take the place of the one in use. */
struct log_next {
	int fd; /* -1: there is none, what is written is discarded */
	bool same;
	uint64_t inode;
	uint64_t size;
};
/* Opens the path anew. 0 or -errno; the old file stays in use in any case. */
int log_next_open(struct log *log, struct log_next *next);
/* Leaves the old file, which is at a record boundary, for this one. Waits for no disk. Returns its descriptor, or -1. */
int log_next_take(struct log *log, const struct log_next *next);
/* Appends what was read from a stream; keeps a last line without line feed in the stream's tail. */
void log_write(struct log *log, struct log_stream *stream, const char *data, size_t length);
/* Writes the tail, if there is one, as a partial record; not while the log waits for another file. */
void log_flush(struct log *log, struct log_stream *stream);
/* The same at the end of the stream, whatever the log waits for. */
void log_end(struct log *log, struct log_stream *stream);
void log_close(struct log *log);
/* Returns the output buffer's memory to the kernel until it is needed again. */
void log_give_back(void);

/* log-file.c, for log.c: appends whole records, and returns how many bytes of them are in the file, again whole records. */
size_t log_store(struct log *log, const char *records, size_t length);

#endif
