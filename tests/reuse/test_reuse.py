"""What runs after which edit, and what is then served."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from worker_process import Ran, WorkerProcess

if TYPE_CHECKING:
    from tests.conftest import ProjectOnDisk

PIPELINE = '''
"""A pipeline."""
from setup import RATE, scaled
def root() -> int:
    """The root."""
    return 10
def middle(root: int) -> int:
    return scaled(root) % 2
def leaf(middle: int) -> str:
    return f"{middle} of {RATE}"
def side(root: int) -> int:
    return root + 1
'''
SETUP = "RATE = 2\ndef scaled(x):\n    return x * RATE\n"


@pytest.fixture
def edit(project: ProjectOnDisk, worker: WorkerProcess) -> Callable[..., Ran]:
    """Writes files, runs, and checks everything that is served."""

    def edit(*, breaks: bool = False, fails: bool = False, **texts: str) -> Ran:
        for name, text in texts.items():
            project.write(name if name == "main" else f"{name}.py", text)
        found = worker.run()
        worker.check(found, may_fail=breaks or fails)
        assert bool(found.problems) == breaks, found.problems
        return found

    return edit


class TestWhatRuns:
    def test_nothing_runs_if_nothing_changed(self, edit: Callable[..., Ran]) -> None:
        assert set(edit(main=PIPELINE, setup=SETUP).ran) == {"root", "middle", "leaf", "side"}
        found = edit()
        assert found.ran == []
        assert {step.action for step in found.plan.values()} == {"reuse"}

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("def root", "# a comment\ndef root"),
            ('"""The root."""', '"""Another text."""'),
            ('"""A pipeline."""', '"""More of it."""'),
            ("    return root + 1", "    return (\n        root\n        + 1\n    )"),
            ("'''", "'''"),
            ("def side(root: int) -> int:", "def side(\n    root: int,\n) -> int:"),
            ('f"{middle} of {RATE}"', "f'{middle} of {RATE}'"),
        ],
    )
    def test_comments_docstrings_and_formatting_run_nothing(
        self, edit: Callable[..., Ran], before: str, after: str
    ) -> None:
        edit(main=PIPELINE, setup=SETUP)
        assert edit(main=PIPELINE.replace(before, after)).ran == []

    def test_definitions_in_another_order_run_nothing(self, edit: Callable[..., Ran]) -> None:
        edit(main=PIPELINE, setup=SETUP)
        first, *functions = re.split("(?m)^(?=def )", PIPELINE)
        assert edit(main="".join([first, *reversed(functions)])).ran == []

    def test_a_leaf_runs_alone(self, edit: Callable[..., Ran]) -> None:
        edit(main=PIPELINE, setup=SETUP)
        assert edit(main=PIPELINE.replace("root + 1", "root + 2")).ran == ["side"]

    def test_a_value_that_stays_equal_ends_the_run(self, edit: Callable[..., Ran]) -> None:
        edit(main=PIPELINE, setup=SETUP)
        found = edit(main=PIPELINE.replace("return 10", "return 12"))
        assert found.ran == ["root", "middle", "side"]
        assert found.recalled == ["leaf"]
        assert found.plan["leaf"].action == "run"

    def test_a_value_of_another_type_does_not(self, edit: Callable[..., Ran]) -> None:
        text = "def a() -> object:\n    return 1\ndef b(a: object) -> str:\n    return repr(a)\n"
        edit(main=text)
        assert edit(main=text.replace("return 1", "return True")).ran == ["a", "b"]
        assert edit(main=text.replace("return 1", "return 1.0")).ran == ["a", "b"]

    def test_a_helper_runs_its_users(self, edit: Callable[..., Ran]) -> None:
        edit(main=PIPELINE, setup=SETUP)
        found = edit(setup=SETUP.replace("RATE = 2", "RATE = 3"))
        assert set(found.ran) == {"middle", "leaf"}
        assert "constant RATE" in found.reasons("leaf")

    def test_an_edit_that_is_undone(self, edit: Callable[..., Ran]) -> None:
        edit(main=PIPELINE, setup=SETUP)
        assert edit(main=PIPELINE.replace("root + 1", "root + 2")).ran == ["side"]
        assert edit(main=PIPELINE).ran == ["side"]
        assert edit(breaks=True, main=PIPELINE + "def broken(:\n").problems[0].kind == "syntax"
        assert edit(main=PIPELINE).ran == []
        assert edit(breaks=True, main=PIPELINE + "raise ValueError\n").problems
        assert edit(main=PIPELINE).ran == []

    def test_a_node_that_fails_and_is_repaired(self, edit: Callable[..., Ran]) -> None:
        edit(main=PIPELINE, setup=SETUP)
        found = edit(fails=True, main=PIPELINE.replace("return 10", "return 1 / 0"))
        assert set(found.failed) == {"root"}
        assert found.blocked == {"middle", "leaf", "side"}
        assert edit(main=PIPELINE).ran == []

    def test_one_leaf_among_a_thousand_nodes(
        self, edit: Callable[..., Ran], worker: WorkerProcess
    ) -> None:
        nodes = ["def n0() -> int:\n    return 1\n"]
        nodes += [
            f"def n{i}(n{(i - 1) // 3}: int) -> int:\n    return n{(i - 1) // 3} + {i}\n"
            for i in range(1, 1000)
        ]
        assert len(edit(main="".join(nodes)).ran) == 1000
        nodes[-1] = nodes[-1].replace("+ 999", "+ 1")
        assert edit(main="".join(nodes)).ran == ["n999"]
        nodes.insert(0, "# comment\n")
        assert edit(main="".join(nodes)).ran == []

    def test_inputs_and_config(self, edit: Callable[..., Ran], worker: WorkerProcess) -> None:
        text = """
        from hamilton.function_modifiers import config
        def a(x: int) -> int:
            return x
        @config.when(mode="one")
        def b__one() -> int:
            return 1
        @config.when(mode="two")
        def b__two() -> int:
            return 2
        def c(mode: str) -> str:
            return mode
        def d() -> int:
            return 4
        """
        worker.inputs, worker.config = {"x": 1}, {"mode": "one"}
        edit(main=text)
        worker.inputs = {"x": 2}
        assert edit().ran == ["a"]
        worker.config = {"mode": "two"}
        assert set(edit().ran) == {"b", "c"}
        worker.config = {"mode": "two", "unused": 1}
        assert edit().ran == []

    def test_two_pipelines_that_share_a_module(
        self, project: ProjectOnDisk, worker: WorkerProcess
    ) -> None:
        project.write("setup.py", SETUP)
        project.write("main", PIPELINE)
        second = "from setup import scaled\ndef other() -> int:\n    return scaled(1)\n"
        project.write("second", second)

        def run(pipeline: str) -> set[str]:
            worker.pipeline = pipeline
            found = worker.run()
            worker.check(found)
            return set(found.ran)

        assert run("main") == {"root", "middle", "leaf", "side"}
        assert run("second") == {"other"}
        project.write("setup.py", SETUP.replace("x * RATE", "x * RATE + 1"))
        assert run("second") == {"other"}
        assert run("main") == {"middle", "leaf"}
        assert run("second") == set()
        project.write("setup.py", SETUP)
        assert run("main") == {"middle", "leaf"}
        project.write("second", second.replace("(1)", "(2)"))
        assert run("second") == {"other"}

    def test_a_node_that_moves_to_a_module_of_its_own(
        self, edit: Callable[..., Ran], worker: WorkerProcess, project: ProjectOnDisk
    ) -> None:
        edit(main=PIPELINE, setup=SETUP)
        worker.additional = ("more",)
        project.write("more", "def side(root: int) -> int:\n    return root + 1\n")
        found = edit(main=PIPELINE.split("def side")[0])
        assert set(found.ran) <= {"side"}

    def test_a_later_module_wins_and_lets_go(
        self, edit: Callable[..., Ran], worker: WorkerProcess, project: ProjectOnDisk
    ) -> None:
        worker.additional = ("more",)
        project.write("more", "def side() -> int:\n    return 77\n")
        edit(main=PIPELINE, setup=SETUP)
        assert worker.value("side") == 11
        edit(main=PIPELINE.split("def side")[0])
        assert worker.value("side") == 77


class TestClasses:
    TEXT = """
from dataclasses import dataclass
@dataclass
class Point:
    x: int
    def twice(self):
        return self.x * 2
class Unrelated:
    V = 1
MISSING = object()
"""
    MAIN = """
from shapes import MISSING, Point, Unrelated
def point() -> Point:
    return Point(3)
def seen(point: Point) -> list:
    return [isinstance(point, Point), type(point) is Point, point.twice()]
def unrelated() -> int:
    return Unrelated.V
def nothing() -> object:
    return MISSING
def is_nothing(nothing: object) -> list:
    return [nothing is MISSING]
"""

    def test_values_of_a_class_survive_an_edit_beside_it(self, edit: Callable[..., Ran]) -> None:
        edit(main=self.MAIN, shapes=self.TEXT)
        assert edit(shapes=self.TEXT.replace("V = 1", "V = 2")).ran == ["unrelated"]
        found = edit(main=self.MAIN.replace("point.twice()]", "point.twice(), 1]"))
        assert found.ran == ["seen"]

    def test_values_of_a_changed_class_are_made_again(
        self, edit: Callable[..., Ran], worker: WorkerProcess
    ) -> None:
        edit(main=self.MAIN, shapes=self.TEXT)
        found = edit(shapes=self.TEXT.replace("self.x * 2", "self.x * 3"))
        assert set(found.ran) == {"point", "seen"}
        assert worker.value("seen") == [True, True, 9]

    def test_values_of_a_changed_class_are_made_again_though_it_is_passed_on(
        self, edit: Callable[..., Ran], worker: WorkerProcess
    ) -> None:
        passing = "def passed(point: object) -> object:\n    return [point]\n"
        passing += "def last(passed: object) -> int:\n    return passed[0].twice()\n"
        edit(main=self.MAIN + passing, shapes=self.TEXT)
        found = edit(shapes=self.TEXT.replace("self.x * 2", "self.x * 3"))
        assert set(found.ran) == {"point", "seen", "passed", "last"}
        assert worker.value("last") == 9

    def test_a_sentinel_survives(self, edit: Callable[..., Ran]) -> None:
        edit(main=self.MAIN, shapes=self.TEXT)
        edit(shapes=self.TEXT.replace("V = 1", "V = 2"))
        changed = edit(main=self.MAIN.replace("nothing is MISSING]", "nothing is MISSING, 1]"))
        assert "is_nothing" in changed.ran

    def test_a_sentinel_survives_a_broken_edit(self, edit: Callable[..., Ran]) -> None:
        edit(main=self.MAIN, shapes=self.TEXT)
        edit(breaks=True, shapes=self.TEXT + "raise ValueError\n")
        edit(shapes=self.TEXT)
        edit(main=self.MAIN.replace("nothing is MISSING]", "nothing is MISSING, 1]"))

    def test_tracebacks_of_functions_that_moved_name_their_lines(
        self, edit: Callable[..., Ran]
    ) -> None:
        text = """
        def _helper(x):
            if x:
                raise ValueError("told")
            return 1
        def a() -> int:
            return _helper(0)
        def b() -> int:
            return 2
        """
        text = textwrap.dedent(text)
        edit(main=text)
        moved = "# one\n" * 7 + text.replace("def a()", "# more\ndef a()")
        edit(main=moved)
        found = edit(fails=True, main=moved.replace("return 2", "return _helper(1)"))
        failed = found.failed["b"]
        assert failed.traceback is not None
        assert 'raise ValueError("told")' in failed.traceback
        assert "return _helper(1)" in failed.traceback


class TestValues:
    def test_values_without_a_fingerprint_are_never_equal(self, edit: Callable[..., Ran]) -> None:
        text = """
        def lock() -> object:
            import threading
            return threading.Lock()
        def b(lock: object) -> int:
            return 1
        def c(b: int) -> int:
            return b
        """
        edit(main=text)
        assert edit().ran == []
        found = edit(main=text.replace("Lock()", "RLock()"))
        assert found.ran == ["lock", "b"]
        assert found.recalled == ["c"]

    def test_values_that_cannot_be_hashed_or_pickled(self, edit: Callable[..., Ran]) -> None:
        text = """
        class _Odd:
            __hash__ = None
            def __eq__(self, other):
                raise RuntimeError("do not compare")
            def __reduce__(self):
                raise RuntimeError("do not pickle")
            def __repr__(self):
                raise RuntimeError("do not show")
        def odd() -> object:
            return _Odd()
        def function() -> object:
            return lambda x: x
        def below(odd: object, function: object) -> int:
            return function(1)
        def other() -> int:
            return 1
        """
        edit(main=text)
        found = edit(main=text.replace("return 1\n", "return 2\n"))
        assert found.ran == ["other"], {n: found.reasons(n) for n in found.nodes}
        found = edit(main=text.replace("lambda x: x", "lambda x: x + 1"))
        assert {"function", "below"} <= set(found.ran)

    def test_nan_is_equal_to_itself(self, edit: Callable[..., Ran]) -> None:
        text = (
            "def a() -> float:\n    x = 1\n    return float('nan')\n"
            "def b(a: float) -> str:\n    return str(a)\n"
        )
        edit(main=text)
        found = edit(main=text.replace("x = 1", "x = 2"))
        assert found.recalled == ["b"]
