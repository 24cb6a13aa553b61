"""The protocol as anybody may speak it, well or badly; nobody else notices."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import subprocess
from typing import Any

import pytest
from real_daemon import Client, Daemon, RpcFailure


@pytest.fixture(autouse=True)
def others_are_served(daemon: Daemon) -> Any:
    """Whatever one client does, another one's connection goes on."""
    with daemon.connect() as other:
        assert other.call("ping") == {}
        yield
        assert other.call("ping") == {}


def answer(client: Client, line: bytes) -> dict[str, Any]:
    client.send_line(line)
    return client.next_message()


def test_hello_introduces_both(daemon: Daemon) -> None:
    answered = daemon.ask("hello", protocol=1, client="test")
    assert answered["protocol"] == 1
    assert answered["pid"] == daemon.process.pid
    assert answered["root"] == str(daemon.root)
    assert answered["pipelines"] == list(daemon.ask("status")["pipelines"])
    assert answered["python"].startswith("3.")
    assert answered["hamilton"].startswith("1.")
    assert {"status", "sync", "result", "rerun", "cancel", "shutdown", "ping", "subscribe"} <= set(
        answered["capabilities"]
    )
    status = daemon.ask("status")
    assert (answered["revision"], answered["seq"]) == (status["revision"], status["seq"])
    assert isinstance(answered["version"], str)


@pytest.mark.parametrize(("protocol", "outdated"), [(0, "client"), (2, "daemon")])
def test_another_protocol_is_told_who_must_upgrade(
    daemon: Daemon, protocol: int, outdated: str
) -> None:
    with pytest.raises(RpcFailure) as failure:
        daemon.ask("hello", protocol=protocol, client="test")
    assert failure.value.code == 5
    assert outdated in json.dumps(failure.value.data)


@pytest.mark.parametrize(
    ("line", "code", "identity"),
    [
        (b"{not json", -32700, None),
        (b"\xff\xfe", -32700, None),
        (b'{"a":' * 100_000, -32700, None),
        (b"[]", -32600, None),
        (b"7", -32600, None),
        (b'{"id": 1, "method": "ping"}', -32600, 1),
        (b'{"jsonrpc": "2.0", "id": 2, "method": 5}', -32600, 2),
        (b'{"jsonrpc": "2.0", "id": {}, "method": "ping"}', -32600, None),
        (b'{"jsonrpc": "2.0", "id": 3, "method": "pong"}', -32601, 3),
        (b'{"jsonrpc": "2.0", "id": 4, "method": "ping", "params": [1]}', -32602, 4),
        (b'{"jsonrpc": "2.0", "id": 5, "method": "ping", "params": {"x": 1}}', -32602, 5),
        (b'{"jsonrpc": "2.0", "id": 6, "method": "result", "params": {}}', -32602, 6),
        (b'{"jsonrpc": "2.0", "id": 7, "method": "result", "params": {"node": 1}}', -32602, 7),
        (b'{"jsonrpc": "2.0", "id": 8, "method": "subscribe", "params": {"s": 1}}', -32602, 8),
        (b'{"jsonrpc": "2.0", "id": 9, "method": "sync", "params": {"timeout": "x"}}', -32602, 9),
    ],
    ids=lambda value: value[:40].decode("latin-1") if isinstance(value, bytes) else None,
)
def test_a_bad_line_gets_its_error_and_the_connection_goes_on(
    daemon: Daemon, line: bytes, code: int, identity: int | None
) -> None:
    with daemon.connect() as client:
        answered = answer(client, line)
        assert answered["error"]["code"] == code
        assert answered["error"]["message"]
        assert answered["id"] == identity
        assert client.call("ping") == {}


def test_unknown_methods_and_parameters_name_the_known_ones(daemon: Daemon) -> None:
    with pytest.raises(RpcFailure) as failure:
        daemon.ask("reslut")
    assert failure.value.data["nearest"] == ["result"]
    with pytest.raises(RpcFailure) as failure:
        daemon.ask("result", node="one", fromat="json")
    assert "fromat" in failure.value.message
    assert set(failure.value.data["params"]) == {"node", "pipeline", "format"}


def test_an_oversized_line_ends_its_connection_only(daemon: Daemon) -> None:
    with daemon.connect() as client:
        line = b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": "' + b"x" * (1 << 20)
        try:
            client.socket.sendall(line + b'"}\n')
        except (BrokenPipeError, ConnectionResetError):
            pass  # the daemon has seen enough of it
        lines = []
        while (received := client.next_line()) is not None:
            lines.append(json.loads(received))
        assert [received["error"]["code"] for received in lines] in ([-32600], [])
    with daemon.connect() as client:
        room = (1 << 20) - 100
        params = b'{"node": "%s"}' % (b"x" * room)
        answered = answer(
            client, b'{"jsonrpc":"2.0","id":1,"method":"result","params":' + params + b"}"
        )
        assert answered["error"]["code"] == 1  # a long line is a line


def test_a_line_arrives_in_any_pieces(daemon: Daemon) -> None:
    line = b'\r\n\n{"jsonrpc": "2.0", "id": "\xc3\xa4", "method": "ping"}\r\n'
    with daemon.connect() as client:
        for number in range(len(line)):
            client.socket.sendall(line[number : number + 1])
        assert client.next_message() == {"jsonrpc": "2.0", "id": "ä", "result": {}}
        client.socket.sendall(line * 50)
        assert [client.next_message()["id"] for _ in range(50)] == ["ä"] * 50


def test_a_batch_gets_one_line_each_and_notifications_none(daemon: Daemon) -> None:
    with daemon.connect() as client:
        client.send_line(b'{"jsonrpc": "2.0", "method": "ping"}')
        client.send_line(b'{"jsonrpc": "2.0", "method": "no such method"}')
        client.send_line(
            b'[{"jsonrpc": "2.0", "id": 1, "method": "ping"}, {"jsonrpc": "2.0", "method": "ping"},'
            b' 5, {"jsonrpc": "2.0", "id": 2, "method": "status"}]'
        )
        answers = [client.next_message() for _ in range(3)]
        assert [(a["id"], "result" in a) for a in answers] == [(1, True), (None, False), (2, True)]
        assert client.call("ping") == {}


def test_a_slow_request_does_not_hold_up_the_next_one(daemon: Daemon) -> None:
    daemon.serve("hold", "import time\ndef one() -> int:\n    return 1\n")
    with daemon.subscriber() as client:
        daemon.save("hold", "import time\ndef one() -> int:\n    time.sleep(1000)\n    return 1\n")
        client.event("node.started")
        client.send_line(b'{"jsonrpc": "2.0", "id": "sync", "method": "sync"}')
        assert answer(client, b'{"jsonrpc": "2.0", "id": 1, "method": "ping"}')["id"] == 1
        daemon.save("hold", "def one() -> int:\n    return 2\n")
        while (message := client.next_message()).get("id") != "sync":
            assert message["method"] == "event"
        assert message["result"]["pipelines"]["hold"]["state"] == "idle"


def one_shot(daemon: Daemon, line: bytes) -> list[dict[str, Any]]:
    """Send a line, close the sending side, and read until the daemon closes too."""
    with daemon.connect() as client:
        client.socket.sendall(line)
        client.socket.shutdown(socket.SHUT_WR)
        lines = []
        while (received := client.next_line()) is not None:
            lines.append(json.loads(received))
        return lines


def test_who_closes_its_sending_side_still_gets_its_answer(daemon: Daemon) -> None:
    (answered,) = one_shot(daemon, b'{"jsonrpc":"2.0","id":1,"method":"status"}\n')
    assert answered["result"]["pipelines"]
    (answered,) = one_shot(daemon, b'{"jsonrpc":"2.0","id":1,"method":"sync"}\n')
    assert answered["result"]["pipelines"]
    two = (
        b'{"jsonrpc":"2.0","id":1,"method":"subscribe"}\n{"jsonrpc":"2.0","id":2,"method":"ping"}\n'
    )
    assert {a["id"] for a in one_shot(daemon, two) if "id" in a} == {1, 2}
    assert one_shot(daemon, b"") == []
    # `printf … | nc` without a newline at the end is a mistake, and no reason to hang.
    assert one_shot(daemon, b'{"jsonrpc":"2.0","id":1,"method":"ping"}') in (
        [],
        [{"jsonrpc": "2.0", "id": 1, "result": {}}],
    )


@pytest.mark.skipif(shutil.which("nc") is None, reason="there is no nc here")
def test_nc_is_enough(daemon: Daemon) -> None:
    command = ["nc", "-U", str(daemon.socket)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as nc:
        assert nc.stdin is not None
        assert nc.stdout is not None
        nc.stdin.write(b'{"jsonrpc":"2.0","id":1,"method":"status"}\n')
        nc.stdin.close()
        # Some versions end here, others when the daemon closes.
        assert json.loads(nc.stdout.readline())["result"]["pipelines"]
        nc.kill()


def test_a_client_that_vanishes_is_forgotten(daemon: Daemon) -> None:
    for line in (b'{"jsonrpc":"2.0","id":1,"method":"subscribe"}\n', b'{"half', b""):
        for _ in range(20):
            with daemon.connect() as client:
                client.socket.sendall(line)
    daemon.serve("vanish", "def one() -> int:\n    return 1\n")
    assert daemon.value("one") == 1


def test_a_subscriber_that_does_not_read_holds_up_nobody(daemon: Daemon) -> None:
    noisy = """
        def noisy() -> int:
            for number in range({count}):
                print("x" * 1000)
            return {count}
    """
    daemon.serve("noisy", noisy.format(count=0))
    with daemon.connect() as sleeper:
        sleeper.call("subscribe")
        for number in range(1, 16):
            daemon.save("noisy", noisy.format(count=1000 + number))
            assert daemon.value("noisy") == 1000 + number
        # It reads again: whole lines; a gap, if there is one, ends with a snapshot.
        last = daemon.ask("status")["seq"]
        seq = 0
        while seq < last:
            message = sleeper.next_message()["params"]
            assert message["type"] == "snapshot" or seq in (0, message["seq"] - 1)
            seq = message["seq"]


def test_only_the_owner_can_reach_the_socket(daemon: Daemon) -> None:
    assert stat.S_IMODE(daemon.socket.stat().st_mode) == 0o600
    assert daemon.socket.stat().st_uid == os.getuid()
    assert stat.S_IMODE(daemon.socket.parent.stat().st_mode) == 0o700
    known = json.loads((daemon.root / ".hamdev" / "daemon.json").read_text())
    assert known.keys() == {"socket", "pid", "protocol", "version", "root", "web"}
    assert (known["pid"], known["socket"]) == (daemon.process.pid, str(daemon.socket))
    ignored = (daemon.root / ".hamdev" / ".gitignore").read_text()
    assert ignored == "*\n"
