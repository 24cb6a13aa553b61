"""`PipelineManager`: run a pipeline of Hamilton modules, synchronously or asynchronously."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from hamdev.config import Settings, load_settings
from hamdev.errors import InputError
from hamdev.pipeline import adapters as adapters_
from hamdev.pipeline.composition import Composition
from hamdev.pipeline.executors import opened
from hamdev.pipeline.graphs import (
    OrderedGraph,
    describe_missing,
    refuse_dynamic,
    require_known,
)
from hamdev.pipeline.loader import Project, ReloadMode
from hamdev.pipeline.observe import Observer, SilentObserver
from hamdev.pipeline.run_config import ModuleEntry, RunConfig
from hamdev.pipeline.run_log import LoggingObserver, run_logger
from hamdev.pipeline.sync_execution import SyncExecution


@dataclass(frozen=True, slots=True)
class Prepared:
    """A composed and validated pipeline, about to be executed.

    Attributes:
        name: the pipeline's name, as the caller gave it.
        execution: a `SyncExecution` or an `AsyncExecution`.
        modules: in the order in which later ones win.
        final_vars: the nodes wanted, in the order of the result.
        ordered: the names of all nodes with a function that are to be executed, dependencies first.
        lacking: leaf nodes that were left out → missing input → the nodes that need it.
        config: the merged run config.
    """

    name: str
    execution: Any
    modules: list[ModuleType]
    final_vars: list[str]
    ordered: list[str]
    lacking: dict[str, dict[str, list[str]]]
    config: RunConfig

    @property
    def graph(self) -> OrderedGraph:
        """The composed DAG."""
        graph: OrderedGraph = self.execution.graph
        return graph


class PipelineManager:
    """Runs the pipelines of one project.

    Args:
        base_dir: the project's folder; `devserver.toml` in it, if there is one, gives defaults.
        pipelines_dir: the folder in which short module names are looked up first; by default
            what `[watch] pipelines_dir` says, or `pipelines`.
        settings: to be used in place of the file's.

    Raises:
        SettingsError: `devserver.toml` has mistakes; all of them are listed.
    """

    def __init__(
        self,
        base_dir: str | Path | None = None,
        *,
        pipelines_dir: str | None = None,
        settings: Settings | None = None,
    ) -> None:
        self.base_dir = Path(base_dir) if base_dir is not None else Path.cwd()
        if not self.base_dir.is_dir():
            raise NotADirectoryError(f"base_dir {str(self.base_dir)!r} is not a folder")
        self._settings = settings or load_settings(self.base_dir)
        folder = pipelines_dir or self._settings.watch.pipelines_dir
        self.project = Project(self.base_dir, folder)

    def run(
        self,
        pipeline: ModuleEntry,
        run_config: RunConfig | None = None,
        **keywords: Any,
    ) -> Any:
        """Execute a pipeline in the calling thread.

        Args:
            pipeline: the main module: its name or the module itself. It is composed last, so its
                nodes win over those of additional modules.
            run_config: what the run is asked to do; beats `devserver.toml`.
            **keywords: the fields of `RunConfig`; they beat `run_config`.

        Returns:
            A dict, node name → value, in the order of `final_vars`. If a result builder is among
            the adapters: what it builds.

        Raises:
            ImportError: a module was not found (all attempted names are listed), or importing it
                raised one, which is passed on as it is with a note naming the pipeline module.
            InputError: inputs are missing or of the wrong type; nothing has been executed.
            GraphError: unknown nodes, or a cycle.
            AdapterError: an adapter that cannot work in the sync driver.
            StrayResultError: a node returned a coroutine or a generator.
            RunTimeoutError: `timeout_s` passed.
            Exception: what a module or node raised.
        """
        config = self.configure(pipeline, run_config, keywords)
        if config.executor != "inline":
            return self._run_beside(pipeline, config)
        log = self._logger(pipeline, config)
        with self.project.active(), self.prepared(pipeline, config, build_sync) as prepared:
            observer = self._observer(prepared, log, None)
            with _reported(log, observer):
                return prepared.execution.execute(
                    prepared.final_vars,
                    config.inputs,
                    config.overrides,
                    observer,
                    config.timeout_s,
                )

    async def run_async(
        self,
        pipeline: ModuleEntry,
        run_config: RunConfig | None = None,
        **keywords: Any,
    ) -> Any:
        """Execute a pipeline in the running event loop, through Hamilton's async driver.

        A synchronous node function occupies the loop while it runs, unless `executor` moves it
        elsewhere. When a node fails or the caller is cancelled, the run's other tasks are
        cancelled and awaited before the exception is passed on.

        Args, returns and errors are those of `run`, and:

        Raises:
            ValueError: `async_driver=False` was asked for; use `run`.
            ImportError: the installed Hamilton has no async driver; the message says which has.
        """
        config = self.configure(pipeline, run_config, keywords)
        return await self.execute_async(pipeline, config)

    # -- steps, shared with the worker --------------------------------------------------------

    def configure(
        self, pipeline: ModuleEntry, run_config: RunConfig | None, keywords: Mapping[str, Any]
    ) -> RunConfig:
        """Merge `devserver.toml`, `run_config` and keywords, each beating the ones before it."""
        if run_config is not None and not isinstance(run_config, RunConfig):
            raise TypeError(f"the second argument is a RunConfig, not {run_config!r}")
        layers = [run_config or RunConfig(), RunConfig(**keywords)]
        name = _name(pipeline)
        for candidate in (name, name.replace("-", "_"), name.rpartition(".")[2]):
            if candidate in self._settings.pipelines:
                layers.insert(0, RunConfig.from_settings(self._settings.pipelines[candidate]))
                break
        return RunConfig.merged(layers)

    async def execute_async(
        self,
        pipeline: ModuleEntry,
        config: RunConfig,
        observer: Observer | None = None,
        keep_going: bool = False,
    ) -> Any:
        """`run_async` for a config that is merged already."""
        build = async_builder(config)
        log = self._logger(pipeline, config)
        with self.project.active():
            with self.prepared(pipeline, config, build) as prepared:
                pass
            watcher = self._observer(prepared, log, observer)
            async with opened(
                config.executor, config.executor_options, self.project.module_names
            ) as call_elsewhere:
                with _reported(log, watcher):
                    return await prepared.execution.execute(
                        prepared.final_vars,
                        config.inputs,
                        config.overrides,
                        watcher,
                        config.timeout_s,
                        call_elsewhere,
                        keep_going,
                    )

    @contextmanager
    def prepared(
        self,
        pipeline: ModuleEntry,
        config: RunConfig,
        build: Callable[[Sequence[ModuleType], RunConfig], Any],
        reload: ReloadMode | None = None,
    ) -> Iterator[Prepared]:
        """Load, compose and validate a pipeline; a failed reload leaves everything as it was.

        Args:
            pipeline: the main module.
            config: the merged config.
            build: makes the execution from modules and config.
            reload: how to load; by default as `config.reload` says.

        Yields:
            What is to be executed.
        """
        mode: ReloadMode = reload or ("changed" if config.reload else "none")
        entries = [*config.additional_modules, pipeline]
        with self.project.loading(entries, mode) as modules:
            try:
                execution = build(modules, config)
            except Exception as error:
                listed = ", ".join(repr(module.__name__) for module in modules)
                error.add_note(f"hamdev: raised while composing the DAG of {listed}")
                raise
            prepared = _validated(_name(pipeline), execution, modules, config)
        yield prepared

    def _run_beside(self, pipeline: ModuleEntry, config: RunConfig) -> Any:
        from anyio.from_thread import start_blocking_portal

        async def execute() -> Any:
            return await self.execute_async(
                pipeline, RunConfig.merged([config, RunConfig(async_driver=True)])
            )

        with start_blocking_portal("asyncio") as portal:
            return portal.call(execute)

    def _logger(self, pipeline: ModuleEntry, config: RunConfig) -> Any:
        return run_logger(config.log_level, pipeline=_name(pipeline))

    def _observer(self, prepared: Prepared, log: Any, observer: Observer | None) -> LoggingObserver:
        log.debug(
            "pipeline composed",
            modules=[module.__name__ for module in prepared.modules],
            final_vars=prepared.final_vars,
            nodes=len(prepared.ordered),
        )
        for leaf, missing in prepared.lacking.items():
            log.warning("leaf node left out: its inputs are missing", node=leaf, missing=[*missing])
        unused = [n for n in prepared.config.inputs if n not in prepared.graph.nodes]
        if unused:
            log.warning("inputs that no node takes", inputs=unused)
        return LoggingObserver(observer or SilentObserver(), log)


def build_sync(
    modules: Sequence[ModuleType], config: RunConfig, composition: Composition | None = None
) -> SyncExecution:
    """Compose `modules` for the synchronous driver.

    Raises:
        AdapterError: an adapter that this driver would ignore.
        Exception: what Hamilton raises when the modules do not compose.
    """
    adapters = adapters_.adapters_for(config)
    adapters_.require_sync(adapters)
    return SyncExecution(modules, config.config, adapters, composition)


def async_builder(
    config: RunConfig, composition: Composition | None = None
) -> Callable[[Sequence[ModuleType], RunConfig], Any]:
    """What composes modules for the async driver.

    Args:
        config: the merged config.
        composition: keeps what it can from one DAG to the next.

    Raises:
        ValueError: the config forbids the async driver.
        ImportError: the installed Hamilton has none.
    """
    if config.async_driver is False:
        raise ValueError(
            "run_async executes through Hamilton's async driver, which async_driver=False forbids. "
            "Way out: call run(...), or leave async_driver out."
        )
    try:
        importlib.import_module("hamilton.async_driver")
    except ImportError as error:
        raise ImportError(
            "asynchronous execution needs a Hamilton that provides hamilton.async_driver, and the "
            f"installed one does not ({error}). Way out: pip install --upgrade 'sf-hamilton>=1.90'",
            name="hamilton.async_driver",
        ) from error
    from hamdev.pipeline.async_execution import AsyncExecution

    def build(modules: Sequence[ModuleType], merged: RunConfig) -> AsyncExecution:
        adapters = adapters_.adapters_for(merged)
        adapters_.require_async(adapters)
        return AsyncExecution(modules, merged.config, adapters, composition)

    return build


def _validated(name: str, execution: Any, modules: list[ModuleType], config: RunConfig) -> Prepared:
    graph: OrderedGraph = execution.graph
    inputs = config.inputs
    clashing = sorted(set(inputs) & set(graph.config))
    if clashing:
        raise InputError(
            f"given both as input and as config: {', '.join(map(repr, clashing))}. "
            "Way out: give each in one of them."
        )
    if config.executor == "inline" and config.executor_options:
        raise ValueError(
            f"executor 'inline' takes no executor_options, not {dict(config.executor_options)!r}. "
            "Way out: leave them out, or choose executor='threads', 'dask' or 'ray'."
        )
    wanted = _wanted(graph, config)
    _check_input_types(execution, graph, wanted.ordered, inputs)
    return Prepared(
        name=name,
        execution=execution,
        modules=modules,
        final_vars=list(wanted.final_vars),
        ordered=list(wanted.executed),
        lacking={leaf: dict(lacks) for leaf, lacks in wanted.lacking.items()},
        config=config,
    )


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Which nodes of a DAG a run concerns.

    Attributes:
        final_vars: the nodes whose values are the result.
        ordered: names of all that they need, themselves included, dependencies first.
        executed: those among them that have a function and no override.
        lacking: as in `Prepared`.
    """

    final_vars: list[str]
    ordered: list[str]
    executed: list[str]
    lacking: dict[str, dict[str, list[str]]]


def _wanted(graph: OrderedGraph, config: RunConfig) -> _Wanted:
    inputs, overrides = config.inputs, config.overrides
    final_vars = tuple(config.final_vars or ())
    question = final_vars, frozenset(inputs), frozenset(overrides), frozenset(graph.config)
    known: _Wanted | None = graph.shape.answers.get(question)
    if known is None:
        known = graph.shape.answers[question] = _found_wanted(graph, final_vars, inputs, overrides)
    return known


def _found_wanted(
    graph: OrderedGraph,
    asked: Sequence[str],
    inputs: Mapping[str, Any],
    overrides: Mapping[str, Any],
) -> _Wanted:
    require_known(graph, overrides, "overrides", {})
    lacking: dict[str, dict[str, list[str]]] = {}
    if asked:
        final_vars = list(dict.fromkeys(asked))
        require_known(graph, final_vars, "final_vars", {})
    else:
        final_vars, lacking = graph.computable_leaves(inputs, overrides)
        if not final_vars and lacking:
            missing: dict[str, list[str]] = {}
            for lacks in lacking.values():
                for wanted, needers in lacks.items():
                    known = missing.setdefault(wanted, [])
                    known += [n for n in needers if n not in known]
            raise describe_missing(missing)
    ordered = graph.ordered_upstream(final_vars, inputs, overrides)
    executed = {name: node for node in ordered if (name := node.name) not in overrides}
    if missing := graph.missing_inputs(executed, {**inputs, **overrides}):
        raise describe_missing(missing)
    refuse_dynamic(executed.values())
    return _Wanted(
        final_vars,
        [node.name for node in ordered],
        [name for name, node in executed.items() if not node.user_defined],
        lacking,
    )


def _check_input_types(
    execution: Any, graph: OrderedGraph, ordered: Sequence[str], inputs: Mapping[str, Any]
) -> None:
    from hamilton.driver import Driver

    users = {graph.nodes[name] for name in graph.shape.outside.intersection(ordered)}
    if not users:
        return
    needed = {graph.nodes[name] for name in ordered}
    try:
        Driver.validate_inputs(graph, graph.adapter, users, dict(inputs), needed)
    except ValueError as error:
        mismatched = [
            n.name for n in users if n.name in inputs and f"Expected {n.name}:" in str(error)
        ]
        raise InputError(
            f"inputs of the wrong type: {error}. "
            "Way out: give values of the expected types in inputs=.",
            mismatched=sorted(mismatched),
        ) from error


@contextmanager
def _reported(log: Any, observer: LoggingObserver) -> Iterator[None]:
    import time

    log.info("run started")
    try:
        yield
    except BaseException as error:
        log.info("run failed", error=repr(error), ran=observer.executed)
        raise
    ms = round((time.perf_counter() - observer.started_at) * 1e3, 3)
    log.info("run finished", ms=ms, ran=observer.executed)


def _name(pipeline: ModuleEntry) -> str:
    return pipeline.__name__ if isinstance(pipeline, ModuleType) else pipeline
