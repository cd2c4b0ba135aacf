/* PID 1 of a shared PID namespace: reaps what is re-parented to it, until it is told to end. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "roles.h"

int pause_main(int argc, char **argv)
{
	siginfo_t info;
	sigset_t wanted;

	(void)argc;
	(void)argv;
	/* Blocked and waited for: the kernel discards signals to PID 1 that have no handler, unless they are blocked. */
	(void)sigemptyset(&wanted);
	(void)sigaddset(&wanted, SIGCHLD);
	(void)sigaddset(&wanted, SIGTERM);
	(void)sigaddset(&wanted, SIGINT);
	(void)sigaddset(&wanted, SIGQUIT);
	(void)sigaddset(&wanted, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &wanted, NULL) < 0)
		return 1;
	for (;;) {
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		if (sigwaitinfo(&wanted, &info) > 0 && info.si_signo != SIGCHLD)
			return 0;
	}
}
