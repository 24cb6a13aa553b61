"""What an execution tells about its nodes while it goes on."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

current_node: ContextVar[str | None] = ContextVar("hamdev_current_node", default=None)
"""The node whose function runs in this context; None outside of nodes."""


@dataclass(frozen=True, slots=True)
class Recalled:
    """A value that stands for executing a node."""

    value: Any


class Remembering(Protocol):
    """Stands between an execution and its nodes' functions."""

    def recall(self, node: str) -> Recalled | None:
        """A value to use instead of executing the node, now that its inputs are known."""

    def inputs(self, node: str, values: dict[str, Any]) -> dict[str, Any]:
        """The values to call the node's function with."""


class Observer(Protocol):
    """Receives a call at each step of each node, in the thread or task that executes it.

    `seconds` is the time in the node's own function, hooks excluded.
    """

    def node_started(self, node: str, inputs: Mapping[str, Any]) -> None:
        """The node's inputs are ready and its function is about to be called."""

    def node_finished(self, node: str, value: Any, seconds: float) -> None:
        """The function returned `value`."""

    def node_failed(self, node: str, error: BaseException, seconds: float) -> None:
        """The function, or a hook around it, raised."""

    def node_blocked(self, node: str, by: str) -> None:
        """The node is not executed, since `by`, upstream of it, failed."""


class SilentObserver:
    """Ignores everything."""

    def node_started(self, node: str, inputs: Mapping[str, Any]) -> None:
        """Ignore it."""

    def node_finished(self, node: str, value: Any, seconds: float) -> None:
        """Ignore it."""

    def node_failed(self, node: str, error: BaseException, seconds: float) -> None:
        """Ignore it."""

    def node_blocked(self, node: str, by: str) -> None:
        """Ignore it."""
