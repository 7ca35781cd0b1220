/* Two threads that compute and print in turns, for time slices to go back in; "write" also writes a file,
 * and "read" first reads its input. */
#include <pthread.h>
#include <stdio.h>

volatile unsigned long total;

static void *work(void *name) {
    for (unsigned long round = 0; round < 4; round++) {
        unsigned long s = (unsigned long)name + round;
        for (unsigned long i = 0; i < 10000; i++) {
            s = s * 6364136223846793005UL + 1442695040888963407UL;
            total += s >> 33;
        }
        printf("%c %lu %lu\n", (int)(unsigned long)name, round, total & 0xffff);
        fflush(stdout);
    }
    return 0;
}

int main(int count, char **arguments) {
    pthread_t threads[2];
    char line[100];
    if (count > 1 && arguments[1][0] == 'r') {
        while (fgets(line, sizeof line, stdin)) printf("input: %s", line);
    } else if (count > 1) {
        FILE *file = fopen("written", "w");
        fputs("something", file);
        fclose(file);
    }
    for (unsigned long i = 0; i < 2; i++) pthread_create(&threads[i], 0, work, (void *)('a' + i));
    for (int i = 0; i < 2; i++) pthread_join(threads[i], 0);
    puts("end");
    return 0;
}
