"""Who gets which trap, and whether the native core may answer calls before Python hears of them.

A handler that is replaced is told of every trap from then on: so tracing, recording and fuzzing put their own
in place of the monitor's, and nobody has to ask at a trap whether somebody looks.
"""

import ctypes
from collections.abc import Callable
from typing import Any, Final

from pltvm.engine.context import Context
from pltvm.engine.core import CoreHart
from pltvm.engine.trap import Cause

Handler = Callable[[Context], None]

_ECALL_U: Final = int(Cause.ECALL_U)


class Handlers(dict[int, Handler]):
    """The handler of each cause. The core answers calls only while they are `answer_with`'s."""

    def __init__(self, core: CoreHart) -> None:
        super().__init__()
        self._core = core
        self._own: dict[int, Handler] = {}  # as they were given
        self._listener: Callable[[int, Context], None] | None = None
        self._answer: tuple[Handler | None, int] = (None, 0)  # whose calls the core answers, and by what
        self._looked_at = False  # by Python functions that want to know who runs
        self._around: list[Callable[[int], int]] = []

    def __setitem__(self, cause: int, handler: Handler) -> None:
        self._own[cause] = handler
        super().__setitem__(cause, self._told(cause, handler))
        self._changed()

    def update(self, *others: Any, **named: Any) -> None:
        for cause, handler in dict(*others, **named).items():
            self[cause] = handler

    def given(self, cause: int) -> Handler:
        """The handler of a cause as it was given, without the listener of `tell`."""
        return self._own[cause]

    def tell(self, listener: Callable[[int, Context], None]) -> None:
        """From now on `listener` gets each cause and context first, of what comes to Python.

        What the core answers it does not hear of: who wants to knows it by `answer_through`.
        """
        self._listener = listener
        for cause, handler in self._own.items():
            super().__setitem__(cause, self._told(cause, handler))

    def _told(self, cause: int, handler: Handler) -> Handler:
        listener = self._listener
        if listener is None:
            return handler

        def told(context: Context) -> None:
            listener(cause, context)
            handler(context)

        return told

    def answer_with(self, handler: Handler, function: object, data: int) -> None:
        """The core answers traps by this C function of type `answer_function`, which gets `data` as `above`.

        For as long as ecalls are `handler`'s: who takes them over gets all of them.
        """
        self._answer = handler, ctypes.cast(function, ctypes.c_void_p).value or 0  # type: ignore[arg-type]
        self._core.above = data
        self._changed()

    def answer_through(self, wrap: Callable[[int], int]) -> None:
        """From now on a C function of type `answer_function` comes before the one that answers.

        `wrap` gets the address of the latter whenever it changes, and gives that of the former.
        """
        self._around.append(wrap)
        self._changed()

    def leave_to_python(self) -> None:
        """From now on the core answers no call: a Python function wants to know of each block who runs."""
        self._looked_at = True
        self._changed()

    def _changed(self) -> None:
        handler, function = self._answer
        whole = handler is not None and self._own.get(_ECALL_U) == handler and not self._looked_at
        answer = function if whole else 0
        for wrap in self._around:
            answer = wrap(answer) if answer else 0
        self._core.answer = answer or None
