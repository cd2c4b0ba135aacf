// Does nothing until it is told to end; as PID 1 it reaps what it inherits.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void finish(int signal) {
    (void)signal;
    _exit(0);
}

static void reap(int signal) {
    (void)signal;
    while (waitpid(-1, NULL, WNOHANG) > 0) {
    }
}

int main(void) {
    signal(SIGINT, finish);
    signal(SIGTERM, finish);
    signal(SIGCHLD, reap);
    for (;;) pause();
}
