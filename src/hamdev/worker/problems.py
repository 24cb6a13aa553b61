"""Exceptions → `Problem`s: what happened, in the user's own file and line."""

from __future__ import annotations

import ast
import re
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType

import hamdev
from hamdev.errors import (
    CycleError,
    GraphError,
    HamdevError,
    InputError,
    ModuleMissingError,
    StrayResultError,
)
from hamdev.messages import NodePlace, Problem, ProblemKind
from hamdev.pipeline.sources import Source, SourceLoader

_OURS = str(Path(hamdev.__file__).parent)
MAX_MESSAGE = 4000
MAX_FRAMES = 30
MAX_CHAIN = 5
_CAUSE = "The above exception was the direct cause of the following exception:"
_CONTEXT = "During handling of the above exception, another exception occurred:"


class Describe:
    """Describes exceptions of one pipeline's run.

    Args:
        owns: whether a file is one of the project's own.
        sources: the texts that were loaded, by module name.
    """

    def __init__(self, owns: Callable[[str], bool], sources: Iterable[Source]) -> None:
        self._owns = owns
        self._sources = list(sources)

    def load_problem(self, error: BaseException) -> Problem:
        """Why modules could not be loaded, composed or validated."""
        match error:
            case SyntaxError(filename=None) | UnicodeDecodeError() if file := _compiled(error):
                # Python knows no place in a text that it cannot even decode.
                problem = Problem(kind="syntax", message=_message(error))
                return _placed(problem, self._undecodable_place(file))
            case SyntaxError(filename=str(file)) if self._owns(file):
                return Problem(
                    kind="syntax",
                    message=_clipped(f"{type(error).__name__}: {error.msg}"),
                    file=file,
                    line=error.lineno,
                    column=error.offset,
                    traceback=self._text(error, []),
                )
            case InputError():
                return self.missing_input(error)
            case GraphError():
                place = self.definition(error.node)
                if isinstance(error, CycleError) and place is None:
                    place = next(filter(None, map(self.definition, error.cycle)), None)
                return _placed(Problem(kind="graph", message=str(error), node=error.node), place)
            case ModuleMissingError():
                return Problem(kind="import", message=str(error))
        frames = self._user_frames(error.__traceback__)
        if frames:
            return self._at_frame("import", error, frames)
        if isinstance(error, ImportError):
            return Problem(kind="import", message=_message(error))
        return self._composing_problem(error)

    def node_problem(self, node: str, place: NodePlace | None, error: BaseException) -> Problem:
        """Why a node has no value."""
        frames = self._user_frames(error.__traceback__)
        if frames and not isinstance(error, StrayResultError):
            return self._at_frame("node", error, frames, node)
        text = None if isinstance(error, StrayResultError) else self._text(error, [])
        problem = Problem(kind="node", message=_message(error), node=node, traceback=text)
        return _placed(problem, place)

    def missing_input(self, error: InputError, node: str | None = None) -> Problem:
        """Inputs that nobody gives, shown where the first of them is asked for."""
        needers = [needer for listed in error.missing.values() for needer in listed]
        place = next(filter(None, map(self.definition, needers)), None)
        node = node or (needers[0] if needers else None)
        return _placed(Problem(kind="input", message=str(error), node=node), place)

    def definition(self, node: str | None) -> NodePlace | None:
        """Where the function of a node is defined, going by the loaded texts alone."""
        if node is None:
            return None
        for source in self._sources:
            tree = _parsed(source)
            for statement in tree.body if tree else ():
                if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
                    continue
                # `name__variant` is how @config.when tells variants of one node apart.
                if node in (statement.name, statement.name.partition("__")[0]):
                    return NodePlace(file=source.file, line=statement.lineno)
        return None

    # -- details ------------------------------------------------------------------------------

    def _undecodable_place(self, file: str) -> NodePlace:
        """The first strange line of a file."""
        text = next((source.text for source in self._sources if source.file == file), "")
        strange = re.search("[\0\N{REPLACEMENT CHARACTER}]", text)
        return NodePlace(file=file, line=text.count("\n", 0, strange.start()) + 1 if strange else 1)

    def _composing_problem(self, error: BaseException) -> Problem:
        message = _message(error)
        if "<lambda>" in message and (found := self._module_level_lambda()):
            name, line = found
            text = (
                f"{name!r} is a lambda at module level, and Hamilton takes every public function "
                f"of a module for a node. Way out: write it as a 'def' with types, or name it "
                f"'_{name}'."
            )
            return _placed(Problem(kind="graph", message=text), line)
        named = re.findall(r"in function (\w+)", message)
        for word in [*named, *re.findall(r"[A-Za-z_]\w*", message)]:
            if (place := self.definition(word)) is not None:
                return _placed(Problem(kind="graph", message=message, node=word), place)
        return Problem(kind="graph", message=message, traceback=self._text(error, []))

    def _module_level_lambda(self) -> tuple[str, NodePlace] | None:
        for source in self._sources:
            tree = _parsed(source)
            for statement in tree.body if tree else ():
                match statement:
                    case ast.Assign(targets=[ast.Name(id=name)], value=ast.Lambda()):
                        if not name.startswith("_"):
                            return name, NodePlace(file=source.file, line=statement.lineno)
        return None

    def _at_frame(
        self,
        kind: ProblemKind,
        error: BaseException,
        frames: Sequence[traceback.FrameSummary],
        node: str | None = None,
    ) -> Problem:
        place = next(f for f in reversed(frames) if self._owns(f.filename))
        return Problem(
            kind=kind,
            message=_message(error),
            file=place.filename,
            line=place.lineno,
            column=place.colno + 1 if place.colno is not None else None,
            node=node,
            traceback=self._text(error, frames),
        )

    def _user_frames(self, trace: TracebackType | None) -> list[traceback.FrameSummary]:
        """From the first frame of the project on, without ours and the import system's."""
        frames = [
            frame
            for frame in traceback.extract_tb(trace)
            if not frame.filename.startswith((_OURS, "<frozen importlib"))
        ]
        for index, frame in enumerate(frames):
            if self._owns(frame.filename):
                return frames[index:]
        return []

    def _text(self, error: BaseException, frames: Sequence[traceback.FrameSummary]) -> str:
        parts = [self._link(error, frames)]
        seen = {id(error)}
        while len(parts) < MAX_CHAIN:
            cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
            if cause is None or id(cause) in seen:
                break
            seen.add(id(cause))
            how = _CAUSE if error.__cause__ is not None else _CONTEXT
            parts.append(f"{self._link(cause, self._user_frames(cause.__traceback__))}\n{how}\n\n")
            error = cause
        text = "".join(reversed(parts))
        return text if len(text) < 4 * MAX_MESSAGE else text[: 4 * MAX_MESSAGE] + "…"

    def _link(self, error: BaseException, frames: Sequence[traceback.FrameSummary]) -> str:
        """One exception of a chain."""
        shown = list(frames)
        if len(shown) > MAX_FRAMES:
            half = MAX_FRAMES // 2
            shown = [*shown[:half], *shown[-half:]]
        lines = traceback.StackSummary.from_list(shown).format() if shown else []
        head = "Traceback (most recent call last):\n" if lines else ""
        ending = "".join(_without_notes(traceback.format_exception_only(type(error), error)))
        return head + "".join(lines) + _clipped(ending)


def _compiled(error: BaseException) -> str | None:
    """The module's file, if it was while compiling one that this was raised."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code is SourceLoader.get_code.__code__:
            return str(frame.f_locals["self"].path)
    return None


def _without_notes(lines: Iterable[str]) -> list[str]:
    return [line for line in lines if not line.startswith("hamdev: raised while")]


def _message(error: BaseException) -> str:
    """The exception as Python's last line of a traceback has it, without our notes.

    What is raised on our own account says all in its text; its type is nothing of the user's.
    """
    if isinstance(error, HamdevError):
        return _clipped(str(error))
    lines = traceback.format_exception_only(type(error), error)
    return _clipped("".join(_without_notes(lines)).strip())


def _clipped(text: str) -> str:
    return text if len(text) <= MAX_MESSAGE else text[:MAX_MESSAGE] + "…"


def _placed(problem: Problem, place: NodePlace | None) -> Problem:
    if place is None:
        return problem
    from msgspec import structs

    return structs.replace(problem, file=place.file, line=place.line)


def _parsed(source: Source) -> ast.Module | None:
    try:
        return ast.parse(source.text)
    except (SyntaxError, ValueError, RecursionError):
        return None
