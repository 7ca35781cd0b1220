"""Hooks of a machine: functions that are called at its events.

with machine.watch(on_call=print, on_fault=print):
    enclave.run()
"""

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, TypedDict

from pltvm.errors import ArgumentError
from pltvm.host import arguments
from pltvm.view import events
from pltvm.view.events import KINDS
from pltvm.view.watching import EVERY, Hook, Watching


class Hooks(TypedDict, total=False):
    """The hooks that `Machine.watch` takes; their return values are ignored."""

    on_trap: Callable[[events.Trap], object] | None
    on_call: Callable[[events.Call], object] | None
    on_return: Callable[[events.Return], object] | None
    on_ocall: Callable[[events.Ocall], object] | None
    on_host_call: Callable[[events.HostCall], object] | None
    on_switch: Callable[[events.Switch], object] | None
    on_satp: Callable[[events.Satp], object] | None
    on_state: Callable[[events.State], object] | None
    on_fault: Callable[[events.Fault], object] | None
    on_page: Callable[[events.Page], object] | None
    on_pte: Callable[[events.Pte], object] | None
    on_pmp: Callable[[events.Pmp], object] | None
    on_restore: Callable[[events.Restore], object] | None
    on_event: Callable[[events.Event], object] | None


class Watch:
    """Hooks that are called until `stop`, or the end of a `with`."""

    def __init__(self, watching: Watching, hooks: dict[str, Hook]) -> None:
        self._watching, self._hooks = watching, hooks
        watching.add(hooks)

    def stop(self) -> None:
        """Report pending events and then stop calling the hooks; a second call does nothing.

        Raises an error that a hook has raised outside a run, since the last run.
        """
        if self._hooks:
            self._watching.look()
        hooks, self._hooks = self._hooks, {}
        self._watching.remove(hooks)
        self._watching.raise_late()

    def __enter__(self) -> "Watch":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        try:
            self.stop()
        except Exception:
            if error is None:
                raise

    def __repr__(self) -> str:
        return f"<Watch {', '.join(self._hooks)}>" if self._hooks else "<Watch stopped>"


def checked(hooks: Mapping[str, Any]) -> dict[str, Hook]:
    """Return the hooks given to `Machine.watch`, by kind. Raises TypeError, ArgumentError."""
    found = {}
    for name, hook in hooks.items():
        kind = name.removeprefix("on_")
        if not name.startswith("on_") or kind not in (*KINDS, EVERY):
            raise ArgumentError(f"{name}: there are on_{', on_'.join(KINDS)}, and on_{EVERY} for all of them")
        if arguments.function(name, hook) is not None:
            found[kind] = hook
    if not found:
        raise ArgumentError("nothing to watch: give a hook, such as on_call=print")
    return found
