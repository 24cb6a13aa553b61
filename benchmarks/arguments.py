"""The command line that the benchmarks have in common."""

from __future__ import annotations

import argparse
from pathlib import Path


def read_arguments(module: str, doc: str | None, rounds: int, check: str) -> argparse.Namespace:
    """What the command line says: `rounds`, at least 1; `json`, a file or None; `check`.

    Args:
        module: the benchmark's name below `benchmarks`.
        doc: its docstring, whose first line says what it measures.
        rounds: how many there are by default.
        check: when `--check` makes it exit with 1.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{module}", description=(doc or "").splitlines()[0]
    )
    parser.add_argument(
        "--rounds", type=int, default=rounds, help="how many (default: %(default)s)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all figures there")
    parser.add_argument("--check", action="store_true", help=f"exit 1 if {check}")
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        parser.error("--rounds must be at least 1")
    return arguments
