"""Files that are read once and held on to: by modules as they are loaded, and by caches."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from worker_process import WorkerProcess

from hamdev.content import MAX_HASHED_BYTES

if TYPE_CHECKING:
    from tests.conftest import ProjectOnDisk

# Of each, `TEXT` or `text()` is what data/in.csv holds; no text names the whole path.
ONCE = {
    "a thread": """
        import threading
        FOUND = []
        def _read():
            FOUND.append(open(PATH).read())
        _thread = threading.Thread(target=_read)
        _thread.start()
        _thread.join()
        TEXT = FOUND[0]
        """,
    "a pool of threads": """
        from concurrent.futures import ThreadPoolExecutor
        with ThreadPoolExecutor() as _pool:
            TEXT = list(_pool.map(lambda path: open(path).read(), [PATH]))[0]
        """,
    "a pool that calls a library": """
        from concurrent.futures import ThreadPoolExecutor
        from pathlib import Path
        with ThreadPoolExecutor() as _pool:
            TEXT = _pool.submit(Path.read_text, Path(PATH)).result()
        """,
    "a thread of a helper": """
        from helpers import in_thread
        TEXT = in_thread(PATH)
        """,
    "lru_cache on a method": """
        from functools import lru_cache
        class Loader:
            @lru_cache
            def load(self):
                return open(PATH).read()
        LOADER = Loader()
        def _text():
            return LOADER.load()
        """,
    "cache on a static method": """
        from functools import cache
        class Loader:
            @staticmethod
            @cache
            def load():
                return open(PATH).read()
        def _text():
            return Loader.load()
        """,
    "cache on a class method": """
        from functools import cache
        class Loader:
            @classmethod
            @cache
            def load(cls):
                return open(PATH).read()
        def _text():
            return Loader.load()
        """,
    "cached_property": """
        from functools import cached_property
        class Loader:
            @cached_property
            def content(self):
                return open(PATH).read()
        LOADER = Loader()
        def _text():
            return LOADER.content
        """,
    "cached_property of a class attribute": """
        from functools import cached_property
        class Inner:
            @cached_property
            def content(self):
                return open(PATH).read()
        class Outer:
            inner = Inner()
        def _text():
            return Outer.inner.content
        """,
    "lru_cache of another name": """
        from functools import lru_cache
        def _load():
            return open(PATH).read()
        _cached = lru_cache(_load)
        def _text():
            return _cached()
        """,
    "lru_cache of a lambda": """
        from functools import lru_cache
        _cached = lru_cache(lambda: open(PATH).read())
        def _text():
            return _cached()
        """,
    "lru_cache of a library's function": """
        from functools import lru_cache
        from pathlib import Path
        _read = lru_cache(Path.read_text)
        def _text():
            return _read(Path(PATH))
        """,
    "lru_cache of a helper elsewhere": """
        from functools import lru_cache
        import helpers
        _cached = lru_cache(helpers.load)
        def _text():
            return _cached(PATH)
        """,
    "lru_cache in a closure": """
        from functools import lru_cache
        def _make():
            @lru_cache
            def _load():
                return open(PATH).read()
            return _load
        _load = _make()
        def _text():
            return _load()
        """,
    "lru_cache below a decorator": """
        from functools import lru_cache, wraps
        def _logged(fn):
            @wraps(fn)
            def inner(*args):
                return fn(*args)
            return inner
        @_logged
        @lru_cache
        def _load():
            return open(PATH).read()
        def _text():
            return _load()
        """,
    "lru_cache in a dictionary": """
        from functools import lru_cache
        def _load():
            return open(PATH).read()
        LOADERS = {"text": lru_cache(_load)}
        def _text():
            return LOADERS["text"]()
        """,
    "lru_cache and a helper": """
        from functools import lru_cache
        from helpers import load
        @lru_cache
        def _cached():
            return load(PATH)
        def _text():
            return _cached()
        """,
    "lru_cache and a thread": """
        from functools import lru_cache
        from helpers import in_thread
        @lru_cache
        def _cached():
            return in_thread(PATH)
        def _text():
            return _cached()
        """,
    "lru_cache and a generator": """
        from functools import lru_cache
        def _lines():
            yield from open(PATH)
        @lru_cache
        def _cached():
            return "".join(_lines())
        def _text():
            return _cached()
        """,
    "two caches": """
        from functools import lru_cache
        @lru_cache
        def _inner():
            return open(PATH).read()
        @lru_cache
        def _outer():
            return _inner()
        def _text():
            return _outer()
        """,
    "a cached function while the module is loaded": """
        from functools import lru_cache
        @lru_cache
        def _load():
            return open(PATH).read()
        TEXT = _load()
        """,
    "a cached function while the module is loaded, and later": """
        from functools import lru_cache
        @lru_cache
        def _load():
            return open(PATH).read()
        FIRST = _load()
        def _text():
            return _load()
        """,
    "a cached helper while the module is loaded": """
        import helpers
        TEXT = helpers.cached(PATH)
        """,
    "pkgutil": """
        import pkgutil
        TEXT = pkgutil.get_data("resources", "in.csv").decode()
        """,
    "importlib.resources": """
        from importlib import resources
        TEXT = resources.files("resources").joinpath("in.csv").read_text()
        """,
    "importlib.resources, a text": """
        from importlib import resources
        TEXT = resources.read_text("resources", "in.csv")
        """,
    "another folder": """
        import os
        import pandas as pd
        _before = os.getcwd()
        os.chdir("data")
        TEXT = pd.read_csv("in" + ".csv").to_dict("list")
        os.chdir(_before)
        """,
    "another folder, in Rust": """
        import os
        import polars as pl
        _before = os.getcwd()
        os.chdir("data")
        TEXT = pl.read_csv("in.csv").to_dict(as_series=False)
        os.chdir(_before)
        """,
    "a module's own attributes": """
        from lazy import TEXT
        """,
    "a module's own attributes, later": """
        import lazy
        def _text():
            return lazy.TEXT
        """,
    "a listing": """
        import os
        TEXT = sorted(os.listdir("data"))
        """,
    "a glob": """
        from pathlib import Path
        TEXT = sorted(map(str, Path("data").glob("*.csv")))
        """,
    "a file that may be missing": """
        try:
            TEXT = open(PATH + ".new").read()
        except FileNotFoundError:
            TEXT = "nothing"
        """,
    "whether there is a file": """
        import os
        TEXT = os.path.exists("data/in.csv.new")
        """,
    "whether there is a path": """
        from pathlib import Path
        NEW = Path("data") / "in.csv.new"
        TEXT = NEW.read_text() if NEW.exists() else "nothing"
        """,
    "an open file": """
        FILE = open(PATH)
        def _text():
            return FILE.read()
        """,
    "a reader of an open file": """
        import csv
        ROWS = csv.reader(open(PATH))
        def _text():
            return list(ROWS)
        """,
    "a child process": """
        import subprocess
        TEXT = subprocess.run(["cat", "data/in.csv"], stdout=subprocess.PIPE).stdout.decode()
        """,
    "a comprehension": """
        TEXT = [open(path).read() for path in [PATH]]
        """,
    "a condition": """
        if open(PATH).read() == "a,b\\n1,2\\n":
            TEXT = "yes"
        else:
            TEXT = "no"
        """,
    "an instance": """
        class Settings:
            def __init__(self):
                self.text = open(PATH).read()
        SETTINGS = Settings()
        def _text():
            return SETTINGS.text
        """,
    "an instance that reads later": """
        class Settings:
            def __init__(self):
                self._text = None
            @property
            def text(self):
                if self._text is None:
                    self._text = open(PATH).read()
                return self._text
        SETTINGS = Settings()
        def _text():
            return SETTINGS.text
        """,
    "exec": """
        exec("TEXT = open(PATH).read()")
        """,
}
NODES = """
def first() -> object:
    return {text}
def second(first: object) -> object:
    return [{text}, first]
def third() -> object:
    return [{text}]
"""


def _write(way: str, project: ProjectOnDisk) -> None:
    project.write(
        "helpers.py",
        """
        import threading
        from functools import lru_cache
        def load(path):
            return open(path).read()
        @lru_cache
        def cached(path):
            return open(path).read()
        def in_thread(path):
            found = []
            thread = threading.Thread(target=lambda: found.append(open(path).read()))
            thread.start()
            thread.join()
            return found[0]
        """,
    )
    project.write("lazy.py", "def __getattr__(name):\n    return open('data/' + 'in.csv').read()\n")
    body = textwrap.dedent(ONCE[way])
    text = "_text()" if "def _text" in body else "TEXT"
    project.write("main", "PATH = 'data/' + 'in.csv'\n" + body + NODES.format(text=text))


def _save(content: str, project: ProjectOnDisk) -> None:
    project.write("data/in.csv", content)
    project.write("resources/in.csv", content)
    project.write(f"data/{content.count('1')}.csv", "")
    new = project.root / "data/in.csv.new"
    new.unlink(missing_ok=True)
    if "2" in content:
        new.write_text(content)


@pytest.mark.parametrize("way", ONCE)
def test_what_is_read_once(
    way: str, project: ProjectOnDisk, start: Callable[..., WorkerProcess]
) -> None:
    project.write("resources/__init__.py", "")
    _save("a,b\n1,1\n", project)
    _write(way, project)
    worker = start()
    worker.check(worker.run())
    for content in ("a,b\n1,2\n", "a,b\n1,1\n", "a,b\n3,2\n"):
        _save(content, project)
        worker.check(worker.run())
    assert worker.run().ran == []
    # What is edited later finds what the others have found.
    project.write(
        "main", (project.root / "pipelines/main.py").read_text().replace("return [", "return ['', ")
    )
    worker.check(worker.run())
    _save("a,b\n1,2\n", project)
    worker.check(worker.run())


def test_only_who_uses_a_cache_runs_again(project: ProjectOnDisk, worker: WorkerProcess) -> None:
    project.write("data/in.csv", "1")
    project.write("data/own.csv", "1")
    text = """
    from functools import cache, lru_cache
    def _read(path):
        return open(path).read()
    @lru_cache
    def _load():
        return _read("data/" + "in.csv")
    _other = cache(lambda: "nothing")
    def user() -> str:
        return _load()
    def late_user(user: str) -> str:
        return _load() + user
    def reader() -> str:
        return _read("data/" + "own.csv")
    def neither() -> str:
        return "1"
    """
    project.write("main", text)
    worker.check(worker.run())
    project.write("data/own.csv", "2")
    found = worker.run()
    worker.check(found)
    assert found.ran == ["reader"]
    project.write("data/in.csv", "2")
    found = worker.run()
    worker.check(found)
    assert set(found.ran) == {"user", "late_user"}


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_database_that_is_open_at_the_top_level(
    mode: str, project: ProjectOnDisk, worker: WorkerProcess
) -> None:
    file = project.write("data/some.db", "")
    text = """
    import sqlite3
    DATABASE = sqlite3.connect("data/" + "some.db")
    ROWS = DATABASE.execute("select * from t").fetchall()
    def node() -> object:
        return ROWS
    def asked() -> object:
        return sqlite3.connect("data/" + "some.db").execute("select * from t").fetchall()
    """
    project.write("main", text)
    with contextlib.closing(sqlite3.connect(file)) as database:
        database.execute(f"pragma journal_mode={mode}")
        database.execute("create table t (a)")
        for number in range(4):
            database.execute(f"insert into t values ({number})")
            database.commit()
            worker.check(worker.run())
    worker.check(worker.run())  # who closes the last connection writes what was in the log
    found = worker.run()
    assert found.ran == [], found.reasons("asked")


@pytest.mark.parametrize("is_at_top_level", [True, False])
def test_a_large_file(is_at_top_level: bool, project: ProjectOnDisk, worker: WorkerProcess) -> None:
    file = project.write("data/large", "")
    os.truncate(file, MAX_HASHED_BYTES + 10)
    read = "open('data/' + 'large').read(1)"
    if is_at_top_level:
        project.write("main", f"FIRST = {read}\ndef node() -> str:\n    return FIRST\n")
    else:
        project.write("main", f"def node() -> str:\n    return {read}\n")
    worker.check(worker.run())
    for content in "abca":
        before = file.stat()
        with file.open("r+") as opened:
            opened.write(content)
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        worker.check(worker.run())


def test_a_file_that_a_module_reads_and_a_node_writes(
    project: ProjectOnDisk, worker: WorkerProcess
) -> None:
    file = project.write("data/count", "1")
    text = """
    from pathlib import Path
    COUNT = int(Path("data/count").read_text())
    def node() -> int:
        Path("data/count").write_text("5")
        return COUNT
    """
    project.write("main", text)
    worker.run()
    worker.check(worker.run())
    assert worker.run().ran == []
    file.write_text("7")
    assert worker.run().ran == ["node"]
    assert worker.value("node") == 7


def test_modules_that_are_loaded_by_their_paths(
    project: ProjectOnDisk, worker: WorkerProcess
) -> None:
    text = """
    import importlib.util
    from pathlib import Path
    FOUND = {}
    for path in sorted(Path("plugins").glob("*.py")):
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        FOUND[path.stem] = module.VALUE
    def found() -> dict:
        return dict(FOUND)
    """
    project.write("main", text)
    project.write("plugins/one.py", "VALUE = 1\n")
    worker.check(worker.run())
    project.write("plugins/two.py", "VALUE = 2\n")
    worker.check(worker.run())
    project.write("plugins/one.py", "VALUE = 10\n")
    worker.check(worker.run())
    assert worker.value("found") == {"one": 10, "two": 2}
