"""What is fuzzed, and how: the options of a campaign, the same in every process of it."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from pltvm.engine.memory import PAGE
from pltvm.errors import PltvmError
from pltvm.fuzz import layout
from pltvm.fuzz.results import REFUSAL, STALE

SERVER, ENCLAVE = "server", "enclave"
OPT_IN: Final = (REFUSAL, STALE)  # oracles that are right for some protocols only
MOST_CLIENTS: Final = 4
MOST_SERVERS: Final = 7  # beside the target


@dataclass(frozen=True)
class Options:
    """Options that decide what an input does. All sizes are in bytes."""

    elf: str  # path
    kind: str = SERVER
    name: str = ""  # of the server; default: that of the file
    servers: tuple[tuple[str, str], ...] = ()  # further ones, as name and path
    calls: int = 1  # of a server, at most, for one input
    clients: int = 1
    channels: tuple[str, ...] = (layout.RELAY,)  # of an enclave
    memory: int = PAGE  # that is passed, or shared
    secret: str = ""  # a symbol, or hexadecimal bytes
    oracles: tuple[str, ...] = ()
    blocks: int = 1_000_000  # of code, after which a run is a hang
    ram: int = 64 << 20
    limit: int = 0  # of an input; default: what fits
    harness: str = ""  # path of a Python file

    def __post_init__(self) -> None:
        if self.kind not in (SERVER, ENCLAVE):
            raise PltvmError(f"--as {self.kind}: it is {SERVER} or {ENCLAVE}")
        if not 1 <= self.clients <= MOST_CLIENTS or not 1 <= self.calls <= 64:
            raise PltvmError(f"there can be 1 to {MOST_CLIENTS} clients, and 1 to 64 calls")
        if self.clients > 1 and self.calls == 1:
            raise PltvmError("several clients need several calls: give --calls too")
        if self.kind == ENCLAVE and (self.calls > 1 or self.clients > 1):
            raise PltvmError("--calls and --clients are for servers")
        for channel in self.channels:
            if channel not in layout.ENCLAVE_CHANNELS:
                raise PltvmError(f"--channel {channel}: there are {', '.join(layout.ENCLAVE_CHANNELS)}")
        for oracle in self.oracles:
            if oracle not in OPT_IN:
                raise PltvmError(f"--oracle {oracle}: there are {', '.join(OPT_IN)}; all others are on")
        if len(self.servers) > MOST_SERVERS:
            raise PltvmError(f"at most {MOST_SERVERS} further servers")
        if self.memory % PAGE or not PAGE <= self.memory <= 16 * PAGE:
            raise PltvmError("the memory that is passed has 1 to 16 whole pages")

    @property
    def server_name(self) -> str:
        """Under what name callers find the target."""
        return self.name or Path(self.elf).stem[:16]

    @property
    def layout(self) -> str:
        """The first layout of an input; see `layout`."""
        if self.kind == SERVER:
            return layout.CALLS if self.calls > 1 else layout.CALL
        return self.channels[0]

    @property
    def header(self) -> int:
        """Bytes at the start of an input that are numbers."""
        if self.kind == SERVER:
            return 0 if self.calls > 1 else layout.CALL_HEADER.size
        return layout.RACE.size if self.channels[0] == layout.SHM else 0

    @property
    def most_bytes(self) -> int:
        """The size of the largest input."""
        if self.limit:
            return self.limit
        if self.kind == SERVER:
            return min(self.calls * (self.memory + layout.MESSAGE.size), 32 << 10)
        return min(len(self.channels) * (self.memory + layout.RACE.size), 32 << 10)

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Options":
        """From what `to_dict` gave, also by way of JSON; PltvmError for anything else."""
        try:
            fields = dict(data)
            fields["servers"] = tuple((str(name), str(path)) for name, path in fields.get("servers", ()))
            for key in ("channels", "oracles"):
                if key in fields:
                    fields[key] = tuple(fields[key])
            return cls(**fields)
        except (TypeError, ValueError) as error:
            raise PltvmError(f"these are no options of a campaign: {error}") from None
