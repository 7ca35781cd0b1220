"""Options that come from a campaign.json, which may be anybody's, and what follows from them."""

from typing import Any

import pytest

from pltvm.errors import PltvmError
from pltvm.fuzz.options import MOST_BYTES, Options


def test_they_come_back() -> None:
    options = Options("/x.elf", servers=(("a", "/a.elf"),), oracles=("stale",), channels=("shm", "relay"))
    assert Options.from_dict(options.to_dict()) == options


@pytest.mark.parametrize(
    "wrong",
    [
        {"limit": MOST_BYTES + 1}, {"limit": -1}, {"limit": "1"}, {"blocks": 0}, {"blocks": 1 << 70},
        {"blocks": 2.5}, {"calls": 2.5}, {"calls": True}, {"memory": 4096.0}, {"ram": None}, {"elf": 5},
        {"name": 7}, {"secret": 5}, {"harness": 5}, {"oracles": 5}, {"channels": []}, {"channels": "relay"},
        {"servers": 5}, {"servers": ["name"]}, {"unknown": 1},
    ],
)  # fmt: skip
def test_what_is_no_option(wrong: dict[str, Any]) -> None:
    with pytest.raises(PltvmError):
        Options.from_dict({"elf": "/x.elf", **wrong})


def test_without_an_elf() -> None:
    with pytest.raises(PltvmError, match="not the options of a campaign"):
        Options.from_dict({"calls": 2})


def test_the_header_is_where_an_input_starts() -> None:
    """With several channels an input starts with a length."""
    assert Options("/x.elf").header == 8
    assert Options("/x.elf", calls=2).header == 0
    assert Options("/x.elf", "enclave", channels=("shm",)).header == 16
    assert Options("/x.elf", "enclave", channels=("shm", "relay")).header == 0
    assert Options("/x.elf", "enclave", channels=("relay",)).header == 0
