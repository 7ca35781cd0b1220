"""The remote protocol without a debugger: what a client may send, who may come, what stays when it goes."""

import random
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pltvm import EnclaveType, Machine
from pltvm.debug.gdb.link import Link, Listener
from pltvm.debug.gdb.packets import Framer, Mark, frame
from pltvm.debug.gdb.session import Session
from pltvm.debug.stops import Killed
from pltvm.debug.viewing import Views
from tests.cli.command import COMMAND, pltvm
from tests.debug.debuggers import Programs, address_of


class Client:
    """A client of the test's own on a socket."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        connection.settimeout(30)
        self._framer, self._items = Framer(), []  # type: ignore[var-annotated]

    def send(self, *packets: bytes) -> None:
        for packet in packets:
            self.connection.sendall(frame(packet))

    def reply(self) -> bytes:
        while True:
            while self._items:
                item = self._items.pop(0)
                if isinstance(item, bytes):
                    return item
            data = self.connection.recv(1 << 16)
            if not data:
                raise EOFError
            self._items += self._framer.feed(data)

    def ask(self, packet: bytes) -> bytes:
        self.send(packet)
        return self.reply()


class Debugged:
    """The chain on a machine of this process, looked at by a client in another thread."""

    def __init__(self, programs: Programs, kills: bool = True, native: bool = True) -> None:
        self.machine = Machine(64 << 20, native=native)
        for name in ("second", "third"):
            self.machine.create(str(programs(name)), name=name, type=EnclaveType.SERVER)
        self.first = self.machine.create(str(programs("first")), name="first")
        here, there = socket.socketpair()
        self.client = Client(there)
        self.said: list[str] = []
        self._kept = here
        link = Link(here.fileno(), here.fileno(), here)
        link.begin()
        self.session = Session(Views(self.machine), link, self.said.append, kills=kills)

    def close(self) -> None:
        self._kept.close()
        self.client.connection.close()

    def run(self, client: Callable[[Client], None]) -> object:
        """Run with that client; the result, or the exception's type."""
        self.errors: list[BaseException] = []

        def serve() -> None:
            try:
                client(self.client)
            except BaseException as error:
                self.errors.append(error)
            finally:
                self.client.connection.close()

        thread = threading.Thread(target=serve)
        self.session.begin()
        thread.start()
        try:
            result: object = self.first.run()
            self.session.ended(0)
        except Killed as error:
            result = type(error)
        thread.join(30)
        self._kept.close()
        if self.errors:
            raise self.errors[0]
        return result


def test_a_packet_comes_in_any_pieces() -> None:
    data = frame(b"qSupported") + b"\x03+-" + frame(b"X1000,2:}$\x03#") + b"$bad#00" + frame(b"g")
    wanted = [b"qSupported", Mark.INTERRUPT, Mark.ACK, Mark.AGAIN, b"X1000,2:}$\x03#", Mark.BAD, b"g"]
    for size in (1, 2, 3, 7, len(data)):
        framer = Framer()
        found = [item for at in range(0, len(data), size) for item in framer.feed(data[at : at + size])]
        assert found == wanted


def test_a_run_that_is_looked_at_is_the_run(programs: Programs) -> None:
    def client(one: Client) -> None:
        assert b"multiprocess+" in one.ask(b"qSupported:multiprocess+;swbreak+")
        assert one.ask(b"?") == b"T05thread:p3.3;"
        assert one.ask(b"vCont;c").startswith(b"W00")
        one.ask(b"vKill;1")

    plain = Debugged(programs)
    wanted = plain.first.run()
    plain.close()
    looked_at = Debugged(programs)
    result = looked_at.run(client)
    assert result.output == wanted.output  # type: ignore[attr-defined]
    assert result.stats == wanted.stats  # type: ignore[attr-defined]


@pytest.mark.parametrize("native", [True, False])
def test_when_it_is_detached_nothing_is_left(programs: Programs, native: bool) -> None:
    def client(one: Client) -> None:
        one.ask(b"qSupported:multiprocess+;swbreak+")
        for number in (1, 2, 3):
            assert one.ask(b"Hgp%x.%x" % (number, number)) == b"OK"
            assert one.ask(b"Z0,1058,2") == b"OK"
            assert one.ask(b"Z2,4000,4") in (b"OK", b"E0e")
        assert b"thread:p3.3" in one.ask(b"vCont;c")
        for number in (1, 2, 3):
            assert one.ask(b"D;%x" % number) == b"OK"

    debugged = Debugged(programs, native=native)
    hart = debugged.machine.hart
    before, answer = dict(hart.handlers), hart.core.answer
    protection = hart.protection
    result = debugged.run(client)
    assert result.retval == 1075  # type: ignore[attr-defined]
    assert dict(hart.handlers) == before
    assert (hart.core.answer, hart.core.breaks, hart.breaks.places) == (answer, 0, {})
    assert (hart.settle, hart.breaks.places) == (hart.breaks.settle, {})
    assert hart.protection == protection


def test_a_client_that_is_gone_ends_the_run_or_lets_it_go(programs: Programs) -> None:
    def client(one: Client) -> None:
        one.ask(b"qSupported:multiprocess+;swbreak+")

    assert Debugged(programs).run(client) is Killed
    assert Debugged(programs, kills=False).run(client).retval == 1075  # type: ignore[attr-defined]


def test_memory_is_that_of_the_chosen_process(programs: Programs) -> None:
    def client(one: Client) -> None:
        one.ask(b"qSupported:multiprocess+;swbreak+")
        code = []
        for number in (1, 2, 3):
            one.ask(b"Hgp%x.%x" % (number, number))
            code.append(one.ask(b"m1058,80"))
            assert one.ask(b"m0,8") == b"E0e"
            assert one.ask(b"mfffffffffffffff0,20") == b"E0e"
        assert len(set(code)) == 3
        one.ask(b"Hgp3.3")
        assert one.ask(b"X3000,4:text") == b"OK"
        assert one.ask(b"m3000,4") == b"text".hex().encode()
        assert one.ask(b"M3000,2:4142") == b"OK"
        assert one.ask(b"m3000,4") == b"ABxt".hex().encode()
        assert one.ask(b"P2a=0000000000000840") == b"OK"
        assert one.ask(b"p2a") == b"0000000000000840"
        assert one.ask(b"P0=0100000000000000") != b"OK"  # x0
        one.send(b"k")

    assert Debugged(programs).run(client) is Killed


def test_monitor_commands_say_what_there_is(programs: Programs) -> None:
    def client(one: Client) -> None:
        def said(command: bytes) -> list[str]:
            return bytes.fromhex(one.ask(b"qRcmd," + command.hex().encode()).decode()).decode().splitlines()

        one.ask(b"qSupported:multiprocess+;swbreak+")
        one.ask(b"Hgp2.2")
        assert one.ask(b"Z0,1000,2") == b"OK"
        assert b"thread:p2.2" in one.ask(b"vCont;c")
        machine = debugged.machine
        second, third = machine.enclaves["second"], machine.enclaves["third"]
        assert third.chain == (debugged.first, second, third)
        assert [line[2:].split("  ")[0] for line in said(b"chain")] == [
            "third (eid 1)", "second (eid 0)", "first (eid 2)", "the host",
        ]  # fmt: skip
        assert said(b"caller") == ["1"]
        rows = [line.split() for line in said(b"pages")[1:]]
        assert [(int(row[0], 16), int(row[1], 16)) for row in rows] == [
            (row.start, row.end) for row in machine.owners
        ]
        assert "enclave third (eid 1)" in " ".join(
            rows[[row.owner.number for row in machine.owners].index(1)]
        )
        assert said(b"pmp") == str(machine.pmp).splitlines()
        tree = third.page_table()
        assert said(b"pagetable") == list(tree.lines())
        path = said(b"pagetable 0x1000")
        assert path[0] == f"root {tree.pa:#x}"
        for line, entry in zip(path[1:], tree.walk(0x1000), strict=True):
            assert line.endswith(f"{entry.pte:#x}  → {entry.pa:#x}  {entry.flags}")
        assert said(b"pagetable 0x7000000")[-1].endswith("(not valid)")
        pa = tree.walk(0x1000)[-1].pa
        assert said(b"owner 0x1000") == [
            f"0x1000 of third is {pa:#x}: the page belongs to enclave third (eid 1)"
        ]
        one.send(b"k")

    debugged = Debugged(programs)
    assert debugged.run(client) is Killed


PACKETS = [
    b"qSupported:multiprocess+",
    b"?",
    b"Hgp1.1",
    b"Hc-1",
    b"g",
    b"G00",
    b"p20",
    b"P20=0000000000000000",
    b"m1000,40",
    b"M1000,2:0000",
    b"X1000,2:ab",
    b"Z0,1000,2",
    b"z0,1000,2",
    b"Z2,3000,8",
    b"z2,3000,8",
    b"Z3,3000,8",
    b"Z9,1,1",
    b"qfThreadInfo",
    b"qThreadExtraInfo,p1.1",
    b"qXfer:features:read:target.xml:0,fff",
    b"qXfer:threads:read::0,fff",
    b"qXfer:exec-file:read:1:0,fff",
    b"qXfer:auxv:read::0,fff",
    b"qRcmd,636861696e",
    b"qRcmd,7061676573",
    b"qRcmd,706167657461626c65",
    b"vFile:setfs:0",
    b"vFile:open:2f,0,0",
    b"vFile:pread:0,10,0",
    b"vFile:fstat:0",
    b"vFile:close:0",
    b"vCont?",
    b"Tp1.1",
    b"qC",
    b"qAttached:1",
    b"qMemoryRegionInfo:1000",
    b"qHostInfo",
    b"qProcessInfo",
    b"QThreadSuffixSupported",
    b"qSymbol::",
    b"vMustReplyEmpty",
    b"D;77",
    b"qRcmd,zz",
    b"!",
]


def mangled(chooser: random.Random) -> bytes:
    """A packet that no debugger sends, or may."""
    packet = bytearray(chooser.choice(PACKETS))
    for _ in range(chooser.randrange(4)):
        at = chooser.randrange(len(packet) + 1)
        kind = chooser.randrange(4)
        if kind == 0:
            packet[at:at] = chooser.randbytes(chooser.randrange(1, 9))
        elif kind == 1:
            del packet[at : at + chooser.randrange(1, 9)]
        elif kind == 2:
            packet[at:at] = chooser.choice([b",", b":", b";", b"-1", b"ffffffffffffffff", b"p", b".", b"0"])
        else:
            packet = packet[:at] + chooser.choice(PACKETS)
    going = (b"k", b"vKill", b"D", b"c", b"C", b"s", b"S", b"vCont;")
    return bytes(packet) if not packet.startswith(going) else b"?"


def feed(one: Client, count: int, seed: int) -> None:
    """So many packets, and damaged frames between them; each gets an answer, and the last a proper one."""
    chooser = random.Random(seed)
    one.ask(b"qSupported:multiprocess+;swbreak+")
    for number in range(count):
        if number % 16 == 0:
            one.connection.sendall(
                chooser.choice(
                    [
                        b"$#",
                        b"#0z",
                        b"+++",
                        b"$abc#zz",
                        b"}",
                        chooser.randbytes(9).replace(b"-", b"") + b"#zz#zz#",
                    ]
                )
            )
            assert one.ask(b"qSupported:multiprocess+;swbreak+").startswith(b"PacketSize")
        one.ask(mangled(chooser))
    one.ask(b"Hgp3.3")


@pytest.mark.parametrize("seed", [1, 2])
def test_malformed_packets_do_no_harm(programs: Programs, seed: int) -> None:
    """1,500 each; `python -m tests.debug.packet_stress` sends 10⁵ and more."""

    def client(one: Client) -> None:
        feed(one, 1500, seed)
        one.send(b"k")

    assert Debugged(programs).run(client) is Killed


def test_a_second_client_is_refused() -> None:
    listener = Listener()
    host, port = listener.address.split(":")
    first = socket.create_connection((host, int(port)))
    link = listener.client()
    second = socket.create_connection((host, int(port)))
    second.settimeout(10)
    assert second.recv(10) == b""  # closed
    first.sendall(frame(b"qC"))
    assert link.packet() == b"qC"
    link.send(b"OK")
    assert first.recv(100) == b"+" + frame(b"OK")
    for one in (first, second):
        one.close()
    listener.close()
    link.close()
    link.forget()


def test_it_listens_on_loopback_only() -> None:
    listener = Listener()
    assert listener.address.startswith("127.0.0.1:")
    listener.close()


@contextmanager
def served(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], Client, list[str]]]:
    """A run in a process of its own, and a client."""
    with subprocess.Popen(
        [*COMMAND, "run", "--gdb", *arguments], stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stderr is not None
        host, port = address_of(server).split(":")
        with socket.create_connection((host, int(port))) as connection:
            client = Client(connection)
            client.ask(b"qSupported:multiprocess+;swbreak+")
            said: list[str] = []
            yield server, client, said
            said.append(server.stderr.read())
        server.wait(30)


def test_an_interrupt_stops_a_loop_and_time_stands_still(programs: Programs) -> None:
    with served("--timeout", "2", str(programs("loop"))) as (server, client, said):
        client.send(b"vCont;c")
        time.sleep(0.5)
        client.connection.sendall(b"\x03")
        assert client.reply() == b"T02thread:p1.1;"
        time.sleep(2)
        client.send(b"vCont;c")
        time.sleep(0.5)
        assert server.poll() is None
        assert client.reply().startswith(b"W01")  # the time limit of 2 s of its own
    assert "still running after 2 s" in said[0]


def test_an_interrupt_stops_a_run_once(programs: Programs) -> None:
    """Also a run that goes on at once."""
    with served(str(programs("loop"))) as (_, client, _):
        client.send(b"vCont;c")
        for _ in range(15):
            time.sleep(0.02)
            client.connection.sendall(b"\x03")
            assert client.reply() == b"T02thread:p1.1;"
            client.send(b"vCont;c")
        client.connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.reply()
        client.connection.settimeout(20)
        client.connection.sendall(b"\x03")
        assert client.reply() == b"T02thread:p1.1;"
        client.send(b"k")  # it would count for half a minute


def test_ctrl_c_at_the_command_ends_a_run_that_is_stopped(programs: Programs) -> None:
    with served(str(programs("loop"))) as (server, client, _):
        assert client.ask(b"?").startswith(b"T05")
        server.send_signal(signal.SIGINT)
        assert client.reply().startswith(b"W01")
    assert server.returncode == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--gdb=nothing", "x.elf"], "is not a port"),
        (["run", "--gdb=99999", "x.elf"], "is not a port"),
        (["debug"], "name what to run"),
        (["debug", "--port", "1", "--stdio", "x.elf"], "give only one of"),
        (["debug", "--port", "0", "--lldb", "x.elf"], "that pltvm starts"),
    ],
)
def test_wrong_usage(arguments: list[str], message: str, programs: Programs, tmp_path: Path) -> None:
    (tmp_path / "x.elf").write_bytes(programs("loop").read_bytes())
    done = pltvm(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_one_line(programs: Programs) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = pltvm("run", f"--gdb={port}", str(programs("loop")))
    assert (done.returncode, done.stderr) == (
        1,
        f"pltvm: port {port}: cannot be listened at: Address already in use\n",
    )
