"""What is shown of a save: the lines that differ, of the very content that was loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hamdev.content import content_digest
from hamdev.texts import MAX_COMPARED_LINES, KeptTexts, Replacement, replacements, text_with

LINES = st.lists(st.sampled_from(["a = 1", "b = 2", "", "    return a", "c"]), max_size=12)


def replaced(before: list[str], places: list[Replacement]) -> list[str]:
    """What a person gets who makes these replacements by hand, from the last to the first."""
    after = list(before)
    shift = sum(len(place.after) - len(place.before) for place in places)
    for place in reversed(places):
        shift -= len(place.after) - len(place.before)
        start = place.line - 1 - shift
        assert tuple(after[start : start + len(place.before)]) == place.before
        after[start : start + len(place.before)] = place.after
    return after


@given(before=LINES, after=LINES)
def test_replacements_lead_from_one_text_to_the_other(before: list[str], after: list[str]) -> None:
    places = replacements("\n".join(before), "\n".join(after))
    before, after = "\n".join(before).splitlines(), "\n".join(after).splitlines()
    assert replaced(before, places) == after
    for place in places:
        assert place.before != place.after


def test_equal_texts_have_no_replacements() -> None:
    assert replacements("a\nb\n", "a\nb\n") == []


@pytest.mark.parametrize("before", ["a\nb\n", ""])
def test_what_takes_too_long_to_compare_is_one_replacement(before: str) -> None:
    many = [f"x{number}" for number in range(MAX_COMPARED_LINES + 1)]
    after = before + "\n".join(many) + "\nend"
    [place] = replacements(before + "end", after)
    assert place == Replacement(len(before.splitlines()) + 1, (), tuple(many))


def test_lines_that_were_removed_are_where_they_would_be() -> None:
    assert replacements("a\nb\nc\n", "a\nc\n") == [Replacement(2, ("b",), ())]


def test_only_the_known_content_counts(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text("a = 1\n")
    digest = content_digest(str(file))
    assert text_with(digest, str(file), 100) == "a = 1\n"
    assert text_with(digest, str(file), 5) is None
    assert text_with(None, str(file), 100) is None
    file.write_text("a = 2\n")
    assert text_with(digest, str(file), 100) is None
    file.unlink()
    assert text_with(digest, str(file), 100) is None


def test_texts_are_kept_while_there_is_room() -> None:
    texts = KeptTexts(10)
    texts.keep("one", "12345")
    texts.keep("two", "12345")
    texts.keep("three", "1")
    assert "three" not in texts
    texts.keep("two", "1234567")
    assert texts.get("two") is None  # the text before is not the present one either
    texts.keep("three", "12345")
    assert texts.get("three") == "12345"
    texts.forget("one")
    texts.keep("two", "12345")
    assert (texts.get("one"), texts.get("two")) == (None, "12345")
    texts.forget_others(["two", "four"])
    assert (texts.get("two"), texts.get("three")) == ("12345", None)
