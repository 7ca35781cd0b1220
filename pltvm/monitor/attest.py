"""Reports and derived keys: enclave calls 94 and 88, monitor calls 98 and 80 (§8, §9).

    report    monitor: hash, its key, and the device key's signature over digest(hash ‖ key)
              enclave: hash, nonce, and the monitor key's signature over the hash
              the device key

An enclave's hash is digest(measurement ‖ nonce), with its measurement at creation. Only in the report of an
enclave on itself, the hash is a new measurement of its present memory, with the nonce.

As everywhere, everything is checked first; the slow part, digest and signatures, comes after that. It can
take seconds, and the run may be asked to end meanwhile. Nothing has changed by then, so the enclave makes its
call again when it goes on.
"""

from pltvm.engine.context import A0, A1, A2, Context
from pltvm.engine.sv39 import W
from pltvm.errors import Interrupted
from pltvm.monitor import abi
from pltvm.monitor.abi import FAILED, Report, Status
from pltvm.monitor.enclave import Enclave
from pltvm.monitor.keys import LARGEST_DERIVED
from pltvm.monitor.measure import measure_now, report_hash
from pltvm.monitor.state import State
from pltvm.monitor.user import read_name


def report(state: State, enclave: Enclave, context: Context) -> int | None:
    """Enclave call 94: a0 name of a living server, or 0 for oneself; a1 → report; a2 nonce. 0 or −1."""
    try:
        return _report(state, enclave, context)
    except Interrupted:
        context.step(-4)
        return None


def _report(state: State, enclave: Enclave, context: Context) -> int:
    name_va, report_va, nonce = context.regs[A0], context.regs[A1], context.regs[A2]
    table = enclave.space.table
    if table.spans(report_va, abi.REPORT.size, W) is None:
        return FAILED
    if name_va:
        name = read_name(table, name_va)
        server = state.server(name) if name else None
        if server is None:
            return FAILED
        content = report_hash(state.digest, measurement_of(state, server), nonce)
    else:
        content = measure_now(state.digest, state.memory, enclave.entry, table, nonce, state.hart.halt.check)
    table.write(report_va, signed_report(state, content, nonce))
    return 0


def derive_key(state: State, enclave: Enclave, context: Context) -> int | None:
    """Enclave call 88: a0 kind, a1 → key, a2 size from 1 to 8160 bytes. 0 or −1.

    The key depends on the enclave's measurement at creation and on the root key of that kind.
    """
    kind, key_va, size = context.regs[A0], context.regs[A1], context.regs[A2]
    table = enclave.space.table
    if kind >= len(state.keys.roots) or not 0 < size <= LARGEST_DERIVED:
        return FAILED
    if table.spans(key_va, size, W) is None:
        return FAILED
    try:
        measurement = measurement_of(state, enclave)
    except Interrupted:
        context.step(-4)
        return None
    table.write(key_va, state.keys.derive(kind, measurement, size))
    return 0


def attest(state: State, eid: int, report_pa: int, nonce: int) -> int:
    """Monitor call 98: (eid, physical address of a report, nonce), for any living enclave (§10).

    Also monitor call 80 for instances of a shadow enclave, which have the measurement of their template.
    """
    enclave = state.enclaves.get(eid)
    if enclave is None or not state.owners.is_public(report_pa, abi.REPORT.size):
        return Status.ERROR
    nonce &= abi.MASK64
    content = report_hash(state.digest, measurement_of(state, enclave), nonce)
    state.memory.write(report_pa, signed_report(state, content, nonce))
    return Status.OK


def measurement_of(state: State, enclave: Enclave) -> bytes:
    """Return an enclave's measurement at creation; a shadow instance has that of its template (§6)."""
    source = state.enclave(enclave.template_of) if enclave.template_of else enclave
    return state.contents[source.eid].measurement(state.digest, state.hart.halt.check)


def signed_report(state: State, content: bytes, nonce: int) -> bytes:
    """Return the report, in its binary layout, that certifies the hash `content` of an enclave."""
    keys = state.keys
    signed = Report(
        *state.certificate, hash=content, signature=keys.monitor.sign(content), nonce=nonce,
        device_public_key=keys.device.public,
    )  # fmt: skip
    return abi.REPORT.pack(*signed)
