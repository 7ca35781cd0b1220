"""The error of a system call: an error number of Linux, which it returns negated."""

from collections.abc import Callable
from errno import EINVAL, EIO, ENOMEM
from functools import wraps
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


class LinuxError(Exception):
    """A system call fails with this error number."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def linux_errors(call: Callable[_P, _T]) -> Callable[_P, _T]:
    """Wrap `call`: errors of the real system or Python become LinuxErrors, as a guest chose the arguments."""

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
