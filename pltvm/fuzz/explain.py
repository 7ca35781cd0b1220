"""Explains a problem: the kind of bug, a signature, and a report with symbols."""

import hashlib
from dataclasses import replace
from typing import Final

from pltvm.fuzz import results
from pltvm.fuzz.checker import report_in
from pltvm.fuzz.execution import Problem
from pltvm.fuzz.results import Finding
from pltvm.fuzz.stack import DEPTH
from pltvm.fuzz.target import Target
from pltvm.host.report import FaultReport
from pltvm.host.text import hexdump
from pltvm.monitor.abi import MASK64

_FRAMES: Final = 3  # frames in a signature
_STACK_GUARD: Final = 1 << 20  # bytes below a stack: accesses there mean that it is used up
_NEAR: Final = 4096  # largest distance between a number of the input and an address derived from it
_SMALL: Final = 1 << 16  # numbers below are no addresses
_SHOWN: Final = 256  # bytes of the input
# Functions whose lines are not useful in a signature.
_LIBRARY: Final = frozenset((
    "memcpy", "memmove", "memset", "memcmp",
    "strlen", "strcpy", "strncpy", "strcat", "strcmp", "strncmp", "strchr",
))  # fmt: skip
_ADVICE: Final = {
    results.FAULT: "the enclave is destroyed, and with it the chain of its callers",
    results.STACK: "the stack is used up: recursion, or a large local variable",
    results.HANG: "the enclave does not end: its caller waits until the host destroys both",
    results.GIVEN_AWAY: "the enclave uses memory that it has passed on; whoever has it now could change it",
    results.POINTER: "a number of the input is used as an address: who sends it can read or write there",
    results.SECRET: "bytes that are marked secret reach somebody who may not have them",
    results.STALE: "a response holds memory that nobody has written for it: what was there before",
    results.OTHER_CLIENT: "memory of one client reaches another",
    results.REFUSAL: "a call that fails must leave the server as it was",
}


def explain(target: Target, data: bytes, problem: Problem) -> Finding:
    """Return the finding for a problem that was described in full."""
    kind = kind_of(target, data, problem)
    frames = [_frame(target, problem, pc) for pc in problem.stack]
    marks = [*_what(problem, kind), *_marks(problem, frames)]
    own = [frame for frame in frames if _function(frame) not in _LIBRARY]
    line = own[0].partition("(")[2] if own else ""
    signature = hashlib.sha256("\n".join([*marks, line]).encode()).hexdigest()[:16]
    where = "" if kind == results.HANG or not frames else f" at {frames[0]}"
    summary = f"{problem.words}{where}"
    checked = report_in(bytes(target.text), _function(frames[0])) if frames else []
    report = _report(target, data, problem, kind, summary, frames, checked)
    return Finding(kind, signature, summary, report, data, {"checker": checked} if checked else {})


def _what(problem: Problem, kind: str) -> tuple[str, str]:
    """Return kind and cause for a signature.

    One place is one bug, whether or not its address is a number of the input, and whether it loads or stores.
    """
    fault = problem.fault
    if kind == results.POINTER or (kind == results.FAULT and fault and fault.address not in (None, fault.pc)):
        return results.FAULT, ""
    return kind, problem.words if kind == results.FAULT else ""


def _marks(problem: Problem, frames: list[str]) -> list[str]:
    """Return the innermost frames for a signature: functions, or addresses without symbols.

    The target of a wild jump is not useful, and only frames that load or store are certainly not such
    targets.
    """
    marks = [_function(frame) for frame in frames[:_FRAMES]]
    fault = problem.fault
    if marks and marks[0].startswith("0x") and (fault is None or fault.address in (None, fault.pc)):
        marks[0] = ""
    return marks


def _function(frame: str) -> str:
    """Return the function of a frame, or its address."""
    return frame.split("+")[0].split(" ")[0]


def kind_of(target: Target, data: bytes, problem: Problem) -> str:
    """Return the kind of bug that a fault shows."""
    fault = problem.fault
    if problem.kind != results.FAULT or fault is None:
        return problem.kind
    if fault.given_away:
        return results.GIVEN_AWAY
    low, high = target.stack_range()
    sp, address = fault.registers["sp"], fault.address
    if low - _STACK_GUARD <= sp < low or (
        address is not None and low - _STACK_GUARD <= address < low <= sp < high
    ):
        return results.STACK
    if address is not None and address != fault.pc and _is_of_input(address, data):
        return results.POINTER
    return results.FAULT


def _is_of_input(address: int, data: bytes) -> bool:
    """Whether 8 bytes of the input are a number near the address."""
    if address < _SMALL or len(data) < 8:
        return False
    ends = (len(data) - (len(data) - start) % 8 for start in range(8))
    aligned = (memoryview(data)[start:end].cast("Q") for start, end in enumerate(ends))
    return any(
        number >= _SMALL and (number - address + _NEAR - 1) & MASK64 < 2 * _NEAR - 1
        for numbers in aligned
        for number in numbers
    )


def _frame(target: Target, problem: Problem, pc: int) -> str:
    symbols = target.symbols_of(problem.fault.eid) if problem.fault else target.created.inner.symbols
    return str(symbols.locate(pc)) if symbols else f"{pc:#x}"


def _report(
    target: Target,
    data: bytes,
    problem: Problem,
    kind: str,
    summary: str,
    frames: list[str],
    checked: list[str],
) -> str:
    lines = [f"{kind}: {summary}", f"  {_ADVICE[kind]}", ""]
    if checked:
        lines += [*checked, ""]
    if problem.fault is not None:
        # The callers' code never runs, so their place is not shown.
        fault = problem.fault
        own = tuple(one for one in fault.activations if target.known(one.eid) is not None)
        fault = replace(fault, activations=own)
        report = FaultReport.of(fault, fault.name, target.symbols_of(fault.eid), target.known)
        lines += [str(report), ""]
    else:
        lines += _stack(frames)
    lines += [f"input, {len(data)} bytes, layout {', '.join(target.layouts)}:"]
    lines += hexdump(data[:_SHOWN])
    if len(data) > _SHOWN:
        lines.append(f"  … {len(data) - _SHOWN} more")
    return "\n".join(lines) + "\n"


def _stack(frames: list[str]) -> list[str]:
    """Return the frames as text, if there is no fault report."""
    lines = [f"stack, innermost first (from return addresses, at most {DEPTH}):"]
    return [*lines, *([f"  {frame}" for frame in frames] or ["  (unknown)"]), ""]
