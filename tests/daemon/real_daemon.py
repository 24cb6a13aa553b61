"""A real daemon on real files, and a client that speaks its protocol with nothing but a socket.

Every process that a daemon starts inherits a mark in its environment, so whatever is left of it
is found, in whichever process group it is.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

# Far beyond what anything takes on a busy machine; nothing waits for it unless something is broken.
LIMIT_S = 30.0
_MARK = "HAMDEV_TEST_MARK"
COMMAND = [sys.executable, "-c", "from hamdev.clients.cli import main; main()"]


class RpcFailure(Exception):
    """An error response."""

    def __init__(self, error: dict[str, Any]) -> None:
        self.code: int = error["code"]
        self.message: str = error["message"]
        self.data: Any = error.get("data")
        super().__init__(f"{self.code}: {self.message} ({self.data})")


def eventually(condition: Callable[[], Any], what: str, limit_s: float = LIMIT_S) -> Any:
    """The first true value of `condition`, for what nobody sends an event about."""
    deadline = time.monotonic() + limit_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {limit_s:g} s: {what}"
        time.sleep(0.01)
    return value


class Client:
    """One connection, one JSON message a line; events are kept until they are asked for."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(LIMIT_S)
        self.socket.connect(str(path))
        self.events: list[dict[str, Any]] = []
        self.workers_ready = 0
        self._rest = b""
        self._last_id = 0

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send_line(self, content: bytes) -> None:
        self.socket.sendall(content + b"\n")

    def next_line(self, limit_s: float = LIMIT_S) -> bytes | None:
        """The next line, without its end; None if the daemon has closed the connection."""
        deadline = time.monotonic() + limit_s
        while b"\n" not in self._rest:
            self.socket.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                chunk = self.socket.recv(1 << 20)
            except TimeoutError:
                raise AssertionError(f"no line within {limit_s:g} s") from None
            except ConnectionResetError:
                return None
            if not chunk:
                return None
            self._rest += chunk
        line, self._rest = self._rest.split(b"\n", 1)
        return line

    def next_message(self, limit_s: float = LIMIT_S) -> dict[str, Any]:
        line = self.next_line(limit_s)
        assert line is not None, "the daemon closed the connection"
        message: dict[str, Any] = json.loads(line)
        assert message["jsonrpc"] == "2.0"
        if message.get("method") == "event" and message["params"]["type"] == "worker.ready":
            self.workers_ready += 1
        return message

    def call(self, method: str, limit_s: float = LIMIT_S, **params: Any) -> Any:
        self._last_id += 1
        request = {"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params}
        self.send_line(json.dumps(request).encode())
        while True:
            message = self.next_message(limit_s)
            if message.get("method") == "event":
                self.events.append(message["params"])
                continue
            assert message["id"] == self._last_id
            if "error" in message:
                raise RpcFailure(message["error"])
            return message["result"]

    def until(
        self, *types: str, limit_s: float = LIMIT_S, where: Callable[..., Any] = bool, **fields: Any
    ) -> list[dict[str, Any]]:
        """All events not yet taken, up to the first one of these types with these fields."""
        deadline = time.monotonic() + limit_s
        taken: list[dict[str, Any]] = []
        while True:
            if self.events:
                event = self.events.pop(0)
            else:
                try:
                    message = self.next_message(max(deadline - time.monotonic(), 0.001))
                except AssertionError as error:
                    seen = [(e["type"], e.get("node"), e.get("outcome")) for e in taken]
                    raise AssertionError(f"no {types} {fields}: {error}; got {seen}") from None
                event = message["params"]
            taken.append(event)
            matches = all(event.get(key) == value for key, value in fields.items())
            if event["type"] in types and matches and where(event):
                return taken

    def await_workers(self, count: int) -> None:
        """Wait until so many workers have become ready since this client subscribed."""
        while self.workers_ready < count:
            message = self.next_message()
            if message.get("method") == "event":
                self.events.append(message["params"])

    def event(self, *types: str, **how: Any) -> dict[str, Any]:
        """The first event of these types with these fields among those not yet taken."""
        return self.until(*types, **how)[-1]


class Daemon:
    """`hamdev watch` in a project's folder.

    Args:
        arguments: further ones of `watch`.
        before: a command that runs it as its own arguments.

    Attributes:
        root: the project's folder.
        socket: its path.
        process: the daemon's process.
    """

    def __init__(
        self,
        root: Path,
        runtime: Path,
        arguments: Sequence[str] = (),
        before: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.root = root
        self.socket = runtime / "s"
        self.mark = uuid.uuid4().hex
        self.log = runtime / f"log-{self.mark}"
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "HAMDEV"))},
            "HAMDEV_SOCKET": str(self.socket),
            "XDG_CACHE_HOME": str(runtime / "cache"),  # where slow values are kept
            _MARK: self.mark,
            **(environment or {}),
        }
        self.clients: list[Client] = []
        self.command = [*before, *COMMAND, "--project", str(root), "watch", *arguments]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment,
                start_new_session=True,
            )

    # -- talking ------------------------------------------------------------------------------

    def connect(self) -> Client:
        """A new connection; the daemon may be just starting."""

        def connected() -> Client | None:
            assert self.process.poll() is None, f"the daemon has ended:\n{self.log_text()}"
            try:
                return Client(self.socket)
            except OSError:
                return None

        client: Client = eventually(connected, "a connection to the daemon")
        self.clients.append(client)
        return client

    def ask(self, method: str, **params: Any) -> Any:
        """One request over a connection of its own, as a short command does."""
        with self.connect() as client:
            return client.call(method, **params)

    def subscriber(self, **params: Any) -> Client:
        """A connection that receives all events from now on, or since a given number."""
        client = self.connect()
        client.call("subscribe", **params)
        return client

    def sync(self) -> Any:
        return self.ask("sync", timeout=LIMIT_S)

    def pipeline(self, name: str) -> Any:
        """The status of one pipeline, of what is on disk now."""
        return self.sync()["pipelines"][name]

    def value(self, node: str, **params: Any) -> Any:
        """The JSON value of a node for what is on disk now."""
        self.sync()
        return self.ask("result", node=node, format="json", **params)["value"]

    # -- files --------------------------------------------------------------------------------

    def write(self, path: str, text: str) -> Path:
        """Save a file as careful editors do: under another name first, then renamed into place."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = file.with_name(f".{file.name}.new")
        fresh.write_text(textwrap.dedent(text), encoding="utf-8")
        fresh.replace(file)
        return file

    def save(self, pipeline: str, text: str) -> Path:
        """Save a module of `pipelines/`."""
        return self.write(f"pipelines/{pipeline}.py", text)

    def configure(self, *pipelines: str, **tables: str) -> None:
        """Write `devserver.toml` with these pipelines; `tables`: name → its lines of TOML."""
        wanted = {**dict.fromkeys(pipelines, ""), **tables}
        self.write(
            "devserver.toml",
            "".join(f"[pipelines.{name}]\n{lines}\n" for name, lines in wanted.items()),
        )

    def serve(self, pipeline: str, text: str, settings: str = "") -> Any:
        """Serve only this pipeline, made of this module; its status after its first run."""
        self.save(pipeline, text)
        self.configure(**{pipeline: textwrap.dedent(settings)})
        return self.pipeline(pipeline)

    # -- processes ----------------------------------------------------------------------------

    def log_text(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def processes(self) -> list[psutil.Process]:
        """The daemon and all that it or its workers have started and that still live."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return (
                process.environ().get(_MARK) == self.mark
                and process.status() != psutil.STATUS_ZOMBIE
            )
        except psutil.Error:
            return False

    def workers(self) -> list[int]:
        """Process ids of the daemon's own children."""
        children = psutil.Process(self.process.pid).children()
        return sorted(c.pid for c in children if c.status() != psutil.STATUS_ZOMBIE)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Signal the daemon and wait for its end; its exit status."""
        self.process.send_signal(number)
        return self.process.wait(LIMIT_S)

    def leftovers(self) -> list[str]:
        """What a daemon that has ended should have removed."""
        files = [
            self.socket,
            self.socket.with_suffix(".values"),
            self.root / ".hamdev" / "daemon.json",
        ]
        return [str(file) for file in files if file.exists()]

    def dispose(self) -> None:
        """End it, and see that nothing of it is left."""
        for client in self.clients:
            client.socket.close()
        was_alive = self.process.poll() is None
        try:
            status = self.end() if was_alive else self.process.returncode
            eventually(lambda: not self.processes(), f"the end of {self.processes()}", 5.0)
        finally:
            for process in [*self.processes()]:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait(LIMIT_S)
        if was_alive:
            assert status == 0, self.log_text()[-3000:]
            assert self.leftovers() == []
        # Of the daemon itself; those of user code are in log lines.
        log = self.log_text()
        raised = re.search(r"^(Traceback|  \+ Exception Group)", log, re.MULTILINE)
        assert raised is None, log[max(raised.start() - 1500, 0) :][:5000]
        assert "unexpected error" not in log


@contextlib.contextmanager
def runtime_folder() -> Iterator[Path]:
    """A folder with a short path, as a socket's path must be."""
    folder = Path(tempfile.mkdtemp(prefix="hd", dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def running(
    root: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> Iterator[Daemon]:
    """A daemon in `root`; at the end of the block it is ended, and nothing of it is left."""
    with runtime_folder() as runtime:
        daemon = Daemon(root, runtime, arguments, environment=environment)
        try:
            yield daemon
        finally:
            daemon.dispose()
