"""Carries out what the session decides: it joins watcher, workers, hub and requests."""

from __future__ import annotations

import contextlib
import os
import pickle
from collections.abc import AsyncIterator, Callable, Collection
from pathlib import Path
from typing import assert_never

import anyio
from anyio.abc import TaskGroup

from hamdev.config import (
    Options,
    PipelineSettings,
    Settings,
    WatchSettings,
    apply_options,
    load_settings,
)
from hamdev.core.module_names import places
from hamdev.core.session import (
    ContentsSeen,
    EndWorker,
    FilesWritten,
    GraceOver,
    Instruction,
    Look,
    PipelinesConfigured,
    Publish,
    RerunAsked,
    Session,
    SessionEvent,
    SettingsProblemChanged,
    StartTimer,
    StartWorker,
    Tell,
    TimeOver,
    Watch,
    WorkerLost,
    WorkerSaid,
)
from hamdev.daemon.graphs import Graphs
from hamdev.daemon.hub import Hub
from hamdev.daemon.log import DaemonLog
from hamdev.daemon.questions import Questions
from hamdev.daemon.watcher import Watcher
from hamdev.daemon.workers import Workers
from hamdev.errors import SettingsError
from hamdev.messages import (
    Cause,
    Described,
    Event,
    Fetch,
    Fetched,
    Graph,
    Output,
    PipelineSpec,
    Problem,
    ReadRows,
    ReadSource,
    Ready,
    RowsRead,
    Run,
    SourceRead,
    Status,
)
from hamdev.paths import SETTINGS_NAME

# Larger values travel in files.
INLINE_BYTES = 256 * 1024
MAX_VALUE_FILES = 64
_SHOWN_NODES = 10
# If set, nothing but the regular comparison finds saves.
NO_EVENTS = "HAMDEV_NO_FILE_EVENTS"


class Engine:
    """The daemon, but for its socket.

    Args:
        project: the folder, symbolic links resolved.
        options: what the command line says; it beats the settings file whenever that is read.
        settings: what holds at the start, `options` applied.
        log: where everything is logged.
        values: the folder for values that are too large for a message.

    Attributes:
        page: the address of the live page, with its token; None if there is no page.
    """

    def __init__(
        self, project: Path, options: Options, settings: Settings, log: DaemonLog, values: Path
    ) -> None:
        self.project = project
        self.session = Session()
        self.hub = Hub(self.status)
        self.python = ""
        self.hamilton = ""
        self.page: str | None = None
        self._options = options
        self._settings = settings
        self._settings_file = str(project / SETTINGS_NAME)
        self._log = log
        self._values = values
        watch = settings.watch
        self._watcher = Watcher(
            watch.settle_ms / 1e3,
            watch.sweep_ms / 1e3,
            self._contents_seen,
            log.logger,
            lambda files: self.hand_in(FilesWritten(files)),
            uses_events=not os.environ.get(NO_EVENTS),
            on_warning=self.warn,
            root=str(project),
        )
        self._workers = Workers(
            project, watch.pipelines_dir, settings.memory, self.hand_in, log.logger
        )
        self._wanted: frozenset[str] = frozenset()
        self._tasks: TaskGroup | None = None
        self._moved = anyio.Event()
        self._looks = 0
        self._settings_read = anyio.Event()
        self._stopped = anyio.Event()
        self._questions = Questions(self._workers.tell)
        self._graphs = Graphs(self.session, self._questions)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Watch, load and run while the block is open."""
        async with (
            anyio.create_task_group() as tasks,
            self.hub.running(),
            self._workers.running(),
        ):
            self._tasks = tasks
            async with self._watcher.running():
                self._carry_out([Watch(frozenset())])
                self._configure(Cause(kind="start", text="the daemon started"))
                try:
                    yield
                finally:
                    tasks.cancel_scope.cancel()

    # -- what others ask ----------------------------------------------------------------------

    def status(self) -> Status:
        """What is served now."""
        return Status(
            revision=self.session.revision, seq=self.hub.seq, pipelines=self.session.statuses()
        )

    async def sync(self, files: Collection[str], timeout_s: float) -> bool:
        """Wait until results for what is on disk now are out; False if the time was too short."""
        with anyio.move_on_after(timeout_s) as patience:
            await self._watcher.look(files)
            await self._until(lambda: self.session.is_quiet and not self._looks)
        return not patience.cancelled_caught

    async def fetch(self, pipeline: str, node: str, format: str) -> Fetched | None:
        """A node's value from the worker that holds it; None if there is no such worker."""
        question = Fetch(
            pipeline=pipeline,
            node=node,
            format=format,
            folder=str(self._values),
            inline_bytes=INLINE_BYTES,
        )
        fetched = await self._questions.ask(self.session.worker, question)
        self._drop_old_files()
        return fetched

    async def rows(self, pipeline: str, node: str, offset: int, limit: int) -> RowsRead | None:
        """Rows of a node's value from the worker that holds it; None if there is no such worker."""
        question = ReadRows(pipeline=pipeline, node=node, offset=offset, limit=limit)
        return await self._questions.ask(self.session.worker, question)

    async def graph(self, pipeline: str) -> Graph | None:
        """The DAG that was composed last, dated; None if none is known."""
        return await self._graphs.get(pipeline)

    async def source(self, pipeline: str, node: str) -> SourceRead | None:
        """The text of a node's function as it was loaded; None if there is no worker to say it."""
        question = ReadSource(pipeline=pipeline, node=node)
        return await self._questions.ask(self.session.worker, question)

    def rerun(self, pipelines: list[str], nodes: tuple[str, ...] = (), clean: bool = False) -> None:
        """Run pipelines because somebody asks for it.

        Args:
            pipelines: which.
            nodes: of them, which shall run whatever is remembered.
            clean: in a new worker that remembers nothing.
        """
        text = "asked for" + (f": {', '.join(nodes[:_SHOWN_NODES])}" if nodes else "")
        if len(nodes) > _SHOWN_NODES:
            text += f" and {len(nodes) - _SHOWN_NODES} more"
        cause = Cause(kind="clean" if clean else "rerun", text=text)
        self.hand_in(RerunAsked(pipelines, cause, clean, nodes))

    async def compute_again(self, pipeline: str, node: str) -> None:
        """Execute a node whose value is right but no longer kept, and wait for its run to end."""
        text = f"the value of {node!r}, which somebody asked for, is no longer kept"
        cause = Cause(kind="rerun", text=text)
        self.hand_in(RerunAsked([pipeline], cause, nodes=[node]))
        await self._until(lambda: not self.session.is_at_work_on(pipeline))

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self._moved.wait()

    async def settings_read(self) -> None:
        """Wait until the settings were read again, of whose mistakes no event tells."""
        await self._settings_read.wait()

    def stop(self) -> None:
        """End the daemon."""
        self._stopped.set()

    async def wait_stopped(self) -> None:
        """Wait for `stop`."""
        await self._stopped.wait()

    # -- events in, instructions carried out --------------------------------------------------

    def hand_in(self, event: SessionEvent) -> None:
        """Take in what happened; it never waits."""
        match event:
            case WorkerSaid(worker, Output(run=None) as output):
                event = WorkerSaid(worker, self._attributed(output))
            case WorkerSaid(
                worker, (Fetched() | RowsRead() | Described() | SourceRead()) as answer
            ):
                if isinstance(answer, Described):
                    self._graphs.note(answer)
                if not self._questions.answered(answer) and isinstance(answer, Fetched):
                    self._drop_old_files()  # who asked has gone
                return
            case WorkerSaid(worker, Ready(python=self.python, hamilton=self.hamilton)):
                pass
            case WorkerSaid(worker, Ready() as ready):
                self.python, self.hamilton = ready.python, ready.hamilton
            case WorkerLost(worker):
                self._questions.give_up(worker)
        self._carry_out(self.session.handle(event))
        self._wake()

    def _carry_out(self, instructions: list[Instruction]) -> None:
        assert self._tasks is not None
        for instruction in instructions:
            match instruction:
                case StartWorker(worker, after_s):
                    self._workers.start(worker, after_s)
                case EndWorker(worker):
                    self._workers.end(worker)
                    self._questions.give_up(worker)
                case Tell(worker, command):
                    if isinstance(command, Run):
                        self._workers.begin_run(worker)
                    self._workers.tell(worker, command)
                case StartTimer():
                    self._tasks.start_soon(self._time, instruction)
                case Watch(files):
                    self._log.logger.debug("watching", files=sorted(files))
                    self._watcher.watch({*files, self._settings_file})
                case Look(files):
                    self._looks += 1
                    self._tasks.start_soon(self._look, files)
                case Publish(event):
                    self._publish(event)
                case _:
                    assert_never(instruction)

    async def _look(self, files: Collection[str]) -> None:
        try:
            await self._watcher.look(files)
        finally:
            self._looks -= 1
            self._wake()

    def _wake(self) -> None:
        self._moved.set()
        self._moved = anyio.Event()

    def _publish(self, event: Event) -> None:
        self.hub.publish(event)
        if event.type == "run.started" and isinstance(event.pipeline, str):
            # One that was just removed still has its runs' ends reported.
            status = self.session.statuses().get(event.pipeline)
            self._wanted = frozenset(status.final_vars if status else ())
        if event.type == "load.failed" and isinstance(event.pipeline, str):
            assert self._tasks is not None
            # The worker that knows the last good DAG may be gone when somebody asks for it.
            self._tasks.start_soon(self._graphs.get, event.pipeline)
        self._log.log_event(event, self._wanted)

    def warn(self, message: str) -> None:
        """Tell everybody, in the log and as an event."""
        self._publish(Event(type="warning", revision=self.session.revision, message=message))

    async def _time(self, timer: StartTimer) -> None:
        await anyio.sleep(timer.seconds)
        self.hand_in(GraceOver(timer.run) if timer.kind == "grace" else TimeOver(timer.run))

    def _attributed(self, output: Output) -> Output:
        """Output of C code and child processes, with the run and, if it is clear, the node."""
        return Output(
            run=self.session.current_run,
            node=self.session.single_running_node,
            stream=output.stream,
            text=output.text,
        )

    def _drop_old_files(self) -> None:
        """Keep the newest value files only; who was given an older one has read it by now."""
        try:
            files = sorted(self._values.iterdir(), key=os.path.getmtime)
            for file in files[:-MAX_VALUE_FILES]:
                file.unlink()
        except OSError:
            pass  # none were written yet, or the folder is being cleared

    # -- settings -----------------------------------------------------------------------------

    def _contents_seen(self, contents: dict[str, str | None]) -> None:
        others = {f: digest for f, digest in contents.items() if f != self._settings_file}
        if len(others) < len(contents):
            self._settings_changed()
            self._settings_read.set()
            self._settings_read = anyio.Event()
        if others:
            self.hand_in(ContentsSeen(others))

    def _settings_changed(self) -> None:
        try:
            settings = apply_options(load_settings(self.project), self._options)
        except SettingsError as error:
            problem = Problem(
                kind="settings",
                message="\n".join(error.mistakes),
                file=error.file or self._settings_file,
                line=error.line,
            )
            self._show_settings_problem(problem)
            return
        self.hand_in(SettingsProblemChanged(None))
        if settings != self._settings:
            self._apply(settings)

    def _show_settings_problem(self, problem: Problem) -> None:
        place = f"{problem.file}:{problem.line}" if problem.line else problem.file
        self._log.logger.error(
            "settings are broken; the last good ones hold", message=problem.message, place=place
        )
        self.hand_in(SettingsProblemChanged(problem))

    def _apply(self, settings: Settings) -> None:
        before, self._settings = self._settings, settings
        self._log.configure(settings.server.log_level, settings.server.log_format)
        watch = settings.watch
        self._watcher.configure(watch.settle_ms / 1e3, watch.sweep_ms / 1e3)
        for key in ("socket", "web", "web_port"):
            if getattr(before.server, key) != getattr(settings.server, key):
                self._log.logger.warning(f"[server] {key} takes effect when hamdev is restarted")
        if before.watch.pipelines_dir != watch.pipelines_dir:
            self._log.logger.warning("[watch] pipelines_dir takes effect when hamdev is restarted")
        if before.memory != settings.memory:
            self._workers.limit(settings.memory)
        self._log.logger.info("settings changed", file=self._settings_file)
        text = f"{SETTINGS_NAME} changed"
        self._configure(Cause(kind="settings", text=text, files=[self._settings_file]))

    def _configure(self, cause: Cause) -> None:
        watch = self._settings.watch
        specs = [_spec(name, p, watch) for name, p in self._settings.pipelines.items()]
        root, folder = str(self.project), watch.pipelines_dir
        found = {
            spec.name: [f for n in (*spec.additional, spec.name) for f in places(n, root, folder)]
            for spec in specs
        }
        self._graphs.forget_others({spec.name for spec in specs})
        self.hand_in(PipelinesConfigured(specs, cause, found))


def _spec(name: str, settings: PipelineSettings, watch: WatchSettings) -> PipelineSpec:
    return PipelineSpec(
        name=name,
        additional=settings.with_,
        final_vars=settings.final_vars,
        values=pickle.dumps({"inputs": settings.inputs, "config": settings.config}),
        async_driver=settings.async_driver,
        executor=settings.executor,
        executor_options=settings.executor_options,
        with_adapter=settings.with_adapter,
        timeout_s=settings.timeout_s or None,
        data=watch.data,
        ignore=watch.ignore,
    )
