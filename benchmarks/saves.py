"""Every way to save, again and again, with events alone and with the sweep alone.

    python -m benchmarks.saves --rounds 100

Plays the patterns of `tests/saves` against a real daemon, and counts saves that were lost (their
value did not come), torn (half of one was shown) and spurious (a run for nothing new).
"""

from __future__ import annotations

import importlib
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.arguments import read_arguments
from benchmarks.processes import ended_by_signals, write_json

_TESTS = Path(__file__).resolve().parent.parent / "tests"
_LIMIT_S = 10.0
COUNTS = ("rounds", "lost", "torn", "spurious")


def play(rounds: int) -> dict[str, dict[str, int]]:
    """Pattern and way to notice saves → what was counted; progress is printed line by line."""
    sys.path[:0] = [str(_TESTS / "saves"), str(_TESTS / "daemon")]
    patterns: list[Any] = importlib.import_module("save_patterns").PATTERNS
    games: Any = importlib.import_module("rounds")
    print(f"{'':<54}" + "".join(f"{count:>10}" for count in COUNTS))
    counted: dict[str, dict[str, int]] = {}
    for way in games.WAYS:
        with (
            tempfile.TemporaryDirectory(prefix="hamdev-benchmark-") as folder,
            games.game(Path(folder).resolve(), way, _LIMIT_S) as opened,
        ):
            for pattern in patterns:
                name = f"{pattern.name} ({way})"
                if way == "events" and not pattern.has_events:
                    continue
                if pattern.program is not None and shutil.which(pattern.program) is None:
                    print(f"{name:<54}{pattern.program} is not installed")
                    continue
                tally = opened.play(pattern, rounds)
                counted[name] = {count: getattr(tally, count) for count in COUNTS}
                cells = "".join(f"{number:>10}" for number in counted[name].values())
                print(f"{name:<54}{cells}  {tally.what}", flush=True)
            if late := opened.finish():
                print(f"after the end ({way}): {late}")
                counted[f"late ({way})"] = dict.fromkeys(COUNTS, 0) | {"spurious": len(late)}
    return counted


def main() -> int:
    arguments = read_arguments("saves", __doc__, 100, "any save was lost, torn or spurious")
    with ended_by_signals():
        counted = play(arguments.rounds)
    total = {count: sum(row[count] for row in counted.values()) for count in COUNTS}
    print(f"\n{'all':<54}" + "".join(f"{number:>10}" for number in total.values()) + "\n")
    figures = {"rounds": arguments.rounds, "counted": counted, "all": total}
    print(json.dumps(total))
    if arguments.json:
        write_json(arguments.json, figures)
    return int(arguments.check and any(total[count] for count in COUNTS[1:]))


if __name__ == "__main__":
    sys.exit(main())
