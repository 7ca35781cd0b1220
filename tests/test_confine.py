"""The outer wall: what a confined process can not do any more, what it still can, and where there is none."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import seccompy

from pltvm.build import guest
from pltvm.confine import landlock, seccomp
from pltvm.fuzz.options import Options

LINUX = Path(guest.guest_dir()) / "elf" / "host" / "musl"
ELVES = {name: str(example.elf) for name, example in guest.examples().items()}
RETURNED = f"{ELVES['hello-world']} returned 0\n"
BEHIND_ABI_3 = pytest.mark.skipif(landlock.abi() < 3, reason="needs Landlock, ABI 3")


def python(text: str, *arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    """Runs Python text in a process of its own; `out`, `err`, exit status."""
    command = [sys.executable, "-c", textwrap.dedent(text), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, **options)  # type: ignore[call-overload,no-any-return]


# -- what is refused -----------------------------------------------------------------------------------------

ATTEMPTS = """
import ctypes, json, os, socket, sys, threading
from pathlib import Path

inside, outside, wanted = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "confined"
secret = outside / "secret"
listener = socket.create_server(("127.0.0.1", 0))
early, bound = socket.socket(), socket.socket()
late = threading.Event()
said = []

def thread():  # was there before the wall
    late.wait()
    said.append(tried(lambda: socket.socket(socket.AF_UNIX)))

def tried(what):
    try:
        what()
    except OSError as error:
        return error.strerror
    return "done"

def call(number, *arguments):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

def start(program):
    child = os.fork()
    if not child:
        try:
            os.execv(program, [program, "-c", "0"])
        except OSError as error:
            os._exit(error.errno)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        raise OSError(code, os.strerror(code))

other = threading.Thread(target=thread)
other.start()
if wanted:
    from pltvm.confine import confine
    missing = confine([sys.argv[4]], [inside])
else:
    missing = ()
attempts = {
    "read": lambda: secret.read_bytes(),
    "read through a link": lambda: (inside / "link").read_bytes(),
    "write": lambda: secret.open("r+b"),
    "truncate": lambda: os.truncate(outside / "long", 1),
    "make a file": lambda: (outside / "new").touch(),
    "make a folder": lambda: (outside / "folder").mkdir(),
    "list": lambda: os.listdir(outside),
    "rename out": lambda: os.rename(inside / "mine", outside / "mine"),
    "rename in": lambda: os.rename(outside / "other", inside / "other"),
    "hard link": lambda: os.link(outside / "third", inside / "third"),
    "remove": lambda: os.unlink(outside / "fourth"),
    "write what is to be read": lambda: open(sys.argv[4], "r+b"),
    "mode": lambda: os.chmod(secret, 0o777),
    "attribute": lambda: os.setxattr(secret, "user.pltvm", b"1"),
    "symbolic link": lambda: os.symlink(secret, inside / "new-link"),
    "pipe": lambda: os.mkfifo(inside / "pipe"),
    "device": lambda: os.mknod(inside / "device", 0o20666, os.makedev(1, 3)),
    "socket": lambda: socket.socket(),
    "UDP": lambda: socket.socket(type=socket.SOCK_DGRAM),
    "Unix socket": lambda: socket.socket(socket.AF_UNIX),
    "connect": lambda: early.connect(listener.getsockname()),
    "bind": lambda: bound.bind(("127.0.0.1", 0)),
    "start a program": lambda: start(sys.executable),
    "signal": lambda: os.kill(os.getppid(), 0),
    "other process's memory": lambda: open(f"/proc/{os.getppid()}/mem", "rb"),
    "io_uring": lambda: call(425, 0, 0),
    "user namespace": lambda: call(272 if os.uname().machine == "x86_64" else 97, 0),
    "fcntl": lambda: __import__("fcntl").ioctl(0, 0x5412, b"x"),
    "other numbers": lambda: call(1 << 30 | 39),
}
results = {name: tried(attempt) for name, attempt in attempts.items()}
late.set()
other.join()
print(json.dumps({"missing": missing, "results": {**results, "socket in an earlier thread": said[0]}}))
"""
DENIED, NOT_PERMITTED, OTHER_DEVICE = (
    "Permission denied",
    "Operation not permitted",
    "Invalid cross-device link",
)
NOT_ALLOWED = {
    "read": DENIED, "read through a link": DENIED, "write": DENIED, "truncate": DENIED, "make a file": DENIED,
    "make a folder": DENIED, "list": DENIED, "rename out": DENIED, "rename in": DENIED, "hard link": DENIED,
    "remove": DENIED, "write what is to be read": DENIED, "mode": NOT_PERMITTED, "attribute": NOT_PERMITTED,
    "symbolic link": DENIED, "pipe": DENIED, "device": DENIED, "socket": NOT_PERMITTED, "UDP": NOT_PERMITTED,
    "Unix socket": NOT_PERMITTED, "connect": DENIED, "bind": DENIED, "start a program": NOT_PERMITTED,
    "signal": NOT_PERMITTED, "other process's memory": DENIED, "io_uring": NOT_PERMITTED,
    "user namespace": NOT_PERMITTED, "fcntl": NOT_PERMITTED, "other numbers": NOT_PERMITTED,
    "socket in an earlier thread": NOT_PERMITTED,
}  # fmt: skip


def attempts(folder: Path, how: str) -> dict[str, object]:
    inside, outside = folder / how / "inside", folder / how / "outside"
    for place in (inside, outside):
        place.mkdir(parents=True)
    for name in ("secret", "long", "other", "third", "fourth"):
        (outside / name).write_text("a secret")
    (inside / "mine").touch()
    (inside / "link").symlink_to(outside / "secret")
    (folder / how / "data").write_text("to be read")
    done = python(ATTEMPTS, inside, outside, how, folder / how / "data")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert isinstance(result, dict)
    return result


@pytest.fixture(scope="module")
def confined(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What the attempts gave behind the wall."""
    return attempts(tmp_path_factory.mktemp("wall"), "confined")


@pytest.fixture(scope="module")
def free(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """… and without one."""
    return attempts(tmp_path_factory.mktemp("wall"), "free")


MANY = {
    "device",
    "attribute",
    "user namespace",
    "fcntl",
    "other numbers",
    "io_uring",
    "other process's memory",
}


@pytest.mark.skipif(landlock.abi() < 6, reason="needs Landlock, ABI 6")
@pytest.mark.parametrize("attempt", NOT_ALLOWED)
def test_what_is_refused(
    attempt: str, confined: dict[str, dict[str, str]], free: dict[str, dict[str, str]]
) -> None:
    """Each is refused behind the wall, and would be done without one where anyone may do it."""
    if attempt == "other numbers" and os.uname().machine != "x86_64":
        pytest.skip("only x86_64 has them")
    assert confined["results"][attempt] in (
        NOT_ALLOWED[attempt],
        *([OTHER_DEVICE] * (attempt == "hard link")),
    )
    if attempt not in MANY:  # those depend on the file system, the user or the kernel's configuration
        assert free["results"][attempt] == "done"


def test_it_says_what_it_leaves_open(confined: dict[str, list[str]]) -> None:
    """The process above had a second thread, which older versions of Landlock do not reach."""
    if landlock.abi() < 8:
        assert confined["missing"] == landlock.gaps(landlock.abi(), 2)
        assert "leaves out threads that run already" in confined["missing"][-1]
    else:
        assert confined["missing"] == []


LINKS = """
import os, sys
from pathlib import Path
from pltvm.confine import confine
assert confine(links=[sys.argv[1]]) == ()
os.chdir(sys.argv[1])
Path("file").touch()
os.symlink("file", "link")
os.link("file", "hard")
os.mkfifo("pipe")
for make in (lambda: os.symlink("x", sys.argv[2] + "/link"), lambda: os.mkfifo(sys.argv[2] + "/pipe")):
    try:
        make()
    except PermissionError:
        continue
    raise SystemExit("it was made")
try:
    os.mknod("device", 0o20666, os.makedev(1, 3))
except PermissionError:
    print("done")
"""


@pytest.mark.skipif(landlock.abi() < 8, reason="needs Landlock, ABI 8")
def test_a_folder_for_links_allows_links_there_and_no_devices(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    done = python(LINKS, inside, outside)
    assert done.stdout == "done\n", done.stderr
    assert list(outside.iterdir()) == []


# -- what stays ----------------------------------------------------------------------------------------------

STAYS = """
import os, sys
from pathlib import Path
from pltvm.confine import confine
missing = confine([sys.argv[2], f"/dev/fd/{os.pipe()[0]}", "/there/is/nothing"], [sys.argv[1]])
root = Path(sys.argv[1])
(root / "a").mkdir()
(root / "b").mkdir()
(root / "a" / "file").write_text("text")
os.rename(root / "a" / "file", root / "b" / "file")
os.truncate(root / "b" / "file", 2)
assert (root / "b" / "file").read_text() == "te"
assert sorted(os.listdir(root)) == ["a", "b"]
os.unlink(root / "b" / "file")
os.rmdir(root / "b")
Path("/dev/null").write_text("gone")
assert Path(sys.argv[2]).read_bytes()[:4] == b"\\x7fELF"

import decimal, lief, socket, sqlite3, time, xml.sax  # imported late: all of Python is there
from pltvm import Machine
socket.socketpair()
time.localtime()
enclave = Machine(64 << 20).create(Path(sys.argv[2]).read_bytes(), shm=b"text")
print(missing, enclave.run(10).retval)
"""


@BEHIND_ABI_3
def test_the_folder_late_imports_and_a_whole_machine(tmp_path: Path) -> None:
    done = python(STAYS, tmp_path, ELVES["caller"])
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("() 1\n")


@BEHIND_ABI_3
def test_the_current_folder_is_not_among_pythons(tmp_path: Path) -> None:
    """`python -m` looks for modules there; that is no reason to read all that is in it."""
    (tmp_path / "secret").touch()
    text = """
    import os, sys
    sys.path.insert(0, os.getcwd())
    from pltvm.confine import confine
    confine()
    open("secret")
    """
    assert "PermissionError" in python(text, cwd=tmp_path).stderr


def test_it_is_built_in_a_moment() -> None:
    """A short command takes 190 ms; the wall is a few system calls."""
    text = """
    import time
    import pltvm.cli
    before = time.process_time()
    from pltvm.confine import confine
    confine(write=["."])
    print(time.process_time() - before)
    """
    assert min(float(python(text).stdout) for _ in range(3)) < 0.02


# -- kernels that lack something -----------------------------------------------------------------------------
# A filter of an independent library makes this kernel answer as one that lacks it, and stays over `exec`.

LACKS = """
import errno, os, sys
from seccompy import Action, Filter
lacking = Filter(default=Action.ALLOW)
lacking.errno(sys.argv[1], getattr(errno, sys.argv[2]))
lacking.load()
os.execv(sys.executable, [sys.executable, *sys.argv[3:]])
"""
AS_ABI = """
import os, sys, threading
from seccompy import Action, Filter, FilterFlag
old = Filter(default=Action.ALLOW, flags=FilterFlag.NEW_LISTENER)
old.notify("landlock_create_ruleset", args={2: 1})  # flag: which version is it?
box, asked = [], threading.Event()

def answer():
    asked.wait()
    while True:
        request = box[0].recv()
        box[0].respond(request.id, val=int(sys.argv[1]))

threading.Thread(target=answer, daemon=True).start()
box.append(old.load())
asked.set()
from pltvm.confine import confine
print(confine(write=[sys.argv[2]]))
os.truncate(sys.argv[3], 1)
try:
    open(sys.argv[3], "w")
except PermissionError:
    print("refused")
"""


@pytest.mark.parametrize(
    ("call", "error", "line"),
    [
        ("landlock_create_ruleset", "ENOSYS", "files are not confined: this kernel has no Landlock"),
        ("landlock_create_ruleset", "EOPNOTSUPP", "files are not confined: this kernel has no Landlock"),
        ("landlock_restrict_self", "E2BIG", "files are not confined: Argument list too long"),
        ("seccomp", "EINVAL", "system calls are not confined: this kernel has no seccomp"),
        ("seccomp", "ENOSYS", "system calls are not confined: Function not implemented"),
    ],
)
def test_a_kernel_that_lacks_it(call: str, error: str, line: str, tmp_path: Path) -> None:
    """The program runs as ever, and one line says what is missing."""
    command = ["-m", "pltvm.cli", "run", ELVES["hello-world"]]
    done = python(LACKS, call, error, *command, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "hello world\n")
    assert done.stderr == f"pltvm: {line} (see docs/threat-model.md)\n{RETURNED}"


def test_no_line_where_nothing_is_missing_or_wanted(tmp_path: Path) -> None:
    command = ["-m", "pltvm.cli", "run", ELVES["hello-world"], "--no-confine"]
    done = python(LACKS, "landlock_create_ruleset", "ENOSYS", *command, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, RETURNED)
    if landlock.abi() >= 3:
        done = python(LACKS, "reboot", "ENOSYS", *command[:-1], cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, RETURNED)


@BEHIND_ABI_3
@pytest.mark.parametrize("version", [1, 2])
def test_an_older_landlock(version: int, tmp_path: Path) -> None:
    """It does what it can, and says what it can not."""
    (tmp_path / "inside").mkdir()
    (tmp_path / "file").write_text("text")
    done = python(AS_ABI, version, tmp_path / "inside", tmp_path / "file")
    assert done.returncode == 0, done.stderr
    said, refused = done.stdout.splitlines()
    assert f"Landlock {version} of this kernel lets files be truncated" in said
    assert refused == "refused"


def test_the_numbers_are_those_of_the_kernel() -> None:
    """An independent table, made from the kernel's headers, has the same."""
    from seccompy.syscalls import AARCH64_SYSCALLS, X86_64_SYSCALLS

    for names in (seccomp.NETWORK, seccomp.EXEC, seccomp.ALWAYS):
        for name, numbers in names.items():
            assert numbers == (X86_64_SYSCALLS[name], AARCH64_SYSCALLS.get(name, -1)), name
    assert seccomp.MACHINES["x86_64"][0] == seccompy.AUDIT_ARCH_X86_64
    assert seccomp.MACHINES["aarch64"][0] == seccompy.AUDIT_ARCH_AARCH64


# -- the commands --------------------------------------------------------------------------------------------

TAKEN_OVER = """
import multiprocessing, os, sys
from pltvm.engine.hart import Hart

run = Hart.run
secrets, whose = os.environ["SECRETS"].split(":"), os.environ["WHOSE"]

def evil(self, *arguments, **more):  # guest code that has found a flaw acts as the process that runs it
    if (multiprocessing.parent_process() is None) != (whose == "main"):
        return run(self, *arguments, **more)
    for secret in secrets:
        try:
            os.close(os.open(secret, os.O_RDWR))
        except PermissionError:
            os.write(2, b"refused\\n")
        else:
            os.write(2, b"has opened it\\n")
    if whose == "main":
        os.kill(os.getpid(), 9)
    raise RuntimeError  # a worker's death would only have its round run again

Hart.run = evil
if __name__ == "__main__":
    from pltvm.cli import main
    main()
"""
Taken = Callable[..., str]


@pytest.fixture
def taken_over(tmp_path: Path) -> Taken:
    """Runs a command whose guest takes over the process at its first instruction; what it could do."""
    for folder in ("bin", "root", "outside"):
        (tmp_path / folder).mkdir()
    script, secret = tmp_path / "bin" / "taken.py", tmp_path / "outside" / "secret"
    script.write_text(TAKEN_OVER)
    secret.touch()

    def run(*arguments: object, whose: str = "main", wanted: Sequence[Path] = (secret,)) -> str:
        command = [sys.executable, str(script), *map(str, arguments)]
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=tmp_path / "root", timeout=300,
            env={**os.environ, "SECRETS": ":".join(map(str, wanted)), "WHOSE": whose},
        )  # fmt: skip
        assert whose != "main" or done.returncode == -signal.SIGKILL, done.stderr
        assert ("refused" in done.stderr) != ("has opened it" in done.stderr), done.stderr
        return "refused" if "refused" in done.stderr else "has opened it"

    return run


def write_campaign(folder: Path) -> None:
    """What `pltvm cov` needs of a campaign."""
    (folder / "default" / "queue").mkdir(parents=True)
    (folder / "default" / "queue" / "id:000000,time:0,execs:0,orig:empty").touch()
    options = Options(ELVES["server"], "server").to_dict()
    (folder / "default" / "campaign.json").write_text(json.dumps(options))


COMMANDS = {
    "host program": ["run", LINUX / "test-stop", "x"],
    "enclave": ["run", ELVES["caller"], "--server", f"test-server={ELVES['server']}"],
    "with disk and record": ["run", ELVES["fs-client"], "--disk", "disk", "--record", "record"],
    "kernel": ["run", "--supervisor", Path(guest.guest_dir()) / "elf" / "attacks" / "s-satp.elf"],
    "fuzz": ["fuzz", ELVES["server"], "--execs", 10],
    "parent of workers": ["fuzz", ELVES["server"], "--execs", 10, "-j", 2],
    "replay": ["fuzz", ELVES["server"], "--replay", ELVES["random"]],
    "cov": ["cov", "."],
}


@BEHIND_ABI_3
@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_confined(command: str, taken_over: Taken, tmp_path: Path) -> None:
    arguments = COMMANDS[command]
    if command == "cov":
        write_campaign(tmp_path / "root")
    later = Path(landlock.__file__)  # what every later process of the user executes
    wanted = [tmp_path / "outside" / "secret", later]
    assert taken_over(*arguments, wanted=wanted) == "refused"
    if command in ("host program", "fuzz"):
        assert taken_over(arguments[0], "--no-confine", *arguments[1:]) == "has opened it"


@BEHIND_ABI_3
def test_workers_are_confined_by_themselves(taken_over: Taken, tmp_path: Path) -> None:
    """Their parent has the campaign's folder; they do not."""
    out = tmp_path / "root" / "out"
    command = ["fuzz", ELVES["server"], "--execs", 10, "-j", 2, "-o", out]
    assert taken_over(*command, whose="worker", wanted=[out / "default" / "campaign.json"]) == "refused"


HARNESS = """
import multiprocessing, os
from pathlib import Path
from pltvm.fuzz.callers import OneCall

class Harness(OneCall):
    pass

where = "main" if multiprocessing.parent_process() is None else "worker"
text = (Path(__file__).parent / "text").read_text()
os.write(1, f"{where} {text}\\n".encode())  # at once: others print too
"""


@BEHIND_ABI_3
def test_harnesses_read_their_folder(tmp_path: Path) -> None:
    """In workers too. There is no thread from before the wall, about which there would be a line."""
    (tmp_path / "harness").mkdir()
    (tmp_path / "harness" / "harness.py").write_text(HARNESS)
    (tmp_path / "harness" / "text").write_text("text")
    command = ["fuzz", ELVES["server"], "--execs", "10", "-j", "2", "-o", "out", "--harness"]
    done = subprocess.run(
        [sys.executable, "-m", "pltvm.cli", *command, "harness/harness.py"],
        capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.splitlines()[:-1]) == {"main text", "worker text"}
    assert "confined" not in done.stderr
    assert "threat-model" not in done.stderr


@pytest.mark.parametrize("path", ["a\0b", "\ud800", "", "missing/file"])
def test_a_path_that_can_not_be_opened_is_left_out(path: str) -> None:
    """A campaign's options name ELFs, and may be somebody else's."""
    landlock._allow(-1, path, landlock.READ)
