"""What is kept on disk of a node is its value, whole and unchanged, or it is not found."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hamdev.content import content_digest, signature
from hamdev.core.plan import PlannedNode
from hamdev.messages import Summary
from hamdev.worker.fingerprint import fingerprint
from hamdev.worker.interruption import Interruption
from hamdev.worker.keeping import Keeping
from hamdev.worker.memory import Memory, Remembered, unique_token
from hamdev.worker.reads import FileState
from hamdev.worker.store import Store

NODE = PlannedNode("slow", "v1", ())
LARGE = 10**9


def token_of(value: Any) -> bytes:
    return fingerprint(value, lambda _: None) or unique_token()


def new_keeping(store: Store) -> Keeping:
    return Keeping(store, 0.0, token_of, Interruption((), lambda run: None))


def made(value: Any, *files: Path) -> Remembered:
    """The value as it is remembered right after its node has run."""
    read = {str(f): FileState(signature(str(f)), content_digest(str(f))) for f in files}
    return Remembered(
        value=value,
        token=token_of(value),
        has_fingerprint=True,
        version=NODE.version,
        inputs={},
        files=read,
        seconds=1.0,
        size=1000,
        run=1,
        revision=1,
        summary=Summary(type="", text=""),
    )


def found(keeping: Keeping) -> Any:
    """The value that another process would find."""
    remembered = keeping.find(NODE, {}, 2, 2)
    if remembered is None or not keeping.load(remembered):
        return None
    assert token_of(remembered.value) == remembered.token
    return remembered.value


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "kept", LARGE)


@pytest.fixture
def keeping(store: Store) -> Keeping:
    return new_keeping(store)


def test_a_value_is_found_again(store: Store, keeping: Keeping) -> None:
    keeping.keep(NODE, made([1]))
    keeping.finish()
    assert found(new_keeping(store)) == [1]


def test_a_value_that_was_changed_in_place_does_not_replace_the_right_one(
    keeping: Keeping,
) -> None:
    keeping.keep(NODE, made([1]))
    keeping.finish()
    again = made([1])
    again.value.append("by a node below it")
    keeping.keep(NODE, again)
    keeping.finish()
    assert found(keeping) == [1]


def test_a_writer_killed_between_a_value_and_its_facts_leaves_what_was_there(
    keeping: Keeping, tmp_path: Path
) -> None:
    data = tmp_path / "in.txt"
    data.write_text("1")
    keeping.keep(NODE, made([1], data))
    keeping.finish()
    (facts,) = (tmp_path / "kept").glob("*fa.value")
    as_it_was = facts.read_bytes()
    data.write_text("2")
    keeping.keep(NODE, made([2], data))
    keeping.finish()
    facts.write_bytes(as_it_was)
    data.write_text("1")
    assert found(keeping) == [1]


def test_a_value_that_memory_has_no_room_for_is_still_written(
    keeping: Keeping, tmp_path: Path
) -> None:
    memory = Memory(max_bytes=10)
    remembered = made([1])
    memory.keep("main", "slow", remembered)
    with written_later(keeping):
        keeping.keep(NODE, remembered)
        assert memory.make_room([]) == [("main", "slow")]
        assert not remembered.is_in_memory
    keeping.finish()
    assert remembered.has_value
    assert keeping.load(remembered)
    assert remembered.value == [1]


class _Waits:
    """A value whose pickling lasts until it may end."""

    may_end = threading.Event()

    def __reduce__(self) -> Any:
        assert _Waits.may_end.wait(30)
        return _Waits, ()


@contextmanager
def written_later(keeping: Keeping) -> Iterator[None]:
    """While it is open, what is handed in is not written yet."""
    keeping.keep(PlannedNode("before", "v1", ()), replace(made(1), value=_Waits()))
    yield
    _Waits.may_end.set()
