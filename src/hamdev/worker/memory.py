"""The values of nodes, and what each was made from; bounded in size."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hamdev.core.plan import Known
from hamdev.core.references import Key
from hamdev.core.versions import Part
from hamdev.messages import Summary
from hamdev.pipeline.file_states import FileState

GONE: Any = object()
"""Stands for a value that is not in memory."""
_numbers = itertools.count(1)
_PROCESS = os.urandom(8)


def unique_token() -> bytes:
    """A token that equals no other one: for values that cannot be told apart."""
    return b"#" + _PROCESS + next(_numbers).to_bytes(8, "big")


@dataclass(slots=True)
class Remembered:
    """One value of one node.

    Attributes:
        token: equal tokens mean values that no node can tell apart.
        has_fingerprint: whether the token is the value's fingerprint, not just a number.
        version: the node's code version.
        inputs: input name → the token of its value.
        files: path → what the node read there.
        seconds: in the node's own function.
        size: of the value in bytes, about.
        run: which computed the value, or restored it.
        revision: the latest one that the value is known to be right for.
        key: under which it is kept on disk; empty if it is not.
        is_restored: it was computed by an earlier process, or in an earlier state of the files.
        parts: what the version covers, or what works that out.
        spoilt: how the value was changed after it was made; empty if it was not.
    """

    value: Any
    token: bytes
    has_fingerprint: bool
    version: str
    inputs: Mapping[str, bytes]
    files: Mapping[str, FileState]
    seconds: float
    size: int
    run: int
    revision: int
    summary: Summary
    key: str = ""
    is_restored: bool = False
    parts: Mapping[Key, Part] | Callable[[], Mapping[Key, Part]] = field(default_factory=dict)
    spoilt: str = ""

    @property
    def has_value(self) -> bool:
        """Whether the value itself is still to be had, in memory or on disk."""
        return self.is_in_memory or bool(self.key)

    @property
    def is_in_memory(self) -> bool:
        """Whether the value is at hand."""
        return self.value is not GONE

    def known(self) -> Known:
        """What the plan needs to know of it; looks at the files that the node read."""
        changed = tuple(path for path, state in self.files.items() if not state.is_same(path))
        return Known(
            version=self.version,
            inputs=self.inputs,
            token=self.token,
            run=self.run,
            changed_files=changed,
            has_value=self.has_value,
            spoilt=self.spoilt,
        )


@dataclass(frozen=True, slots=True)
class Shown:
    """What people were shown of a value that has been forgotten.

    Attributes:
        token, summary: of the value.
        revision: the latest one that it was right for.
    """

    token: bytes
    summary: Summary
    revision: int


class Memory:
    """The latest value of each node of each pipeline; safe to use from several threads.

    Args:
        max_bytes: what all values together may take, about.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._lock = threading.Lock()
        self._values: dict[str, dict[str, Remembered]] = {}
        self._shown: dict[str, dict[str, Shown]] = {}

    def keep(self, pipeline: str, node: str, remembered: Remembered) -> None:
        """Remember a value in the place of the node's former one."""
        with self._lock:
            self._values.setdefault(pipeline, {})[node] = remembered
            self._shown.get(pipeline, {}).pop(node, None)

    def get(self, pipeline: str, node: str) -> Remembered | None:
        """The node's latest value, if it has one."""
        with self._lock:
            return self._values.get(pipeline, {}).get(node)

    def of(self, pipeline: str) -> dict[str, Remembered]:
        """All that is remembered of a pipeline, by node."""
        with self._lock:
            return dict(self._values.get(pipeline, {}))

    def shown(self, pipeline: str, node: str) -> Shown | None:
        """What the node's value was like that has been forgotten, until it has another one."""
        with self._lock:
            return self._shown.get(pipeline, {}).get(node)

    def forget(self) -> None:
        """Forget all values, but not what people were shown of them."""
        with self._lock:
            for pipeline, values in self._values.items():
                self._shown.setdefault(pipeline, {}).update(
                    (node, Shown(known.token, known.summary, known.revision))
                    for node, known in values.items()
                )
            self._values.clear()

    def forget_others(self, pipeline: str, nodes: Iterable[str]) -> None:
        """Drop the values of nodes that the pipeline no longer has."""
        kept = set(nodes)
        with self._lock:
            values = self._values.get(pipeline, {})
            for node in values.keys() - kept:
                del values[node]
            shown = self._shown.get(pipeline, {})
            for node in shown.keys() - kept:
                del shown[node]

    def make_room(
        self, served: Iterable[tuple[str, str]], asked_for: Collection[tuple[str, str]] = ()
    ) -> list[tuple[str, str]]:
        """Give up values until the rest fits: first what is cheapest to compute again per byte.

        Args:
            served: (pipeline, node) whose values people may ask for; they go last.
            asked_for: those that somebody is about to fetch; they stay.

        Returns:
            The (pipeline, node) whose values were given up.
        """
        wanted = set(served)
        with self._lock:
            held = [
                (pipeline, node, remembered)
                for pipeline, values in self._values.items()
                for node, remembered in values.items()
                if remembered.is_in_memory
            ]
            total = sum(remembered.size for _, _, remembered in held)
            if total <= self.max_bytes:
                return []
            held.sort(key=lambda item: (item[:2] in wanted, item[2].seconds / (item[2].size + 1)))
            given_up = []
            for pipeline, node, remembered in held:
                if total <= self.max_bytes:
                    break
                if remembered.size == 0 or (pipeline, node) in asked_for:
                    continue
                remembered.value = GONE
                total -= remembered.size
                given_up.append((pipeline, node))
            return given_up
