"""After any executions the machine is what it was, and an execution gives the same whatever ran before it."""

import os
import random
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from pltvm.fuzz import layout
from pltvm.fuzz.havoc import seed_state
from pltvm.fuzz.layout import Message
from pltvm.fuzz.options import Options
from pltvm.fuzz.results import FAULT, HANG
from tests.fuzz import runs
from tests.fuzz.pictures import Picture
from tests.fuzz.runs import LAYOUTS, Recorder, options_of, random_input
from tests.model.ram import changed_words, ram_in, ram_of

INPUTS = 24
BATCHES, BATCH = 6, 40


@pytest.fixture(params=LAYOUTS)
def options(request: pytest.FixtureRequest, anything: Path, anything_enclave: Path) -> Options:
    """The options of each layout in turn."""
    return options_of(request.param, anything, anything_enclave)


def test_everything_is_as_before(options: Options) -> None:
    """Each input alone, then batches of mutations: with the monitor's own check, all of RAM, all objects."""
    rng = random.Random(f"{options.layout} {options.channels} {options.memory}")
    recorder = Recorder(options)
    recorder.target.arena.seed(seed_state(5))
    picture = Picture(recorder.target)
    inputs = [random_input(rng, options) for _ in range(INPUTS)]
    first = []
    for at, data in enumerate(inputs):
        first.append(recorder.run(data))
        if at % 4 == 3:
            assert picture.differs() == []
    recorder.target.arena.set_corpus(inputs)
    problems = 0

    def count(_data: bytes, _new: int, problem: object) -> None:
        nonlocal problems
        problems += problem is not None

    for at in range(BATCHES):
        recorder.target.fuzz(inputs[at], BATCH, count)
        assert picture.differs() == []
    assert problems
    for at in rng.sample(range(INPUTS), INPUTS):
        assert recorder.run(inputs[at]) == first[at], inputs[at].hex()
    new = Recorder(options)
    for at in range(0, INPUTS, 4):
        assert new.run(inputs[at]) == first[at], inputs[at].hex()


def test_the_copy_is_what_ram_is(options: Options) -> None:
    """It is made of the machine's snapshot, not from RAM, most of which was never touched."""
    target = Recorder(options).target
    assert changed_words(ram_of(target.memory), ram_in(bytes(target.snapshot.copy))) == []
    assert any(target.snapshot.copy)


def inputs_for(options: Options, *steps: int) -> bytes:
    """The input that makes anything.c do these steps, each with its value."""
    program = bytes((*steps, 0, 0))
    if options.layout == layout.CALLS:
        return layout.join_calls([Message(0, program)])
    return bytes(8) + program if options.layout == layout.CALL else program


SIMPLE = pytest.mark.parametrize("name", ["call", "calls", "relay"])


@SIMPLE
def test_all_ends(name: str, anything: Path, anything_enclave: Path) -> None:
    """The ways in which an execution can end are what they are, in any order, and leave nothing behind."""
    options = options_of(name, anything, anything_enclave)
    work = (runs.MMAP, 2, runs.GROW, 1, runs.SHM_GET, 1, runs.CALL, 2, runs.STORE, 9, runs.PRINT, 1)
    ends = {
        (): None,
        (runs.FAULT, 0): FAULT,
        (runs.FAULT, 1): FAULT,
        (runs.FAULT, 2): FAULT,
        (runs.FAULT, 3): FAULT,
        (runs.FAULT, 4): FAULT,
        (runs.FAULT, 5): FAULT,
        (runs.HANG, 200): HANG,
        (runs.EXIT, 70): None if name == "relay" else FAULT,
        (runs.WRONG_CALL, 250): FAULT,
        (runs.YIELD, 0, runs.FAULT, 2): FAULT,
    }
    recorder = Recorder(options)
    picture = Picture(recorder.target)
    seen = {}
    rng = random.Random(3)
    for _ in range(3):
        for end in rng.sample(list(ends), len(ends)):
            for steps in ((), work):
                result = recorder.run(inputs_for(options, *steps, *end))
                kind = result.problem[0] if result.problem else None
                assert kind == ends[end], (end, result.problem)
                assert seen.setdefault((steps, end), result) == result
        assert picture.differs() == []


def test_what_happens_by_the_clock_changes_nothing(anything: Path, anything_enclave: Path) -> None:
    """The engine has a thread that stops code at unknown times; no block counts twice for that."""
    recorder = Recorder(options_of("call", anything, anything_enclave))
    data = inputs_for(recorder.target.options, *(runs.COUNT, 255) * 30)
    over = threading.Event()

    def disturb() -> None:
        while not over.is_set():
            recorder.target.hart.refresh_tlb()
            time.sleep(0.0001)

    first = recorder.run(data)
    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        results = [recorder.run(data) for _ in range(200)]
    finally:
        over.set()
        thread.join()
    assert results == [first] * 200


@SIMPLE
def test_server_goes_on_after_a_yield(name: str, anything: Path, anything_enclave: Path) -> None:
    """Also when it was called by another server."""
    options = options_of(name, anything, anything_enclave)
    recorder = Recorder(options)
    yields = (runs.YIELD, 0, runs.STORE, 1, runs.YIELD, 0)
    assert recorder.run(inputs_for(options, *yields)).problem is None
    for way in ((), (runs.CALL, 1)):
        result = recorder.run(inputs_for(options, *way, *yields, runs.FAULT, 2))
        assert result.problem is not None, way
        assert result.problem[0] == FAULT


def test_yield_in_a_call_of_the_second_client(anything: Path, anything_enclave: Path) -> None:
    """The server runs on for the client that called, not for the one that the caller gave way to before."""
    options = options_of("calls of clients", anything, anything_enclave)
    body = bytes((runs.YIELD, 0, runs.STORE, 3))
    end = bytes(2)
    messages = [Message(1, body + end, client) for client in (1, 0, 1, 2)]
    fault = Message(0, body + bytes((runs.FAULT, 2)), 1)
    recorder = Recorder(options)
    assert recorder.run(layout.join_calls(messages)).problem is None
    result = recorder.run(layout.join_calls([*messages, fault]))
    assert result.problem is not None
    assert result.problem[0] == FAULT


@SIMPLE
def test_pages_of_code_and_data(name: str, anything: Path, anything_enclave: Path) -> None:
    """Code that an execution wrote is forgotten, and how often its page flipped is, too."""
    options = options_of(name, anything, anything_enclave)
    recorder = Recorder(options)
    for last in (0, 2):  # 2: the page is for data again at the end
        old = inputs_for(options, runs.CODE, 0)  # the code that the ELF has
        written = inputs_for(options, runs.CODE, 17 | last)
        often = inputs_for(options, *(runs.CODE, 19, runs.CODE, 2, runs.CODE, 35) * 2)
        first = [recorder.run(data) for data in (old, written, often)]
        assert first[0].path != first[1].path
        for _ in range(12):  # more than a page table's patience with flips
            assert [recorder.run(data) for data in (old, written, often)] == first
        assert [recorder.run(data) for data in (often, written, old)] == first[::-1]


@pytest.mark.parametrize("keep", [False, True])
def test_what_is_new_is_new_once(keep: bool, anything: Path, anything_enclave: Path) -> None:
    target = Recorder(options_of("call", anything, anything_enclave)).target
    data = bytes(8) + bytes((runs.MMAP, 1))
    assert target.execute(data, keep=keep).new == 2
    assert target.execute(data, keep=keep).new == (0 if keep else 2)


def test_input_is_cut_and_the_rest_of_memory_is_zero(anything: Path, anything_enclave: Path) -> None:
    """A short input after a long one finds nothing of it; what is too long is cut."""
    recorder = Recorder(options_of("call", anything, anything_enclave))
    short = bytes(8) + bytes((runs.STORE, 1))
    first = recorder.run(short)
    recorder.run(bytes(8) + bytes((runs.STORE, 1)) * 100)
    assert recorder.run(short) == first
    most = recorder.target.options.most_bytes
    full = bytes(8) + bytes((runs.STORE, 1)) * 4000
    assert recorder.run(full) == recorder.run(full[:most])
    assert len(recorder.target.arena.input()) == most


def test_an_interrupt_ends_the_batch_and_leaves_nothing(
    anything: Path, anything_enclave: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder(options_of("call", anything, anything_enclave))
    data = bytes(8) + bytes((runs.MMAP, 1, runs.PRINT, 1, runs.MMAP, 2))
    first = recorder.run(data)
    picture = Picture(recorder.target)
    target = recorder.target

    def interrupting(_text: bytes) -> None:
        target.hart.interrupt()

    monkeypatch.setattr(target.caller, "output", interrupting)  # type: ignore[attr-defined]
    with pytest.raises(KeyboardInterrupt):
        target.execute(data)
    monkeypatch.undo()
    assert picture.differs() == []
    assert recorder.run(data) == first


def test_ctrl_c_ends_an_execution_that_would_take_for_ever(anything: Path, anything_enclave: Path) -> None:
    """Outside a campaign, as for one input that is shown: with any limit of blocks."""
    options = replace(options_of("call", anything, anything_enclave), blocks=1 << 40)
    recorder = Recorder(options)
    first = recorder.run(bytes(8))
    target = recorder.target
    timer = threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGINT])
    guard = threading.Timer(20, target.hart.interrupt)  # which ends it too, late
    began = time.monotonic()
    timer.start()
    guard.start()
    with pytest.raises(KeyboardInterrupt):
        target.execute(bytes(8) + bytes((runs.HANG, 255)))
    guard.cancel()
    assert time.monotonic() - began < 15
    assert recorder.run(bytes(8)) == first
