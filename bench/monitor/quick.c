/* quick … --pid-file FILE …: does what a monitor sees of `exec --detach` in one fork: a process that is its child's child
 * and ends at once, and its id in FILE. The runtime does not reap it. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	const char *path = NULL;
	for (int i = 1; i + 1 < argc; i++)
		if (strcmp(argv[i], "--pid-file") == 0)
			path = argv[i + 1];
	int fd = path == NULL ? -1 : open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	pid_t pid = fd < 0 ? -1 : fork();
	if (pid == 0)
		_exit(0);
	return pid < 0 || dprintf(fd, "%d", (int)pid) < 0;
}
