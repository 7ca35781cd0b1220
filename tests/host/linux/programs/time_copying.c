/* Copying takes time: who copies without end, in a few calls, is interrupted and lets others have their turn. */
#include "say.h"
#include <sys/sendfile.h>
#include <sys/time.h>

static volatile sig_atomic_t rung;
static void ring(int number) { rung = 1; }

int main(void) {
    int zero = open("/dev/zero", O_RDWR);
    static char buffer[1 << 20];
    signal(SIGALRM, ring);
    struct itimerval soon = {.it_value = {.tv_usec = 50000}};
    tell("setitimer", setitimer(ITIMER_REAL, &soon, NULL));
    while (!rung)
        if (sendfile(zero, zero, NULL, 1 << 24) < 0 && errno != EINTR) return tell("sendfile", -1), 1;
    say("sendfile was interrupted");
    rung = 0;
    setitimer(ITIMER_REAL, &soon, NULL);
    while (!rung) read(zero, buffer, sizeof buffer), write(zero, buffer, sizeof buffer);
    say("read and write were interrupted");
    pid_t child = fork();
    if (!child)
        for (;;) sendfile(zero, zero, NULL, 1 << 24);
    usleep(50000);
    tell("kill", kill(child, SIGTERM));
    int status;
    waitpid(child, &status, 0);
    say("ended by %d", WTERMSIG(status));
    return 0;
}
