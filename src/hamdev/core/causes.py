"""Why a run happens, and because of it a node's rerun: in words, for people."""

from __future__ import annotations

from collections.abc import Sequence

from hamdev.messages import Because, Cause, PlanStep


def saved(files: Sequence[str]) -> Cause:
    """These files, at least one, hold something new."""
    names = [path.rpartition("/")[2] for path in files]
    text = (
        f"{names[0]} changed"
        if len(names) == 1
        else f"{len(names)} files changed: {', '.join(names[:5])}"
    )
    return Cause(kind="save", text=text, files=list(files))


def merged(first: Cause, second: Cause) -> Cause:
    """The cause of one run that has two; of two kinds, the later one that people brought about."""
    if second.kind == "worker":
        return first
    if first.kind != "save" or second.kind != "save":
        return second
    return saved(sorted({*(first.files or ()), *(second.files or ())}))


def reused_after_all(step: PlanStep) -> PlanStep:
    """The step of a node that was to run, when its inputs turned out to be those of last time."""
    names = ", ".join(repr(because.name) for because in step.because if because.name)
    text = f"its inputs came out as they were{f': {names} ran' if names else ''}"
    return PlanStep(node=step.node, action="reuse", because=[Because(kind="unchanged", text=text)])
