"""The commands about attestation: measure, attest, verify.

`attest` and `verify` use the keys in the user's data directory where no others are given.
"""

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pltvm.cli.options import (
    Json,
    KeyFile,
    Shm,
    StackSize,
    check_stack,
    file_in_bash,
    file_or_text,
    is_given,
    one_of,
    read_small,
    refuse_given,
    refuse_host_program,
)
from pltvm.cli.streams import print_json
from pltvm.errors import PltvmError
from pltvm.monitor.abi import DEFAULT_STACK, MASK64, EnclaveType
from pltvm.monitor.digest import Digest

if TYPE_CHECKING:
    from pltvm.host.api import Enclave
    from pltvm.monitor.keys import Keys

app = typer.Typer(rich_markup_mode=None)

# The measurement of a concurrent server is that of a server.
_KINDS: Final = {kind.name.lower(): kind for kind in EnclaveType if kind is not EnclaveType.CONCURRENT_SERVER}


def parse_nonce(text: str | int) -> int:
    """Parse a u64, decimal or with 0x."""
    try:
        number = int(text) if isinstance(text, int) else int(text, 0)
    except ValueError:
        number = -1
    if not 0 <= number <= MASK64:
        raise typer.BadParameter(f"{text!r} is not an unsigned 64-bit number")
    return number


def parse_kind(text: str | EnclaveType) -> EnclaveType:
    """`normal`, `server` or `shadow`; a default is an EnclaveType already."""
    if isinstance(text, EnclaveType):
        return text
    if text not in _KINDS:
        raise typer.BadParameter(f"{text!r}: write one of {', '.join(_KINDS)}")
    return _KINDS[text]


def _hex_of(text: str, size: int, what: str) -> bytes:
    """Parse `size` bytes in hex, from the text itself, or from the file of that name."""
    if not re.fullmatch(r"[0-9a-fA-F]*", text) and Path(text).is_file():
        text = read_small(Path(text)).decode("ascii", "replace").strip()
    if not re.fullmatch(rf"[0-9a-fA-F]{{{2 * size}}}", text):
        raise typer.BadParameter(f"a {what} is {2 * size} hex digits, or a file that holds them")
    return bytes.fromhex(text)


def parse_device_key(text: str) -> bytes:
    """Parse a public key: 128 hex digits, or a file with them."""
    return _hex_of(text, 64, "device key")


def parse_measurement(text: str) -> bytes:
    """Parse a measurement: 64 hex digits, or a file with them."""
    return _hex_of(text, 32, "measurement")


Elf = Annotated[str, typer.Argument(help="ELF of the enclave.", autocompletion=file_in_bash)]
Nonce = Annotated[
    int, typer.Option(parser=parse_nonce, metavar="N", help="Number that the report's hash includes.")
]
Kind = Annotated[
    EnclaveType,
    typer.Option(
        "--type",
        parser=parse_kind,
        metavar="|".join(_KINDS),
        help="Type of the enclave; default: normal.",
        autocompletion=one_of(*_KINDS),
        show_default=False,
    ),
]
Which = Annotated[Digest, typer.Option("--digest", help="Digest of the original monitor, or standard SM3.")]


def _refuse_idle(ctx: typer.Context, kind: EnclaveType, stack_size: int) -> None:
    """Refuse options that have no effect for this kind of enclave."""
    check_stack(stack_size)
    if kind is not EnclaveType.NORMAL:
        refuse_given(ctx, "is for enclaves that the host runs (--type normal)", "shm")
    if kind is EnclaveType.SHADOW:
        refuse_given(ctx, "does nothing for a shadow template: its instances have stacks", "stack_size")


def _show(fields: dict[str, Any], as_json: bool) -> None:
    """Print `name value` lines, or the fields as JSON."""
    if as_json:
        print_json(fields)
        return
    for name, value in fields.items():
        print(f"{name.replace('_', ' '):12} {value}")


def _enclave(
    elf: str, kind: EnclaveType, stack_size: int, shm: bytes | None, digest: Digest, keys: "Keys | None"
) -> "Enclave":
    """Create an enclave in a new machine; a server needs a name, which is not measured."""
    from pltvm.machine import Machine
    from pltvm.monitor.keys import DEVELOPMENT

    refuse_host_program(elf)
    machine = Machine(keys=keys or DEVELOPMENT, digest=digest)
    name = "" if kind is EnclaveType.NORMAL else "measured"
    return machine.create(elf, name=name, type=kind, stack_size=stack_size, shm=shm)


@app.command()
def measure(
    ctx: typer.Context,
    elf: Elf,
    nonce: Nonce = 0,
    stack_size: StackSize = DEFAULT_STACK,
    kind: Kind = EnclaveType.NORMAL,
    shm: Shm = None,
    digest: Which = Digest.PENGLAI,
    json: Json = False,
) -> None:
    """Print the measurement of an enclave.

    Also the hash that a report on it has.
    """
    from pltvm.monitor.measure import report_hash

    _refuse_idle(ctx, kind, stack_size)
    enclave = _enclave(elf, kind, stack_size, file_or_text("--shm", shm), digest, None)
    measurement = enclave.measurement
    fields = {
        "measurement": measurement.hex(),
        "nonce": nonce,
        "report_hash": report_hash(digest, measurement, nonce).hex(),
    }
    _show(fields, json)


@app.command()
def attest(
    ctx: typer.Context,
    elf: Elf,
    nonce: Nonce,
    output: Annotated[Path, typer.Option("-o", metavar="FILE", help="Write the report to FILE.")],
    keys: KeyFile = None,
    stack_size: StackSize = DEFAULT_STACK,
    kind: Kind = EnclaveType.NORMAL,
    shm: Shm = None,
    digest: Which = Digest.PENGLAI,
    json: Json = False,
) -> None:
    """Make a signed report on an enclave.

    The keys are yours, or those of --keys.
    """
    from pltvm import attestation, keyfile

    _refuse_idle(ctx, kind, stack_size)
    enclave = _enclave(
        elf, kind, stack_size, file_or_text("--shm", shm), digest, keyfile.load_or_create(keys)
    )
    report = enclave.attest(nonce)
    try:
        output.write_bytes(attestation.pack(report))
    except OSError as error:
        raise PltvmError(f"{output}: cannot be written: {error.strerror}") from None
    fields = {
        "report": str(output),
        "measurement": enclave.measurement.hex(),
        "nonce": nonce,
        "device_key": report.device_public_key.hex(),
    }
    _show(fields, json)


@app.command()
def verify(
    ctx: typer.Context,
    report: Annotated[Path, typer.Argument(help="File with the report.")],
    expect: Annotated[
        bytes,
        typer.Option(
            parser=parse_measurement, metavar="MEASUREMENT", help="Measurement of the enclave, in hex."
        ),
    ],
    device_key: Annotated[
        bytes | None,
        typer.Option(
            parser=parse_device_key, metavar="HEX|FILE", help="Public key of the device; default: yours."
        ),
    ] = None,
    keys: KeyFile = None,
    nonce: Annotated[
        int | None, typer.Option(parser=parse_nonce, metavar="N", help="Nonce that the report must have.")
    ] = None,
    digest: Which = Digest.PENGLAI,
    json: Json = False,
) -> None:
    """Check a report: both signatures, the measurement and the nonce.

    The exit status is 0 only if all of them are right.
    """
    from pltvm import attestation, keyfile

    if is_given(ctx, "device_key"):
        refuse_given(ctx, "names the device key, and so does --device-key: give one of them", "keys")
    if device_key is None:
        device_key = keyfile.load(keys or keyfile.default_path()).device.public
    raw = read_small(report)
    try:
        verdict = attestation.verify(raw, device_key, expect, nonce, digest)
    except PltvmError as error:
        raise PltvmError(f"{report}: {error}") from None
    if json:
        print_json(verdict.to_dict())
    else:
        print(verdict)
    if not verdict.ok:
        names = ", ".join(check.name for check in verdict.failed)
        print(f"pltvm: {report}: not to be trusted: {names}", file=sys.stderr)
        raise typer.Exit(1)
