"""Answers to `Fetch`: a remembered value as bytes, in a message or in a file."""

from __future__ import annotations

import base64
import os
import tempfile
from pathlib import Path

import msgspec

from hamdev.messages import Fetch, Fetched
from hamdev.paths import make_private_folder
from hamdev.worker.formats import BINARY, ENDINGS, NoSuchFormatError, render
from hamdev.worker.keeping import Keeping
from hamdev.worker.memory import Memory
from hamdev.worker.rows import described


def fetched(command: Fetch, memory: Memory, keeping: Keeping) -> Fetched:
    """The value that `command` asks for, or why there is none; it never raises."""
    remembered = memory.get(command.pipeline, command.node)
    if remembered is None or not keeping.load(remembered):
        return Fetched(request=command.request, missing=True)
    try:
        content, media_type = render(remembered.value, command.format)
        path: str | None = None
        inline: str | None = None
        if len(content) <= command.inline_bytes:
            inline = _inline(content, command.format)
        # A line of the protocol is bounded, and escapes make text longer.
        if inline is None or len(inline.encode()) > 2 * command.inline_bytes:
            inline, path = None, _written(content, command)
    except NoSuchFormatError as error:
        return Fetched(request=command.request, formats=error.formats, error=str(error))
    except BaseException as error:
        return Fetched(
            request=command.request, error=f"the value cannot be given: {described(error)}"
        )
    kind = type(remembered.value)
    return Fetched(
        request=command.request,
        revision=remembered.revision,
        run=remembered.run,
        type=f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins."),
        media_type=media_type,
        value=inline,
        path=path,
        bytes=len(content),
    )


def _inline(content: bytes, format: str) -> str:
    """`content` as JSON text."""
    if format == "json":
        return content.decode("utf-8")
    text = (
        base64.b64encode(content).decode("ascii")
        if format in BINARY
        else content.decode("utf-8", errors="replace")
    )
    return msgspec.json.encode(text).decode("utf-8")


def _written(content: bytes, command: Fetch) -> str:
    """A new file with `content` that only the owner can read; returns its path."""
    folder = Path(command.folder)
    make_private_folder(folder)
    ending = ENDINGS.get(command.format, command.format)
    # mkstemp gives 0600 and a name of its own, so a reader of an older file is not disturbed.
    descriptor, path = tempfile.mkstemp(prefix="value-", suffix=f".{ending}", dir=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    except BaseException:
        Path(path).unlink(missing_ok=True)
        raise
    return path
