"""The project of the soak: two pipelines that are changed, broken and mended, and their values."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

_SETTINGS = """
[watch]
data = ["data/*.txt"]
[memory]
keep_slower_than_ms = 15
[pipelines.pipeline_1]
with = ["setup"]
[pipelines.side]
"""
# `{a}` and its like are numbers that a save changes.
_TEXTS = {
    "pipelines/setup.py": """
import time

BASE = {a}


def raw() -> int:
    with open("data/raw.txt") as file:
        return int(file.read())


def base(raw: int) -> int:
    time.sleep(0.02)
    return raw + BASE
""",
    "helpers.py": """
FACTOR = {b}


class Scale:
    def __call__(self, x: int) -> int:
        return x * FACTOR


SCALE = Scale()
""",
    "pipelines/pipeline_1.py": """
import helpers

CONSTANT = {c}


def scaled(base: int) -> int:
    return helpers.SCALE(base)


def total(scaled: int, raw: int) -> int:
    return scaled + raw + CONSTANT
""",
    "pipelines/side.py": """
def side() -> int:
    return {d}
""",
}
_NUMBERS = "abcd"
# What a module may be made to do before it does anything sensible, by name.
LOADING = {
    "half of it": "def broken(x: int) -> int:\n    return (x +\n",
    "nothing": "",
    "raises": "raise RuntimeError('on purpose')\n",
    "imports what is not there": "import no_such_module_anywhere\n",
    "loops while it is loaded": "while True:\n    pass\n",
    "ends the process while it is loaded": "import os\nos._exit(7)\n",
}
# What a node may be made to do; a `def` comes before it.
RUNNING = {
    "loops": "while True:\n        pass",
    "loops in C": "import collections, itertools\n    collections.deque(itertools.repeat(1), 0)",
    "sleeps": "import time\n    time.sleep(1000)",
    "swallows interrupts": (
        "while True:\n        try:\n            while True:\n                pass\n"
        "        except BaseException:\n            pass"
    ),
    "ignores SIGINT": (
        "import signal\n    signal.signal(signal.SIGINT, signal.SIG_IGN)\n    while True:\n"
        "        pass"
    ),
    "ends the process": "import os\n    os._exit(3)",
    "kills its process": "import os, signal\n    os.kill(os.getpid(), signal.SIGKILL)",
    "crashes": "import ctypes\n    ctypes.string_at(0)",
    "raises": "raise ValueError('on purpose')",
    "becomes another program": "import os\n    os.execv('/bin/true', ['true'])",
    "forks and goes on": (
        "import os\n    parent = os.getpid()\n    os.fork()\n"
        "    if os.getpid() != parent:\n        raise RuntimeError('in the child')"
    ),
    "leaves a child behind": "import subprocess\n    subprocess.Popen(['sleep', '1000'])",
    "leaves a thread behind": (
        "import threading, time\n"
        "    threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()"
    ),
    "closes all descriptors": "import os\n    os.closerange(3, 4096)",
    "prints a flood": "for _ in range(20000):\n        print('x' * 79)",
    "wants too much memory": (
        "import resource\n    resource.setrlimit(resource.RLIMIT_AS, (1 << 34, 1 << 34))\n"
        "    bytearray(1 << 40)"
    ),
}


@dataclass
class SoakProject:
    """Its files, as they should be and as they were last written.

    Attributes:
        root: its folder.
        random: where all chances come from.
    """

    root: Path
    random: Random
    numbers: dict[str, int] = field(default_factory=dict)
    raw: int = 1

    def __post_init__(self) -> None:
        self.numbers = dict.fromkeys(_NUMBERS, 1)
        for folder in ("pipelines", "data"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        (self.root / "devserver.toml").write_text(_SETTINGS, encoding="utf-8")
        self.mend()

    def expected(self) -> dict[str, int]:
        """What the nodes are when nothing is broken."""
        a, b, c, d = (self.numbers[name] for name in _NUMBERS)
        return {"total": (self.raw + a) * b + self.raw + c, "side": d}

    def change(self) -> str:
        """Save one file with another number in it; says what was done."""
        if self.random.random() < 0.2:
            self.raw = self.random.randint(1, 999)
            self._save("data/raw.txt", f"{self.raw}")
            return f"raw = {self.raw}"
        name = self.random.choice(_NUMBERS)
        self.numbers[name] = self.random.randint(1, 999)
        for path, text in _TEXTS.items():
            if f"{{{name}}}" in text:
                self._save(path, self._text(path))
        return f"{name} = {self.numbers[name]}"

    def break_loading(self, how: str) -> None:
        """Save a module that cannot be loaded, or not for long."""
        path = self.random.choice([*_TEXTS])
        text = self._text(path)
        if how == "half of it":
            text = text[: self.random.randrange(len(text))] + LOADING[how]
        elif how != "nothing":
            text = LOADING[how] + text
        else:
            text = ""
        self._save(path, text)

    def break_running(self, how: str) -> None:
        """Save a module with a node that does not do its work."""
        path = self.random.choice([p for p in _TEXTS if p.startswith("pipelines/")])
        text = self._text(path)
        at = text.rindex("    return ")
        self._save(path, f"{text[:at]}    {RUNNING[how]}\n{text[at:]}")

    def mend(self) -> None:
        """Save every file as it should be."""
        for path in _TEXTS:
            self._save(path, self._text(path))
        self._save("data/raw.txt", f"{self.raw}")

    def _text(self, path: str) -> str:
        text = _TEXTS[path]
        for name, number in self.numbers.items():
            text = text.replace(f"{{{name}}}", str(number))
        return text

    def _save(self, path: str, text: str) -> None:
        ways: list[Callable[[Path, str], None]] = [_in_place, _renamed, _in_pieces, _anew]
        self.random.choice(ways)(self.root / path, text)


def _in_place(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")


def _renamed(file: Path, text: str) -> None:
    fresh = file.with_name(f".{file.name}.new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(file)


def _in_pieces(file: Path, text: str) -> None:
    with file.open("w", encoding="utf-8") as stream:
        for start in range(0, len(text), 50):
            stream.write(text[start : start + 50])
            stream.flush()
            os.fsync(stream.fileno())


def _anew(file: Path, text: str) -> None:
    file.unlink(missing_ok=True)
    file.write_text(text, encoding="utf-8")
