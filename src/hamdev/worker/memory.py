"""The values of nodes, each with the run and revision it comes from."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Remembered:
    """One value; what it was computed for dates it."""

    value: Any
    run: int
    revision: int


class Memory:
    """The latest value of each node of each pipeline; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, dict[str, Remembered]] = {}

    def keep(self, pipeline: str, node: str, remembered: Remembered) -> None:
        """Remember a value in the place of the node's former one."""
        with self._lock:
            self._values.setdefault(pipeline, {})[node] = remembered

    def get(self, pipeline: str, node: str) -> Remembered | None:
        """The node's latest value, if it has one."""
        with self._lock:
            return self._values.get(pipeline, {}).get(node)

    def forget_others(self, pipeline: str, nodes: Iterable[str]) -> None:
        """Drop the values of nodes that the pipeline no longer has."""
        kept = set(nodes)
        with self._lock:
            values = self._values.get(pipeline, {})
            for node in values.keys() - kept:
                del values[node]
