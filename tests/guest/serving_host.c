/* A host program that serves: `serving_host ELF CLIENTS`. For each connection on loopback it runs an enclave, in
 * a thread of its own, and sends what that returned. The clients are processes that it makes itself. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "device.h"

static char elf[4 << 20];
static long elf_size;
static int device;

static void *serve(void *argument)
{
    int connection = (int)(long)argument, number = -1;
    struct user_param param = {.elf = elf, .elf_size = elf_size, .stack_size = 65536};
    long result = -1;
    if (read(connection, &number, sizeof number) == sizeof number && !ioctl(device, REQUEST(0), &param)
        && !ioctl(device, REQUEST(1), &param))
        result = param.retval + 1000L * number;
    write(connection, &result, sizeof result);
    close(connection);
    return 0;
}

static int client(int port, int number)
{
    struct sockaddr_in there = {.sin_family = AF_INET, .sin_port = port, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int connection = socket(AF_INET, SOCK_STREAM, 0);
    long result = 0;
    if (connect(connection, (struct sockaddr *)&there, sizeof there)) return 1;
    write(connection, &number, sizeof number);
    if (read(connection, &result, sizeof result) != sizeof result) return 2;
    printf("client %d: %ld\n", number, result);
    return result != 1000L * number;
}

int main(int argc, char **argv)
{
    int clients = atoi(argv[2]), listener = socket(AF_INET, SOCK_STREAM, 0), status, failed = 0;
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof here;
    pthread_t threads[64];
    setvbuf(stdout, 0, _IONBF, 0);
    elf_size = read(open(argv[1], O_RDONLY), elf, sizeof elf);
    device = open("/dev/penglai_enclave_dev", O_RDWR);
    if (device < 0 || bind(listener, (struct sockaddr *)&here, size) || listen(listener, 4)) return 3;
    getsockname(listener, (struct sockaddr *)&here, &size);
    for (int i = 0; i < clients; i++)
        if (!fork()) {
            close(listener);
            exit(client(here.sin_port, i));
        }
    for (long i = 0; i < clients; i++)
        pthread_create(&threads[i], 0, serve, (void *)(long)accept(listener, 0, 0));
    for (int i = 0; i < clients; i++) pthread_join(threads[i], 0);
    for (int i = 0; i < clients; i++) wait(&status), failed += status != 0;
    printf("%d clients, %d failed\n", clients, failed);
    return failed;
}
