/* Processes that run, stop and end each other's enclaves: `device_processes HELLO SPIN`, which
 * is /again itself. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "device.h"

static int fd;
static void *elves[2];
static long sizes[2];

static void load(int which, const char *name)
{
    FILE *file = fopen(name, "rb");
    if (!file) exit(3);
    fseek(file, 0, SEEK_END);
    sizes[which] = ftell(file);
    rewind(file);
    elves[which] = malloc(sizes[which]);
    if (fread(elves[which], 1, sizes[which], file) != (size_t)sizes[which]) exit(3);
    fclose(file);
}

static struct user_param made(int which)
{
    struct user_param p = {.type = 0, .elf = elves[which], .elf_size = sizes[which], .stack_size = 65536};
    if (ioctl(fd, REQUEST(0), &p)) printf("create: errno %d\n", errno);
    return p;
}

static void say(const char *what, long value)
{
    printf("%s: %ld%s", what, value, value < 0 ? "" : "\n");
    if (value < 0) printf(" (errno %d)\n", errno);
}

static void nap(long ms) { struct timespec t = {ms / 1000, ms % 1000 * 1000000}; nanosleep(&t, 0); }

static void ended(const char *what, pid_t pid)
{
    int status = 0;
    waitpid(pid, &status, 0);
    printf("%s: %#x\n", what, status);
}

static long run(struct user_param p) { return ioctl(fd, REQUEST(1), &p); }
static struct user_param of_thread;
static void *runner(void *unused) { return (void *)run(of_thread); }

static pid_t in_a_child(struct user_param p)
{
    pid_t pid = fork();
    if (pid == 0) {
        say("child's run", run(p));
        _exit(0);
    }
    nap(30);
    return pid;
}

static void in_a_thread(int stop, int execs) /* of a process that ends, or becomes another program */
{
    of_thread = made(1);
    pthread_t thread;
    pthread_create(&thread, 0, runner, 0);
    nap(30);
    if (stop) say("stop", ioctl(fd, REQUEST(3), &of_thread));
    if (execs) execl("/again", "again", "again", (char *)0);
    _exit(5);
}

int main(int count, char **arguments)
{
    pid_t pid;
    setvbuf(stdout, 0, _IOLBF, 0);
    if (count == 2) return 7;
    load(0, arguments[1]), load(1, arguments[2]);
    fd = open("/dev/penglai_enclave_dev", O_RDWR);

    struct user_param p = made(1);
    pid = in_a_child(p);
    kill(pid, SIGKILL);
    ended("killed while its enclave runs", pid);
    p = made(1);
    pid = in_a_child(p);
    say("stop", ioctl(fd, REQUEST(3), &p));
    kill(pid, SIGKILL);
    ended("killed while its enclave is stopped", pid);
    say("destroy", ioctl(fd, REQUEST(5), &p));
    p = made(1);
    pid = in_a_child(p);
    say("run it too", run(p));
    kill(pid, SIGSTOP);
    nap(10);
    say("stop", ioctl(fd, REQUEST(3), &p));
    kill(pid, SIGCONT);
    say("resume", ioctl(fd, REQUEST(4), &p));
    nap(10);
    say("destroy", ioctl(fd, REQUEST(5), &p));
    ended("destroyed by another process", pid);

    for (int way = 0; way < 4; way++) {
        if ((pid = fork()) == 0) in_a_thread(way & 1, way & 2);
        ended(way & 2 ? "execs" : "exits", pid);
    }
    pid_t pids[4];
    for (int i = 0; i < 4; i++)
        if ((pids[i] = fork()) == 0) {
            pthread_t threads[3];
            void *result;
            int wrong = 0;
            for (int k = 0; k < 3; k++) {
                of_thread = made(0);
                pthread_create(threads + k, 0, runner, 0);
                nap(1);
            }
            for (int k = 0; k < 3; k++) pthread_join(threads[k], &result), wrong += result != 0;
            _exit(wrong);
        }
    for (int i = 0; i < 4; i++) ended("many", pids[i]);

    struct get get = {0, 8192, 0};
    int relay = ioctl(fd, REQUEST(0x14), &get);
    struct attach attach = {.id = relay};
    say("attach", ioctl(fd, REQUEST(0x15), &attach));
    char *pages = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    strcpy(pages, "relay");
    p = made(1), p.relay_id = relay, p.relay_size = 8192;
    pid = in_a_child(p); /* which has them mapped too */
    pid_t other = fork();
    if (other == 0) _exit(pages[0] ? 1 : 2);
    ended("reads pages that an enclave has", other);
    say("write of them", write(1, pages, 5));
    kill(pid, SIGKILL);
    ended("killed", pid);
    say("destroy", ioctl(fd, REQUEST(5), &p));
    say("what is there then", pages[0]);
    say("detach", munmap(pages, 8192) || ioctl(fd, REQUEST(0x16), &attach) || ioctl(fd, REQUEST(0x17), &relay));
    return 0;
}
