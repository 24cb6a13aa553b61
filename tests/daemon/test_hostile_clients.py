"""Clients that ask for too much, say it badly or go away in the middle; nobody else notices."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from real_daemon import LIMIT_S, Client, Daemon, RpcFailure, eventually

MAX_LINE = 1024 * 1024
CALM = "def calm() -> int:\n    return 1\n"
# What a request may cost more than a small one of the same length or effect.
MUCH = 30


class Neighbour:
    """Another client that asks something small all the time.

    Attributes:
        answers: how often it was answered.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self.answers = 0

    def ask(self) -> None:
        assert self._client.call("ping") == {}
        self.answers += 1


@pytest.fixture
def neighbour(daemon: Daemon) -> Iterator[Neighbour]:
    with daemon.connect() as client:
        neighbour = Neighbour(client)
        neighbour.ask()
        yield neighbour
        neighbour.ask()


def request(method: str, params: Any = None, identity: Any = 1) -> bytes:
    message = {"jsonrpc": "2.0", "id": identity, "method": method, "params": params or {}}
    return json.dumps(message, separators=(",", ":")).encode()


def answers_beside(
    daemon: Daemon, neighbour: Neighbour, line: bytes, count: int
) -> list[dict[str, Any]]:
    """The answers to `line`, while the neighbour goes on asking; each is a line as it should be."""
    assert len(line) <= MAX_LINE
    with daemon.connect() as client:
        client.send_line(line)
        client.socket.setblocking(False)
        received = b""
        deadline = time.monotonic() + LIMIT_S
        while received.count(b"\n") < count:
            assert time.monotonic() < deadline
            neighbour.ask()
            try:
                received += client.socket.recv(1 << 20)
            except BlockingIOError:
                pass
        lines = received.splitlines()
        assert max(map(len, lines)) <= MAX_LINE
        return [json.loads(answer) for answer in lines]


# -- requests that cost much -----------------------------------------------------------------


def many_nodes(daemon: Daemon, count: int) -> None:
    text = "".join(f"def node_{number}() -> int:\n    return {number}\n" for number in range(count))
    daemon.serve("many", text)


def cpu_seconds(daemon: Daemon, line: bytes, times: int) -> float:
    """What the daemon spends on answering a line, on average; the system counts in 10 ms."""
    process = psutil.Process(daemon.process.pid)
    with daemon.connect() as client:
        before = process.cpu_times()
        for _ in range(times):
            client.send_line(line)
            client.next_message()
        after = process.cpu_times()
    return (after.user + after.system - before.user - before.system) / times


def test_a_line_full_of_notifications_holds_up_nobody(daemon: Daemon, neighbour: Neighbour) -> None:
    many_nodes(daemon, 300)
    asked = b'{"jsonrpc":"2.0","method":"status"}'
    line = b"[" + b",".join([asked] * 20_000) + b"," + request("ping") + b"]"
    answers_beside(daemon, neighbour, line, 1)
    assert neighbour.answers > 20


def test_a_path_of_half_a_million_folders_costs_no_more_than_its_length(daemon: Daemon) -> None:
    room = MAX_LINE - 200
    usual = cpu_seconds(daemon, request("sync", {"files": {"a" * room: None}}), 20)
    costly = cpu_seconds(daemon, request("sync", {"files": {"a/" * (room // 2): None}}), 1)
    assert costly < MUCH * max(usual, 0.005)


def test_thousands_of_paths_hold_up_nobody(daemon: Daemon, neighbour: Neighbour) -> None:
    files = {f"/a/b/c/d/e/f/{number:x}": None for number in range(20_000)}
    (answer,) = answers_beside(daemon, neighbour, request("sync", {"files": files}), 1)
    assert "result" in answer
    assert neighbour.answers > 5


def test_thousands_of_nodes_cost_no_more_than_those_that_there_are(daemon: Daemon) -> None:
    many_nodes(daemon, 300)
    known = [f"node_{number}" for number in range(300)]
    usual = cpu_seconds(daemon, request("rerun", {"nodes": known}), 10)
    with daemon.subscriber() as subscriber:
        nodes = ["node_1"] * 90_000 + known
        costly = cpu_seconds(daemon, request("rerun", {"nodes": nodes}), 1)
        assert costly < MUCH * max(usual, 0.005)
        run = daemon.ask("rerun", nodes=nodes)["run"]
        cause = subscriber.event("run.started", run=run)["cause"]["text"]
        assert cause.startswith("asked for: node_1, node_0, node_2, ")
        assert cause.endswith(" and 290 more")


@pytest.mark.parametrize("character", ["x", "\0", "é", "\u2028", '"'])
@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("{long}", {}, -32601),
        ("ping", {"{long}": 1}, -32602),
        ("result", {"node": "{long}"}, 1),
        ("result", {"node": "calm", "format": "{long}"}, 3),
        ("status", {"pipeline": "{long}"}, 1),
        ("rerun", {"nodes": ["{long}"]}, 1),
    ],
)
def test_the_answer_to_a_long_name_is_short(
    daemon: Daemon, neighbour: Neighbour, method: str, params: Any, code: int, character: str
) -> None:
    if "calm" not in daemon.ask("status")["pipelines"]:
        daemon.serve("calm", CALM)
    text = request(method, params).decode()
    escaped = json.dumps(character)[1:-1]
    room = (MAX_LINE - len(text)) // len(escaped)
    line = text.replace("{long}", escaped * room).encode()
    (answer,) = answers_beside(daemon, neighbour, line, 1)
    assert answer["error"]["code"] == code
    assert len(json.dumps(answer)) < 50_000


def test_an_id_is_given_back_as_it_was_or_refused(daemon: Daemon) -> None:
    with daemon.connect() as client:
        for identity in ("", "x" * 1024, "\0" * 1024, 0, -1, 2**64, 10**300, 1.5, "\u2028é😀"):
            client.send_line(request("ping", identity=identity))
            assert client.next_message() == {"jsonrpc": "2.0", "id": identity, "result": {}}
        client.send_line(request("ping", identity="x" * 1025))
        refused = client.next_message()
        assert (refused["id"], refused["error"]["code"]) == (None, -32600)


def test_a_path_that_can_be_none_is_of_no_interest(daemon: Daemon) -> None:
    for path in (
        "\0",
        "/a\0b",
        "",
        ".",
        "/",
        "//",
        "..",
        "../" * 2000,
        "~",
        "x" * 10_000,
        "/dev/zero",
    ):
        with daemon.connect() as client:
            assert "pipelines" in client.call("sync", files={path: None})


OUTSIDE = [
    "../../etc/passwd",
    "/etc/passwd",
    "..",
    "a/../../b",
    "x\0y",
    "file:///etc/passwd",
    "~root",
]


@pytest.mark.parametrize("name", OUTSIDE)
def test_no_name_leads_outside_what_hamdev_wrote(daemon: Daemon, name: str) -> None:
    daemon.serve("large", "def large() -> str:\n    return 'x' * 300_000\n")
    values = daemon.socket.with_suffix(".values")
    daemon.ask("result", node="large")
    before = {*daemon.socket.parent.iterdir()}
    for method, params in [
        ("result", {"node": name}),
        ("result", {"node": "large", "pipeline": name}),
        ("result", {"node": "large", "format": name}),
        ("why", {"node": name}),
        ("status", {"pipeline": name}),
        ("rerun", {"nodes": [name]}),
        ("rerun", {"pipeline": name}),
    ]:
        with pytest.raises(RpcFailure) as failure:
            daemon.ask(method, **params)
        assert failure.value.code in (1, 3)
    assert "root:" not in json.dumps(daemon.ask("sync", files={name: None}))
    path = Path(daemon.ask("result", node="large", format="json")["path"])
    assert path.parent == values
    assert {*daemon.socket.parent.iterdir()} == before


def test_paths_from_a_client_are_never_opened(daemon: Daemon, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"  # whoever opens it waits for ever
    os.mkfifo(pipe)
    (daemon.root / "link").symlink_to(pipe)
    files = dict.fromkeys([str(pipe), "link", os.path.relpath(pipe, daemon.root)])
    assert "pipelines" in daemon.ask("sync", files=files)
    with pytest.raises(OSError, match="No such device or address"):
        os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)  # nobody is reading


def test_times_that_make_no_sense(daemon: Daemon) -> None:
    daemon.serve("calm", CALM)
    with daemon.connect() as client:
        for timeout in (1e308, 10**12, 0.5 * LIMIT_S):
            assert "pipelines" in client.call("sync", timeout=timeout)
        daemon.save("calm", "import time\ntime.sleep(1000)\n" + CALM)
        for timeout in (0, -1, -1e308):
            with pytest.raises(RpcFailure) as failure:
                client.call("sync", timeout=timeout)
            assert failure.value.code == 4
    daemon.save("calm", CALM)
    assert daemon.pipeline("calm")["state"] == "idle"


# -- connections that end oddly ---------------------------------------------------------------


def test_what_was_asked_before_an_oversized_line_is_answered(daemon: Daemon) -> None:
    daemon.serve("calm", CALM)
    with daemon.connect() as client:
        daemon.save("calm", CALM.replace("1", "2"))  # so that there is something to wait for
        client.socket.sendall(request("sync", identity=7) + b"\n" + b"x" * (MAX_LINE + 1))
        answers = [client.next_message(), client.next_message()]
        assert {answer["id"] for answer in answers} == {7, None}
        assert [a["error"]["code"] for a in answers if a["id"] is None] == [-32600]
        assert client.next_line() is None


def test_the_sender_of_an_endless_line_learns_why_it_is_cut_off(daemon: Daemon) -> None:
    with daemon.connect() as client:
        client.socket.sendall(b"x" * (3 * MAX_LINE))
        assert client.next_message()["error"]["code"] == -32600
        assert client.next_line() is None


def test_to_subscribe_again_in_the_middle_of_a_long_line_spoils_no_line(daemon: Daemon) -> None:
    text = "def long() -> int:\n    print('x' * 900_000)\n    return {}\n"
    daemon.serve("long", text.format(0))
    start = daemon.ask("status")["seq"]
    with daemon.subscriber() as other:
        for number in range(1, 6):
            daemon.save("long", text.format(number))
            other.event("run.finished", outcome="ok")
    with daemon.connect() as sleeper:
        assert not sleeper.call("subscribe", since=start)["fresh"]
        # The rest is more than its socket holds, so a line is half sent now.
        sleeper.send_line(request("subscribe", identity="again"))
        sleeper.send_line(request("ping", identity="last"))
        answered = set()
        while answered != {"again", "last"}:
            message = sleeper.next_message()  # fails if it is no JSON
            if "id" in message:
                answered.add(message["id"])


def connections(daemon: Daemon) -> int:
    return len(psutil.Process(daemon.process.pid).net_connections("unix"))


def test_who_is_killed_while_it_waits_is_forgotten(daemon: Daemon) -> None:
    daemon.serve("waits", CALM)
    with daemon.subscriber() as client:
        daemon.save("waits", "def calm() -> int:\n    while True:\n        pass\n")
        client.event("node.started")
        before = connections(daemon)
        for number in range(30):
            with daemon.connect() as waiting:
                waiting.send_line(request("sync", {"timeout": 10**6}))
                if number % 2:
                    waiting.call("ping")
        # It waits for an answer that may never come; the daemon does not wait for it.
        eventually(lambda: connections(daemon) <= before, "the end of all connections")
        with daemon.connect() as half:
            half.send_line(request("sync", {"timeout": LIMIT_S}))
            half.socket.shutdown(socket.SHUT_WR)
            daemon.save("waits", CALM.replace("1", "2"))
            assert half.next_message()["result"]["pipelines"]["waits"]["state"] == "idle"
            assert half.next_line() is None


def test_thousands_of_connections_leave_nothing_behind(daemon: Daemon) -> None:
    process = psutil.Process(daemon.process.pid)

    def visit(count: int) -> None:
        for number in range(count):
            with Client(daemon.socket) as client:
                match number % 5:
                    case 0:
                        client.call("subscribe")
                    case 1:
                        client.send_line(request("status"))
                    case 2:
                        client.socket.sendall(b'{"half')
                    case 3:
                        client.send_line(b"[" * 1000)
                    case 4:
                        client.call("ping")

    daemon.serve("calm", CALM)
    others = connections(daemon)
    visit(200)
    eventually(lambda: connections(daemon) <= others, "the end of all connections")
    before = process.num_fds(), process.memory_info().rss
    visit(800)
    eventually(lambda: process.num_fds() <= before[0], "the end of all descriptors")
    assert process.memory_info().rss - before[1] < 4 * 1024 * 1024


def test_large_values_that_nobody_waits_for_are_not_kept(daemon: Daemon) -> None:
    text = "def large() -> str:\n    return '{}' * 300_000\n"
    daemon.serve("large", text.format(0))
    folder = daemon.socket.with_suffix(".values")
    before = connections(daemon)
    for worker in daemon.workers():
        os.kill(worker, signal.SIGSTOP)
    try:
        for _ in range(100):
            with daemon.connect() as client:
                client.send_line(request("result", {"node": "large"}))
        eventually(lambda: connections(daemon) <= before, "the end of all connections")
    finally:
        for worker in daemon.workers():
            os.kill(worker, signal.SIGCONT)
    # Of what was asked first, something may have been written before the worker heard of the end.
    wanted = Path(daemon.ask("result", node="large")["path"])
    assert wanted in folder.iterdir()
    assert len(list(folder.iterdir())) <= 64
