"""`[watch] data`: files whose readers raise no event and name no path rerun their readers, too."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from worker_process import WorkerProcess

if TYPE_CHECKING:
    from tests.conftest import ProjectOnDisk

# Paths that no constant spells, so that only their opening tells.
FILE = '"".join(["da", "ta", "/", "in", ".", "csv"])'
FILES = '"".join(["da", "ta", "/", "*", ".", "csv"])'
READERS = {
    "in Rust": f"import polars as pl\ndef read() -> object:\n    return pl.read_csv({FILE}).rows()\n",
    "in Rust, several": (
        f"import polars as pl\ndef read() -> object:\n    return pl.read_csv({FILES}).rows()\n"
    ),
    "in Rust, later": (
        f"import polars as pl\ndef lazy() -> pl.LazyFrame:\n    return pl.scan_csv({FILE})\n"
        "def read(lazy: pl.LazyFrame) -> object:\n    return lazy.collect().rows()\n"
    ),
    "in C++": (
        f"from pyarrow import csv\ndef read() -> object:\n    return csv.read_csv({FILE}).to_pydict()\n"
    ),
    "a child process": (
        "import subprocess\ndef read() -> object:\n"
        f"    return subprocess.run(['cat', {FILE}], capture_output=True, check=True).stdout\n"
    ),
    "in Rust, while a module is loaded": (
        f"import polars as pl\nROWS = pl.read_csv({FILE}).rows()\n"
        "def read() -> object:\n    return ROWS\n"
    ),
}
REST = "def below(read: object) -> str:\n    return repr(read)\ndef other() -> int:\n    return 1\n"


@pytest.fixture
def worker(worker: WorkerProcess) -> WorkerProcess:
    worker.options = {"data": ("data/**/*.csv",)}
    return worker


@pytest.mark.parametrize("reader", READERS)
def test_readers_that_nobody_hears_of(
    reader: str, project: ProjectOnDisk, worker: WorkerProcess
) -> None:
    project.write("data/in.csv", "a,b\n1,2\n")
    project.write("data/below/unread.csv", "0")
    project.write("main", READERS[reader] + REST)
    nameless = frozenset({"lazy"})  # the representation of a query that was not executed
    worker.check(worker.run(), nameless)
    assert worker.run().ran == []
    for content in ("a,b\n1,3\n", "a,b\n1,2\n"):
        project.write("data/in.csv", content)
        found = worker.run()
        worker.check(found, nameless)
        assert {"read", "below"} <= set(found.ran) <= {"lazy", "read", "below"}
        assert "data/in.csv" in found.reasons("read" if "lazy" not in found.ran else "lazy")
        assert worker.run().ran == []
    project.write("data/below/unread.csv", "1")
    assert worker.run().ran == []


def test_a_file_that_is_added_to_a_folder_that_is_read(
    project: ProjectOnDisk, worker: WorkerProcess
) -> None:
    project.write("data/in.csv", "a,b\n1,2\n")
    project.write("data/deep/er/in.csv", "a,b\n0,0\n")
    project.write("main", READERS["in Rust, several"] + REST)
    worker.check(worker.run())
    project.write("data/more.csv", "a,b\n3,4\n")
    found = worker.run()
    worker.check(found)
    assert found.ran == ["read", "below"]
    (project.root / "data/more.csv").unlink()
    found = worker.run()
    worker.check(found)
    assert found.ran == ["read", "below"]
    project.write("data/deep/er/in.csv", "a,b\n5,5\n")
    assert worker.run().ran == []


def test_a_file_whose_absence_made_a_node_fail(
    project: ProjectOnDisk, worker: WorkerProcess
) -> None:
    project.write("main", READERS["in Rust"] + REST)
    (project.root / "data").mkdir()
    found = worker.run()
    assert set(found.failed) == {"read"}
    assert str(project.root / "data") in found.files  # so that the run is made at all
    project.write("data/in.csv", "a,b\n1,2\n")
    found = worker.run()
    worker.check(found)
    assert found.ran == ["read", "below"]


def test_a_file_that_the_pipeline_writes_runs_nothing_by_itself(
    project: ProjectOnDisk, worker: WorkerProcess
) -> None:
    (project.root / "data").mkdir()
    text = f"""
    import polars as pl
    def written() -> int:
        pl.DataFrame({{"a": [1]}}).write_csv({FILE})
        return 1
    def read(written: int) -> object:
        return pl.read_csv({FILE}).rows()
    """
    project.write("main", text)
    for _ in range(3):
        worker.check(worker.run())
    assert worker.run().ran == []


def test_what_is_ignored_is_no_data(project: ProjectOnDisk, worker: WorkerProcess) -> None:
    worker.options = {"data": ("data/**/*.csv",), "ignore": ("*.log", "data/old/")}
    text = """
    from pathlib import Path
    def log() -> str:
        return Path("run.log").read_text()
    def old() -> str:
        return Path("data/old/in.csv").read_text()
    def new() -> str:
        return Path("data/in.csv").read_text()
    """
    for name in ("run.log", "data/old/in.csv", "data/in.csv"):
        project.write(name, "1")
    project.write("main", text)
    found = worker.run()
    assert {Path(f).name for f in found.files} == {"main.py", "in.csv"}
    assert not any("old" in f for f in found.files)
    for name in ("run.log", "data/old/in.csv", "data/in.csv"):
        project.write(name, "2")
    assert worker.run().ran == ["new"]
