"""A layout that is read from what differs is the layout of the whole text."""

from __future__ import annotations

import ast
import os
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hamdev.core.imports import scan_imports
from hamdev.pipeline.statements import Layout, _edited, read_layout

PIECES = [
    "import a.b as c\n",
    "from . import d, e\n",
    "from __future__ import annotations\n",
    '"""Text."""\n',
    "X = 1\n",
    "Y = (\n    1,\n    2,\n)\n",
    "Z = 1; W = 2\n",
    "T = '''\ndef no(): ...\n'''\n",
    "V = 1 + \\\n    2\n",
    "def f(x: int) -> int:\n    global G\n    return c.y.z(x)\n",
    "@dec\n@other(1)\ndef g():\n    # indented\n    pass\n",
    "class K:\n    a = 1\n\n    def m(self):\n        import late\n        return exec\n",
    "if X:\n    Q = 1\nelse:\n    Q = 2\n",
    "try:\n    R = 1\nexcept E:\n    pass\n",
    "# a comment\n",
    "    # an indented comment\n",
    "\n",
]
LINES = [
    *(
        "else:\n",
        "    pass\n",
        "+ 3\n",
        "'''\n",
        "(\n",
        ")\n",
        "\\\n",
        "@dec\n",
        "\f\n",
        "# x \\\n",
    ),
    *("X = 2\n", "async def h(): ...\n", "\t1\n", "elif Y:\n    pass\n", "S = 1 \\\n", "x = '\n"),
    "from __future__ import division\n",
]


def described(layout: Layout) -> Any:
    statements = [
        (
            ast.dump(statement.placed(), include_attributes=True),
            statement.names,
            statement.is_plain,
            statement.first_line,
            statement.last_line,
            layout.text_of(statement),
        )
        for statement in layout.statements
    ]
    scans = [layout.imports("p.m", is_package) for is_package in (False, True)]
    return statements, scans, layout.lines, layout.flags, layout.globals, layout.unusual


@st.composite
def edits(draw: st.DrawFn) -> tuple[str, str]:
    before = "".join(draw(st.lists(st.sampled_from(PIECES), max_size=8)))
    lines = before.splitlines(keepends=True)
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(lines)))
        end = draw(st.integers(start, min(len(lines), start + 3)))
        lines[start:end] = draw(st.lists(st.sampled_from([*PIECES, *LINES]), max_size=2))
    after = "".join(lines)
    if draw(st.booleans()):
        after = after.rstrip("\n")
    return before, after


@settings(max_examples=int(os.environ.get("HAMDEV_EXAMPLES", "600")), deadline=None)
@given(edits())
def test_it_is_the_same(edit: tuple[str, str]) -> None:
    before, after = edit
    try:
        known = read_layout(before)
    except SyntaxError:
        return
    try:
        whole = read_layout(after)
    except SyntaxError:
        assert _edited(known, after) is None
        with pytest.raises(SyntaxError):
            read_layout(after, known)
        return
    found = read_layout(after, known)
    assert described(found) == described(whole)
    for is_package in (False, True):
        assert found.imports("p.m", is_package) == scan_imports(after, "p.m", is_package)
    # And once more, from what was read in this way.
    assert described(read_layout(before, found)) == described(known)


def test_unchanged_statements_are_the_same_objects():
    text = "def a():\n    return 1\n\n\ndef b():\n    return 2\n\n\ndef c():\n    return 3\n"
    before = read_layout(text)
    after = read_layout(text.replace("return 2", "x = 2\n    return x"), before)
    nodes = [statement.node for statement in after.statements]
    assert nodes[0] is before.statements[0].node
    assert nodes[1] is not before.statements[1].node
    assert nodes[2] is before.statements[2].node
    assert after.statements[2].first_line == 10
    code = after.compiled([after.statements[2]], "file.py")
    assert code.co_consts[0].co_firstlineno == 10
