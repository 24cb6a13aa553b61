"""Executing a DAG through Hamilton's synchronous driver."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import time
from collections.abc import Iterator, Mapping, Sequence
from types import CodeType, ModuleType
from typing import Any

from anyio.from_thread import BlockingPortal, start_blocking_portal
from hamilton import driver
from hamilton.lifecycle import base as lifecycle
from hamilton.node import Node

from hamdev.errors import RunTimeoutError
from hamdev.pipeline.composition import Composition
from hamdev.pipeline.graphs import OrderedGraph
from hamdev.pipeline.observe import Observer, Remembering, current_node
from hamdev.pipeline.values import require_value


class SyncExecution:
    """One DAG, built once, ready to be executed in the calling thread.

    Args:
        modules: in the order in which later ones win.
        config: Hamilton's config.
        adapters: lifecycle adapters, checked by `adapters.require_sync`.
        composition: tells afterwards which functions the nodes come from.

    Attributes:
        graph: the composed DAG.
    """

    def __init__(
        self,
        modules: Sequence[ModuleType],
        config: Mapping[str, Any],
        adapters: Sequence[Any],
        composition: Composition | None = None,
    ) -> None:
        builder = driver.Builder().with_modules(*modules).with_config(dict(config))
        self._driver = builder.with_adapters(*adapters).allow_module_overrides().build()
        graph = self._driver.graph
        nodes = graph.nodes
        if composition is not None:
            nodes = composition.nodes(modules, config, graph.adapter)
        self.graph = OrderedGraph(nodes, graph.config, graph.adapter)
        self._driver.graph = self.graph

    def execute(
        self,
        final_vars: Sequence[str],
        inputs: Mapping[str, Any],
        overrides: Mapping[str, Any],
        observer: Observer,
        timeout_s: float | None = None,
        remembering: Remembering | None = None,
    ) -> Any:
        """The values of `final_vars`, in that order (or what a result builder makes of them).

        A function that is `async def` is awaited in an event loop beside this thread. The time
        limit is looked at before each node and while one is awaited.

        Raises:
            RunTimeoutError: the time limit passed.
            StrayResultError: a node returned a coroutine or a generator.
            Exception: whatever a node raised.
        """
        adapter_set = self._driver.adapter
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        with _awaiting() as loop:
            if adapter_set.does_method("do_remote_execute", is_async=False):
                # Such an adapter ships the whole step elsewhere; ours could not follow it there.
                return self._driver.execute(
                    list(final_vars), inputs=dict(inputs), overrides=dict(overrides)
                )
            methods = dict(adapter_set.sync_methods)
            users = methods.get("do_node_execute")
            calls = _NodeCalls(
                users[0] if users else None, observer, loop, deadline, timeout_s, remembering
            )
            adapter_set.sync_methods["do_node_execute"] = [calls]
            if "do_validate_input" in methods:
                adapter_set.sync_methods["do_validate_input"] = [_Validated()]
            try:
                return self._driver.execute(
                    list(final_vars), inputs=dict(inputs), overrides=dict(overrides)
                )
            finally:
                adapter_set.sync_methods.clear()
                adapter_set.sync_methods.update(methods)


class _NodeCalls(lifecycle.BaseDoNodeExecute):  # type: ignore[misc]  # Hamilton ships no types
    """Calls one node's function: awaited if need be, timed, observed, its result checked."""

    def __init__(
        self,
        users: Any | None,
        observer: Observer,
        loop: _LoopBeside,
        deadline: float | None,
        timeout_s: float | None,
        remembering: Remembering | None,
    ) -> None:
        self._remembering = remembering
        self._users = users
        self._observer = observer
        self._loop = loop
        self._deadline = deadline
        self._timeout_s = timeout_s

    def do_node_execute(
        self, *, run_id: str, node_: Node, kwargs: dict[str, Any], task_id: str | None = None
    ) -> Any:
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise RunTimeoutError(
                f"the run took longer than timeout_s={self._timeout_s}; node {node_.name!r} and "
                "what depends on it were not executed"
            )
        if self._remembering is not None:
            if (recalled := self._remembering.recall(node_.name)) is not None:
                return recalled.value
            kwargs = self._remembering.inputs(node_.name, kwargs)
        token = current_node.set(node_.name)
        self._observer.node_started(node_.name, kwargs)
        started = time.perf_counter()
        try:
            if self._users is not None:
                value = self._users.do_node_execute(
                    run_id=run_id, node_=node_, kwargs=kwargs, task_id=task_id
                )
            else:
                value = node_.callable(**kwargs)
            if inspect.iscoroutine(value) and inspect.iscoroutinefunction(node_.callable):
                value = self._loop.wait_for(value, self._deadline, node_.name)
            value = require_value(node_, value)
        except BaseException as error:
            self._observer.node_failed(node_.name, error, time.perf_counter() - started)
            raise
        finally:
            current_node.reset(token)
        self._observer.node_finished(node_.name, value, time.perf_counter() - started)
        return value


def user_code_callers() -> list[CodeType]:
    """The code of what calls a node's function, or waits for it."""
    return [_NodeCalls.do_node_execute.__code__, _LoopBeside.wait_for.__code__]


class _Validated(lifecycle.BaseDoValidateInput):  # type: ignore[misc]  # Hamilton ships no types
    """Stands for a user's input check, which was asked before and is not to be asked twice."""

    def do_validate_input(self, *, node_type: Any, input_value: Any) -> bool:
        return True


class _LoopBeside:
    """An event loop in a thread of its own, started when the first coroutine needs it."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self._portal: BlockingPortal | None = None

    def wait_for(self, coroutine: Any, deadline: float | None, node: str) -> Any:
        if self._portal is None:
            self._portal = self._stack.enter_context(start_blocking_portal("asyncio"))
        return self._portal.call(_await, coroutine, deadline, node)


async def _await(coroutine: Any, deadline: float | None, node: str) -> Any:
    limit = None if deadline is None else max(0.0, deadline - time.monotonic())
    try:
        async with asyncio.timeout(limit) as scope:
            return await coroutine
    except TimeoutError as error:
        if not scope.expired():
            raise
        raise RunTimeoutError(
            f"node {node!r} was awaited longer than the run's time limit"
        ) from error


@contextlib.contextmanager
def _awaiting() -> Iterator[_LoopBeside]:
    with contextlib.ExitStack() as stack:
        yield _LoopBeside(stack)
