"""Shadow enclaves (§6): templates, instances that copy and share their pages, and what a bad host may try."""

from collections.abc import Iterator
from typing import Any

import pytest

from pltvm.engine.memory import PAGE
from pltvm.engine.sv39 import pte_address
from pltvm.errors import EnclaveError
from pltvm.host import building, forking
from pltvm.host.api import Enclave
from pltvm.host.elf import load_image
from pltvm.host.enclave import NO_EID
from pltvm.host.shared import BOUND
from pltvm.host.spans import NO_PAGES
from pltvm.monitor import abi
from pltvm.monitor.abi import Call, EnclaveType, HostCall, Ocall, RunShadowParams, Status
from pltvm.monitor.shadow import copy_of
from tests.model.whole import Whole
from tests.monitor.rig import BUMP, MINUS_1, NOWHERE, Script, end_loop, stopped_in_loop
from tests.monitor.shared_rig import RELAY, SharedRig, numbered, send
from tests.work import lines_of_python


@pytest.fixture
def rig(script_elf: bytes) -> Iterator[SharedRig]:
    rig = SharedRig(script_elf)
    yield rig
    rig.finish()


def paused(rig: SharedRig, template: Enclave) -> Enclave:
    """A living instance."""
    script = Script()
    script.loop()
    instance = rig.instance(template, script)
    stopped_in_loop(instance)
    rig.check()
    return instance


def test_every_instance_starts_from_the_memory_as_loaded(rig: SharedRig) -> None:
    template = rig.template()
    for _ in range(3):
        script = Script()
        bumped = [script.step(BUMP), script.step(BUMP)]
        outcome = rig.outcome(rig.instance(template, script))
        assert [outcome[one] for one in bumped] == [101, 102]
        assert outcome.result.ok
    assert template.alive


def test_entry_registers(rig: SharedRig) -> None:
    template = rig.template()
    numbers = []
    for _ in range(7):
        outcome = rig.outcome(rig.instance(template, Script()))
        numbers.append(outcome.entry[12])
        assert outcome.entry[2] == abi.STACK_TOP
        assert outcome.entry[10] == abi.SHM_BASE
        assert outcome.entry[13:15] == [0, 0]
    assert numbers == [0, 1, 2, 3, 4, 0, 1]
    assert rig.outcome(rig.enclave(Script())).entry[12] == 7  # a normal one: not modulo 5


def test_relay_pages_of_an_instance(rig: SharedRig) -> None:
    script = Script()
    value = script.peek(RELAY + PAGE)
    outcome = rig.outcome(rig.instance(rig.template(), script, relay=numbered(2)))
    assert outcome[value] == 2
    assert outcome.entry[13:15] == [RELAY, 2 * PAGE]
    assert outcome.result.relay == numbered(2)


def test_an_instance_receives_what_is_bound_to_its_name(rig: SharedRig) -> None:
    sender, script = Script(), Script()
    send(sender, b"copy", RELAY, PAGE)
    rig.outcome(rig.with_relay(sender, numbered(1)))
    value = script.peek(RELAY)
    assert rig.outcome(rig.instance(rig.template(b"copy"), script, name="copy", relay=BOUND))[value] == 1


def test_two_living_instances_do_not_see_each_other(rig: SharedRig) -> None:
    template = rig.template()
    first = Script()
    one = first.step(BUMP)
    first.yield_()
    first.loop()
    two = first.step(BUMP)
    instance = rig.instance(template, first)
    stopped_in_loop(instance)
    rig.check()
    second = Script()
    other = second.step(BUMP)
    assert rig.outcome(rig.instance(template, second))[other] == 101
    end_loop(instance)
    outcome = rig.resumed(instance)
    assert (outcome[one], outcome[two]) == (101, 102)


def test_read_only_pages_are_shared_and_writable_ones_are_not(rig: SharedRig) -> None:
    template = rig.template()
    inner = rig.state.enclaves[template.eid]
    instance = paused(rig, template)
    copy = rig.state.enclaves[instance.eid]
    pages = {leaf.va: leaf.pte for leaf in inner.space.table.leaves()}
    copied = {leaf.va: leaf.pte for leaf in copy.space.table.leaves()}
    assert pages.keys() < copied.keys()
    writable = 0
    for va, pte in pages.items():
        same = pte_address(pte) == pte_address(copied[va])
        assert same is not inner.space.table.writable(pte)
        writable += not same
    assert 0 < writable < len(pages)
    assert abi.KBUFFER in copied
    assert abi.KBUFFER not in pages
    used = (copy.free - copy.block) // PAGE
    tables = len(list(copy.space.table.tables()))
    assert used == 1 + writable + tables + abi.DEFAULT_STACK // PAGE  # and one for its registers
    instance.destroy()


def test_an_instance_cannot_write_to_shared_pages(rig: SharedRig) -> None:
    template = rig.template()
    before = rig.machine.memory.read(template._inner.block, 64 * PAGE)
    script = Script()
    script.poke(0x1000, 1)
    fault = rig.outcome(rig.instance(template, script)).fault
    assert fault.address == 0x1000
    assert fault.owner == f"the page belongs to enclave {template.eid}"
    assert rig.machine.memory.read(template._inner.block, 64 * PAGE) == before


def test_an_instance_can_do_what_an_enclave_can(rig: SharedRig) -> None:
    server_script, script = Script(), Script()
    server_script.give(resp_val=6, req_vaddr=0)
    server = rig.server(server_script)
    page = script.mmap(4 * PAGE)
    script.poke(page, 1)
    script.sbrk(PAGE)
    shared = script.ocall(Ocall.SHM_GET, 1, PAGE, 0)
    script.ocall(Ocall.SHM_DESTROY, 1)
    called = script.call(server.eid)
    script.print(b"hello")
    eid = script.enclave_id()
    instance = rig.instance(rig.template(), script)
    assert instance.eid == NO_EID
    outcome = rig.outcome(instance)
    assert outcome[shared] == abi.SECURE_SHM_TOP - PAGE
    assert outcome[called] == 0
    assert outcome.output == "hello\n"
    assert outcome[eid] == instance.eid


def test_stop_resume_and_return_of_relay_pages(rig: SharedRig) -> None:
    script = Script()
    script.ocall(Ocall.RETURN_RELAY)
    value = script.peek(RELAY)
    instance = rig.instance(rig.template(), script, relay=numbered(1))
    assert rig.outcome(instance).result.status == "relay returned"
    instance.stop()
    assert rig.resumed(instance, relay=numbered(1))[value] == 1


# -- the template --------------------------------------------------------------------------------------------


def test_a_template_never_runs(rig: SharedRig) -> None:
    template = rig.template()
    for call, arguments in [
        (HostCall.RUN, (template._inner.page,)),
        (HostCall.RESUME, (0,)),
        (HostCall.RESUME, (1,)),
        (HostCall.STOP, ()),
    ]:
        assert rig.call(call, template.eid, *arguments) == Status.ERROR
    with pytest.raises(EnclaveError, match="shadow template"):
        template.run()
    script = Script()
    refused = script.call(template.eid)
    found = script.acquire(b"shadow")
    outcome = rig.outcome(rig.enclave(script))
    assert (outcome[refused], outcome[found]) == (MINUS_1, MINUS_1)


@pytest.mark.parametrize("call", [HostCall.DESTROY_SHADOW, HostCall.DESTROY, HostCall.DESTROY_SERVER])
def test_a_template_with_living_instances_stays(rig: SharedRig, call: HostCall) -> None:
    template = rig.template()
    instance = paused(rig, template)
    assert rig.call(call, template.eid) == Status.ERROR
    with pytest.raises(EnclaveError, match="refused to destroy"):
        template.destroy()
    assert template.alive
    instance.destroy()
    template.destroy()
    rig.check()
    with pytest.raises(EnclaveError, match="is not a living shadow template"):
        template.fork()


@pytest.mark.parametrize("ending", ["exit", "fault", "ecall"])
def test_an_instance_that_ends_frees_the_template(rig: SharedRig, ending: str) -> None:
    template = rig.template()
    script = Script()
    if ending == "fault":
        script.peek(NOWHERE)
    if ending == "ecall":
        script.ecall(1)
    rig.outcome(rig.instance(template, script))
    template.destroy()
    rig.check()


def test_an_instance_that_never_ran(rig: SharedRig) -> None:
    template = rig.template()
    free = rig.free_pages
    instance = rig.instance(template, Script())
    assert rig.free_pages < free
    instance.destroy()
    assert rig.free_pages == free
    with pytest.raises(EnclaveError):
        instance.run()


def test_a_template_cannot_be_destroyed_under_a_forked_instance(rig: SharedRig) -> None:
    template = rig.template()
    instance = rig.instance(template, Script())
    template.destroy()
    with pytest.raises(EnclaveError, match="refused"):
        instance.run()
    instance.destroy()


def test_fork_needs_a_template(rig: SharedRig) -> None:
    with pytest.raises(EnclaveError, match="is not a living shadow template"):
        rig.enclave(Script()).fork()
    with pytest.raises(EnclaveError, match="17 bytes"):
        rig.template().fork(name="x" * 17)


# -- a hostile host ------------------------------------------------------------------------------------------


def run_shadow(rig: SharedRig, template: Enclave, **changes: Any) -> int | None:
    """Monitor call 87 with the parameters that the driver would pass, changed."""
    instance = rig.instance(template, Script())._inner
    page = instance.page
    mailbox = tuple(page + 256 + 8 * index for index in range(5))
    raw = forking.run_params(rig.machine.kernel.blocks, instance, NO_PAGES, mailbox, page + 296)
    params = RunShadowParams(*abi.RUN_SHADOW_PARAMS.unpack(raw))._replace(**changes)
    rig.machine.memory.write(page, abi.RUN_SHADOW_PARAMS.pack(*params))
    before = Whole(rig.machine)
    status = rig.call(HostCall.RUN_SHADOW, template.eid, page)
    assert status is None or before.changes() == []
    return status


@pytest.mark.parametrize(
    "what",
    ["monitor", "template", "small", "odd size", "misaligned", "kbuffer", "shm", "mailbox", "relay",
     "relay in block", "relay is kbuffer", "eid", "two uses", "no kbuffer"],
)  # fmt: skip
def test_refused_run(rig: SharedRig, what: str) -> None:
    template = rig.template()
    secret = template._inner.block
    blocks = rig.machine.kernel.blocks
    block, page = blocks.take(64), blocks.take(1)
    changes: dict[str, dict[str, int]] = {
        "monitor": {"free_page": rig.machine.memory.base, "size": 64 * PAGE},
        "template": {"free_page": secret, "size": 64 * PAGE},
        "small": {"free_page": block, "size": 16 * PAGE},
        "odd size": {"free_page": block, "size": 63 * PAGE},
        "misaligned": {"free_page": block + PAGE, "size": 32 * PAGE},
        "kbuffer": {"kbuffer": secret},
        "shm": {"shm_paddr": secret, "shm_size": PAGE},
        "mailbox": {"arg0": secret},
        "relay": {"relay_paddr": secret, "relay_size": PAGE},
        "relay in block": {"free_page": block, "size": 64 * PAGE, "relay_paddr": block, "relay_size": PAGE},
        "relay is kbuffer": {"kbuffer": page, "relay_paddr": page, "relay_size": PAGE},
        "eid": {"eid_pointer": secret},
        "two uses": {"free_page": block, "size": 64 * PAGE, "kbuffer": block},
        "no kbuffer": {"kbuffer_size": 0},
    }
    rig.machine.memory.write(block, b"the host's own" * 1000)
    assert run_shadow(rig, template, **changes[what]) == Status.ERROR
    rig.check()
    blocks.give(block)
    blocks.give(page)


def test_refused_relay_pages_leave_the_block_as_it_was(rig: SharedRig) -> None:
    """The pages are looked at last; nothing of the host's block is used before."""
    template, blocks = rig.template(), rig.machine.kernel.blocks
    rig.enclave(Script(), name=b"same")
    block, relay = blocks.take(256), blocks.take(1)
    rig.machine.memory.write(block, b"the host's own" * 1000)
    asked = {"free_page": block, "size": 256 * PAGE, "relay_paddr": relay, "relay_size": PAGE}
    assert run_shadow(rig, template, **asked, name=b"same") == Status.ERROR
    for one in (block, relay):
        blocks.give(one)


def test_nothing_of_the_host_is_in_an_instance(rig: SharedRig) -> None:
    """Its stack and its tables' unused entries are clear, whatever was in the block."""
    template = rig.template()
    places = range(abi.STACK_TOP - abi.DEFAULT_STACK, abi.STACK_TOP - PAGE, PAGE // 4)
    script = Script()
    words = [script.peek(va) for va in places]
    instance = rig.instance(template, script)
    block, blocks = instance._inner.block, rig.machine.kernel.blocks
    rig.machine.memory.write(block, b"HOSTDATA" * (blocks.size(block) // 8))
    outcome = rig.outcome(instance)
    assert [outcome[word] for word in words] == [0] * len(places)


@pytest.mark.parametrize("eid", [-1, 0, 99])
def test_run_shadow_of_what_is_no_template(rig: SharedRig, eid: int) -> None:
    enclave = rig.enclave(Script())
    assert enclave.eid == 0
    assert rig.call(HostCall.RUN_SHADOW, eid, enclave._inner.page) == Status.ERROR
    assert rig.call(HostCall.RUN_SHADOW, eid, 0) == Status.ERROR


def test_a_block_without_room_for_the_tables(rig: SharedRig) -> None:
    template = rig.template()
    block = rig.machine.kernel.blocks.take(32)
    exact = 1 + copy_of(rig.state, rig.state.enclaves[template.eid]).pages + abi.DEFAULT_STACK // PAGE
    size = 32 * PAGE
    status = run_shadow(rig, template, free_page=block, size=size, shm_paddr=0, shm_size=0)
    if exact > 32 - 4:  # kbuffer and stack need four tables
        assert status == Status.ERROR
        assert rig.machine.memory.read(block, size) == bytes(size)
        rig.machine.kernel.blocks.give(block)
    rig.leak = 0 if status is not None else 32
    if status is None:
        rig.machine.monitor.run_guest()


def test_a_template_with_a_stack_is_refused(rig: SharedRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(building._CREATE_CALLS, EnclaveType.NORMAL, HostCall.CREATE_SHADOW)
    with pytest.raises(EnclaveError, match="refused"):
        rig.machine.driver.create(load_image(rig.elf), b"x", EnclaveType.NORMAL)
    rig.check()


def test_memory_shared_with_a_template_is_refused(rig: SharedRig) -> None:
    pages = rig.machine.shm(PAGE)
    with pytest.raises(EnclaveError, match="refused"):
        rig.machine.driver.create(load_image(rig.elf), b"x", EnclaveType.SHADOW, shm=pages.span)
    pages.free()


def test_floating_point_and_calls_leave_nothing_for_the_next(rig: SharedRig) -> None:
    template = rig.template()
    script = Script()
    script.step(13, 5)  # SET_FP
    rig.outcome(rig.instance(template, script))
    script = Script()
    value = script.step(14)  # GET_FP
    assert rig.outcome(rig.instance(template, script))[value] == 0


def test_a_fork_is_fast(rig: SharedRig) -> None:
    template = rig.template()
    driver = rig.machine.driver
    for _ in range(3):
        instance = rig.instance(template, Script())
        started: list[bool] = []
        lines = lines_of_python(lambda: started.append(driver.start(instance._inner)))  # noqa: B023
        assert started == [True]
        driver.go(instance._inner)
        driver.let_go(instance.inner)
    assert lines < 1800  # of the last, which finds everything there


def test_caller_id_of_an_instance(rig: SharedRig) -> None:
    script = Script()
    nobody = script.ecall(Call.CALLER_ID)
    assert rig.outcome(rig.instance(rig.template(), script))[nobody] == MINUS_1
