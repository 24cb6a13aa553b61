"""Generated dataflows of any size, the same ones each time, and edits whose effect is known.

Nodes take one to four earlier ones, are annotated and documented, and use constants of their
module and functions of a shared one. Some of those without inputs sleep, as a query would. Values
are worked out here once more, by other code, so that a stale one is recognised.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

EditKind = Literal["leaf", "middle", "root", "helper", "comment"]
EDITS: tuple[EditKind, ...] = ("leaf", "middle", "root", "helper", "comment")
SETTLE_MS = 10
_MODULUS = 1_000_003
_MAX_SLOW = 5
_TEMPERED = 5  # every so many-th node uses the helper that is edited
_LISTS = 10  # every so many-th node returns a list

_HELPERS_PY = '''\
"""What all parts of the dataflow share."""

from collections.abc import Sequence

MODULUS = {modulus}


def flat(values: Sequence[int | list[int]]) -> list[int]:
    """Numbers and lists of numbers, as one list."""
    found: list[int] = []
    for value in values:
        found += value if isinstance(value, list) else [value]
    return found


def blend(values: Sequence[int | list[int]], weights: Sequence[int]) -> int:
    """The weighted sum of all numbers; the weights are used in turn."""
    return sum(v * weights[i % len(weights)] for i, v in enumerate(flat(values))) % MODULUS


def temper(value: int) -> int:
    """Bring a value back into its range."""
    return (value + {temper}) % MODULUS


def spread(value: int) -> list[int]:
    """A value and its neighbours."""
    return [value, (value + 1) % MODULUS, (value + 2) % MODULUS]
'''

_PART_PY = '''\
"""Part {number} of a generated dataflow."""

import time

from pipelines import helpers
from pipelines.helpers import blend, temper

WEIGHTS = {weights}
LIMITS = {{"low": 0, "high": helpers.MODULUS - 1}}
'''

_NODE_PY = '''

def {name}({parameters}) -> {type}:
    """Blend what comes in, with the weights of this part.

    The result stays within the limits, whatever the inputs are.
    """
    # tuned by hand, {remark} times
    values = [{arguments}]
    blended = blend(values, WEIGHTS) + {literal}
    return {result}
'''

_ROOT_PY = '''

def {name}() -> int:
    """One of the numbers that everything begins with."""
    # tuned by hand, {remark} times
    {sleep}return min({literal}, LIMITS["high"])
'''

_RUN_PY = """\
import sys

from hamilton import driver
from pipelines import {parts}

dataflow = driver.Builder().with_modules({parts}).build()
for name, value in dataflow.execute({sinks!r}).items():
    print(name, value, flush=True)
"""

_DEVSERVER_TOML = """\
[server]
web = false

[watch]
settle_ms = {settle_ms}

[pipelines.{main}]
with = {others}
"""


@dataclass(frozen=True, slots=True)
class Save:
    """A save that is about to be made.

    Attributes:
        file: the module's file.
        text: what it is going to hold.
        observed: the node whose new value is waited for; for a comment, one that keeps its value.
        value: what that node's value is, once the file is saved.
        affected: the nodes whose values may be others then, in an order that respects inputs.
        executed: names of the modules that hold something of what changes, in order.
    """

    file: Path
    text: str
    observed: str
    value: str
    affected: tuple[str, ...]
    executed: tuple[str, ...]

    def write(self) -> None:
        """Save, in place as most editors do."""
        self.file.write_text(self.text, encoding="utf-8")


class DagProject:
    """A project with one generated pipeline, in a folder of its own.

    Args:
        root: the folder; it is created.
        nodes: how many, at least 4.
        modules: over how many modules they are spread.
        slow_s: how long some of the nodes without inputs take together, in seconds.

    Attributes:
        names: of all nodes, each after its inputs.
        sinks: the nodes that no other one takes.
        parts: names of the modules; the last one is the pipeline's name.
        slow: names of the nodes that sleep.
    """

    def __init__(self, root: Path, nodes: int, modules: int, slow_s: float) -> None:
        self.root = root
        self.parts = [f"part_{number:02}" for number in range(modules)]
        roots = max(3, nodes // 20)
        is_slow = set(range(1, min(_MAX_SLOW + 1, roots))) if slow_s else set()
        self._inputs = _wired(nodes, roots, unused=is_slow)
        self._sleep_s = slow_s / len(is_slow) if is_slow else 0.0
        self._is_slow = is_slow
        self._part_of = [i * modules // nodes for i in range(nodes)]
        self._weights = [(3, 5 + 2 * number, 7, 11) for number in range(modules)]
        self._literals = [1_000 + 7 * i for i in range(nodes)]
        self._remarks = [1] * nodes
        self._temper = 100
        self._takers = _takers(self._inputs)
        self.names = [f"n{i:04}" for i in range(nodes)]
        self.slow = [self.names[i] for i in sorted(is_slow)]
        self._sinks = {i for i in range(nodes) if not self._takers[i]}
        self.sinks = [self.names[i] for i in sorted(self._sinks)]
        self._edited = self._targets(roots)
        self._write_all()

    @property
    def pipeline(self) -> str:
        """The pipeline's name."""
        return self.parts[-1]

    def values(self) -> dict[str, str]:
        """Node → its value now, as text."""
        return {n: str(v) for n, v in zip(self.names, self._computed(), strict=True)}

    def next_save(self, kind: EditKind) -> Save:
        """The next edit of its kind. To be written at once: all others build on it."""
        edited = self._edited[kind]
        affected = self._affected(kind)
        observed = max(self._sinks.intersection(affected), default=edited)
        before = self._computed()[observed]
        while True:
            self._change(kind, edited)
            value = self._computed()[observed]
            if kind == "comment" or value != before:
                break
        part = self._part_of[edited]
        parts = [self.parts[part]]
        file, text = self._part_file(part), self._part_text(part)
        if kind == "helper":
            parts = ["helpers", *self.parts]
            file, text = self._helpers_file, self._helpers_text()
        return Save(
            file,
            text,
            self.names[observed],
            str(value),
            tuple(self.names[i] for i in affected),
            tuple(f"pipelines.{name}" for name in parts),
        )

    # -- the graph ----------------------------------------------------------------------------

    def _targets(self, roots: int) -> dict[EditKind, int]:
        last = len(self._inputs) - 1
        inner = [i for i in range(roots, last) if self._takers[i]]
        middle = min(inner, key=lambda i: abs(i - last // 2), default=roots)
        return {"leaf": last, "middle": middle, "root": 0, "helper": last, "comment": middle}

    def _affected(self, kind: EditKind) -> list[int]:
        if kind == "comment":
            return []
        affected = {self._edited[kind]}
        if kind == "helper":
            affected = {i for i in range(len(self._inputs)) if self._is_tempered(i)}
        for i, inputs in enumerate(self._inputs):  # each comes after its inputs
            if not affected.isdisjoint(inputs):
                affected.add(i)
        return sorted(affected)

    def _is_tempered(self, i: int) -> bool:
        return bool(self._inputs[i]) and i % _TEMPERED == 0

    def _is_list(self, i: int) -> bool:
        return bool(self._inputs[i]) and i % _LISTS == 7

    def _change(self, kind: EditKind, edited: int) -> None:
        # Python takes a save of the same size within a second for none, so sizes alternate.
        match kind:
            case "helper":
                self._temper = _other_size(self._temper)
            case "comment":
                self._remarks[edited] = _other_size(self._remarks[edited])
            case _:
                self._literals[edited] = _other_size(self._literals[edited])

    def _computed(self) -> list[int | list[int]]:
        values: list[int | list[int]] = []
        for i, inputs in enumerate(self._inputs):
            if not inputs:
                values.append(self._literals[i])
                continue
            weights = self._weights[self._part_of[i]]
            total, position = self._literals[i], 0
            for j in inputs:
                found = values[j]
                for number in found if isinstance(found, list) else [found]:
                    total += number * weights[position % len(weights)]
                    position += 1
            if self._is_tempered(i):
                total += self._temper
            total %= _MODULUS
            neighbours = [total, (total + 1) % _MODULUS, (total + 2) % _MODULUS]
            values.append(neighbours if self._is_list(i) else total)
        return values

    # -- the text -----------------------------------------------------------------------------

    @property
    def _helpers_file(self) -> Path:
        return self.root / "pipelines" / "helpers.py"

    def _part_file(self, part: int) -> Path:
        return self.root / "pipelines" / f"{self.parts[part]}.py"

    def _write_all(self) -> None:
        (self.root / "pipelines").mkdir(parents=True)
        texts = {self._part_file(part): self._part_text(part) for part in range(len(self.parts))}
        texts[self._helpers_file] = self._helpers_text()
        texts[self.root / "run.py"] = _RUN_PY.format(parts=", ".join(self.parts), sinks=self.sinks)
        texts[self.root / "devserver.toml"] = _DEVSERVER_TOML.format(
            settle_ms=SETTLE_MS, main=self.pipeline, others=self.parts[:-1]
        )
        for file, text in texts.items():
            file.write_text(text, encoding="utf-8")

    def _helpers_text(self) -> str:
        return _HELPERS_PY.format(modulus=_MODULUS, temper=self._temper)

    def _part_text(self, part: int) -> str:
        nodes = [i for i, its in enumerate(self._part_of) if its == part]
        head = _PART_PY.format(number=part, weights=self._weights[part])
        return head + "".join(self._node_text(i) for i in nodes)

    def _node_text(self, i: int) -> str:
        name, inputs = self.names[i], self._inputs[i]
        known = {"name": name, "literal": self._literals[i], "remark": self._remarks[i]}
        if not inputs:
            sleep = f"time.sleep({self._sleep_s})\n    " if i in self._is_slow else ""
            return _ROOT_PY.format(**known, sleep=sleep)
        result = "blended % helpers.MODULUS"
        if self._is_tempered(i):
            result = "temper(blended)"
        if self._is_list(i):
            result = f"helpers.spread({result})"
        types = {True: "list[int]", False: "int"}
        return _NODE_PY.format(
            **known,
            parameters=", ".join(f"{self.names[j]}: {types[self._is_list(j)]}" for j in inputs),
            type=types[self._is_list(i)],
            arguments=", ".join(self.names[j] for j in inputs),
            result=result,
        )


def _wired(nodes: int, roots: int, unused: set[int]) -> list[tuple[int, ...]]:
    """The inputs of each node; those of the last one are among what comes shortly before it.

    Args:
        nodes: how many.
        roots: how many of them, at the beginning, have no inputs.
        unused: roots that are used, each by some node, whatever the dice say.
    """
    dice = random.Random(20120101)
    window = max(5, nodes // 8)
    wired: list[tuple[int, ...]] = [()] * roots
    waiting = sorted(unused)
    for i in range(roots, nodes):
        candidates = range(max(0, i - window), i)
        chosen = set(dice.sample(candidates, min(dice.choice((1, 2, 2, 3, 3, 4)), len(candidates))))
        if waiting:
            chosen.add(waiting.pop())
        wired.append(tuple(sorted(chosen)))
    return wired


def _takers(inputs: Sequence[Sequence[int]]) -> list[list[int]]:
    """For each node those that take its value."""
    takers: list[list[int]] = [[] for _ in inputs]
    for i, its in enumerate(inputs):
        for j in its:
            takers[j].append(i)
    return takers


def _other_size(number: int) -> int:
    """A number that was not there before, with more or fewer digits than the last one."""
    return number * 10 + 1 if number < 100_000 else number // 10 + 3
