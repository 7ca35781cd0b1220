"""The handler of each trap, and whether the native core may answer calls without Python.

A handler that replaces another gets every trap from then on: tracing, recording and fuzzing put their own in
place of the monitor's, so no code has to check at each trap whether there is an observer.
"""

import ctypes
from collections.abc import Callable
from typing import Any, Final

from pltvm.engine.context import Context
from pltvm.engine.core import CoreHart
from pltvm.engine.trap import Cause

# Returns True if it has changed no register of the context but a0, so that no other has to be loaded again.
Handler = Callable[[Context], bool | None]

_ECALL_U: Final = int(Cause.ECALL_U)


class Handlers(dict[int, Handler]):
    """The handler of each cause. The core answers calls only while ecalls have the handler of
    `answer_with`."""

    def __init__(self, core: CoreHart) -> None:
        super().__init__()
        self._core = core
        self._own: dict[int, Handler] = {}  # as they were set
        self._listener: Callable[[int, Context], None] | None = None
        # handler whose calls the core answers, and the C function
        self._answer: tuple[Handler | None, int] = (None, 0)
        self._looked_at = False  # by Python functions that watch which context runs
        self._around: list[Callable[[int], int]] = []

    def __setitem__(self, cause: int, handler: Handler) -> None:
        self._own[cause] = handler
        super().__setitem__(cause, self._told(cause, handler))
        self._changed()

    def update(self, *others: Any, **named: Any) -> None:
        for cause, handler in dict(*others, **named).items():
            self[cause] = handler

    def given(self, cause: int) -> Handler:
        """Return the handler of a cause as it was set, without the listener of `tell`."""
        return self._own[cause]

    def tell(self, listener: Callable[[int, Context], None]) -> None:
        """Call `listener` first, with cause and context, at each trap that comes to Python.

        It does not get traps that the core answers: `answer_through` is for those.
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
        """Let the core answer traps by this C function of type `answer_function`, which gets `data` as
        `above`.

        It does so while `handler` handles ecalls: a handler that replaces it gets all of them.
        """
        self._answer = handler, ctypes.cast(function, ctypes.c_void_p).value or 0  # type: ignore[arg-type]
        self._core.above = data
        self._changed()

    def answer_through(self, wrap: Callable[[int], int]) -> None:
        """Put a C function of type `answer_function` before the one that answers.

        `wrap` gets the address of the latter whenever it changes, and returns that of the former.
        """
        self._around.append(wrap)
        self._changed()

    def leave_to_python(self) -> None:
        """Let the core answer no calls from now on: a Python function has to know the context of each
        block."""
        self._looked_at = True
        self._changed()

    def _changed(self) -> None:
        handler, function = self._answer
        whole = handler is not None and self._own.get(_ECALL_U) == handler and not self._looked_at
        answer = function if whole else 0
        for wrap in self._around:
            answer = wrap(answer) if answer else 0
        self._core.answer = answer or None
