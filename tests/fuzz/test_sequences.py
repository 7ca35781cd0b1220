"""Sequences of calls of a server that keeps state."""

from pltvm.fuzz.layout import Message, join_calls
from pltvm.fuzz.options import Options
from pltvm.fuzz.worker import open_target
from tests.fuzz.conftest import Build

GREEDY = """
#include "eapp.h"
int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    struct call_enclave_arg_t ret = {0};
    for (unsigned long size = 1 << 20; size >= 4096; size /= 2)
        while (args[10] == 7 && eapp_mmap(0, size)) {}
    SERVER_RETURN(&ret);
}
"""


def test_a_server_that_takes_all_memory(built: Build) -> None:
    """It keeps what it is passed, too. Its callers have nothing more to pass then: that ends no campaign."""
    target = open_target(Options(str(built(GREEDY)), calls=8, clients=2, ram=16 << 20))
    greedy = join_calls([Message(7, b"x", 0), Message(0, b"y", 0), Message(0, b"z", 1), Message(0, b"", 0)])
    modest = join_calls([Message(0, b"x", 0), Message(0, b"y", 1)])
    before = target.execute(modest, keep=False)
    assert target.execute(greedy, keep=False).problem is None
    assert target.execute(modest, keep=False) == before
