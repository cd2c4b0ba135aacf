#include "log.h"

#include <string.h>
#include <sys/mman.h>
#include <time.h>

/* Of the header: up to the dot, and where the stream's name begins. */
enum { DATE = 20, NAME = 31 };

static char out[LOG_BATCH] __attribute__((aligned(4096)));

/* One call's output: records wait in `out` until it is full or the call ends. */
struct batch {
	struct log *log;
	struct log_stream *stream;
	size_t length;
	char header[LOG_HEADER];
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

static void make_header(char header[LOG_HEADER], const char *stream)
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
	memcpy(header + NAME, stream, 6);
	memcpy(header + LOG_TAG - 1, " F ", 3);
}

/* Accounts for the records in `out` of which only `kept` bytes are in the file. */
static void account(struct batch *b, size_t kept)
{
	struct log *log = b->log;
	uint64_t bytes = 0;
	uint64_t lines = 0;
	size_t next;

	for (size_t at = 0; at < b->length; at = next) {
		const char *end = memchr(out + at, '\n', b->length - at);
		bool whole = out[at + LOG_TAG] == 'F';

		next = (size_t)(end - out) + 1;
		if (at >= kept) {
			bytes += next - at - LOG_HEADER - (whole ? 0 : 1);
			lines += b->stream->lost ? 0 : 1;
			b->stream->lost = true;
		}
		if (whole)
			b->stream->lost = false;
	}
	log->lost += bytes;
	log->lost_lines += lines;
	if (log->error != 0) {
		log->episode += bytes;
		log->episode_lines += lines;
	}
}

static void flush(struct batch *b)
{
	size_t kept = log_store(b->log, out, b->length);

	if (kept < b->length || b->stream->lost)
		account(b, kept);
	b->length = 0;
}

/* The end of a call. */
static void finish(struct batch *b)
{
	if (b->length > 0)
		flush(b);
	b->log->news |= limit_settle(&b->log->limit);
}

static void put(struct batch *b, char tag, const char *text, size_t length)
{
	const struct log_stream *s = b->stream;
	char *at;

	if (b->length + LOG_HEADER + s->length + length + 1 > LOG_BATCH)
		flush(b);
	at = out + b->length;
	memcpy(at, b->header, LOG_HEADER);
	at[LOG_TAG] = tag;
	at += LOG_HEADER;
	if (s->length > 0)
		memcpy(at, s->tail, s->length);
	at += s->length;
	memcpy(at, text, length);
	at[length] = '\n';
	b->length = (size_t)(at - out) + length + 1;
	b->stream->length = 0;
}

/* Writes partial records until tail and text fit into one. */
static void cut(struct batch *b, const char **text, size_t *length)
{
	while (b->stream->length + *length > LOG_PIECE) {
		size_t part = LOG_PIECE - b->stream->length;

		put(b, 'P', *text, part);
		*text += part;
		*length -= part;
	}
}

void log_write(struct log *log, struct log_stream *s, const char *data, size_t length)
{
	struct batch b = { .log = log, .stream = s };
	const char *end = data + length;
	const char *feed;

	if (log->path[0] == 0)
		return;
	make_header(b.header, s->name);
	while (data < end && (feed = memchr(data, '\n', (size_t)(end - data)))) {
		size_t line = (size_t)(feed - data);

		cut(&b, &data, &line);
		put(&b, 'F', data, line);
		data = feed + 1;
	}
	length = (size_t)(end - data);
	cut(&b, &data, &length);
	if (length > 0)
		memcpy(s->tail + s->length, data, length);
	s->length += (uint32_t)length;
	finish(&b);
}

void log_flush(struct log *log, struct log_stream *s)
{
	if (!limit_holds(&log->limit))
		log_end(log, s);
}

void log_end(struct log *log, struct log_stream *s)
{
	struct batch b = { .log = log, .stream = s };

	if (log->path[0] == 0 || s->length == 0)
		return;
	make_header(b.header, s->name);
	put(&b, 'P', "", 0);
	finish(&b);
}

void log_give_back(void)
{
	(void)madvise(out, LOG_BATCH, MADV_DONTNEED);
}
