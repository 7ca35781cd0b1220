"""Enclaves fed by a hostile host."""

from pltvm.fuzz.layout import RACE
from pltvm.fuzz.options import Options
from pltvm.fuzz.worker import open_target
from tests.fuzz.conftest import Build

SHORT = """
#include "eapp.h"
int EAPP_ENTRY main()
{
    unsigned long *args;
    EAPP_RESERVE_REG;
    if (*(volatile unsigned char *)args[10] == 7) *(volatile int *)8 = 1;
    EAPP_RETURN(0);
}
"""


def test_a_race_that_is_lost_costs_nothing(built: Build) -> None:
    """An enclave that ends before memory changes has run no more blocks than without the race."""
    target = open_target(Options(str(built(SHORT)), "enclave", channels=("shm",)))
    for content in (b"\0", b"\7"):  # ends, and faults
        plain = target.execute(RACE.pack(0, 0, 0) + content, keep=False)
        late = target.execute(RACE.pack(5_000, 0, 0) + content, keep=False)
        assert (plain.problem is None) == (late.problem is None) == (content == b"\0")
        assert 0 < late.blocks == plain.blocks < 1_000
