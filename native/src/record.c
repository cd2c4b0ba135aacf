#include "record.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "crc.h"
#include "wire.h"

static int path_of(const char *dir, const char *id, char path[PATH_MAX])
{
	int n = snprintf(path, PATH_MAX, "%s/%s.exit", dir, id);

	return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

/* Once more when it failed: what is written here is not said again, and a disk may have hiccups. */
static int put(int fd, const uint8_t bytes[RECORD_SIZE])
{
	int r = -EIO;

	for (int attempt = 0; attempt < 3 && r < 0; attempt++) {
		ssize_t n = pwrite(fd, bytes, RECORD_SIZE, 0);

		r = n < 0 ? -errno : n == RECORD_SIZE ? 0 : -EIO;
	}
	return r;
}

int record_create(const char *dir, const char *id)
{
	static const uint8_t zeros[RECORD_SIZE];
	char path[PATH_MAX];
	int r = path_of(dir, id, path);
	int fd;

	if (r < 0)
		return r;
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	r = put(fd, zeros);
	if (r < 0) {
		(void)close(fd);
		(void)unlink(path);
		return r;
	}
	return fd;
}

void record_encode(const struct status *status, uint8_t bytes[RECORD_SIZE])
{
	struct writer w = wire_writer(bytes, RECORD_SIZE);
	bool exited = status->state == STATE_EXITED;

	memset(bytes, 0, RECORD_SIZE);
	memcpy(bytes, "NCLEXIT1", 8);
	w.length = 8;
	wire_put_u16(&w, exited ? STATE_EXITED : STATE_CREATED);
	wire_put_u16(&w, 0);
	wire_put_u32(&w, (uint32_t)status->pid);
	wire_put_u64(&w, status->start_time);
	wire_put_i32(&w, status->end_code);
	wire_put_i32(&w, status->end_status);
	wire_put_u64(&w, status->created_ns);
	wire_put_u64(&w, status->started_ns);
	wire_put_u64(&w, status->exited_ns);
	wire_put_u64(&w, status->oom_kills);
	wire_put_u64(&w, status->log_lost);
	memcpy(bytes + w.length, status->id, strnlen(status->id, CONTAINER_ID_MAX));
	w.length += CONTAINER_ID_MAX;
	wire_put_u64(&w, status->log_lost_lines);
	wire_put_u64(&w, status->ooms);
	wire_put_u64(&w, status->oom_group_kills);
	w.length = RECORD_SIZE - 4;
	wire_put_u32(&w, crc32c(bytes, RECORD_SIZE - 4));
}

int record_write(int fd, const struct status *status)
{
	uint8_t bytes[RECORD_SIZE];

	record_encode(status, bytes);
	return put(fd, bytes);
}

void record_remove(const char *dir, const char *id)
{
	char path[PATH_MAX];

	if (path_of(dir, id, path) == 0)
		(void)unlink(path);
}
