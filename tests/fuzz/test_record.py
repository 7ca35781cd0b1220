"""What a run sends becomes files, and each of them is an input that the fuzzer takes."""

import struct
from pathlib import Path

import pytest

from pltvm.build import guest
from pltvm.engine.memory import PAGE
from pltvm.engine.trap import Cause
from pltvm.errors import PltvmError
from pltvm.fuzz import layout, record
from pltvm.fuzz.options import Options
from pltvm.fuzz.record import Recorder, recording
from pltvm.fuzz.worker import Worker
from pltvm.machine import Machine
from pltvm.monitor.abi import EnclaveType

ELVES = {name: str(example.elf) for name, example in guest.examples().items()}
PUT, GET, DELETE, LIST = 1, 2, 3, 4  # of the key-value store
OPERATIONS = [LIST, PUT, PUT, GET, PUT, GET, GET, LIST, DELETE, GET]  # that kv-client makes
RAM = 64 << 20


def files(folder: Path) -> dict[str, bytes]:
    """All that is beneath a folder."""
    found = {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    return dict(sorted(found.items()))


def machine_with_store() -> Machine:
    machine = Machine(RAM)
    machine.create(ELVES["kv-server"], name="kv-store", type=EnclaveType.SERVER)
    return machine


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of kv-client."""
    folder = tmp_path_factory.mktemp("seeds")
    machine = machine_with_store()
    said: list[str] = []
    with recording(machine, folder, said.append):
        assert "[kv] ok" in machine.create(ELVES["kv-client"]).run().output
    assert said == [f"recorded {len(files(folder))} new inputs in {folder}"]
    return folder


def test_each_call_is_an_input(seeds: Path) -> None:
    calls = [layout.split_call(file.read_bytes()) for file in sorted((seeds / "kv-store").iterdir())]
    assert [call.argument for call in calls] == OPERATIONS
    put = calls[1].memory
    assert put[:16] == (6).to_bytes(8, "little") + b"colour\0\0"
    assert put[PAGE:] == b"green"  # without the zeros behind it
    assert calls[0].memory == b"\0"  # nothing in it, but there is memory


def test_all_calls_are_one_input(seeds: Path) -> None:
    sequences = [file.read_bytes() for file in sorted((seeds / "kv-store.calls").iterdir())]
    assert all(len(sequence) <= 32 << 10 for sequence in sequences)
    messages = [message for data in sequences for message in layout.split_calls(data, 64, 4)]
    assert [message.argument for message in messages] == OPERATIONS
    assert {message.client for message in messages} == {0}


def test_the_fuzzer_starts_from_calls(seeds: Path) -> None:
    worker = Worker(Options(ELVES["kv-server"], memory=2 * PAGE))
    worker.accept(b"")
    edges = worker.edges
    for data in files(seeds / "kv-store").values():
        assert worker.explain(data) is None
        worker.accept(data)
    assert len(worker.corpus) > 4
    assert worker.edges > 3 * edges


def test_the_fuzzer_starts_from_sequences(seeds: Path) -> None:
    worker = Worker(Options(ELVES["kv-server"], calls=10, memory=2 * PAGE))
    first, _ = files(seeds / "kv-store.calls").values()
    one_by_one = Worker(Options(ELVES["kv-server"], memory=2 * PAGE))
    one_by_one.use(tuple(files(seeds / "kv-store").values()))
    assert worker.explain(first) is None
    assert worker.accept(first)
    assert worker.edges > one_by_one.edges  # what is found in the store was put there before


def test_the_fuzzer_starts_from_relay_and_shared_memory(tmp_path: Path) -> None:
    machine = Machine(RAM)
    servers = (("test-server", ELVES["server"]), ("test-server1", ELVES["server1"]))
    for name, elf in servers:
        machine.create(elf, name=name, type=EnclaveType.SERVER)
    caller = machine.create(ELVES["caller"], shm=b"hello" + bytes(PAGE), relay=b"there")
    with recording(machine, tmp_path, print):
        caller.run()
    recorded = files(tmp_path)
    assert recorded["caller.elf.relay/000000"] == b"there"
    assert recorded["caller.elf.shm/000000"] == bytes(16) + b"hello"
    assert {"test-server/000000", "test-server1/000000", "test-server.calls/000000"} < recorded.keys()
    for channel in ("relay", "shm"):
        worker = Worker(Options(ELVES["caller"], "enclave", servers=servers, channels=(channel,)))
        data = recorded[f"caller.elf.{channel}/000000"]
        assert worker.explain(data) is None
        assert worker.accept(data)


def test_host_programs(tmp_path: Path) -> None:
    for name in ("caller", "server", "server1"):
        (tmp_path / name).write_bytes(Path(ELVES[name]).read_bytes())
    program = guest.guest_dir() / "elf" / "host" / "musl" / "test-caller"
    machine = Machine()
    with recording(machine, tmp_path / "seeds", print):
        result = machine.run_program(program, "caller", "server", "server1", root=str(tmp_path))
    assert result.exit_code == 0
    recorded = files(tmp_path / "seeds")
    assert {name.partition("/")[0] for name in recorded} >= {"test-server", "test-server1.calls"}
    assert any(name.endswith(".shm/000000") for name in recorded)


def test_a_folder_is_added_to(seeds: Path, tmp_path: Path) -> None:
    for _ in range(2):  # the same run again adds nothing
        machine = machine_with_store()
        recorder = Recorder(machine)
        machine.create(ELVES["kv-client"]).run()
        new = recorder.write(tmp_path)
    assert new == 0
    assert files(tmp_path) == files(seeds)
    (tmp_path / "kv-store" / "000003").unlink()
    assert recorder.write(tmp_path) == 1
    assert "kv-store/000010" in files(tmp_path)


def test_two_clients_are_told_apart(tmp_path: Path) -> None:
    machine = machine_with_store()
    recorder = Recorder(machine)
    for _ in range(2):
        machine.create(ELVES["kv-client"]).run()
    recorder.write(tmp_path)
    sequences = files(tmp_path / "kv-store.calls").values()
    clients = [message.client for data in sequences for message in layout.split_calls(data, 64, 4)]
    assert clients == [0] * 10 + [1] * 10


def test_calls_that_wait_are_of_the_server_alone(tmp_path: Path) -> None:
    """Of three clients in turns two wait: who runs meanwhile is not called by them."""
    machine = Machine(RAM)
    recorder = Recorder(machine)
    machine.create(ELVES["counter"], name="counter", type=EnclaveType.SERVER)
    shm = struct.pack("<QQ", 1, 5)
    clients = [machine.create(ELVES["count-client"], name=f"client{n}", shm=shm) for n in range(3)]
    assert all(one.ok for one in machine.run_together(clients, quantum=97))
    recorder.write(tmp_path)
    sent = {name: data for name, data in files(tmp_path).items() if ".shm/" not in name}
    assert {name.partition("/")[0] for name in sent} == {"counter", "counter.calls"}
    sequences = [data for name, data in sent.items() if name.startswith("counter.calls/")]
    assert sum(len(layout.split_calls(data, 64, 3)) for data in sequences) == 15


def test_no_more_files_than_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "MOST_FILES", 3)
    machine = machine_with_store()
    recorder = Recorder(machine)
    machine.create(ELVES["kv-client"]).run()
    recorder.write(tmp_path)
    assert len(files(tmp_path / "kv-store")) == 3


def test_names_lead_nowhere_else(tmp_path: Path) -> None:
    machine = Machine(RAM)
    recorder = Recorder(machine)
    for name in ("../up", "/etc", "..", "a b\n"):
        machine.create(ELVES["hello-world"], name=name, relay=b"x").run()
    recorder.write(tmp_path / "seeds")
    assert [file.name for file in tmp_path.iterdir()] == ["seeds"]
    assert {name.partition("/")[0] for name in files(tmp_path / "seeds")} == {
        "up.relay", "etc.relay", "_.relay", "a_b_.relay",
    }  # fmt: skip


def test_what_was_sent_before_an_error_is_written(tmp_path: Path) -> None:
    machine = machine_with_store()

    def stop(_text: bytes) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), recording(machine, tmp_path, print):
        machine.create(ELVES["kv-client"]).run(on_output=stop)
    assert list(files(tmp_path)) == ["kv-store.calls/000000", "kv-store/000000"]


def test_who_does_not_record_does_nothing_for_it() -> None:
    plain, recorded = Machine(RAM), Machine(RAM)
    ecall, call = plain.hart.handlers[Cause.ECALL_U], plain.monitor.call
    Recorder(recorded)
    assert plain.hart.handlers[Cause.ECALL_U] == ecall
    assert plain.monitor.call == call
    assert recorded.hart.handlers[Cause.ECALL_U] != recorded.monitor._enclave_call


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    machine = machine_with_store()
    recorder = Recorder(machine)
    machine.create(ELVES["kv-client"]).run()
    with pytest.raises(PltvmError, match="file: cannot be written: "):
        recorder.write(tmp_path / "file")


def test_a_link_in_place_of_the_folder_leads_nowhere(tmp_path: Path) -> None:
    """A host program may rename what is in its folder, and the recorded inputs may go there."""
    folder, outside = tmp_path / "seeds", tmp_path / "outside"
    outside.mkdir()
    machine = machine_with_store()

    def run() -> None:
        machine.create(ELVES["kv-client"]).run()
        folder.rename(tmp_path / "away")
        folder.symlink_to("outside")

    with pytest.raises(PltvmError, match="has been replaced"), recording(machine, folder, print):
        run()
    assert not list(outside.iterdir())


def test_what_is_kept_has_a_limit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever names and messages a program chooses."""
    monkeypatch.setattr(record, "MOST_FOLDERS", 8)
    monkeypatch.setattr(record, "MOST_KEPT", 10_000)
    machine = machine_with_store()
    recorder = Recorder(machine)
    for number in range(100):
        recorder._note(f"name{number}", "", b"%100d" % number)
        recorder._note("name1", "", b"%1000d" % number)
    recorder.write(tmp_path)
    assert len(list(tmp_path.iterdir())) == 8
    assert 9_000 < sum(len(data) for data in files(tmp_path).values()) <= 10_000
