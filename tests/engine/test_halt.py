"""A request to end is a state: whoever looks, whenever, sees it."""

import os
import socket
import threading
import time

import pytest

from pltvm.engine.halt import Halt
from pltvm.engine.trap import Cause
from pltvm.errors import Interrupted, PltvmError
from tests.asm import A0, ZERO, addi, ebreak, ecall, jal
from tests.engine.harness import CODE, End


def test_the_first_reason_counts():
    halt = Halt()
    halt.check()
    assert (halt.asked, halt.reason) == (False, "")
    halt.ask("one")
    halt.ask("two")
    assert (halt.asked, halt.reason) == (True, "one")
    with pytest.raises(Interrupted, match="one"):
        halt.check()


def test_it_is_no_error():
    assert not issubclass(Interrupted, PltvmError | Exception)


@pytest.mark.parametrize("seconds", [None, 1e6, 8e9])
@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_wait_ends_when_it_is_asked_for(seconds, when):
    halt = Halt()
    reading, writing = os.pipe()
    timer = threading.Timer(0 if when == "before" else 0.05, halt.ask, ["enough"])
    timer.start()
    if when == "before":
        timer.join()
    for descriptor in (None, reading):
        with pytest.raises(Interrupted):
            halt.wait(seconds, descriptor)
    timer.join()
    os.close(reading)
    os.close(writing)


def test_a_wait_ends_with_its_time_or_with_its_file():
    halt = Halt()
    reading, writing = os.pipe()
    start = time.monotonic()
    halt.wait(0.02, reading)
    assert time.monotonic() - start >= 0.02
    halt.wait(0)
    os.write(writing, b"x")
    halt.wait(None, reading)
    os.close(writing)
    halt.wait(None, reading)  # the end is to be read, too
    os.close(reading)


def test_a_wait_does_not_end_because_something_could_be_written():
    one, other = socket.socketpair()
    with one, other:
        start = time.monotonic()
        Halt().wait(0.02, one.fileno())
        assert time.monotonic() - start >= 0.02


def test_who_waits_sleeps():
    class Counted(Halt):
        looked = 0

        def check(self):
            self.looked += 1
            super().check()

    reading, writing = os.pipe()
    for descriptor in (None, reading):
        halt = Counted()
        halt.wait(0.05, descriptor)
        assert halt.looked <= 4
    os.close(reading)
    os.close(writing)


def test_it_leaves_no_descriptor_open():
    before = os.listdir("/proc/self/fd")
    for _ in range(10):
        halt = Halt()
        halt.wait(0)
        halt.ask("")
    del halt
    assert os.listdir("/proc/self/fd") == before


def test_no_guest_code_runs_once_it_is_asked_for(machine):
    context = machine.space(addi(A0, A0, 1) + ebreak()).context()
    machine.hart.halt.ask("enough")
    assert machine.run(context) == End(Cause.INTERRUPT, CODE)
    assert context.register(A0) == 0
    machine.hart.halt = Halt()
    assert machine.run(context).cause == Cause.BREAKPOINT
    assert context.register(A0) == 1


@pytest.mark.parametrize("code", [ecall() + jal(ZERO, -4), jal(ZERO, 0)], ids=["traps", "none"])
def test_the_run_ends_whatever_the_handlers_do(machine, code):
    hart = machine.hart
    told = []
    other = machine.space(code, asid=9).context()
    hart.handlers[Cause.ECALL_U] = lambda _context: None
    hart.handlers[Cause.INTERRUPT] = lambda context: (told.append(context), setattr(hart, "current", other))
    hart.current = context = machine.space(code).context()
    halt = hart.halt

    def stop():
        while not told:
            halt.ask("enough")
            hart.interrupt()
            time.sleep(0.001)

    thread = threading.Thread(target=stop)
    thread.start()
    hart.run()
    thread.join()
    assert told == [context]
    hart.run()
    assert told == [context, other]
