"""What qemu-riscv64 (7.2) is known to do otherwise than Linux, which `--native` asks itself."""

# Program → {Linux's line, or several: what qemu prints there; nothing where it prints no such line}.
LINES: dict[str, dict[str, str]] = {
    # sigaction keeps flags that it does not know.
    "sig_actions": {"unknown flag kept: 0": "unknown flag kept: 1"},
    # stat follows the link to qemu itself, which has threads of its own, and makes up its own line. The
    # command line is that of its start.
    "file_proc": {
        "it leads to this program: yes": "it leads to this program: no",
        "status: one thread: yes": "status: one thread: no",
        "stat: yes": "stat: no",
        "cmdline is what the memory has: yes": "cmdline is what the memory has: no",
        "a title may go on behind it: yes": "a title may go on behind it: no",
    },
    # Has no preadv2; libc makes do without, but for flags.
    "file_vectors": {"an unknown flag: -1 EOPNOTSUPP": "an unknown flag: -1 ENOSYS"},
    # Sorts the environment backwards, and drops what has no "=".
    "proc_exec": {
        "environment: FIRST=1\nenvironment: EMPTY=\nenvironment: strange\nvariables: 3": (
            "environment: EMPTY=\nenvironment: FIRST=1\nvariables: 2"
        )
    },
    # SA_NOCLDSTOP, SA_NOCLDWAIT, SS_AUTODISARM are unknown to it.
    "proc_stop": {"SIGCHLD of stopping: 0": "SIGCHLD of stopping: 1"},
    "sig_altstack": {
        "SS_AUTODISARM: 0\ntold back: yes": "SS_AUTODISARM: -1 EINVAL\ntold back: no",
    },
    "proc_sigchld": {"SA_NOCLDWAIT: no zombie: yes": "SA_NOCLDWAIT: no zombie: no"},
    # vfork is a fork: the child has a copy, so it can hand no error to its parent.
    "proc_vfork_memory": {"parent sees: 42 43": "parent sees: 0 1"},
    # Takes no sa_mask: looks for it behind a field that RISC-V's struct does not have.
    "sig_queue": {
        "order: SIGUSR1 SIGUSR2 A2 B0 B1 B1 B2 C0 ": "order: C0 B0 B1 B1 B2 A2 SIGUSR2 SIGUSR1 ",
    },
    # Passes no siginfo with codes of a program's own.
    "sig_info": {
        "rt_sigqueueinfo: 0": "rt_sigqueueinfo: -1 E2BIG",
        "own code: -77, own pid: 123": "own code: 0, own pid: 0",
        "signals: 10": "signals: 9",
    },
    # Does not know, or does not do, what these ask for.
    "mem_advice": {
        "unknown advice: -1 EINVAL": "unknown advice: 0",
        "madvise with a hole: -1 ENOMEM": "madvise with a hole: 0",
        "RLIMIT_AS: exited 0": "RLIMIT_AS: exited 1",
    },
    "mem_fork": {
        "child lacks that page only: exited 1": "child lacks that page only: exited 0",
        "child has a zero and a one: exited 1": "child has a zero and a one: exited 11",
    },
    "mem_map": {
        "MAP_FIXED_NOREPLACE: -1 EEXIST": "MAP_FIXED_NOREPLACE: 0",
        "over its end: -1 EEXIST": "over its end: 0",
        "mprotect of no length: 0": "mprotect of no length: -1 ENOMEM",
    },
    "mem_remap": {"to no length: -1 EINVAL": "to no length: -1 ENOMEM"},
    "time_timerfd": {"timerfd_create, unknown flag: -1 EINVAL": "timerfd_create, unknown flag: 3"},
    # Goes on with code that it has translated, when that changes by another mapping.
    "mem_code": {"changed beside it: 2": "changed beside it: 1"},
    # Has no CLONE_PIDFD.
    "proc_pidfd": {"CLONE_PIDFD: yes\nwaitid: 0\nexit 7": "CLONE_PIDFD: no\nwaitid: -1 EINVAL\nexit 15"},
    # Has no mq_notify.
    "sys_mqueue": {
        "mq_notify: 0\nmq_notify again: -1 EBUSY\ntold 1, 1, 42": (
            "mq_notify: -1 ENOSYS\nmq_notify again: -1 ENOSYS\ntold 0, 0, 0"
        ),
        "mq_notify: 0\nno more: 0\ntold 1": "mq_notify: -1 ENOSYS\nno more: -1 ENOSYS\ntold 0",
    },
    "sys_prctl": {"name: sys_prctl": "name: qemu-riscv64"},
}

# Programs that differ too much, or not always → why.
WHOLE: dict[str, str] = {
    "proc_exit_signal": "qemu takes no other signal than SIGCHLD",
    "mem_moves": "qemu's mremap doubles nothing, and its calls do not read what can only be written",
    "proc_exec_names": "qemu's execve runs programs of its host",
    "proc_orphan": "qemu knows no subreapers",
    "proc_spawn_errors": "qemu's vfork is a fork: glibc's posix_spawn does not get the child's error",
    "proc_vfork": "qemu's vfork is a fork: nobody waits",
    "sig_flags": "qemu takes a signal's sa_mask from a place where RISC-V has none",
    "sig_sent_faults": "qemu does not always keep a SIGSEGV that is sent while it is blocked",
    "thread_clone": "qemu has no clone3, and clone shares memory and files only with threads",
    "thread_clone3": "qemu has no clone3",
    "thread_process": "qemu crashes where a program with threads forks, and the child makes a thread",
    "thread_robust": "qemu has no robust lists",
    "thread_vfork": "qemu refuses CLONE_VFORK for a thread",
}
