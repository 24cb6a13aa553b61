"""New processes in milliseconds: forked from one that has imported Hamilton and nothing else.

A forked process has loaded no module of any project, so it is as new as one that Python started.
What it does with that is one of three things: it is a worker, or it tells what the files on disk
mean to a process that has seen nothing else (the *oracle*), or it does the latter with nothing but
Hamilton's own driver, in a process that has not imported hamdev at all (the *plain driver*).

Run as a script, this is the process that the others are forked from.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Warm:
    """The process that others are forked from.

    Args:
        is_plain: it imports nothing of hamdev, and serves plain drivers only.
    """

    def __init__(self, is_plain: bool = False) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.settimeout(60)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", __file__, str(theirs.fileno()), *["plain"] * is_plain],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )

    def fork(self, role: str, folder: Path, arguments: Any) -> tuple[int, socket.socket]:
        """A new process in `folder`: its pid, and a connection to it."""
        ours, theirs = socket.socketpair()
        request = json.dumps({"role": role, "folder": str(folder), "arguments": arguments})
        with theirs:
            socket.send_fds(self._control, [request.encode()], [theirs.fileno()])
            pid = int(self._control.recv(64))
        ours.settimeout(60)
        return pid, ours

    def close(self) -> None:
        self._control.close()
        self._process.wait(60)


@contextmanager
def warm_process(is_plain: bool = False) -> Iterator[Warm]:
    warm = Warm(is_plain)
    try:
        yield warm
    finally:
        warm.close()


# -- in the process itself -----------------------------------------------------------------------


def _serve(descriptor: int, is_plain: bool) -> None:
    import hamilton.async_driver
    import hamilton.driver
    import hamilton.function_modifiers
    import hamilton.registry

    if not is_plain:
        import hamdev.pipeline.async_execution
        import hamdev.pipeline.manager
        import hamdev.worker.__main__
        import hamdev.worker.execute
        import hamdev.worker.fetching
        import hamdev.worker.interruption  # noqa: F401

    hamilton.registry.initialize()
    control = socket.socket(fileno=descriptor)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 1 << 20, 1)
        if not message:
            return
        request = json.loads(message)
        pid = os.fork()
        if pid == 0:
            control.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _become(request["role"], request["folder"], request["arguments"], descriptors[0])
        os.close(descriptors[0])
        control.send(str(pid).encode())


def _become(role: str, folder: str, arguments: Any, descriptor: int) -> None:
    try:
        os.setsid()
        os.chdir(folder)
        sys.argv = [role]
        if role == "worker":
            from hamdev.worker.__main__ import main

            main(["--descriptor", str(descriptor), *arguments])
        else:
            connection = socket.socket(fileno=descriptor)
            judge = _judged if role == "oracle" else _driven
            connection.sendall(pickle.dumps(judge(arguments)))
            connection.close()
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(0)


def _judged(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What a new process computes: pickled values, failed nodes, or why it cannot be loaded."""
    import logging

    from hamdev.pipeline.manager import PipelineManager
    from hamdev.pipeline.run_config import RunConfig

    logging.getLogger("hamilton").setLevel(logging.CRITICAL)
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115  # for the life of the process
    judge = _Judge()
    manager = PipelineManager(Path.cwd())
    manager.project.install()
    config = RunConfig(**pickle.loads(base64.b64decode(arguments["config"])))
    merged = manager.configure(arguments["pipeline"], config, {})
    error = ""
    try:
        asyncio.run(manager.execute_async(arguments["pipeline"], merged, judge, keep_going=True))
    except BaseException as raised:
        if not judge.failed:
            error = f"{type(raised).__name__}: {raised}"
    return {"values": judge.values, "failed": judge.failed, "error": error}


class _Judge:
    """Notes the values of nodes as they are made."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.failed: set[str] = set()

    def node_started(self, node: str, inputs: Mapping[str, Any]) -> None:
        pass

    def node_finished(self, node: str, value: Any, seconds: float) -> None:
        try:
            self.values[node] = pickle.dumps(value)
        except Exception:
            self.values[node] = b""

    def node_failed(self, node: str, error: BaseException, seconds: float) -> None:
        self.failed.add(node)

    def node_blocked(self, node: str, by: str) -> None:
        self.failed.add(node)


def _driven(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What Hamilton's driver computes in this folder, without anything of hamdev.

    Args:
        arguments: modules, config and inputs; and the nodes that are asked for, or None for all.
    """
    import importlib
    import logging

    import hamilton.base
    import hamilton.driver

    logging.getLogger("hamilton").setLevel(logging.CRITICAL)
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115  # for the life of the process
    sys.pycache_prefix = os.devnull  # Python itself loads old code of two saves within a second
    sys.path.insert(0, str(Path.cwd()))
    given = pickle.loads(base64.b64decode(arguments["given"]))
    found: dict[str, Any] = {"values": {}, "build_error": "", "error": ""}
    try:
        modules = [importlib.import_module(name) for name in arguments["modules"]]
        driver = (
            hamilton.driver.Builder()
            .with_modules(*modules)
            .with_config(given["config"])
            .with_adapters(hamilton.base.DictResult())
            .allow_module_overrides()
            .build()
        )
        variables = driver.list_available_variables()
        nodes = [v.name for v in variables if not v.is_external_input]
    except BaseException as raised:
        found["build_error"] = f"{type(raised).__name__}: {raised}"
        return found
    try:
        wanted = arguments["wanted"]
        values = driver.execute(nodes if wanted is None else wanted, inputs=given["inputs"])
        found["values"] = {node: pickle.dumps(value) for node, value in values.items()}
    except BaseException as raised:
        found["error"] = f"{type(raised).__name__}: {raised}"
    assert "hamdev" not in sys.modules
    return found


if __name__ == "__main__":
    _serve(int(sys.argv[1]), sys.argv[2:] == ["plain"])
