"""What looks half written: texts that writers leave for a moment, and texts that people mean."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hamdev.core.wholeness import MAX_BYTES, why_unfinished

TEXT = Path(__file__).read_bytes()
CONFLICT = """\
DOC = '''
<<<<<<< HEAD
one
=======
two
>>>>>>> theirs
'''
"""


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("a.py", b"x = 1\n"),
        ("a.py", b"x = 1"),
        ("a.py", b"# nothing but a comment\n"),
        ("a.py", b"\n"),
        ("a.py", "# -*- coding: latin-1 -*-\nx = 'ä'\n".encode("latin-1")),
        ("a.py", b"\xef\xbb\xbfx = 1\r\n"),
        ("a.py", b"'''\nTitle\n=======\n'''\n"),
        ("a.toml", b"[a]\nb = 1\n"),
        ("a.json", b"[1]"),
        ("a.csv", b'a,b\n1,"unclosed\n'),
        ("a.bin", b"\0\0"),
        ("noext", b"def ("),
    ],
)
def test_what_is_whole(path, content):
    assert why_unfinished(path, content) is None


@pytest.mark.parametrize(
    ("path", "content", "reason"),
    [
        ("a.py", b"", "is empty"),
        ("a.csv", b"", "is empty"),
        ("a.py", b"def one(", "does not parse"),
        ("a.py", b"def one():\n", "does not parse"),
        ("a.py", b"x = 1\n\0\0\0", "does not parse"),
        ("a.py", b"x = '\xff'\n", "does not parse"),
        ("a.py", CONFLICT.encode(), "has conflict markers"),
        ("a.py", CONFLICT.replace("\n", "\r\n").encode(), "has conflict markers"),
        ("a.csv", CONFLICT.encode(), "has conflict markers"),
        ("a.toml", b"[pipelines.", "does not parse"),
        ("a.toml", b"a = '\xff'", "does not parse"),
        ("a.json", b'{"a": ', "does not parse"),
        ("a.json", b'"\xff"', "does not parse"),
    ],
)
def test_what_may_be_half_of_a_save(path, content, reason):
    assert (why_unfinished(path, content) or "").startswith(reason)


@given(st.integers(0, len(TEXT)), st.sampled_from(["a.py", "a.toml", "a.json", "a.txt"]))
def test_wherever_a_text_is_cut_there_is_an_answer(length, path):
    why_unfinished(path, TEXT[:length])


@given(st.binary(max_size=200), st.sampled_from(["a.py", "a.toml", "a.json", "a.txt"]))
def test_whatever_a_file_holds_there_is_an_answer(content, path):
    why_unfinished(path, content)


@pytest.mark.parametrize(
    "piece", [b"(", b"-", b"a.", b"[", b"if x:\n", b"not ", b"f(", b"x=", b"{"]
)
def test_texts_that_are_too_deep_bring_nothing_down(piece):
    why_unfinished("a.py", piece * (MAX_BYTES // len(piece)))
    why_unfinished("a.json", piece * (MAX_BYTES // len(piece)))


def test_too_large_a_text_is_not_looked_into():
    assert why_unfinished("a.py", b"(" * (MAX_BYTES + 1)) is None


def test_warnings_of_a_text_are_left_to_who_executes_it():
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        assert why_unfinished("a.py", b"x = '\\d'\nassert (x, 1)\n") is None
    assert heard == []
