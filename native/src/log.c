#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "sys.h"

/* "2026-01-02T03:04:05.000000006Z stdout F " */
enum { HEADER = 40, DATE = 20, TAG = 38, OUT = 512 * 1024 };

static char out[OUT] __attribute__((aligned(4096)));

/* One call's output: records wait in `out` until it is full or the call ends. */
struct batch {
	struct log *log;
	size_t length;
	char header[HEADER];
};

/* Days since 1970 to a date of the Gregorian calendar, whose years begin in March here. */
static void civil(int64_t days, int *year, int *month, int *day)
{
	int64_t shifted = days + 719468;
	int64_t era = shifted / 146097;
	int64_t of_era = shifted % 146097;
	int64_t years = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	int64_t of_year = of_era - (365 * years + years / 4 - years / 100);
	int64_t index = (5 * of_year + 2) / 153;

	*day = (int)(of_year - (153 * index + 2) / 5 + 1);
	*month = (int)(index < 10 ? index + 3 : index - 9);
	*year = (int)(years + era * 400 + (*month <= 2));
}

static void put_digits(char *to, int count, long value)
{
	while (count-- > 0) {
		to[count] = (char)('0' + value % 10);
		value /= 10;
	}
}

static void make_header(char header[HEADER], const char *stream)
{
	static time_t cached = -1;
	static char date[DATE + 1] = "0000-00-00T00:00:00.";
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	if (now.tv_sec != cached) {
		int year;
		int month;
		int day;

		civil(now.tv_sec / 86400, &year, &month, &day);
		put_digits(date, 4, year);
		put_digits(date + 5, 2, month);
		put_digits(date + 8, 2, day);
		put_digits(date + 11, 2, now.tv_sec % 86400 / 3600);
		put_digits(date + 14, 2, now.tv_sec % 3600 / 60);
		put_digits(date + 17, 2, now.tv_sec % 60);
		cached = now.tv_sec;
	}
	memcpy(header, date, DATE);
	put_digits(header + DATE, 9, now.tv_nsec);
	memcpy(header + DATE + 9, "Z ", 2);
	memcpy(header + DATE + 11, stream, 6);
	memcpy(header + TAG - 1, " F ", 3);
}

/* Cuts half a record off the end of the file, so that the next one is not glued to it. */
static int repair(struct log *log)
{
	if (!log->torn)
		return 0;
	if (ftruncate(log->fd, log->good) < 0)
		return errno;
	log->torn = false;
	return 0;
}

/* Accounts for the records in `out` of which only `done` bytes reached the file. */
static void lose(struct log *log, size_t done, size_t length, int error)
{
	const char *last = memrchr(out, '\n', done);
	size_t at = last ? (size_t)(last - out) + 1 : 0;
	struct stat st;

	if (done > at && fstat(log->fd, &st) == 0) {
		log->torn = true;
		log->good = st.st_size - (off_t)(done - at);
		(void)repair(log);
	}
	while (at < length) {
		const char *end = memchr(out + at, '\n', length - at);
		size_t next = (size_t)(end - out) + 1;

		log->episode += next - at - HEADER - (out[at + TAG] == 'P');
		log->lost += next - at - HEADER - (out[at + TAG] == 'P');
		at = next;
	}
	if (log->error == 0)
		log->news |= LOG_FAILED;
	log->error = error;
}

static void flush(struct batch *b)
{
	struct log *log = b->log;
	bool waiting = log->error != 0 && sys_monotonic_ms() < log->retry_at;
	int error = waiting ? log->error : repair(log);
	size_t done = 0;

	while (!error && done < b->length) {
		ssize_t n = write(log->fd, out + done, b->length - done);

		if (n > 0)
			done += (size_t)n;
		else if (n == 0 || errno != EINTR)
			error = n == 0 ? EIO : errno;
	}
	if (error) {
		if (log->error == 0)
			log->episode = 0;
		if (!waiting)
			log->retry_at = sys_monotonic_ms() + LOG_RETRY_MS;
		lose(log, done, b->length, error);
	} else if (log->error != 0) {
		log->error = 0;
		log->news |= LOG_RECOVERED;
	}
	b->length = 0;
}

static void put(struct batch *b, char tag, const struct log_stream *s, const char *text, size_t length)
{
	char *at;

	if (b->length + HEADER + s->length + length + 1 > OUT)
		flush(b);
	at = out + b->length;
	memcpy(at, b->header, HEADER);
	at[TAG] = tag;
	at += HEADER;
	if (s->length > 0)
		memcpy(at, s->tail, s->length);
	at += s->length;
	memcpy(at, text, length);
	at[length] = '\n';
	b->length = (size_t)(at - out) + length + 1;
}

/* Writes partial records until tail and text fit into one. */
static void cut(struct batch *b, struct log_stream *s, const char **text, size_t *length)
{
	while (s->length + *length > LOG_PIECE) {
		size_t part = LOG_PIECE - s->length;

		put(b, 'P', s, *text, part);
		s->length = 0;
		*text += part;
		*length -= part;
	}
}

void log_write(struct log *log, struct log_stream *s, const char *data, size_t length)
{
	struct batch b = { .log = log };
	const char *end = data + length;
	const char *feed;

	if (log_make(log) < 0 || log->fd < 0)
		return;
	make_header(b.header, s->name);
	while (data < end && (feed = memchr(data, '\n', (size_t)(end - data)))) {
		size_t line = (size_t)(feed - data);

		cut(&b, s, &data, &line);
		put(&b, 'F', s, data, line);
		s->length = 0;
		data = feed + 1;
	}
	length = (size_t)(end - data);
	cut(&b, s, &data, &length);
	if (length > 0)
		memcpy(s->tail + s->length, data, length);
	s->length += (uint32_t)length;
	if (b.length > 0)
		flush(&b);
}

void log_flush(struct log *log, struct log_stream *s)
{
	struct batch b = { .log = log };

	if (log->fd < 0 || s->length == 0)
		return;
	make_header(b.header, s->name);
	put(&b, 'P', s, "", 0);
	s->length = 0;
	flush(&b);
}

/* `more` is O_CREAT, or 0 for a file that must be there. */
static int open_file(const char *path, int more)
{
	const char *slash = strrchr(path, '/');
	char parent[PATH_MAX];
	struct stat st;
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
	if (fd >= 0 && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))) {
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

int log_open(struct log *log, const char *path)
{
	int fd;

	log->fd = -1;
	log->error = 0;
	log->news = 0;
	log->torn = false;
	log->lost = 0;
	log->episode = 0;
	(void)snprintf(log->path, sizeof(log->path), "%s", path);
	if (path[0] == 0)
		return 0;
	fd = open_file(path, 0);
	if (fd == -ENOENT && folder_exists(path))
		return 0;
	log->fd = fd < 0 ? -1 : fd;
	return fd < 0 ? fd : 0;
}

int log_make(struct log *log)
{
	int fd;

	if (log->fd >= 0 || log->path[0] == 0)
		return 0;
	fd = open_file(log->path, O_CREAT);
	log->fd = fd < 0 ? -1 : fd;
	return fd < 0 ? fd : 0;
}

int log_reopen(struct log *log, uint64_t *inode)
{
	struct stat st;
	int fd;

	*inode = 0;
	if (log->path[0] == 0)
		return 0;
	fd = open_file(log->path, O_CREAT);
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) == 0)
		*inode = st.st_ino;
	(void)repair(log);
	(void)close(log->fd);
	log->fd = fd;
	log->torn = false;
	log->retry_at = 0;
	return 0;
}

void log_close(struct log *log)
{
	if (log->fd >= 0)
		(void)close(log->fd);
	log->fd = -1;
	log->path[0] = 0;
}

void log_give_back(void)
{
	(void)madvise(out, OUT, MADV_DONTNEED);
}
