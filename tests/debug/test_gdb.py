"""A real gdb looks into enclaves: breakpoints, watchpoints, steps across calls, faults."""

import re
import subprocess
import time
from pathlib import Path

import pytest

from pltvm.build import guest
from tests.cli.command import COMMAND, pltvm
from tests.debug.debuggers import Programs, address_of, debug, gdb, has_all, needs_gdb
from tests.host.linux.programs import no_compiler

pytestmark = needs_gdb
HOSTS = guest.guest_dir() / "elf" / "host" / "musl"


def test_breakpoints_in_all_enclaves_of_a_chain_before_one_was_called(chain: list[str]) -> None:
    output = debug(
        chain,
        "info threads",
        "break third.c:add",
        "tbreak second.c:ask",
        "break first.c:main",
        "continue",
        "backtrace",
        "continue",
        "backtrace",
        "continue",
        "backtrace",
        "print what",
        "info threads",
        "delete",
        "continue",
    )
    has_all(
        output,
        'first.elf: runs"',
        "server, not called",
        "server, not called",
        "hit Breakpoint 3, main () at first.c",
        "hit Temporary breakpoint 2, ask (name=",
        "#1 ",
        "in main () at second.c:20",
        "hit Breakpoint 1, add (what=0) at third.c:8",
        "#1 ",
        "main () at third.c:20",
        "$1 = 0",
        "first.elf: has called second",
        "second: has called third",
        "third: runs",
        "first: 1075",
        "returned 1075",
        "exited normally",
    )


def test_a_condition_a_count_and_commands(chain: list[str]) -> None:
    output = debug(
        chain,
        "tbreak third.c:main",
        "continue",
        "break add if what > 7",
        "ignore 2 1",
        "continue",
        "finish",
        "continue",
        "info breakpoints",
    )
    has_all(output, "hit Breakpoint 2, add (what=21)", "Value returned is $1 = 42")
    has_all(
        output, "hit Breakpoint 2, add (what=28)", "stop only if what > 7", "breakpoint already hit 3 times"
    )


def test_watchpoints_see_each_write_and_read(chain: list[str]) -> None:
    output = debug(
        chain,
        "break third.c:main",
        "continue",
        "watch total",
        "continue",
        "continue",
        "delete",
        "rwatch total",
        "continue",
        "delete",
        "awatch total",
        "continue",
        "continue",
        "info watchpoints",
        "delete",
        "continue",
    )
    has_all(
        output,
        "Hardware watchpoint 2: total",
        "Old value = 0",
        "New value = 7",
        "Old value = 7",
        "New value = 21",
        "Hardware read watchpoint 3: total",
        "Value = 21",
        "Hardware access (read/write) watchpoint 4: total",
        "first: 1075",
    )


def test_a_watchpoint_sees_what_another_enclave_writes_and_who(chain: list[str]) -> None:
    """The caller's struct is written by the monitor when the server returns."""
    output = debug(
        chain,
        "break first.c:11",
        "continue",
        "watch arg.resp_val",
        "continue",
        "backtrace 1",
        "delete",
        "continue",
    )
    has_all(output, "Old value = 0", "New value = 1075", "#0 ", "enclave_call", "first: 1075")


def test_a_step_leads_into_the_server_and_out_of_it(chain: list[str]) -> None:
    output = debug(
        chain,
        "break first.c:11",
        "continue",
        "tbreak ecall.h:57 if function == 96",
        "continue",
        "step",
        "info threads",
        "tbreak second.c:main",
        "continue",
        "tbreak server_return",
        "tbreak third.c:main",
        "continue",
        "tbreak server_return",
        "continue",
        "tbreak ecall.h:57 if function == 95",
        "continue",
        "step",
        "backtrace",
        "info threads",
    )
    has_all(
        output,
        'Thread 2.1 "second: runs" stopped',
        "_start ()",
        "* 2.1",
        "hit Temporary breakpoint",
        "main () at second.c",
        "main () at third.c",
        'Thread 2.1 "second: runs" stopped',
        "in ask (",
        "* 2.1",
    )


def test_next_goes_over_a_call(chain: list[str]) -> None:
    output = debug(
        chain,
        "break first.c:11",
        "continue",
        "next",
        "print told",
        "next",
        "print told",
        "info threads",
        "continue",
    )
    has_all(output, "13\tin first.c", "$1 = 0", "14\tin first.c", "$2 = 1075", "* 1.1", "first: 1075")


def test_single_instructions_lead_in_and_out(chain: list[str]) -> None:
    output = debug(
        chain,
        "break first.c:11",
        "continue",
        "tbreak ecall.h:57 if function == 96",
        "continue",
        "python\nwhile gdb.selected_inferior().num == 1: gdb.execute('stepi', to_string=True)\nend",
        "info registers pc",
        "info threads",
    )
    has_all(output, "0x1000 <_start>", "first.elf: has called second")


def test_up_and_down_go_from_callee_to_caller(chain: list[str]) -> None:
    output = debug(
        chain,
        "break third.c:main",
        "continue",
        *["up"] * 9,
        "print page[0]",
        *["down"] * 9,
        "up 4",
        "chain",
        "monitor chain",
    )
    has_all(
        output,
        "ask (name=",
        "at second.c:11",
        "in main () at second.c:20",
        "at first.c:11",
        "in main () at first.c:22",
        "Initial frame selected; you can't go up.",
        "main () at third.c",
        "2.1 second",
        "ask (name=",
        "1.1 first.elf",
        "in main () at first.c:22",
        "third (eid",
        "called from enclave_call",
    )


def test_registers_and_memory_can_be_changed(chain: list[str]) -> None:
    output = debug(
        chain,
        "break third.c:19",
        "continue",
        "print $fa0.double = 1.5",
        "print $fcsr = 0xe3",
        "print $frm",
        "print $fflags",
        "print page[0] = 2000",
        "print/x $priv",
        "info registers fa0",
        "break add",
        "continue",
        "print $a0",
        "print what = 100",
        "delete",
        "continue",
    )
    has_all(output, "= 1.5", "= 7", "= 3", "= 2000", "= 0x0", "double = 1.5", "first: 2175")


def test_each_enclave_sees_its_own_memory_and_is_told_why_not(chain: list[str]) -> None:
    output = debug(
        chain,
        "break third.c:main",
        "continue",
        "up",
        "up",
        "up",
        "up",
        "up",
        "up",
        "up",
        "print page",
        "print *page",
        "monitor owner &page",
        "down",
        "monitor owner 0x1000",
        "monitor owner 0x7000000",
    )
    has_all(output, "Cannot access memory at address")
    assert re.search(
        r"pltvm: first.elf has nothing at 0x\w+: the page was passed to second \(eid \d\)", output
    )
    has_all(output, "name an address, such as", "belongs to enclave", "nothing is mapped there")


def test_a_fault_is_seen_before_anything_is_destroyed(programs: Programs) -> None:
    run = [str(programs("ledger-client")), f"--server=ledger={programs('ledger')}"]
    output = debug(run, "continue", "backtrace", "print owner", "info threads", "up 4", "continue")
    has_all(
        output,
        "pltvm: ledger: load from a page that is not mapped readable",
        "received signal SIGSEGV",
        "in add (amount=3) at ledger.c",
        "#1 ",
        "in main () at ledger.c",
        'name = "Penelope"',
        "ledger: runs",
        "ask (ledger=0, what=3)",
        "fault: ledger (eid 0) at add",
        "exited with code 01",
    )


def test_a_fault_can_be_mended(programs: Programs) -> None:
    run = [str(programs("ledger-client")), f"--server=ledger={programs('ledger')}"]
    output = debug(run, "continue", "print $a2 = (long)entries", "print owner.entry = entries", "signal 0")
    has_all(output, "SIGSEGV", "entries", "3: 24934")


def test_ctrl_c_stops_a_loop(programs: Programs, tmp_path: Path) -> None:
    (tmp_path / "later.py").write_text(
        "import os, signal, threading\nthreading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
    )
    output = debug(
        [str(programs("loop")), "--timeout=60"],
        f"source {tmp_path / 'later.py'}",
        "continue",
        "print count > 0",
        "set var most = 0",
        "continue",
    )
    has_all(output, "received signal SIGINT", "main () at loop.c", "$1 = 1", "returned 42", "exited normally")


def test_detach_and_the_run_goes_on(programs: Programs) -> None:
    run = [str(programs("loop"))]
    output = debug(run, "break loop.c:main", "continue", "set var most = 1000", "detach")
    # gdb may close the pipe that the run's lines come by before its last one.
    has_all(output, "Breakpoint 1, main () at loop.c", "detached")
    line = [*COMMAND, "run", "--gdb=0", *run]
    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        address = address_of(server)
        gdb(address, "break loop.c:main", "continue", "set var most = 1000", "detach")
        assert server.stderr.read().endswith("returned 42\n")
    assert server.returncode == 0


def test_the_chain_of_the_first_slot(programs: Programs) -> None:
    """The others, which nobody is in, are not taken for it."""
    run = [f"--server=slots={programs('slots')},concurrent=3", str(programs("slots-client"))]
    output = debug(run, "break slots.c:11", "continue", "monitor chain")
    has_all(
        output, "hit Breakpoint 1", "→ slots, slot 0 (eid 0)  at add", "slots-client.elf (eid 1)  called from"
    )


def test_a_run_that_gdb_has_let_go_comes_to_its_end(chain: list[str]) -> None:
    """Though gdb is gone before: all that it prints is there, and `pltvm debug` waits for it."""
    shown = debug(chain, "break third.c:main", "continue", "detach inferiors 1 2 3")
    has_all(shown, "hit Breakpoint 1", "detached", "first.elf returned")
    assert "killed" not in shown


def test_kill_ends_the_run(programs: Programs) -> None:
    line = [*COMMAND, "run", "--gdb", str(programs("loop"))]
    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        address = address_of(server)
        assert "[Inferior 1 (process 1) killed]" in gdb(address, "break loop.c:main", "continue", "kill")
        assert server.stderr.read() == "pltvm: killed by the debugger\n"
    assert server.returncode == 1


def test_plain_gdb_without_our_script_on_a_socket(chain: list[str], tmp_path: Path) -> None:
    path = tmp_path / "gdb"
    line = [*COMMAND, "debug", "--socket", str(path), *chain]
    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        assert address_of(server).endswith(str(path))
        output = gdb(str(path), "break third.c:add", "continue", "backtrace", "delete", "continue")
        has_all(
            output, "hit Breakpoint 1, add (what=0) at third.c", "in main () at third.c", "exited normally"
        )
        assert "returned 1075" in server.stderr.read()


def test_on_a_pipe_of_the_users_own_gdb(programs: Programs) -> None:
    stub = " ".join([*COMMAND, "debug", "--stdio", str(programs("loop"))])
    output = gdb(f"| {stub}", "break loop.c:main", "continue", "set var most = 10", "continue")
    has_all(output, "Breakpoint 1, main () at loop.c", "exited normally", "returned 42")


@pytest.fixture
def ioctl_run(chain: list[str], tmp_path: Path) -> list[str]:
    """A host program that makes the enclaves of the original tutorial."""
    for name in ("caller", "server", "server1"):
        (tmp_path / name).write_bytes((guest.guest_dir() / "elf" / f"{name}.elf").read_bytes())
    return [f"--root={tmp_path}", str(HOSTS / "test-caller"), "caller", "server", "server1"]


def test_a_host_program_and_the_enclaves_that_it_makes(ioctl_run: list[str]) -> None:
    output = debug(
        ioctl_run,
        "set breakpoint pending on",
        "break server.c:main",
        "break PLenclave_run",
        "continue",
        "backtrace 1",
        "continue",
        "info threads",
        "chain",
        "delete",
        "continue",
    )
    has_all(
        output,
        "Breakpoint 2, ",
        "PLenclave_run ()",
        "#0 ",
        "hit Breakpoint 1, main () at server.c",
        "test-caller",
        "in ioctl ()",
        "#0 ",
        "main () at server.c",
        "in ioctl ()",
        "in PLenclave_run ()",
        "main ()",
        "test-caller: the enclave returned 0",
        "exited normally",
    )


def test_a_kernel_program(programs: Programs) -> None:
    output = debug(
        ["--as=kernel", str(programs("kernel"))],
        "info threads",
        "break put",
        "continue",
        "backtrace 1",
        "stepi",
        "print $priv",
        "monitor pmp",
        "delete",
        "continue",
    )
    has_all(output, "kernel.elf", "Breakpoint 1, put (", "put (", "= 1", "---", "hi", "ended with 5")


def test_time_does_not_pass_while_it_is_stopped(programs: Programs) -> None:
    start = time.monotonic()
    output = debug(
        [str(programs("loop")), "--timeout=3"],
        "break loop.c:main",
        "continue",
        "python import time; time.sleep(4)",
        "set var most = 10",
        "continue",
    )
    assert time.monotonic() - start > 4
    has_all(output, "returned 42")


@pytest.mark.parametrize(
    ("run", "status", "says"),
    [
        (["nothing.elf"], 1, "pltvm: nothing.elf: no such file\n"),
        (["--server", "one=nothing.elf", "{hello}"], 1, "pltvm: nothing.elf: no such file\n"),
        (["--as", "sever", "{hello}"], 2, "pltvm: --as sever: write one of host, enclave, server, kernel\n"),
    ],
)
def test_no_debugger_starts_where_nothing_can_run(
    run: list[str], status: int, says: str, tmp_path: Path
) -> None:
    words = [word.format(hello=guest.examples()["hello-world"].elf) for word in run]
    result = pltvm("debug", *words, cwd=tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (status, "", says)


def test_back_to_the_write_and_to_a_breakpoint(programs: Programs) -> None:
    run = [str(programs("ledger-client")), f"--server=ledger={programs('ledger')}"]
    output = debug(
        run,
        "continue",
        "watch owner.entry",
        "reverse-continue",
        "print i",
        "print what",
        "delete",
        "break ledger.c:main",
        "reverse-continue",
        "print owner.entry",
        "reverse-continue",
        "delete",
        "continue",
    )
    has_all(
        output,
        "SIGSEGV",
        "hit Hardware watchpoint 1: owner.entry",
        "Old value = (long *) 0x6168744920666f20",
        "rename_owner (name=",
        "$1 = 15",
        "hit Breakpoint 2, main () at ledger.c",
        "= (long *) 0x0",
        "No more reverse-execution history",
        "received signal SIGSEGV",
    )
    assert output.count("1: 0") == 1  # what is run again is not printed again


def test_a_step_back_undoes_one_instruction(programs: Programs) -> None:
    output = debug(
        [str(programs("loop"))],
        "break loop.c:main",
        "continue",
        "watch count if count == 3",
        "continue",
        "print $pc",
        "reverse-stepi",
        "print count",
        "stepi",
        "print count",
        "print $pc",
        "set var most = 5",
        "delete",
        "continue",
    )
    found = re.findall(r"\$\d = (.*)", output)
    assert found[1:3] == ["2", "3"]
    assert found[0] == found[3]
    has_all(output, "returned 42")


def test_back_from_a_call_that_there_is_not(programs: Programs) -> None:
    """A fault in a call: what it asks for is not done when the way back is run again."""
    back = ["watch word", "reverse-continue", "print word", "reverse-continue", "delete", "continue"]
    shown = debug(
        [str(programs("unknown"))], "continue", "x/i $pc", *back, "reverse-stepi", "stepi", "x/i $pc"
    )
    has_all(
        shown, "received signal SIGABRT", "ecall", "Old value = 2", "New value = 1", "$1 = 1",
        "Old value = 1", "New value = 0", "received signal SIGABRT", "=>", "ecall",
    )  # fmt: skip


def test_a_call_of_a_server(programs: Programs) -> None:
    """Each call is a run of its own: there is a way back to its beginning, and not into the one before."""
    line = [*COMMAND, "call", str(programs("counter")), "--arg", "5", "--repeat", "3", "--gdb=-"]
    forward = [
        "break counter.c:10",
        *["continue", "print count"] * 2,
        "watch count",
        "continue",
        "print count",
    ]
    back = ["delete 1", "reverse-continue", "print count", "reverse-continue", "delete", "continue"]
    shown = gdb(f"| {' '.join(line)} --history 64M", *forward, *back)
    has_all(
        shown, "$1 = 0", "$2 = 5", "New value = 10", "$3 = 10", "Old value = 10", "$4 = 5",
        "No more reverse-execution history", "exited normally",
    )  # fmt: skip
    assert "counter.elf returned 15" in shown


def test_the_libraries_of_a_host_program(tmp_path: Path) -> None:
    """gdb finds them by the program's own list, and reads them from its root."""
    root = Path("/usr/riscv64-linux-gnu")
    if why := no_compiler("glibc"):
        pytest.skip(why)
    source = tmp_path / "d.c"
    source.write_text(
        "#include <math.h>\n#include <stdlib.h>\nint main(int n, char **v) { return sin(atof(v[0])); }\n"
    )
    subprocess.run(["riscv64-linux-gnu-gcc", "-g", source, "-o", tmp_path / "d", "-lm"], check=True)
    steps = ["break main", "continue", "info sharedlibrary", "break sin", "continue", "backtrace"]
    shown = debug(["--root", str(root), str(tmp_path / "d")], *steps)
    has_all(
        shown, "Breakpoint 1, main", "ld-linux-riscv64", "libm.so.6", "libc.so.6", "Breakpoint 2", "in main ("
    )


def test_a_fault_of_a_host_program_is_seen_before_its_signal(tmp_path: Path) -> None:
    """It can be looked at, and gone back from; then the signal takes its course."""
    source = tmp_path / "f.c"
    source.write_text("int *volatile at = (int *)16;\nint main(void) { at++; *at = 5; return 0; }\n")
    if why := no_compiler("glibc"):
        pytest.skip(why)
    line = ["riscv64-linux-gnu-gcc", "-g", "-static", str(source), "-o", str(tmp_path / "f")]
    subprocess.run(line, check=True)
    back = ["print at", "watch at", "reverse-continue", "print at", "delete"]
    shown = debug([str(tmp_path / "f")], "continue", *back, "continue", "continue")
    stop = "received signal SIGSEGV"
    has_all(shown, stop, "in main () at", "$1 = ", ") 0x14", "$2 = ", ") 0x10", stop, "exited with code 0213")


def test_each_slot_of_a_server_is_a_process_with_its_own_stack(programs: Programs) -> None:
    """Two callers are inside at once; a breakpoint is for all slots, also those that nobody was in."""
    run = [
        "--server",
        f"slots={programs('slots')},concurrent=2",
        str(programs("slots-client")),
        "--callers=2",
    ]
    output = debug(
        run,
        "break slots.c:11",
        "continue",
        "backtrace 3",
        "print mine",
        "continue",
        "info threads",
        "print mine",
        "backtrace 3",
        "thread 2.1",
        "up 2",
        "print what",
        "monitor chain",
        "delete",
        "continue",
    )
    has_all(output, "Breakpoint 1", "(2 locations)", "hit Breakpoint 1.1, add (what=101)")
    has_all(output, "#2  0x", "main ()", "$1 = 101", 'slot 1: runs" hit Breakpoint 1.2, add (what=102)')
    has_all(
        output,
        'slots, slot 0: is paused"',
        'slots, slot 1: runs"',
        "has called slots (eid 0, slot 1)",
        "$2 = 102",
    )
    has_all(
        output,
        "$2 = 102",
        "#0  add (what=102)",
        "Switching to thread 2.1",
        "#2",
        "add (what=101)",
        "$3 = 101",
    )
    has_all(output, "→ slots, slot 0 (eid 0)", "slots-client.elf#0 (eid 1)  called from", "the host")
    has_all(output, "#0 returned 102", "#1 returned 206")


def test_options_behind_the_file_are_told(programs: Programs) -> None:
    result = subprocess.run(
        [*COMMAND, "debug", str(programs("loop")), "--batch"], capture_output=True, text=True, check=False
    )
    said = "pltvm: debug: --batch is an option of debug: give it before FILE and the options of run\n"
    assert (result.returncode, result.stderr) == (2, said)
