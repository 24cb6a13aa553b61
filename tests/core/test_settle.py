"""When a save is over: time is a number here."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hamdev.core.settle import Settle


def test_nothing_is_due_without_a_hint():
    settle = Settle(0.01)
    assert settle.due_at() is None
    assert settle.take(99.0) == frozenset()


def test_a_file_settles_when_it_was_quiet():
    settle = Settle(0.01)
    settle.notice("a", now=1.0)
    assert settle.take(1.009) == frozenset()
    assert settle.take(1.011) == {"a"}
    assert settle.due_at() is None
    assert settle.take(2.0) == frozenset()


def test_each_write_starts_the_quiet_time_anew():
    settle = Settle(0.5)
    settle.notice("a", now=1.0)
    settle.notice("a", now=1.25)
    assert settle.due_at() == 1.75


def test_the_files_of_a_checkout_are_one_change():
    settle = Settle(0.5)
    for index in range(5):
        settle.notice(f"f{index}", now=1.0 + index * 0.25)
    assert settle.take(2.0) == frozenset()
    assert settle.take(2.5) == {f"f{index}" for index in range(5)}


def test_the_time_since_the_write_counts_as_quiet():
    settle = Settle(0.5)
    settle.notice("a", now=2.0, written_at=1.0)
    assert settle.take(2.0) == {"a"}


def test_a_write_in_the_future_counts_from_now_and_an_older_hint_takes_nothing_back():
    settle = Settle(0.5)
    settle.notice("a", now=2.0, written_at=99.0)
    settle.notice("a", now=2.0, written_at=1.0)
    assert settle.due_at() == 2.5


def test_a_file_that_never_is_quiet_is_taken_at_the_cap():
    settle = Settle(0.5, cap_s=2.0)
    taken = []
    for tick in range(40):
        now = tick * 0.25
        settle.notice("log", now)
        if settle.take(now):
            taken.append(now)
    assert taken == [2.0, 4.25, 6.5, 8.75]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.floats(0.0, 1.0)), min_size=1),
    st.floats(0.0, 1.0),
    st.floats(0.0, 3.0),
)
def test_every_hint_is_answered_within_the_cap(hints, settle_s, cap_s):
    settle = Settle(settle_s, cap_s)
    now = 0.0
    waiting: dict[str, float] = {}
    for file, pause in hints:
        now += pause
        for taken in settle.take(now):
            del waiting[taken]
        settle.notice(file, now)
        waiting.setdefault(file, now)
        assert settle.pending == waiting.keys()
        due = settle.due_at()
        assert due is not None
        assert due <= min(waiting.values()) + cap_s + 1e-9
    assert settle.take(now + settle_s + 1e-6) == waiting.keys()
