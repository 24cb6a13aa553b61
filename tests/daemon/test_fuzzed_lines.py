"""Whatever bytes come in, every answer is a line for who asked, and a neighbour notices nothing."""

from __future__ import annotations

import itertools
import json
import os
import select
import socket
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import psutil
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from real_daemon import LIMIT_S, Daemon, eventually

MAX_LINE = 1024 * 1024
EXAMPLES = int(os.environ.get("HAMDEV_EXAMPLES", "150"))
_numbers = itertools.count(1)

# -- what is sent ------------------------------------------------------------------------------

# All but the one that ends the daemon for everybody.
METHODS = [
    "hello",
    "status",
    "subscribe",
    "sync",
    "result",
    "why",
    "rerun",
    "cancel",
    "ping",
    "pong",
]
NAMES = ["calm", "", "../../etc/passwd", "x" * 300, "\0", "\u2028", "😀", "protocol", "since"]
NUMBERS = st.sampled_from(
    [0, -1, 1, 2**31, 2**63, 2**64, -(2**63) - 1, 10**40, 10**400, 0.5, 1e308, 5e-324]
)
PLAIN = st.none() | st.booleans() | NUMBERS | st.sampled_from(NAMES) | st.text(max_size=4)
ANY = st.recursive(
    PLAIN,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)
PARAMS = st.dictionaries(
    st.sampled_from(
        ["protocol", "client", "pipeline", "files", "timeout", "node", "format", "nodes", "since"]
    ),
    ANY,
    max_size=3,
)
MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.just("2.0") | ANY,
        "id": ANY,
        "method": st.sampled_from(METHODS) | ANY,
        "params": PARAMS | ANY,
    },
)
# Right in form, so that more than the first look at it is tried out.
CALLS = st.fixed_dictionaries(
    {
        "jsonrpc": st.just("2.0"),
        "id": NUMBERS | st.text(max_size=4),
        "method": st.sampled_from(METHODS),
        "params": st.one_of(
            st.just({}),
            st.fixed_dictionaries({"node": st.sampled_from(["calm", *NAMES])}),
            st.fixed_dictionaries({"nodes": st.lists(st.sampled_from(["calm", *NAMES]))}),
            st.fixed_dictionaries({"pipeline": st.sampled_from(["calm", *NAMES])}),
            st.fixed_dictionaries({"since": NUMBERS}),
            st.fixed_dictionaries({"protocol": NUMBERS}),
            st.fixed_dictionaries({"timeout": NUMBERS}),
            st.fixed_dictionaries(
                {"files": st.dictionaries(st.sampled_from(NAMES), st.none() | st.text(max_size=3))}
            ),
        ),
    }
)
ODD = st.sampled_from(
    [
        b"",
        b"\r",
        b"\0",
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        b'{"jsonrpc":"2.0","id":"\\ud800","method":"ping"}',
        b'{"jsonrpc":"2.0","id":"\\udc00x","method":"ping"}',
        b'{"jsonrpc":"2.0","id":"\xed\xa0\x80","method":"ping"}',
        b'{"jsonrpc":"2.0","id":"a\0b","method":"ping"}',
        b'{"jsonrpc":"2.0","id":1,"id":2,"method":"pong","method":"ping","params":{},"params":[]}',
        b'{"jsonrpc":"2.0","id":' + b"9" * 5000 + b',"method":"ping"}',
        b'{"jsonrpc":"2.0","id":1e999,"method":"ping"}',
        b'{"jsonrpc":"2.0","id":NaN,"method":"ping"}',
        b'{"jsonrpc":"2.0","id":-0.0,"method":"ping"}',
        b"[" * 5000,
        b"[" * 500 + b"]" * 500,
        b'{"a":' * 5000,
        b'{"jsonrpc":"2.0","id":1,"method":"hello","params":{"client":'
        + b'{"a":' * 900
        + b"1"
        + b"}" * 903,
        b"[" + b",".join([b"7"] * 300) + b"]",
        b"[[],[[]],{}]",
        b'{"jsonrpc":"2.0","id":1,"method":"' + b"\x7f" * 300_000 + b'"}',
        b'["' + b"x" * 100_000 + b'"]',
        b'{"jsonrpc":"2.0","id":1,"method":"' + b"\\u0000" * 100_000 + b'"}',
        b'{"jsonrpc":"2.0","id":1,"method":"result","params":{"node":"' + b'\\"' * 200_000 + b'"}}',
    ]
)


def encoded(message: Any) -> bytes:
    # Lone surrogates stay in it as escapes.
    return json.dumps(message, separators=(",", ":")).encode()


def right() -> bytes:
    """A request that deserves one answer, by an id of its own."""
    return encoded({"jsonrpc": "2.0", "id": f"right-{next(_numbers)}", "method": "ping"})


LINES = st.one_of(
    st.builds(right),
    CALLS.map(encoded),
    MESSAGES.map(encoded),
    st.lists(CALLS | MESSAGES, max_size=4).map(encoded),
    ANY.map(encoded),
    st.binary(max_size=40),
    ODD,
)
# A line that never ends is rare, since nothing after it matters.
ENDS = st.sampled_from([b"\n"] * 8 + [b"\r\n", b"\n\n", b""])
STREAMS = st.tuples(
    st.lists(st.tuples(LINES, ENDS), min_size=1, max_size=15),
    st.sampled_from([b""] * 12 + [b"x" * (MAX_LINE + 1), b'{"half']),
)
CUTS = st.lists(st.integers(0, 1 << 16), max_size=6)


def chunks(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in cuts), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


# -- what comes back -----------------------------------------------------------------------------


def exchanged(daemon: Daemon, pieces: Sequence[bytes]) -> bytes:
    """All that the daemon says while it gets these pieces, up to the end of the connection."""
    waiting = [*pieces, b""]  # the last one is the end
    said = bytearray()
    deadline = time.monotonic() + LIMIT_S
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(str(daemon.socket))
        client.setblocking(False)
        while True:
            assert time.monotonic() < deadline, f"no end of the answers; so far {said[-300:]!r}"
            readable, writable, _ = select.select([client], [client] if waiting else [], [], 1.0)
            try:
                if writable:
                    if rest := waiting[0][client.send(waiting[0]) :]:
                        waiting[0] = rest
                    else:
                        waiting.pop(0)
                    if not waiting:
                        client.shutdown(socket.SHUT_WR)
                if readable:
                    if not (received := client.recv(1 << 16)):
                        return bytes(said)
                    said += received
            except (BrokenPipeError, ConnectionResetError):
                waiting.clear()  # it has seen enough; what it said before is still there
            except OSError:
                return bytes(said)


def answered(said: bytes) -> Counter[str]:
    """How often each id was answered; everything that was said must be whole messages."""
    assert said == b"" or said.endswith(b"\n")
    counts: Counter[str] = Counter()
    for line in said.splitlines():
        assert len(line) <= MAX_LINE
        message = json.loads(line)
        assert message["jsonrpc"] == "2.0"
        if message.get("method") == "event":
            continue
        assert message.keys() in ({"jsonrpc", "id", "result"}, {"jsonrpc", "id", "error"})
        if "error" in message:
            assert message["error"]["code"] != -32603, message["error"]
        counts[str(message["id"])] += 1
    return counts


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(stream=STREAMS, cuts=CUTS)
def test_any_bytes_get_whole_answers_and_a_neighbour_notices_nothing(
    daemon: Daemon, stream: tuple[list[tuple[bytes, bytes]], bytes], cuts: list[int]
) -> None:
    lines, last = stream
    data = b"".join(line + end for line, end in lines) + last
    if "calm" not in daemon.ask("status")["pipelines"]:
        daemon.serve("calm", "def calm() -> str:\n    return 'right'\n")
    with daemon.connect() as neighbour:
        neighbour.send_line(encoded({"jsonrpc": "2.0", "id": "before", "method": "ping"}))
        counts = answered(exchanged(daemon, chunks(data, cuts)))
        neighbour.send_line(
            encoded(
                {"jsonrpc": "2.0", "id": "after", "method": "result", "params": {"node": "calm"}}
            )
        )
        neighbour.socket.shutdown(socket.SHUT_WR)
        first, second = neighbour.next_message(), neighbour.next_message()
        assert first == {"jsonrpc": "2.0", "id": "before", "result": {}}
        assert (second["id"], second["result"]["value"]) == ("after", "right")
        assert neighbour.next_line() is None  # nobody else's answers
    complete = {line.strip() for line in data.split(b"\n")[:-1]}
    for line, _ in lines:
        if line.startswith(b'{"jsonrpc":"2.0","id":"right-') and line in complete:
            assert counts[json.loads(line)["id"]] == 1
    assert counts["before"] == counts["after"] == 0


def test_what_all_these_lines_cost_is_given_back(daemon: Daemon) -> None:
    daemon.sync()
    process = psutil.Process(daemon.process.pid)
    noise = b"\n".join([b'{"jsonrpc":"2.0","id":1,"method":"' + b"x" * 500_000 + b'"}'] * 3)
    pieces = [noise, b"\n", b"\xff" * 1000, b"\n", b"[" * 100_000, b"\n", right(), b"\n"]

    def send(times: int) -> None:
        for _ in range(times):
            assert answered(exchanged(daemon, pieces))["1"] == 3

    send(20)
    descriptors, memory = process.num_fds(), process.memory_info().rss
    send(100)
    eventually(lambda: process.num_fds() <= descriptors, "the end of all descriptors")
    assert process.memory_info().rss - memory < 8 * 1024 * 1024
