"""What it costs to show a value and what changed in it, beside the value's fingerprint.

    python -m benchmarks.values --rounds 20

Every node that runs is fingerprinted, summarised and compared with what it was before, and only
then reported. Here each of the three is timed, in this process and in turns, of values from a
number to a frame of 2 GB. The fingerprint reads all of a value; the other two look at a sample of
a large one, so with its size their share goes to nothing.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

import numpy
import pandas

from benchmarks.arguments import read_arguments
from benchmarks.figures import pairwise, table
from benchmarks.processes import write_json
from hamdev.worker.difference import difference
from hamdev.worker.fingerprint import fingerprint
from hamdev.worker.summary import summarize

# Of a large value, both together in times its fingerprint.
RATIO_LIMIT = 0.5
_LARGE_BYTES = 100_000_000
_MIN_S = 0.0005


def _frame(rows: int, columns: int) -> pandas.DataFrame:
    numbers = numpy.random.default_rng(1).random((columns, rows)).T
    return pandas.DataFrame(numbers, columns=[f"c{n}" for n in range(columns)], copy=False)


def _changed(frame: pandas.DataFrame) -> pandas.DataFrame:
    column = frame.columns[3]
    return frame.assign(**{column: frame[column] * 1.1})


def _pairs() -> Iterator[tuple[str, Any, Any]]:
    """Values before and after, one pair at a time, since the last ones are large."""
    yield "number", 41.2, 43.0
    plain = {f"k{n}": n / 3 for n in range(20)}
    yield "dict of 20", plain, plain | {"k3": 5.0, "new": 1}
    yield "list of 1,000", list(range(1_000)), [*range(500), *range(501, 1_001)]
    words = "\n".join(f"line {n} of a text" for n in range(1_000))
    yield "text of 1,000 lines", words, words.replace("line 500", "Line 500")
    for rows, columns in ((1_000, 10), (100_000, 10), (1_000_000, 20), (2_500_000, 100)):
        frame = _frame(rows, columns)
        yield f"frame {rows:,} × {columns}", frame, _changed(frame)
    texts = pandas.DataFrame(
        {f"c{n}": [f"word {i % 97}" for i in range(10_000)] for n in range(10)}
    )
    yield "texts 10,000 × 10", texts, texts.assign(c3="other")


def _timed(work: Callable[[], object]) -> float:
    """Milliseconds for one call; of quick ones, of as many as can be timed."""
    calls = 1
    while True:
        started = time.perf_counter()
        for _ in range(calls):
            work()
        took = time.perf_counter() - started
        if took >= _MIN_S:
            return took / calls * 1e3
        calls *= 4


def _measure(rounds: int, before: Any, after: Any) -> dict[str, list[float]]:
    """Milliseconds of each of the three, round by round."""
    times: dict[str, list[float]] = {"fingerprint": [], "summary": [], "difference": []}
    for _ in range(rounds):
        times["fingerprint"].append(_timed(lambda: fingerprint(after, lambda _: None)))
        times["summary"].append(_timed(lambda: summarize(after)))
        times["difference"].append(_timed(lambda: difference(before, after)))
    return times


def main() -> int:
    """Print the medians, and the ratio to the fingerprint of the same value."""
    check = f"showing a large value costs over {RATIO_LIMIT} times its fingerprint"
    arguments = read_arguments("values", __doc__, 20, check)
    rows: dict[str, dict[str, float]] = {}
    worst = 0.0
    for name, before, after in _pairs():
        size = after.memory_usage(deep=False).sum() if hasattr(after, "memory_usage") else 0
        rounds = arguments.rounds if size < 10 * _LARGE_BYTES else min(arguments.rounds, 3)
        times = _measure(rounds, before, after)
        shown = [s + d for s, d in zip(times["summary"], times["difference"], strict=True)]
        ratio = median(pairwise(shown, times["fingerprint"]))
        rows[name] = {what: median(samples) for what, samples in times.items()} | {"ratio": ratio}
        if size >= _LARGE_BYTES:
            worst = max(worst, ratio)
        found = difference(before, after)
        print(f"{name}: {found.text if found else 'no difference'}", flush=True)
    print()
    print("milliseconds (medians), and summary and difference in times the fingerprint")
    print(table(rows, "", 3))
    if arguments.json is not None:
        write_json(arguments.json, {"values": rows, "ratio_limit": RATIO_LIMIT})
    return 1 if arguments.check and worst > RATIO_LIMIT else 0


if __name__ == "__main__":
    sys.exit(main())
