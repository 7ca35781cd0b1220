/* For docs/linux.md: a child writes through a pipe. */
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
    int ends[2];
    char text[32] = "";
    pipe(ends);
    if (!fork()) {
        write(ends[1], "through a pipe\n", 15);
        _exit(0);
    }
    read(ends[0], text, sizeof text);
    wait(0);
    write(1, text, strlen(text));
    return 0;
}
