/* Tells what standard input is, and how much comes from it. */
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

int main(void)
{
    struct stat in, null;
    char text[16];
    fstat(0, &in);
    stat("/dev/null", &null);
    printf("pipe %d, /dev/null %d, ", S_ISFIFO(in.st_mode), S_ISCHR(in.st_mode) && in.st_rdev == null.st_rdev);
    printf("%d bytes\n", (int)read(0, text, sizeof text));
    return 0;
}
