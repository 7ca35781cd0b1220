"""Every error the package raises on purpose: one base class, so a caller can catch them all.

A message is one line that says what is wrong and, where that helps, what to do. Guest behaviour never
raises: it ends in an error code or a fault report (see `pltvm.monitor.fault`).
"""

from typing import Any


class PltvmError(Exception):
    """Base of all errors of this package."""


class ArgumentError(PltvmError, ValueError):
    """An argument or an option that is invalid by itself; a command ends with status 2 for it."""


class ElfError(PltvmError):
    """The file is not an ELF that can run as an enclave here."""


class BuildError(PltvmError):
    """The guest compiler is missing or refused the program."""


class PhysicalAddressError(PltvmError):
    """A physical address or range outside guest RAM."""


class AccessFault(PltvmError):
    """The host kernel accessed memory that is not its own; nothing was read or written."""


class OutOfMemory(PltvmError):
    """Guest RAM is used up."""


class FromCallback(BaseException):
    """Carries an error raised by a callback of the user past all code that handles our own errors.

    Made and unwrapped in `pltvm.host.output`.
    """

    def __init__(self, original: Exception) -> None:
        super().__init__(str(original))
        self.original = original


class EngineError(PltvmError):
    """Unicorn refused something that no guest could have caused."""


class EnclaveError(PltvmError):
    """A request about an enclave that the monitor or the driver refused."""


class CallError(EnclaveError):
    """A call of a server from Python that gave no answer: `Enclave.call`.

    `status` is "faulted", "interrupted" (time limit), "busy", "refused", "stopped", "destroyed" or
    "put back". `report` describes the fault, or the place where the time limit found the server, if there is
    one; `output` is what was printed until then, `notes` are as in a Result.
    """

    def __init__(
        self, message: str, status: str, report: Any = None, output: str = "", notes: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message)
        self.status, self.report, self.output, self.notes = status, report, output, notes
        for note in (*notes, *([str(report)] if report is not None else [])):
            self.add_note(note)


class SnapshotError(PltvmError):
    """Some state of the machine cannot be saved or restored; the message says which, and what to do."""


class Interrupted(BaseException):
    """The run in progress is to end (see `pltvm.engine.halt`). It is no error, so no handler of errors
    catches it; the code that started the run does."""
