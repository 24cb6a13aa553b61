"""Definitions that take over what an edit left as it was are those of the whole text."""

from __future__ import annotations

from dataclasses import fields
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_projects import MODULES, random_statement

from edited_texts import PIECES, SURROUNDINGS, edits
from hamdev.core.definitions import Definitions, ModuleText, read_definitions
from hamdev.core.parsing import Parsed, parse
from hamdev.core.uses import Statement


def _read(
    text: str, before: tuple[Parsed, Definitions] | None = None, is_package: bool = False
) -> tuple[Parsed, Definitions]:
    module = ModuleText("p.m", "p/m.py", text, is_package)
    if before is None:
        parsed = parse(text)
        return parsed, read_definitions(module, parsed)
    parsed = parse(text, before[0])
    return parsed, read_definitions(module, parsed, before[1])


def _assert_same(found: Definitions, whole: Definitions) -> None:
    assert found == whole
    assert list(found.table) == list(whole.table)
    assert found.readings is not None
    assert whole.readings is not None
    assert found.readings.lines == whole.readings.lines
    for own, other in zip(found.readings.statements, whole.readings.statements, strict=True):
        assert {**_fields(own), "line": 0} == {**_fields(other), "line": 0}


def _fields(statement: Statement) -> dict[str, object]:
    return {field.name: getattr(statement, field.name) for field in fields(statement)}


def _check(texts: list[str]) -> None:
    known: tuple[Parsed, Definitions] | None = None
    for text in texts:
        try:
            whole = _read(text)
        except SyntaxError:
            continue
        known = _read(text, known)
        _assert_same(known[1], whole[1])


@settings(max_examples=500, deadline=None)
@given(edits([*PIECES, *SURROUNDINGS, *SURROUNDINGS]))
def test_odd_edits(edit: tuple[str, str]) -> None:
    before, after = edit
    _check([before, after, before])


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32), size=st.integers(1, 12))
def test_random_edits(seed: int, size: int) -> None:
    random = Random(seed)
    statements = [random_statement(random) for _ in range(size)]
    statements[:0] = [f"import {name}" for name in MODULES if random.random() < 0.3]
    texts = ["\n".join(statements) + "\n"]
    for _ in range(5):
        at = random.randrange(len(statements) + 1)
        inserted = [random_statement(random) for _ in range(random.randrange(3))]
        statements[at : at + random.randrange(3)] = inserted
        texts.append("\n".join(statements) + "\n")
    _check(texts)


@pytest.mark.parametrize("terms", [900, 2500])
def test_what_is_nested_too_deeply_may_move(terms: int) -> None:
    deep = f"if a:\n    x = {'+'.join(['a'] * terms)}\n"
    _check([f"a = 1\n{deep}", f"a = 1\nb = 2\n{deep}", f"{deep}a = 1\n"])


def test_a_module_may_become_a_package() -> None:
    text = "from . import a\nfrom .b import c\nd = a.e\n"
    known = _read(text)
    _assert_same(_read(text, known, is_package=True)[1], _read(text, is_package=True)[1])


@pytest.mark.parametrize(
    ("line", "user"),
    [
        ("import duckdb\n", "def f(x): return a.sql(x)\n"),
        ("len = print\n", "len(a)\n"),
        ("import sys as a\n", "def f(): return a.modules\n"),
        ("from pickle import load as a\n", "def f(x): return a(x)\n"),
        ("import random as a\n", "b = a.seed(1)\n"),
        ("from hamilton.function_modifiers import tag as a\n", "@a(b)\ndef f(): ...\n"),
    ],
)
def test_what_the_others_bind_counts(line: str, user: str) -> None:
    for first in (line + user, user + line):
        _check([user, first, user, "import other as a\n" + user, first])
        (alone,) = _statements(user)
        assert not any(_fields(s) == {**_fields(alone), "line": s.line} for s in _statements(first))


def _statements(text: str) -> list[Statement]:
    readings = _read(text)[1].readings
    assert readings is not None
    return readings.statements


def test_an_edit_leaves_the_other_statements_unread() -> None:
    text = "import a\n\ndef f(): return a.b\n\ndef g(): return 1\n\ndef h(): return 2\n"
    known = _read(text)
    _, body = _read(text.replace("return 1", "return 3"), known)
    _, moved = _read("import b\n" + text, known)
    _, bound = _read(text.replace("import a", "import b as a"), known)
    before = known[1].readings
    assert before is not None
    for after, expected in ((body, "g"), (moved, "b"), (bound, "a f")):
        assert after.readings is not None
        new = [s for s in after.readings.statements if not any(s is t for t in before.statements)]
        assert " ".join(name for s in new for name in s.binds) == expected
    assert body.table["f"] is known[1].table["f"]
    assert body.table["h"] is known[1].table["h"]
    assert moved.table["h"].line == known[1].table["h"].line + 1
