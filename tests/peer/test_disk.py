"""Sectors, a file system on them, and a store of keys on that: with and without a file that keeps them."""

from pathlib import Path

import pytest

from tests.peer import cases
from tests.peer.cases import Case
from tests.peer.conftest import Variant

SECTOR = 4096
OLD_DISK = "[filesystem] 1 files on the disk\n"


def run(case: Case, variant: Variant, disk: Path | None) -> str:
    result = cases.run(case, *variant, disk=disk)
    assert result[:2] == (0, ""), result[2]
    return result[2]


def runs(output: str) -> list[str]:
    return [line for line in output.splitlines() if line.startswith("[fs] run ")]


def test_sectors_with_a_disk(variant: Variant, tmp_path: Path) -> None:
    disk = tmp_path / "disk"

    run(Case("sectors", ("1",)), variant, disk)
    content = disk.read_bytes()
    assert len(content) == (4 * 256 + 8) * SECTOR  # 4 MiB when made, longer by what was written beyond
    assert content[5 * SECTOR] == 3
    assert content[(4 * 256 + 7) * SECTOR :] == b"\3" * SECTOR
    run(Case("sectors", ("4",)), variant, disk)


def test_the_file_is_made_by_persistency_init(musl: Variant, tmp_path: Path) -> None:
    disk = tmp_path / "disk"

    run(Case("persistency"), musl, disk)

    assert disk.read_bytes() == bytes(4 << 20)


def test_a_machine_has_a_disk_without_being_told(variant: Variant) -> None:
    for _ in range(2):
        run(Case("sectors", ("1",)), variant, None)  # and each a new one


@pytest.mark.parametrize("kept", [False, True])
def test_file_system(variant: Variant, tmp_path: Path, kept: bool) -> None:
    disk = tmp_path / "disk" if kept else None

    first = run(Case("files"), variant, disk)
    second = run(Case("files"), variant, disk)

    assert runs(first) == [f"[fs] run {i}" for i in (1, 2, 3)]
    assert runs(second) == [f"[fs] run {i}" for i in ((4, 5, 6) if kept else (1, 2, 3))]
    assert first.count("[fs] large: 40000 bytes, 0 wrong\n") == 3


def test_store_of_keys_is_there_again(variant: Variant, tmp_path: Path) -> None:
    disk = tmp_path / "disk"

    assert run(Case("store", ("1",)), variant, disk) == f"{cases.STORE}store: ok\n"
    assert run(Case("store", ("3",)), variant, disk) == f"{OLD_DISK}{cases.THIEF}store: ok\n"
