/* For docs/linux.md: asks for what is not offered. */
#include <sys/inotify.h>
#include <sys/prctl.h>

int main(void)
{
    inotify_init1(0);
    inotify_init1(0);
    prctl(987654, 0, 0, 0, 0);
    return 0;
}
