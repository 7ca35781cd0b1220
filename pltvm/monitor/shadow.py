"""Shadow enclaves (§6): a template that never runs, and instances that start from a copy of it.

    template   its block; read-only pages are shared with the instances and stay its own
    instance   | tables | copies of the writable pages | stack | pages left for tables |

An instance is a normal enclave from then on. A template with living instances can not be destroyed, as they
run its pages.
"""

from pltvm.engine import sv39
from pltvm.engine.memory import PAGE, pages_for
from pltvm.monitor import abi, lifecycle, relay
from pltvm.monitor.abi import CreateParams, EnclaveType, RunShadowParams, Status
from pltvm.monitor.copying import TableCopy
from pltvm.monitor.pages import OWNERS
from pltvm.monitor.space import AddressSpace
from pltvm.monitor.state import RECORD_BYTES, Enclave, State

_STACK_PAGES = abi.DEFAULT_STACK // PAGE
_STACK_VA = abi.STACK_TOP - abi.DEFAULT_STACK
_RUNNING_NUMBERS = 5  # a2 of an instance is modulo this (§2)


def create(state: State, params_pa: int) -> int:
    """Monitor call 86: a template. It has no stack, and no memory shared with the host."""
    eid = state.next_eid
    status = lifecycle.create_as(state, params_pa, EnclaveType.SHADOW)
    if status == Status.OK:
        template = state.enclaves[eid]
        template.copies = TableCopy(state.owners, template.space.table.root)
    return status


def run(state: State, eid: int, params_pa: int) -> int | None:
    """Monitor call 87: make an instance of the template `eid` and start it."""
    template = state.enclaves.get(eid)
    raw = state.read_host(params_pa, abi.RUN_SHADOW_PARAMS.size)
    if template is None or template.copies is None or raw is None or state.running is not None:
        return Status.ERROR
    asked = RunShadowParams(*abi.RUN_SHADOW_PARAMS.unpack(raw))
    params = _as_create_params(asked, template)
    if not lifecycle.parameters_are_sound(state, params) or not _relay_is_apart(params, asked):
        return Status.ERROR
    if state.record_space < RECORD_BYTES:
        return Status.NO_MONITOR_MEMORY
    name = abi.clean_name(asked.name)
    pages = relay.offer(state, name, None, asked.relay_paddr, asked.relay_size)
    asid = state.next_asid()
    if pages is None or asid is None or state.next_eid >= OWNERS:
        return Status.ERROR
    if params.size < _pages_needed(template, params, pages.pages) * PAGE:
        return Status.ERROR

    # Nothing can fail from here on.
    space = _address_space(state, params, template.copies, asid)
    instance = Enclave(state.next_eid, name, EnclaveType.NORMAL, space, template.entry)
    instance.template = template
    template.instances += 1
    lifecycle.settle(state, instance, params)
    for page in template.copies.both:
        state.owners.want_both(params.paddr + page * PAGE)
    pages.take(state, instance)
    lifecycle.start(state, instance, state.started % _RUNNING_NUMBERS)
    return None


def _as_create_params(asked: RunShadowParams, template: Enclave) -> CreateParams:
    """What `create` would have been told for an enclave like this instance."""
    return CreateParams(
        asked.eid_pointer, asked.name, EnclaveType.NORMAL, asked.free_page, asked.size, template.entry,
        asked.free_page + asked.size, asked.kbuffer, asked.kbuffer_size, asked.shm_paddr, asked.shm_size,
        asked.ocall, asked.arg0, asked.arg1, asked.syscall, asked.retval,
    )  # fmt: skip


def _relay_is_apart(params: CreateParams, asked: RunShadowParams) -> bool:
    """Whether the relay pages are none of the pages that the instance gets or holds otherwise."""
    if not asked.relay_size:
        return True
    spans = [(params.paddr, params.size), (params.kbuffer, PAGE), (params.shm_paddr, params.shm_size)]
    spans += [(page, PAGE) for page in lifecycle.mailbox_pages(params)]
    start, end = asked.relay_paddr, asked.relay_paddr + asked.relay_size
    return all(end <= pa or pa + size <= start for pa, size in spans if size)


def _pages_needed(template: Enclave, params: CreateParams, relay_pages: int) -> int:
    """Pages of an instance: the copy, its stack, and the tables for what the template does not map."""
    assert template.copies is not None
    ranges = (
        (_STACK_VA, _STACK_PAGES),
        (abi.KBUFFER, 1),
        (abi.SHM_BASE, pages_for(params.shm_size)),
        (abi.RELAY_BASE, relay_pages),
    )
    tables = sum(template.space.table.missing_tables(va, pages) for va, pages in ranges if pages)
    return template.copies.pages + _STACK_PAGES + tables


def _address_space(state: State, params: CreateParams, copies: TableCopy, asid: int) -> AddressSpace:
    """The copy of the template in the host's block, with stack, kbuffer and shared memory."""
    memory, block = state.memory, params.paddr
    stack = block + copies.pages * PAGE
    copies.make(block)
    memory.zero(stack, abi.DEFAULT_STACK)
    space = AddressSpace(state.owners, block, stack + abi.DEFAULT_STACK, block + params.size, asid)
    lifecycle.map_host_pages(space, params)
    space.table.map(_STACK_VA, stack, _STACK_PAGES, sv39.RW)
    return space
