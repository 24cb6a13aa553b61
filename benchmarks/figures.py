"""Medians, 90th percentiles and ratios."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median


def p90(samples: Sequence[float]) -> float:
    """The smallest sample that at least nine in ten do not exceed."""
    return sorted(samples)[math.ceil(0.9 * len(samples)) - 1]


def summary(samples: Sequence[float]) -> dict[str, float]:
    """Median, 90th percentile and extremes of `samples`."""
    return {
        "median": round(median(samples), 4),
        "p90": round(p90(samples), 4),
        "min": round(min(samples), 4),
        "max": round(max(samples), 4),
    }


def pairwise(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """The ratio of each round's own two samples, in which a slow moment shows on both sides."""
    return [n / d for n, d in zip(numerators, denominators, strict=True)]


def table(rows: Mapping[str, Mapping[str, float]], unit: str, digits: int) -> str:
    """`rows` as text, one line each, with their names in front."""
    columns = list(next(iter(rows.values())))
    width = max(len(name) for name in rows)
    lines = [" " * width + "".join(f"{column:>12}" for column in columns)]
    for name, row in rows.items():
        cells = "".join(f"{f'{row[column]:.{digits}f}{unit}':>12}" for column in columns)
        lines.append(f"{name:<{width}}{cells}")
    return "\n".join(lines)
