"""How long a client takes: `hamdev status` against `python -c pass`, in turns.

    python -m benchmarks.start_time --rounds 30

A daemon that serves a small project is started first. Each is timed from its start to its end.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks.arguments import read_arguments
from benchmarks.daemon import serving
from benchmarks.figures import pairwise, summary, table
from benchmarks.processes import (
    Refusal,
    beside_python,
    environment,
    measuring,
    write_json,
)
from benchmarks.project import MeasuredProject

RATIO_LIMIT = 12.0
_LIMIT_S = 30.0


def _time(command: list[str], cwd: Path) -> float:
    started = time.perf_counter()
    try:
        ended = subprocess.run(
            command, cwd=cwd, env=environment(), capture_output=True, timeout=_LIMIT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Refusal(f"{command} did not run: {error}") from error
    ms = (time.perf_counter() - started) * 1e3
    if ended.returncode:
        raise Refusal(f"{command} ended with {ended.returncode}: {ended.stderr.decode()}")
    return ms


def measure(rounds: int) -> dict[str, list[float]]:
    """Command → its milliseconds in each round.

    Raises:
        Refusal: a command failed, or the daemon did not start.
    """
    with tempfile.TemporaryDirectory(prefix="hamdev-benchmark-") as temporary:
        folder = Path(temporary).resolve()
        project = MeasuredProject(folder / "project").root
        commands = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "hamdev status": [beside_python("hamdev"), "status"],
        }
        samples: dict[str, list[float]] = {name: [] for name in commands}
        with serving(project, folder / "hamdev.log"):
            for command in commands.values():
                _time(command, project)
            for _ in range(rounds):
                for name, command in commands.items():
                    samples[name].append(_time(command, project))
    return samples


def main() -> int:
    arguments = read_arguments(
        "start_time",
        __doc__,
        30,
        f"the median ratio exceeds {RATIO_LIMIT:g}",
    )
    with measuring():
        samples = measure(arguments.rounds)
    ratio = median(pairwise(samples["hamdev status"], samples["python -c pass"]))
    milliseconds = {name: summary(times) for name, times in samples.items()}
    figures = {"rounds": arguments.rounds, "milliseconds": milliseconds, "median_ratio": ratio}
    print(table(milliseconds, " ms", 1))
    print(f"\nmedian ratio {ratio:.2f} (target: at most {RATIO_LIMIT:g})\n")
    print(json.dumps(figures))
    if arguments.json:
        write_json(arguments.json, figures)
    return int(arguments.check and ratio > RATIO_LIMIT)


if __name__ == "__main__":
    sys.exit(main())
