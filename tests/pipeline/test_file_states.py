"""A file that holds something else is noticed, however fast after the last write that came.

Within one tick of the file system's clock a write of the same size leaves no trace in the stat
data; many writes in a row are quick enough for most of them to fall into one.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from hamdev.content import MAX_HASHED_BYTES, Signature, content_digest, signature
from hamdev.pipeline import file_states
from hamdev.pipeline.file_states import DOUBTFUL, FileState, look, present_state, state_of

WRITES = 300
TICK_NS = 4_000_000


@pytest.fixture(autouse=True)
def coarse_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times as Linux gives them before 6.13; since then only some file systems are so coarse."""

    def coarse(path: str) -> Signature | None:
        found = signature(path)
        if found is None:
            return None
        written, changed, *rest = found
        return written - written % TICK_NS, changed - changed % TICK_NS, *rest

    monkeypatch.setattr(file_states, "signature", coarse)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "in.txt"


def test_the_clock_is_coarse_enough_for_these_tests(file: Path) -> None:
    seen = set()
    for number in range(WRITES):
        file.write_text(str(number % 10))
        seen.add(file_states.signature(str(file)))
    assert len(seen) < WRITES


def test_what_is_written_right_after_a_file_was_read_is_another_content(file: Path) -> None:
    for _ in range(WRITES):
        file.write_text("1")
        state = state_of(str(file), look(str(file)))
        assert state.digest == content_digest(str(file))
        file.write_text("2")
        assert not state.is_same(str(file))


def test_what_is_written_while_a_file_is_read_makes_that_doubtful(file: Path) -> None:
    for _ in range(WRITES):
        file.write_text("1")
        found = look(str(file))
        file.write_text("2")
        assert not found.is_same(str(file))
        state = state_of(str(file), found)
        assert state.shown_digest == DOUBTFUL
        assert not state.is_same(str(file))
        assert not state.is_known


def test_what_is_written_right_after_a_comparison_is_another_content(file: Path) -> None:
    for _ in range(WRITES):
        file.write_text("1")
        state = FileState(None, content_digest(str(file)))
        assert state.is_same(str(file))
        file.write_text("2")
        assert not state.is_same(str(file))


def test_a_time_that_was_set_back_hides_nothing(file: Path) -> None:
    file.write_text("1")
    before = file.stat()
    state = present_state(str(file))
    file.write_text("2")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not state.is_same(str(file))


def test_a_file_that_has_been_left_alone_is_not_read_again(file: Path) -> None:
    file.write_text("1")
    state = present_state(str(file))
    end = time.monotonic() + 10
    while not state.is_proven:
        assert state.is_same(str(file))
        assert time.monotonic() < end
    assert look(str(file)).digest is None
    file.touch()
    while state.signature != file_states.signature(str(file)) or not state.is_proven:
        assert state.is_same(str(file))
        assert time.monotonic() < end


def test_of_a_large_file_only_what_was_written_long_ago_is_known(file: Path) -> None:
    with file.open("wb") as large:
        large.truncate(MAX_HASHED_BYTES + 1)
    digest = content_digest(str(file))
    state = state_of(str(file), look(str(file)))
    assert state.shown_digest == digest  # or whoever watches the file would see a change
    assert not state.is_proven
    assert not state.is_known
    assert not state.is_same(str(file))
    end = time.monotonic() + 10
    while not (state := present_state(str(file))).is_proven:
        assert time.monotonic() < end
    assert state.is_known
    assert state.is_same(str(file))
    before = file.stat()
    with file.open("r+b") as large:
        large.write(b"1")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not state.is_same(str(file))
    assert content_digest(str(file)) != state.digest


def test_a_file_that_is_not_there(file: Path) -> None:
    state = state_of(str(file), look(str(file)))
    assert state.is_same(str(file))
    assert state.is_known
    file.write_text("1")
    assert not state.is_same(str(file))
