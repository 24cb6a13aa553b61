"""Which lines a save changed: the texts of the project's files, and each revision's differences."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import anyio
import anyio.to_thread
import msgspec

from hamdev.daemon.engine import Engine
from hamdev.daemon.hub import Subscription
from hamdev.texts import KeptTexts, replacements, text_with

MAX_FILE_BYTES = 1024 * 1024
MAX_TOTAL_BYTES = 64 * 1024 * 1024
MAX_REVISIONS = 100
MAX_HUNKS = 12
MAX_LINES = 12
MAX_WIDTH = 200
_ENDINGS = (".py", ".toml", ".sql", ".json", ".yaml", ".yml")
_WAIT_S = 2.0
PAUSE_S = 0.05


class Hunk(msgspec.Struct, frozen=True, kw_only=True):
    """Lines in a row that changed.

    Attributes:
        line: where they begin now, 1-based; of removed ones, where they would be.
        before: what they were.
        after: what they are.
        more: how many further ones are left out.
    """

    line: int
    before: list[str]
    after: list[str]
    more: int = 0


class FileEdit(msgspec.Struct, frozen=True, kw_only=True):
    """What a revision changed in a file; `more` hunks are left out."""

    file: str
    hunks: list[Hunk]
    more: int = 0


class Edits:
    """The lines that each of the last revisions changed.

    Args:
        engine: of the daemon.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._texts = KeptTexts(MAX_TOTAL_BYTES)
        self._found: OrderedDict[int, list[FileEdit]] = OrderedDict()
        self._arriving: Subscription | None = None
        # Those that held something else by the time somebody looked at what a revision changed.
        self._unread: set[str] = set()
        self._is_at_work = False
        self._moved = anyio.Event()

    async def follow(self, log: Any) -> None:
        """Look at what changes, for ever."""
        types = frozenset({"files.changed", "run.started", "run.finished"})
        with self._engine.hub.subscription(types=types) as self._arriving:
            while True:
                self._is_at_work = False
                self._moved.set()
                self._moved = anyio.Event()
                await self._arriving.arrived()
                self._is_at_work = True
                try:
                    await self._take(await _collected(self._arriving))
                except anyio.EndOfStream:
                    return
                except Exception as error:
                    log.error("the lines of a save were not found", error=repr(error))

    async def of(self, revision: int) -> list[FileEdit] | None:
        """What a revision changed; None if that is not known (any more).

        It waits until all that has been published so far was looked at.
        """
        with anyio.move_on_after(_WAIT_S):
            while self._is_at_work or self._arriving is None or not self._arriving.is_empty:
                await self._moved.wait()
        return self._found.get(revision)

    def of_all(self) -> Mapping[int, list[FileEdit]]:
        """All that is known: revision → what it changed."""
        return self._found

    async def _take(self, events: Sequence[_Event]) -> None:
        # As of the last one of these; what comes while they are looked at has events of its own.
        known = dict(self._engine.session.contents)
        for number, event in enumerate(events):
            later = {file for e in events[number + 1 :] for file in e.files}
            match event.type:
                case "files.changed":
                    await self._compare(event, later, known)
                case "run.started":
                    # The first texts of files that count from now on.
                    self._texts.forget_others(known)
                    new = [f for f in known if f.endswith(_ENDINGS) and f not in self._texts]
                    self._keep(await _read([f for f in new if f not in later], known))
                case "run.finished" if event.outcome in ("ok", "failed"):
                    # What it was made from is not known, and that is what the next one changes.
                    for file in self._unread:
                        self._texts.forget(file)
                    self._unread.clear()
                # A snapshot: what was missed is not known.

    async def _compare(
        self, event: _Event, later: Collection[str], known: Mapping[str, str | None]
    ) -> None:
        """Find the lines of a revision, but of files that hold a `later` one's by now."""
        wanted = [f for f in event.files if f.endswith(_ENDINGS)]
        files = [f for f in wanted if f not in later]
        self._unread = (self._unread | set(wanted)) - set(files)
        before = {f: text for f in files if (text := self._texts.get(f)) is not None}
        texts = await _read(files, known)
        found = await anyio.to_thread.run_sync(_compared, before, texts, files, known)
        self._keep(texts)
        for file in files:
            if known.get(file) is None:
                self._texts.forget(file)
            elif file not in texts:
                self._unread.add(file)
        self._found[event.revision] = found
        while len(self._found) > MAX_REVISIONS:
            self._found.popitem(last=False)

    def _keep(self, texts: Mapping[str, str]) -> None:
        for file, text in texts.items():
            self._texts.keep(file, text)


class _Event(msgspec.Struct):
    type: str
    revision: int
    files: list[str] = []
    outcome: str = ""


class _Line(msgspec.Struct):
    params: _Event


async def _collected(arriving: Subscription) -> list[_Event]:
    """What has happened, up to the end of a run if that comes soon.

    Nobody reads lines as fast as a short run is over, which reading them would slow down.
    """
    events = _decoded(await arriving.next())
    with anyio.move_on_after(PAUSE_S):
        while not any(event.type == "run.finished" for event in events):
            events += _decoded(await arriving.next())
    return events


def _decoded(lines: bytes) -> list[_Event]:
    return [msgspec.json.decode(line, type=_Line).params for line in lines.splitlines()]


async def _read(files: list[str], known: Mapping[str, str | None]) -> dict[str, str]:
    wanted = {file: digest for file in files if (digest := known.get(file)) is not None}
    if not wanted:
        return {}
    return await anyio.to_thread.run_sync(_texts, wanted)


def _texts(wanted: Mapping[str, str]) -> dict[str, str]:
    read = ((file, text_with(digest, file, MAX_FILE_BYTES)) for file, digest in wanted.items())
    return {file: text for file, text in read if text is not None}


def _compared(
    before: Mapping[str, str],
    after: Mapping[str, str],
    files: Iterable[str],
    known: Mapping[str, str | None],
) -> list[FileEdit]:
    found = []
    for file in files:
        is_gone = file in known and known[file] is None
        if file in before and (file in after or is_gone):
            places = replacements(before[file], after.get(file, ""))
            shown = [_hunk(p.line, p.before, p.after) for p in places[:MAX_HUNKS]]
            found.append(FileEdit(file=file, hunks=shown, more=len(places) - len(shown)))
    return found


def _hunk(line: int, before: Sequence[str], after: Sequence[str]) -> Hunk:
    left_out = max(len(before) - MAX_LINES, 0) + max(len(after) - MAX_LINES, 0)
    return Hunk(line=line, before=_shown(before), after=_shown(after), more=left_out)


def _shown(lines: Sequence[str]) -> list[str]:
    return [
        line if len(line) <= MAX_WIDTH else line[: MAX_WIDTH - 1] + "…"
        for line in lines[:MAX_LINES]
    ]
