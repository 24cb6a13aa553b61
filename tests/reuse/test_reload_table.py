"""What module `a` has from module `b`, in each way that Python has for it, after `b` was edited."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest
from worker_process import WorkerProcess

if TYPE_CHECKING:
    from tests.conftest import ProjectOnDisk


class Case(NamedTuple):
    name: str
    before: str
    after: str
    imports: str
    expression: str
    values: tuple[object, object]


CASES = [
    Case("constant", "X = 1", "X = 2", "from b import X", "X", (1, 2)),
    Case("dict", "D = {'k': 1}", "D = {'k': 2}", "from b import D", "D['k']", (1, 2)),
    Case(
        "function",
        "def f():\n    return 1",
        "def f():\n    return 2",
        "from b import f",
        "f()",
        (1, 2),
    ),
    Case(
        "function with a default",
        "K = 1\ndef f(k=K):\n    return k",
        "K = 2\ndef f(k=K):\n    return k",
        "from b import f",
        "f()",
        (1, 2),
    ),
    Case(
        "function with a cache",
        "from functools import lru_cache\n@lru_cache\ndef f():\n    return 1",
        "from functools import lru_cache\n@lru_cache\ndef f():\n    return 2",
        "from b import f",
        "f()",
        (1, 2),
    ),
    Case(
        "what a function with a cache calls",
        (
            "from functools import lru_cache\ndef g():\n    return 1\n@lru_cache\n"
            "def f():\n    return g()"
        ),
        (
            "from functools import lru_cache\ndef g():\n    return 2\n@lru_cache\n"
            "def f():\n    return g()"
        ),
        "from b import f",
        "f()",
        (1, 2),
    ),
    Case(
        "class attribute",
        "class C:\n    V = 1",
        "class C:\n    V = 2",
        "from b import C",
        "C.V",
        (1, 2),
    ),
    Case(
        "method",
        "class C:\n    def m(self):\n        return 1",
        "class C:\n    def m(self):\n        return 2",
        "from b import C",
        "C().m()",
        (1, 2),
    ),
    Case(
        "value of an enum",
        "from enum import Enum\nclass E(Enum):\n    A = 1",
        "from enum import Enum\nclass E(Enum):\n    A = 2",
        "from b import E",
        "E.A.value",
        (1, 2),
    ),
    Case(
        "identity of an enum",
        "from enum import Enum\nclass E(Enum):\n    A = 1\ndef make():\n    return E.A",
        "from enum import Enum\nclass E(Enum):\n    A = 2\ndef make():\n    return E.A",
        "from b import E, make",
        "(make() is E.A, E.A.value)",
        ((True, 1), (True, 2)),
    ),
    Case(
        "derived constant",
        "X = 1\nY = X * 10",
        "X = 2\nY = X * 10",
        "from b import Y\nZ = Y + 1",
        "Z",
        (11, 21),
    ),
    Case("attribute of the module", "X = 1", "X = 2", "import b", "b.X", (1, 2)),
    Case("attribute under an alias", "X = 1", "X = 2", "import b as q", "q.X", (1, 2)),
    Case("star import", "X = 1", "X = 2", "from b import *", "X", (1, 2)),
]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_an_edit_is_seen_through_every_kind_of_import(
    case: Case, project: ProjectOnDisk, worker: WorkerProcess
) -> None:
    main = f"""{case.imports}
def seen() -> object:
    return {case.expression}
def below(seen: object) -> object:
    return ['below', seen]
def other() -> int:
    return 1
"""
    project.write("b.py", case.before + "\nUNRELATED = 1\n")
    project.file("main").write_text(main)
    assert set(worker.check(worker.run()).values) == {"seen", "below", "other"}
    assert worker.value("seen") == case.values[0]

    project.write("b.py", case.after + "\nUNRELATED = 1\n")
    found = worker.run()
    worker.check(found)
    assert worker.value("seen") == case.values[1]
    assert found.ran == ["seen", "below"]

    project.write("b.py", case.after + "\nUNRELATED = 2\n")
    found = worker.run()
    worker.check(found)
    assert found.ran == ([] if "*" not in case.imports else found.ran)


def test_a_removed_name_is_an_error_and_comes_back(
    project: ProjectOnDisk, worker: WorkerProcess
) -> None:
    project.write("b.py", "X = 1\ndef f():\n    return X\n")
    project.file("main").write_text(
        "from b import f\ndef seen() -> int:\n    return f()\ndef other() -> int:\n    return 1\n"
    )
    worker.check(worker.run())
    project.write("b.py", "def f():\n    return X\n")
    found = worker.run()
    worker.check(found, may_fail=True)
    assert set(found.failed) == {"seen"}
    assert found.ran == []
    project.write("b.py", "X = 1\ndef g():\n    return X\n")
    found = worker.run()
    assert [problem.kind for problem in found.problems] == ["import"]
    worker.check(found, may_fail=True)
    project.write("b.py", "X = 1\ndef f():\n    return X\n")
    found = worker.run()
    worker.check(found)
    assert found.ran == []
    assert worker.value("seen") == 1


def test_a_module_that_only_a_function_imports(
    project: ProjectOnDisk, worker: WorkerProcess
) -> None:
    text = "class C:\n    def m(self):\n        return 1\nN = 1\n"
    project.write("late.py", text)
    project.write(
        "main",
        """
        def a() -> object:
            from late import C
            return C()
        def b(a: object) -> list:
            from late import C, N
            return [isinstance(a, C), a.m(), N]
        def other() -> int:
            return 1
        """,
    )
    worker.check(worker.run())
    for before, after, ran in [
        ("N = 1", "N = 2", {"b"}),
        ("N = 2", "# comment\nN = 2", set()),
        ("return 1", "return 2", {"a", "b"}),
        ("N = 2", "N = 3", {"b"}),
    ]:
        text = text.replace(before, after)
        project.write("late.py", text)
        found = worker.run()
        worker.check(found)
        assert set(found.ran) == ran, (after, found.reasons("a"), found.reasons("b"))
    assert worker.value("b") == [True, 2, 3]


@pytest.mark.parametrize("breaks", ["from os import no_such_name\n", "N = = 1\n", "1 / 0\n"])
def test_a_broken_module_that_only_a_function_imports_leaves_the_others_alone(
    breaks: str, project: ProjectOnDisk, worker: WorkerProcess
) -> None:
    project.write("late.py", "N = 1\n")
    project.file("main").write_text(
        "def a() -> int:\n    import late\n    return late.N\ndef other() -> int:\n    return 1\n"
    )
    worker.check(worker.run())
    project.write("late.py", "N = 1\n" + breaks)
    found = worker.run()
    worker.check(found, may_fail=True)
    assert set(found.failed) == {"a"}
    project.write("late.py", "N = 2\n")
    worker.check(worker.run())
    assert worker.value("a") == 2


def test_a_definition_that_globals_replaces_is_not_executed_alone(
    project: ProjectOnDisk, worker: WorkerProcess
) -> None:
    text = "def f():\n    return 1\nglobals()['f'] = lambda: 2\n"
    project.write("b.py", text)
    project.file("main").write_text("from b import f\ndef seen() -> int:\n    return f()\n")
    worker.check(worker.run())
    project.write("b.py", "def g(): ...\n" + text)
    worker.check(worker.run())
    assert worker.value("seen") == 2


def test_a_package_that_imports_whatever_it_is_asked_for(
    project: ProjectOnDisk, worker: WorkerProcess
) -> None:
    project.write(
        "lazy/__init__.py",
        """
        import importlib
        def __getattr__(name):
            return importlib.import_module(f"lazy.{name}")
        def one():
            return len("1")
        """,
    )
    project.write("lazy/sub.py", "def two():\n    return 2\n")
    project.write(
        "main",
        """
        import lazy
        def a() -> int:
            return lazy.one() + lazy.sub.two()
        """,
    )
    worker.check(worker.run())
    project.write("lazy/sub.py", "def two():\n    return 3\n")
    worker.check(worker.run())
    assert worker.value("a") == 4


def test_classes_that_their_base_lists(project: ProjectOnDisk, worker: WorkerProcess) -> None:
    text = """
    class Base:
        pass
    class One(Base):
        VALUE = 1
    class Two(Base):
        VALUE = 2
    def kept() -> object:
        return One()
    def listed() -> list:
        return [kind.VALUE for kind in Base.__subclasses__()]
    """
    project.write("main", text)
    worker.check(worker.run())
    project.write("main", text.replace("VALUE = 1", "VALUE = 3"))
    worker.check(worker.run())
    assert worker.value("listed") == [3, 2]
