#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "sys.h"

/* `more` is O_CREAT, or 0 for a file that must be there. Fills `st`. */
static int open_file(const char *path, int more, struct stat *st)
{
	const char *slash = strrchr(path, '/');
	char parent[PATH_MAX];
	int dir;
	int fd;

	if (path[0] != '/' || slash[1] == 0)
		return -EINVAL;
	(void)snprintf(parent, sizeof(parent), "%.*s/", (int)(slash - path), path);
	dir = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return -errno;
	fd = openat(dir, slash + 1, O_WRONLY | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | more, 0640);
	if (fd < 0)
		fd = -errno;
	(void)close(dir);
	if (fd >= 0 && (fstat(fd, st) < 0 || !S_ISREG(st->st_mode))) {
		(void)close(fd);
		return -EINVAL;
	}
	return fd;
}

static bool folder_exists(const char *path)
{
	char parent[PATH_MAX];
	struct stat st;

	(void)snprintf(parent, sizeof(parent), "%.*s/", (int)(strrchr(path, '/') - path), path);
	return stat(parent, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Takes over a file that was opened. */
static void take(struct log *log, int fd, uint64_t size, bool another)
{
	log->fd = fd;
	limit_opened(&log->limit, size, another);
	log->news |= limit_settle(&log->limit);
}

int log_open(struct log *log, const char *path)
{
	struct stat st;
	int fd;

	log->fd = -1;
	log->error = 0;
	log->news = 0;
	log->torn = false;
	log->retry_at = 0;
	log->lost = 0;
	log->lost_lines = 0;
	log->limit = (struct log_limit){ .soft = log->limit.soft, .hard = log->limit.hard, .rate = log->limit.rate,
					 .policy = log->limit.policy };
	if (path != log->path)
		(void)snprintf(log->path, sizeof(log->path), "%s", path);
	if (path[0] == 0)
		return 0;
	fd = open_file(path, 0, &st);
	if (fd == -ENOENT && folder_exists(path))
		return 0;
	if (fd < 0)
		return fd;
	take(log, fd, (uint64_t)st.st_size, true);
	return 0;
}

int log_make(struct log *log)
{
	struct stat st;
	int fd;

	if (log->fd >= 0 || log->path[0] == 0)
		return 0;
	fd = open_file(log->path, O_CREAT, &st);
	if (fd < 0)
		return fd;
	take(log, fd, (uint64_t)st.st_size, true);
	return 0;
}

/* Cuts half a record off the end of the file, so that the next one is not glued to it. */
static int repair(struct log *log)
{
	struct stat st;

	if (!log->torn)
		return 0;
	if (fstat(log->fd, &st) < 0 || (st.st_size > log->good && ftruncate(log->fd, log->good) < 0))
		return errno;
	log->torn = false;
	log->limit.size = (uint64_t)(st.st_size < log->good ? st.st_size : log->good);
	return 0;
}

int log_next_open(struct log *log, struct log_next *next)
{
	struct stat old;
	struct stat st;

	*next = (struct log_next){ .fd = -1 };
	if (log->path[0] == 0)
		return 0;
	next->fd = open_file(log->path, O_CREAT, &st);
	if (next->fd < 0)
		return next->fd;
	next->inode = st.st_ino;
	next->same = log->fd >= 0 && fstat(log->fd, &old) == 0 && old.st_ino == st.st_ino && old.st_dev == st.st_dev;
	(void)repair(log);
	next->size = fstat(next->fd, &st) < 0 ? 0 : (uint64_t)st.st_size;
	return 0;
}

int log_next_take(struct log *log, const struct log_next *next)
{
	int old = log->fd;

	if (next->fd < 0)
		return -1;
	/* What could not be repaired stays as it is, unless there are more records to come to it. */
	if (!next->same)
		log->torn = false;
	take(log, next->fd, next->size, !next->same);
	log->retry_at = 0;
	return old;
}

void log_close(struct log *log)
{
	(void)repair(log);
	if (log->fd >= 0)
		(void)close(log->fd);
	log->fd = -1;
	log->path[0] = 0;
}

/* A write has failed after `done` bytes, of which `whole` are whole records. */
static void fail(struct log *log, int error, size_t done, size_t whole)
{
	struct stat st;

	log->limit.size += whole;
	if (done > whole) {
		/* Others may have emptied the file, so that its size is not what was written. */
		log->good = fstat(log->fd, &st) == 0 ? st.st_size - (off_t)(done - whole) : (off_t)log->limit.size;
		log->torn = true;
		(void)repair(log);
	}
	if (log->error == 0 && !(log->news & LOG_RECOVERED)) {
		log->news |= LOG_FAILED;
		log->episode = 0;
		log->episode_lines = 0;
	}
	log->news &= ~(unsigned)LOG_RECOVERED; /* which nobody was told: it is the same episode */
	log->error = error;
	log->reason = error;
	log->retry_at = sys_monotonic_ms() + LOG_RETRY_MS;
}

/* A full file that somebody has emptied, instead of rotating it, is not full any more. */
static void look_again(struct log *log)
{
	struct stat st;

	if (!log->limit.full || log->fd < 0 || sys_monotonic_ms() < log->retry_at)
		return;
	log->retry_at = sys_monotonic_ms() + LOG_RETRY_MS;
	if (fstat(log->fd, &st) == 0 && (uint64_t)st.st_size < log->limit.size)
		limit_opened(&log->limit, (uint64_t)st.st_size, true);
}

size_t log_store(struct log *log, const char *records, size_t length)
{
	size_t done = 0;
	int error;

	if (log->error != 0 && sys_monotonic_ms() < log->retry_at)
		return 0;
	look_again(log);
	error = -log_make(log);
	if (!error)
		error = repair(log);
	if (!error)
		length = limit_room(&log->limit, records, length);
	while (!error && done < length) {
		ssize_t n = write(log->fd, records + done, length - done);

		if (n > 0)
			done += (size_t)n;
		else if (n == 0 || errno != EINTR)
			error = n == 0 ? EIO : errno;
	}
	if (error) {
		const char *last = memrchr(records, '\n', done);
		size_t whole = last ? (size_t)(last - records) + 1 : 0;

		fail(log, error, done, whole);
		return whole;
	}
	log->limit.size += done;
	if (done > 0 && log->error != 0) {
		log->error = 0;
		log->news |= LOG_RECOVERED;
	}
	return done;
}
