"""A value whose own code never ends, or fails oddly, keeps nobody from anything."""

from __future__ import annotations

import json
import signal
import subprocess
import textwrap

import pytest
from real_daemon import COMMAND, LIMIT_S, Client, Daemon, RpcFailure, eventually

from hamdev.worker.answering import MAX_AT_ONCE

# While a run looks at it, it ends.
ENDLESS = """
    import threading, time

    class Endless:
        def __repr__(self) -> str:
            if threading.current_thread() is not threading.main_thread():
                open("begun", "a").write("x")
                {body}
            return "endless"

        def __reduce__(self):
            return str, (repr(self),)

    def endless() -> list:
        return [Endless()]

    def one() -> int:
        return {one}
"""
BODIES = {
    "a loop": "while True: pass",
    "a loop that catches what interrupts it": """while time.sleep(0.001) is None:
                    try: time.sleep(0.001)
                    except BaseException: pass""",
    "a sleep": "time.sleep(10_000)",
}


def save(daemon: Daemon, body: str, one: int) -> None:
    text = textwrap.dedent(ENDLESS).replace("{one}", str(one))
    daemon.save("endless", text.replace("{body}", textwrap.indent(body, "").strip()))


def begun(daemon: Daemon) -> int:
    """How often the value's own code has begun."""
    file = daemon.root / "begun"
    return file.stat().st_size if file.exists() else 0


def asking(daemon: Daemon, method: str = "result", **params: str) -> Client:
    """A client that waits for the value, of which the code has begun."""
    before = begun(daemon)
    client = daemon.connect()
    request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"node": "endless", **params}}
    client.send_line(json.dumps(request).encode())
    eventually(lambda: begun(daemon) > before, "the value's own code")
    return client


@pytest.fixture(params=BODIES)
def body(request: pytest.FixtureRequest, daemon: Daemon) -> str:
    chosen = BODIES[request.param]
    daemon.configure("endless")
    save(daemon, chosen, 1)
    assert daemon.pipeline("endless")["state"] == "idle"
    return chosen


@pytest.mark.parametrize("method", ["result", "rows"])
def test_others_get_values_meanwhile_and_saves_run(daemon: Daemon, body: str, method: str) -> None:
    workers = daemon.workers()
    with asking(daemon, method):
        assert daemon.ask("result", node="one", format="json")["value"] == 1
        save(daemon, body, 2)
        assert daemon.value("one") == 2
    assert daemon.workers() == workers


def test_who_gives_up_frees_the_place(daemon: Daemon) -> None:
    daemon.configure("endless")
    save(daemon, BODIES["a loop"], 1)
    daemon.sync()
    for _ in range(MAX_AT_ONCE + 1):
        asking(daemon, format="pickle").socket.close()

    def is_answered() -> bool:
        try:
            return bool(daemon.ask("result", node="one", format="json")["value"] == 1)
        except RpcFailure:
            return False

    eventually(is_answered, "room for another value")


def test_the_command_can_be_interrupted(daemon: Daemon, body: str) -> None:
    before = begun(daemon)
    command = subprocess.Popen(
        [*COMMAND, "--project", str(daemon.root), "result", "endless"], env=daemon.environment
    )
    eventually(lambda: begun(daemon) > before, "the value's own code")
    command.send_signal(signal.SIGINT)
    assert command.wait(LIMIT_S) == 130
    assert daemon.ask("result", node="one", format="json")["value"] == 1


def test_an_error_that_fails_to_be_described(daemon: Daemon) -> None:
    text = """
        import threading

        class Mute(Exception):
            def __str__(self): raise Mute
            __repr__ = __str__

        class Odd:
            def __repr__(self):
                if threading.current_thread() is not threading.main_thread():
                    raise Mute
                return "odd"

            def __reduce__(self):
                return str, (repr(self),)

        def odd() -> object:
            return Odd()

        def one() -> int:
            return 1
    """
    daemon.serve("odd", text)
    for format in ("text", "json", "pickle"):
        with pytest.raises(RpcFailure) as failure:
            daemon.ask("result", node="odd", format=format)
        assert failure.value.code == 3
    assert daemon.ask("result", node="one", format="json")["value"] == 1


@pytest.mark.parametrize("method", ["__reduce__", "__sizeof__", "__repr__", "__deepcopy__"])
def test_an_exit_in_the_own_code_of_a_value_ends_no_worker(daemon: Daemon, method: str) -> None:
    text = """
        class Leaving:
            def {}(self, *rest):
                raise SystemExit(3)

        def leaving() -> Leaving:
            return Leaving()

        def one(leaving: Leaving) -> int:
            return 1
    """
    daemon.configure("leaving")
    client = daemon.subscriber()
    daemon.save("leaving", text.format(method))
    assert daemon.value("one") == 1
    assert daemon.pipeline("leaving")["state"] == "idle"
    client.call("ping")
    assert "worker.lost" not in [event["type"] for event in client.events]
