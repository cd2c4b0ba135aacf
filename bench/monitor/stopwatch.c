/* stopwatch [SOCKET HELLO]: times what is too short for a program with an event loop. One command per line of stdin, words
 * separated by tabs; one line of stdout for each. Nanoseconds of CLOCK_MONOTONIC, taken before the first system call of the
 * deed and after the last one of what is waited for. HELLO and frames are in hex; SOCKET is a monitor's.
 *
 *   call FRAME           sends it; its reply         → NS TYPE FLAGS
 *   exit FRAME           sends it; the next EXIT     → NS
 *   kill PID             SIGKILL; the next EXIT      → NS, microseconds since 1970 when it began
 *   spawn ARG…           runs it to its end          → NS STATUS
 *   sync ARG…            starts conmon --sync; its word on the container → NS PID CONMON
 *   end CONMON ARG…      runs ARG… and waits for conmon's end → NS, its own processor time in ticks
 *   gone CONMON PID DIR  SIGKILL; conmon's file in DIR → NS
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { HEADER = 16, FRAME = 1 << 19, WORDS = 64, TYPE_EXIT = 0x4301, REPLY = 0x8000 };

extern char **environ;
static int monitor = -1;
static unsigned char frame[FRAME];

static int64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static _Noreturn void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void take(int fd, void *to, size_t count)
{
	for (size_t done = 0; done < count;) {
		ssize_t got = read(fd, (char *)to + done, count - done);
		if (got <= 0)
			fail("read");
		done += (size_t)got;
	}
}

/* The next frame's type; its flags are at 6, its sequence number at 8. */
static unsigned next_frame(void)
{
	uint32_t length;
	take(monitor, frame, HEADER);
	memcpy(&length, frame, 4);
	if (length > FRAME - HEADER)
		fail("frame");
	take(monitor, frame + HEADER, length);
	return (unsigned)(frame[4] | frame[5] << 8);
}

static size_t unhex(const char *text)
{
	static const char digits[] = "0123456789abcdef";
	size_t length = strlen(text) / 2;
	if (length > FRAME)
		fail("hex");
	for (size_t i = 0; i < length; i++)
		frame[i] = (unsigned char)((strchr(digits, text[2 * i]) - digits) << 4 | (strchr(digits, text[2 * i + 1]) - digits));
	return length;
}

/* Sends a frame; the caller has its time before it. */
static void put_frame(size_t length)
{
	if (send(monitor, frame, length, MSG_NOSIGNAL) != (ssize_t)length)
		fail("send");
}

static void wait_exit(void)
{
	while (next_frame() != TYPE_EXIT)
		;
}

static void call(const char *hex)
{
	size_t length = unhex(hex);
	unsigned type = (unsigned)(frame[4] | frame[5] << 8) | REPLY;
	unsigned char seq[8];
	memcpy(seq, frame + 8, 8);
	int64_t begin = now();
	put_frame(length);
	while (next_frame() != type || memcmp(frame + 8, seq, 8) != 0)
		;
	printf("%lld %u %u\n", (long long)(now() - begin), type, (unsigned)(frame[6] | frame[7] << 8));
}

static pid_t start(char **argv, int synced)
{
	posix_spawn_file_actions_t files;
	posix_spawn_file_actions_init(&files);
	for (int fd = 0; fd < 3; fd++)
		posix_spawn_file_actions_addopen(&files, fd, "/dev/null", O_RDWR, 0);
	if (synced >= 0)
		posix_spawn_file_actions_adddup2(&files, synced, 3);
	pid_t pid;
	int error = posix_spawn(&pid, argv[0], &files, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&files);
	if (error != 0) {
		fprintf(stderr, "%s: %s\n", argv[0], strerror(error));
		exit(1);
	}
	return pid;
}

static int run(char **argv)
{
	int status;
	pid_t pid = start(argv, -1);
	if (waitpid(pid, &status, 0) != pid)
		fail("waitpid");
	return status;
}

static void sync_start(char **argv)
{
	int ends[2];
	char said[4096];
	size_t used = 0;
	/* Above 3, so that what is put there for conmon is not one of these. */
	if (pipe2(ends, O_CLOEXEC) < 0 || (ends[1] = fcntl(ends[1], F_DUPFD_CLOEXEC, 10)) < 0)
		fail("pipe");
	setenv("_OCI_SYNCPIPE", "3", 1);
	int64_t begin = now();
	pid_t conmon = start(argv, ends[1]);
	close(ends[1]);
	do {
		ssize_t got = read(ends[0], said + used, sizeof(said) - 1 - used);
		if (got <= 0)
			fail("conmon's word");
		used += (size_t)got;
		said[used] = '\0';
	} while (strchr(said, '\n') == NULL);
	int64_t end = now();
	const char *pid = strpbrk(said, "-0123456789");
	printf("%lld %ld %d\n", (long long)(end - begin), pid == NULL ? -1 : atol(pid), conmon);
	close(ends[0]);
}

/* Of a process that has ended and was not yet reaped; without its children's. */
static long ticks(pid_t pid)
{
	char path[64], text[1024];
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	FILE *file = fopen(path, "r");
	if (file == NULL || fgets(text, sizeof(text), file) == NULL)
		fail(path);
	fclose(file);
	char *at = strrchr(text, ')');
	unsigned long user, kernel;
	if (at == NULL || sscanf(at + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &kernel) != 2)
		fail("stat");
	return (long)(user + kernel);
}

static void until_end(pid_t conmon, char **argv)
{
	siginfo_t info;
	int64_t begin = now();
	if (run(argv) != 0 || waitid(P_PID, (id_t)conmon, &info, WEXITED | WNOWAIT) < 0)
		fail("conmon");
	int64_t end = now();
	printf("%lld %ld\n", (long long)(end - begin), ticks(conmon));
	waitpid(conmon, NULL, 0);
}

static void until_file(pid_t conmon, pid_t container, const char *directory)
{
	char events[4096];
	int watch = inotify_init1(IN_CLOEXEC);
	if (watch < 0 || inotify_add_watch(watch, directory, IN_CLOSE_WRITE | IN_MOVED_TO) < 0)
		fail(directory);
	int64_t begin = now();
	if (kill(container, SIGKILL) < 0 || read(watch, events, sizeof(events)) <= 0)
		fail("exit file");
	printf("%lld\n", (long long)(now() - begin));
	close(watch);
	waitpid(conmon, NULL, 0);
}

static void perform(char **word)
{
	int64_t begin;
	if (strcmp(word[0], "call") == 0) {
		call(word[1]);
	} else if (strcmp(word[0], "exit") == 0) {
		size_t length = unhex(word[1]);
		begin = now();
		put_frame(length);
		wait_exit();
		printf("%lld\n", (long long)(now() - begin));
	} else if (strcmp(word[0], "kill") == 0) {
		struct timespec date;
		clock_gettime(CLOCK_REALTIME, &date);
		begin = now();
		if (kill(atoi(word[1]), SIGKILL) < 0)
			fail("kill");
		wait_exit();
		printf("%lld %lld\n", (long long)(now() - begin), (long long)date.tv_sec * 1000000 + date.tv_nsec / 1000);
	} else if (strcmp(word[0], "spawn") == 0) {
		begin = now();
		int status = run(word + 1);
		printf("%lld %d\n", (long long)(now() - begin), status);
	} else if (strcmp(word[0], "sync") == 0) {
		sync_start(word + 1);
	} else if (strcmp(word[0], "end") == 0) {
		until_end(atoi(word[1]), word + 2);
	} else if (strcmp(word[0], "gone") == 0) {
		until_file(atoi(word[1]), atoi(word[2]), word[3]);
	} else {
		fail(word[0]);
	}
}

int main(int argc, char **argv)
{
	static char line[2 * FRAME];
	if (argc == 3) {
		struct sockaddr_un address = {.sun_family = AF_UNIX};
		strncpy(address.sun_path, argv[1], sizeof(address.sun_path) - 1);
		monitor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (monitor < 0 || connect(monitor, (struct sockaddr *)&address, sizeof(address)) < 0)
			fail(argv[1]);
		put_frame(unhex(argv[2]));
		next_frame();
	}
	while (fgets(line, sizeof(line), stdin) != NULL) {
		char *word[WORDS + 1] = {0};
		line[strcspn(line, "\n")] = '\0';
		size_t count = 0;
		for (char *at = strtok(line, "\t"); at != NULL && count < WORDS; at = strtok(NULL, "\t"))
			word[count++] = at;
		if (count > 1)
			perform(word);
		fflush(stdout);
	}
	return 0;
}
