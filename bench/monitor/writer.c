/* writer BYTES LINE CHUNK [numbered]: prints lines of LINE bytes in writes of CHUNK bytes, BYTES in all, as fast as it can.
 * Numbered lines hold their number in decimal, so that none can be lost, doubled or out of order unseen. Without arguments it
 * is a reader that throws all away, has as large a pipe as can be and leaves the writer alone. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST = 1 << 20 };
static char buffer[MOST];

static int put(const char *from, size_t count)
{
	while (count > 0) {
		ssize_t written = write(1, from, count);
		if (written < 0)
			return -1;
		from += written;
		count -= (size_t)written;
	}
	return 0;
}

/* Adds one to the decimal number that ends before the line's feed. */
static void count_up(char *line, size_t length)
{
	for (size_t at = length - 1; at-- > 0;) {
		if (line[at] != '9') {
			line[at]++;
			return;
		}
		line[at] = '0';
	}
}

static int numbered(unsigned long long lines, size_t length, size_t chunk)
{
	char line[4096];
	size_t used = 0;
	memset(line, '0', length);
	line[length - 1] = '\n';
	for (unsigned long long i = 0; i < lines; i++) {
		memcpy(buffer + used, line, length);
		used += length;
		count_up(line, length);
		if (used + length > chunk || i + 1 == lines) {
			if (put(buffer, used) < 0)
				return 1;
			used = 0;
		}
	}
	return 0;
}

static int drain(void)
{
	ssize_t got;
	(void)fcntl(0, F_SETPIPE_SZ, MOST);
	/* Not at once again: the two would take turns for each write. */
	while ((got = read(0, buffer, MOST)) > 0)
		if (got < MOST / 4)
			(void)usleep(200);
	return got < 0;
}

int main(int argc, char **argv)
{
	if (argc == 1)
		return drain();
	if (argc < 4)
		return 2;
	unsigned long long bytes = strtoull(argv[1], NULL, 10);
	size_t length = strtoul(argv[2], NULL, 10), chunk = strtoul(argv[3], NULL, 10);
	if (length < 2 || length > 4096 || chunk < length || chunk > MOST / 2)
		return 2;
	if (argc > 4)
		return numbered(bytes / length, length, chunk);
	/* Twice a chunk, so that each write may begin where the last one left its line. */
	for (size_t at = 0; at < MOST; at++)
		buffer[at] = at % length == length - 1 ? '\n' : 'x';
	size_t begin = 0;
	while (bytes > 0) {
		size_t count = bytes < chunk ? (size_t)bytes : chunk;
		if (put(buffer + begin, count) < 0)
			return 1;
		bytes -= count;
		begin = (begin + count) % length;
	}
	return 0;
}
