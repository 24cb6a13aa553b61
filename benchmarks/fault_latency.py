"""How long `status` takes while user code hangs, crashes or floods, and until a fix has its result.

    python -m benchmarks.fault_latency --rounds 3

For each fault: save it, ask for the status every few milliseconds, save the fix, and go on asking
until the fixed value is there.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.arguments import read_arguments
from benchmarks.daemon import Subscriber, connected, serving
from benchmarks.figures import summary, table
from benchmarks.processes import Deadline, measuring, write_json

ANSWER_LIMIT_MS = 100.0
_FAULT_S = 1.5
_PAUSE_S = 0.005
_LIMIT_S = 60.0
_PIPELINE = "faulty"

FAULTS = {
    "infinite loop": "while True: pass",
    "loop in C": "import collections, itertools\n    collections.deque(itertools.repeat(1), 0)",
    "swallowing": (
        "while True:\n"
        "        try:\n"
        "            while True: pass\n"
        "        except BaseException: pass"
    ),
    "os._exit(3)": "import os\n    os._exit(3)",
    "segfault": "import ctypes\n    ctypes.string_at(0)",
    "1 GB in lines": "for _ in range(12_500_000): print('x' * 79)",
    "1 GB in pieces": "for _ in range(1000): print('x' * 1_000_000)",
    "1 GB at once": "print('x' * 1_000_000_000)",
    "1 GB of newlines": "print('\\n' * 1_000_000_000)",
    "1 GB by os.write": "import os\n    for _ in range(1000): os.write(1, b'x' * 1_000_000)",
    "1 GB by a child": (
        "import subprocess\n    subprocess.run('yes | head -c 1000000000', shell=True)"
    ),
}


def _text(body: str, value: int) -> str:
    return f"def answer() -> int:\n    {body}\n    return {value}\n"


class _Watched:
    """The pipeline's file, and the time of each answer about it."""

    def __init__(self, file: Path, client: Subscriber) -> None:
        self._file = file
        self._client = client
        self.answers_ms: list[float] = []

    def save(self, text: str) -> None:
        fresh = self._file.with_suffix(".new")
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(self._file)

    def value(self) -> str | None:
        """The node's value as text, if it is that of the present file; timed."""
        started = time.perf_counter()
        status = self._client.call("status", {}, _LIMIT_S)
        self.answers_ms.append((time.perf_counter() - started) * 1e3)
        node = status["pipelines"][_PIPELINE]["nodes"].get("answer", {})
        time.sleep(_PAUSE_S)
        return node["summary"]["text"] if node.get("state") == "fresh" else None


def _measure_fault(watched: _Watched, body: str, value: int) -> float:
    """Milliseconds from the save of the fix to its value."""
    watched.save(_text(body, 0))
    end = time.monotonic() + _FAULT_S
    while time.monotonic() < end:
        watched.value()
    started = time.perf_counter()
    watched.save(_text("pass", value))
    deadline = Deadline(_LIMIT_S, "the value of the fixed file")
    while watched.value() != str(value):
        deadline.remaining()
    return (time.perf_counter() - started) * 1e3


def measure(rounds: int) -> dict[str, dict[str, list[float]]]:
    """Fault → milliseconds of every answer, and from each fix to its value.

    Raises:
        Refusal: the daemon did not start, or did not answer.
    """
    figures: dict[str, dict[str, list[float]]] = {
        fault: {"answer": [], "fix": []} for fault in FAULTS
    }
    with tempfile.TemporaryDirectory(prefix="hamdev-benchmark-") as temporary:
        folder = Path(temporary).resolve()
        project = folder / "project"
        file = project / "pipelines" / f"{_PIPELINE}.py"
        file.parent.mkdir(parents=True)
        file.write_text(_text("pass", 1), encoding="utf-8")
        (project / "devserver.toml").write_text(f"[pipelines.{_PIPELINE}]\n", encoding="utf-8")
        value = 1
        with (
            serving(project, folder / "hamdev.log") as (daemon, _),
            # One that has not subscribed, so that its answers do not wait behind events.
            connected(project, daemon) as stream,
        ):
            client = Subscriber(stream, daemon)
            for _ in range(rounds):
                for fault, body in FAULTS.items():
                    value += 1
                    watched = _Watched(file, client)
                    figures[fault]["fix"].append(_measure_fault(watched, body, value))
                    figures[fault]["answer"] += watched.answers_ms
    return figures


def main() -> int:
    arguments = read_arguments(
        "fault_latency",
        __doc__,
        3,
        f"an answer took more than {ANSWER_LIMIT_MS:g} ms",
    )
    with measuring():
        samples = measure(arguments.rounds)
    answers = {fault: summary(times["answer"]) for fault, times in samples.items()}
    fixes = {fault: summary(times["fix"]) for fault, times in samples.items()}
    slowest = max(row["max"] for row in answers.values())
    print("an answer to 'status' during the fault")
    print(table(answers, " ms", 1))
    print("\nfrom the save of the fix to its value")
    print(table(fixes, " ms", 1))
    print(f"\nslowest answer {slowest:.1f} ms (target: at most {ANSWER_LIMIT_MS:g} ms)\n")
    figures = {"rounds": arguments.rounds, "answers_ms": answers, "fixes_ms": fixes}
    print(json.dumps(figures))
    if arguments.json:
        write_json(arguments.json, figures)
    return int(arguments.check and slowest > ANSWER_LIMIT_MS)


if __name__ == "__main__":
    sys.exit(main())
