"""The options of a campaign, which are the same in every process of it."""

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

from pltvm.engine.memory import PAGE
from pltvm.errors import ArgumentError, PltvmError
from pltvm.fuzz import layout
from pltvm.fuzz.results import REFUSAL, STALE
from pltvm.monitor.abi import NAME_SIZE

SERVER, ENCLAVE = "server", "enclave"
DERIVED_KEY: Final = "derived-key"  # as a secret: the keys that the enclave gets from call 88
OPT_IN: Final = (REFUSAL, STALE)  # oracles that are valid only for some protocols
MOST_CALLS: Final = 64
MOST_CLIENTS: Final = 4
MOST_SERVERS: Final = 7  # besides the target
MOST_BLOCKS: Final = 1 << 40
MOST_BYTES: Final = 32 << 10  # of an input: half the size of the buffers in `arena`


@dataclass(frozen=True)
class Options:
    """Options that affect what an input does. All sizes are in bytes."""

    elf: str  # path
    kind: str = SERVER
    name: str = ""  # of the server; default: the name of the file
    servers: tuple[tuple[str, str], ...] = ()  # further ones, as name and path
    calls: int = 1  # largest number of calls of a server in one input
    clients: int = 1
    channels: tuple[str, ...] = (layout.RELAY,)  # of an enclave
    memory: int = PAGE  # passed or shared memory
    secret: str = ""  # a symbol, hexadecimal bytes, or DERIVED_KEY
    oracles: tuple[str, ...] = ()
    blocks: int = 1_000_000  # blocks of code after which a run counts as a hang
    ram: int = 64 << 20
    limit: int = 0  # largest size of an input; default: what fits
    harness: str = ""  # path of a Python file

    def __post_init__(self) -> None:
        if self.kind not in (SERVER, ENCLAVE):
            raise ArgumentError(f"--as {self.kind}: write {SERVER} or {ENCLAVE}")
        if not 1 <= self.calls <= MOST_CALLS:
            raise ArgumentError(f"--calls {self.calls}: it must be 1 to {MOST_CALLS}")
        if not 1 <= self.clients <= MOST_CLIENTS:
            raise ArgumentError(f"--clients {self.clients}: it must be 1 to {MOST_CLIENTS}")
        if self.clients > 1 and self.calls == 1:
            raise ArgumentError(
                f"--clients {self.clients}: several clients need several calls: give --calls too"
            )
        if self.kind == ENCLAVE and (self.calls > 1 or self.clients > 1):
            raise ArgumentError("--calls and --clients are for servers (--as server)")
        if not self.channels:
            raise ArgumentError(f"name a channel: there are {', '.join(layout.ENCLAVE_CHANNELS)}")
        for channel in self.channels:
            if channel not in layout.ENCLAVE_CHANNELS:
                raise ArgumentError(f"--channel {channel}: there are {', '.join(layout.ENCLAVE_CHANNELS)}")
        for oracle in self.oracles:
            if oracle not in OPT_IN:
                raise ArgumentError(f"--oracle {oracle}: there are {', '.join(OPT_IN)}; all others are on")
        if len(self.servers) > MOST_SERVERS:
            raise ArgumentError(f"--server: there can be at most {MOST_SERVERS} of them")
        if self.memory % PAGE or not PAGE <= self.memory <= 16 * PAGE:
            raise ArgumentError(
                f"--memory {self.memory}: it must be 1 to 16 whole pages of {PAGE} bytes: "
                f"{PAGE >> 10}K, {2 * PAGE >> 10}K … {16 * PAGE >> 10}K"
            )
        if not 1 <= self.blocks <= MOST_BLOCKS:
            raise ArgumentError(f"--blocks {self.blocks}: it must be 1 to {MOST_BLOCKS:,}")
        if not 0 <= self.limit <= MOST_BYTES:
            raise ArgumentError(f"the limit {self.limit}: an input has at most {MOST_BYTES:,} bytes")

    @property
    def server_name(self) -> str:
        """The name by which callers find the target."""
        return self.name or Path(self.elf).stem[:NAME_SIZE]

    @property
    def layout(self) -> str:
        """The first layout of an input; see `layout`."""
        if self.kind == SERVER:
            return layout.CALLS if self.calls > 1 else layout.CALL
        return self.channels[0]

    @property
    def header(self) -> int:
        """The number of bytes at the start of an input that are fields."""
        if self.kind == SERVER:
            return 0 if self.calls > 1 else layout.CALL_HEADER.size
        return layout.RACE.size if self.channels == (layout.SHM,) else 0

    @property
    def most_bytes(self) -> int:
        """The size of the largest input."""
        if self.limit:
            return self.limit
        if self.kind == SERVER:
            return min(self.calls * (self.memory + layout.MESSAGE.size), MOST_BYTES)
        return min(len(self.channels) * (self.memory + layout.RACE.size), MOST_BYTES)

    def to_dict(self) -> dict[str, Any]:
        """Return the options as plain data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Options":
        """Return the options that `to_dict` returned, also via JSON; PltvmError for anything else."""
        try:
            values = dict(data)
            values["servers"] = tuple((str(name), str(path)) for name, path in values.get("servers", ()))
            for key in ("channels", "oracles"):
                if key in values:
                    values[key] = tuple(values[key])
            for one in fields(cls):
                if one.type in (int, str) and type(values.get(one.name, one.default)) is not one.type:
                    raise TypeError(f"{one.name} is {values.get(one.name)!r}")
            return cls(**values)
        # an ArgumentError too, as these are no arguments of the user
        except (TypeError, ValueError) as error:
            raise PltvmError(f"these are not the options of a campaign: {error}") from None
