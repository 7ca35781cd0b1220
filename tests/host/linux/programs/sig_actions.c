/* What sigaction keeps, and who sends the signals that a system call causes. */
#include "say.h"
#include <sys/resource.h>

static siginfo_t last;
static void keep(int signal, siginfo_t *info, void *context) { last = *info; }

int main(void) {
    struct sigaction action = {.sa_sigaction = keep, .sa_flags = SA_SIGINFO | SA_RESETHAND}, now;
    sigaction(SIGUSR1, &action, 0);
    raise(SIGUSR1);
    sigaction(SIGUSR1, 0, &now);
    say("reset: default %d, flags %#x", now.sa_handler == SIG_DFL, now.sa_flags & ~0x04000000);
    action.sa_flags = SA_SIGINFO | 0x400; /* SA_UNSUPPORTED, which tells what a kernel knows */
    sigaction(SIGUSR1, &action, 0);
    sigaction(SIGUSR1, 0, &now);
    say("unknown flag kept: %d", !!(now.sa_flags & 0x400));

    action.sa_flags = SA_SIGINFO;
    sigaction(SIGXFSZ, &action, 0);
    struct rlimit limit = {10, RLIM_INFINITY};
    setrlimit(RLIMIT_FSIZE, &limit);
    int file = open("file", O_CREAT | O_RDWR, 0600);
    tell("write", write(file, "0123456789abc", 13));
    tell("write", write(file, "x", 1));
    say("%s code %d, from itself: %d", signal_name(last.si_signo), last.si_code, last.si_pid == getpid());
    tell("truncate", ftruncate(file, 100));
    return 0;
}
