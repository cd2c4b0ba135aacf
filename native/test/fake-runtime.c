/*
 * What a monitor needs of an OCI runtime, in a millisecond and without namespaces:
 *   fake-runtime create GATE PIDFILE CONSOLE -- ARGV…   a child that waits at the FIFO GATE for `start`, then becomes ARGV
 *   fake-runtime start GATE
 *   fake-runtime exec [--cgroup=NAME] PIDFILE CONSOLE -- ARGV…
 * CONSOLE: the socket that the master of a terminal is sent to; "-": its output is ours. The child joins the cgroup $CGROUP, or
 * that of this name below it.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static _Noreturn void give_up(const char *what)
{
	perror(what);
	exit(1);
}

static void send_master(const char *path, int master)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct iovec part = { .iov_base = (char[]){ "t" }, .iov_len = 1 };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	control.header = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
	memcpy(CMSG_DATA(&control.header), &master, sizeof(int));
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || sendmsg(fd, &message, 0) < 0)
		give_up("console");
	(void)close(fd);
}

/* The slave becomes the child's terminal and its stdio. */
static void take_terminal(int master)
{
	int slave = ioctl(master, TIOCGPTPEER, O_RDWR);

	if (setsid() < 0 || slave < 0 || ioctl(slave, TIOCSCTTY, 0) < 0)
		give_up("terminal");
	for (int fd = 0; fd < 3; fd++)
		(void)dup2(slave, fd);
	(void)close(slave);
	(void)close(master);
}

static void join_cgroup(const char *name)
{
	const char *parent = getenv("CGROUP");
	char path[512];
	int fd;

	if (!parent)
		return;
	(void)snprintf(path, sizeof(path), "%s/%s/cgroup.procs", parent, name);
	fd = open(path, O_WRONLY);
	if (fd < 0 || write(fd, "0", 1) < 0)
		give_up(path);
	(void)close(fd);
}

static void spawn(const char *cgroup, const char *pid_file, const char *console, const char *gate, char **argv)
{
	int unlocked = 0;
	int master = -1;
	int joined[2];
	FILE *file;
	pid_t pid;

	if (strcmp(console, "-") != 0) {
		master = open("/dev/ptmx", O_RDWR | O_NOCTTY);
		if (master < 0 || ioctl(master, TIOCSPTLCK, &unlocked) < 0)
			give_up("ptmx");
		send_master(console, master);
	}
	if (pipe2(joined, O_CLOEXEC) < 0)
		give_up("pipe");
	pid = fork();
	if (pid == 0) {
		if (master >= 0)
			take_terminal(master);
		else
			(void)setsid();
		if (cgroup)
			join_cgroup(cgroup);
		(void)close(joined[1]);
		if (gate)
			(void)close(open(gate, O_RDONLY));
		(void)execv(argv[0], argv);
		give_up(argv[0]);
	}
	(void)close(joined[1]);
	(void)!read(joined[0], &unlocked, 1);
	file = pid < 0 ? NULL : fopen(pid_file, "w");
	if (!file || fprintf(file, "%d", pid) < 0 || fclose(file) != 0)
		give_up("pid file");
}

int main(int argc, char **argv)
{
	static const char option[] = "--cgroup=";
	const char *verb = argc > 1 ? argv[1] : "";

	if (strcmp(verb, "start") == 0 && argc == 3) {
		if (open(argv[2], O_WRONLY) < 0)
			give_up("start");
	} else if (strcmp(verb, "create") == 0 && argc > 6) {
		if (mkfifo(argv[2], 0600) < 0)
			give_up("gate");
		spawn("", argv[3], argv[4], argv[2], argv + 6);
	} else if (strcmp(verb, "exec") == 0 && argc > 6 && strncmp(argv[2], option, strlen(option)) == 0) {
		spawn(argv[2] + strlen(option), argv[3], argv[4], NULL, argv + 6);
	} else if (strcmp(verb, "exec") == 0 && argc > 5) {
		spawn(NULL, argv[2], argv[3], NULL, argv + 5);
	} else {
		return 2;
	}
	return 0;
}
