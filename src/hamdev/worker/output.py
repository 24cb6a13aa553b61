"""What user code prints, line by line, with the node that printed it.

Text that is written to file descriptors 1 and 2 directly (by C code, by child processes) goes to
the daemon through pipes; what Python writes goes through here, since only here the node is known.
"""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Callable
from typing import IO, Literal, cast

from hamdev.messages import Output
from hamdev.pipeline.observe import current_node
from hamdev.worker.channel import Channel

# What one node may show in one run; the rest is counted.
MAX_NODE_BYTES = 1024 * 1024
_FLUSH_BYTES = 16 * 1024
_FLUSH_S = 0.02

_Stream = Literal["stdout", "stderr"]
_Key = tuple[_Stream, str | None]


class CapturedOutput:
    """Collects lines and hands them on in bundles, at once or a few milliseconds later.

    Args:
        channel: where they go.
        after_write: is called after each write of user code, in its thread.
    """

    def __init__(self, channel: Channel, after_write: Callable[[], None]) -> None:
        self._channel = channel
        self._after_write = after_write
        self._lock = threading.RLock()
        self._pending: dict[_Key, list[str]] = {}
        self._pending_bytes = 0
        self._shown: dict[_Key, int] = {}
        self._dropped: dict[_Key, int] = {}
        self._run: int | None = None
        self._waiting = threading.Event()
        threading.Thread(target=self._flush_regularly, name="hamdev output", daemon=True).start()

    def install(self) -> None:
        """Put streams that end up here in the place of `sys.stdout` and `sys.stderr`."""
        sys.stdout = cast("io.TextIOWrapper", _TextStream(self, "stdout"))
        sys.stderr = cast("io.TextIOWrapper", _TextStream(self, "stderr"))

    def begin(self, run: int) -> None:
        """What is written from now on belongs to `run`."""
        # The run before may have put something else in their place.
        self.install()
        with self._lock:
            self._run = run
            self._shown.clear()
            self._dropped.clear()

    def end(self) -> None:
        """Hand on what is left, also unfinished lines, and say what was not shown."""
        with self._lock:
            for (stream, node), count in self._dropped.items():
                self._add(
                    (stream, node), f"… {count:,} more bytes were printed and are not shown\n"
                )
            self._dropped.clear()
            self._flush(everything=True)
            self._run = None

    def write(self, stream: _Stream, text: str) -> None:
        """Take in what user code wrote in this context."""
        key = (stream, current_node.get())
        with self._lock:
            room = MAX_NODE_BYTES - self._shown.get(key, 0)
            if len(text) > room:
                self._dropped[key] = self._dropped.get(key, 0) + len(text) - room
                text = text[:room]
            if text:
                self._shown[key] = self._shown.get(key, 0) + len(text)
                self._add(key, text)
                if self._pending_bytes > _FLUSH_BYTES:
                    self._flush()
                else:
                    self._waiting.set()
        self._after_write()

    def flush(self) -> None:
        """Hand on all whole lines."""
        with self._lock:
            self._flush()

    def _add(self, key: _Key, text: str) -> None:
        self._pending.setdefault(key, []).append(text)
        self._pending_bytes += len(text)

    def _flush(self, everything: bool = False) -> None:
        pending, self._pending = self._pending, {}
        self._pending_bytes = 0
        for key, texts in pending.items():
            text = "".join(texts)
            if not everything:
                whole, newline, rest = text.rpartition("\n")
                text = whole + newline
                if rest:
                    self._add(key, rest)
            if text:
                stream, node = key
                for start in range(0, len(text), _FLUSH_BYTES):
                    piece = text[start : start + _FLUSH_BYTES]
                    self._channel.send(Output(run=self._run, node=node, stream=stream, text=piece))

    def _flush_regularly(self) -> None:
        while True:
            self._waiting.wait()
            self._waiting.clear()
            # Lines that follow each other closely travel together.
            threading.Event().wait(_FLUSH_S)
            self.flush()


class _TextStream(io.TextIOBase):
    """Stands for `sys.stdout` or `sys.stderr`."""

    def __init__(self, output: CapturedOutput, stream: _Stream) -> None:
        self._output = output
        self._stream: _Stream = stream
        self._descriptor = 1 if stream == "stdout" else 2
        self.buffer = cast("IO[bytes]", _ByteStream(self))
        self.name = f"<{stream}>"
        self.mode = "w"
        self._outside: io.TextIOWrapper | None = None

    @property
    def encoding(self) -> str:  # type: ignore[override]  # read-only here, since it never changes
        return "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]  # likewise
        return "backslashreplace"

    def fileno(self) -> int:
        return self._descriptor

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if not self._output._channel.is_ours:
            return self._in_forked_child().write(text)
        self._output.write(self._stream, text)
        return len(text)

    def flush(self) -> None:
        if self._output._channel.is_ours:
            self._output.flush()
        else:
            self._in_forked_child().flush()

    def close(self) -> None:
        """Flush it; what user code prints after closing it is shown like the rest."""
        self.flush()

    def _in_forked_child(self) -> io.TextIOWrapper:
        if self._outside is None:
            self._outside = open(  # noqa: SIM115  # lives as long as the process
                self._descriptor, "w", encoding="utf-8", closefd=False, buffering=1
            )
        return self._outside


class _ByteStream(io.RawIOBase):
    """`sys.stdout.buffer`."""

    def __init__(self, text: _TextStream) -> None:
        self._text = text

    def fileno(self) -> int:
        return self._text.fileno()

    def writable(self) -> bool:
        return True

    def close(self) -> None:
        """Nothing; a text stream that user code made of this one closes it when it goes."""

    def write(self, data: object) -> int:
        content = bytes(data)  # type: ignore[call-overload]  # anything with a buffer
        # No other way of decoding is quick on a flood of bytes that are no text.
        self._text.write(content.decode("utf-8", errors="replace"))
        return len(content)
