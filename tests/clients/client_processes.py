"""The command `hamdev` as real processes."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from hamdev.clients.client import Client, connect

HAMDEV = str(Path(sys.executable).parent / "hamdev")
LIMIT_S = 40.0

Run = Callable[..., "subprocess.CompletedProcess[str]"]


class Daemon:
    """A real `hamdev watch`; what it logs is kept."""

    def __init__(
        self,
        project: Path,
        environment: dict[str, str],
        *arguments: str,
        stdout: int = subprocess.DEVNULL,
    ) -> None:
        self.project = project
        self.environment = environment
        self.process = subprocess.Popen(
            [HAMDEV, "watch", *arguments],
            cwd=project,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.log: list[str] = []
        self._serves = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)
            if "serving" in line:
                self._serves.set()
        self._serves.set()

    def wait_until_serving(self) -> None:
        assert self._serves.wait(LIMIT_S), "".join(self.log)
        assert self.process.poll() is None, "".join(self.log)

    def connect(self) -> Client:
        return connect(self.project)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._reader.join(LIMIT_S)
        if self.process.stdout is not None:
            self.process.stdout.close()
        assert self.process.stderr is not None
        self.process.stderr.close()


Watch = Callable[..., AbstractContextManager[Daemon]]
