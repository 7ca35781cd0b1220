"""Names of those system calls of riscv64 that have no function of that name: not offered, or shared."""

from typing import Final

_NAMES: Final = {
    0: "io_setup", 1: "io_destroy", 2: "io_submit", 3: "io_cancel", 4: "io_getevents", 5: "setxattr",
    6: "lsetxattr", 7: "fsetxattr", 8: "getxattr", 9: "lgetxattr", 10: "fgetxattr", 11: "listxattr",
    12: "llistxattr", 13: "flistxattr", 14: "removexattr", 15: "lremovexattr", 16: "fremovexattr",
    18: "lookup_dcookie", 19: "eventfd2", 20: "epoll_create1", 21: "epoll_ctl", 22: "epoll_pwait",
    30: "ioprio_set", 31: "ioprio_get", 32: "flock", 33: "mknodat", 36: "symlinkat", 37: "linkat",
    39: "umount2", 40: "mount", 41: "pivot_root", 42: "nfsservctl", 43: "statfs", 44: "fstatfs",
    45: "truncate", 47: "fallocate", 50: "fchdir", 51: "chroot", 52: "fchmod", 53: "fchmodat", 54: "fchownat",
    55: "fchown", 58: "vhangup", 60: "quotactl", 61: "getdents64", 71: "sendfile", 72: "pselect6",
    73: "ppoll", 74: "signalfd4", 75: "vmsplice", 76: "splice", 77: "tee", 81: "sync", 82: "fsync",
    83: "fdatasync", 84: "sync_file_range", 85: "timerfd_create", 86: "timerfd_settime",
    87: "timerfd_gettime", 88: "utimensat", 89: "acct", 97: "unshare", 104: "kexec_load", 105: "init_module",
    106: "delete_module", 116: "syslog", 117: "ptrace", 142: "reboot", 162: "setdomainname",
    170: "settimeofday", 171: "adjtimex", 198: "socket", 199: "socketpair", 200: "bind", 201: "listen",
    202: "accept", 203: "connect", 204: "getsockname", 205: "getpeername", 206: "sendto", 207: "recvfrom",
    208: "setsockopt", 209: "getsockopt", 210: "shutdown", 211: "sendmsg", 212: "recvmsg", 213: "readahead",
    217: "add_key", 218: "request_key", 219: "keyctl", 223: "fadvise64", 224: "swapon", 225: "swapoff",
    228: "mlock", 229: "munlock", 234: "remap_file_pages", 235: "mbind", 236: "get_mempolicy",
    237: "set_mempolicy", 238: "migrate_pages", 239: "move_pages", 241: "perf_event_open", 242: "accept4",
    243: "recvmmsg", 258: "riscv_hwprobe", 262: "fanotify_init", 263: "fanotify_mark",
    264: "name_to_handle_at", 265: "open_by_handle_at", 266: "clock_adjtime", 267: "syncfs", 268: "setns",
    269: "sendmmsg", 270: "process_vm_readv", 271: "process_vm_writev", 272: "kcmp", 273: "finit_module",
    274: "sched_setattr", 275: "sched_getattr", 277: "seccomp", 279: "memfd_create", 280: "bpf",
    282: "userfaultfd", 285: "copy_file_range", 286: "preadv2", 287: "pwritev2", 288: "pkey_mprotect",
    289: "pkey_alloc", 290: "pkey_free", 292: "io_pgetevents", 293: "rseq", 294: "kexec_file_load",
    425: "io_uring_setup", 426: "io_uring_enter", 427: "io_uring_register", 428: "open_tree",
    429: "move_mount", 430: "fsopen", 431: "fsconfig", 432: "fsmount", 433: "fspick", 437: "openat2",
    440: "process_madvise", 441: "epoll_pwait2", 442: "mount_setattr", 443: "quotactl_fd",
    444: "landlock_create_ruleset", 445: "landlock_add_rule", 446: "landlock_restrict_self",
    447: "memfd_secret", 448: "process_mrelease", 449: "futex_waitv", 450: "set_mempolicy_home_node",
    451: "cachestat", 452: "fchmodat2", 453: "map_shadow_stack", 454: "futex_wake", 455: "futex_wait",
    456: "futex_requeue", 462: "mseal",
}  # fmt: skip


def name_of_call(number: int, function: str = "") -> str:
    """Return the name of a system call: from this table, or that of its own function, or its number."""
    return _NAMES.get(number) or function or f"system call {number}"
