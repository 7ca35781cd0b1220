/* What every program here needs to tell what happened: one line per event, each written at once, so that
 * lines of several processes never mix, and none stays in a buffer that fork would copy.
 *
 * Lines have to be the same in every run and with every libc: no pids, addresses or times. */
#ifndef SAY_H
#define SAY_H

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAYBE __attribute__((unused)) static

MAYBE void say(const char *format, ...) {
    char line[1024];
    va_list more;
    va_start(more, format);
    int size = vsnprintf(line, sizeof line - 1, format, more);
    va_end(more);
    if (size > (int)sizeof line - 2) size = sizeof line - 2;
    line[size] = '\n';
    if (write(1, line, size + 1) != size + 1) _exit(98);
}

MAYBE const char *error_name(int error) {
    static char other[24];
    switch (error) {
#define ROW(name) \
    case name: return #name;
        ROW(EPERM) ROW(ENOENT) ROW(ESRCH) ROW(EINTR) ROW(EIO) ROW(ENXIO) ROW(E2BIG) ROW(ENOEXEC) ROW(EBADF)
        ROW(ECHILD) ROW(EAGAIN) ROW(ENOMEM) ROW(EACCES) ROW(EFAULT) ROW(EBUSY) ROW(EEXIST) ROW(EXDEV)
        ROW(ENODEV) ROW(ENOTDIR) ROW(EISDIR) ROW(EINVAL) ROW(ENFILE) ROW(EMFILE) ROW(ENOTTY) ROW(ETXTBSY)
        ROW(EFBIG) ROW(ENOSPC) ROW(ESPIPE) ROW(EROFS) ROW(EMLINK) ROW(EPIPE) ROW(EDOM) ROW(ERANGE)
        ROW(EDEADLK) ROW(ENAMETOOLONG) ROW(ENOLCK) ROW(ENOSYS) ROW(ENOTEMPTY) ROW(ELOOP) ROW(ENODATA)
        ROW(ETIME) ROW(EOVERFLOW) ROW(ENOTSOCK) ROW(EDESTADDRREQ) ROW(EMSGSIZE) ROW(EPROTOTYPE)
        ROW(ENOPROTOOPT) ROW(EPROTONOSUPPORT) ROW(ESOCKTNOSUPPORT) ROW(EOPNOTSUPP) ROW(EAFNOSUPPORT)
        ROW(EADDRINUSE) ROW(EADDRNOTAVAIL) ROW(ENETUNREACH) ROW(ECONNABORTED) ROW(ECONNRESET) ROW(EISCONN)
        ROW(ENOTCONN) ROW(ETIMEDOUT) ROW(ECONNREFUSED) ROW(EHOSTUNREACH) ROW(EALREADY) ROW(EINPROGRESS)
        ROW(ECANCELED) ROW(EOWNERDEAD) ROW(ENOTRECOVERABLE)
#undef ROW
    }
    snprintf(other, sizeof other, "errno %d", error);
    return other;
}

MAYBE const char *signal_name(int signal) {
    static char other[24];
    switch (signal) {
#define ROW(name) \
    case name: return #name;
        ROW(SIGHUP) ROW(SIGINT) ROW(SIGQUIT) ROW(SIGILL) ROW(SIGTRAP) ROW(SIGABRT) ROW(SIGBUS) ROW(SIGFPE)
        ROW(SIGKILL) ROW(SIGUSR1) ROW(SIGSEGV) ROW(SIGUSR2) ROW(SIGPIPE) ROW(SIGALRM) ROW(SIGTERM)
        ROW(SIGCHLD) ROW(SIGCONT) ROW(SIGSTOP) ROW(SIGTSTP) ROW(SIGTTIN) ROW(SIGTTOU) ROW(SIGURG)
        ROW(SIGXCPU) ROW(SIGXFSZ) ROW(SIGVTALRM) ROW(SIGPROF) ROW(SIGWINCH) ROW(SIGIO) ROW(SIGSYS)
#undef ROW
    }
    if (signal >= SIGRTMIN) snprintf(other, sizeof other, "SIGRTMIN+%d", signal - SIGRTMIN);
    else snprintf(other, sizeof other, "signal %d", signal);
    return other;
}

/* Says what a call returned, and errno where that was -1; gives the value on. */
MAYBE long tell(const char *what, long value) {
    int error = errno;
    if (value == -1) say("%s: -1 %s", what, error_name(error));
    else say("%s: %ld", what, value);
    errno = error;
    return value;
}

/* For calls whose value differs from run to run. */
MAYBE long told(const char *what, long value) {
    int error = errno;
    if (value == -1) say("%s: -1 %s", what, error_name(error));
    else say("%s: done", what);
    errno = error;
    return value;
}

/* For functions that return the error, as those of pthreads do. */
MAYBE int code(const char *what, int error) {
    say("%s: %s", what, error ? error_name(error) : "0");
    return error;
}

MAYBE void yes(const char *what, int is) { say("%s: %s", what, is ? "yes" : "no"); }

/* Says how a child ended, from the status of wait4. */
MAYBE void ended(const char *what, int status) {
    if (WIFEXITED(status)) say("%s: exited %d", what, WEXITSTATUS(status));
    else if (WIFSIGNALED(status)) say("%s: killed by %s", what, signal_name(WTERMSIG(status)));
    else if (WIFSTOPPED(status)) say("%s: stopped by %s", what, signal_name(WSTOPSIG(status)));
    else if (WIFCONTINUED(status)) say("%s: continued", what);
    else say("%s: status %#x", what, status);
}

/* fork that gives up, rather than have a parent wait for nobody. */
MAYBE pid_t forked(void) {
    pid_t pid = fork();
    if (pid == -1) {
        tell("fork", -1);
        _exit(99);
    }
    return pid;
}

/* Waits for a child and says how it ended. */
MAYBE void reap(const char *what, pid_t pid) {
    int status = 0;
    while (waitpid(pid, &status, 0) == -1)
        if (errno != EINTR) {
            tell(what, -1);
            return;
        }
    ended(what, status);
}

MAYBE int64_t now_ns(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

MAYBE void sleep_ms(int ms) {
    struct timespec t = {ms / 1000, ms % 1000 * 1000000L};
    while (clock_nanosleep(CLOCK_MONOTONIC, 0, &t, &t) == EINTR) {
    }
}

/* The path under which this program can be started again: the first argument where it leads somewhere. */
MAYBE const char *own_path(const char *argv0) {
    static char path[256];
    const char *base = strrchr(argv0, '/');
    if (base && !access(argv0, X_OK)) return argv0;
    snprintf(path, sizeof path, "/%s", base ? base + 1 : argv0);
    return access(path, X_OK) ? "/proc/self/exe" : path;
}

/* qemu-riscv64 executes programs of its host: where RUNNER is set, programs here start each other through
 * what it names. Both arrays get it; `argv` has to be `AGAIN` long. */
#define AGAIN 32
MAYBE const char *again(const char *argv0, char **argv, char **envp) {
    static char own[256], runner[256], assignment[272];
    const char *named = getenv("RUNNER");
    snprintf(own, sizeof own, "%s", own_path(argv0));
    if (!named) return own;
    snprintf(runner, sizeof runner, "%s", named);
    int count = 0, variables = 0;
    while (argv[count]) count++;
    for (int i = count; i > 0; i--) argv[i + 3] = argv[i];
    argv[2] = argv[0], argv[0] = runner, argv[1] = "-0", argv[3] = own;
    if (envp) {
        while (envp[variables]) variables++;
        snprintf(assignment, sizeof assignment, "RUNNER=%s", named);
        envp[variables] = assignment, envp[variables + 1] = 0;
    }
    return runner;
}

/* Registers in what a signal's handler gets as its third argument. */
#if defined __riscv
#define PC(context) ((context)->uc_mcontext.__gregs[0])
#define ARGUMENT0(context) ((context)->uc_mcontext.__gregs[10])
#elif defined __x86_64__
#define PC(context) ((context)->uc_mcontext.gregs[16])
#define ARGUMENT0(context) ((context)->uc_mcontext.gregs[8])
#endif

#endif
