"""Every way to save, with events alone and with the sweep alone: nothing lost, torn or for nothing.

`python -m benchmarks.saves --rounds 100` plays the same matrix at length.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from rounds import WAYS, Game, Tally, game
from save_patterns import PATTERNS, Pattern

ROUNDS = 2
LIMIT_S = 20.0


@pytest.fixture(scope="module", params=WAYS)
def played(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Game]]:
    with game(tmp_path_factory.mktemp("saves"), request.param, LIMIT_S) as opened:
        yield request.param, opened
        assert opened.finish() == []


def require(program: str | None) -> None:
    """Skip for want of a program, but not where it has been promised."""
    if program is not None and shutil.which(program) is None:
        missing = f"{program} is not installed"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.name)
def test_every_save_counts_once(played: tuple[str, Game], pattern: Pattern) -> None:
    way, opened = played
    require(pattern.program)
    if way == "events" and not pattern.has_events:
        pytest.skip("the system has no event for it")
    tally = opened.play(pattern, ROUNDS)
    assert tally == Tally(rounds=ROUNDS)
