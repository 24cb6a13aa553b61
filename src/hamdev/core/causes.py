"""Why a run happens, and because of it a node's rerun: in words, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hamdev.messages import Because, Cause, NodePlace, PlanStep


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


def plan_steps(nodes: Mapping[str, NodePlace], cause: Cause) -> list[PlanStep]:
    """What happens to each node in a run that executes them all."""
    return [
        PlanStep(
            node=node,
            action="run",
            because=[
                Because(
                    kind="rerun",
                    text=f"every node runs at every run; this one because of: {cause.text}",
                    name=node,
                    file=place.file,
                    line=place.line,
                )
            ],
        )
        for node, place in nodes.items()
    ]
