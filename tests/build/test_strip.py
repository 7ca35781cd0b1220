"""What is taken out of ELFs: labels and debug information, and nothing that gets loaded."""

import io
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from pltvm.build import guest
from pltvm.build.enclave import build_enclave
from pltvm.build.host import build_host
from pltvm.build.strip import strip
from pltvm.errors import BuildError

Symbol = tuple[str, int, int, str]


@pytest.fixture
def linked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """An enclave and a host program as they come from the linker."""
    monkeypatch.setattr("pltvm.build.strip.strip", lambda elf, *, debug: elf)
    enclave, program = guest.examples()["hello-world"], guest.host_examples()["relay-host"]
    return {
        "enclave": build_enclave([enclave.source], tmp_path / "enclave.elf").read_bytes(),
        "program": build_host([program.source], tmp_path / "program", "musl").read_bytes(),
    }


def loaded(elf: ELFFile) -> list[tuple[int, int, bytes]]:
    """Address, size and content of each segment that gets loaded, but for headers."""
    headers = elf["e_phoff"] + elf["e_phnum"] * elf["e_phentsize"]
    return [
        (one["p_vaddr"], one["p_memsz"], one.data()[max(headers - one["p_offset"], 0) :])
        for one in elf.iter_segments("PT_LOAD")
    ]


def symbols(elf: ELFFile) -> list[Symbol]:
    """Name, value, size and kind."""
    table = elf.get_section_by_name(".symtab").iter_symbols()
    return [(one.name, one["st_value"], one["st_size"], str(one["st_info"])) for one in table]


@pytest.mark.parametrize(("name", "debug"), [("enclave", False), ("program", True)])
def test_only_what_does_not_get_loaded_goes(linked: dict[str, bytes], name: str, debug: bool) -> None:
    before, stripped = ELFFile(io.BytesIO(linked[name])), strip(linked[name], debug=debug)
    after = ELFFile(io.BytesIO(stripped))

    assert len(stripped) < len(linked[name])
    assert (after["e_entry"], loaded(after)) == (before["e_entry"], loaded(before))
    labels = [one for one in symbols(before) if "STB_LOCAL" in one[3] and "STT_NOTYPE" in one[3] and one[0]]
    assert labels
    assert symbols(after) == [one for one in symbols(before) if one not in labels]
    kept = [one for one in before.iter_sections() if not (debug and one.name.startswith(".debug_"))]
    assert [one.name for one in after.iter_sections()] == [one.name for one in kept]
    rewritten = (".symtab", ".strtab", ".shstrtab")
    for old, new in zip(kept, after.iter_sections(), strict=True):
        assert old.name in rewritten or old.data() == new.data()
        assert new["sh_offset"] + (new["sh_type"] != "SHT_NOBITS") * new["sh_size"] <= len(stripped)
    for segment in after.iter_segments("PT_RISCV_ATTRIBUTES"):
        assert segment.data() == after.get_section_by_name(".riscv.attributes").data()


@pytest.mark.parametrize(("name", "debug"), [("enclave", False), ("program", True)])
def test_nothing_is_left_to_take_out(linked: dict[str, bytes], name: str, debug: bool) -> None:
    stripped = strip(linked[name], debug=debug)
    assert strip(stripped, debug=debug) == stripped


def test_what_is_no_elf() -> None:
    with pytest.raises(BuildError, match="no ELF"):
        strip(b"!<arch>\n", debug=True)
