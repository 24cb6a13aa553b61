"""Keeping nodes that change their inputs in place from spoiling remembered values.

Whether an input is still what it was is looked at after a run. If it is not, any node that took it
may have done it, and any that took it may have seen it spoilt. So the input and all of them are
computed again, this time each with a copy of its own; then the copies tell who it was. From then on
that node gets copies, and nobody else pays for it.
"""

from __future__ import annotations

import copy
from typing import Any

from hamdev.worker.memory import Memory
from hamdev.worker.reuse import RunReuse

_Pair = tuple[str, str]


class Protected:
    """Which nodes get copies of which inputs."""

    def __init__(self) -> None:
        self._suspects: dict[str, set[_Pair]] = {}
        self._guilty: dict[str, set[_Pair]] = {}
        self._copies: dict[_Pair, tuple[Any, bytes]] = {}

    def begin_run(self) -> None:
        """Forget the copies of the run before."""
        self._copies.clear()

    def inputs(
        self, pipeline: str, node: str, values: dict[str, Any], reuse: RunReuse
    ) -> dict[str, Any]:
        """The values for a node, copied where it is known or suspected to change them."""
        pairs = self._suspects.get(pipeline, set()) | self._guilty.get(pipeline, set())
        names = [name for taker, name in pairs if taker == node and name in values]
        if not names:
            return values
        own = dict(values)
        for name in names:
            try:
                own[name] = copy.deepcopy(values[name])
                self._copies[node, name] = own[name], reuse.token_of(own[name])
            except Exception:  # what cannot be copied is handed over as it is
                continue
        return own

    def check(self, pipeline: str, reuse: RunReuse, memory: Memory) -> tuple[list[str], list[str]]:
        """Look at the inputs of what has run.

        Returns:
            The nodes whose values are wrong, and what to tell the user.
        """
        warnings = self._judge_copies(pipeline, reuse)
        wrong: list[str] = []
        for name, takers in reuse.takers().items():
            remembered = memory.get(pipeline, name)
            if remembered is None or not remembered.has_fingerprint:
                continue
            if not remembered.is_in_memory or reuse.is_intact(remembered):
                continue
            if all((taker, name) in self._copies for taker in takers):
                continue  # it changes by itself, when it is looked at, and nobody has seen that
            remembered.spoilt = f"its value was changed in place by {_either(takers)}"
            wrong.append(name)
            for taker in takers:
                if (known := memory.get(pipeline, taker)) is not None:
                    known.spoilt = f"its input {name!r} was changed in place by {_either(takers)}"
                wrong.append(taker)
                self._suspects.setdefault(pipeline, set()).add((taker, name))
            if len(takers) == 1:
                warnings.append(_warning(takers[0], name))
        return list(dict.fromkeys(wrong)), warnings

    def _judge_copies(self, pipeline: str, reuse: RunReuse) -> list[str]:
        warnings = []
        suspects = self._suspects.get(pipeline, set())
        guilty = self._guilty.setdefault(pipeline, set())
        for (node, name), (value, token) in self._copies.items():
            if reuse.token_of(value) == token:
                suspects.discard((node, name))
            elif (node, name) not in guilty:
                guilty.add((node, name))
                suspects.discard((node, name))
                warnings.append(_warning(node, name))
        return warnings


def _warning(node: str, name: str) -> str:
    return (
        f"node {node!r} changes its input {name!r} in place, which other nodes and later runs "
        f"would see; it is given a copy from now on. Way out: begin it with {name} = {name}.copy()"
    )


def _either(names: list[str]) -> str:
    listed = " or ".join(repr(name) for name in names[:3])
    return listed if len(names) <= 3 else f"{listed} or others"
