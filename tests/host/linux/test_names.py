"""Names that are no text: of enclaves that a host program makes, up to the report on each."""

from pathlib import Path

from pltvm.build.enclave import build_enclave
from tests.host.linux.conftest import Run

FAULTS = '#include "eapp.h"\nint EAPP_ENTRY main() { *(volatile int *)0x123456780 = 3; EAPP_RETURN(0); }\n'


def test_any_name_is_a_name(run_linux: Run, tmp_path: Path) -> None:
    (tmp_path / "faults.c").write_text(FAULTS)
    build_enclave([tmp_path / "faults.c"], tmp_path / "faults")
    result = run_linux("names", "faults")
    assert (result.exit_code, result.end, result.output) == (0, "", b"create 0\ncreate 0\n")
    assert len(result.faults) == 2
    for report in result.faults:
        assert report.summary.startswith(r"\xb0\xff�[2J��\xc2\xa9 (eid ")
        assert all(line.isprintable() for line in str(report).splitlines())
        assert str(report).startswith(f"fault: {report.summary}\n")
