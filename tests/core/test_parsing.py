"""What is parsed from what differs in a text is what the whole text parses to."""

from __future__ import annotations

import ast
import copy

import pytest
from hypothesis import example, given, settings

from edited_texts import edits
from hamdev.core.parsing import Parsed, parse


def _described(parsed: Parsed) -> list[tuple[str, int, int]]:
    found = []
    for statement in parsed.statements:
        node = ast.increment_lineno(copy.deepcopy(statement.node), statement.offset)
        dump = ast.dump(node, include_attributes=True)
        found.append((dump, statement.first_line, statement.last_line))
    return found


@settings(max_examples=600, deadline=None)
@given(edits())
@example(("X = 1\nY = 2\n\\\n", "X = 2\nY = 2\n\\"))
@example(("X = 1\n", "X = 2\u2028"))
@example(("x = 1; y = (\n2)\n", "x = 1; y = (\n3)\n"))
def test_it_is_the_same(edit: tuple[str, str]) -> None:
    before, after = edit
    try:
        known = parse(before)
    except SyntaxError:
        return
    try:
        whole = parse(after)
    except SyntaxError:
        with pytest.raises(SyntaxError):
            parse(after, known)
        return
    found = parse(after, known)
    assert (found.text, found.lines) == (whole.text, whole.lines)
    assert _described(found) == _described(whole)
    # And once more, from what was parsed in this way.
    assert _described(parse(before, found)) == _described(known)


def test_unchanged_statements_are_the_same_objects() -> None:
    text = "def a():\n    return 1\n\n\ndef b():\n    return 2\n\n\ndef c():\n    return 3\n"
    before = parse(text)
    after = parse(text.replace("return 2", "x = 2\n    return x"), before)
    nodes = [statement.node for statement in after.statements]
    assert nodes[0] is before.statements[0].node
    assert nodes[1] is not before.statements[1].node
    assert nodes[2] is before.statements[2].node
    assert after.statements[2].first_line == 10
    assert after.segment(nodes[2], after.statements[2].offset) == "def c():\n    return 3"
