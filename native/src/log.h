/*
 * The CRI log of a container. Knows no loop, no pipe and no protocol, and keeps going whatever the file system says.
 * Not for two threads at once: all logs share one output buffer.
 */
#ifndef NACELLE_LOG_H
#define NACELLE_LOG_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
	LOG_PIECE = 16384,      /* the longest text of one record */
	LOG_TAIL_MS = 1000,     /* how long a line may stay without its line feed */
	LOG_RETRY_MS = 100,     /* between two attempts on a file that failed */
};

enum log_news { LOG_FAILED = 1, LOG_RECOVERED = 2 };

struct log_stream {
	const char *name; /* "stdout" or "stderr": both have six letters, and so every header 40 bytes */
	char *tail;       /* LOG_PIECE bytes, lent by the owner */
	uint32_t length;  /* of the line that has no line feed yet */
};

struct log {
	int fd;             /* -1: what is written is discarded */
	int error;          /* errno of the failure that lasts, else 0 */
	unsigned news;      /* enum log_news since the caller last cleared it */
	bool torn;          /* the file ends amid a record and must be cut to `good` before the next one */
	off_t good;
	uint64_t retry_at;
	uint64_t lost;      /* bytes of text that never reached the file, in all */
	uint64_t episode;   /* the same since the failure began; of the last one once recovered */
	char path[PATH_MAX];
};

/*
 * Takes a file that is there; one that is not is made by log_make, or with the first output: a kubelet counts the log
 * files of a container as its restarts. 0; or -errno if it could not be made either. An empty path discards.
 */
int log_open(struct log *log, const char *path);
/* 0 or -errno. */
int log_make(struct log *log);
/* Opens the path anew and leaves the old file, at a record boundary. On -errno the old file stays in use. */
int log_reopen(struct log *log, uint64_t *inode);
/* Appends what was read from a stream; keeps a last line without line feed in the stream's tail. */
void log_write(struct log *log, struct log_stream *stream, const char *data, size_t length);
/* Writes the tail, if there is one, as a partial record. */
void log_flush(struct log *log, struct log_stream *stream);
void log_close(struct log *log);
/* Returns the output buffer's memory to the kernel until it is needed again. */
void log_give_back(void);

#endif
