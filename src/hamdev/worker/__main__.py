"""The worker's entry: `python -P -m hamdev.worker --descriptor N …`.

The main thread executes runs, since only it can be interrupted by a signal. A second thread
reads commands, so that a cancellation arrives while the first one is busy; a third one has
requests for values answered, so that a large one delays neither. A fourth one describes the DAG,
for which nobody should have to wait until a value's own code has ended.
"""

from __future__ import annotations

import argparse
import asyncio
import contextvars
import faulthandler
import importlib
import logging
import os
import queue
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from hamdev.messages import (
    Anticipate,
    Cancel,
    Describe,
    Fetch,
    Fetched,
    GiveUp,
    Interrupted,
    Limit,
    Output,
    Preload,
    ReadRows,
    ReadSource,
    Ready,
    RowsRead,
    Run,
)
from hamdev.worker import descriptors
from hamdev.worker.answering import Answering
from hamdev.worker.channel import Channel
from hamdev.worker.garbage import IDLE_S, settle
from hamdev.worker.guard import end_with_parent, start_guard

_Queued = Run | Preload | Anticipate | Limit


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve the daemon at the other end of the given descriptor until it goes."""
    parser = argparse.ArgumentParser(prog="python -m hamdev.worker")
    parser.add_argument("--descriptor", type=int, required=True)
    parser.add_argument("--guard", type=int)
    parser.add_argument("--pipelines-dir", required=True)
    parser.add_argument("--keep-in", type=Path, required=True)
    parser.add_argument("--max-bytes", type=int, required=True)
    parser.add_argument("--keep-slower-than-ms", type=int, required=True)
    parser.add_argument("--disk-max-bytes", type=int, required=True)
    parser.add_argument("--replaceable", action="store_true")
    options = parser.parse_args(arguments)
    if options.guard is not None:
        start_guard(options.guard)
    end_with_parent()
    # A crash in C code then says on stderr, which the daemon reads, where it happened.
    faulthandler.enable(file=2, all_threads=False)
    channel = Channel(options.descriptor)
    try:
        worker = Worker(channel, options)
    except Exception as error:
        sys.exit(_explained(error))
    worker.serve()


class Worker:
    """Takes commands one by one.

    Args:
        channel: the connection to the daemon.
        options: of the command line.
    """

    def __init__(self, channel: Channel, options: argparse.Namespace) -> None:
        # Heavy: it imports Hamilton. Nothing before it depends on that.
        from hamdev.config import Settings
        from hamdev.pipeline.async_execution import user_code_callers as async_callers
        from hamdev.pipeline.manager import PipelineManager
        from hamdev.pipeline.own_reads import keep_locks
        from hamdev.pipeline.patching import user_code_callers as patch_callers
        from hamdev.pipeline.sources import user_code_callers as source_callers
        from hamdev.pipeline.sync_execution import user_code_callers as sync_callers
        from hamdev.worker.execute import Execution
        from hamdev.worker.garbage import Sweeps
        from hamdev.worker.interruption import Interruption
        from hamdev.worker.memory import Memory
        from hamdev.worker.output import CapturedOutput
        from hamdev.worker.store import Store
        from hamdev.worker.values.shown import user_code_callers as shown_callers

        # Before there are any of the user's descriptors.
        keep_locks()
        importlib.import_module("hamilton.async_driver")
        # Its banners say less than the problem that is reported of the same error.
        logging.getLogger("hamilton").setLevel(logging.CRITICAL)
        self._channel = channel
        self._memory = Memory(options.max_bytes)
        self._interruption = Interruption(
            [
                *async_callers(),
                *sync_callers(),
                *source_callers(),
                *patch_callers(),
                *shown_callers(),
            ],
            lambda run: channel.send(Interrupted(run=run)),
        )
        output = CapturedOutput(channel, self._interruption.raise_if_wanted)
        output.install()
        manager = PipelineManager(
            Path.cwd(), pipelines_dir=options.pipelines_dir, settings=Settings()
        )
        manager.project.install()
        store = Store(options.keep_in, options.disk_max_bytes)
        slower_than_s = options.keep_slower_than_ms / 1e3
        self._execution = Execution(
            manager,
            channel,
            self._memory,
            output,
            store,
            slower_than_s,
            self._interruption,
            options.replaceable,
        )
        self._sweeps = Sweeps()
        self._commands: queue.SimpleQueue[_Queued] = queue.SimpleQueue()
        self._values = Answering(channel.send)
        self._graphs_asked: queue.SimpleQueue[Describe | ReadSource] = queue.SimpleQueue()

    def serve(self) -> None:
        """Execute commands until the process ends."""
        import hamilton.version

        self._interruption.install()
        for name, target in (
            ("commands", self._read),
            ("values", self._give_values),
            ("graphs", self._describe),
        ):
            threading.Thread(target=target, name=f"hamdev {name}", daemon=True).start()
        version = ".".join(str(part) for part in hamilton.version.VERSION)
        self._channel.send(Ready(python=sys.version.split()[0], hamilton=version))
        settle()
        with asyncio.Runner() as runner:
            runner.get_loop()
            while True:
                command = self._next()
                if isinstance(command, Preload):
                    _preload(command.modules)
                elif isinstance(command, Anticipate):
                    self._execution.anticipate(command)
                elif isinstance(command, Limit):
                    self._execution.limit(command)
                else:
                    runner.run(self._run(command), context=contextvars.copy_context())
                    self._execution.tidy(command, lambda: not self._commands.empty())
                    self._sweeps.note_run(self._execution.generation)

    def _next(self) -> _Queued:
        """The next command; if none comes for a while, the time is used."""
        if self._sweeps.is_due:
            try:
                return self._commands.get(timeout=IDLE_S)
            except queue.Empty:
                self._sweeps.settle()
        return self._commands.get()

    async def _run(self, command: Run) -> None:
        if not descriptors.are_left():
            # Who is killed has its run made again, by the spare.
            text = descriptors.LEAKED
            self._channel.send(Output(run=command.run, node=None, stream="stderr", text=text))
            os.kill(os.getpid(), signal.SIGKILL)
        loop = asyncio.get_running_loop()
        execution = asyncio.create_task(self._execution.run(command))

        def cancel() -> None:
            loop.call_soon_threadsafe(self._cancel, execution, command.run)

        self._interruption.begin(command.run, cancel)
        try:
            await asyncio.wait([execution])
        finally:
            self._interruption.end()

    def _cancel(self, task: asyncio.Task[None], run: int) -> None:
        # Nobody is in user code that blocks, so the run's tasks are told in the loop's own way.
        if task.cancelling():
            return
        task.cancel()
        self._channel.send(Interrupted(run=run))

    def _read(self) -> None:
        for command in self._channel.commands():
            match command:
                case Cancel(run=run):
                    threading.Thread(
                        target=self._interruption.interrupt, args=(run,), daemon=True
                    ).start()
                case Fetch() | ReadRows():
                    self._values.ask(command)
                case GiveUp(request=request):
                    self._values.give_up(request)
                case Describe() | ReadSource():
                    self._graphs_asked.put(command)
                case Run():
                    self._interruption.expect(command.run)
                    self._commands.put(command)
                case Preload() | Anticipate() | Limit():
                    self._commands.put(command)
        # The daemon is gone; children of user code would outlive it.
        os.killpg(os.getpgid(0), signal.SIGKILL)

    def _give_values(self) -> None:
        from hamdev.worker.fetching import fetched
        from hamdev.worker.rows import rows_read

        keeping = self._execution.keeping

        def answer(question: Fetch | ReadRows) -> Fetched | RowsRead:
            if isinstance(question, Fetch):
                return fetched(question, self._memory, keeping)
            return rows_read(question, self._memory, keeping)

        self._values.serve(answer)

    def _describe(self) -> None:
        descriptions = self._execution.descriptions
        while True:
            match self._graphs_asked.get():
                case Describe() as question:
                    self._channel.send(descriptions.described(question))
                case question:
                    self._channel.send(descriptions.source(question))


def _explained(error: Exception) -> str:
    """Why nothing can be run in this environment; it is most often a library that is broken."""
    place = ""
    if (traceback := error.__traceback__) is not None:
        while traceback.tb_next is not None:
            traceback = traceback.tb_next
        place = f" in {traceback.tb_frame.f_code.co_filename}:{traceback.tb_lineno}"
    return (
        f"{type(error).__name__}: {error}{place}. "
        f"Way out: mend it until {sys.executable} -c 'import hamilton.async_driver' works"
    )


def _preload(modules: Sequence[str]) -> None:
    for name in modules:
        try:
            importlib.import_module(name)
        except BaseException:
            continue  # the run that needs it will say what is wrong
    settle()


if __name__ == "__main__":
    main()
