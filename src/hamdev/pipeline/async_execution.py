"""Executing a DAG through Hamilton's async driver.

Hamilton's own adapter for it calls synchronous node hooks when a node's *task is created*, with
tasks for values, drops adapters that only have methods, and leaves the siblings of a failed node
running. The one here takes its place inside the same driver: it creates the tasks, resolves the
inputs, and fires every hook around the real call with real values.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import CodeType, ModuleType
from typing import Any

from hamilton import async_driver, base, driver
from hamilton.lifecycle import base as lifecycle
from hamilton.node import Node

from hamdev.errors import RunTimeoutError
from hamdev.pipeline.composition import Composition
from hamdev.pipeline.executors import CallElsewhere
from hamdev.pipeline.graphs import OrderedGraph
from hamdev.pipeline.observe import Observer, Remembering, current_node
from hamdev.pipeline.values import require_value

_NODE_HOOKS = ("pre_node_execute", "post_node_execute")


class BlockedError(Exception):
    """A node was not executed, since `by`, upstream of it, failed."""

    def __init__(self, by: str) -> None:
        self.by = by
        super().__init__(f"blocked by {by!r}")


class _EscapedError(Exception):
    """Stands, inside the driver, for what a node raised and what would end the event loop."""


class AsyncExecution:
    """One DAG, built once, ready to be executed in a running event loop.

    Args:
        modules: in the order in which later ones win.
        config: Hamilton's config.
        adapters: lifecycle adapters, checked by `adapters.require_async`.
        composition: keeps what it can for the next DAG; one of its own without it.

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
        adapter_set = lifecycle.LifecycleAdapterSet(*adapters)
        self._driver = _Driver(dict(config), modules, adapter_set, composition or Composition())
        self.graph = self._driver.graph

    async def execute(
        self,
        final_vars: Sequence[str],
        inputs: Mapping[str, Any],
        overrides: Mapping[str, Any],
        observer: Observer,
        timeout_s: float | None = None,
        call_elsewhere: CallElsewhere | None = None,
        keep_going: bool = False,
        remembering: Remembering | None = None,
    ) -> Any:
        """The values of `final_vars`, in that order (or what a result builder makes of them).

        Args:
            final_vars: names of nodes.
            inputs: runtime inputs, validated before.
            overrides: node name → value to use instead of executing it.
            observer: is told of every node's steps.
            timeout_s: seconds after which the run is given up at the next await.
            call_elsewhere: calls synchronous functions; None: they run in the event loop itself.
            keep_going: let nodes that do not depend on a failed one finish before raising.
            remembering: may give a node's value; then neither it nor its hooks are called.

        Raises:
            RunTimeoutError: the time limit passed.
            StrayResultError: a node returned a coroutine or a generator.
            Exception: whatever the first failing node raised. No task of the run is left behind.
        """
        await self._driver.ainit()
        tasks = self._driver.tasks
        tasks.begin(list(final_vars), observer, call_elsewhere, remembering)
        try:
            outcome = await self._outcome(final_vars, inputs, overrides, timeout_s, keep_going)
        finally:
            await tasks.end()
        if isinstance(outcome, _Failure):
            # Here no other exception is being handled that would become this one's context.
            raise outcome.error
        return outcome

    async def _outcome(
        self,
        final_vars: Sequence[str],
        inputs: Mapping[str, Any],
        overrides: Mapping[str, Any],
        timeout_s: float | None,
        keep_going: bool,
    ) -> Any:
        """The result, or the `_Failure` to be raised; a cancellation is passed on."""
        tasks = self._driver.tasks
        try:
            async with asyncio.timeout(timeout_s) as scope:
                try:
                    return await self._driver.execute(
                        list(final_vars), inputs=dict(inputs), overrides=dict(overrides)
                    )
                except Exception:
                    if keep_going:
                        await tasks.settle()
                    raise
        except TimeoutError as error:
            if scope.expired():
                return _Failure(RunTimeoutError(f"the run took longer than timeout_s={timeout_s}"))
            return _Failure(tasks.first_failure or error)
        except Exception as error:
            return _Failure(tasks.first_failure or error)


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why there is no result."""

    error: BaseException


class _Driver(async_driver.AsyncDriver):  # type: ignore[misc]  # Hamilton ships no types
    """Hamilton's async driver, with `_NodeTasks` in the place of its own graph adapter."""

    graph: OrderedGraph

    def __init__(
        self,
        config: dict[str, Any],
        modules: Sequence[ModuleType],
        adapters: lifecycle.LifecycleAdapterSet,
        composition: Composition,
    ) -> None:
        self.tasks = _NodeTasks(adapters)
        for hook in _NODE_HOOKS:  # fired by the tasks, with real values
            adapters.sync_hooks.pop(hook, None)
            adapters.async_hooks.pop(hook, None)
        adapters.async_methods.pop("do_node_execute", None)
        adapters.sync_methods["do_node_execute"] = [self.tasks]
        adapters.sync_methods["do_build_result"] = [self.tasks]
        adapters.sync_hooks.pop("post_graph_execute", None)
        adapters.async_hooks["post_graph_execute"] = [self.tasks]
        # The base class composes no modules, so its empty DAG is none to show or to validate.
        constructed = adapters.sync_hooks.pop("post_graph_construct", [])
        validators, adapters.sync_validators = adapters.sync_validators, {}
        driver.Driver.__init__(self, config, adapter=adapters)
        adapters.sync_validators = validators
        self.graph_modules = modules
        nodes = composition.nodes(modules, config, adapters)
        self.graph = OrderedGraph(nodes, config, adapters, composition.shape)
        self._perform_graph_validations(adapters, graph=self.graph, graph_modules=modules)
        for hook in constructed:
            hook.post_graph_construct(graph=self.graph, modules=modules, config=config)
        self.initialized = False


class _NodeTasks(lifecycle.BaseDoNodeExecute, lifecycle.BasePostGraphExecuteAsync):  # type: ignore[misc]
    """Makes one task a node and fires the users' hooks around the real call."""

    def __init__(self, adapters: lifecycle.LifecycleAdapterSet) -> None:
        self._pre = _hooks(adapters, "pre_node_execute")
        self._post = _hooks(adapters, "post_node_execute")
        self._after_graph = _hooks(adapters, "post_graph_execute")
        self._method = _method(adapters, "do_node_execute")
        builder = adapters.sync_methods.get("do_build_result")
        self._builder = builder[0] if builder else base.DictResult()
        self.begin([], None, None)

    def begin(
        self,
        final_vars: list[str],
        observer: Observer | None,
        call_elsewhere: CallElsewhere | None,
        remembering: Remembering | None = None,
    ) -> None:
        """Forget the run before and get ready for the next one."""
        self._remembering = remembering
        self._final_vars = final_vars
        self._observer = observer
        self._call_elsewhere = call_elsewhere
        self._tasks: dict[str, asyncio.Task[Any]] = {}
        self._built: tuple[Any] | None = None
        self.first_failure: BaseException | None = None

    async def settle(self) -> None:
        """Wait until no task of this run is left, whatever became of them."""
        if self._tasks:
            await asyncio.wait(self._tasks.values())

    async def end(self) -> None:
        """Cancel what still runs, and leave no exception unread."""
        pending = [task for task in self._tasks.values() if not task.done()]
        for task in pending:
            task.cancel()
        if pending:
            await asyncio.gather(*pending, return_exceptions=True)
        for task in self._tasks.values():
            if not task.cancelled():
                task.exception()
        self.begin([], None, None)

    # -- called by Hamilton -------------------------------------------------------------------

    def do_node_execute(
        self, *, run_id: str, node_: Node, kwargs: dict[str, Any], task_id: str | None = None
    ) -> asyncio.Task[Any]:
        """A task for the node's value; its inputs may still be tasks themselves."""
        task = asyncio.create_task(self._node(run_id, node_, kwargs, task_id), name=node_.name)
        self._tasks[node_.name] = task
        return task

    def do_build_result(self, *, outputs: dict[str, Any]) -> Any:
        """What the run returns; the same object that `post_graph_execute` has seen."""
        if self._built is None:
            ordered = {name: outputs[name] for name in self._final_vars}
            self._built = (self._builder.do_build_result(outputs=ordered),)
        return self._built[0]

    async def post_graph_execute(
        self, *, run_id: str, graph: Any, success: bool, error: Exception | None, results: Any
    ) -> None:
        """Pass it on as the sync driver does: the built result, or the node's own error."""
        shown = self.do_build_result(outputs=results) if success and self._after_graph else results
        failure = None if success else self.first_failure or error
        for hook in self._after_graph:
            await _resolved(
                hook(run_id=run_id, graph=graph, success=success, error=failure, results=shown)
            )

    # -- one node -----------------------------------------------------------------------------

    async def _node(
        self, run_id: str, node_: Node, kwargs: dict[str, Any], task_id: str | None
    ) -> Any:
        observer = self._observer
        assert observer is not None
        current_node.set(node_.name)
        values = await self._inputs(node_.name, kwargs, observer)
        if self._remembering is not None:
            if (recalled := self._remembering.recall(node_.name)) is not None:
                return recalled.value
            values = self._remembering.inputs(node_.name, values)
        step = {"run_id": run_id, "node_": node_, "kwargs": values, "task_id": task_id}
        value: Any = None
        failure: BaseException | None = None
        started = time.perf_counter()
        announced = False
        try:
            for hook in self._pre:
                await _resolved(hook(**step))
            announced = True
            observer.node_started(node_.name, values)
            started = time.perf_counter()
            value = require_value(node_, await self._call(node_, values, step))
        except BaseException as error:
            failure = _as_failure(error)
            self._failed(node_.name, failure, time.perf_counter() - started)
            if isinstance(failure, SystemExit | KeyboardInterrupt):
                raise _EscapedError(repr(failure)) from failure
            if failure is not error:
                raise failure from error
            raise
        finally:
            if announced:
                ended = time.perf_counter() - started
                try:
                    for hook in self._post:
                        await _resolved(
                            hook(**step, success=failure is None, error=failure, result=value)
                        )
                except BaseException as error:
                    if failure is None:
                        self._failed(node_.name, error, ended)
                    raise
        observer.node_finished(node_.name, value, ended)
        return value

    async def _inputs(
        self, name: str, kwargs: dict[str, Any], observer: Observer
    ) -> dict[str, Any]:
        upstream = {
            key: value
            for key, value in kwargs.items()
            if isinstance(value, asyncio.Task) and self._tasks.get(key) is value
        }
        # Awaiting a task directly would make cancelling this one cancel it too, and so on up:
        # that exceeds the recursion limit in a long chain.
        if pending := [task for task in upstream.values() if not task.done()]:
            await asyncio.wait(pending, return_when=asyncio.FIRST_EXCEPTION)
        for task in upstream.values():
            if not task.done():
                continue
            if task.cancelled():
                raise asyncio.CancelledError
            if (error := task.exception()) is not None:
                # Raising the same exception in every task below would grow its traceback by
                # some frames for each of them; the driver's caller gets `first_failure`.
                by = error.by if isinstance(error, BlockedError) else task.get_name()
                observer.node_blocked(name, by)
                raise BlockedError(by)
        return {k: value.result() if k in upstream else value for k, value in kwargs.items()}

    async def _call(self, node_: Node, values: dict[str, Any], step: dict[str, Any]) -> Any:
        if self._method is not None:
            value = self._method(**step)
            if inspect.iscoroutinefunction(self._method):
                value = await value
            if not inspect.iscoroutine(value) or inspect.iscoroutinefunction(node_.callable):
                value = await _resolved(value)
            return value
        function = node_.callable
        if inspect.iscoroutinefunction(function):
            return await function(**values)
        if self._call_elsewhere is None:
            return function(**values)
        return await self._call_elsewhere(function, values)

    def _failed(self, node: str, error: BaseException, seconds: float) -> None:
        assert self._observer is not None
        if self.first_failure is None and not isinstance(error, asyncio.CancelledError):
            self.first_failure = error
        self._observer.node_failed(node, error, seconds)


def _as_failure(error: BaseException) -> BaseException:
    """`error`; a cancellation that nobody asked for is a failure like any other."""
    task = asyncio.current_task()
    if not isinstance(error, asyncio.CancelledError) or task is None or task.cancelling():
        return error
    text = "asyncio.CancelledError was raised, though nobody cancelled the run"
    return RuntimeError(text).with_traceback(error.__traceback__)


def user_code_callers() -> list[CodeType]:
    """The code of what calls a node's function."""
    return [_NodeTasks._call.__code__]


def _hooks(adapters: lifecycle.LifecycleAdapterSet, name: str) -> list[Callable[..., Any]]:
    found = [*adapters.sync_hooks.get(name, ()), *adapters.async_hooks.get(name, ())]
    return [getattr(adapter, name) for adapter in found]


def _method(adapters: lifecycle.LifecycleAdapterSet, name: str) -> Callable[..., Any] | None:
    found = adapters.sync_methods.get(name) or adapters.async_methods.get(name)
    return getattr(found[0], name) if found else None


async def _resolved(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value
