"""A value in one line, from its summary: as `status` and the terminal show it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Of a longer text, so that what follows has room too.
MAX_TEXT = 60


def value_text(summary: Mapping[str, Any]) -> str:
    """The most telling things of a value: its kind and size with its columns or range, or its text.

    Args:
        summary: the protocol's `Summary`.
    """
    columns, shape = summary.get("columns") or [], summary.get("shape") or []
    if not columns:
        return _text(summary)
    if len(shape) == 1:
        ranges = summary.get("ranges") or []
        told = ranges[-1] if len(ranges) == len(columns) else ""
        if told:
            nulls = (summary.get("nulls") or [0])[-1]
            told += f", {nulls:,} missing" if nulls else ""
            told += " in a sample" if summary.get("sampled") else ""
    else:
        told = ", ".join(filter(None, columns))
        told += ", …" if told and len(columns) < shape[1] else ""
    return f"{kind_and_size(summary)}: {told}" if told else kind_and_size(summary)


def kind_and_size(summary: Mapping[str, Any]) -> str:
    """`DataFrame 1,000 × 5`."""
    kind = summary["type"].rpartition(".")[2]
    shape = " × ".join(f"{n:,}" for n in summary.get("shape") or ())
    return f"{kind} {shape}".rstrip()


def _text(summary: Mapping[str, Any]) -> str:
    lines = [line.strip() for line in summary["text"].splitlines() if line.strip()]
    if len(lines) < 2:
        return "".join(lines)
    first, second = lines[:2]
    if summary["type"] == "str":
        return f"{_beginning(second)} … ({first})"  # the first says how long it is
    if summary["type"] == "numpy.ndarray":
        return f"{first.partition(':')[0]}: {second}"  # what it spans, not its first elements
    return f"{first} …"


def _beginning(text: str) -> str:
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT].rstrip()
