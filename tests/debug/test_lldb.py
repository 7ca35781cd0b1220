"""A real lldb looks into an enclave."""

from tests.debug.debuggers import Programs, debug, has_all, needs_lldb

pytestmark = needs_lldb


def test_breakpoint_condition_step_and_registers(programs: Programs) -> None:
    output = debug(
        [
            str(programs("first")),
            f"--server=second={programs('second')}",
            f"--server=third={programs('third')}",
        ],
        "breakpoint set -n main",
        "continue",
        "next",
        "next",
        "register read pc sp fa0",
        "print *page",
        "thread list",
        "memory read --format x --count 1 --size 4 page",
        "si",
        "register write a0 7",
        "register read a0",
        "breakpoint delete -f",
        "continue",
        options=["--lldb"],
    )
    has_all(output, "stop reason = breakpoint 1.1", "main at first.c:19", "stop reason = step over")
    has_all(
        output,
        "pc = 0x",
        "first.elf`main",
        "fa0 =",
        "$0 = 1000",
        "first.c:22",
        "0x000003e8",
        "instruction step",
    )
    has_all(output, "a0 = 0x0000000000000007", "first: 1075")


def test_a_watchpoint_and_a_condition(programs: Programs) -> None:
    output = debug(
        [str(programs("loop")), "--timeout=60"],
        "breakpoint set -n main",
        "continue",
        "watchpoint set variable most",
        "expression most = 20",
        "watchpoint delete -f",
        "watchpoint set variable count",
        "continue",
        "continue",
        "print count",
        "watchpoint delete -f",
        "continue",
        options=["--lldb"],
    )
    has_all(output, "Watchpoint created", "stop reason = watchpoint 2", "$1 = 2", "returned 42")


def test_a_fault_of_a_server_stops_its_caller(programs: Programs) -> None:
    """lldb sees one process: it is told of a fault elsewhere in that, and only once."""
    run = [str(programs("ledger-client")), f"--server=ledger={programs('ledger')}", "--timeout=60"]
    output = debug(run, "continue", options=["--lldb"])
    has_all(output, "ledger: load from a page that is not mapped readable", "stop reason = signal SIGSEGV")
    has_all(output, "enclave_call(function=96")
    assert output.count("load from a page that is not mapped") == 1
