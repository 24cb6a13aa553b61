"""One run: load the pipeline again from source, execute it, and report every step."""

from __future__ import annotations

import asyncio
import inspect
import os
import pickle
import sys
import time
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from hamdev.errors import InputError
from hamdev.messages import (
    Loaded,
    NodeBlocked,
    NodeFailed,
    NodeFinished,
    NodePlace,
    NodeStarted,
    Outcome,
    PipelineSpec,
    Planned,
    Problem,
    Run,
    RunEnded,
)
from hamdev.pipeline.executors import opened
from hamdev.pipeline.manager import PipelineManager, Prepared, async_builder, build_sync
from hamdev.pipeline.run_config import RunConfig
from hamdev.worker.channel import Channel
from hamdev.worker.interruption import RunCancelled
from hamdev.worker.memory import Memory, Remembered
from hamdev.worker.output import CapturedOutput
from hamdev.worker.problems import Describe
from hamdev.worker.summary import summarize


class Execution:
    """Executes runs one after the other, through the library.

    Args:
        manager: of the worker's project.
        channel: where reports go.
        memory: where values are kept.
        output: what captures prints; it is flushed before a node's end is reported.
    """

    def __init__(
        self, manager: PipelineManager, channel: Channel, memory: Memory, output: CapturedOutput
    ) -> None:
        self._manager = manager
        self._channel = channel
        self._memory = memory
        self._output = output

    async def run(self, command: Run) -> None:
        """Execute a run to its end; its last report is `RunEnded`, whatever happens."""
        started = time.perf_counter()
        outcome: Outcome = "ok"
        load_problems: list[Problem] = []
        problems: list[Problem] = []
        self._output.begin(command.run)
        try:
            config = _run_config(command.spec)
            prepared = self._load(command, config, load_problems)
            if prepared is None:
                outcome = "failed"
            else:
                outcome = await self._execute(command, config, prepared, problems)
        except (RunCancelled, asyncio.CancelledError):
            outcome = "cancelled"
        except BaseException as error:
            outcome = "failed"
            load_problems.append(self._describe(command).load_problem(error))
        finally:
            self._output.end()
        self._channel.send(
            RunEnded(
                run=command.run,
                outcome=outcome,
                ms=_ms(time.perf_counter() - started),
                load_problems=load_problems,
                problems=problems,
            )
        )

    # -- loading ------------------------------------------------------------------------------

    def _load(self, command: Run, config: RunConfig, problems: list[Problem]) -> Prepared | None:
        """The composed pipeline; None if that failed, with the reason added to `problems`."""
        project = self._manager.project
        build = async_builder(config) if config.async_driver is not False else build_sync
        try:
            with self._manager.prepared(command.spec.name, config, build, "changed") as prepared:
                pass
        except (RunCancelled, asyncio.CancelledError):
            self._report_loaded(command)
            raise
        except BaseException as error:
            self._report_loaded(command)
            problems.append(self._describe(command).load_problem(error))
            return None
        self._report_loaded(command)
        describe = self._describe(command)
        blocked = {
            leaf: describe.missing_input(_missing(leaf, lacks), leaf)
            for leaf, lacks in prepared.lacking.items()
        }
        nodes = {name: _place(prepared, name, project.owns) for name in prepared.ordered}
        self._memory.forget_others(command.spec.name, [*nodes, *blocked])
        self._channel.send(
            Planned(
                run=command.run,
                modules=[module.__name__ for module in prepared.modules],
                final_vars=prepared.final_vars,
                nodes=nodes,
                blocked=blocked,
                warnings=_warnings(prepared),
            )
        )
        return prepared

    def _report_loaded(self, command: Run) -> None:
        project = self._manager.project
        self._channel.send(
            Loaded(
                run=command.run,
                files=project.attempted_files(),
                third_party=project.third_party_imports(),
            )
        )

    def _describe(self, command: Run) -> Describe:
        project = self._manager.project
        return Describe(project.owns, project.attempted_sources())

    # -- executing ----------------------------------------------------------------------------

    async def _execute(
        self, command: Run, config: RunConfig, prepared: Prepared, problems: list[Problem]
    ) -> Outcome:
        reporter = _Reporter(self, command, prepared)
        wanted = prepared.final_vars, config.inputs, config.overrides, reporter
        try:
            if config.async_driver is False:
                prepared.execution.execute(*wanted, config.timeout_s)
            else:
                names = self._manager.project.module_names
                async with opened(config.executor, config.executor_options, names) as elsewhere:
                    await prepared.execution.execute(
                        *wanted, config.timeout_s, elsewhere, keep_going=True
                    )
        except (RunCancelled, asyncio.CancelledError):
            raise
        except BaseException as error:
            if not reporter.failed:
                problems.append(self._describe(command).load_problem(error))
            return "failed"
        return "failed" if reporter.failed or prepared.lacking else "ok"

    # -- what the reporter needs --------------------------------------------------------------

    def keep(self, command: Run, node: str, value: Any) -> None:
        """Remember a value."""
        remembered = Remembered(value, command.run, command.revision)
        self._memory.keep(command.spec.name, node, remembered)

    def report(self, report: Any) -> None:
        """Report, after what has been printed so far."""
        if not self._channel.is_ours:
            # A child that user code forked came back from its node; the run is its parent's.
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            os._exit(0)
        self._output.flush()
        self._channel.send(report)

    def node_problem(self, command: Run, prepared: Prepared, node: str, error: Any) -> Problem:
        """Describe why a node has no value."""
        place = _place(prepared, node, self._manager.project.owns)
        return self._describe(command).node_problem(node, place, error)


class _Reporter:
    """Reports each step of each node of one run."""

    def __init__(self, execution: Execution, command: Run, prepared: Prepared) -> None:
        self._execution = execution
        self._command = command
        self._prepared = prepared
        self.failed = False

    def node_started(self, node: str) -> None:
        self._execution.report(NodeStarted(run=self._command.run, node=node))

    def node_finished(self, node: str, value: Any, seconds: float) -> None:
        self._execution.keep(self._command, node, value)
        self._execution.report(
            NodeFinished(
                run=self._command.run,
                node=node,
                ms=_ms(seconds),
                changed=True,
                summary=summarize(value),
            )
        )

    def node_failed(self, node: str, error: BaseException, seconds: float) -> None:
        if isinstance(error, RunCancelled | asyncio.CancelledError):
            return
        self.failed = True
        problem = self._execution.node_problem(self._command, self._prepared, node, error)
        self._execution.report(
            NodeFailed(run=self._command.run, node=node, ms=_ms(seconds), problem=problem)
        )

    def node_blocked(self, node: str, by: str) -> None:
        self._execution.report(NodeBlocked(run=self._command.run, node=node, by=by))


def _run_config(spec: PipelineSpec) -> RunConfig:
    # The daemon, which starts this process, pickled it: plain TOML data.
    values = pickle.loads(spec.values) if spec.values else {}
    executor: dict[str, Any] = {} if spec.executor == "inline" else {"executor": spec.executor}
    return RunConfig(
        additional_modules=spec.additional,
        final_vars=spec.final_vars,
        inputs=values.get("inputs", {}),
        config=values.get("config", {}),
        async_driver=spec.async_driver,
        executor_options=spec.executor_options,
        with_adapter=spec.with_adapter,
        timeout_s=None,  # the daemon keeps the time, since it can also end what does not yield
        reload=True,
        **executor,
    )


def _missing(leaf: str, lacks: dict[str, list[str]]) -> InputError:
    from hamdev.pipeline.graphs import describe_missing

    return describe_missing(lacks)


def _place(prepared: Prepared, name: str, owns: Any) -> NodePlace:
    """Where the function of a node is defined, in the project if it is found there."""
    node = prepared.graph.nodes[name]
    first: NodePlace | None = None
    for function in node.originating_functions or ():
        code = getattr(inspect.unwrap(function), "__code__", None)
        if code is None:
            continue
        place = NodePlace(file=code.co_filename, line=code.co_firstlineno)
        if owns(code.co_filename):
            return place
        first = first or place
    return first or NodePlace()


def _warnings(prepared: Prepared) -> list[str]:
    unused = [n for n in prepared.config.inputs if n not in prepared.graph.nodes]
    warnings = [f"no node takes the input {name!r}" for name in unused]
    if not prepared.ordered:
        warnings.append(f"there is no node to run in {_listed(prepared.modules)}")
    return warnings


def _listed(modules: Sequence[ModuleType]) -> str:
    return ", ".join(repr(module.__name__) for module in modules)


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 3)
