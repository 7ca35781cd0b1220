/* For docs/linux.md: asks for what is not offered. */
#include <sys/ptrace.h>
#include <sys/prctl.h>

int main(void)
{
    ptrace(PTRACE_TRACEME, 0, 0, 0);
    ptrace(PTRACE_TRACEME, 0, 0, 0);
    prctl(987654, 0, 0, 0, 0);
    return 0;
}
