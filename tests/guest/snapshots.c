/* A host program to be saved and put back at any line that it prints: `snapshots MODE`. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "device.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int counter;
static volatile int signals;

static void count(int number) { signals += number == SIGUSR1; }

static void pause_for(long microseconds)
{
    struct timespec time = {0, 1000 * microseconds};
    nanosleep(&time, 0);
}

static void *work(void *name)
{
    for (int i = 0; i < 4; i++) {
        pthread_mutex_lock(&lock);
        printf("%s %d\n", (char *)name, ++counter);
        pause_for(300);
        pthread_mutex_unlock(&lock);
        raise(SIGUSR1);
        pause_for(100 + 70 * i);
    }
    return name;
}

static void *run_enclave(void *unused)
{
    static char elf[1 << 20];
    int file = open("hello", O_RDONLY), device = open("/dev/penglai_enclave_dev", O_RDWR);
    long size = read(file, elf, sizeof elf);
    close(file);
    struct get get = {5, 8192, 0};
    int shm = ioctl(device, REQUEST(0x10), &get);
    struct attach attach = {.id = shm};
    ioctl(device, REQUEST(0x11), &attach);
    int *memory = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, device, 0);
    for (int i = 0; i < 3; i++) {
        memory[1] += 7;
        struct user_param p = {.elf = elf, .elf_size = size, .stack_size = 65536, .shmid = shm, .shm_size = 4096};
        int made = ioctl(device, REQUEST(0), &p), ran = ioctl(device, REQUEST(1), &p);
        printf("enclave %lx: %d, %d, %lu, shared %d\n", p.eid, made, ran, p.retval, memory[1]);
    }
    return unused;
}

static int everything(void)
{
    char text[5] = "", *names[] = {"one", "two"};
    unsigned char bytes[4];
    pthread_t threads[3];
    signal(SIGUSR1, count);
    FILE *file = fopen("input", "r");
    int descriptor = open("input", O_RDONLY);
    lseek(descriptor, 6, SEEK_SET);
    for (int i = 0; i < 2; i++) pthread_create(threads + i, 0, work, names[i]);
    pthread_create(threads + 2, 0, run_enclave, 0);
    for (int i = 0; i < 4; i++) {
        struct timespec now;
        char *memory = malloc(200000 << i);
        memset(memory, i, 200000 << i);
        clock_gettime(CLOCK_MONOTONIC, &now);
        getrandom(bytes, 4, 0);
        read(descriptor, text, 4);
        printf("main %ld %02x%02x %s %c\n", now.tv_nsec, bytes[0], bytes[1], text, fgetc(file));
        pause_for(500);
        free(memory);
    }
    for (int i = 0; i < 3; i++) pthread_join(threads[i], 0);
    fprintf(stderr, "to stderr\n");
    printf("counter %d, signals %d\n", counter, signals);
    return 7;
}

int main(int count, char **arguments)
{
    if (count < 2) return 2;
    if (!strcmp(arguments[1], "writes")) {
        int file = open("out", O_WRONLY | O_CREAT, 0644);
        printf("open\n");
        close(file);
        printf("closed\n");
    } else if (!strcmp(arguments[1], "reads")) {
        char text[8];
        printf("before\n");
        read(0, text, 2);
        printf("after\n");
    } else if (!strcmp(arguments[1], "keeps")) {
        int file = open("input", O_RDONLY);
        printf("one\n");
        printf("two\n");
        return file < 0;
    } else {
        return everything();
    }
    return 0;
}
