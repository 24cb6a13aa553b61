from __future__ import annotations

import sys

import pytest
from code_projects import codebase, read, version

from hamdev.core.definitions import ModuleText, read_definitions


def test_a_text_that_does_not_parse_is_a_syntax_error() -> None:
    with pytest.raises(SyntaxError):
        read("m", "def f(:\n")


def test_null_bytes_are_a_syntax_error() -> None:
    with pytest.raises(SyntaxError):
        read("m", "x = 1\0")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n# only a comment",
        "# -*- coding: latin-1 -*-\nx = 'ü'\n",
        "\ufeffx = 1\n",
        "\x0cx = 1\n\x0c",
        "if True:\n\tx = 1\n",
        "x = '\\udc80'\n",
        "x = '\\d'\n",
        "x = 1; y = 2; z = 3",
        "x = 1\r\ny = 2\r\n",
        "x: int\n",
        "(yield_ := 1)\n",
        "async def f():\n    async with a as b, c: pass\n    async for d in e: await d\n",
        "try: pass\nexcept* ValueError as e: pass\n",
        "lambda *a, b=1, **c: (a, b, c)\n",
        "def f(a, /, b, *, c): pass\n",
        "x[1:2, ..., ::3] = 1\n",
        "match 1:\n    case 1 | 2 as y: pass\n    case {'a': _, **r}: pass\n    case [*s]: pass\n",
    ],
)
def test_any_text_that_parses_is_read(text: str) -> None:
    definitions = read("m", text)
    codebase({"m": text})
    assert definitions.module == "m"


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the syntax is of Python 3.12")
def test_type_parameters_are_read() -> None:
    text = "type A[T] = list[T]\ndef f[T: A](x: T) -> T: return x\nclass C[T]: y: T\n"
    assert {"A", "f", "C"} <= read("m", text).table.keys()


@pytest.mark.parametrize("terms", [900, 2500, 10_000])
def test_an_expression_that_is_nested_too_deeply_counts_as_its_text(terms: int) -> None:
    text = f"a = 1\nx = {'+'.join(['a'] * terms)}\ndef f(): return x\n"
    longer = text.replace("x = a", "x = a+a")
    assert version(codebase(text), "f") == version(codebase(text), "f")
    assert version(codebase(text), "f") != version(codebase(longer), "f")
    assert version(codebase(text), "f") != version(codebase(text.replace("a = 1", "a = 2")), "f")


@pytest.mark.parametrize("depth", [50, 90])
def test_deeply_nested_brackets_are_read(depth: int) -> None:
    text = f"x = {'[' * depth}1{']' * depth}\ndef f(): return x\n"
    assert version(codebase(text), "f") != version(codebase(text.replace("1", "2")), "f")


def test_a_long_chain_of_elif_is_read() -> None:
    chain = "".join(f"elif A == {n}: X = {n}\n" for n in range(1, 500))
    text = "A = 3\nif A == 0: X = 0\n" + chain + "def f(): return X\n"
    assert version(codebase(text), "f") != version(codebase(text.replace("A = 3", "A = 4")), "f")


def test_a_definition_knows_its_kind_and_place() -> None:
    text = "import os\nX = 1\n\n@d\ndef f(): pass\nclass C: pass\ntry: Y = 1\nexcept E: Y = 2\n"
    table = read("m", text).table
    assert {name: (found.kind, found.line) for name, found in table.items()} == {
        "os": ("import", 1),
        "X": ("constant", 2),
        "f": ("function", 4),
        "C": ("class", 6),
        "Y": ("statements", 7),
    }


def test_uses_are_global_names_only() -> None:
    text = "def f(a, b=D):\n    c = a + G\n    return [d for d in c if H(d)]\n"
    names = {use.path[0] for use in read("m", text).table["f"].uses if use.how == "load"}
    assert names == {"D", "G", "H"}


def test_relative_imports_are_counted_from_the_package() -> None:
    module = ModuleText("p.q", "p/q/__init__.py", "from ..r import x\n", is_package=True)
    assert [target.module for target in read_definitions(module).imports] == ["p.r"]
    module = ModuleText("p.q", "p/q.py", "from .r import x\n", is_package=False)
    assert [target.module for target in read_definitions(module).imports] == ["p.r"]
