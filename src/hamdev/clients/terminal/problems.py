"""Problem → what happened and where in the user's own files, without frames of anybody else."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePath

from hamdev.messages import Problem

MAX_MESSAGE_LINES = 8
_FRAME = re.compile(r'  File "(.+)", line (\d+)(?:, in (.+))?$')
_LINKS = {
    "The above exception was the direct cause of the following exception:",
    "During handling of the above exception, another exception occurred:",
}
_FOREIGN = {"site-packages", "dist-packages", ".venv", "venv"}


@dataclass(frozen=True, slots=True)
class Frame:
    """A line of the user's code.

    Attributes:
        source: it, without its indentation.
        mark: the part of `source` that is meant, as begin and end; None if that is not known.
    """

    file: str
    line: int
    function: str | None = None
    source: str = ""
    mark: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """One exception, or whatever else a problem says.

    Attributes:
        frames: the user's own, the innermost last.
    """

    message: list[str]
    frames: list[Frame]


def told(
    problem: Problem, root: PurePath, read_line: Callable[[str, int], str | None]
) -> list[Told]:
    """What a problem says, then the exceptions that led to it.

    Args:
        problem: as it was reported.
        root: the project's folder; what is outside of it is not the user's.
        read_line: gives a line of a file, for problems without a traceback.
    """
    message = problem.message.splitlines() or [""]
    links = list(_links(problem.traceback or "", root))
    frames = links[-1].frames if links else []
    if not frames and problem.file is not None:
        source = (read_line(problem.file, problem.line) if problem.line else None) or ""
        mark = None
        if problem.column is not None and source.strip():
            column = problem.column - 1 - (len(source) - len(source.lstrip()))
            mark = (column, column + 1) if 0 <= column <= len(source.strip()) else None
        frames = [Frame(problem.file, problem.line or 0, None, source.strip(), mark)]
    return [Told(message, frames), *reversed(links[:-1])]


def _links(traceback: str, root: PurePath) -> Iterator[Told]:
    """The exceptions of a formatted traceback, the last one last."""
    frames: list[Frame] = []
    message: list[str] = []
    lines = traceback.splitlines()
    position = 0
    while position < len(lines):
        line = lines[position]
        position += 1
        if line in _LINKS:
            yield Told(_stripped(message), frames)
            frames, message = [], []
        elif (found := _FRAME.match(line)) is not None and not _stripped(message):
            source, mark = "", None
            if position < len(lines) and lines[position].startswith("    "):
                source = lines[position][4:].replace("\t", " ")
                position += 1
                if position < len(lines) and re.fullmatch(r"    [ ^~]*[\^~]+ *", lines[position]):
                    mark = _mark(lines[position][4:])
                    position += 1
            if _is_own(found[1], root):
                frames.append(Frame(found[1], int(found[2]), found[3], source, mark))
        elif line != "Traceback (most recent call last):" and not line.startswith("  [Previous"):
            message.append(line)
    if frames or _stripped(message):
        yield Told(_stripped(message), frames)


def _stripped(message: list[str]) -> list[str]:
    return [line for line in message if line.strip()]


def _mark(line: str) -> tuple[int, int]:
    # "~~~~~^^^^": the carets are what is meant, the rest is what belongs to it.
    begin = line.find("^")
    if begin < 0:
        begin = line.find("~")
    end = begin
    while end < len(line) and line[end] == line[begin]:
        end += 1
    return begin, end


def _is_own(file: str, root: PurePath) -> bool:
    path = PurePath(file)
    return path.is_relative_to(root) and _FOREIGN.isdisjoint(path.relative_to(root).parts)
