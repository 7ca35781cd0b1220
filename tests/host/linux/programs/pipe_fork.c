/* Producer, filter and consumer, as a shell makes them: each has to wait for the others. */
#include "say.h"

enum { NUMBERS = 30000 };

static void all(int fd, const void *data, size_t size) {
    for (const char *at = data; size;) {
        ssize_t n = write(fd, at, size);
        if (n <= 0) _exit(1);
        at += n, size -= n;
    }
}

static size_t fill(int fd, void *data, size_t size) {
    size_t got = 0;
    for (ssize_t n; got < size && (n = read(fd, (char *)data + got, size - got)) > 0;) got += n;
    return got;
}

int main(void) {
    int first[2], second[2];
    pipe(first);
    pid_t producer = forked();
    if (!producer) {
        static uint32_t numbers[NUMBERS]; /* more than a pipe holds: it has to block */
        for (uint32_t i = 0; i < NUMBERS; i++) numbers[i] = i * 2654435761u;
        close(first[0]);
        all(first[1], numbers, sizeof numbers);
        _exit(3);
    }
    close(first[1]);
    pipe(second);
    pid_t filter = forked();
    if (!filter) {
        uint32_t chunk[100];
        close(second[0]);
        for (size_t n; (n = fill(first[0], chunk, sizeof chunk));) {
            for (size_t i = 0; i < n / 4; i++) chunk[i] ^= 0xffffffff;
            all(second[1], chunk, n);
        }
        _exit(4);
    }
    close(first[0]), close(second[1]);
    uint32_t number, wrong = 0, count = 0;
    while (fill(second[0], &number, 4) == 4) wrong += number != ~(count++ * 2654435761u);
    say("numbers: %u, wrong: %u", count, wrong);
    reap("producer", producer);
    reap("filter", filter);

    /* A consumer that has enough ends the producer by SIGPIPE. */
    pipe(first);
    producer = forked();
    if (!producer) {
        close(first[0]);
        for (;;) all(first[1], "y\n", 2);
    }
    close(first[1]);
    char line[6];
    say("enough: %zu bytes", fill(first[0], line, sizeof line));
    close(first[0]);
    reap("endless producer", producer);

    /* A reader blocks until the last of several writers is gone, also one that writes nothing. */
    pipe(first);
    pid_t idle = forked();
    if (!idle) {
        close(first[0]);
        sleep_ms(20);
        _exit(0);
    }
    close(first[1]);
    int64_t start = now_ns(CLOCK_MONOTONIC);
    tell("read until the writer's end", read(first[0], line, sizeof line));
    yes("it waited", now_ns(CLOCK_MONOTONIC) - start > 5000000);
    reap("idle writer", idle);
    close(first[0]);

    /* Ping-pong: each turn is a switch between processes. */
    pipe(first), pipe(second);
    pid_t partner = forked();
    if (!partner) {
        close(first[1]), close(second[0]);
        for (char c; read(first[0], &c, 1) == 1;) c++, write(second[1], &c, 1);
        _exit(0);
    }
    close(first[0]), close(second[1]);
    char c = 0;
    for (int i = 0; i < 100; i++) write(first[1], &c, 1), read(second[0], &c, 1);
    say("turns: %d", c);
    close(first[1]);
    reap("partner", partner);
    return 0;
}
