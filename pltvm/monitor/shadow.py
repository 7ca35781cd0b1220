"""Shadow enclaves (§6): a template that never runs, and instances that start from a copy of it.

    template   its block; read-only pages are shared with the instances and remain the template's
    instance   | registers | tables | copies of the writable pages | stack | pages left for tables |

Once made, an instance is a normal enclave. A template with living instances cannot be destroyed, as they use
its pages.
"""

from pltvm.engine import sv39
from pltvm.engine.memory import PAGE, pages_for
from pltvm.monitor import abi, relay
from pltvm.monitor import create as creating
from pltvm.monitor import run as running
from pltvm.monitor.abi import CreateParams, EnclaveType, RunShadowParams, Status
from pltvm.monitor.copying import TableCopy
from pltvm.monitor.enclave import RECORD_BYTES, Enclave
from pltvm.monitor.pages import OWNERS
from pltvm.monitor.state import State

_STACK_PAGES = abi.DEFAULT_STACK // PAGE
_STACK_VA = abi.STACK_TOP - abi.DEFAULT_STACK
_RUNNING_NUMBERS = 5  # a2 of an instance is modulo this (§2)


def create(state: State, params_pa: int) -> int:
    """Monitor call 86: create a template. It has no stack, and no memory shared with the host."""
    return creating.create_as(state, params_pa, EnclaveType.SHADOW)


def copy_of(state: State, template: Enclave) -> TableCopy:
    """Return the TableCopy of a template, computed from its tables when first needed."""
    if template.copies is None:
        template.copies = TableCopy(state.owners, template.root)
    return template.copies


def run(state: State, eid: int, params_pa: int) -> int | None:
    """Monitor call 87: make an instance of the template `eid` and start it."""
    template = state.enclaves.get(eid)
    raw = state.read_host(params_pa, abi.RUN_SHADOW_PARAMS.size)
    if template is None or template.kind != EnclaveType.SHADOW or raw is None or state.globals.running:
        return Status.ERROR
    asked = RunShadowParams(*abi.RUN_SHADOW_PARAMS.unpack(raw))
    params = _as_create_params(asked, template)
    if not creating.parameters_are_sound(state, params) or not _relay_is_apart(params, asked):
        return Status.ERROR
    if state.globals.record_space < RECORD_BYTES:
        return Status.NO_MONITOR_MEMORY
    name, copies = abi.clean_name(asked.name), copy_of(state, template)
    pages = relay.offer(state, name, None, asked.relay_paddr, asked.relay_size)
    asid = state.records.next_asid()
    if pages is None or asid is None or state.globals.next_eid >= OWNERS:
        return Status.ERROR
    if params.size < _pages_needed(template, copies, params, pages.pages) * PAGE:
        return Status.ERROR

    # Nothing can fail from here on.
    root = params.paddr + PAGE
    stack = root + copies.pages * PAGE
    copies.make(root)
    state.memory.zero(stack, abi.DEFAULT_STACK)
    free = stack + abi.DEFAULT_STACK
    instance = creating.settle(state, params, name, EnclaveType.NORMAL, root, free, asid)
    instance.space.table.map(_STACK_VA, stack, _STACK_PAGES, sv39.RW)
    instance.template_of = template.at
    template.instances += 1
    for page in copies.both:
        state.owners.want_both(root + page * PAGE)
    pages.take(state, instance)
    running.start(state, instance, state.globals.started % _RUNNING_NUMBERS)
    return None


def _as_create_params(asked: RunShadowParams, template: Enclave) -> CreateParams:
    """Return parameters as `create` would get them for an enclave like this instance."""
    return CreateParams(
        asked.eid_pointer, asked.name, EnclaveType.NORMAL, asked.free_page, asked.size, template.entry,
        asked.free_page + asked.size, asked.kbuffer, asked.kbuffer_size, asked.shm_paddr, asked.shm_size,
        asked.ocall, asked.arg0, asked.arg1, asked.syscall, asked.retval,
    )  # fmt: skip


def _relay_is_apart(params: CreateParams, asked: RunShadowParams) -> bool:
    """Whether the relay pages do not overlap the other pages that the instance gets or holds."""
    if not asked.relay_size:
        return True
    spans = [(params.paddr, params.size), (params.kbuffer, PAGE), (params.shm_paddr, params.shm_size)]
    spans += [(page, PAGE) for page in creating.mailbox_pages(params)]
    start, end = asked.relay_paddr, asked.relay_paddr + asked.relay_size
    return all(end <= pa or pa + size <= start for pa, size in spans if size)


def _pages_needed(template: Enclave, copies: TableCopy, params: CreateParams, relay_pages: int) -> int:
    """Return the pages of an instance: registers, the copy, its stack, and tables for its own mappings."""
    ranges = (
        (_STACK_VA, _STACK_PAGES),
        (abi.KBUFFER, 1),
        (abi.SHM_BASE, pages_for(params.shm_size)),
        (abi.RELAY_BASE, relay_pages),
    )
    tables = sum(template.space.table.missing_tables(va, pages) for va, pages in ranges if pages)
    return 1 + copies.pages + _STACK_PAGES + tables
