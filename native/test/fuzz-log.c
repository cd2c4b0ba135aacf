/*
 * Feeds a log with arbitrary text in arbitrary pieces while its file fails in arbitrary ways: writes that are short or
 * refused, truncation and opening that are refused, rotations, files emptied by others, limits. After each call the
 * file must consist of whole valid records, which are the first ones of what a simpler formatter makes of the same text,
 * and all the others must have been counted as lost. The wrapped functions are named in the Makefile.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"
#include "log.h"

enum { CHUNK = 256 * 1024, TEXT = CHUNK + LOG_PIECE, OPERATIONS = 400 };

ssize_t __real_write(int fd, const void *data, size_t length);
int __real_ftruncate(int fd, off_t length);
int __real_openat(int dir, const char *path, int flags, mode_t mode);
ssize_t __wrap_write(int fd, const void *data, size_t length);
int __wrap_ftruncate(int fd, off_t length);
int __wrap_openat(int dir, const char *path, int flags, mode_t mode);
uint64_t __wrap_sys_monotonic_ms(void);

static char folder[64] = "/tmp/nacelle-fuzz.XXXXXX";
static char path[80];
static char rotated[96];
static uint64_t now = 1000;

/* What the file system does: `error` 0 is well. */
static struct {
	int error;
	bool shortens;     /* takes a part before it fails */
	bool opens;        /* whatever else fails */
	bool cuts;
	bool uncut;        /* the last truncation was refused */
	bool failed;       /* in this call of the log's */
	uint64_t failed_at;
	bool tries_at_once; /* the file was reopened since */
} disk;

/* One stream as it should be. */
struct model {
	struct log_stream stream;
	char held[LOG_PIECE];
	char tail[LOG_PIECE];
	size_t length;
	bool lost;
};

static struct record {
	char tag;
	size_t at;
	size_t length;
} expected[TEXT];
static size_t count;
static char text[TEXT];

static struct log log_file;
static struct model streams[2];
static struct {
	uint64_t taken;   /* bytes of text, in all */
	uint64_t kept;
	uint64_t lost;
	uint64_t lines;
	uint64_t episode; /* as far as it should be told */
	uint64_t episode_lines;
	bool failing;
	unsigned told;    /* limits, for this file */
} sums;
static off_t verified; /* so much of the present file was looked at */
static char content[TEXT + (size_t)TEXT * LOG_HEADER + TEXT];

uint64_t __wrap_sys_monotonic_ms(void)
{
	return now;
}

static int fail_with(int error)
{
	CHECK(disk.tries_at_once || disk.failed || disk.failed_at == 0 || now >= disk.failed_at + LOG_RETRY_MS);
	disk.failed = true;
	disk.failed_at = now;
	disk.tries_at_once = false;
	errno = error;
	return -1;
}

ssize_t __wrap_write(int fd, const void *data, size_t length)
{
	if (fd != log_file.fd)
		return __real_write(fd, data, length);
	if (fuzz_once_in(50)) {
		errno = EINTR;
		return -1;
	}
	if (disk.error && !disk.shortens)
		return fail_with(disk.error);
	if (disk.error || fuzz_once_in(8)) {
		disk.shortens = false;
		length = 1 + (size_t)fuzz_below(length);
	}
	return __real_write(fd, data, length);
}

int __wrap_ftruncate(int fd, off_t length)
{
	disk.uncut = disk.error && !disk.cuts;
	return disk.uncut ? fail_with(disk.error) : __real_ftruncate(fd, length);
}

int __wrap_openat(int dir, const char *name, int flags, mode_t mode)
{
	return disk.error && !disk.opens ? fail_with(disk.error) : __real_openat(dir, name, flags, mode);
}

static void expect(char tag, size_t at, size_t length)
{
	expected[count++] = (struct record){ .tag = tag, .at = at, .length = length };
}

/* What the records of this text should be, the tail of before included. */
static void format(struct model *m, const char *data, size_t length, bool flush)
{
	size_t all = m->length + length;
	size_t at = 0;

	count = 0;
	memcpy(text, m->tail, m->length);
	memcpy(text + m->length, data, length);
	for (size_t end = 0; end <= all; end++) {
		bool feed = end < all && text[end] == '\n';

		if (!feed && end < all)
			continue;
		for (; end - at > LOG_PIECE; at += LOG_PIECE)
			expect('P', at, LOG_PIECE);
		if (feed) {
			expect('F', at, end - at);
			at = end + 1;
		}
	}
	if (flush && at < all) {
		expect('P', at, all - at);
		at = all;
	}
	m->length = all - at;
	memcpy(m->tail, text + at, m->length);
}

static bool is_date(const char *s)
{
	static const char shape[] = "0000-00-00T00:00:00.000000000Z ";

	for (size_t i = 0; shape[i] != 0; i++)
		if (shape[i] == '0' ? s[i] < '0' || s[i] > '9' : s[i] != shape[i])
			return false;
	return true;
}

/* Reads what the file has gained and compares it with the first of the expected records. Returns how many there are. */
static size_t verify(const struct model *m)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t found = 0;
	size_t at = 0;
	ssize_t n = fd < 0 ? 0 : pread(fd, content, sizeof(content), verified);
	size_t whole = (size_t)n;

	CHECK(n >= 0 && (fd >= 0 || log_file.fd < 0));
	if (log_file.torn) { /* only while it cannot be repaired */
		CHECK(log_file.error && disk.uncut && log_file.good >= verified && log_file.good < verified + n);
		whole = (size_t)(log_file.good - verified);
	}
	while (at < whole) {
		const struct record *r = &expected[found++];

		CHECK(found <= count);
		CHECK(whole - at >= LOG_HEADER + r->length + 1);
		CHECK(is_date(content + at));
		CHECK(memcmp(content + at + 31, m->stream.name, 6) == 0);
		CHECK(content[at + 37] == ' ' && content[at + LOG_TAG] == r->tag && content[at + 39] == ' ');
		CHECK(r->length <= LOG_PIECE);
		CHECK(memcmp(content + at + LOG_HEADER, text + r->at, r->length) == 0);
		CHECK(content[at + LOG_HEADER + r->length] == '\n');
		at += LOG_HEADER + r->length + 1;
	}
	verified += (off_t)whole;
	if (fd >= 0)
		(void)close(fd);
	return found;
}

/* Adds up what became of the expected records, of which the first `found` are in the file. */
static void add_up(struct model *m, size_t found)
{
	uint64_t bytes = 0;
	uint64_t lines = 0;

	for (size_t i = 0; i < count; i++) {
		const struct record *r = &expected[i];
		size_t length = r->length + (r->tag == 'F');

		if (i < found) {
			sums.kept += length;
		} else {
			bytes += length;
			lines += !m->lost;
			m->lost = true;
		}
		if (r->tag == 'F')
			m->lost = false;
	}
	sums.lost += bytes;
	sums.lines += lines;
	if (log_file.error) {
		sums.episode += bytes;
		sums.episode_lines += lines;
	}
}

/* A failure and a recovery alternate, and each tells what was lost between them. */
static void take_news(void)
{
	unsigned news = log_file.news;

	log_file.news = 0;
	if (news & LOG_FAILED) {
		CHECK(!sums.failing && log_file.reason != 0);
		sums.failing = true;
	}
	if (news & LOG_RECOVERED) {
		CHECK(sums.failing && log_file.error == 0);
		CHECK(log_file.episode == sums.episode && log_file.episode_lines == sums.episode_lines);
		sums.failing = false;
		sums.episode = 0;
		sums.episode_lines = 0;
	}
	CHECK(sums.failing == (log_file.error != 0));
	for (unsigned bit = LIMIT_SOFT; bit <= LIMIT_HARD; bit <<= 1) {
		if (!(news & bit))
			continue;
		CHECK(!(sums.told & bit));
		sums.told |= bit;
	}
}

static void look(struct model *m)
{
	const struct log_limit *limit = &log_file.limit;
	bool full = limit->full;
	size_t found = verify(m);

	add_up(m, found);
	CHECK(log_file.lost == sums.lost && log_file.lost_lines == sums.lines);
	CHECK(m->stream.length == m->length);
	CHECK(sums.taken == sums.kept + sums.lost + streams[0].length + streams[1].length);
	CHECK(limit->hard == 0 || limit->policy != LOG_DROP || verified <= (off_t)limit->hard || found == 0);
	CHECK(found == count || log_file.error || full);
	CHECK(log_file.error || (off_t)limit->size == verified);
	take_news();
	disk.failed = false;
	if (log_file.error == 0)
		disk.failed_at = 0;
}

/* Lines of lengths that matter, or many short ones, which make several batches; of letters that show where they are from. */
static void write_some(struct model *m)
{
	static char data[CHUNK];
	static unsigned letter;
	bool many = fuzz_once_in(20);
	size_t length = many ? CHUNK : fuzz_size(LOG_PIECE, CHUNK);
	size_t each = (size_t)fuzz_below(40);

	for (size_t at = 0; at < length;) {
		size_t line = many && at > 0 ? each : fuzz_size(LOG_PIECE, LOG_PIECE * 3);

		if (line > length - at)
			line = length - at;
		memset(data + at, (int)(letter++ % 2 ? letter % 256 == '\n' ? 0 : letter % 256 : 'a' + letter % 26), line);
		at += line;
		if (at < length && (many || !fuzz_once_in(5)))
			data[at++] = '\n';
	}
	format(m, data, length, false);
	sums.taken += length;
	log_write(&log_file, &m->stream, data, length);
	look(m);
}

static void flush_tail(struct model *m, bool last)
{
	format(m, "", 0, last || !limit_holds(&log_file.limit));
	if (last)
		log_end(&log_file, &m->stream);
	else
		log_flush(&log_file, &m->stream);
	look(m);
}

static void change_disk(void)
{
	static const int errors[] = { ENOSPC, EDQUOT, EIO, EROFS };

	disk.error = fuzz_once_in(2) ? 0 : errors[fuzz_below(4)];
	disk.shortens = fuzz_once_in(2);
	disk.opens = !fuzz_once_in(4);
	disk.cuts = !fuzz_once_in(4);
}

/* As a kubelet does it, or as somebody who forgets to move the old file away. */
static void rotate(void)
{
	bool moved = fuzz_once_in(2) && rename(path, rotated) == 0;
	bool torn = log_file.torn;
	uint64_t failed_at = disk.failed_at;
	bool at_once = disk.tries_at_once;
	struct log_next next;
	struct stat st;
	int left;
	int r;

	disk.failed = true; /* it does not wait until the next attempt is due */
	r = log_next_open(&log_file, &next);
	if (r == 0 && fuzz_once_in(8)) {
		r = -ECANCELED; /* nobody waits for it any more */
		(void)close(next.fd);
	} else if (r == 0) {
		left = log_next_take(&log_file, &next);
		if (left >= 0)
			(void)close(left);
	}
	disk.failed = false;
	disk.failed_at = failed_at;
	disk.tries_at_once = at_once || r == 0;
	if (r == 0) {
		CHECK(stat(path, &st) == 0 && st.st_ino == next.inode);
		/* The last record of the file that is left is as whole as it could be made. */
		CHECK(!moved || !log_file.torn);
		CHECK(moved || torn || !log_file.torn);
	} else if (moved) {
		CHECK(rename(rotated, path) == 0);
		moved = false;
	}
	if (moved) {
		verified = 0;
		sums.told = 0;
		CHECK(unlink(rotated) == 0);
	}
	count = 0;
	look(&streams[0]);
}

/* Somebody makes room by emptying the file. */
static void empty(void)
{
	if (log_file.torn || log_file.fd < 0)
		return;
	CHECK(truncate(path, 0) == 0);
	verified = 0;
	log_file.limit.size = 0; /* it is told when it is full, and need not know before */
	sums.told = 0;
	log_file.limit.told = 0;
	log_file.limit.full = false;
}

static void limit_some(void)
{
	static const enum log_policy policies[] = { LOG_DROP, LOG_BLOCK, LOG_RATE };

	log_file.limit.policy = policies[fuzz_below(3)];
	log_file.limit.rate = 1 + fuzz_below(1000000);
	log_file.limit.hard = fuzz_once_in(3) ? 0 : fuzz_below(500000);
	log_file.limit.soft = fuzz_once_in(3) ? 0 : fuzz_below(500000);
}

static void step(void)
{
	struct model *m = &streams[fuzz_below(2)];

	switch (fuzz_below(16)) {
	case 0:
		flush_tail(m, fuzz_once_in(4));
		break;
	case 1:
		change_disk();
		break;
	case 2:
		rotate();
		break;
	case 3:
		if (fuzz_once_in(4))
			empty();
		break;
	case 4:
	case 5:
		now += fuzz_below(150);
		break;
	default:
		write_some(m);
	}
}

static void round_of_log(void)
{
	(void)unlink(path);
	memset(&disk, 0, sizeof(disk));
	memset(&sums, 0, sizeof(sums));
	verified = 0;
	for (int i = 0; i < 2; i++)
		streams[i] = (struct model){ .stream = { .name = i == 0 ? "stdout" : "stderr", .tail = streams[i].held } };
	log_file.limit = (struct log_limit){ .soft = 0 };
	if (fuzz_once_in(2))
		limit_some();
	CHECK(log_open(&log_file, path) == 0);
	for (int i = 0; i < OPERATIONS; i++)
		step();
	disk.error = 0;
	now += LOG_RETRY_MS;
	for (int i = 0; i < 2; i++)
		flush_tail(&streams[i], true);
	CHECK(sums.taken == sums.kept + log_file.lost);
	log_close(&log_file);
}

int main(int argc, char **argv)
{
	int r;

	if (!mkdtemp(folder))
		return 1;
	(void)snprintf(path, sizeof(path), "%s/0.log", folder);
	(void)snprintf(rotated, sizeof(rotated), "%s/0.log.old", folder);
	r = fuzz_main(argc, argv, round_of_log);
	(void)unlink(path);
	(void)rmdir(folder);
	return r;
}
