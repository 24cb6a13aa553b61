"""Worker processes: started, spoken to, heard, and ended with all that they started."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable
from functools import cache
from pathlib import Path
from typing import Any

import anyio
import msgspec
from anyio.abc import ByteReceiveStream, Process, TaskGroup, UNIXSocketStream

from hamdev.config import MemorySettings
from hamdev.core.session import SessionEvent, WorkerLost, WorkerSaid
from hamdev.daemon.pulse import beat
from hamdev.messages import Command, Limit, NodePlace, Output, Report
from hamdev.paths import kept_values_folder
from hamdev.wire import FrameDecoder, encode_frame

_CHUNK = 1 << 16
# What a run may write to the worker's own descriptors and see shown; the rest is read and dropped.
MAX_RAW_BYTES = 1024 * 1024
_LAST_WORDS_S = 0.25
# How long a worker may be stopped (SIGSTOP) before it is given up, at least; twice that at most.
STOPPED_S = 1.0
_KEPT_STDERR = 16 * 1024


class Workers:
    """The worker processes of one project.

    Args:
        project: the folder in which they run.
        pipelines_dir: where short module names are looked up.
        memory: how much of the values a worker keeps.
        hand_in: is given what they say and that they are lost; it must not wait.
        log: a structlog logger.
    """

    def __init__(
        self,
        project: Path,
        pipelines_dir: str,
        memory: MemorySettings,
        hand_in: Callable[[SessionEvent], None],
        log: Any,
    ) -> None:
        self.pipelines_dir = pipelines_dir
        self._memory = memory
        self._project = project
        self._hand_in = hand_in
        self._log = log
        self._living: dict[int, _Worker] = {}
        self._tasks: TaskGroup | None = None

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Workers can be started while the block is open; afterwards there are none."""
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            try:
                yield
            finally:
                tasks.cancel_scope.cancel()

    def start(self, number: int, after_s: float) -> None:
        """Start a worker process after a pause."""
        assert self._tasks is not None
        worker = self._living[number] = _Worker(number)
        self._tasks.start_soon(self._live, worker, after_s)

    def limit(self, memory: MemorySettings) -> None:
        """Let all workers keep this much from now on."""
        self._memory = memory
        for worker in self._living.values():
            worker.put(Limit(**msgspec.structs.asdict(memory)))

    def tell(self, number: int, command: Command) -> None:
        """Send a command, in order, without waiting for it to arrive."""
        if (worker := self._living.get(number)) is not None:
            worker.put(command)

    def end(self, number: int) -> None:
        """Kill a worker and all that it started; it is not handed in as lost."""
        if (worker := self._living.pop(number, None)) is not None:
            worker.is_ended = True
            worker.scope.cancel()

    def begin_run(self, number: int) -> None:
        """What the worker writes to its own descriptors from now on is shown again."""
        if (worker := self._living.get(number)) is not None:
            worker.shown_bytes = 0

    # -- one worker's life --------------------------------------------------------------------

    async def _live(self, worker: _Worker, after_s: float) -> None:
        lost: WorkerLost | None = None
        with worker.scope:
            await anyio.sleep(after_s)
            try:
                async with self._process(worker) as (process, stream):
                    await self._attend(worker, process, stream)
                lost = self._loss(worker, process.returncode)
            except OSError as error:
                lost = WorkerLost(worker.number, f"could not be started: {error}")
        self._living.pop(worker.number, None)
        if lost is not None and not worker.is_ended:
            self._hand_in(lost)

    @contextlib.asynccontextmanager
    async def _process(self, worker: _Worker) -> AsyncIterator[tuple[Process, UNIXSocketStream]]:
        ours, theirs = socket.socketpair()
        guard, held = os.pipe()
        with contextlib.ExitStack() as stack:
            stack.callback(ours.close)
            stack.callback(os.close, held)
            with theirs, os.fdopen(guard):
                command = [*_ending_with_us(), sys.executable, "-P", "-m", "hamdev.worker"]
                command += ["--descriptor", str(theirs.fileno()), "--guard", str(guard)]
                command += ["--replaceable", "--pipelines-dir", self.pipelines_dir]
                command += ["--keep-in", str(kept_values_folder(self._project))]
                command += ["--max-bytes", str(self._memory.max_bytes)]
                command += ["--keep-slower-than-ms", str(self._memory.keep_slower_than_ms)]
                command += ["--disk-max-bytes", str(self._memory.disk_max_bytes)]
                process = await anyio.open_process(
                    command,
                    stdin=subprocess.DEVNULL,
                    cwd=self._project,
                    start_new_session=True,
                    pass_fds=[theirs.fileno(), guard],
                )
            worker.process = process
            self._log.debug("worker started", worker=worker.number, pid=process.pid)
            ours.setblocking(False)
            stream = await UNIXSocketStream.from_socket(ours)
            stack.pop_all()
            try:
                yield process, stream
            finally:
                os.close(held)
                # Whatever it started and left behind is in its group; a vanished group is fine.
                _signal_group(process.pid, signal.SIGKILL)
                with anyio.CancelScope(shield=True):
                    await process.wait()
                    await anyio.aclose_forcefully(stream)
                    for pipe in (process.stdout, process.stderr):
                        if pipe is not None:
                            await pipe.aclose()

    async def _attend(self, worker: _Worker, process: Process, stream: UNIXSocketStream) -> None:
        """Carry messages both ways until the process has ended and all that it said is heard."""
        assert process.stdout is not None
        assert process.stderr is not None
        async with anyio.create_task_group() as talk:
            talk.start_soon(self._send, worker, stream)
            talk.start_soon(self._end_if_stopped, worker, process.pid)
            async with anyio.create_task_group() as hear:
                hear.start_soon(self._hear, worker, stream)
                hear.start_soon(self._read_pipe, worker, process.stdout, "stdout")
                hear.start_soon(self._read_pipe, worker, process.stderr, "stderr")
                await process.wait()
                # Children that hold its pipes open would keep us reading.
                _signal_group(process.pid, signal.SIGKILL)
                hear.cancel_scope.deadline = anyio.current_time() + _LAST_WORDS_S
            talk.cancel_scope.cancel()

    async def _end_if_stopped(self, worker: _Worker, pid: int) -> None:
        """A process that was stopped and does not go on would keep its run for ever."""
        was_stopped = False
        while True:
            await beat(STOPPED_S)
            is_stopped = _is_stopped(pid)
            if is_stopped and was_stopped:
                worker.was_stopped = True
                _signal_group(pid, signal.SIGKILL)
                return
            was_stopped = is_stopped

    async def _send(self, worker: _Worker, stream: UNIXSocketStream) -> None:
        try:
            while True:
                await stream.send(await worker.next_frames())
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass  # its end is noticed by those who listen

    async def _hear(self, worker: _Worker, stream: UNIXSocketStream) -> None:
        decoder: FrameDecoder[Report] = FrameDecoder(Report)
        try:
            while True:
                for report in decoder.feed(await stream.receive(_CHUNK)):
                    self._hand_in(WorkerSaid(worker.number, report))
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass
        except ValueError as error:  # msgspec's errors are ValueErrors
            self._log.error("a worker sent what is no message", error=str(error))
            worker.reason = "sent what is no message; user code may have written to its socket"
        else:
            return
        # A worker without its socket is of no use, even if its process lives on.
        if worker.process is not None:
            with anyio.move_on_after(_LAST_WORDS_S):
                await worker.process.wait()
                return
            worker.reason = worker.reason or "closed its connection to the daemon"
            _signal_group(worker.process.pid, signal.SIGKILL)

    async def _read_pipe(self, worker: _Worker, pipe: ByteReceiveStream, stream: Any) -> None:
        """Hand in what C code and child processes print, by lines, up to a limit."""
        rest = b""
        try:
            while True:
                chunk = await pipe.receive(_CHUNK)
                if stream == "stderr":
                    worker.keep_stderr(chunk)
                room = MAX_RAW_BYTES - worker.shown_bytes
                worker.shown_bytes += len(chunk)
                if room <= 0:
                    continue
                *lines, rest = (rest + chunk[:room]).split(b"\n")
                if len(chunk) >= room:
                    lines.append(rest + b"\n... more was printed and is not shown")
                    rest = b""
                if lines:
                    self._hand_in_text(worker, stream, b"\n".join(lines) + b"\n")
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            if rest:
                self._hand_in_text(worker, stream, rest)

    def _hand_in_text(self, worker: _Worker, stream: Any, content: bytes) -> None:
        text = content.decode("utf-8", errors="replace")
        report = Output(run=None, node=None, stream=stream, text=text)
        self._hand_in(WorkerSaid(worker.number, report))

    def _loss(self, worker: _Worker, returncode: int | None) -> WorkerLost:
        by_kill = returncode in (-signal.SIGKILL, -signal.SIGTERM) and worker.reason is None
        place = self._crash_place(worker) if returncode is not None and returncode < 0 else None
        reason = worker.reason or _reason(returncode)
        if worker.was_stopped:
            reason = "was stopped, did not go on, and was killed"
        if by_kill is False and (words := worker.last_words()) and not place:
            reason = f"{reason} ({words})"
        return WorkerLost(worker.number, reason, by_kill, place)

    def _crash_place(self, worker: _Worker) -> NodePlace | None:
        """The innermost project line in what faulthandler wrote when the process crashed."""
        text = b"".join(worker.stderr).decode("utf-8", errors="replace")
        for file, line in re.findall(r'^  File "(.+)", line (\d+) in ', text, re.MULTILINE):
            if Path(file).is_relative_to(self._project) and "site-packages" not in file:
                return NodePlace(file=file, line=int(line))
        return None


class _Worker:
    """What is known of one worker process."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.scope = anyio.CancelScope()
        self.process: Process | None = None
        self.is_ended = False
        self.reason: str | None = None
        self.was_stopped = False
        self.shown_bytes = 0
        self.stderr: deque[bytes] = deque()
        self._kept = 0
        self._frames = bytearray()
        self._queued = anyio.Event()

    def put(self, command: Command) -> None:
        """Queue a command."""
        self._frames += encode_frame(command)
        self._queued.set()

    async def next_frames(self) -> bytes:
        """All that is queued; waits until something is."""
        while not self._frames:
            self._queued = anyio.Event()
            await self._queued.wait()
        frames = bytes(self._frames)
        self._frames.clear()
        return frames

    def keep_stderr(self, chunk: bytes) -> None:
        """Remember the end of what it wrote to stderr."""
        self.stderr.append(chunk)
        self._kept += len(chunk)
        while self._kept > _KEPT_STDERR and len(self.stderr) > 1:
            self._kept -= len(self.stderr.popleft())

    def last_words(self) -> str:
        """The last line it wrote to stderr."""
        text = b"".join(self.stderr).decode("utf-8", errors="replace").strip()
        return text.splitlines()[-1][:500] if text else ""


def _reason(returncode: int | None) -> str:
    if returncode is None:
        return "was ended"
    if returncode >= 0:
        return f"exited with status {returncode}"
    try:
        name = signal.Signals(-returncode).name
    except ValueError:
        name = f"signal {-returncode}"
    return f"was killed by {name}"


def _is_stopped(pid: int) -> bool:
    """Whether a signal has stopped the process; not known elsewhere than on Linux."""
    try:
        # The name in parentheses may hold anything. A debugger's stop is "t", and its own affair.
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] == b"T"
    except (OSError, IndexError):
        return False


@cache
def _ending_with_us() -> tuple[str, ...]:
    """What to put before a command so that the kernel ends it with us, from its first moment on.

    A worker sees to that itself, but only some 20 ms after it was started, and one that is stopped
    by then would stay for ever. Without such a program, that is how it is.
    """
    if (program := shutil.which("setpriv")) is None:
        return ()
    command = (program, "--pdeathsig", "KILL")
    try:  # there are others of that name which cannot do this
        tried = subprocess.run([*command, "true"], capture_output=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return command if tried.returncode == 0 else ()


def _signal_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        pass  # all gone; macOS says EPERM of a group that has only zombies
