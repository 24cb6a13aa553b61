"""Files that nodes read are inputs; those that nodes write start nothing."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from worker_process import WorkerProcess

if TYPE_CHECKING:
    from tests.conftest import ProjectOnDisk

READERS = {
    "open": """
def read() -> object:
    with open("data/in.csv") as file:
        return file.read()
""",
    "pathlib": """
from pathlib import Path
def read() -> object:
    return Path("data/in.csv").read_text()
""",
    "csv": """
import csv
def read() -> object:
    with open("data/in.csv", newline="") as file:
        return list(csv.reader(file))
""",
    "a path that is an input": """
def path() -> str:
    return "data/in.csv"
def read(path: str) -> object:
    return open(path).read()
""",
    "a helper in another module": """
from helpers import load
def read() -> object:
    return load()
""",
    "pandas": """
import pandas as pd
def read() -> object:
    return pd.read_csv("data/in.csv").to_dict("list")
""",
    "pandas through pyarrow": """
import pandas as pd
def read() -> object:
    return pd.read_csv("data/in.csv", engine="pyarrow").to_dict("list")
""",
    "pyarrow": """
from pyarrow import csv
PATH = "data/in.csv"
def read() -> object:
    return csv.read_csv(PATH).to_pydict()
""",
    "polars": """
import polars as pl
def read() -> object:
    return pl.read_csv("data/in.csv").to_dict(as_series=False)
""",
    "polars, lazily": """
import polars as pl
from pathlib import Path
FOLDER = Path("data")
SOURCE = FOLDER / "in.csv"
def read() -> object:
    return pl.scan_csv(SOURCE).collect().to_dict(as_series=False)
""",
    "a path made of parts": """
import polars as pl
from pathlib import Path
FOLDER = Path("data")
def read() -> object:
    return pl.read_csv(FOLDER / "in.csv").to_dict(as_series=False)
""",
    "a thread": """
from concurrent.futures import ThreadPoolExecutor
def read() -> object:
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda p: open(p).read(), ["data/in.csv", "data/other.csv"]))
""",
    "an async function": """
async def read() -> object:
    return open("data/in.csv").read()
""",
    "a symbolic link": """
def read() -> object:
    return open("data/link.csv").read()
""",
    "mmap": """
import mmap
def read() -> object:
    with open("data/in.csv", "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as m:
        return m[:]
""",
    "os.open": """
import os
def read() -> object:
    descriptor = os.open("data/in.csv", os.O_RDONLY)
    try:
        return os.read(descriptor, 1000)
    finally:
        os.close(descriptor)
""",
}
REST = """
def below(read: object) -> str:
    return repr(read)
def other() -> int:
    return 1
"""


@pytest.mark.parametrize("reader", READERS)
def test_a_changed_file_runs_its_readers(
    reader: str, project: ProjectOnDisk, worker: WorkerProcess
) -> None:
    project.write("helpers.py", "def load():\n    return open('data/in.csv').read()\n")
    project.write("data/in.csv", "a,b\n1,2\n")
    project.write("data/other.csv", "x\n1\n")
    (project.root / "data/link.csv").symlink_to("in.csv")
    project.write("main", READERS[reader] + REST)
    first = worker.run()
    worker.check(first)
    assert not first.failed
    assert any(path.endswith(".csv") for path in first.files)
    project.write("data/in.csv", "a,b\n1,3\n")
    found = worker.run()
    worker.check(found)
    assert {"read", "below"} <= set(found.ran) <= {"path", "read", "below"}
    assert "data/in.csv" in found.reasons("read") or "data/link.csv" in found.reasons("read")
    (project.root / "data/in.csv").touch()
    assert worker.run().ran == []
    project.write("data/unread.csv", "1")
    assert worker.run().ran == []


def test_a_database(project: ProjectOnDisk, worker: WorkerProcess) -> None:
    (project.root / "data").mkdir()
    file = project.root / "data" / "store.db"

    def say(*statements: str) -> None:
        connection = sqlite3.connect(file)
        with connection:
            for statement in statements:
                connection.execute(statement)
        connection.close()

    say("create table t (n)", "insert into t values (1)")
    project.write(
        "main",
        """
        import sqlite3
        def read() -> list:
            connection = sqlite3.connect("data/store.db")
            try:
                return connection.execute("select n from t").fetchall()
            finally:
                connection.close()
        """,
    )
    worker.check(worker.run())
    assert worker.run().ran == []
    say("insert into t values (2)")
    found = worker.run()
    worker.check(found)
    assert found.ran == ["read"]


def test_a_folder_that_is_listed(project: ProjectOnDisk, worker: WorkerProcess) -> None:
    project.write("data/1.txt", "one")
    text = """
    import os
    from pathlib import Path
    def listed() -> list:
        return sorted(os.listdir("data"))
    def globbed() -> list:
        return sorted(p.read_text() for p in Path("data").glob("*.txt"))
    """
    project.write("main", text)
    worker.check(worker.run())
    assert worker.run().ran == []
    project.write("data/2.txt", "two")
    found = worker.run()
    worker.check(found)
    assert set(found.ran) == {"listed", "globbed"}
    project.write("data/2.txt", "zwei")
    found = worker.run()
    worker.check(found)
    assert found.ran == ["globbed"]
    (project.root / "data/1.txt").unlink()
    found = worker.run()
    worker.check(found)
    assert set(found.ran) == {"listed", "globbed"}


@pytest.mark.parametrize(
    "attempt",
    [
        (
            "try:\n        return open('data/may.txt').read()\n"
            "    except FileNotFoundError:\n        return ''"
        ),
        (
            "from pathlib import Path\n    file = Path('data/may.txt')\n"
            "    return file.read_text() if file.exists() else ''"
        ),
        (
            "import os\n"
            "    return open('data/may.txt').read() if os.path.exists('data/may.txt') else ''"
        ),
    ],
)
def test_a_file_that_appears_and_goes(
    attempt: str, project: ProjectOnDisk, worker: WorkerProcess
) -> None:
    project.write("data/x.txt", "")
    project.write("main", f"def read() -> str:\n    {attempt}\n")
    worker.check(worker.run())
    project.write("data/may.txt", "here")
    found = worker.run()
    worker.check(found)
    assert found.ran == ["read"]
    (project.root / "data/may.txt").unlink()
    found = worker.run()
    worker.check(found)
    assert found.ran == ["read"]


def test_questions_about_files_whose_names_are_worked_out(
    project: ProjectOnDisk, worker: WorkerProcess
) -> None:
    project.write("data/x.txt", "")
    text = """
    import os
    from pathlib import Path
    FOLDER = Path("data")
    LOADED = [n for n in range(2) if (FOLDER / f"may{n}.txt").exists()]
    def there() -> list:
        return [n for n in range(2) if (FOLDER / f"may{n}.txt").is_file()]
    def size(there: list) -> int:
        return sum(os.path.getsize(f"data/may{n}.txt") for n in there)
    def loaded() -> list:
        return LOADED
    """
    project.write("main", text)
    worker.check(worker.run())
    may = project.write("data/may1.txt", "here")
    found = worker.run()
    worker.check(found)
    assert set(found.ran) == {"there", "size", "loaded"}
    may.write_text("longer")
    found = worker.run()
    worker.check(found)
    assert "size" in found.ran
    may.unlink()
    found = worker.run()
    worker.check(found)
    assert set(found.ran) == {"there", "size", "loaded"}


def test_a_node_that_asks_for_what_it_makes_does_not_run_for_ever(
    project: ProjectOnDisk, worker: WorkerProcess
) -> None:
    text = """
    import os
    from pathlib import Path
    def made() -> int:
        os.makedirs("out/a", exist_ok=True)
        final = Path("out/a/final.txt")
        if not final.exists():
            Path("out/a/tmp.txt").write_text("1")
            os.replace("out/a/tmp.txt", final)
        return final.stat().st_size
    """
    project.write("main", text)
    worker.check(worker.run())
    assert worker.run().ran == []


def test_a_failed_node_runs_again_when_its_file_appears(
    project: ProjectOnDisk, worker: WorkerProcess
) -> None:
    project.write("main", "def read() -> str:\n    return open('data/may.txt').read()\n")
    assert set(worker.run().failed) == {"read"}
    project.write("data/may.txt", "here")
    found = worker.run()
    worker.check(found)
    assert found.ran == ["read"]


def test_what_one_node_writes_and_another_reads_does_not_run_for_ever(
    project: ProjectOnDisk, worker: WorkerProcess
) -> None:
    project.write("data/in.txt", "1")
    text = """
    from pathlib import Path
    def written() -> str:
        Path("data/out.txt").write_text(Path("data/in.txt").read_text() * 2)
        return "data/out.txt"
    def read(written: str) -> str:
        return open(written).read()
    """
    project.write("main", text)
    worker.check(worker.run())
    for _ in range(3):
        assert worker.run().ran == []
    project.write("data/in.txt", "2")
    found = worker.run()
    worker.check(found)
    assert set(found.ran) == {"written", "read"}
    assert worker.value("read") == "22"
    assert worker.run().ran == []


def test_a_file_that_its_only_node_reads_and_rewrites(
    project: ProjectOnDisk, worker: WorkerProcess
) -> None:
    project.write("data/count.txt", "0")
    project.write(
        "main",
        """
        from pathlib import Path
        def count() -> int:
            file = Path("data/count.txt")
            number = int(file.read_text()) + 1
            file.write_text(str(number))
            return number
        """,
    )
    assert worker.run().ran == ["count"]
    assert worker.run().ran == []


READS_SLOWLY = {
    "in Python": "open('data/in.txt').read()",
    "in Rust": "pl.read_csv('data/in.txt', has_header=False).to_dict(as_series=False)",
}


@pytest.mark.parametrize("way", READS_SLOWLY)
def test_a_file_that_changes_while_it_is_read_is_read_again(
    way: str, project: ProjectOnDisk, worker: WorkerProcess
) -> None:
    project.write("data/in.txt", "1")
    pipe = project.root / "pipe"
    os.mkfifo(pipe)
    text = f"""
    import polars as pl
    def read() -> object:
        value = {READS_SLOWLY[way]}
        with open("pipe") as pipe:
            pipe.read()
        return value
    """
    project.write("main", text)
    worker.begin_run()
    with pipe.open("w"):  # it is open when the node has opened it too
        project.write("data/in.txt", "2")
    assert worker.finish_run().ran == ["read"]
    worker.begin_run()
    with pipe.open("w"):
        pass
    assert worker.finish_run().ran == ["read"]
    assert "2" in str(worker.value("read"))
    assert worker.run().ran == []


def test_what_a_node_writes_in_rust_does_not_run_it_for_ever(
    project: ProjectOnDisk, worker: WorkerProcess
) -> None:
    text = """
    import polars as pl
    def written() -> str:
        pl.DataFrame({"a": [1]}).write_csv("data/out.csv")
        return "done"
    def read(written: str) -> object:
        return pl.read_csv("data/out.csv").to_dict(as_series=False)
    """
    (project.root / "data").mkdir()
    project.write("main", text)
    worker.check(worker.run())
    project.write("main", text.replace("[1]", "[2]"))
    worker.check(worker.run())
    worker.check(worker.run())
    for _ in range(3):
        assert worker.run().ran == []
    assert worker.value("read") == {"a": [2]}


@pytest.mark.parametrize("length", [1, 5000])
def test_changes_in_quick_succession_are_all_seen(
    length: int, project: ProjectOnDisk, worker: WorkerProcess
) -> None:
    project.write("main", "def read() -> str:\n    return open('data/in.txt').read()[:1]\n")
    file = project.write("data/in.txt", "x" * length)
    worker.run()
    for number in range(60):
        file.write_text(str(number % 10) * length)
        worker.run()
        assert worker.value("read") == str(number % 10)


def test_modules_and_bytecode_are_no_data(project: ProjectOnDisk, worker: WorkerProcess) -> None:
    project.write("late.py", "N = 1\n")
    project.write("main", "def a() -> int:\n    import late, json.tool\n    return late.N\n")
    found = worker.run()
    worker.check(found)
    project.write("late.py", "N = 1\n# comment\n")
    assert worker.run().ran == []
    project.write("late.py", "N = 2\n")
    found = worker.run()
    worker.check(found)
    assert found.ran == ["a"]


def test_the_text_of_the_project_itself_as_data(
    project: ProjectOnDisk, worker: WorkerProcess
) -> None:
    project.write("notes.md", "# one\n")
    project.write(
        "main",
        (
            "from pathlib import Path\ndef a() -> str:\n"
            "    return Path(__file__).parent.parent.joinpath('notes.md').read_text()\n"
        ),
    )
    worker.check(worker.run())
    project.write("notes.md", "# two\n")
    found = worker.run()
    worker.check(found)
    assert found.ran == ["a"]


AT_THE_TOP_LEVEL = {
    "an assignment": 'TEXT = open("data/in.csv").read()',
    "pathlib": 'from pathlib import Path\nTEXT = Path("data/in.csv").read_text()',
    "a helper": "def _load():\n    return open('data/in.csv').read()\nTEXT = _load()",
    "a helper elsewhere": "from helpers import load\nTEXT = load()",
    "another module's constant": "from constants import TEXT",
    "another module": "import constants\nTEXT = constants.TEXT + '!'",
    "with": 'with open("data/in.csv") as file:\n    TEXT = file.read()',
    "a loop": 'LINES = []\nfor line in open("data/in.csv"):\n    LINES.append(line)\nTEXT = "".join(LINES)',
    "a class": 'class C:\n    text = open("data/in.csv").read()\nTEXT = C.text',
    "a default": 'def _f(text=open("data/in.csv").read()):\n    return text\nTEXT = _f()',
    "pandas": 'import pandas as pd\nTEXT = pd.read_csv("data/in.csv").to_dict("list")',
    "polars": 'import polars as pl\nTEXT = pl.read_csv("data/in.csv").to_dict(as_series=False)',
    "polars, a path": (
        "import polars as pl\nfrom pathlib import Path\nPATH = Path('data') / 'in.csv'\n"
        "FRAME = pl.read_csv(PATH)\nTEXT = FRAME.to_dict(as_series=False)"
    ),
    "several names": 'TEXT, OTHER = open("data/in.csv").read(), 1',
    "an effect": (
        'import store\nstore.ITEMS.append(open("data/in.csv").read())\nTEXT = store.ITEMS'
    ),
    "a decorator": (
        "from hamilton.function_modifiers import parameterize, value\n"
        "import json\nTEXT = 1\n"
        "@parameterize(**{'made': {'v': value(open('data/in.csv').read())}})\n"
        "def made(v: object) -> object:\n    return v"
    ),
    "many lines": 'TEXT = dict(\n    a=1,\n    b=open(\n        "data/in.csv"\n    ).read(),\n)',
    "imported when it is needed": "from late import TEXT\n",
}


@pytest.mark.parametrize("way", AT_THE_TOP_LEVEL)
def test_what_a_module_reads_when_it_is_loaded(
    way: str, project: ProjectOnDisk, worker: WorkerProcess
) -> None:
    project.write("helpers.py", "def load():\n    return open('data/in.csv').read()\n")
    project.write("constants.py", "TEXT = open('data/in.csv').read()\n")
    project.write("store.py", "ITEMS = []\n")
    project.write("late.py", "TEXT = open('data/in.csv').read()\n")
    project.write("data/in.csv", "a,b\n1,2\n")
    nodes = "def node() -> object:\n    return TEXT\ndef below(node: object) -> str:\n    return repr(node)\n"
    if way == "imported when it is needed":
        nodes = nodes.replace("    return TEXT", "    from late import TEXT\n    return TEXT")
        nodes += "def again() -> object:\n    from late import TEXT\n    return TEXT\n"
        project.write("main", nodes)
    else:
        project.write("main", AT_THE_TOP_LEVEL[way] + "\n" + nodes)
    first = worker.run()
    worker.check(first)
    assert not first.failed
    assert any(path.endswith("in.csv") for path in first.files)
    for content in ("a,b\n1,3\n", "a,b\n1,2\n", "a,b\n3,3\n"):
        project.write("data/in.csv", content)
        found = worker.run()
        worker.check(found)
        assert found.ran
        assert worker.run().ran == []
    (project.root / "data/in.csv").touch()
    assert worker.run().ran == []


def test_only_what_depends_on_what_a_module_read_runs_again(
    project: ProjectOnDisk, worker: WorkerProcess
) -> None:
    project.write("data/in.csv", "1")
    project.write("data/other.csv", "1")
    text = """
    from pathlib import Path
    FOLDER = Path("data")
    RATE = int((FOLDER / "in.csv").read_text())
    OTHER = int((FOLDER / "other.csv").read_text())
    def rated() -> int:
        return RATE
    def other() -> int:
        return OTHER
    def neither() -> str:
        return str(FOLDER)
    """
    project.write("main", text)
    worker.check(worker.run())
    project.write("data/in.csv", "2")
    found = worker.run()
    worker.check(found)
    assert found.ran == ["rated"]
    assert "data/in.csv" in found.reasons("rated")
    project.write("data/other.csv", "2")
    found = worker.run()
    worker.check(found)
    assert found.ran == ["other"]


@pytest.mark.parametrize("cached", ["lru_cache", "by hand"])
def test_what_a_helper_has_read_and_keeps(
    cached: str, project: ProjectOnDisk, worker: WorkerProcess
) -> None:
    """Only the first node that calls it is seen to open the file."""
    helpers = {
        "lru_cache": """
            from functools import lru_cache
            @lru_cache
            def load(path):
                return open(path).read()
        """,
        "by hand": """
            CACHE = {}
            def load(path):
                if path not in CACHE:
                    CACHE[path] = open(path).read()
                return CACHE[path]
        """,
    }
    project.write("helpers.py", helpers[cached])
    project.write("data/in.csv", "1")
    text = """
    from helpers import load
    def first() -> str:
        return load("data/" + "in.csv")
    def second(first: str) -> str:
        return load("data/" + "in.csv") + first
    def third() -> str:
        return load("data/" + "in.csv")
    """
    project.write("main", text)
    worker.check(worker.run())
    for content in "23":
        project.write("data/in.csv", content)
        worker.check(worker.run())
    assert worker.run().ran == []


def test_a_slow_value_is_not_taken_from_the_disk_for_another_file(
    project: ProjectOnDisk, start: Callable[..., WorkerProcess]
) -> None:
    project.write("data/in.csv", "1")
    project.write(
        "main",
        "RATE = int(open('data/in.csv').read())\ndef slow() -> int:\n    return RATE * 1000\n",
    )
    worker = start(keep_slower_than_ms=0)
    worker.check(worker.run())
    worker.kill()
    project.write("data/in.csv", "2")
    worker = start(keep_slower_than_ms=0)
    found = worker.run()
    worker.check(found)
    assert found.ran == ["slow"]
    worker.kill()
    project.write("data/in.csv", "1")
    worker = start(keep_slower_than_ms=0)
    found = worker.run()
    worker.check(found)
    assert found.ran == []


def test_a_module_that_cannot_be_loaded_without_its_file(
    project: ProjectOnDisk, worker: WorkerProcess
) -> None:
    project.write(
        "main", "TEXT = open('data/in.csv').read()\ndef node() -> str:\n    return TEXT\n"
    )
    found = worker.run()
    assert found.problems
    file = str(project.root / "data/in.csv")
    assert found.files[file] is None
    project.write("data/in.csv", "here")
    found = worker.run()
    worker.check(found)
    assert found.ran == ["node"]


def test_a_file_that_changes_while_a_node_fails_on_it_is_read_again(
    project: ProjectOnDisk, worker: WorkerProcess
) -> None:
    """The value that the node had before, from the same content as now, says nothing of that."""
    file = project.write("data/in.txt", "1")
    pipe = project.root / "pipe"
    os.mkfifo(pipe)
    text = """
    def read() -> int:
        with open("data/in.txt") as file:
            found = file.read()
        {wait}
        return int(found)
    """
    project.write("main", text.format(wait="pass"))
    first = worker.run()
    worker.check(first)
    file.write_text("")
    project.write("main", text.format(wait="open('pipe').read()"))
    worker.begin_run()
    with pipe.open("w"):
        file.write_text("1")
    found = worker.finish_run()
    assert set(found.failed) == {"read"}
    assert found.files[str(file)] != first.files[str(file)]


def test_another_pipeline_that_waits_for_what_it_imports_is_not_forgotten(
    project: ProjectOnDisk, worker: WorkerProcess
) -> None:
    """What a module reads is found in a load that another module, not reached by it, waits for."""
    project.write("shared.py", "X = 1\n")
    project.write("data/in.txt", "1")
    project.write("other", "from shared import X\ndef other() -> int:\n    return X\n")
    text = "from shared import X\n{more}def node() -> int:\n    return X\n"
    project.write("main", text.format(more=""))
    assert worker.run().ran == ["node"]
    worker.pipeline = "other"
    assert worker.run().ran == ["other"]
    project.write("shared.py", "X = 2\n")
    project.write("main", text.format(more="TEXT = open('data/in.txt').read()\n"))
    worker.pipeline = "main"
    worker.check(worker.run())
    worker.pipeline = "other"
    found = worker.run()
    worker.check(found)
    assert found.ran == ["other"]
    assert worker.value("other") == 2
