"""One run: load the pipeline again from source, execute it, and report every step."""

from __future__ import annotations

import asyncio
import os
import pickle
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import FunctionType, ModuleType
from typing import Any

from msgspec import structs

from hamdev.core.plan import Step
from hamdev.core.references import Key
from hamdev.errors import InputError
from hamdev.messages import (
    Anticipate,
    Because,
    Limit,
    Loaded,
    NodeBlocked,
    NodeFailed,
    NodeFinished,
    NodePlace,
    NodeStarted,
    Outcome,
    PipelineSpec,
    Planned,
    PlanStep,
    Problem,
    Run,
    RunEnded,
    Spoilt,
    Tidied,
)
from hamdev.patterns import DataPatterns
from hamdev.pipeline.composition import Composition
from hamdev.pipeline.executors import opened
from hamdev.pipeline.loader import Project
from hamdev.pipeline.manager import PipelineManager, Prepared, async_builder, build_sync
from hamdev.pipeline.node_versions import NodeVersions
from hamdev.pipeline.observe import Recalled
from hamdev.pipeline.own_reads import digest_of
from hamdev.pipeline.run_config import RunConfig
from hamdev.pipeline.sources import Source
from hamdev.worker.candidates import Candidates
from hamdev.worker.channel import Channel
from hamdev.worker.composed import Composed, Descriptions
from hamdev.worker.fingerprint import fingerprint
from hamdev.worker.fingerprint_libraries import NoFingerprintError
from hamdev.worker.garbage import leave_out, uncollected
from hamdev.worker.interruption import Interruption, RunCancelled
from hamdev.worker.keeping import Keeping
from hamdev.worker.memory import Memory, unique_token
from hamdev.worker.output import CapturedOutput
from hamdev.worker.places import Places, place_of
from hamdev.worker.problems import Describe
from hamdev.worker.protection import Protected
from hamdev.worker.reads import FileReads
from hamdev.worker.reuse import PlanMade, RunReuse
from hamdev.worker.store import Store


class Execution:
    """Executes runs one after the other, through the library.

    Args:
        manager: of the worker's project.
        channel: where reports go.
        memory: where values are kept.
        output: what captures prints; it is flushed before a node's end is reported.
        store: where slow values outlive the process.
        keep_slower_than_s: how long a node has to take for its value to be kept there.
        interruption: of the runs.
        is_replaceable: a new process takes over a run that this one is not fit for.

    Attributes:
        keeping: the values in that store.
        descriptions: of what was composed last.
    """

    def __init__(
        self,
        manager: PipelineManager,
        channel: Channel,
        memory: Memory,
        output: CapturedOutput,
        store: Store,
        keep_slower_than_s: float,
        interruption: Interruption,
        is_replaceable: bool = False,
    ) -> None:
        self._manager = manager
        self._channel = channel
        self._is_replaceable = is_replaceable
        self._memory = memory
        self._output = output
        self.keeping = Keeping(store, keep_slower_than_s, self._token_of, interruption)
        self._reads = FileReads(
            self._is_code, manager.project.load_reads.note, manager.project.load_reads.note_folder
        )
        manager.project.load_reads.files_in = lambda values, asks: Candidates().paths(
            None, values, {}, asks
        )
        manager.project.token_of = lambda value: fingerprint(
            value, partial(_identity, manager.project)
        )
        self.descriptions = Descriptions(manager.project.owns)
        self._patterns: tuple[Sequence[str], Sequence[str]] = (), ()
        self._compositions: dict[str, Composition] = {}
        self._plans: dict[str, PlanMade] = {}
        self._places: dict[str, Places] = {}
        self._generation = 0
        self._written: dict[str, set[str]] = {}
        self._protected = Protected()
        self._finished: RunReuse | None = None
        self._run: int | None = None
        manager.project.on_read(self._report_read)

    async def run(self, command: Run) -> None:
        """Execute a run to its end; its last report is `RunEnded`, whatever happens."""
        started = time.perf_counter()
        outcome: Outcome = "ok"
        load_problems: list[Problem] = []
        problems: list[Problem] = []
        is_worn = False
        self._output.begin(command.run)
        self._run = command.run
        self._finished = None
        try:
            if command.clean:
                self.keeping.clear()
            config = _run_config(command.spec)
            self._configure(command.spec)
            with uncollected():
                loaded = self._load(command, config, load_problems)
            if loaded is None:
                outcome = "failed"
            else:
                outcome = await self._execute(command, config, *loaded, problems)
        except _WornError:
            outcome, is_worn = "cancelled", True
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
                is_worn=is_worn,
            )
        )

    def _configure(self, spec: PipelineSpec) -> None:
        if (spec.data, spec.ignore) != self._patterns:
            self._patterns = spec.data, spec.ignore
            root = self._manager.project.root
            self._reads.configure(DataPatterns(root, spec.data, spec.ignore))

    def anticipate(self, command: Anticipate) -> None:
        """Work out ahead what the run that is likely to come next needs to know."""
        config = _run_config(command.spec)
        try:
            with uncollected():
                self._manager.project.anticipate([*config.additional_modules, command.spec.name])
        except Exception:
            return  # the run will find the same, and say it

    def limit(self, command: Limit) -> None:
        """Keep this much from now on."""
        self._memory.max_bytes = command.max_bytes
        self._memory.make_room(())
        self.keeping.limit(command.keep_slower_than_ms / 1e3, command.disk_max_bytes)

    @property
    def generation(self) -> int:
        """Grows whenever modules were loaded as a whole."""
        return self._generation

    def tidy(self, command: Run, is_wanted: Callable[[], bool]) -> None:
        """What can wait until a run has been reported; it stops as soon as another is wanted."""
        reuse = self._finished
        if reuse is not None:
            self._check(command, reuse)
        self._channel.send(Tidied(run=command.run))
        if reuse is not None:
            name = command.spec.name
            self._memory.make_room(
                ((name, wanted) for wanted in reuse.wanted),
                {(name, forced) for forced in command.forced or ()},
            )
            for name in reuse.ran:
                if is_wanted():
                    return
                reuse.note_parts(name)

    def _check(self, command: Run, reuse: RunReuse) -> None:
        """Find out whether nodes have changed their inputs in place."""
        pipeline = command.spec.name
        spoilt, warnings = self._protected.check(pipeline, reuse, self._memory)
        if spoilt or warnings:
            self._channel.send(
                Spoilt(run=command.run, pipeline=pipeline, nodes=spoilt, warnings=warnings)
            )

    # -- loading ------------------------------------------------------------------------------

    def _load(
        self, command: Run, config: RunConfig, problems: list[Problem]
    ) -> tuple[Prepared, RunReuse] | None:
        """The pipeline and what it reuses; None if that failed: the reason is in `problems`."""
        name = command.spec.name
        project = self._manager.project
        composition = self._compositions.setdefault(name, Composition())
        if config.async_driver is not False:
            build = async_builder(config, composition)
        else:
            build = partial(build_sync, composition=composition)
        project.load_reads.opened_data = self._reads.end_load
        self._reads.begin_load()
        try:
            with self._manager.prepared(name, config, build, "patch") as prepared:
                pass
        except (RunCancelled, asyncio.CancelledError):
            self._report_loaded(command, {})
            raise
        except BaseException as error:
            self._report_loaded(command, {**self._reads.all_data(), **self._known_files(name)})
            problems.append(self._describe(command).load_problem(error))
            return None
        if project.is_worn and self._is_replaceable:
            raise _WornError
        if project.whole_because:
            leave_out()  # nodes that run would pay for collections of all that was loaded
        if project.generation != self._generation:
            # Classes are other objects now, and values of the old ones would not fit them.
            self._generation = project.generation
            self._memory.forget()
            self._plans.clear()
        self._report_loaded(command, self._known_files(name))
        reuse = self._reuse(command, config, prepared, composition)
        steps = reuse.plan(_forced(command, prepared.ordered))
        self._plans[name] = reuse.made()
        describe = self._describe(command)
        blocked = {
            leaf: describe.missing_input(_missing(leaf, lacks), leaf)
            for leaf, lacks in prepared.lacking.items()
        }
        places = self._places.setdefault(name, Places(project.owns)).of_all(
            prepared.graph, prepared.ordered
        )
        self._memory.forget_others(name, [*places, *blocked])
        self._channel.send(
            Planned(
                run=command.run,
                modules=[module.__name__ for module in prepared.modules],
                final_vars=prepared.final_vars,
                nodes=places,
                plan=[_plan_step(step, places) for step in steps.values()],
                blocked=blocked,
                warnings=_warnings(prepared),
                restored=reuse.restored(),
            )
        )
        self.descriptions.note(
            name,
            Composed(
                run=command.run,
                nodes=prepared.graph.nodes,
                shape=prepared.graph.shape,
                config=prepared.graph.config,
                ends=(*prepared.final_vars, *prepared.lacking),
                places=places,
                sources=project.sources,
            ),
        )
        return prepared, reuse

    def _reuse(
        self, command: Run, config: RunConfig, prepared: Prepared, composition: Composition
    ) -> RunReuse:
        graph = prepared.graph
        codebase = self._manager.project.codebase
        given = {**graph.config, **config.inputs}
        return RunReuse(
            pipeline=command.spec.name,
            run=command.run,
            revision=command.revision,
            nodes=[graph.nodes[name] for name in prepared.ordered],
            wanted=prepared.final_vars,
            outside=given,
            versions=NodeVersions(
                codebase,
                composition.producers,
                graph.config,
                lambda value: fingerprint(value, _no_version) or unique_token(),
                self._manager.project.state,
                self._manager.project.version,
            ),
            memory=self._memory,
            reads=self._reads,
            version_of=partial(_version_of, self._manager.project),
            objects=_object_of,
            keeping=self.keeping,
            cached_files=self._manager.project.load_reads.caches.files,
            before=self._plans.get(command.spec.name),
        )

    def _token_of(self, value: Any) -> bytes:
        return fingerprint(value, partial(_version_of, self._manager.project)) or unique_token()

    def _known_files(self, pipeline: str) -> dict[str, str | None]:
        """The data files that remembered values were made from, and what they hold now."""
        written = self._written.get(pipeline, set())
        found: dict[str, str | None] = {}
        for remembered in self._memory.of(pipeline).values():
            for path, state in remembered.files.items():
                if path not in written and path not in found:
                    found[path] = state.digest if state.is_same(path) else digest_of(path)
        return found

    def _report_loaded(self, command: Run, data: dict[str, str | None]) -> None:
        project = self._manager.project
        written = set[str]().union(*self._written.values())
        read = {p: d for p, d in project.load_reads.files().items() if p not in written}
        self._channel.send(
            Loaded(
                run=command.run,
                files={**data, **read, **project.attempted_files()},
                third_party=project.third_party_imports(),
            )
        )

    def _report_read(self, source: Source) -> None:
        """Tell of a text before it is executed: if it never ends, its next save is to be seen."""
        if self._run is not None:
            files: dict[str, str | None] = {source.file: source.sha256}
            self._channel.send(Loaded(run=self._run, files=files, third_party=[]))

    def _describe(self, command: Run) -> Describe:
        project = self._manager.project
        return Describe(project.owns, project.attempted_sources())

    def _is_code(self, path: str) -> bool:
        project = self._manager.project
        if path.startswith(str(project.root / ".hamdev")):
            return True
        if not path.endswith(".py"):
            return False
        texts = (*project.sources.values(), *project.attempted_sources())
        return any(source.file == path for source in texts)

    # -- executing ----------------------------------------------------------------------------

    async def _execute(
        self,
        command: Run,
        config: RunConfig,
        prepared: Prepared,
        reuse: RunReuse,
        problems: list[Problem],
    ) -> Outcome:
        reporter = _Reporter(self, command, prepared, reuse)
        targets = reuse.targets()
        self._reads.begin_run()
        self._protected.begin_run()
        outcome: Outcome = "failed" if prepared.lacking else "ok"
        try:
            if targets:
                await self._execute_nodes(config, prepared, reuse, targets, reporter)
        except (RunCancelled, asyncio.CancelledError):
            raise
        except BaseException as error:
            if not reporter.failed:
                problems.append(self._describe(command).load_problem(error))
            outcome = "failed"
        finally:
            written = self._written.setdefault(command.spec.name, set())
            written |= self._reads.written
            self._finished = reuse
        self._report_data(command, reuse)
        return "failed" if reporter.failed else outcome

    async def _execute_nodes(
        self,
        config: RunConfig,
        prepared: Prepared,
        reuse: RunReuse,
        targets: list[str],
        reporter: _Reporter,
    ) -> None:
        if config.with_adapter:
            targets = prepared.final_vars  # adapters may look at the results as a whole
        overrides = {**reuse.values(targets), **config.overrides}
        wanted = targets, config.inputs, overrides, reporter
        if config.async_driver is False:
            prepared.execution.execute(*wanted, config.timeout_s, reporter)
            return
        names = self._manager.project.module_names
        async with opened(config.executor, config.executor_options, names) as elsewhere:
            await prepared.execution.execute(
                *wanted, config.timeout_s, elsewhere, keep_going=True, remembering=reporter
            )

    def _report_data(self, command: Run, reuse: RunReuse) -> None:
        """Tell which data files the values were made from, so that they are watched."""
        files = {path: state.shown_digest for path, state in reuse.files().items()}
        if files:
            self._channel.send(Loaded(run=command.run, files=files, third_party=[]))

    # -- what the reporter needs --------------------------------------------------------------

    @property
    def protected(self) -> Protected:
        """Inputs that nodes get copies of."""
        return self._protected

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
        place = place_of(prepared.graph.nodes[node], self._manager.project.owns)
        return self._describe(command).node_problem(node, place, error)


class _WornError(Exception):
    """Only a new process computes what a new process would."""


class _Reporter:
    """Reports each step of each node of one run, and remembers its values."""

    def __init__(
        self, execution: Execution, command: Run, prepared: Prepared, reuse: RunReuse
    ) -> None:
        self._execution = execution
        self._command = command
        self._prepared = prepared
        self._reuse = reuse
        self.failed = False

    def recall(self, node: str) -> Recalled | None:
        remembered = self._reuse.recall(node)
        if remembered is None:
            return None
        self._execution.report(
            NodeFinished(
                run=self._command.run,
                node=node,
                ms=_ms(remembered.seconds),
                changed=(diff := self._reuse.diff_of(node)) is not None,
                summary=remembered.summary,
                action="reused",
                diff=diff,
            )
        )
        return Recalled(remembered.value)

    def inputs(self, node: str, values: dict[str, Any]) -> dict[str, Any]:
        pipeline = self._command.spec.name
        return self._execution.protected.inputs(pipeline, node, values, self._reuse)

    def node_started(self, node: str, inputs: Mapping[str, Any]) -> None:
        self._reuse.begin(node, inputs)
        self._execution.report(NodeStarted(run=self._command.run, node=node))

    def node_finished(self, node: str, value: Any, seconds: float) -> None:
        remembered, changed, diff = self._reuse.keep(node, value, seconds)
        self._execution.report(
            NodeFinished(
                run=self._command.run,
                node=node,
                ms=_ms(seconds),
                changed=changed,
                summary=remembered.summary,
                diff=diff,
            )
        )

    def node_failed(self, node: str, error: BaseException, seconds: float) -> None:
        self._reuse.fail(node)
        if isinstance(error, RunCancelled | asyncio.CancelledError):
            return
        self.failed = True
        problem = self._execution.node_problem(self._command, self._prepared, node, error)
        self._execution.report(
            NodeFailed(run=self._command.run, node=node, ms=_ms(seconds), problem=problem)
        )

    def node_blocked(self, node: str, by: str) -> None:
        self._execution.report(NodeBlocked(run=self._command.run, node=node, by=by))


def _forced(command: Run, ordered: Sequence[str]) -> dict[str, Because]:
    names = ordered if command.forced is None else command.forced
    because = Because(kind="rerun", text=command.forced_by or "asked for")
    return dict.fromkeys(names, because)


def _plan_step(step: Step, places: Mapping[str, NodePlace]) -> PlanStep:
    because = step.because
    if step.action == "run":
        # A reason without a place of its own is shown at the node that it speaks of.
        because = [
            reason if reason.file else structs.replace(reason, file=place.file, line=place.line)
            for reason in because
            for place in (places.get(reason.name or "") or places[step.node],)
        ]
    return PlanStep(node=step.node, action=step.action, because=because)


def _version_of(project: Project, thing: Any) -> str | None:
    """The code version of a class or function, if it is the project's."""
    codebase = project.codebase
    module = getattr(thing, "__module__", None)
    if not isinstance(module, str) or module not in codebase.modules:
        return None
    name = getattr(thing, "__qualname__", "")
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    is_nameless = "<" in name  # the fingerprint knows what to make of those
    if not is_nameless and not (thing is found or thing is getattr(found, "__wrapped__", None)):
        raise NoFingerprintError(f"{name} is not what goes by that name now")
    # What was executed again for the sake of state is the same code, but not the same class.
    renewed = project.state.renewed.get((module, name.partition(".")[0]), 0)
    return codebase.version(module, name) + (f" {renewed}" if renewed else "")


def _identity(project: Project, thing: Any) -> str | None:
    """Stands for a class or function of the project, as long as nothing is executed again."""
    if getattr(thing, "__module__", None) not in project.codebase.modules:
        return None
    return None if "<" in getattr(thing, "__qualname__", "<") else str(id(thing))


def _no_version(thing: Any) -> str | None:
    return None


def _object_of(key: Key) -> Any:
    """What a definition stands for now, if that may be or name a file."""
    module = sys.modules.get(key[0])
    # Not `getattr`, which asks the module's own `__getattr__` for what it lacks.
    value = vars(module).get(key[1]) if module is not None else None
    return value if isinstance(value, str | os.PathLike | FunctionType | list | tuple) else None


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
