"""Node → a code version: what its function, its decorators and the config they look at mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hamilton.node import Node

from hamdev.core.references import Key
from hamdev.core.versions import Codebase, Difference, Part, differences
from hamdev.pipeline.composition import Producer
from hamdev.pipeline.state import ModuleState

NEVER_TAG = "hamdev.reuse"
_BEHAVIOR_TAG = "cache.behavior"  # what Hamilton's @cache(behavior=…) leaves on a node


class NodeVersions:
    """Code versions of the nodes of one DAG.

    Args:
        codebase: of the loaded texts.
        producers: node name → where it comes from.
        config: Hamilton's config.
        config_token: a digest of one config value.
        state: of the loaded modules.
        version_of: (module, name) → the version that `codebase` has for it.
    """

    def __init__(
        self,
        codebase: Codebase,
        producers: Mapping[str, Producer],
        config: Mapping[str, Any],
        config_token: Callable[[Any], bytes],
        state: ModuleState,
        version_of: Callable[[str, str], str],
    ) -> None:
        self._codebase = codebase
        self._producers = producers
        self._config = config
        self._config_token = config_token
        self._state = state
        self._version_of = version_of

    def version(self, name: str, node: Node) -> str:
        """A text that changes with everything that the code of `node`, called `name`, means."""
        producer = self._producers[name]
        version = f"{name} {self._version_of(producer.module, producer.name)}"
        if producer.config_names:
            version += f" {sorted(self._config_parts(producer).items())}"
        for function in node.originating_functions or ():
            if function is not producer.function:
                version += f" {self._version_of(*_home(function))}"
        return version

    def parts(self, node: Node) -> dict[Key, Part]:
        """Everything that the version covers, for explaining how it came to differ."""
        producer = self._producers[node.name]
        found = dict(self._codebase.parts(producer.module, producer.name))
        for function in node.originating_functions or ():
            if function is not producer.function:
                found |= self._codebase.parts(*_home(function))
        for name, token in self._config_parts(producer).items():
            found["", f"config {name}"] = Part(token, "config value", "", 0)
        return found

    def covered(self, node: Node) -> set[Key]:
        """What the version covers, but for config values."""
        producer = self._producers[node.name]
        found = self._codebase.covered(producer.module, producer.name)
        for function in node.originating_functions or ():
            if function is not producer.function:
                found |= self._codebase.covered(*_home(function))
        return found

    def state(self, node: Node) -> frozenset[Key]:
        """The module-level objects that the node's code sees and that functions change."""
        producer = self._producers[node.name]
        found = self._state.of(self._codebase.key(producer.module, producer.name))
        for function in node.originating_functions or ():
            if function is not producer.function:
                found |= self._state.of(self._codebase.key(*_home(function)))
        return found

    @property
    def has_state(self) -> bool:
        """Whether functions of the project change any module-level object."""
        return bool(self._state)

    def may_spread(self, state: Key) -> bool:
        """Whether values that are handed on may change it."""
        return self._state.may_spread(state, self._codebase)

    def never_reused(self, node: Node) -> str:
        """Why the value of a node is never to be reused; empty if it may be."""
        if str(node.tags.get(NEVER_TAG, "")) == "never":
            return f"its tag {NEVER_TAG!r} says that it is never reused"
        if (behavior := node.tags.get(_BEHAVIOR_TAG)) in ("recompute", "disable"):
            return f"@cache(behavior={behavior!r}) says that it is never reused"
        return ""

    def is_ignored(self, node: Node) -> bool:
        """Whether other nodes are to be reused whatever the value of this one is."""
        return bool(node.tags.get(_BEHAVIOR_TAG) == "ignore")

    def _config_parts(self, producer: Producer) -> dict[str, str]:
        return {
            name: self._config_token(self._config[name]).hex() for name in producer.config_names
        }


def explained(before: Mapping[Key, Part], after: Mapping[Key, Part]) -> list[Difference]:
    """What two versions of a node differ in, the most telling first."""
    found = differences(before, after)
    placed = [difference for difference in found if difference.line]
    return placed or found


def _home(function: Callable[..., Any]) -> tuple[str, str]:
    name = getattr(function, "__qualname__", getattr(function, "__name__", ""))
    return getattr(function, "__module__", None) or "", name.partition(".")[0]
