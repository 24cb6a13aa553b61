"""Why a run's nodes ran, in few words: what changed, and not all that follows from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hamdev.clients.terminal.blocks import FROM_NOTHING
from hamdev.messages import Because, Cause, PlanStep

# What follows from something else that is told, or tells nothing.
_CONSEQUENCES = {"upstream", "unchanged", "kept", "rerun"}
MAX_NAMES = 4


def reasons(plan: Sequence[PlanStep], cause: Cause, shorten: Callable[[str], str]) -> list[str]:
    """Each thing that made nodes run, once.

    Args:
        plan: of the run.
        cause: of the run.
        shorten: a path, as it is shown.
    """
    running = {step.node for step in plan if step.action == "run"}
    found: dict[str, None] = {}
    new: list[str] = []
    for step in plan:
        if step.action != "run":
            continue
        for because in step.because:
            if because.kind in _CONSEQUENCES or (
                because.kind == "input" and because.name in running
            ):
                continue
            if because.kind == "new":
                new.append(step.node)
            else:
                found.setdefault(_short(step.node, because, shorten))
    if new and cause.kind not in FROM_NOTHING:
        names = ", ".join(new[:MAX_NAMES])
        if len(new) > MAX_NAMES:
            names += f" and {len(new) - MAX_NAMES} more"
        found.setdefault(f"there is no value yet of {names}")
    # What came and went may have done so in an earlier save.
    return sorted(found, key=lambda text: " changed" not in text)


def _short(node: str, because: Because, shorten: Callable[[str], str]) -> str:
    text, file = because.text, because.file
    if because.kind == "code" and file and because.name and because.name.isidentifier():
        place = f"{shorten(file)}:{because.line}" if because.line else shorten(file)
        change = text.rpartition(" ")[2]
        kind = text.partition(" ")[0]
        if change in ("changed", "added", "removed") and text.startswith(f"{kind} {because.name} "):
            what = because.name if kind == "function" else f"{kind} {because.name}"
            return f"{what} {'was ' * (change != 'changed')}{change} at {place}"
    if because.kind == "file" and file:
        return f"{shorten(file)} changed"
    if file:
        text = text.replace(file, shorten(file))
    if because.kind == "input":
        return f"input {because.name!r} has another value"
    if because.kind == "code" or because.name == node or node in text:
        return text
    return f"{node}: {text}"
