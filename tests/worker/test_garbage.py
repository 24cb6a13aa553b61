"""Garbage is collected while nobody waits."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from hamdev.worker.garbage import Sweeps, leave_out, uncollected


@pytest.fixture(autouse=True)
def _collector() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


class Circle:
    def __init__(self) -> None:
        self.itself = self


def test_nothing_is_collected_meanwhile():
    with uncollected():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_who_had_switched_it_off_finds_it_off():
    gc.disable()
    with uncollected():
        pass
    assert not gc.isenabled()


def test_a_sweep_is_due_once_modules_were_loaded_as_a_whole():
    sweeps = Sweeps()
    sweeps.note_run(1)
    assert sweeps.is_due
    sweeps.settle()
    sweeps.note_run(1)
    assert not sweeps.is_due


def test_a_sweep_is_due_after_the_first_run():
    sweeps = Sweeps()
    assert not sweeps.is_due
    sweeps.note_run(0)
    assert sweeps.is_due


def test_a_sweep_is_due_now_and_then():
    sweeps = Sweeps()
    sweeps.settle()
    sweeps.note_run(0)
    assert not sweeps.is_due
    for _ in range(20):
        sweeps.note_run(0)
    assert sweeps.is_due


def test_what_is_left_out_is_not_looked_at_until_a_sweep():
    circle = Circle()
    gone = weakref.ref(circle)
    leave_out()
    del circle
    gc.collect()
    assert gone() is not None
    Sweeps().settle()
    assert gone() is None


def test_a_sweep_finds_circles_that_were_frozen():
    sweeps = Sweeps()
    circle = Circle()
    gone = weakref.ref(circle)
    sweeps.settle()
    del circle
    gc.collect()
    assert gone() is not None
    sweeps.settle()
    assert gone() is None
