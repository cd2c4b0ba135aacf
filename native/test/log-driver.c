/*
 * A log by itself, for log.test.ts: log-driver PATH. Standard input is records of a kind (0 write, 1 flush), a stream (1
 * stdout, 2 stderr), a length (u32) and so many bytes; its end flushes both streams and closes the log.
 */
#include <stdio.h>
#include <string.h>

#include "log.h"

static char data[2 * 1024 * 1024];
static char tails[2][LOG_PIECE];

int main(int argc, char **argv)
{
	static struct log log;
	struct log_stream streams[2] = { { .name = "stdout", .tail = tails[0] }, { .name = "stderr", .tail = tails[1] } };
	uint8_t head[6];

	if (argc != 2 || log_open(&log, argv[1]) < 0)
		return 2;
	while (fread(head, sizeof(head), 1, stdin) == 1) {
		uint32_t length;

		memcpy(&length, head + 2, sizeof(length));
		if (head[1] < 1 || head[1] > 2 || length > sizeof(data) || fread(data, 1, length, stdin) != length)
			return 2;
		if (head[0] == 0)
			log_write(&log, &streams[head[1] - 1], data, length);
		else
			log_flush(&log, &streams[head[1] - 1]);
	}
	for (int i = 0; i < 2; i++)
		log_end(&log, &streams[i]);
	log_close(&log);
	return log.lost == 0 && log.error == 0 ? 0 : 1;
}
