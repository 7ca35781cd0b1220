"""Linux error numbers as system calls return them, negated."""

from collections.abc import Callable
from functools import wraps
from typing import Final, ParamSpec, TypeVar

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
EOVERFLOW: Final = 75
ELOOP: Final = 40
ETIMEDOUT: Final = 110

_P = ParamSpec("_P")
_T = TypeVar("_T")


class LinuxError(Exception):
    """A system call fails with this error number."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def linux_errors(call: Callable[_P, _T]) -> Callable[_P, _T]:
    """`call`, but what the real system or Python refuse raises LinuxError: a guest chose the arguments."""

    @wraps(call)
    def checked(*arguments: _P.args, **options: _P.kwargs) -> _T:
        try:
            return call(*arguments, **options)
        except OSError as error:
            raise LinuxError(error.errno or EIO) from None
        except (OverflowError, ValueError):  # a number beyond a C type, a NUL in a path
            raise LinuxError(EINVAL) from None
        except MemoryError:
            raise LinuxError(ENOMEM) from None

    return checked
