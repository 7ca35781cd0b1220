"""measure, attest and verify on the command line."""

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pltvm.build import guest
from pltvm.cli.app import app
from pltvm.errors import PltvmError
from tests import independent_measure

HELLO = guest.examples()["hello-world"].elf
STACK = ("--stack-size", "4K")
MEASUREMENT = independent_measure.measure(HELLO.read_bytes(), 4096)


@pytest.fixture(autouse=True)
def data_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data"


def pltvm(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_measure(data_home: Path) -> None:
    result = pltvm("measure", HELLO, *STACK, "--nonce", "0x10")
    assert result.exit_code == 0
    expected = {
        "measurement": MEASUREMENT.hex(),
        "nonce": "16",
        "report hash": independent_measure.report_hash(MEASUREMENT, 16).hex(),
    }
    assert [line.rsplit(maxsplit=1) for line in result.output.splitlines()] == [*map(list, expected.items())]
    assert not data_home.exists(), "measuring needs no keys"


def test_measure_as_json_of_a_server_with_standard_sm3() -> None:
    plain = json.loads(pltvm("measure", HELLO, *STACK, "--json", "--type", "server").output)
    assert plain["measurement"] == MEASUREMENT.hex()
    other = json.loads(pltvm("measure", HELLO, *STACK, "--json", "--digest", "sm3").output)
    assert other["measurement"] != plain["measurement"]
    shared = json.loads(pltvm("measure", HELLO, *STACK, "--json", "--shm", "text").output)
    assert shared["measurement"] not in (plain["measurement"], other["measurement"])


@pytest.mark.parametrize(
    "wrong",
    [("--nonce", "-1"), ("--nonce", str(2**64)), ("--nonce", "x"), ("--type", "odd"), ("--stack-size", "x")],
)
def test_measure_refuses(wrong: tuple[str, str]) -> None:
    assert pltvm("measure", HELLO, *wrong).exit_code == 2


def test_attest_then_verify(tmp_path: Path, data_home: Path) -> None:
    report = tmp_path / "report.bin"
    result = pltvm("attest", HELLO, *STACK, "--nonce", 5, "-o", report, "--json")
    assert result.exit_code == 0
    about = json.loads(result.output)
    assert about["measurement"] == MEASUREMENT.hex()
    assert (data_home / "pltvm" / "keys.json").stat().st_mode & 0o777 == 0o600

    key_file = tmp_path / "device.hex"
    key_file.write_text(about["device_key"] + "\n")
    for key in ([], ["--device-key", about["device_key"]], ["--device-key", key_file]):
        good = pltvm("verify", report, *key, "--expect", MEASUREMENT.hex(), "--nonce", 5)
        assert good.exit_code == 0, good.output
        assert "FAILED" not in good.output

    stale = pltvm("verify", report, "--expect", MEASUREMENT.hex(), "--nonce", 6)
    assert stale.exit_code == 1
    assert "not to be trusted: nonce" in stale.output
    wrong = pltvm("verify", report, "--expect", "00" * 32, "--json")
    assert wrong.exit_code == 1
    assert '"measurement": false' in wrong.output

    raw = report.read_bytes()
    report.write_bytes(raw[:100] + bytes((raw[100] ^ 1,)) + raw[101:])
    assert "monitor signature  FAILED" in pltvm("verify", report, "--expect", MEASUREMENT.hex()).output


def test_own_key_files(tmp_path: Path, data_home: Path) -> None:
    keys, report = tmp_path / "keys.json", tmp_path / "report.bin"
    assert pltvm("attest", HELLO, *STACK, "--nonce", 1, "-o", report, "--keys", keys).exit_code == 0
    verify = ("verify", report, "--expect", MEASUREMENT.hex())
    assert pltvm(*verify, "--keys", keys).exit_code == 0
    assert (
        pltvm(*verify, "--keys", tmp_path / "no such").exception.args[0].endswith("No such file or directory")
    )
    assert not data_home.exists()


def test_run_with_keys(tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    result = pltvm("run", "--no-confine", HELLO, "--keys", keys)
    assert result.exit_code == 0
    assert keys.is_file()


@pytest.mark.parametrize(
    "wrong", [("--expect", "00"), ("--device-key", "no such file"), ("--expect", "g" * 64)]
)
def test_verify_refuses(tmp_path: Path, wrong: tuple[str, str]) -> None:
    options = {"--expect": "00" * 32, "--device-key": "00" * 64} | dict([wrong])
    pairs = [text for option in options.items() for text in option]
    assert pltvm("verify", tmp_path / "report", *pairs).exit_code == 2


def test_unusable_files(tmp_path: Path) -> None:
    options = ("--expect", "00" * 32, "--device-key", "00" * 64)
    (tmp_path / "short").write_bytes(bytes(5))
    for name, message in {"missing": "cannot be read", "short": "5 bytes, a report has 328"}.items():
        error = pltvm("verify", tmp_path / name, *options).exception
        assert isinstance(error, PltvmError)
        assert message in str(error)
    error = pltvm("attest", HELLO, *STACK, "--nonce", 1, "-o", tmp_path / "no" / "report").exception
    assert isinstance(error, PltvmError)
    assert "cannot be written" in str(error)


def test_reports_and_keys_that_have_no_end(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with (tmp_path / "big").open("wb") as file:
        file.truncate(1 << 40)
    for path, why in (
        ("/dev/zero", "is not a plain file"),
        ("fifo", "is not a plain file"),
        ("big", "more than 1 MiB"),
    ):
        place = tmp_path / path
        result = pltvm("verify", place, "--expect", "00" * 32, "--device-key", "00" * 64)
        assert isinstance(result.exception, PltvmError)
        assert str(result.exception).startswith(f"{place}: ")
        assert why in str(result.exception)
    result = pltvm("verify", tmp_path / "x", "--expect", tmp_path / "big", "--device-key", "00" * 64)
    assert "more than 1 MiB" in str(result.exception)
