// The sandbox process of a pod: holds its namespaces, reaps its orphans, ends at once when asked.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void Stop(int signal) {
	(void)signal;
	_exit(0);
}

static void Reap(int signal) {
	(void)signal;
	while (waitpid(-1, 0, WNOHANG) > 0) {
	}
}

int main(void) {
	signal(SIGINT, Stop);
	signal(SIGTERM, Stop);
	signal(SIGCHLD, Reap);
	for (;;) pause();
}
