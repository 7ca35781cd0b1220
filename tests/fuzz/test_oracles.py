"""What is wrong with an execution: each kind for a planted bug that shows it, nothing for the fixed twin."""

import dataclasses
from struct import pack

import pytest

from pltvm.errors import PltvmError
from pltvm.fuzz import layout, oracles, results
from pltvm.fuzz.layout import Message
from pltvm.fuzz.options import Options
from pltvm.fuzz.results import Finding
from pltvm.fuzz.worker import Worker, open_target
from tests.fuzz.conftest import TARGETS, Build, Plant
from tests.fuzz_targets.test_targets import WITNESSES, call

# What a fuzzer, which has more oracles than a plain run, makes of the witnesses.
KINDS = {
    "badge": "fault", "bank": "refusal", "console": "fault", "crypto": "pointer", "directory": "hang",
    "escrow": "given-away", "ledger": "fault", "logger": "fault", "lottery": "fault", "notary": "given-away",
    "notes": "other-client", "sensors": "stale", "sessions": "fault", "settings": "stack", "signer": "secret",
    "thumbnail": "fault", "tokens": "fault",
}  # fmt: skip
INPUTS = {name: witness.data for name, witness in WITNESSES.items()}
# Inputs of their own, where in a plain run the bug shows by what the input put somewhere.
INPUTS["sensors"] = layout.join_calls([Message(2, pack("<II", 2, 1))])
INPUTS["notes"] = layout.join_calls(
    [Message(1, bytes(8), 0), Message(3, b"\0\1", 1), Message(2, b"\1" + bytes(7), 1)]
)


def explain(options: Options, data: bytes) -> Finding | None:
    """The finding that an execution is, in a target of its own."""
    worker = Worker(dataclasses.replace(options, blocks=min(options.blocks, 100_000)))
    return worker.explain(data)


@pytest.mark.parametrize("name", TARGETS)
def test_each_kind(name: str, planted: Plant) -> None:
    data = INPUTS[name]
    finding = explain(planted(name), data)
    assert finding is not None
    assert finding.kind == KINDS[name]
    assert finding.kind in TARGETS[name].finds
    assert finding.data == data
    fixed = explain(planted(name, fixed=True), data)
    assert fixed is None, fixed.report


def test_all_kinds_are_among_them() -> None:
    kinds = {value for name, value in vars(results).items() if name.isupper() and isinstance(value, str)}
    assert set(KINDS.values()) == kinds
    assert KINDS.keys() == TARGETS.keys()


# -- a server that gives what it is told ---------------------------------------------------------------------

TELLER = r"""
#include <stdint.h>
#include <string.h>
#include "eapp.h"
#include "print.h"

unsigned char key[24] = "A key that nobody knows";
static volatile unsigned long state;

int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    struct call_enclave_arg_t ret = {.req_vaddr = args[11], .req_size = args[12]};
    unsigned char *memory = (unsigned char *)args[11];
    volatile char unused[64];
    long response;

    switch (args[10]) {
    case 1: memcpy(&ret.resp_val, key, 8); break;
    case 2: memcpy(memory + 3, key + 5, 8); break;
    case 3: memcpy(memory, key, 7); memcpy(memory + 16, key + 8, 7); break;
    case 4: eapp_print("%s\n", (char *)key); break;
    case 5:
        response = (long)eapp_mmap(NULL, PAGE_SIZE);
        memcpy((char *)response + 4000, key, 24);
        ret.resp_vaddr = (unsigned long)response;
        ret.resp_size = PAGE_SIZE;
        break;
    case 6: state = args[11]; ret.resp_val = -1; break;
    case 7: state = args[11]; ret.resp_val = 1; break;
    case 8: ret.resp_val = -1; break;
    case 9: for (int i = 0; i < 64; i++) memory[i] = unused[i]; break;
    case 10: memory[0] = 1; ret.resp_val = -1; break;
    case 11: memcpy(memory, key, 8); ret.req_vaddr = 0; break;
    }
    SERVER_RETURN(&ret);
}
"""


@pytest.fixture
def teller(built: Build) -> Options:
    """The server above, with all oracles on."""
    return Options(str(built(TELLER)), secret="key", oracles=("refusal", "stale"))


@pytest.mark.parametrize(
    ("order", "kind"),
    [
        (0, None),
        (1, "secret"),  # in the result
        (2, "secret"),  # eight bytes of it, anywhere in the memory that was passed
        (3, None),  # seven are not enough
        (4, "secret"),  # printed
        (5, "secret"),  # in the response memory
        (6, "refusal"),
        (7, None),  # a call that was granted may change the server
        (8, None),
        (9, "stale"),
        (10, None),  # memory that was passed is not the server's
        (11, None),  # what the caller does not get back
    ],
)
@pytest.mark.parametrize("calls", [1, 3])
def test_what_a_response_shows(order: int, kind: str | None, calls: int, teller: Options) -> None:
    memory = b"some memory"
    message = Message(order, memory)
    data = layout.join_calls([Message(0, b""), message]) if calls > 1 else call(order, memory)
    finding = explain(dataclasses.replace(teller, calls=calls), data)
    assert (finding.kind if finding else None) == kind
    if kind == "refusal":
        assert finding is not None
        assert "state" in finding.summary


def test_what_the_input_says_proves_nothing(teller: Options) -> None:
    """A caller that knows the bytes, or the token, may get them back."""
    key = b"A key that nobody knows\0"
    assert explain(teller, call(1, key)) is None
    assert explain(teller, call(2, key[5:13])) is None
    finding = explain(teller, call(2, key[:8]))
    assert finding is not None
    assert finding.kind == "secret"


def test_secret_in_hexadecimal(teller: Options) -> None:
    bytes_of_key = b"key that nobody".hex()
    finding = explain(dataclasses.replace(teller, secret=bytes_of_key), call(1, b"memory"))
    assert finding is None  # the result has two bytes before it
    finding = explain(dataclasses.replace(teller, secret=bytes_of_key), call(2, b"memory"))
    assert finding is not None
    assert finding.kind == "secret"


def test_secret_that_is_none(teller: Options) -> None:
    with pytest.raises(PltvmError, match="no such symbol, and it is neither a hexadecimal number"):
        open_target(dataclasses.replace(teller, secret="no_such_symbol"))


def test_without_the_options_nothing_is_looked_for(teller: Options) -> None:
    for order in range(12):
        assert explain(Options(teller.elf), call(order, b"memory")) is None


def test_secret_of_an_enclave(built: Build) -> None:
    """Memory that the host reads: relay pages, shared memory, the value it ends with, and what it prints."""
    text = """
#include <string.h>
#include "eapp.h"
#include "print.h"
unsigned char key[16] = "A key of 16 byte";
int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    unsigned char *relay = (unsigned char *)args[13], *shared = (unsigned char *)args[10];
    unsigned long value = 0;
    switch (relay[0]) {
    case 1: memcpy(relay + 100, key, 16); break;
    case 2: memcpy(shared + 100, key, 16); break;
    case 3: memcpy(&value, key, 8); break;
    case 4: eapp_print("%.16s", (char *)key); break;
    case 5: memcpy(relay + 100, key, 7); break;
    }
    EAPP_RETURN(value);
}
"""
    options = Options(str(built(text)), "enclave", channels=("shm", "relay"), secret="key")
    worker = Worker(options)
    for order, kind in enumerate([None, "secret", "secret", "secret", "secret", None]):
        data = (16).to_bytes(2, "little") + bytes(16) + bytes((order,))
        for _ in range(2):
            finding = worker.explain(data)
            assert (finding.kind if finding else None) == kind, order


def test_tokens_differ() -> None:
    tokens = {oracles.token_of(client) for client in range(4)}
    assert len(tokens) == 4
    assert all(len(token) == 8 for token in tokens)
