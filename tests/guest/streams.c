/* What standard output is for a C library: this program knows the enclave device. */
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

const char *device = "/dev/penglai_enclave_dev";

int main(void)
{
    struct stat state;
    struct winsize size = {0};
    fstat(1, &state);
    int sized = !ioctl(1, TIOCGWINSZ, &size);
    printf("%s, %d columns\n", S_ISCHR(state.st_mode) ? "device" : "pipe", sized ? size.ws_col : 0);
    return device[0] != '/';
}
