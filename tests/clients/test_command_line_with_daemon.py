"""The command line against a real daemon."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from client_processes import HAMDEV, LIMIT_S, Daemon, Run, Watch

if TYPE_CHECKING:
    from tests.conftest import ProjectOnDisk

SALES = """
    import pandas as pd

    def prices() -> pd.DataFrame:
        print("reading prices")
        return pd.DataFrame({"city": ["Oslo", "Lima"], "price": [2.5, 4.0]})

    def total(prices: pd.DataFrame) -> float:
        return float(prices["price"].sum())
"""


@pytest.fixture
def sales(project: ProjectOnDisk) -> ProjectOnDisk:
    project.write("sales", SALES)
    return project


@contextmanager
def running(daemon: Daemon, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [HAMDEV, *arguments],
        cwd=daemon.project,
        env=daemon.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def run_of(daemon: Daemon, pipeline: str) -> int:
    with daemon.connect() as dev:
        return int(dev.sync()["pipelines"][pipeline]["run"])


def test_status_and_sync(sales: ProjectOnDisk, watch: Watch, hamdev: Run) -> None:
    with watch("sales"):
        synced = hamdev("sync")
        assert (synced.returncode, synced.stderr) == (0, "")
        shown = hamdev("status")
        assert shown.returncode == 0
        assert shown.stdout == synced.stdout
        lines = shown.stdout.splitlines()
        assert lines[0] == "revision 1"
        assert lines[2] == "sales: idle · revision 1 · run 1"
        assert lines[3].split()[:2] == ["prices", "fresh"]
        assert lines[3].endswith("DataFrame 2 × 2: city, price")
        assert lines[4].split()[:2] == ["total", "fresh"]
        assert lines[4].endswith("6.5")
        status = json.loads(hamdev("status", "--json").stdout)
        assert status["pipelines"]["sales"]["nodes"]["total"]["state"] == "fresh"
        again = json.loads(hamdev("sync", "pipelines/sales.py", "--json").stdout)
        assert again | {"seq": 0} == status | {"seq": 0}  # the spare may have got ready meanwhile


def test_failure_is_shown_with_its_place_and_sync_ends_in_1(
    sales: ProjectOnDisk, watch: Watch, hamdev: Run
) -> None:
    with watch("sales"):
        assert hamdev("sync").returncode == 0
        file = sales.write("sales", SALES.replace('prices["price"]', 'prices["prize"]'))
        line = next(
            number
            for number, text in enumerate(file.read_text().splitlines(), start=1)
            if "prize" in text
        )
        synced = hamdev("sync")
        assert synced.returncode == 1
        assert f"pipelines/sales.py:{line}: in node 'total': KeyError: 'prize'" in synced.stdout
        assert 'return float(prices["prize"].sum())' in synced.stdout
        assert "(of revision 1) 6.5" in synced.stdout
        assert hamdev("status").returncode == 0


def test_sync_that_times_out_ends_in_5(sales: ProjectOnDisk, watch: Watch, hamdev: Run) -> None:
    sales.write("slow", "import time\ndef slow() -> int:\n    time.sleep(600)\n    return 1\n")
    with watch("slow"):
        ended = hamdev("sync", "--timeout", "0.1")
        assert (ended.returncode, ended.stdout) == (5, "")
        assert "0.1 s" in ended.stderr


def test_results(sales: ProjectOnDisk, watch: Watch, hamdev: Run) -> None:
    with watch("sales"):
        hamdev("sync")
        assert hamdev("result", "total").stdout == "6.5"
        assert hamdev("result", "total", "--format", "json", "--pipeline", "sales").stdout == "6.5"
        csv = "city,price\nOslo,2.5\nLima,4.0\n"
        assert hamdev("result", "prices", "--format", "csv").stdout == csv
        for name in ("prices.csv", "PRICES.CSV"):
            assert hamdev("result", "prices", "-o", name).stdout == ""
            assert (sales.root / name).read_text() == csv
        hamdev("result", "total", "-o", "total.txt")
        assert (sales.root / "total.txt").read_bytes() == b"6.5"
        piped = hamdev("result", "prices", "--format", "parquet", text=False).stdout
        assert piped.startswith(b"PAR1")
        hamdev("result", "prices", "-o", "prices.parquet")
        assert (sales.root / "prices.parquet").read_bytes() == piped
        hamdev("result", "prices", "-o", "prices.csv", "--format", "json")
        assert json.loads((sales.root / "prices.csv").read_text())[0] == {
            "city": "Oslo",
            "price": 2.5,
        }


def test_text_ends_with_a_newline_on_a_terminal(
    sales: ProjectOnDisk, watch: Watch, hamdev: Run
) -> None:
    with watch("sales"):
        hamdev("sync")
        ours, theirs = pty.openpty()
        try:
            hamdev("result", "total", capture_output=False, stdout=theirs)
            assert os.read(ours, 100) == b"6.5\r\n"
        finally:
            os.close(ours)
            os.close(theirs)


def test_results_that_there_are_not(sales: ProjectOnDisk, watch: Watch, hamdev: Run) -> None:
    with watch("sales"):
        hamdev("sync")
        for words, said in [
            (["result", "totl"], "'total'"),
            (["result", "total", "--format", "csv"], "json"),
            (["result", "total", "--pipeline", "sale"], "sales"),
            (["rerun", "totl"], "total"),
        ]:
            ended = hamdev(*words)
            assert (ended.returncode, ended.stdout) == (1, "")
            assert said in ended.stderr
        hamdev("result", "total", "--format", "csv", "-o", "kept.csv")
        assert not (sales.root / "kept.csv").exists()


def test_second_daemon_is_refused(sales: ProjectOnDisk, watch: Watch, hamdev: Run) -> None:
    with watch("sales") as daemon:
        ended = hamdev("watch", "sales")
        assert ended.returncode == 3
        assert f"pid {daemon.process.pid}" in ended.stderr
        assert hamdev("socket").stdout.strip() in ended.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_watch_ended_by_a_signal_is_fine(
    sales: ProjectOnDisk, watch: Watch, number: signal.Signals
) -> None:
    with watch("sales") as daemon:
        daemon.process.send_signal(number)
        assert daemon.process.wait(LIMIT_S) == 0


def test_stop_waits_until_the_daemon_has_gone(
    sales: ProjectOnDisk, watch: Watch, hamdev: Run
) -> None:
    with watch("sales") as daemon:
        ended = hamdev("stop")
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
        assert daemon.process.poll() == 0
        assert hamdev("status").returncode == 4


def test_rerun_prints_the_run(sales: ProjectOnDisk, watch: Watch, hamdev: Run) -> None:
    with watch("sales") as daemon:
        first = run_of(daemon, "sales")
        assert hamdev("rerun").stdout == f"{first + 1}\n"
        assert run_of(daemon, "sales") == first + 1
        again = hamdev("rerun", "total", "--clean", "--pipeline", "sales")
        assert int(again.stdout) > first + 1
        assert run_of(daemon, "sales") >= int(again.stdout)


def test_cancel(sales: ProjectOnDisk, watch: Watch, hamdev: Run) -> None:
    sales.write("slow", "import time\ndef slow() -> int:\n    time.sleep(600)\n    return 1\n")
    with watch("slow") as daemon, daemon.connect() as dev, dev.events(since=0) as events:
        next(event for event in events if event["type"] == "node.started")
        assert hamdev("cancel").returncode == 0
        ended = next(event for event in events if event["type"] == "run.finished")
        assert ended["outcome"] == "cancelled"


# -- events --------------------------------------------------------------------------------------


def test_events_one_object_a_line_until_the_daemon_stops(
    sales: ProjectOnDisk, watch: Watch, hamdev: Run
) -> None:
    with watch("sales") as daemon:
        hamdev("sync")
        with running(daemon, "events", "--since", "0") as process:
            assert process.stdout is not None
            lines = iter(process.stdout)
            kinds = set()
            for line in lines:
                kinds.add(json.loads(line)["type"])
                if "run.finished" in kinds:
                    break
            assert {"run.started", "node.finished", "output"} <= kinds
            hamdev("stop")
            assert all(json.loads(line) for line in lines)
            assert process.wait(LIMIT_S) == 0


def test_events_interrupted(sales: ProjectOnDisk, watch: Watch) -> None:
    with watch("sales") as daemon, running(daemon, "events") as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["type"] == "snapshot"
        process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT_S) == 130
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


def test_events_end_when_nobody_reads_them_though_nothing_happens(
    sales: ProjectOnDisk, watch: Watch, hamdev: Run
) -> None:
    with watch("sales") as daemon:
        hamdev("sync")
        with running(daemon, "events") as process:
            assert process.stdout is not None
            process.stdout.readline()
            process.stdout.close()
            assert process.wait(LIMIT_S) == 0
            assert process.stderr is not None
            assert process.stderr.read() == ""


def test_watch_prints_its_events(sales: ProjectOnDisk, environment: dict[str, str]) -> None:
    daemon = Daemon(sales.root, environment, "sales", "--json", stdout=subprocess.PIPE)
    try:
        assert daemon.process.stdout is not None
        events = map(json.loads, daemon.process.stdout)
        finished = next(event for event in events if event["type"] == "run.finished")
        assert finished["outcome"] == "ok"
    finally:
        daemon.end()


# -- run -----------------------------------------------------------------------------------------


def test_run_goes_through_the_daemon(sales: ProjectOnDisk, watch: Watch, hamdev: Run) -> None:
    with watch("sales") as daemon:
        before = run_of(daemon, "sales")
        for pipeline in ("sales", "pipelines.sales"):
            ended = hamdev("run", pipeline)
            assert (ended.returncode, ended.stdout) == (0, "total: 6.5\n")
            assert "reading prices" in ended.stderr
        assert json.loads(hamdev("run", "sales", "--json").stdout) == {"total": 6.5}
        assert run_of(daemon, "sales") == before + 3


def test_run_of_something_else_does_not(sales: ProjectOnDisk, watch: Watch, hamdev: Run) -> None:
    sales.write("dearer", "def surcharge() -> float: return 1.0\n")
    with watch("sales", "--with", "dearer") as daemon:
        before = run_of(daemon, "sales")
        served = hamdev("run", "sales", "--with", "pipelines.dearer", "--json")
        assert json.loads(served.stdout) == {"surcharge": 1.0, "total": 6.5}
        assert run_of(daemon, "sales") == before + 1
        for options in (["--final-var", "total"], ["--set", "a=1"], ["--input", "a=1"]):
            assert hamdev("run", "sales", *options).stdout == "total: 6.5\n"
        assert hamdev("run", "dearer").stdout == "surcharge: 1.0\n"
        assert run_of(daemon, "sales") == before + 1


def test_failing_run_says_the_same_with_a_daemon_and_without(
    sales: ProjectOnDisk, watch: Watch, hamdev: Run
) -> None:
    sales.write("sales", SALES.replace('prices["price"]', 'prices["prize"]'))
    alone = hamdev("run", "sales", "--log-level", "ERROR")
    with watch("sales"):
        served = hamdev("run", "sales")
    for ended in (alone, served):
        assert (ended.returncode, ended.stdout) == (1, "")
        assert "hamdev: the run of 'sales' failed\n" in ended.stderr
        assert "KeyError: 'prize'" in ended.stderr
        assert '    return float(prices["prize"].sum())\n' in ended.stderr
        assert "site-packages" not in ended.stderr


def test_run_follows_a_newer_save(sales: ProjectOnDisk, watch: Watch, hamdev: Run) -> None:
    slow = "import time\ndef slow() -> int:\n    time.sleep(600)\n    return 1\n"
    sales.write("slow", "def slow() -> int:\n    return 0\n")
    with watch("slow") as daemon, daemon.connect() as dev:
        dev.sync()
        sales.write("slow", slow)
        with dev.events() as events, running(daemon, "run", "slow") as process:
            asked = next(
                event
                for event in events
                if event["type"] == "run.started" and event["cause"]["kind"] == "rerun"
            )
            next(e for e in events if e["type"] == "node.started" and e["run"] == asked["run"])
            sales.write("slow", "def slow() -> int:\n    return 2\n")
            out, error = process.communicate(timeout=LIMIT_S)
            assert (process.returncode, out) == (0, "slow: 2\n"), error


def test_run_that_someone_cancels(sales: ProjectOnDisk, watch: Watch) -> None:
    sales.write("slow", "import time\ndef slow() -> int:\n    time.sleep(600)\n    return 1\n")
    with watch("slow") as daemon, daemon.connect() as dev, dev.events(since=0) as events:
        first = next(event for event in events if event["type"] == "node.started")
        with running(daemon, "run", "slow") as process:
            next(e for e in events if e["type"] == "node.started" and e["run"] > first["run"])
            dev.cancel()
            out, error = process.communicate(timeout=LIMIT_S)
            assert (process.returncode, out) == (1, "")
            assert "the run of 'slow' was cancelled" in error


def test_clients_that_are_answered_import_little(
    sales: ProjectOnDisk, watch: Watch, hamdev: Run
) -> None:
    heavy = {"hamilton", "pandas", "numpy", "msgspec", "anyio", "asyncio", "rich", "structlog"}
    with watch("sales") as daemon:
        hamdev("sync")
        for words in (["status"], ["status", "--json"], ["result", "total"], ["rerun"]):
            script = (
                "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr));"
                f"sys.argv = {['hamdev', *words]!r};"
                "from hamdev.clients.cli import main; main()"
            )
            ended = subprocess.run(
                [sys.executable, "-c", script],
                cwd=sales.root,
                env=daemon.environment,
                capture_output=True,
                text=True,
                timeout=LIMIT_S,
                check=True,
            )
            modules = {name.partition(".")[0] for name in ended.stderr.split()}
            assert modules.isdisjoint(heavy), words


def test_why_a_node_ran_and_another_was_reused(
    sales: ProjectOnDisk, watch: Watch, hamdev: Run
) -> None:
    with watch("sales"):
        hamdev("sync")
        assert "total ran, because\n  there is no value of it yet" in hamdev("why", "total").stdout
        sales.write("sales", SALES.replace('["price"].sum()', '["price"].max()'))
        hamdev("sync")
        ran = hamdev("why", "total").stdout
        assert ran.startswith("total ran, because\n  function total in ")
        assert "pipelines/sales.py:8 changed" in ran
        assert hamdev("why", "prices").stdout == (
            "prices was reused, because\n  nothing that it depends on has changed since run 1\n"
        )
        step = json.loads(hamdev("why", "total", "--json").stdout)
        assert (step["node"], step["action"], step["because"][0]["line"]) == ("total", "run", 8)
        unknown = hamdev("why", "totl")
        assert unknown.returncode == 1
        assert "did you mean 'total'?" in unknown.stderr
