"""The SDK's locks order what they are for, in the eyes of the race detector: whatever the schedule."""

from pathlib import Path

import pytest

from pltvm import Machine
from pltvm.build.enclave import build_enclave
from pltvm.explore.campaign import Campaign, Limits, Options
from pltvm.explore.subject import Enclaves

SERVER = """
#include <stdlib.h>
#include <string.h>
#include "eapp.h"
#include "threads.h"
static struct mutex mutex = MUTEX_INIT;
static struct spinlock spin = SPINLOCK_INIT;
static struct once once = ONCE_INIT;
static unsigned long number, other, table[4];
static _Thread_local unsigned long mine;
static void make(void) { for (int i = 0; i < 4; i++) table[i] = i; }
int EAPP_ENTRY main()
{
    struct call_enclave_arg_t ret = {0};
    call_once(&once, make);
    char *block = malloc(100);
    memset(block, 1, 100);
    mine++;
    MUTEX_LOCK
    number++;
    MUTEX_UNLOCK
    spin_lock(&spin);
    other++;
    spin_unlock(&spin);
    free(block);
    ret.resp_val = table[3] != 3 || mine != 1;
    SERVER_RETURN(&ret);
}
"""
CLIENT = """
#include "eapp.h"
int EAPP_ENTRY main()
{
    unsigned long server = acquire_enclave("server"), wrong = 0;
    for (int i = 0; i < 3; i++) {
        struct call_enclave_arg_t arg = {0};
        while (call_enclave(server, &arg) == -2)
            eapp_yield();
        wrong += arg.resp_val;
    }
    EAPP_RETURN(wrong);
}
"""


@pytest.mark.parametrize("locked", [True, False])
def test_what_the_locks_of_the_sdk_order(locked: bool, tmp_path: Path) -> None:
    (tmp_path / "client.c").write_text(CLIENT)
    (tmp_path / "server.c").write_text(
        SERVER.replace("MUTEX_LOCK", "mutex_lock(&mutex);" if locked else "(void)mutex;").replace(
            "MUTEX_UNLOCK", "mutex_unlock(&mutex);" if locked else ""
        )
    )
    for name in ("client", "server"):
        build_enclave([tmp_path / f"{name}.c"], tmp_path / f"{name}.elf")
    machine = Machine(32 << 20)
    machine.create(tmp_path / "server.elf", name="server", type="concurrent", slots=3)
    enclaves = [machine.create(tmp_path / "client.elf") for _ in range(3)]
    campaign = Campaign(Enclaves(machine, enclaves), Options(races=True, on_value=True), lambda _one: None)
    finding = campaign.run(Limits(schedules=40))
    if locked:
        assert finding is None, finding.lines()
    else:
        assert finding is not None
        assert "server.c:20" in "".join(finding.stacks)
