"""Code that hangs, crashes, forks, floods or fights: the daemon answers, and a fix works."""

from __future__ import annotations

import os
import signal
import sys
import textwrap
from typing import Any

import psutil
import pytest
from real_daemon import Client, Daemon, eventually

FIXED = "def base() -> int:\n    return 41\n\n\ndef total(base: int) -> int:\n    return base + 1\n"

# Nodes that never end by themselves, and whether the worker can live on.
HANGING = {
    "loop": ("def base() -> int:\n    while True:\n        pass\n", True),
    "sleep": ("import time\ndef base() -> int:\n    time.sleep(1000)\n    return 1\n", True),
    "finally": (
        """
        import time
        def base() -> int:
            try:
                time.sleep(1000)
            finally:
                print("cleaned up")
            return 1
        """,
        True,
    ),
    "async_wait": (
        "import asyncio\nasync def base() -> int:\n    await asyncio.sleep(1000)\n    return 1\n",
        True,
    ),
    "async_loop": ("async def base() -> int:\n    while True:\n        pass\n", True),
    "pipe": ("import os\ndef base() -> int:\n    return len(os.read(os.pipe()[0], 1))\n", True),
    "lock": (
        "import threading\ndef base() -> int:\n    threading.Event().wait()\n    return 1\n",
        True,
    ),
    "child": (
        "import subprocess\ndef base() -> int:\n    return subprocess.call(['sleep', '1000'])\n",
        True,
    ),
    "printing": ("def base() -> int:\n    while True:\n        print('again')\n", True),
    "swallowing": (
        """
        def base() -> int:
            while True:
                try:
                    while True:
                        pass
                except BaseException:
                    pass
        """,
        False,
    ),
    "swallowing_async": (
        """
        import asyncio
        async def base() -> int:
            while True:
                try:
                    await asyncio.sleep(1000)
                except BaseException:
                    pass
        """,
        False,
    ),
    "deaf": (
        """
        import signal
        def base() -> int:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            while True:
                pass
        """,
        False,
    ),
    "in_c": (
        """
        import collections, itertools
        def base() -> int:
            collections.deque(itertools.repeat(1), maxlen=0)
            return 1
        """,
        False,
    ),
}


def dedented(text: str) -> str:
    return textwrap.dedent(text).lstrip()


def require_answers(daemon: Daemon, name: str) -> None:
    """Old and new connections are answered while the fault is going on."""
    with daemon.connect() as client:
        for _ in range(5):
            status = client.call("status")["pipelines"][name]
            assert client.call("ping") == {}
    assert status["state"] == "running"
    assert status["nodes"]["base"]["state"] == "running"


def require_fix(daemon: Daemon, name: str) -> None:
    daemon.save(name, FIXED)
    status = daemon.pipeline(name)
    assert (status["state"], status["problems"]) == ("idle", [])
    assert daemon.ask("result", node="total", format="json")["value"] == 42


def require_spare(daemon: Daemon, client: Client, workers: list[int]) -> None:
    """Wait for the successor of a worker that was lost, so that the next test finds a spare."""
    client.await_workers(1)
    assert len(daemon.workers()) == 2
    assert len({*daemon.workers()} & {*workers}) == 1


@pytest.mark.parametrize("fault", HANGING)
def test_a_node_that_hangs(daemon: Daemon, fault: str) -> None:
    text, may_live_on = HANGING[fault]
    name = f"hang_{fault}"
    daemon.serve(name, FIXED)
    workers = daemon.workers()
    client = daemon.subscriber()
    daemon.save(name, dedented(text) + "\n\ndef total(base: int) -> int:\n    return base\n")
    run = client.event("node.started", node="base")["run"]
    require_answers(daemon, name)
    require_fix(daemon, name)
    events = client.until("run.finished", run=run)
    assert events[-1]["outcome"] == "superseded"
    assert not [e for e in events if e["type"] in ("node.finished", "node.failed")]
    if may_live_on:
        assert daemon.workers() == workers
    else:
        lost = [e for e in events if e["type"] == "worker.lost"]
        assert [e["problem"]["kind"] for e in lost] == ["worker"]
        require_spare(daemon, client, workers)


@pytest.mark.parametrize(
    "body",
    ["while True:\n    pass\n", "import time\ntime.sleep(1000)\n", "input()\ninput_() = 1\n"],
    ids=["loop", "sleep", "stdin"],
)
def test_a_module_that_hangs_while_it_is_loaded(daemon: Daemon, body: str) -> None:
    name = f"module_{len(body)}"
    daemon.serve(name, FIXED)
    workers = daemon.workers()
    client = daemon.subscriber()
    body = body.replace("input_() = 1\n", "")
    daemon.save(name, "print('begun')\n" + body + FIXED)
    if "input" in body:  # there is nothing to read, so it fails at once
        client.until("load.failed")
        assert daemon.pipeline(name)["problems"][0]["line"] == 2
    else:
        client.event("output", text="begun\n")
        with daemon.connect() as other:
            for _ in range(5):
                assert other.call("status")["pipelines"][name]["state"] == "running"
    require_fix(daemon, name)
    # The same one, or the spare where the module has done something that a new process has not.
    assert daemon.workers()[0] in workers


# What ends the worker: its text, part of the message, the line that is blamed.
CRASHING = {
    "exit": ("import os\ndef base() -> int:\n    os._exit(3)\n", "exited with status 3", 2),
    "segfault": (
        "import ctypes\ndef base() -> int:\n    ctypes.string_at(0)\n    return 1\n",
        "SIGSEGV",
        3,
    ),
    "closing": (
        "import os\ndef base() -> int:\n    os.closerange(0, 4096)\n    return 1\n",
        "",
        2,
    ),
}


@pytest.mark.parametrize("fault", CRASHING)
def test_a_node_that_ends_the_worker(daemon: Daemon, fault: str) -> None:
    text, message, line = CRASHING[fault]
    name = f"crash_{fault}"
    before = daemon.serve(name, FIXED)
    workers = daemon.workers()
    client = daemon.subscriber()
    file = daemon.save(name, text + "\n\ndef total(base: int) -> int:\n    return base\n")
    finished = client.event("run.finished")
    assert finished["outcome"] == "failed"
    status = daemon.pipeline(name)
    assert status["state"] == "failed"
    assert status["run"] == finished["run"]  # it is not tried again until something changes
    (problem,) = status["problems"]
    assert (problem["kind"], problem["node"]) == ("worker", "base")
    assert message in problem["message"]
    assert (problem["file"], problem["line"]) == (str(file), line)
    assert status["nodes"]["total"]["state"] == "stale"
    assert status["nodes"]["total"]["revision"] == before["revision"]
    require_fix(daemon, name)
    require_spare(daemon, client, workers)


def test_a_module_that_ends_the_worker_while_it_is_loaded(daemon: Daemon) -> None:
    daemon.save("innocent", "def one() -> int:\n    return 1\n")
    daemon.save("guilty", FIXED)
    daemon.configure("innocent", "guilty")
    daemon.sync()
    workers = daemon.workers()
    client = daemon.subscriber()
    daemon.save("guilty", "import os\nos._exit(0)\n" + FIXED)
    client.event("run.finished", pipeline="guilty", outcome="failed")
    # The other pipeline gets its values back by itself.
    client.event("run.finished", pipeline="innocent", outcome="ok")
    statuses = daemon.sync()["pipelines"]
    assert (statuses["innocent"]["state"], statuses["guilty"]["state"]) == ("idle", "failed")
    assert daemon.value("one") == 1
    (problem,) = statuses["guilty"]["problems"]
    assert problem["kind"] == "worker"
    assert "exited with status 0 while the modules were loaded" in problem["message"]
    require_fix(daemon, "guilty")
    require_spare(daemon, client, workers)


# More than anybody wants to read, in the ways in which it can be written.
FLOODING = {
    "pieces": "for _ in range(1000):\n        print('x' * 10**6)",
    "at_once": "print('x' * (1 << 28))",
    "lines": "print('\\n' * (1 << 24))",
    "binary": (
        "import sys\n    out = sys.stdout.buffer\n"
        "    for _ in range(99):\n        out.write(b'\\xff' * 10**6)"
    ),
    "descriptor": "import os\n    for _ in range(1000):\n        os.write(1, b'x' * 10**6)",
    "stderr": "import os\n    for _ in range(300):\n        os.write(2, b'x\\n' * 500_000)",
    "child": "import subprocess\n    subprocess.run('yes | head -c 1000000000', shell=True)",
}


@pytest.mark.parametrize("way", FLOODING)
def test_a_node_that_prints_a_flood(daemon: Daemon, way: str) -> None:
    name = f"flood_{way}"
    workers = daemon.workers()
    text = f"def base() -> int:\n    {FLOODING[way]}\n    return 1\n"
    text += "\n\ndef total(base: int) -> int:\n    return base\n"
    daemon.serve(name, FIXED)
    client = daemon.subscriber()
    memory = psutil.Process(daemon.process.pid).memory_info().rss
    daemon.save(name, text)
    client.event("node.started", node="base")
    with daemon.connect() as other:
        for _ in range(20):
            assert name in other.call("status")["pipelines"]
    # The flood may have cost this subscriber its queue, but never the end of the run.
    daemon.sync()
    seen: list[dict[str, Any]] = []
    while not seen or seen[-1]["type"] not in ("run.finished", "snapshot"):
        seen += client.until("output", "run.finished", "snapshot")
    shown = sum(len(e["text"]) for e in seen if e["type"] == "output")
    assert shown < 5 << 20
    status = daemon.pipeline(name)
    assert status["state"] == "idle"
    assert daemon.ask("result", node="total", format="json")["value"] == 1
    assert psutil.Process(daemon.process.pid).memory_info().rss < memory + (100 << 20)
    require_fix(daemon, name)
    assert daemon.workers() == workers


# Odd things that a node does and survives; what `total` gives; what was printed.
ODD = {
    "fork": (
        """
        import os
        def base() -> int:
            child = os.fork()
            if child == 0:
                print("from the child", flush=True)
                os._exit(0)
            os.waitpid(child, 0)
            return 1
        """,
        "from the child\n",
    ),
    "fork_that_goes_on": (
        """
        import os
        def base() -> int:
            parent = os.getpid()
            os.fork()
            return 1 if os.getpid() == parent else 2
        """,
        "",
    ),
    "fork_that_raises": (
        """
        import os
        def base() -> int:
            if os.fork() == 0:
                raise RuntimeError("in the child")
            return 1
        """,
        "",
    ),
    "multiprocessing": (
        """
        import multiprocessing
        def _work(number):
            print("working", number, flush=True)
            return number
        def base() -> int:
            with multiprocessing.get_context("fork").Pool(1) as pool:
                return pool.apply(_work, (1,))
        """,
        "working 1\n",
    ),
    "threads": (
        """
        import threading
        def base() -> int:
            threads = [threading.Thread(target=print, args=("thread",)) for _ in range(20)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return 1
        """,
        "thread\n",
    ),
    "thread_left_running": (
        """
        import threading, time
        def _tick():
            while True:
                print("tick")
                time.sleep(0.01)
        def base() -> int:
            threading.Thread(target=_tick, daemon=True).start()
            return 1
        """,
        "tick\n",
    ),
    "raw_bytes": (
        """
        import sys
        def base() -> int:
            sys.stdout.buffer.write(b"bytes\\n")
            sys.stdout.buffer.flush()
            return 1
        """,
        "bytes\n",
    ),
    "stdout_replaced": (
        """
        import io, sys
        def base() -> int:
            sys.stdout = io.StringIO()
            print("nowhere")
            return 1
        """,
        "",
    ),
    "stdout_closed": (
        """
        import sys
        def base() -> int:
            sys.stdout.close()
            sys.stderr.close()
            return 1
        """,
        "",
    ),
    "stdout_redirected": (
        """
        import contextlib, io
        def base() -> int:
            with contextlib.redirect_stdout(io.StringIO()) as text:
                print("inside")
            assert text.getvalue() == "inside\\n"
            print("outside")
            return 1
        """,
        "outside\n",
    ),
    "descriptors_closed": (
        """
        import os
        def base() -> int:
            os.close(1)
            os.close(2)
            print("still heard")
            return 1
        """,
        "still heard\n",
    ),
    "signal_handler": (
        """
        import signal
        def base() -> int:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            return 1
        """,
        "",
    ),
    "own_loop": (
        """
        import asyncio, threading
        async def _one():
            return 1
        def base() -> int:
            results = []
            thread = threading.Thread(target=lambda: results.append(asyncio.run(_one())))
            thread.start()
            thread.join()
            return results[0]
        """,
        "",
    ),
    "task_left_behind": (
        """
        import asyncio
        async def _fail():
            raise RuntimeError("nobody looks")
        async def base() -> int:
            base.task = asyncio.get_running_loop().create_task(_fail())
            base.other = asyncio.get_running_loop().create_task(asyncio.sleep(1000))
            await asyncio.sleep(0)
            return 1
        """,
        "",
    ),
    "working_folder": ("import os\ndef base() -> int:\n    os.chdir('/')\n    return 1\n", ""),
    "environment": (
        "import os\ndef base() -> int:\n    os.environ.clear()\n    return 1\n",
        "",
    ),
    "modules": (
        "import sys\ndef base() -> int:\n    sys.path.clear()\n    return 1\n",
        "",
    ),
    "recursion_limit": (
        "import sys\ndef base() -> int:\n    sys.setrecursionlimit(10**6)\n    return 1\n",
        "",
    ),
    "garbage": (
        "import gc\ndef base() -> int:\n    gc.disable()\n    gc.unfreeze()\n    return 1\n",
        "",
    ),
    "logging": (
        """
        import logging, sys
        def base() -> int:
            logging.basicConfig(force=True, stream=sys.stderr, format="%(message)s")
            logging.getLogger("mine").warning("logged")
            logging.shutdown()
            return 1
        """,
        "logged\n",
    ),
    "process_group": (
        "import os\ndef base() -> int:\n    os.nice(5)\n    os.umask(0o077)\n    return 1\n",
        "",
    ),
}


@pytest.mark.parametrize("fault", ODD)
def test_a_node_that_does_odd_things(daemon: Daemon, fault: str) -> None:
    text, printed = ODD[fault]
    name = f"odd_{fault}"
    workers = daemon.workers()
    client = daemon.subscriber()
    status = daemon.serve(
        name, dedented(text) + "\n\ndef total(base: int) -> int:\n    return base + 10\n"
    )
    assert (status["state"], status["problems"]) == ("idle", [])
    assert daemon.value("total") == 11
    assert daemon.workers() == workers
    events = client.until("run.finished")
    assert events[-1]["outcome"] == "ok"
    finished = [e["node"] for e in events if e["type"] == "node.finished"]
    assert finished == ["base", "total"]
    if printed:
        seen = [e for e in events if e["type"] == "output"]
        if not any(printed in e["text"] for e in seen):
            client.event("output", where=lambda e: printed in e["text"])
    require_fix(daemon, name)
    client.event("run.finished", outcome="ok")
    # The same one, or the spare where the node has changed something in its process.
    assert daemon.workers()[0] in workers
    # The daemon, a worker and a spare, and the guards of these two.
    eventually(lambda: len(daemon.processes()) == 5, "the end of forked children")


def test_idle_workers_that_are_killed(daemon: Daemon) -> None:
    before = daemon.serve("killed_idle", FIXED)
    client = daemon.subscriber()
    workers = daemon.workers()
    for victim in workers:  # the one with the values, and the spare
        os.kill(victim, signal.SIGKILL)
    # The values are computed again without being asked for.
    client.event("run.finished", outcome="ok")
    status = daemon.pipeline("killed_idle")
    assert (status["state"], status["problems"]) == ("idle", [])
    assert status["run"] > before["run"]
    assert daemon.value("total") == 42
    client.await_workers(2)
    assert len(daemon.workers()) == 2
    assert not {*daemon.workers()} & {*workers}


def test_a_worker_that_is_killed_during_a_run(daemon: Daemon) -> None:
    daemon.serve("killed", FIXED)
    workers = daemon.workers()
    client = daemon.subscriber()
    waiting = """
        import os, time
        def base() -> int:
            print(os.getpid())
            if not os.path.exists("go"):
                time.sleep(1000)
            return 7
    """
    daemon.save("killed", waiting)
    printed = client.event("output", node="base")
    (daemon.root / "go").touch()
    os.kill(int(printed["text"]), signal.SIGKILL)
    lost = client.event("worker.lost")
    assert lost["problem"]["kind"] == "worker"
    first = client.event("run.finished")
    assert (first["run"], first["outcome"]) == (printed["run"], "failed")
    again = client.event("run.started")
    assert again["cause"]["kind"] == "worker"
    assert client.event("run.finished")["outcome"] == "ok"
    assert daemon.value("base") == 7
    (daemon.root / "go").unlink()
    require_fix(daemon, "killed")
    require_spare(daemon, client, workers)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="no other system tells")
@pytest.mark.parametrize("moment", ["idle", "running"])
def test_a_worker_that_is_stopped_and_does_not_go_on(daemon: Daemon, moment: str) -> None:
    name = f"stopped_{moment}"
    daemon.serve(name, FIXED)
    workers = daemon.workers()
    client = daemon.subscriber()
    if moment == "idle":
        for worker in workers:  # which of them holds the values is of no interest
            os.kill(worker, signal.SIGSTOP)
        daemon.save(name, FIXED.replace("41", "51"))
    else:
        stopping = """
            import os, signal
            def base() -> int:
                if not os.path.exists("stopped"):
                    open("stopped", "w").close()
                    os.kill(os.getpid(), signal.SIGSTOP)
                return 51
            def total(base: int) -> int:
                return base + 1
        """
        daemon.save(name, stopping)
    lost = client.event("worker.lost")
    assert "was stopped" in lost["problem"]["message"]
    assert daemon.value("total") == 52
    daemon.save(name, FIXED)
    assert daemon.value("total") == 42
    eventually(lambda: len(daemon.workers()) == 2, "a worker and a spare")
    assert set(daemon.workers()) != set(workers)
    client.await_workers(2 if moment == "idle" else 1)
