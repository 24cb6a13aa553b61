"""Exceptions → problems: what happened, in the user's own file and line."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from hamdev.errors import StrayResultError
from hamdev.messages import NodePlace, Problem
from hamdev.pipeline.sources import read_source
from hamdev.worker.problems import MAX_MESSAGE, Describe

USER_CODE = """\
import json


def simple():
    raise ValueError("simple")


def chained():
    try:
        simple()
    except ValueError as error:
        raise KeyError("outer") from error


def handling():
    try:
        simple()
    except ValueError:
        raise KeyError("outer")


def hidden():
    try:
        simple()
    except ValueError:
        raise KeyError("outer") from None


def in_a_library():
    json.loads("{")


def deep(n=0):
    deep(n + 1)


def long():
    raise ValueError("x" * 100_000)


def noted():
    error = ValueError("noted")
    error.add_note("a note of the user's")
    raise error


def grouped():
    raise ExceptionGroup("several", [ValueError("one"), TypeError("two")])


def no_text():
    class Odd(Exception):
        def __str__(self):
            raise RuntimeError("no text")

    raise Odd


def syntax():
    compile("1 +", "<mine>", "exec")


def lone():
    raise ValueError("\\ud800")


def looped():
    error = ValueError("a")
    other = ValueError("b")
    error.__cause__ = other
    other.__cause__ = error
    raise error


def recursive_chain():
    error = None
    for number in range(5000):
        following = ValueError(number)
        following.__cause__ = error
        error = following
    raise error
"""


@pytest.fixture
def module(tmp_path: Path) -> ModuleType:
    file = tmp_path / "mine.py"
    file.write_text(USER_CODE)
    spec = importlib.util.spec_from_file_location("mine", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def problem(module: ModuleType, tmp_path: Path) -> Callable[[str], Problem]:
    describe = Describe(
        lambda file: file.startswith(str(tmp_path)), [read_source(str(module.__file__))]
    )

    def of(name: str) -> Problem:
        try:
            getattr(module, name)()
        except BaseException as error:
            place = NodePlace(file=module.__file__, line=1)
            return describe.node_problem(name, place, error)
        raise AssertionError(name)

    return of


def line_of(text: str) -> int:
    return USER_CODE[: USER_CODE.index(text)].count("\n") + 1


@pytest.mark.parametrize(
    ("name", "message", "place"),
    [
        ("simple", "ValueError: simple", 'raise ValueError("simple")'),
        ("chained", "KeyError: 'outer'", 'raise KeyError("outer") from error'),
        ("handling", "KeyError: 'outer'", 'raise KeyError("outer")\n'),
        ("hidden", "KeyError: 'outer'", 'raise KeyError("outer") from None'),
        ("in_a_library", "JSONDecodeError", "json.loads("),
        ("deep", "RecursionError", "deep(n + 1)"),
        ("noted", "a note of the user's", "raise error\n\n\ndef grouped"),
        ("grouped", "several", "raise ExceptionGroup"),
        ("no_text", "Odd", "raise Odd"),
        ("syntax", "SyntaxError", "compile("),
        ("lone", "ValueError", 'raise ValueError("\\ud800")'),
        ("looped", "ValueError: a", "raise error\n\n\ndef recursive_chain"),
        ("recursive_chain", "ValueError: 4999", "raise error\n"),
    ],
)
def test_message_and_place(
    problem: Callable[[str], Problem], module: ModuleType, name: str, message: str, place: str
) -> None:
    found = problem(name)
    assert message in found.message
    assert (found.kind, found.node, found.file) == ("node", name, module.__file__)
    if name != "recursive_chain":
        assert found.line == line_of(place)
    assert found.column is not None
    require_user_traceback(found, module)


def require_user_traceback(found: Problem, module: ModuleType) -> None:
    assert found.traceback is not None
    places = [line for line in found.traceback.splitlines() if line.startswith('  File "')]
    assert places[0].startswith(f'  File "{module.__file__}"')
    assert "hamdev" not in found.traceback
    assert "/hamilton/" not in found.traceback
    assert __file__ not in found.traceback
    assert len(found.traceback) <= 4 * MAX_MESSAGE + 1


def test_chains_are_shown_with_both_places(problem: Callable[[str], Problem]) -> None:
    for name, link in [
        ("chained", "direct cause of the following"),
        ("handling", "During handling of the above"),
    ]:
        text = problem(name).traceback
        assert text is not None
        assert link in text
        assert text.index("ValueError: simple") < text.index(link) < text.index("KeyError")
        assert text.count("Traceback (most recent call last):") == 2
        assert text.startswith("Traceback (most recent call last):")
    hidden = problem("hidden").traceback
    assert hidden is not None
    assert "ValueError" not in hidden


def test_long_texts_are_cut(problem: Callable[[str], Problem]) -> None:
    assert len(problem("long").message) <= MAX_MESSAGE + 1
    deep = problem("deep").traceback
    assert deep is not None
    assert len(deep.splitlines()) < 200


def test_what_no_user_frame_raised_has_the_node_s_place(tmp_path: Path) -> None:
    describe = Describe(lambda file: False, [])
    error: Any = ValueError("from nowhere")
    found = describe.node_problem("one", NodePlace(file="mine.py", line=7), error)
    assert (found.file, found.line) == ("mine.py", 7)
    assert found.message == "ValueError: from nowhere"


def test_what_we_say_ourselves_is_said_without_the_name_of_our_class(tmp_path: Path) -> None:
    error = StrayResultError("one", "node 'one' returned a generator")
    found = Describe(lambda file: False, []).node_problem("one", None, error)
    assert found.message == "node 'one' returned a generator"
