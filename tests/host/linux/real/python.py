"""What a Python program asks of its system: modules, files, threads, processes, signals, sockets."""

import asyncio
import collections
import dataclasses
import decimal
import errno
import functools
import hashlib
import json
import math
import os
import pathlib
import random
import re
import selectors
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor


@dataclasses.dataclass(order=True)
class Point:
    x: int
    y: float = 0.5


def texts() -> None:
    print(sys.implementation.name, sys.version_info[:2], os.uname().machine, sys.byteorder)
    print(sorted([Point(2), Point(1, 2.25)]), json.dumps({"a": [1, 2.5, None, "ü"]}, sort_keys=True))
    print(
        re.sub(r"(\w+) (\w+)", r"\2 \1", "hello world"), f"{math.pi:.15g} {1e300 * 1e10} {-7 // 2} {2**200}"
    )
    print(decimal.Decimal(1) / 7, struct.pack("<Hd", 7, 1.5).hex(), statistics.stdev([1, 2, 3, 4]))
    print(hashlib.sha256(b"pltvm").hexdigest()[:16], random.Random(7).sample(range(100), 5))
    print(collections.Counter("mississippi").most_common(2), functools.reduce(math.lcm, range(1, 20)))


def files() -> None:
    with tempfile.TemporaryDirectory(dir="tmp") as name:
        folder = pathlib.Path(name)
        for number in range(20):
            (folder / f"{number:02}.txt").write_text(f"line {number}\n" * number)
        (folder / "link").symlink_to("03.txt")
        print(
            sum(one.stat().st_size for one in folder.glob("*.txt")), (folder / "link").read_text().count("3")
        )
        os.rename(folder / "19.txt", folder / "last")
        print(sorted(one.name for one in os.scandir(folder) if one.is_file())[-3:])
        try:
            (folder / "nothing").open()
        except FileNotFoundError as error:
            print(errno.errorcode[error.errno or 0])
    print(folder.exists())


def threads() -> None:
    lock, total = threading.Condition(), [0]

    def count(times: int) -> int:
        for _ in range(times):
            with lock:
                total[0] += 1
                lock.notify_all()
        return times

    with ThreadPoolExecutor(8) as pool:
        print(sum(pool.map(count, [1000] * 8)), total[0])
    with lock:
        print(lock.wait_for(lambda: total[0] == 8000, 1), lock.wait(0.01))


def processes() -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, b"from the child")
        os._exit(7)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), os.read(reading, 100))
    code = "import sys; print(sys.stdin.read().upper(), end=''); sys.exit(3)"
    command = [*os.environ.get("RUNNER", "").split(), sys.executable or "./python", "-c", code]
    done = subprocess.run(command, input="in and out", capture_output=True, text=True, check=False)
    print(done.returncode, done.stdout, done.stderr)


def signals() -> None:
    seen = []
    signal.signal(signal.SIGUSR1, lambda number, _frame: seen.append(number))
    os.kill(os.getpid(), signal.SIGUSR1)
    signal.signal(signal.SIGALRM, lambda number, _frame: seen.append(number))
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    time.sleep(0.05)
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        print("interrupted", [signal.Signals(one).name for one in seen])


async def echo() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.readline()).upper())
        await writer.drain()
        writer.close()

    async def ask(port: int, text: str) -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"{text}\n".encode())
        answered = await reader.read()
        writer.close()
        return answered.decode().strip()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    print(await asyncio.gather(*(ask(port, f"client {number}") for number in range(5))))
    server.close()
    print(type(selectors.DefaultSelector()).__name__, socket.AF_UNIX)


texts()
files()
threads()
processes()
signals()
asyncio.run(echo())
