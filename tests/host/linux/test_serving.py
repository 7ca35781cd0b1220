"""A host program that serves: clients connect on loopback, and each gets an enclave's answer."""

from pathlib import Path

from pltvm.build import guest
from tests.host.linux.conftest import Run


def test_ten_clients_are_served_by_an_enclave_each(run_linux: Run, tmp_path: Path) -> None:
    (tmp_path / "hello.elf").write_bytes(guest.examples()["hello-world"].elf.read_bytes())
    runs = [run_linux("serving_host", "hello.elf", "10") for _ in range(2)]
    lines = runs[0].output.decode().splitlines()
    assert (runs[0].exit_code, runs[0].end) == (0, ""), lines
    assert sorted(one for one in lines if one.startswith("client ")) == [
        f"client {number}: {1000 * number}" for number in range(10)
    ]
    assert lines[-1] == "10 clients, 0 failed"
    assert len([one for one in lines if "hello" in one.lower()]) == 10
    assert runs[0] == runs[1]
