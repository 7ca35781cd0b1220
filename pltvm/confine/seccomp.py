"""seccomp: the kernel refuses given system calls from then on, for what Landlock does not check.

The filter is a program for the kernel's packet filter: it gets the number of each call and allows or refuses
it.

    load architecture    other than ours → refuse: numbers have other meanings there
    load number          x32 (bit 30)    → refuse: the same calls under other numbers
                         in the list     → refuse
    of ioctl, load the request; the two that type into a terminal → refuse
    allow

No package is used for it: `pyseccomp` needs libseccomp, which many machines do not have; `seccompy` is only
some months old, lets calls by x32 numbers pass, and takes 10 ms to import and load.
"""

import ctypes
import errno
import os
import struct
import sys
from collections.abc import Iterable
from typing import Final

from pltvm.confine.landlock import call, no_new_privileges

# Numbers on x86_64, and on machines with the generic ones. -1: there is no such call.
NETWORK: Final = {"socket": (41, 198)}  # of any family; a pair of sockets gives no access
EXEC: Final = {"execve": (59, 221), "execveat": (322, 281)}
ALWAYS: Final = {
    # other ways to files and the network, past this filter
    "io_uring_setup": (425, 425), "open_by_handle_at": (304, 265),
    # other processes
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    # owners and permissions of files, which Landlock does not check
    "chmod": (90, -1), "fchmodat": (268, 53), "fchmodat2": (452, 452),
    "chown": (92, -1), "lchown": (94, -1), "fchownat": (260, 54),
    "setxattr": (188, 5), "lsetxattr": (189, 6), "removexattr": (197, 14), "lremovexattr": (198, 15),
    # mounts
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430), "fsmount": (432, 432),
    "mount_setattr": (442, 442), "unshare": (272, 97), "setns": (308, 268),
    # the kernel itself, and parts of it that had many vulnerabilities
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "reboot": (169, 142),
    "swapon": (167, 224), "swapoff": (168, 225), "settimeofday": (164, 170), "clock_settime": (227, 112),
    "sethostname": (170, 161), "iopl": (172, -1), "ioperm": (173, -1), "acct": (163, 89),
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
}  # fmt: skip

_IOCTL: Final = (16, 29)
_TYPING: Final = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX
_SECCOMP: Final = (317, 277)
MACHINES: Final = {  # its number in the kernel's audit, and its column in the table
    "x86_64": (0xC000_003E, 0),
    "aarch64": (0xC000_00B7, 1),
    "riscv64": (0xC000_00F3, 1),
}
_X32: Final = 1 << 30

_LOAD, _IF_EQUAL, _IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER_AT, _ARCH_AT, _REQUEST_AT = 0, 4, 24  # in the data of a filter; the low half of the second argument
_ALLOW: Final = 0x7FFF_0000
_REFUSE: Final = 0x0005_0000 | errno.EPERM
_SET_FILTER, _ALL_THREADS = 1, 1


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))


def program(names: Iterable[str], machine: str) -> bytes:
    """Return the filter that refuses these calls on a `machine` of MACHINES."""
    known = {**NETWORK, **EXEC, **ALWAYS}
    audit, column = MACHINES[machine]
    numbers = [number for name in names if (number := known[name][column]) >= 0]
    steps = [(_LOAD, _ARCH_AT), (_IF_EQUAL, audit), (_LOAD, _NUMBER_AT)]
    steps += [(_IF_AT_LEAST, _X32)] if column == 0 else []
    steps += [(_IF_EQUAL, number) for number in numbers]
    steps += [(_IF_EQUAL, _IOCTL[column]), (_LOAD, _REQUEST_AT), *((_IF_EQUAL, one) for one in _TYPING)]
    refuse, allow = len(steps) + 1, len(steps)
    code = []
    for at, (operation, value) in enumerate(steps):
        yes, no = refuse - at - 1, 0  # number of instructions to skip
        if operation == _LOAD:
            yes = 0
        elif at == 1:  # our own architecture: go on
            yes, no = 0, refuse - at - 1
        elif at == allow - 4:  # an ioctl: go on; all others are allowed
            yes, no = 0, allow - at - 1
        code.append(struct.pack("=HBBI", operation, yes, no, value))
    return b"".join([*code, *(struct.pack("=HBBI", _RETURN, 0, 0, value) for value in (_ALLOW, _REFUSE))])


def refuse(names: Iterable[str]) -> None:
    """Make these calls fail with EPERM in all threads of this process, and in all that it starts.

    It cannot be undone. Raises OSError, and then changes nothing.
    """
    machine = os.uname().machine
    if machine not in MACHINES or sys.maxsize < 1 << 32:
        raise OSError(errno.ENOSYS, f"the numbers of system calls of {machine} are not known here")
    code = program(names, machine)
    no_new_privileges()
    argument = _Program(len(code) // 8, code)
    number = _SECCOMP[MACHINES[machine][1]]
    if call(number, _SET_FILTER, _ALL_THREADS, ctypes.byref(argument)):
        raise OSError(errno.EBUSY, "a thread has a filter of its own")
