/* The second exit record of a container: on a disk, for what asks after a reboot. It may be slow, or fail; then there is none. */
#include <fcntl.h>
#include <unistd.h>

#include "pump.h"

void copy_write(const struct outlet *o)
{
	int fd;

	pump_enter(NULL);
	fd = open(o->copy_path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
	if (fd >= 0) {
		/* A torn one is none: its checksum says so. */
		(void)!pwrite(fd, o->copy, sizeof(o->copy), 0);
		(void)fdatasync(fd);
		(void)close(fd);
	}
	pump_leave();
}

void copy_remove(const struct outlet *o)
{
	pump_enter(NULL);
	(void)unlink(o->copy_path);
	pump_leave();
}
