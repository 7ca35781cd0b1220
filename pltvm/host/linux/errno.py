"""Linux error numbers as system calls return them, negated."""

from typing import Final

EPERM: Final = 1
ENOENT: Final = 2
ESRCH: Final = 3
EINTR: Final = 4
EIO: Final = 5
EBADF: Final = 9
EAGAIN: Final = 11
ENOMEM: Final = 12
EACCES: Final = 13
EFAULT: Final = 14
EBUSY: Final = 16
EEXIST: Final = 17
ENOTDIR: Final = 20
EISDIR: Final = 21
EINVAL: Final = 22
EMFILE: Final = 24
ENOTTY: Final = 25
EFBIG: Final = 27
ENOSPC: Final = 28
ESPIPE: Final = 29
ERANGE: Final = 34
ENAMETOOLONG: Final = 36
ENOSYS: Final = 38
ETIMEDOUT: Final = 110


class LinuxError(Exception):
    """A system call fails with this error number."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number
