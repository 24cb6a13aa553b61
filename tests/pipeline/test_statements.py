"""A layout that shares statements with the one before is the layout of the whole text."""

from __future__ import annotations

import ast
import os
from typing import Any

from hypothesis import given, settings

from edited_texts import edits
from hamdev.core.imports import scan_imports
from hamdev.core.parsing import parse
from hamdev.pipeline.statements import Layout, read_layout


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


@settings(max_examples=int(os.environ.get("HAMDEV_EXAMPLES", "300")), deadline=None)
@given(edits())
def test_it_is_the_same(edit: tuple[str, str]) -> None:
    before, after = edit
    try:
        known = parse(before)
        parsed = parse(after, known)
    except SyntaxError:
        return
    layout = read_layout(known)
    found = read_layout(parsed, layout)
    assert described(found) == described(read_layout(parse(after)))
    for is_package in (False, True):
        assert found.imports("p.m", is_package) == scan_imports(after, "p.m", is_package)
    # And once more, from what was read in this way.
    assert described(read_layout(parse(before, parsed), found)) == described(layout)


def test_code_of_a_statement_that_moved_has_its_new_lines():
    text = "def a():\n    return 1\n\n\ndef b():\n    return 2\n\n\ndef c():\n    return 3\n"
    known = parse(text)
    before = read_layout(known)
    edited = parse(text.replace("return 2", "x = 2\n    return x"), known)
    after = read_layout(edited, before)
    assert after.statements[0] is before.statements[0]
    assert after.statements[2].first_line == 10
    code = after.compiled([after.statements[2]], "file.py")
    assert code.co_consts[0].co_firstlineno == 10
