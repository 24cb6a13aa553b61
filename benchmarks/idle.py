"""What hamdev costs while nobody saves: daemon, worker and spare of a project of 1,000 files.

    python -m benchmarks.idle

The pipeline imports 1,000 modules. Once its first run is over, the processor time of all of its
processes is taken at the beginning and the end of each round, which is a minute of nothing.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.arguments import read_arguments
from benchmarks.daemon import serving
from benchmarks.figures import summary, table
from benchmarks.processes import Refusal, measuring, write_json

LIMIT_PERCENT = 0.6
FILES = 1000
_ROUND_S = 60.0
# From the end of the first run until the spare has loaded what it loads, and settled down.
_CALM_S = 15.0


def write_project(root: Path) -> None:
    """A pipeline whose one node needs a constant of each of its modules."""
    parts = root / "parts"
    parts.mkdir(parents=True)
    (root / "pipelines").mkdir()
    (parts / "__init__.py").touch()
    names = [f"m{number:04}" for number in range(FILES - 3)]
    for number, name in enumerate(names):
        (parts / f"{name}.py").write_text(f"AMOUNT = {number}\n", encoding="utf-8")
    imports = "".join(f"from parts import {name}\n" for name in names)
    amounts = ",\n    ".join(f"{name}.AMOUNT" for name in names)
    text = f"{imports}\nALL = [\n    {amounts},\n]\n\n\ndef total() -> int:\n    return sum(ALL)\n"
    (root / "pipelines" / "main.py").write_text(text, encoding="utf-8")
    (root / "devserver.toml").write_text("[pipelines.main]\n", encoding="utf-8")


def measure(rounds: int) -> dict[str, list[float]]:
    """Process → its share of one core in each round, in per cent.

    Raises:
        Refusal: the daemon did not start, or a process of it has ended.
    """
    with tempfile.TemporaryDirectory(prefix="hamdev-benchmark-") as temporary:
        folder = Path(temporary).resolve()
        write_project(folder / "project")
        with serving(folder / "project", folder / "hamdev.log") as (child, _):
            time.sleep(_CALM_S)
            daemon = psutil.Process(child.process.pid)
            workers = sorted(daemon.children(recursive=True), key=lambda process: process.pid)
            processes = {"daemon": daemon, **{f"worker {w.pid}": w for w in workers}}
            samples: dict[str, list[float]] = {name: [] for name in [*processes, "all"]}
            for _ in range(rounds):
                shares = _shares(processes)
                for name, share in shares.items():
                    samples[name].append(share)
                samples["all"].append(sum(shares.values()))
            return samples


def _shares(processes: dict[str, psutil.Process]) -> dict[str, float]:
    try:
        before = {name: _seconds(process) for name, process in processes.items()}
        started = time.monotonic()
        time.sleep(_ROUND_S)
        took = time.monotonic() - started
        return {
            name: 100.0 * (_seconds(process) - before[name]) / took
            for name, process in processes.items()
        }
    except psutil.NoSuchProcess as error:
        raise Refusal(f"a process has ended: {error}") from error


def _seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def main() -> int:
    arguments = read_arguments(
        "idle", __doc__, 1, f"the median of all together exceeds {LIMIT_PERCENT:g} % of a core"
    )
    with measuring():
        samples = measure(arguments.rounds)
    percent = {name: summary(shares) for name, shares in samples.items()}
    figures = {"rounds": arguments.rounds, "files": FILES, "percent_of_a_core": percent}
    print(table(percent, " %", 2))
    print(f"\nall together: at most {LIMIT_PERCENT:g} % wanted\n")
    print(json.dumps(figures))
    if arguments.json:
        write_json(arguments.json, figures)
    return int(arguments.check and percent["all"]["median"] > LIMIT_PERCENT)


if __name__ == "__main__":
    sys.exit(main())
