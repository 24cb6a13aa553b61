"""When a save is over: time is a number here."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hamdev.core.settle import Settle


def settled(settle: Settle, now: float) -> frozenset[str]:
    """Whoever asks takes all there is."""
    return settle.take(now, settle.pending)


def test_nothing_is_due_without_a_hint():
    settle = Settle(0.01)
    assert settle.due_at() is None
    assert settled(settle, 99.0) == frozenset()


def test_a_file_settles_when_it_was_quiet():
    settle = Settle(0.01)
    settle.notice("a", now=1.0)
    assert settled(settle, 1.009) == frozenset()
    assert settled(settle, 1.011) == {"a"}
    assert settle.due_at() is None
    assert settled(settle, 2.0) == frozenset()


def test_each_write_starts_the_quiet_time_anew():
    settle = Settle(0.5)
    settle.notice("a", now=1.0)
    settle.notice("a", now=1.25)
    assert settle.due_at() == 1.75


def test_the_files_of_a_checkout_are_one_change():
    settle = Settle(0.5)
    for index in range(5):
        settle.notice(f"f{index}", now=1.0 + index * 0.25)
    assert settled(settle, 2.0) == frozenset()
    assert settled(settle, 2.5) == {f"f{index}" for index in range(5)}


def test_the_time_since_the_write_counts_as_quiet():
    settle = Settle(0.5)
    settle.notice("a", now=2.0, written_at=1.0)
    assert settled(settle, 2.0) == {"a"}


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
        if settled(settle, now):
            taken.append(now)
    assert taken == [2.0, 4.25, 6.5, 8.75]


def test_a_file_that_never_is_quiet_holds_the_others_up_once():
    settle = Settle(0.5, cap_s=2.0)
    taken: list[tuple[float, set[str]]] = []
    for tick in range(1, 40):
        now = tick * 0.25
        settle.notice("log", now)
        if tick in (2, 20):
            settle.notice("module", now)
        if files := settled(settle, now):
            taken.append((now, set(files)))
    assert taken == [
        (2.25, {"log", "module"}),
        (4.5, {"log"}),
        (5.5, {"module"}),
        (6.75, {"log"}),
        (9.0, {"log"}),
    ]


def test_a_file_that_was_restless_is_one_of_many_again_once_it_was_quiet():
    settle = Settle(0.5, cap_s=2.0)
    for tick in range(10):
        settle.notice("log", tick * 0.25)
        settled(settle, tick * 0.25)
    assert settled(settle, 3.0) == {"log"}
    settle.notice("log", 4.0)
    settle.notice("module", 4.25)
    assert settled(settle, 4.5) == frozenset()
    assert settled(settle, 4.75) == {"log", "module"}


def test_what_looks_unfinished_needs_longer_and_the_others_wait_for_it():
    settle = Settle(0.25, cap_s=4.0)
    settle.notice("a", 1.0)
    settle.notice("b", 1.0)
    settle.doubt("a", 1.0)
    assert settle.doubted == {"a"}
    assert settled(settle, 1.75) == frozenset()
    assert settled(settle, 2.0) == {"a", "b"}
    assert settle.doubted == frozenset()


def test_the_next_write_ends_the_doubt_and_an_event_for_the_last_one_does_not():
    settle = Settle(0.25)
    settle.notice("a", 1.0)
    settle.doubt("a", 1.0)
    settle.notice("a", 1.125, written_at=1.0)
    assert settle.due_at() == 2.0
    settle.notice("a", 1.5, written_at=1.25)
    assert settle.doubted == frozenset()
    assert settle.due_at() == 1.5


def test_doubt_does_not_outlast_the_cap_and_takes_no_time_off():
    settle = Settle(0.5, cap_s=2.0)
    settle.notice("a", 1.0)
    settle.doubt("a", 9.0)
    assert settle.due_at() == 3.0
    settle.doubt("a", 0.125)
    assert settle.due_at() == 1.5


def test_only_what_was_asked_for_is_taken():
    settle = Settle(0.5)
    settle.notice("a", 1.0)
    settle.notice("b", 1.0)
    assert settle.due(1.5) == {"a", "b"}
    assert settle.take(1.5, ["a"]) == {"a"}
    assert settle.pending == {"b"}
    settle.forget(["b", "c"])
    assert settle.due_at() is None
    assert settle.quiet_since() is None


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
        for taken in settled(settle, now):
            del waiting[taken]
        settle.notice(file, now)
        waiting.setdefault(file, now)
        assert settle.pending == waiting.keys()
        due = settle.due_at()
        assert due is not None
        assert due <= min(waiting.values()) + cap_s + 1e-9
    assert settled(settle, now + settle_s + 1e-6) == waiting.keys()
